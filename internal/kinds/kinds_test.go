package kinds

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// typed decodes a definition as the API server does.
func typed(t *testing.T, definition *unstructured.Unstructured) *apiextv1.CustomResourceDefinition {
	t.Helper()
	out := &apiextv1.CustomResourceDefinition{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(definition.Object, out, true); err != nil {
		t.Fatalf("%s: %v", definition.GetName(), err)
	}
	return out
}

// schemaFor is the schema of one version in the API server's own types.
func schemaFor(t *testing.T, definition *apiextv1.CustomResourceDefinition, version string) (*apiext.JSONSchemaProps, *structural.Structural) {
	t.Helper()
	for _, v := range definition.Spec.Versions {
		if v.Name != version {
			continue
		}
		internal := &apiext.JSONSchemaProps{}
		if err := apiextv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, internal, nil); err != nil {
			t.Fatal(err)
		}
		s, err := structural.NewStructural(internal)
		if err != nil {
			t.Fatalf("%s %s: %v", definition.Name, version, err)
		}
		return internal, s
	}
	t.Fatalf("%s has no version %s", definition.Name, version)
	return nil, nil
}

// TestDefinitionsAreWhatTheDialectSays compares with the dialect's list of
// kinds, and asks for what the API server asks for.
func TestDefinitionsAreWhatTheDialectSays(t *testing.T) {
	of := 0
	for _, definition := range CRDs() {
		if group, _, _ := unstructured.NestedString(definition.Object, "spec", "group"); group != argoGroup {
			of++
		}
	}
	if of != len(flux.New().Kinds()) {
		t.Errorf("%d definitions for %d kinds", of, len(flux.New().Kinds()))
	}
	for _, kind := range flux.New().Kinds() {
		found := For(kind.GroupKind)
		if found == nil {
			t.Errorf("%s has no definition", kind.GroupKind)
			continue
		}
		definition := typed(t, found)
		if definition.Spec.Names.Plural != kind.Plural || definition.Spec.Scope != apiextv1.NamespaceScoped {
			t.Errorf("%s: plural %s, scope %s", kind.GroupKind, definition.Spec.Names.Plural, definition.Spec.Scope)
		}
		if !slices.Contains(definition.Spec.Names.Categories, "fluxcd") {
			t.Errorf("%s: kubectl get fluxcd does not list it", kind.GroupKind)
		}
		var versions []string
		for i, version := range definition.Spec.Versions {
			versions = append(versions, version.Name)
			if !version.Served || version.Storage != (i == 0) {
				t.Errorf("%s %s: served %t, stored %t", kind.GroupKind, version.Name, version.Served, version.Storage)
			}
			if len(version.AdditionalPrinterColumns) == 0 || version.Subresources == nil {
				t.Errorf("%s %s has no columns or subresources", kind.GroupKind, version.Name)
			}
			if _, s := schemaFor(t, definition, version.Name); s != nil {
				for _, err := range structural.ValidateStructural(nil, s) {
					t.Errorf("%s %s: %v", kind.GroupKind, version.Name, err)
				}
			}
		}
		if !slices.Equal(versions, kind.Versions) {
			t.Errorf("%s serves %v, the dialect knows %v", kind.GroupKind, versions, kind.Versions)
		}
	}
}

func TestDefinitionsHaveNoDescriptions(t *testing.T) {
	for _, definition := range CRDs() {
		for name, version := range versionsOf(definition) {
			if at := described(schemaOf(version), ""); at != "" {
				t.Errorf("%s %s%s has a description", definition.GetName(), name, at)
			}
		}
	}
}

