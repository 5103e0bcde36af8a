package cli

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// fluxRuns is a cluster on which Flux's controllers are alive.
const fluxRuns = `apiVersion: apps/v1
kind: Deployment
metadata: {name: source-controller, namespace: flux-system}
spec: {replicas: 1}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: kustomize-controller, namespace: flux-system}
spec: {replicas: 2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: notification-controller, namespace: flux-system}
spec: {replicas: 1}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: kustomize-controller-leader-election, namespace: flux-system}
spec: {holderIdentity: kustomize-controller-1, leaseDurationSeconds: 35, renewTime: "2026-03-01T11:59:50.000000Z"}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: apps
  namespace: flux-system
  finalizers: [finalizers.fluxcd.io, plumb.dev/hold]
  annotations: {plumb.dev/approve: abc, keep: me}
spec: {interval: 10m, path: ./, prune: true, sourceRef: {kind: GitRepository, name: apps}}
status:
  conditions:
    - {type: Ready, status: "True", reason: ReconciliationSucceeded, message: Applied}
    - {type: plumb.dev/Findings, status: "True", reason: NotActedOn, message: spec.decryption}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: delivered, namespace: shop, labels: {plumb.dev/managed: "true", kustomize.toolkit.fluxcd.io/name: apps}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {plumb.dev/managed: "true"}}
---
apiVersion: v1
kind: Secret
metadata: {name: plumb-digest-key, namespace: plumb-system}
`

func TestAdoptIsAPreviewUntilYes(t *testing.T) {
	f := newFakeAPI(t, fluxRuns)
	code, out, errs := f.plumb("adopt")
	if code != exitOK || !strings.Contains(errs, "Nothing has been changed") || !strings.Contains(out, "2 → 0") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if strings.Contains(out, "notification-controller") {
		t.Error("a controller is to be stopped whose kinds Plumb does not handle")
	}
	if len(f.requests) > 0 {
		t.Errorf("a preview writes: %v", f.requests)
	}
}

// TestAdoptWaitsForTheLease scales the controllers to zero and returns only
// after the one that leads has given up its Lease.
func TestAdoptWaitsForTheLease(t *testing.T) {
	f := newFakeAPI(t, fluxRuns)
	released := false
	f.changed = func(o *unstructured.Unstructured) {
		// A Deployment's controller, and the process that is told to end.
		set := func(o *unstructured.Unstructured, value any, path ...string) {
			if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
				t.Error(err)
			}
		}
		if o.GetKind() != "Deployment" || !strings.HasSuffix(o.GetName(), "-controller") {
			return
		}
		set(o, o.GetGeneration(), "status", "observedGeneration")
		f.put(o)
		if o.GetName() == "kustomize-controller" {
			lease := f.objects[key(f.kindNamed("Lease"), "flux-system", "kustomize-controller-leader-election")].DeepCopy()
			set(lease, "", "spec", "holderIdentity")
			f.put(lease)
			released = true
		}
	}
	code, _, errs := f.plumb("adopt", "--yes", "--timeout", "20s")
	if code != exitOK || !released {
		t.Fatalf("exit %d, released %v\n%s", code, released, errs)
	}
	for name, kept := range map[string]string{"source-controller": "1", "kustomize-controller": "2"} {
		d := f.object("Deployment", "flux-system", name)
		if n, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas"); n != 0 || d.GetAnnotations()[adoptedReplicas] != kept {
			t.Errorf("%s: %d replicas, %v", name, n, d.GetAnnotations())
		}
	}
	if n, _, _ := unstructured.NestedInt64(f.object("Deployment", "flux-system", "notification-controller").Object, "spec", "replicas"); n != 1 {
		t.Error("notification-controller was stopped")
	}
}

