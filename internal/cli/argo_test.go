package cli

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/argo/status"
)

// argocd is a cluster with Applications, and with a Kustomization that one of
// them delivers.
func argocd(t *testing.T) *fakeAPI { return clusterOf(t, "argo.yaml") }

// TestArgoOutputs shows what the commands that only read print of both
// dialects.
func TestArgoOutputs(t *testing.T) {
	outputs(t, argocd, map[string]string{
		"argo-get-apps":             "get apps",
		"argo-get-apps-everywhere":  "get applications -A -o wide",
		"argo-get-apps-named":       "get app guestbook -o name",
		"argo-get-apps-out-of-sync": "get applications --status-selector sync=OutOfSync --no-header",
		"argo-get-apps-failing":     "get applications -A --status-selector comparisonerror=true",
		"argo-get-apps-elsewhere":   "get applications -n team-a --show-source",
		"argo-get-appsets":          "get appsets -o wide",
		"argo-get-projects":         "get projects",
		"argo-get-all":              "get all",
		"argo-get-missing":          "get application nowhere",
		"argo-get-none":             "get all -n nowhere",
		"argo-tree":                 "tree application apps",
		"argo-tree-compact":         "tree app apps --compact",
		"argo-tree-set":             "tree applicationset previews",
		"argo-trace":                "trace rs/ui-1 svc/ui -n guestbook",
		"argo-trace-copied":         "trace cm/copied -n guestbook",
		"argo-trace-generated":      "trace application/pr-1",
		"argo-trace-across":         "trace ks/infra",
		"argo-events":               "events",
		"argo-events-for":           "events --for Application/guestbook",
		"argo-history":              "history app guestbook",
		"argo-history-sources":      "history app apps",
		"argo-history-yaml":         "history app apps -o yaml",
		"argo-history-none":         "history app pr-1",
		"argo-history-ks":           "history ks infra",
		"argo-export":               "export application guestbook",
		"argo-version":              "version",
		"argo-adopt":                "adopt",
		"argo-rollback-ks":          "rollback kustomization infra",
		"argo-rollback-unknown":     "rollback app guestbook 9",
		"argo-rollback-first":       "rollback app apps",
		"argo-suspend-set":          "suspend applicationset previews",
		"argo-sync-paused":          "sync app broken -n team-a",
		"argo-terminate-nothing":    "terminate-op app guestbook",
		"argo-reconcile-paused":     "reconcile app broken -n team-a",
	})
}

func edit(t *testing.T, o *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}

// syncing makes the fake server act on operations as a controller would, step
// by step.
func syncing(t *testing.T, f *fakeAPI, phase, message string) {
	f.changed = func(o *unstructured.Unstructured) {
		if o.GetKind() != applicationKind || o.Object["operation"] == nil {
			return
		}
		result := func(kind, name, status, said string) map[string]any {
			return map[string]any{"group": "", "version": "v1", "kind": kind, "namespace": "guestbook", "name": name, "status": status, "message": said, "syncPhase": "Sync"}
		}
		hook := map[string]any{"group": "batch", "version": "v1", "kind": "Job", "namespace": "guestbook", "name": "migrate", "hookType": "PreSync", "hookPhase": "Running", "syncPhase": "PreSync"}
		step := func(phase, message string, results ...any) {
			o = o.DeepCopy()
			edit(t, o, map[string]any{
				"operation": o.Object["operation"], "phase": phase, "message": message, "startedAt": "2026-03-01T12:00:00Z",
				"syncResult": map[string]any{"revision": "3333333333333333333333333333333333333333", "resources": results},
			}, "status", "operationState")
		}
		step("Running", "waiting for completion of hook batch/Job/migrate", hook)
		f.put(o)
		hook = map[string]any{"group": "batch", "version": "v1", "kind": "Job", "namespace": "guestbook", "name": "migrate", "hookType": "PreSync", "hookPhase": "Succeeded", "syncPhase": "PreSync", "message": "job completed"}
		step("Running", "one more to go", hook, result("Service", "ui", "Synced", "service/ui unchanged"))
		f.put(o)
		step(phase, message, hook, result("Service", "ui", "Synced", "service/ui unchanged"), result("ConfigMap", "wanted", "Synced", "configmap/wanted created"))
		delete(o.Object, "operation")
		f.put(o)
	}
}