func described(schema map[string]any, path string) string {
	if _, ok := schema["description"].(string); ok {
		return path
	}
	for _, name := range sorted(mapAt(schema, "properties")) {
		if at := described(mapAt(mapAt(schema, "properties"), name), path+"."+name); at != "" {
			return at
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if below := mapAt(schema, key); below != nil {
			if at := described(below, path+"."+key); at != "" {
				return at
			}
		}
	}
	return ""
}

// TestCallersCannotSpoilTheDefinitions changes what was handed out.
func TestCallersCannotSpoilTheDefinitions(t *testing.T) {
	CRDs()[0].SetName("spoilt")
	if CRDs()[0].GetName() == "spoilt" {
		t.Error("the next caller gets what the last one changed")
	}
	if For(schema.GroupKind{Group: "example.com", Kind: "Kustomization"}) != nil {
		t.Error("a kind of somebody else has a definition")
	}
}

// inTheWild are manifests that must be accepted as they stand, in their
// version, without losing a field.
const inTheWild = `
apiVersion: kustomize.toolkit.fluxcd.io/v1beta2
kind: Kustomization
spec: {decryption: {provider: sops, secretRef: {name: sops-gpg}}, path: ./secrets, prune: true, sourceRef: {kind: GitRepository, name: x}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
spec:
  interval: 5m
  path: ./x
  prune: true
  sourceRef: {kind: GitRepository, name: x}
  validation: client
  patchesStrategicMerge: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {any: thing}}]
  patchesJson6902: [{patch: [{op: add, path: /a, value: {any: [thing]}}], target: {kind: A}}]
  healthChecks: [{kind: Deployment, name: a, namespace: b}]
status: {observedGeneration: -1, snapshot: {checksum: a, entries: [{namespace: b, kinds: {c: d}}]}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
spec: {interval: 1m, url: "ssh://git@example.com/x", gitImplementation: libgit2, accessFrom: {namespaceSelectors: [{matchLabels: {a: b}}]}, verify: {mode: head, secretRef: {name: a}}}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta1
kind: Provider
spec: {type: smtp, address: "smtp.gmail.com:587", username: sender@gmail.com, secretRef: {name: smtp-credentials}}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta1
kind: Alert
spec: {providerRef: {name: slack}, eventSeverity: info, eventSources: [{kind: GitRepository, name: webapp}, {kind: HelmRelease, name: webapp}], exclusionList: [".*upgrade.*succeeded.*"], inclusionList: [".*error.*"], suspend: false}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
spec: {interval: 1h0m0s, url: "https://charts.bitnami.com/bitnami"}
---
apiVersion: helm.toolkit.fluxcd.io/v2beta1
kind: HelmRelease
spec: {interval: 1h, chart: {spec: {chart: nginx, version: "1", sourceRef: {kind: HelmRepository, name: bitnami}}}, values: {any: {thing: 1}}}
`

func TestManifestsInTheWildAreAcceptedWhole(t *testing.T) {
	for _, doc := range strings.Split(inTheWild, "---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), o); err != nil {
			t.Fatal(err)
		}
		gvk := o.GroupVersionKind()
		found := For(gvk.GroupKind())
		if found == nil {
			t.Fatalf("%s has no definition", gvk)
		}
		internal, s := schemaFor(t, typed(t, found), gvk.Version)
		validator, _, err := validation.NewSchemaValidator(internal)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range validation.ValidateCustomResource(nil, o.Object, validator) {
			t.Errorf("%s is refused: %v", gvk, err)
		}
		for _, path := range pruning.PruneWithOptions(o.DeepCopy().Object, s, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
			t.Errorf("%s loses %s", gvk, path)
		}
	}
}

func TestWhatUpstreamRefusesIsRefused(t *testing.T) {
	for doc, field := range map[string]string{
		"{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, spec: {interval: 1 day, prune: true, sourceRef: {kind: GitRepository, name: x}}}":               "spec.interval",
		"{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, spec: {interval: 1m, prune: true, sourceRef: {kind: Nothing, name: x}}}":                        "spec.sourceRef.kind",
		"{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, spec: {interval: 1m, url: 'git@example.com:x'}}":                                                   "spec.url",
		"{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, spec: {interval: 1m, prune: true, deletionPolicy: Maybe, sourceRef: {kind: Bucket, name: x}}}":  "spec.deletionPolicy",
		"{apiVersion: notification.toolkit.fluxcd.io/v1beta1, kind: Provider, spec: {type: pigeon}}":                                                                       "spec.type",
		"{apiVersion: kustomize.toolkit.fluxcd.io/v1beta1, kind: Kustomization, spec: {interval: 1m, prune: true, validation: maybe, sourceRef: {kind: Bucket, name: x}}}": "spec.validation",
	} {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), o); err != nil {
			t.Fatal(err)
		}
		gvk := o.GroupVersionKind()
		internal, _ := schemaFor(t, typed(t, For(gvk.GroupKind())), gvk.Version)
		validator, _, err := validation.NewSchemaValidator(internal)
		if err != nil {
			t.Fatal(err)
		}
		errs := validation.ValidateCustomResource(nil, o.Object, validator)
		if len(errs) != 1 || errs[0].Field != field {
			t.Errorf("%s: %v, want a complaint about %s", doc, errs, field)
		}
	}
}

