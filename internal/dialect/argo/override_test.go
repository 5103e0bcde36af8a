package argo

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// renderOf reads the fields of a source.
func renderOf(t *testing.T, text string) model.Render {
	t.Helper()
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatal(err)
	}
	r := newReader(object.ID{})
	render := readRender(r.Root("source", fields))
	if fault := r.First(); fault != nil {
		t.Fatalf("%s: %v", text, fault)
	}
	return render
}

// TestOverride is a source, a file, and the source that they make.
func TestOverride(t *testing.T) {
	for _, c := range []struct{ source, file, want string }{
		{"{}", "", "{}"},
		{"{}", "kustomize: {images: [a:1]}", "kustomize: {images: [a:1]}"},
		{"kustomize: {images: [a:1, b:1]}", "kustomize: {images: [a:2]}", "kustomize: {images: [a:2]}"},
		{"kustomize: {images: [a:1], namePrefix: x-}", "kustomize: {namePrefix: y-}", "kustomize: {images: [a:1], namePrefix: y-}"},
		{"kustomize: {commonLabels: {a: b, c: d}}", "kustomize: {commonLabels: {a: null, e: f}}", "kustomize: {commonLabels: {c: d, e: f}}"},
		{"kustomize: {namePrefix: x}", "kustomize: null", "{}"},
		{"kustomize: {namePrefix: x}", "{kustomize: null, directory: {recurse: true}}", "directory: {recurse: true}"},
		{"{}", "helm: {values: x}", "helm: {values: x}"},
		{"helm: {values: x}", "helm: null", "{}"},
		{"helm: {values: x}", "helm: {values: z}", "helm: {values: z}"},
		{"helm: {values: x}", "helm: {valuesObject: {a: {b: 1}}}", "helm: {valuesObject: {a: {b: 1}}}"},
		{"helm: {valuesObject: {a: {b: 1, c: 2}}}", "helm: {valuesObject: {a: {b: 3, c: null}}}", "helm: {valuesObject: {a: {b: 3}}}"},
		{"helm: {valuesObject: {a: 1}}", "helm: {values: z}", "helm: {valuesObject: {a: 1}, values: z}"},
		{"helm: {parameters: [{name: a, value: b}], fileParameters: [{name: c, path: d}]}", "helm: {parameters: [{name: a, value: e, forceString: true}]}", "helm: {parameters: [{name: a, value: e, forceString: true}], fileParameters: [{name: c, path: d}]}"},
		{"helm: {valueFiles: [a, b], releaseName: r}", "helm: {valueFiles: [c], releaseName: null}", "helm: {valueFiles: [c]}"},
		{"directory: {jsonnet: {tlas: [{name: a, value: b}]}}", "directory: {recurse: true}", "directory: {recurse: true, jsonnet: {tlas: [{name: a, value: b}]}}"},
		{"directory: {include: '*.yaml', exclude: x}", "directory: {exclude: null}", "directory: {include: '*.yaml'}"},
		// where a source comes from is not changed
		{"kustomize: {namePrefix: x}", "{repoURL: https://evil.example.com, path: /, targetRevision: other, chart: c, ref: r}", "kustomize: {namePrefix: x}"},
	} {
		render := renderOf(t, c.source)
		render.Overrides, render.Environment = []string{"f"}, map[string]string{"A": "b"}
		got, err := New().Override(render, ".argocd-source.yaml", []byte(c.file))
		want := renderOf(t, c.want)
		want.Overrides, want.Environment = render.Overrides, render.Environment
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s + %s: got %+v (%v), want %+v", c.source, c.file, got, err, want)
		}
	}
}

