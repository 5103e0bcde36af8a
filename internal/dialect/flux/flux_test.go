package flux

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/conformance"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const canary = "canary-7f3a"

// TestConformance takes the inputs of the goldens as samples.
func TestConformance(t *testing.T) {
	suite := conformance.Suite{Dialect: New(), Canary: canary}
	files, err := filepath.Glob("testdata/compile-*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, _, _ := strings.Cut(string(text), divider)
		s := parseScene(t, input)
		for _, declared := range s.objects {
			name := strings.TrimSuffix(filepath.Base(file), ".txt") + "/" + declared.GetName()
			suite.Samples = append(suite.Samples, conformance.Sample{Name: name, Declared: declared, Facts: s.facts, Settings: s.settings})
		}
	}
	for _, secret := range []map[string]any{
		{"username": "u", "password": canary},
		{"bearerToken": canary, "tls.crt": "PEM", "tls.key": canary},
		{"githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": canary},
		{"password": canary}, {"githubAppPrivateKey": canary}, {"address": "http://u:" + canary + "@ proxy"},
		{"data": canary, "key.asc": "-----BEGIN PGP PRIVATE KEY BLOCK----- " + canary},
	} {
		for _, use := range []map[string]any{
			{"url": "https://example.com/x", "secretRef": map[string]any{"name": "s"}},
			{"url": "ssh://example.com/x", "secretRef": map[string]any{"name": "s"}},
			{"url": "https://example.com/x", "provider": "github", "secretRef": map[string]any{"name": "s"}},
			{"url": "https://u:" + canary + "@example.com/x", "proxySecretRef": map[string]any{"name": "s"}},
			{"url": "https://u:" + canary + "@ example.com/x"},
			{"url": "https://example.com/x", "verify": map[string]any{"secretRef": map[string]any{"name": "s"}}},
		} {
			use["interval"] = "1m"
			declared := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": GroupSource + "/v1", "kind": "GitRepository",
				"metadata": map[string]any{"name": "canary", "namespace": "ns"}, "spec": use,
			}}
			need := model.Need{Version: "v1", Kind: "Secret", Namespace: "ns", Name: "s"}
			held := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "stringData": secret}}
			suite.Samples = append(suite.Samples, conformance.Sample{
				Name: "canary", Declared: declared, Facts: model.Facts{need: {State: model.Present, Object: held}},
			})
		}
	}
	conformance.Run(t, suite)
}

// TestStatusIsUpstreams decodes every status of the goldens into upstream's
// types, strictly.
func TestStatusIsUpstreams(t *testing.T) {
	for file, status := range map[string]func() any{
		"project-kustomization-story.txt":    func() any { return &kustomizev1.KustomizationStatus{} },
		"project-kustomization-failures.txt": func() any { return &kustomizev1.KustomizationStatus{} },
		"project-gitrepository.txt":          func() any { return &sourcev1.GitRepositoryStatus{} },
		"project-refused.txt":                func() any { return &sourcev1.GitRepositoryStatus{} },
	} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		input, _, _ := strings.Cut(string(text), "\n"+divider)
		s := parseScene(t, input+"\n")
		live := s.objects[0]
		for _, other := range s.others {
			edits := projection(t, other)(live)
			if edits.Status == nil {
				continue
			}
			live = applied(live, edits)
			written, err := json.Marshal(edits.Status)
			if err != nil {
				t.Fatal(err)
			}
			into := status()
			if err := yaml.UnmarshalStrict(written, into); err != nil {
				t.Errorf("%s, %v: %v", file, other["title"], err)
			}
			back, err := json.Marshal(into)
			if err != nil {
				t.Fatal(err)
			}
			var again map[string]any
			if err := json.Unmarshal(back, &again); err != nil {
				t.Fatal(err)
			}
			if want, _ := edits.Status["observedGeneration"].(int64); want != 0 && again["observedGeneration"] != float64(want) {
				t.Errorf("%s, %v: upstream reads another status", file, other["title"])
			}
		}
	}
}

