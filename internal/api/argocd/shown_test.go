package argocd_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/argocd"
)

// chart is an Application with a password among its parameters.
const chart = `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: chart, namespace: argocd}
spec:
  project: shop
  source:
    repoURL: https://canary-user:canary-url@example.org/shop.git
    path: deploy
    helm:
      parameters: [{name: replicas, value: "3"}, {name: adminPassword, value: canary-parameter}]
      values: "password: canary-values"
  destination: {server: "https://kubernetes.default.svc", namespace: shop}
  syncPolicy: {automated: {prune: true}}
operation:
  info: [{name: why, value: canary-values}]
  sync: {revision: main}
status:
  sync: {status: OutOfSync, revision: abc}
  health: {status: Healthy}
  history: [{id: 0, revision: abc, source: {repoURL: "https://example.org/shop.git", path: deploy, helm: {values: "password: canary-values"}}}]
  conditions: [{type: ComparisonError, message: "cannot parse password: canary-values"}]`

// veil is what the console's server hides: values of telling names.
func veil(o *unstructured.Unstructured) *unstructured.Unstructured {
	if o.GetName() != "chart" {
		return o
	}
	out := o.DeepCopy()
	parameters, _, _ := unstructured.NestedSlice(out.Object, "spec", "source", "helm", "parameters")
	for _, p := range parameters {
		if m, _ := p.(map[string]any); strings.Contains(fmt.Sprint(m["name"]), "Password") {
			m["value"] = "***"
		}
	}
	_ = unstructured.SetNestedSlice(out.Object, parameters, "spec", "source", "helm", "parameters")
	for _, path := range [][]string{{"spec", "source", "helm", "values"}} {
		_ = unstructured.SetNestedField(out.Object, "password: ***", path...)
	}
	unstructured.RemoveNestedField(out.Object, "status")
	unstructured.RemoveNestedField(out.Object, "operation")
	return out
}