func TestSyncFollowsTheOperation(t *testing.T) {
	f := argocd(t)
	syncing(t, f, "Succeeded", "successfully synced (all tasks run)")
	code, out, errs := f.plumb("sync", "application", "guestbook")
	if code != exitOK {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	// A watch may pass over what stood only for a moment; what is said last
	// stays.
	for _, says := range []string{"PreSync hook", "Job/guestbook/migrate", "ConfigMap/guestbook/wanted", "configmap/wanted created"} {
		if !strings.Contains(out, says) {
			t.Errorf("%q is not printed:\n%s", says, out)
		}
	}
	if !strings.Contains(errs, "successfully synced (all tasks run)") || !strings.Contains(errs, "Synced, Healthy") {
		t.Errorf("the outcome is not said:\n%s", errs)
	}
}

func TestSyncFailsWhenTheOperationDoes(t *testing.T) {
	f := argocd(t)
	syncing(t, f, "Failed", "one or more objects failed to apply")
	if code, _, errs := f.plumb("sync", "app", "guestbook"); code != exitFailed || !strings.Contains(errs, "operation failed: one or more objects failed to apply") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestSyncWritesTheOperation: the field is what argocd app sync has its server
// write.
func TestSyncWritesTheOperation(t *testing.T) {
	for name, args := range map[string]string{
		"plain":            "guestbook",
		"every-flag":       "guestbook --prune --dry-run --force --replace --sync-option Validate=false --apply-out-of-sync-only --server-side --info reason=test --revision v1",
		"strategy-apply":   "apps --strategy apply --force",
		"retry":            "guestbook --retry-limit 5 --retry-backoff-duration 1s --retry-backoff-max-duration 1m --retry-backoff-factor 3 --retry-refresh",
		"resources":        "guestbook --resource apps:Deployment:ui --resource :Service:guestbook/ui",
		"resources-but":    "guestbook --resource !apps:Deployment:ui",
		"resources-both":   "guestbook --resource *:*:ui --resource !:Service:guestbook/ui",
		"one-of-sources":   "apps --revisions v3 --source-positions 2",
		"revision-by-hand": "pr-1 --revision abc",
	} {
		t.Run(name, func(t *testing.T) {
			f := argocd(t)
			app := strings.Fields(args)[0]
			code, _, errs := f.plumb(append([]string{"sync", "application", "--async"}, strings.Fields(args)...)...)
			if code != exitOK {
				t.Fatalf("exit %d: %s", code, errs)
			}
			asked := f.object("Application", "argocd", app)
			if how := asked.GetAnnotations()["argocd.argoproj.io/refresh"]; how != "normal" {
				t.Errorf("the sources are not looked at first: %q", how)
			}
			written, err := yaml.Marshal(asked.Object["operation"])
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "operation-"+name, string(written))
		})
	}
}

func TestSyncRefuses(t *testing.T) {
	for args, says := range map[string]string{
		"sync app guestbook --revision v1":                                  "auto-sync currently set to main",
		"sync app apps --revision v1":                                       "has 2 sources",
		"sync app apps --revisions v1 --source-positions 3":                 "there is no source 3",
		"sync app apps --revisions v1":                                      "must be as many",
		"sync app guestbook --strategy maybe":                               "apply or hook",
		"sync app guestbook --resource Deployment/ui":                       "GROUP:KIND:NAME",
		"sync app guestbook --resource apps::ui":                            "names no object",
		"sync app guestbook --resource !*:*:*":                              "leaves nothing",
		"sync app guestbook --info reason":                                  "NAME=VALUE",
		"rollback app guestbook one":                                        "no ID",
		"rollback app guestbook 1 --lift":                                   "--lift",
		"sync app nowhere":                                                  "not found",
		"build application --application-file testdata/argo.yaml":           "declares 4 Applications",
		"build applicationset --applicationset-file testdata/declared.yaml": "declares no such ApplicationSet",
	} {
		f := argocd(t)
		code, _, errs := f.plumb(strings.Fields(args)...)
		if code == exitOK || !strings.Contains(errs, says) {
			t.Errorf("%s: exit %d: %s", args, code, errs)
		}
		if len(f.requests) > 0 {
			t.Errorf("%s writes: %v", args, f.requests)
		}
	}
}

func TestSyncRefusesASecondOperation(t *testing.T) {
	f := argocd(t)
	if code, _, errs := f.plumb("sync", "app", "guestbook", "--wait=false"); code != exitOK {
		t.Fatal(errs)
	}
	if code, _, errs := f.plumb("sync", "app", "guestbook"); code != exitFailed || !strings.Contains(errs, "already in progress") || !strings.Contains(errs, "terminate-op") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestTerminateWaitsForTheEnd(t *testing.T) {
	f := argocd(t)
	o := f.object("Application", "argocd", "guestbook")
	edit(t, o, map[string]any{"sync": map[string]any{}}, "operation")
	edit(t, o, map[string]any{"phase": "Running", "startedAt": "2026-03-01T12:00:00Z"}, "status", "operationState")
	f.put(o)
	asked := ""
	f.changed = func(o *unstructured.Unstructured) {
		if asked = text(o, "status", "operationState", "phase"); asked == "Terminating" {
			edit(t, o, "Failed", "status", "operationState", "phase")
			delete(o.Object, "operation")
			f.put(o)
		}
	}
	if code, _, errs := f.plumb("terminate-op", "application", "guestbook"); code != exitOK || asked != "Terminating" {
		t.Errorf("exit %d, asked for %q: %s", code, asked, errs)
	}
}

// TestRollback: automated sync must not undo it, which is said together with how
// to lift that.
func TestRollback(t *testing.T) {
	f := argocd(t)
	golden(t, "rollback", transcript(f, "", "rollback", "application", "guestbook", "--async", "--prune"))
	o := f.object("Application", "argocd", "guestbook")
	if got := o.GetAnnotations()[argo.AnnotationQuarantine]; got != "3333333333333333333333333333333333333333" {
		t.Errorf("in quarantine: %q", got)
	}
	written, err := yaml.Marshal(o.Object["operation"])
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "operation-rollback", string(written))
	if patches := len(f.requests); patches != 1 {
		t.Errorf("%d writes: automated sync may come between", patches)
	}
	golden(t, "rollback-lift", transcript(f, "", "rollback", "app", "guestbook", "--lift"))
	if _, still := f.object("Application", "argocd", "guestbook").GetAnnotations()[argo.AnnotationQuarantine]; still {
		t.Error("the quarantine is not lifted")
	}
}

func TestRollbackOfAManualApplicationNeedsNoQuarantine(t *testing.T) {
	f := argocd(t)
	if code, _, errs := f.plumb("rollback", "app", "apps", "7", "--async"); code != exitOK {
		t.Fatal(errs)
	}
	o := f.object("Application", "argocd", "apps")
	if _, set := o.GetAnnotations()[argo.AnnotationQuarantine]; set {
		t.Error("put in quarantine")
	}
	sources, _, _ := unstructured.NestedSlice(o.Object, "operation", "sync", "sources")
	revisions, _, _ := unstructured.NestedStringSlice(o.Object, "operation", "sync", "revisions")
	if len(sources) != 2 || len(revisions) != 2 {
		t.Errorf("sources %v, revisions %v", sources, revisions)
	}
}

// refreshing answers refreshes as a controller would.
func refreshing(t *testing.T, f *fakeAPI, conditions ...any) *[]string {
	asked := &[]string{}
	f.changed = func(o *unstructured.Unstructured) {
		annotations := o.GetAnnotations()
		value, set := annotations[status.AnnotationRefresh]
		if _, expand := annotations["argocd.argoproj.io/application-set-refresh"]; expand {
			value, set = "set", true
		}
		if !set || suspended(o) {
			return
		}
		*asked = append(*asked, value)
		delete(annotations, status.AnnotationRefresh)
		delete(annotations, "argocd.argoproj.io/application-set-refresh")
		o.SetAnnotations(annotations)
		if len(conditions) > 0 {
			edit(t, o, conditions, "status", "conditions")
		}
		f.put(o)
	}
	return asked
}

func TestReconcileAnApplication(t *testing.T) {
	f := argocd(t)
	asked := refreshing(t, f)
	golden(t, "argo-reconcile", transcript(f, "", "reconcile", "application", "guestbook"))
	golden(t, "argo-reconcile-hard", transcript(f, "", "reconcile", "app", "apps", "--hard", "--with-source"))
	if got := strings.Join(*asked, " "); got != "normal hard" {
		t.Errorf("asked for %q", got)
	}
	refreshing(t, f, map[string]any{"type": "ComparisonError", "message": "app path does not exist"})
	golden(t, "argo-reconcile-fails", transcript(f, "", "reconcile", "app", "guestbook"))
}

func TestReconcileASet(t *testing.T) {
	f := argocd(t)
	refreshing(t, f, map[string]any{"type": "ErrorOccurred", "status": "False"}, map[string]any{"type": "ResourcesUpToDate", "status": "True"})
	golden(t, "argo-reconcile-set", transcript(f, "", "reconcile", "applicationset", "previews"))
}

func TestSuspendAndResumeAnApplication(t *testing.T) {
	f := argocd(t)
	refreshing(t, f)
	golden(t, "argo-suspend", transcript(f, "", "suspend", "application", "guestbook"))
	if !suspended(f.object("Application", "argocd", "guestbook")) {
		t.Error("not suspended")
	}
	golden(t, "argo-resume", transcript(f, "", "resume", "application", "guestbook"))
	if suspended(f.object("Application", "argocd", "guestbook")) {
		t.Error("not resumed")
	}
}

func TestApproveOfBothKinds(t *testing.T) {
	f := argocd(t)
	if code, _, errs := f.plumb("approve", "applicationset", "previews", "--yes"); code != exitOK {
		t.Fatal(errs)
	}
	if got := f.object("ApplicationSet", "argocd", "previews").GetAnnotations()[approveAnnotation]; got != "0123abcd" {
		t.Errorf("approved with %q", got)
	}
	o := f.object("Application", "argocd", "apps")
	edit(t, o, []any{map[string]any{"version": "v1", "kind": "ConfigMap", "namespace": "argocd", "name": "kept", "requiresPruning": true, "requiresDeletionConfirmation": true}}, "status", "resources")
	f.put(o)
	golden(t, "argo-approve", transcript(f, "y\n", "approve", "app", "apps"))
	if got := f.object("Application", "argocd", "apps").GetAnnotations()[deletionApproved]; got != "2026-03-01T12:00:00Z" {
		t.Errorf("approved with %q", got)
	}
}

// TestAdoptStopsStatefulSets: the application controller is one.
func TestAdoptStopsStatefulSets(t *testing.T) {
	f := argocd(t)
	f.changed = func(o *unstructured.Unstructured) {
		if o.GetKind() == "StatefulSet" || o.GetKind() == "Deployment" {
			edit(t, o, o.GetGeneration(), "status", "observedGeneration")
			f.put(o)
		}
	}
	if code, _, errs := f.plumb("adopt", "--yes"); code != exitOK {
		t.Fatal(errs)
	}
	for kind, name := range map[string]string{"StatefulSet": "argocd-application-controller", "Deployment": "argocd-applicationset-controller"} {
		o := f.object(kind, "argocd", name)
		if n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); n != 0 || o.GetAnnotations()[adoptedReplicas] == "" {
			t.Errorf("%s: %d replicas, %v", name, n, o.GetAnnotations())
		}
	}
	code, _, errs := f.plumb("uninstall", "--silent")
	if code != exitOK {
		t.Fatal(errs)
	}
	if n, _, _ := unstructured.NestedInt64(f.object("StatefulSet", "argocd", "argocd-application-controller").Object, "spec", "replicas"); n != 2 {
		t.Errorf("given back: %d replicas", n)
	}
}