// full has every field of both kinds, so that every field is asked for.
const full = `
apiVersion: %s
kind: %s
metadata: {name: full, namespace: ns}
spec:
  kubeConfig: {secretRef: {name: a}, configMapRef: {name: b}}
  sourceRef: {kind: GitRepository, name: x}
  secretRef: {name: a}
  proxySecretRef: {name: a}
  verify: {mode: HEAD, secretRef: {name: a}}
  include: [{repository: {name: a}}]
  sparseCheckout: [a]
  dependsOn: [{name: a}]
  ignore: [{paths: [/a], target: {kind: A}}]
  healthChecks: [{kind: A, name: a}]
  healthCheckExprs: [{kind: A, apiVersion: v1, current: a}]
  patches: [{patch: a, target: {kind: A}}]
  patchesStrategicMerge: [{a: b}]
  patchesJson6902: [{patch: [{op: a}], target: {kind: A}}]
  images: [{name: a}]
  postBuild: {substitute: {a: b}, substituteFrom: [{kind: Secret, name: a}]}
  wait: true
`

// TestTableIsTrue compares the table with what compiling asks for: a field that
// is said to work is read, and one that is read is in the table.
func TestTableIsTrue(t *testing.T) {
	for kind, group := range map[string]string{kindGitRepository: GroupSource, kindKustomization: GroupKustomize} {
		declared := &unstructured.Unstructured{}
		text := strings.Replace(strings.Replace(full, "%s", group+"/v1", 1), "%s", kind, 1)
		if err := yaml.Unmarshal([]byte(text), declared); err != nil {
			t.Fatal(err)
		}
		seen := fieldsRead(declared)
		works := map[string]bool{}
		for _, field := range Fields() {
			if field.Kind != kind {
				continue
			}
			shape := strings.TrimSuffix(strings.TrimSuffix(field.Path, "[]"), ".*")
			if field.Support == Works {
				works[shape] = true
				if !seen[shape] {
					t.Errorf("%s %s is said to work and is not read", kind, field.Path)
				}
			}
			if field.Support != Works && field.Support != Refused && seen[shape] {
				t.Errorf("%s %s is read and is not said to work", kind, field.Path)
			}
		}
		for shape := range seen {
			if _, inside := tables[kind].within[shape]; inside {
				continue
			}
			if _, ok := tables[kind].exact[shape]; !ok && !works[shape] {
				t.Errorf("%s %s is read and is not in the table", kind, shape)
			}
		}
	}
}

// fieldsRead compiles with a reader that can be asked afterwards.
func fieldsRead(declared *unstructured.Unstructured) map[string]bool {
	r, spec := read(declared)
	if declared.GetKind() == kindGitRepository {
		sourceFields(spec, r.id.Namespace)
	} else {
		deliveryFields(spec, r.id.Namespace, dialect.Settings{})
	}
	return r.seen
}

func TestReady(t *testing.T) {
	object := func(generation, observed int64, ready string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"generation": generation},
			"status":   map[string]any{"observedGeneration": observed, "conditions": []any{map[string]any{"type": "Ready", "status": ready}}},
		}}
	}
	for _, c := range []struct {
		object *unstructured.Unstructured
		want   bool
	}{
		{object(2, 2, "True"), true},
		{object(2, 1, "True"), false},
		{object(2, 2, "False"), false},
		{object(2, 2, "Unknown"), false},
		{&unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"generation": int64(1)}}}, false},
		{&unstructured.Unstructured{Object: map[string]any{"status": "nonsense"}}, false},
	} {
		if got := New().Ready(c.object); got != c.want {
			t.Errorf("%v: %t", c.object.Object, got)
		}
	}
}

func TestReplaces(t *testing.T) {
	const text = `
# want: true
apiVersion: apps/v1
kind: Deployment
metadata: {name: source-controller, namespace: flux-system, labels: {app.kubernetes.io/part-of: flux}}
---
# want: true
apiVersion: apps/v1
kind: Deployment
metadata: {name: kustomize-controller, namespace: gitops}
spec: {template: {spec: {containers: [{name: sidecar, image: x}, {name: manager, image: "registry.example.com:5000/mirror/fluxcd/kustomize-controller:v1.9.5@sha256:0"}]}}}
---
# want: false
apiVersion: apps/v1
kind: Deployment
metadata: {name: source-controller, namespace: mine}
spec: {template: {spec: {containers: [{name: manager, image: "example.com/my/source-controller:1"}]}}}
---
# want: false
apiVersion: apps/v1
kind: Deployment
metadata: {name: podinfo, namespace: flux-system, labels: {app.kubernetes.io/part-of: flux}}
---
# want: false
apiVersion: v1
kind: Namespace
metadata: {name: flux-system, labels: {app.kubernetes.io/part-of: flux}}
---
# want: false
apiVersion: v1
kind: Service
metadata: {name: source-controller, namespace: flux-system, labels: {app.kubernetes.io/part-of: flux}}
---
# want: true
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kustomizations.kustomize.toolkit.fluxcd.io}
spec: {group: kustomize.toolkit.fluxcd.io}
---
# want: true
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: artifactgenerators.source.extensions.fluxcd.io}
spec: {group: source.extensions.fluxcd.io}
---
# want: false
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.toolkit.fluxcd.io.example.com}
spec: {group: toolkit.fluxcd.io.example.com}
---
# want: false
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
`
	for _, doc := range strings.Split(text, "---\n") {
		rendered := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), rendered); err != nil {
			t.Fatal(err)
		}
		if got, want := New().Replaces(rendered), strings.Contains(doc, "want: true"); got != want {
			t.Errorf("%s: %t", object.Of(rendered), got)
		}
	}
}

