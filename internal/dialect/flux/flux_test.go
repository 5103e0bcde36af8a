package flux

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	watcherv1 "github.com/fluxcd/source-watcher/api/v2/v1beta1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/conformance"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const canary = "canary-7f3a"

// TestConformance takes the inputs of the goldens as samples.
func TestConformance(t *testing.T) {
	suite := conformance.Suite{Dialect: New(), Canary: canary}
	for _, input := range goldens.Inputs(t, "compile-*.txt") {
		s := parseScene(t, input.Text)
		for _, declared := range s.objects {
			suite.Samples = append(suite.Samples, conformance.Sample{Name: input.Name + "/" + declared.GetName(), Declared: declared, Facts: s.facts, Settings: s.settings, Elsewhere: elsewhere(declared, s.settings)})
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
			suite.Samples = append(suite.Samples, canarySample(kindGitRepository, use, secret, ""))
		}
	}
	suite.Samples = append(suite.Samples, canarySamples()...)
	conformance.Run(t, suite)
}

// elsewhere are the namespaces that an object is sent to for what it reads: a
// HelmRelease to that of its chart's source, as the HelmChart made for it would
// be, and whoever decrypts to that of the installation's key.
func elsewhere(declared *unstructured.Unstructured, settings dialect.Settings) []string {
	home, _, _ := strings.Cut(settings.SOPSAgeSecret, "/")
	from, _, _ := unstructured.NestedString(declared.Object, "spec", "chart", "spec", "sourceRef", "namespace")
	return []string{home, from}
}

// canarySample is an object that reads its one Secret, with something wrong or
// nothing.
func canarySample(kind string, spec, secret map[string]any, kindOfSecret string) conformance.Sample {
	spec["interval"] = "1m"
	need := model.Need{Version: "v1", Kind: "Secret", Namespace: "ns", Name: "s"}
	held := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": kindOfSecret, "stringData": secret}}
	return conformance.Sample{
		Name: "canary " + kind,
		Declared: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": GroupSource + "/v1", "kind": kind,
			"metadata": map[string]any{"name": "canary", "namespace": "ns"}, "spec": spec,
		}},
		Facts: model.Facts{need: {State: model.Present, Object: held}},
	}
}

// canarySamples are the kinds that read HTTP credentials, with every Secret in
// every place.
func canarySamples() []conformance.Sample {
	var out []conformance.Sample
	ref := map[string]any{"name": "s"}
	for _, secret := range []map[string]any{
		{"username": "u", "password": canary, ".dockerconfigjson": canary, "accesskey": "a", "secretkey": canary, "serviceaccount": canary, "clientId": "c", "clientSecret": canary, "address": "http://u:" + canary + "@proxy"},
		{"password": canary, ".dockercfg": canary, "accesskey": canary, "tls.key": canary, "accountKey": canary, "address": canary},
		{"ca.crt": "PEM", "tls.crt": "PEM", "tls.key": canary, "a.pub": "PRIVATE KEY " + canary, "trustpolicy.json": "{}", "x.pem": "PRIVATE KEY " + canary},
	} {
		for _, use := range []map[string]any{
			{"secretRef": ref}, {"certSecretRef": ref}, {"proxySecretRef": ref}, {"verify": map[string]any{"secretRef": ref}},
			{"verify": map[string]any{"provider": "notation", "secretRef": ref}}, {"sts": map[string]any{"provider": "ldap", "endpoint": "https://x", "secretRef": ref}},
			{"secretRef": ref, "provider": "gcp"}, {"secretRef": ref, "provider": "azure"},
		} {
			for kind, fields := range map[string]map[string]any{
				kindOCIRepository:  {"url": "oci://example.com/x"},
				kindBucket:         {"bucketName": "x", "endpoint": "example.com"},
				kindHelmRepository: {"url": "https://u:" + canary + "@example.com"},
			} {
				spec := maps.Clone(use)
				maps.Copy(spec, fields)
				out = append(out, canarySample(kind, spec, secret, typeDockerConfig), canarySample(kind, maps.Clone(spec), secret, typeDockerLegacy))
			}
		}
	}
	return out
}