func (s *stage) declared(name string) *unstructured.Unstructured {
	s.t.Helper()
	o, err := s.objects.Get(context.Background(), argocd.KindApplication, "argocd", name)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// anyRepository lets project shop read from everywhere.
func (s *stage) anyRepository() {
	s.t.Helper()
	if _, err := s.objects.Patch(context.Background(), argocd.KindProject, "argocd", "shop", "", []byte(`{"spec":{"sourceRepos":["*"]}}`)); err != nil {
		s.t.Fatal(err)
	}
}

// TestWhatIsHiddenComesBack: a command line that reads an Application, changes
// it and sends it back whole loses nothing that it was not shown, and finds out
// nothing either.
func TestWhatIsHiddenComesBack(t *testing.T) {
	s := setup(t, project, defaultProject, chart)
	s.shown = func(o *unstructured.Unstructured) (*unstructured.Unstructured, bool) { return veil(o), false }
	s.anyRepository()
	got := s.must("admin", apps+"Get", map[string]any{"name": "chart"})
	if text := fmt.Sprint(got); strings.Contains(text, "canary") || !strings.Contains(text, "++++++++") {
		t.Fatalf("got %s", text)
	}
	for call, message := range map[string]map[string]any{"List": {}, "Sync": {"name": "chart", "dryRun": true}} {
		if out, err := s.as("admin", apps+call, message); strings.Contains(fmt.Sprint(out, err), "canary") {
			t.Errorf("%s tells %v, %v", call, out, err)
		}
	}

	spec, _ := pick(got, "spec").(map[string]any)
	parameters, _ := pick(spec, "source", "helm", "parameters").([]any)
	slices.Reverse(parameters)
	if err := unstructured.SetNestedField(spec, "elsewhere", "source", "path"); err != nil {
		t.Fatal(err)
	}
	out := s.must("admin", apps+"UpdateSpec", map[string]any{"name": "chart", "spec": spec})
	if strings.Contains(fmt.Sprint(out), "canary") {
		t.Errorf("got %v", out)
	}
	now := s.declared("chart")
	for path, want := range map[string]string{
		"path": "elsewhere", "repoURL": "https://canary-user:canary-url@example.org/shop.git", "helm.values": "password: canary-values",
	} {
		if value := pick(now.Object, append([]string{"spec", "source"}, strings.Split(path, ".")...)...); value != want {
			t.Errorf("%s is %v", path, value)
		}
	}
	if stored := fmt.Sprint(pick(now.Object, "spec", "source", "helm", "parameters")); stored != "[map[name:adminPassword value:canary-parameter] map[name:replicas value:3]]" {
		t.Errorf("parameters are %s", stored)
	}

	s.refused(connect.CodeInvalidArgument, "a masked value cannot be written", "admin", apps+"Patch",
		map[string]any{"name": "chart", "patchType": "merge", "patch": `{"spec":{"source":{"helm":{"values":"user: a\npassword: ***"}}}}`})
	s.refused(connect.CodeInvalidArgument, "a masked value cannot be written", "admin", apps+"Patch",
		map[string]any{"name": "chart", "patchType": "json", "patch": `[{"op":"copy","from":"/spec/source/helm/parameters/0/value","path":"/spec/source/targetRevision"}]`})
	s.refused(connect.CodeInvalidArgument, "error applying patch", "admin", apps+"Patch",
		map[string]any{"name": "chart", "patchType": "json", "patch": `[{"op":"test","path":"/spec/source/helm/parameters/0/value","value":"canary-parameter"}]`})
	made := map[string]any{"metadata": map[string]any{"name": "copy"}, "spec": spec}
	s.refused(connect.CodeInvalidArgument, "a masked value cannot be written", "admin", apps+"Create", map[string]any{"application": made})
	// Calling one's own the same is no way to what another holds.
	spec["project"] = "default"
	s.refused(connect.CodePermissionDenied, "permission denied", "shopkeeper", apps+"Create", map[string]any{"application": map[string]any{"metadata": map[string]any{"name": "chart"}, "spec": spec}, "upsert": true})
}

// TestDecrypted: of an Application that came out of an encrypted file is shown
// where it is from and what became of it, and nothing else.
func TestDecrypted(t *testing.T) {
	s := setup(t, project, defaultProject, chart, shop)
	s.shown = func(o *unstructured.Unstructured) (*unstructured.Unstructured, bool) {
		return o, o.GetName() == "chart"
	}
	s.anyRepository()
	for call, message := range map[string]map[string]any{
		"Get": {"name": "chart"}, "List": {}, "Sync": {"name": "chart"}, "Rollback": {"name": "chart", "id": int64(0)},
		"Patch": {"name": "chart", "patchType": "merge", "patch": `{"spec":{"source":{"path":"x"}}}`},
	} {
		if out, err := s.as("admin", apps+call, message); strings.Contains(fmt.Sprint(out, err), "canary") {
			t.Errorf("%s tells %v, %v", call, out, err)
		}
	}
	got := s.must("admin", apps+"Get", map[string]any{"name": "chart"})
	for path, want := range map[string]any{
		"spec.project": "shop", "spec.source.path": "deploy", "spec.syncPolicy.automated.prune": true, "spec.destination.namespace": "shop",
		"status.sync.status": "OutOfSync", "status.health.status": "Healthy",
	} {
		if value := pick(got, strings.Split(path, ".")...); value != want {
			t.Errorf("%s is %v", path, value)
		}
	}
	s.refused(connect.CodeFailedPrecondition, "decrypted from Git", "admin", apps+"Patch", map[string]any{"name": "chart", "patchType": "merge", "patch": `{"spec":{"source":{"path":"x"}}}`})
	s.must("admin", apps+"Patch", map[string]any{"name": "chart", "patchType": "merge", "patch": `{"metadata":{"labels":{"team":"a"}}}`})
	if now := s.declared("chart"); now.GetLabels()["team"] != "a" || pick(now.Object, "spec", "source", "helm", "values") != "password: canary-values" {
		t.Errorf("it is %v", now.Object)
	}
}