// TestOverrideKeepsEverything: an empty file changes no option that there is.
func TestOverrideKeepsEverything(t *testing.T) {
	for _, source := range []string{
		`kustomize:
  namespace: a
  namePrefix: b
  nameSuffix: c
  images: [d]
  replicas: [{name: e, count: 0}, {name: f, count: "7"}]
  components: [g]
  ignoreMissingComponents: true
  commonLabels: {h: i}
  labelWithoutSelector: true
  labelIncludeTemplates: true
  forceCommonLabels: true
  commonAnnotations: {j: k}
  commonAnnotationsEnvsubst: true
  forceCommonAnnotations: true
  version: l
  patches:
    - patch: m
      target: {group: gg, version: o, kind: p, name: q, namespace: rr, labelSelector: s, annotationSelector: t}
      options: {allowNameChange: true}
    - path: u
      target: {}
      options: {allowKindChange: true}
`,
		`helm:
  valueFiles: [a, $b/c]
  ignoreMissingValueFiles: true
  values: "d: e"
  parameters: [{name: f, value: g}, {name: h, value: i, forceString: true}]
  fileParameters: [{name: j, path: k}]
  releaseName: l
  namespace: m
  version: v3
  skipCrds: true
  skipSchemaValidation: true
  skipTests: true
  kubeVersion: 1.34.0
  apiVersions: [nn]
`,
		"helm: {valuesObject: {o: [1, 2.5, null, p]}}",
		`directory:
  recurse: true
  include: a
  exclude: b
  disableExtensionFilter: true
  jsonnet: {extVars: [{name: c, value: "", code: true}], tlas: [{name: d, value: e}], libs: [f]}
`,
		`directory: {include: xx}`, `{}`, `helm: {releaseName: x}`,
	} {
		render := renderOf(t, source)
		got, err := New().Override(render, "f", []byte("{}"))
		if err != nil || !reflect.DeepEqual(got, render) {
			t.Errorf("%s: got %+v (%v), want %+v", source, got, err, render)
		}
	}
}

func TestOverrideRefused(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"[", "not YAML"},
		{"[a]", "fields of a source"},
		{"kustomize: {images: a}", "must be a list"},
		{"{kustomize: {namePrefix: a}, directory: {recurse: true}}", "multiple application sources"},
		{"plugin: {name: x}", "not supported"},
		{"a: '" + strings.Repeat("x", maxOverride) + "'", "longer than"},
	} {
		render := model.Render{Kind: model.RenderDetect}
		got, err := New().Override(render, ".argocd-source.yaml", []byte(c.file))
		var fault *model.Fault
		if !errors.As(err, &fault) || !strings.Contains(fault.Message, c.want) || fault.Origin.File != ".argocd-source.yaml" || fault.Origin.Dialect != Name {
			t.Errorf("%.40s: %+v", c.file, err)
		}
		if !reflect.DeepEqual(got, render) {
			t.Errorf("%.40s: a refused file changes %+v", c.file, got)
		}
	}
}

// TestOverrideRespectsSettings: a tool that the installation has turned off is
// not turned on by a file that says nothing of tools.
func TestOverrideRespectsSettings(t *testing.T) {
	got, err := New().Override(model.Render{Kind: model.RenderDirectory}, "f", []byte("directory: {include: x}"))
	if err != nil || got.Kind != model.RenderDirectory || got.Directory.Include != "x" {
		t.Errorf("%+v %v", got, err)
	}
}

func FuzzOverride(f *testing.F) {
	f.Add([]byte("kustomize: {images: [a], patches: [{patch: x}]}"))
	f.Add([]byte("{directory: {jsonnet: null}, helm: 1}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		render := model.Render{Kind: model.RenderKustomize, Kustomize: model.KustomizeOptions{NamePrefix: "a", SelectorLabels: true}}
		got, err := New().Override(render, "f", content)
		if err != nil {
			var fault *model.Fault
			if !errors.As(err, &fault) {
				t.Errorf("%v is no fault", err)
			}
			return
		}
		if _, err := New().Override(got, "f", nil); err != nil {
			t.Errorf("what an override made cannot be read again: %v", err)
		}
	})
}