func TestControllersHoldUpstreamsLeases(t *testing.T) {
	var leases []string
	for _, c := range New().Controllers(dialect.Settings{}) {
		leases = append(leases, c.Lease)
	}
	for _, want := range []string{"source-controller-leader-election", "kustomize-controller-leader-election", "source-watcher-leader-election"} {
		if !slices.Contains(leases, want) {
			t.Errorf("%s is not among %v", want, leases)
		}
	}
}

func TestManyUnknownFieldsAreBounded(t *testing.T) {
	spec := map[string]any{"interval": "1m", "prune": true, "sourceRef": map[string]any{"kind": "GitRepository", "name": "x"}}
	for i := range 1000 {
		spec["f"+strings.Repeat("x", i)] = "y"
	}
	declared := &unstructured.Unstructured{Object: map[string]any{"apiVersion": GroupKustomize + "/v1", "kind": "Kustomization", "metadata": map[string]any{"name": "a", "namespace": "b"}, "spec": spec}}
	_, _, findings, err := New().Compile(declared, nil, dialect.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) != maxFindings+1 || findings[maxFindings].Message != "950 more fields are not acted on" {
		t.Errorf("%d findings, the last is %q", len(findings), findings[len(findings)-1].Message)
	}
	edits := New().Project(&model.Report{Phase: model.PhaseDone, Revision: "r", Findings: findings}, declared)
	written, err := json.Marshal(edits.Status)
	if err != nil || len(written) > 2*maxMessage {
		t.Errorf("the status has %d bytes, %v", len(written), err)
	}
}

// FuzzCompile feeds arbitrary objects through everything that reads them.
func FuzzCompile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(text), divider)
		for _, doc := range strings.Split(input, "\n---\n") {
			if seed, err := yaml.YAMLToJSON([]byte(doc)); err == nil {
				f.Add(seed)
			}
		}
	}
	f.Add([]byte(`{"apiVersion":"kustomize.toolkit.fluxcd.io/v1","kind":"Kustomization","spec":{"patches":[null,1,[]],"dependsOn":{},"interval":-1}}`))
	f.Add([]byte(`{"apiVersion":"source.toolkit.fluxcd.io/v1","kind":"GitRepository","spec":[],"status":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		declared := &unstructured.Unstructured{}
		if declared.UnmarshalJSON(text) != nil || declared.Object == nil {
			return
		}
		flux, facts := New(), model.Facts{}
		var findings []model.Finding
		for range 3 {
			intent, needs, found, err := flux.Compile(declared, facts, dialect.Settings{})
			findings = found
			if err != nil {
				var fault *model.Fault
				if !errors.As(err, &fault) {
					t.Fatalf("%v is no fault", err)
				}
				flux.Refuse(fault, findings, declared)
			}
			if err == nil && len(needs) == 0 && intent.Source == nil && intent.Delivery == nil {
				t.Fatal("neither an intent nor a fault nor a need")
			}
			for _, need := range needs {
				facts[need] = model.Fact{State: model.Present, Object: declared}
			}
		}
		flux.Ready(declared)
		flux.Replaces(declared)
		flux.Project(&model.Report{Phase: model.PhaseDone, Revision: "r", Digest: "d", Findings: findings, Inventory: []model.Claim{}}, declared)
		flux.ProjectSource(&model.SourceReport{Artifact: &model.Artifact{Revision: "r"}, Findings: findings}, declared)
	})
}