// TestUninstallReleasesApplications: with --crds the finalizers go that would
// delete what was delivered, and other kinds of Argo's group stay.
func TestUninstallReleasesApplications(t *testing.T) {
	f := newFakeAPI(t, `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: a
  namespace: argocd
  finalizers: [resources-finalizer.argocd.argoproj.io/background, post-delete-finalizer.argocd.argoproj.io/cleanup, somebody.example.com/else]
  annotations: {plumb.dev/quarantine: abc, keep: me}
spec: {syncPolicy: {automated: {}}}
status:
  conditions: [{type: PlumbWarning, message: x}, {type: SyncError, message: y}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applications.argoproj.io}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
`)
	if code, _, errs := f.plumb("uninstall", "--crds", "--silent"); code != exitOK || !strings.Contains(errs, "abc, which Application argocd/a was rolled back from") {
		t.Fatalf("exit %d: %s", code, errs)
	}
	o := f.object("Application", "argocd", "a")
	if got := o.GetFinalizers(); len(got) != 1 || got[0] != "somebody.example.com/else" {
		t.Errorf("finalizers %v", got)
	}
	if got := o.GetAnnotations(); len(got) != 1 || got["keep"] != "me" {
		t.Errorf("annotations %v", got)
	}
	if got := conditionsOf(o); len(got) != 1 || got[0].kind != "SyncError" {
		t.Errorf("conditions %v", got)
	}
	if f.object("CustomResourceDefinition", "", "applications.argoproj.io") != nil {
		t.Error("the kind is still there")
	}
	if f.object("CustomResourceDefinition", "", "rollouts.argoproj.io") == nil {
		t.Error("a kind of somebody else is gone")
	}
}
