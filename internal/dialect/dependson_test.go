package dialect

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func annotated(value string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
		"metadata": map[string]any{"name": "self", "namespace": "argocd", "annotations": map[string]any{AnnotationDependsOn: value}},
	}}
}

func TestDependsOn(t *testing.T) {
	for _, c := range []struct {
		value string
		want  string // dependencies, with their groups
		found string // part of the only finding
	}{
		{value: "", want: ""},
		{value: " , \n ", want: ""},
		{value: "Kustomization/flux-system/infra", want: "kustomize.toolkit.fluxcd.io Kustomization/flux-system/infra"},
		{
			value: "HelmRelease/a/b, Application/argocd/db\nApplicationSet/argocd/all",
			want:  "helm.toolkit.fluxcd.io HelmRelease/a/b; argoproj.io Application/argocd/db; argoproj.io ApplicationSet/argocd/all",
		},
		{value: "Application/argocd/db,Application/argocd/db", want: "argoproj.io Application/argocd/db"},
		{value: "Thing.example.com/a/b", want: "example.com Thing/a/b"},
		{value: "Application/argocd/self", found: "names the object itself"},
		{value: "Application.argoproj.io/argocd/self", found: "names the object itself"},
		{value: "Application/db", found: "not of the form"},
		{value: "Deployment/a/b", found: "no delivery"},
		{value: "Application//b", found: "names no namespace"},
		{value: "Application/a/B_C", found: "names no object"},
		{value: strings.Repeat("x", 10_000), found: "xxx..."},
	} {
		got, findings := DependsOn(annotated(c.value))
		var texts []string
		for _, d := range got {
			texts = append(texts, d.On.Group+" "+d.On.String())
		}
		if text := strings.Join(texts, "; "); text != c.want {
			t.Errorf("%.60q: got %s, want %s", c.value, text, c.want)
		}
		switch {
		case c.found == "" && len(findings) > 0:
			t.Errorf("%.60q: %v", c.value, findings)
		case c.found != "" && (len(findings) != 1 || !strings.Contains(findings[0].Message, c.found)):
			t.Errorf("%.60q: findings %v, want one with %q", c.value, findings, c.found)
		}
		for _, f := range findings {
			if f.Reason == "" || f.Origin.Field == "" || f.Origin.Declared.Name != "self" || len(f.Message) > 500 {
				t.Errorf("finding %+v", f)
			}
		}
	}
}

func TestDependsOnIsBounded(t *testing.T) {
	var entries []string
	for i := range 3 * maxDependencies {
		entries = append(entries, fmt.Sprintf("Application/argocd/a%d", i))
	}
	got, findings := DependsOn(annotated(strings.Join(entries, ",")))
	if len(got) != maxDependencies || len(findings) != 1 {
		t.Errorf("%d dependencies and %d findings", len(got), len(findings))
	}
}

func FuzzDependsOn(f *testing.F) {
	f.Add("Application/a/b,Kustomization/c/d")
	f.Add("a.b.c/d/e\n///")
	f.Fuzz(func(t *testing.T, value string) {
		got, _ := DependsOn(annotated(value))
		for _, d := range got {
			if d.On.Kind == "" || d.On.Group == "" || d.On.Namespace == "" || d.On.Name == "" {
				t.Errorf("%q makes %+v", value, d.On)
			}
		}
	})
}