// TestStatusIsUpstreams decodes every status of the goldens into upstream's
// types, strictly.
func TestStatusIsUpstreams(t *testing.T) {
	for file, status := range map[string]func() any{
		"project-kustomization-story":    func() any { return &kustomizev1.KustomizationStatus{} },
		"project-kustomization-failures": func() any { return &kustomizev1.KustomizationStatus{} },
		"project-helmrelease-story":      func() any { return &helmv2.HelmReleaseStatus{} },
		"project-helmrelease-failures":   func() any { return &helmv2.HelmReleaseStatus{} },
		"project-helmrelease-taken-over": func() any { return &helmv2.HelmReleaseStatus{} },
		"project-gitrepository":          func() any { return &sourcev1.GitRepositoryStatus{} },
		"project-refused":                func() any { return &sourcev1.GitRepositoryStatus{} },
		"project-ocirepository":          func() any { return &sourcev1.OCIRepositoryStatus{} },
		"project-bucket":                 func() any { return &sourcev1.BucketStatus{} },
		"project-helmrepository":         func() any { return &sourcev1.HelmRepositoryStatus{} },
		"project-helmrepository-oci":     func() any { return &sourcev1.HelmRepositoryStatus{} },
		"project-helmchart":              func() any { return &sourcev1.HelmChartStatus{} },
		"project-externalartifact":       func() any { return &sourcev1.ExternalArtifactStatus{} },
		"project-artifactgenerator":      func() any { return &watcherv1.ArtifactGeneratorStatus{} },
	} {
		s := parseScene(t, goldens.Inputs(t, file+".txt")[0].Text)
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

// full has every field of the kinds, so that every field is asked for.
const full = `
apiVersion: %s
kind: %s
metadata: {name: full, namespace: ns}
spec:
  kubeConfig: {secretRef: {name: a}, configMapRef: {name: b}}
  sourceRef: {kind: GitRepository, name: x}
  artifacts: [{name: a, copy: [{from: "@a/b", to: "@artifact/"}]}]
  sources: [{alias: a, kind: Bucket, name: a}]
  secretRef: {name: a}
  proxySecretRef: {name: a}
  certSecretRef: {name: a}
  sts: {provider: ldap, endpoint: "https://a", secretRef: {name: a}, certSecretRef: {name: a}}
  decryption: {provider: sops, secretRef: {name: a}, serviceAccountName: a}
  verify: {mode: HEAD, secretRef: {name: a}, trustedRootSecretRef: {name: a}, matchOIDCIdentity: [{issuer: a, subject: b}]}
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
  decryption: {provider: sops, secretRef: {name: a}}
  chart: {spec: {sourceRef: {kind: HelmRepository, name: a}, verify: {provider: cosign, secretRef: {name: a}}}}
  chartRef: {kind: HelmChart, name: a}
  valuesFrom: [{kind: Secret, name: a}]
  driftDetection: {ignore: [{paths: [/a], target: {kind: A}}]}
  test: {filters: [{name: a}]}
  postRenderers:
    - kustomize:
        patches: [{patch: a, target: {kind: A}}]
        patchesStrategicMerge: [{a: b}]
        patchesJson6902: [{patch: [{op: a}], target: {kind: A}}]
        images: [{name: a}]
`

// TestTableIsTrue compares the table with what compiling asks for: a field that
// is said to work is read, and one that is read is in the table.
func TestTableIsTrue(t *testing.T) {
	read := map[string]string{kindKustomization: GroupKustomize, kindArtifactGenerator: GroupExtensions, kindHelmRelease: GroupHelm}
	for kind := range sources {
		read[kind.Kind] = kind.Group
	}
	for kind, group := range read {
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
			if _, inside := tables[kind].Within[shape]; inside {
				continue
			}
			if _, ok := tables[kind].Exact[shape]; !ok && !works[shape] {
				t.Errorf("%s %s is read and is not in the table", kind, shape)
			}
		}
	}
}

// fieldsRead compiles with a reader that can be asked afterwards.
func fieldsRead(declared *unstructured.Unstructured) map[string]bool {
	if kind, ok := sources[object.Of(declared).GroupKind()]; ok {
		return understand(declared, nil, dialect.Settings{}, kind.read).r.Seen
	}
	if declared.GetKind() == kindArtifactGenerator {
		r, _ := generatorOf(declared, dialect.Settings{})
		return r.Seen
	}
	r, spec := read(declared)
	g := &gathering{r: r}
	if declared.GetKind() == kindHelmRelease {
		releaseFields(spec, r.ID, dialect.Settings{})
		g.impliedChart(spec, dialect.Settings{})
		referredChart(spec.At("chartRef"), dialect.Settings{})
		g.values(spec)
		return r.Seen
	}
	deliveryFields(g, spec, dialect.Settings{})
	return r.Seen
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
# want: true
apiVersion: fluxcd.controlplane.io/v1
kind: FluxInstance
metadata: {name: flux, namespace: flux-system}
---
# want: false
apiVersion: fluxcd.controlplane.io/v1
kind: ResourceSet
metadata: {name: apps, namespace: flux-system}
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
	if len(findings) != reader.MaxFindings+1 || findings[reader.MaxFindings].Message != "950 more fields are not acted on" {
		t.Errorf("%d findings, the last is %q", len(findings), findings[len(findings)-1].Message)
	}
	edits := New().Project(&model.Report{Phase: model.PhaseDone, Revision: "r", Findings: findings}, declared)
	written, err := json.Marshal(edits.Status)
	if err != nil || len(written) > 2*maxMessage {
		t.Errorf("the status has %d bytes, %v", len(written), err)
	}
}

// questionsOf are those of an object that makes others.
func questionsOf(flux Flux, declared *unstructured.Unstructured) []model.Question {
	if declared.GetKind() != kindArtifactGenerator {
		return nil
	}
	_, questions, _, _ := flux.Expand(declared, nil, nil, dialect.Settings{})
	return questions
}

// FuzzCompile feeds arbitrary objects through everything that reads them.
func FuzzCompile(f *testing.F) {
	for _, input := range goldens.Inputs(f, "*.txt") {
		for _, doc := range strings.Split(input.Text, "\n---\n") {
			if seed, err := yaml.YAMLToJSON([]byte(doc)); err == nil {
				f.Add(seed)
			}
		}
	}
	f.Add([]byte(`{"apiVersion":"kustomize.toolkit.fluxcd.io/v1","kind":"Kustomization","spec":{"patches":[null,1,[]],"dependsOn":{},"interval":-1}}`))
	f.Add([]byte(`{"apiVersion":"source.toolkit.fluxcd.io/v1","kind":"GitRepository","spec":[],"status":[]}`))
	for kind := range sources {
		f.Add([]byte(`{"apiVersion":"` + kind.Group + `/v1","kind":"` + kind.Kind + `","metadata":{"name":"a","namespace":"b"},"spec":{"url":"oci://u:p@h/a:b@c","sourceRef":[],"verify":{"secretRef":1},"sts":[],"type":"oci"}}`))
	}
	f.Add([]byte(`{"apiVersion":"source.extensions.fluxcd.io/v1beta1","kind":"ArtifactGenerator","spec":{"pathPattern":"@a/{b}/{b","sources":[{"alias":"a"}],"artifacts":[{"name":"{","copy":[null]}]}}`))
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
		for _, question := range questionsOf(flux, declared) {
			answers := map[string]model.Answer{question.Key: {Directories: []string{"a", "a/b", "A/" + strings.Repeat("x", 300)}}}
			if _, _, _, err := flux.Expand(declared, nil, answers, dialect.Settings{}); err != nil {
				var fault *model.Fault
				if !errors.As(err, &fault) {
					t.Fatalf("%v is no fault", err)
				}
			}
		}
		flux.Replaces(declared)
		flux.Project(&model.Report{Phase: model.PhaseDone, Revision: "r", Digest: "d", Findings: findings, Inventory: []model.Claim{}}, declared)
		flux.ProjectSource(&model.SourceReport{Artifact: &model.Artifact{Revision: "r"}, Findings: findings}, declared)
	})
}