func TestAdoptGivesUpWhenTheLeaseIsRenewed(t *testing.T) {
	f := newFakeAPI(t, fluxRuns)
	f.changed = func(o *unstructured.Unstructured) {
		if o.GetKind() == "Deployment" {
			if err := unstructured.SetNestedField(o.Object, o.GetGeneration(), "status", "observedGeneration"); err != nil {
				t.Error(err)
			}
			f.put(o)
		}
	}
	if code, _, errs := f.plumb("adopt", "--yes", "--timeout", "2s"); code != exitFailed || !strings.Contains(errs, "lease of flux-system/kustomize-controller") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

// TestUninstallLeavesEverythingButPlumb runs after an adoption.
func TestUninstallLeavesEverythingButPlumb(t *testing.T) {
	f := newFakeAPI(t, strings.ReplaceAll(fluxRuns, "metadata: {name: kustomize-controller, namespace: flux-system}\nspec: {replicas: 2}",
		`metadata: {name: kustomize-controller, namespace: flux-system, annotations: {plumb.dev/adopted-replicas: "2"}}`+"\nspec: {replicas: 0}"))
	if code, _, errs := f.plumbWith(t.Context(), "n\n", "uninstall"); code != exitFailed || len(f.requests) > 0 {
		t.Fatalf("after a no: exit %d, %v\n%s", code, f.requests, errs)
	}
	code, out, errs := f.plumbWith(t.Context(), "y\n", "uninstall")
	if code != exitOK {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	golden(t, "uninstall", out+errs)
	for _, o := range []*unstructured.Unstructured{f.object("ConfigMap", "shop", "delivered"), f.object("Namespace", "", "shop")} {
		if o == nil || o.GetLabels()[watchLabel] != "" {
			t.Errorf("a delivered object is gone, or still watched: %v", o)
		}
	}
	ks := f.object("Kustomization", "flux-system", "apps")
	if got := ks.GetAnnotations(); len(got) != 1 || got["keep"] != "me" {
		t.Errorf("annotations %v", got)
	}
	if got := ks.GetFinalizers(); len(got) != 1 || got[0] != "finalizers.fluxcd.io" {
		t.Errorf("finalizers %v: upstream's stays, since upstream goes on", got)
	}
	if got := conditionsOf(ks); len(got) != 1 || got[0].kind != "Ready" {
		t.Errorf("conditions %v", got)
	}
	if f.object("Secret", "plumb-system", "plumb-digest-key") != nil {
		t.Error("Plumb's own Secret is still there")
	}
	d := f.object("Deployment", "flux-system", "kustomize-controller")
	if n, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas"); n != 2 || len(d.GetAnnotations()) > 0 {
		t.Errorf("%d replicas, %v", n, d.GetAnnotations())
	}
}

func TestUninstallRefusesToTakeTheKindsFromFlux(t *testing.T) {
	f := newFakeAPI(t, fluxRuns)
	if code, _, errs := f.plumb("uninstall", "--crds", "--silent"); code != exitFailed || !strings.Contains(errs, "needs the kinds") || len(f.requests) > 0 {
		t.Errorf("exit %d, %v\n%s", code, f.requests, errs)
	}
}

func TestUninstallRefusesWhilePlumbRunsElsewhere(t *testing.T) {
	f := newFakeAPI(t, `apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: plumb-controller, namespace: plumb-system}
spec: {holderIdentity: laptop_1, leaseDurationSeconds: 15, renewTime: "2026-03-01T11:59:55.000000Z"}
`)
	if code, _, errs := f.plumb("uninstall", "--silent"); code != exitFailed || !strings.Contains(errs, "laptop_1") || len(f.requests) > 0 {
		t.Errorf("exit %d, %v\n%s", code, f.requests, errs)
	}
}

func TestInstallExports(t *testing.T) {
	f := newFakeAPI(t, "")
	code, out, errs := f.plumb("install", "--export", "--image", "registry.example.com/plumb:v1", "--no-cross-namespace-refs",
		"--default-service-account", "default", "--storage-class", "fast", "--image-pull-secret", "registry", "-n", "gitops")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	_, own, _ := strings.Cut(out, "kind: Namespace\n")
	golden(t, "install", strings.ReplaceAll(own, buildVersion(), "VERSION"))
	if !strings.Contains(out, "kind: CustomResourceDefinition") {
		t.Error("no kinds are exported")
	}
	for _, args := range [][]string{
		{"install", "--export"},
		{"install", "--export", "--image", "a b"},
		{"install", "--export", "--image", "a", "--log-level", "loud"},
		{"install", "--export", "--image", "a", "--storage-class", "x\n  y: z"},
	} {
		if code, _, errs := f.plumb(args...); code != exitFailed || errs == "" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
}

// TestApproveShowsAndAsks takes the list from the event that belongs to the
// very token.
func TestApproveShowsAndAsks(t *testing.T) {
	held := "Pruning is held: 2 objects of 3 would be deleted; to go on set annotation plumb.dev/approve=0123abcd4567, or run plumb approve"
	manifests := `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
status:
  conditions: [{type: Ready, status: "False", reason: PruneHeld, message: "` + held + `"}]
---
apiVersion: v1
kind: Event
metadata: {name: apps.1, namespace: flux-system}
reason: PruneHeld
message: "` + strings.ReplaceAll(held, "0123abcd4567", "ffff00000000") + `\nConfigMap/shop/another"
involvedObject: {kind: Kustomization, name: apps, namespace: flux-system}
---
apiVersion: v1
kind: Event
metadata: {name: apps.2, namespace: flux-system}
reason: PruneHeld
message: "` + held + `\nConfigMap/shop/one\nConfigMap/shop/two"
involvedObject: {kind: Kustomization, name: apps, namespace: flux-system}
`
	f := newFakeAPI(t, manifests)
	golden(t, "approve-declined", transcript(f, "no\n", "approve", "ks", "apps"))
	if got := f.object("Kustomization", "flux-system", "apps").GetAnnotations(); len(got) > 0 {
		t.Errorf("a no approves: %v", got)
	}
	golden(t, "approve", transcript(f, "yes\n", "approve", "ks", "apps"))
	if got := f.object("Kustomization", "flux-system", "apps").GetAnnotations()[approveAnnotation]; got != "0123abcd4567" {
		t.Errorf("approved with %q", got)
	}
}

func TestLeaseHeld(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, holder, renewed string
		seconds               int64
		want                  bool
	}{
		{"renewed just now", "a", "2026-03-01T11:59:59.000000Z", 15, true},
		{"run out", "a", "2026-03-01T11:59:44.000000Z", 15, false},
		{"given up", "", "2026-03-01T11:59:59.000000Z", 15, false},
		{"never renewed", "a", "", 15, false},
	} {
		lease := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
			"holderIdentity": c.holder, "renewTime": c.renewed, "leaseDurationSeconds": c.seconds,
		}}}
		if got := leaseHeld(lease, now); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
