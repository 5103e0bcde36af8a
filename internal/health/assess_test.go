package health

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// assessCases holds the cases of Assess: a directory for each API group, and in
// it a file for each case, kind.case.yaml. The header is that of the other
// cases; the state "none" stands for a kind without health.
const assessCases = "testdata/assess"

func TestAssessCases(t *testing.T) {
	covered := map[schema.GroupKind]bool{}
	err := filepath.WalkDir(assessCases, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(path), assessCases+"/"), ".yaml")
		t.Run(name, func(t *testing.T) {
			e := readCase(t, path)
			o := onlyObject(t, path, e.body)
			kind := o.GroupVersionKind().GroupKind()
			if want := or(kind.Group, "core") + "/" + strings.ToLower(kind.Kind) + "."; !strings.HasPrefix(name, want) {
				t.Errorf("a case of %s belongs into a file that begins with %s", kind, want)
			}
			_, served := assessment(kind)
			covered[served] = true
			assessCase(t, path, e, o)
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for kind := range assessed.rules {
		if !covered[kind] {
			t.Errorf("no case for %s under %s", kind, assessCases)
		}
	}
}

func onlyObject(t *testing.T, path string, body []byte) *unstructured.Unstructured {
	t.Helper()
	decoded, err := object.Decode(body, path, object.Limits{})
	if err != nil || len(decoded) != 1 {
		t.Fatalf("%s does not hold one object: %v", path, err)
	}
	return decoded[0].Object
}

func assessCase(t *testing.T, path string, e expectation, o *unstructured.Unstructured) {
	found, known := Assess(o)
	if !known {
		if found != (model.Health{}) || e.state != "none" {
			t.Errorf("there is no rule for it; expected %s, got %+v", e.state, found)
		}
		return
	}
	if string(found.State) != e.state {
		t.Fatalf("the state is %s (%s: %s), expected %s", found.State, found.Reason, found.Message, e.state)
	}
	if found.Reason == "" || found.Message == "" {
		t.Errorf("an answer without reason or message: %+v", found)
	}
	if strings.Contains(found.Message, "hunter2") {
		t.Errorf("what a container wrote is repeated: %s", found.Message)
	}
	if *update {
		e.write(t, path, found)
		return
	}
	if found.Reason != e.reason || found.Message != e.message {
		t.Errorf("got  %+v\nwant %s: %s", found, e.reason, e.message)
	}
}

func TestAssessNothing(t *testing.T) {
	for _, o := range []*unstructured.Unstructured{nil, {}} {
		if got, known := Assess(o); got.State != model.NotFound || !known {
			t.Errorf("got %+v", got)
		}
	}
}

// TestNoRuleIsShadowed finds kinds that two systems claim, of which only one
// would ever be asked.
func TestNoRuleIsShadowed(t *testing.T) {
	seen := map[schema.GroupKind]bool{}
	for _, s := range systems {
		for kind, judge := range s.kinds {
			at := schema.GroupKind{Group: s.group, Kind: kind}
			if seen[at] {
				t.Errorf("%s has two rules", at)
			}
			if judge == nil {
				t.Errorf("%s has no rule", at)
			}
			seen[at] = true
		}
	}
}

// TestExamplesHaveRules names the kinds that the examples of users hold besides
// those that have no health in Argo CD either.
func TestExamplesHaveRules(t *testing.T) {
	for _, kind := range []schema.GroupKind{
		{Group: "argoproj.io", Kind: "Application"}, {Group: "argoproj.io", Kind: "ApplicationSet"}, {Group: "argoproj.io", Kind: "Rollout"},
		{Group: "flagger.app", Kind: "Canary"}, {Group: "bitnami.com", Kind: "SealedSecret"},
		{Group: "external-secrets.io", Kind: "ExternalSecret"}, {Group: "external-secrets.io", Kind: "SecretStore"},
		{Group: "kyverno.io", Kind: "ClusterPolicy"}, {Group: "templates.gatekeeper.sh", Kind: "ConstraintTemplate"},
		{Group: "constraints.gatekeeper.sh", Kind: "K8sRequiredLabels"},
		{Group: "velero.io", Kind: "Backup"}, {Group: "pkg.crossplane.io", Kind: "Provider"}, {Group: "aws.crossplane.io", Kind: "ProviderConfig"},
		{Group: "cluster.x-k8s.io", Kind: "Cluster"}, {Group: "cert-manager.io", Kind: "Certificate"},
		{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"}, {Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease"},
		{Group: "source.toolkit.fluxcd.io", Kind: "GitRepository"}, {Group: "source.toolkit.fluxcd.io", Kind: "HelmRepository"},
		{Group: "notification.toolkit.fluxcd.io", Kind: "Alert"}, {Group: "notification.toolkit.fluxcd.io", Kind: "Provider"},
		{Group: "apps", Kind: "Deployment"}, {Group: "apps", Kind: "StatefulSet"}, {Group: "", Kind: "Service"},
		{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}, {Group: "policy", Kind: "PodDisruptionBudget"},
	} {
		if judge, _ := assessment(kind); judge == nil {
			t.Errorf("no rule for %s", kind)
		}
	}
}

// FuzzAssess looks for panics and empty answers of every rule, on objects of any
// shape: the cases with one field replaced by another of another case.
func FuzzAssess(f *testing.F) {
	var kinds []schema.GroupVersionKind
	err := filepath.WalkDir(assessCases, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		decoded, err := object.Decode(data, path, object.Limits{})
		if err != nil {
			return err
		}
		o := decoded[0].Object
		kinds = append(kinds, o.GroupVersionKind())
		status, _ := (&unstructured.Unstructured{Object: map[string]any{"kind": "x", "apiVersion": "x", "status": o.Object["status"]}}).MarshalJSON()
		spec, _ := (&unstructured.Unstructured{Object: map[string]any{"kind": "x", "apiVersion": "x", "spec": o.Object["spec"]}}).MarshalJSON()
		f.Add(len(kinds)-1, spec, status)
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which int, spec, status []byte) {
		var withSpec, withStatus unstructured.Unstructured
		if which < 0 || withSpec.UnmarshalJSON(spec) != nil || withStatus.UnmarshalJSON(status) != nil {
			return
		}
		o := &unstructured.Unstructured{Object: map[string]any{
			"metadata": withStatus.Object["metadata"], "spec": withSpec.Object["spec"], "status": withStatus.Object["status"],
		}}
		o.SetGroupVersionKind(kinds[which%len(kinds)])
		if health, known := Assess(o); known && (health.State == "" || health.Reason == "" || health.Message == "") {
			t.Errorf("an empty answer: %+v", health)
		}
	})
}