// TestGeneratorReadsTheVersionsWeTestAgainst compares the two go.mod files.
func TestGeneratorReadsTheVersionsWeTestAgainst(t *testing.T) {
	requirement := regexp.MustCompile(`(?m)^\s*(github\.com/fluxcd/\S+/api(?:/v\d+)?) (v\S+)`)
	versions := func(file string) map[string]string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, match := range requirement.FindAllStringSubmatch(string(text), -1) {
			out[match[1]] = match[2]
		}
		return out
	}
	ours, generators := versions("../../go.mod"), versions("gen/go.mod")
	if len(generators) != 7 || fmt.Sprint(ours) != fmt.Sprint(generators) {
		t.Errorf("the definitions are made from %v, the tests compare with %v", generators, ours)
	}
}

// TestTheServerTakesTheStatusesThatWeWrite validates what the dialect projects.
func TestTheServerTakesTheStatusesThatWeWrite(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	owned := object.ID{Kind: "ConfigMap", Namespace: "y", Name: "z"}
	declared := func(group, version, kind string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": group + "/" + version, "kind": kind,
			"metadata": map[string]any{"name": "x", "namespace": "y", "generation": int64(3)},
			"spec":     map[string]any{"include": []any{map[string]any{"repository": map[string]any{"name": "lib"}}}, "verify": map[string]any{"mode": "head"}},
		}}
	}
	findings := []model.Finding{{Severity: model.Warning, Reason: "UnknownField", Message: "not acted on", Origin: model.Origin{Field: "spec.x"}}}
	artifact := model.Artifact{Revision: "main@sha1:a", Digest: "sha256:b", Path: "c", URL: "d", Size: 5, Updated: at, Metadata: map[string]string{"e": "f"}}
	healthy := true
	report := model.Report{
		Generation: 3, At: at, Started: at, Phase: model.PhaseDone, Revision: "main@sha1:a", Applied: "main@sha1:a", Digest: "sha256:" + strings.Repeat("0", 64),
		Inventory: []model.Claim{{ID: owned, Version: "v1"}}, Healthy: &healthy, Findings: findings, Handled: "now",
	}
	held := report
	held.Hold = &model.Hold{Token: "t", Deletes: []object.ID{owned}, Total: 1}
	failed := report
	failed.Phase, failed.Fault = model.PhaseSettle, &model.Fault{Reason: "HealthCheckFailed", Message: strings.Repeat("x", 50000)}
	for _, version := range []string{"v1", "v1beta2", "v1beta1"} {
		for _, r := range []model.Report{report, held, failed} {
			ks := declared(flux.GroupKustomize, version, "Kustomization")
			accepted(t, ks, flux.New().Project(&r, ks))
		}
		for _, r := range []model.SourceReport{
			{Generation: 3, At: at, Artifact: &artifact, Includes: []model.Artifact{artifact}, Verified: "key", Findings: findings},
			{Generation: 3, At: at, Artifact: &artifact, Fault: &model.Fault{Reason: "GitOperationFailed", Message: "gone"}},
			{Generation: 3, At: at, Running: true},
		} {
			repository := declared(flux.GroupSource, version, "GitRepository")
			accepted(t, repository, flux.New().ProjectSource(&r, repository))
		}
	}
	for _, kind := range flux.New().Kinds() {
		o := declared(kind.GroupKind.Group, kind.Versions[0], kind.GroupKind.Kind)
		accepted(t, o, flux.New().Refuse(&model.Fault{Reason: "NotHandled", Message: "not yet", At: at}, findings, o))
	}
}

// accepted validates the status alone, and that none of it is pruned.
func accepted(t *testing.T, o *unstructured.Unstructured, edits model.Edits) {
	t.Helper()
	if edits.Status == nil {
		return
	}
	gvk := o.GroupVersionKind()
	internal, s := schemaFor(t, typed(t, For(gvk.GroupKind())), gvk.Version)
	internal.Properties = map[string]apiext.JSONSchemaProps{"status": internal.Properties["status"]}
	validator, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]any{"status": edits.Status}
	for _, err := range validation.ValidateCustomResource(nil, written, validator) {
		t.Errorf("%s: %v", gvk, err)
	}
	for _, path := range pruning.PruneWithOptions(runtime.DeepCopyJSON(written), s, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		t.Errorf("%s: %s has no place", gvk, path)
	}
}
