package cli

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var update = flag.Bool("update", false, "write what the commands print into testdata")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it)\n--- got\n%s--- want\n%s", file, got, want)
	}
}

func declared(t *testing.T) *fakeAPI { return clusterOf(t, "declared.yaml") }

// clusterOf is a cluster with the objects of a file of testdata.
func clusterOf(t *testing.T, file string) *fakeAPI {
	t.Helper()
	manifests, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return newFakeAPI(t, string(manifests))
}

// outputs runs command lines, each on a cluster of its own, and compares what
// they print with goldens. No password is ever printed, but by export.
func outputs(t *testing.T, on func(*testing.T) *fakeAPI, commands map[string]string) {
	for name, args := range commands {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := transcript(on(t), "", strings.Fields(args)...)
			golden(t, name, strings.ReplaceAll(got, buildVersion(), "VERSION"))
			if strings.Contains(got, "canary-password") && !strings.HasPrefix(args, "export") && !strings.HasSuffix(args, "-o yaml") {
				t.Error("a credential is shown")
			}
		})
	}
}

// transcript is a command line with all that it prints.
func transcript(f *fakeAPI, input string, args ...string) string {
	code, out, errs := f.plumbWith(f.t.Context(), input, args...)
	var b strings.Builder
	b.WriteString("$ plumb " + strings.Join(args, " ") + "\n" + out)
	if errs != "" {
		b.WriteString("--- stderr\n" + errs)
	}
	if code != 0 {
		b.WriteString("--- exit " + string(rune('0'+code)) + "\n")
	}
	return b.String()
}

// TestOutputs shows what the commands that only read print.
func TestOutputs(t *testing.T) {
	outputs(t, declared, map[string]string{
		"get-ks":                 "get kustomizations",
		"get-ks-all-namespaces":  "get ks -A",
		"get-ks-wide":            "get ks -A -o wide",
		"get-ks-name":            "get ks -A -o name",
		"get-ks-one-yaml":        "get ks apps -o yaml",
		"get-ks-json":            "get ks -l team=infra -o json",
		"get-ks-not-ready":       "get ks -A --status-selector ready!=true --no-header",
		"get-ks-missing":         "get ks nowhere",
		"get-ks-source":          "get ks --show-source",
		"get-sources-git":        "get sources git",
		"get-source-git-wide":    "get source git -o wide",
		"get-all":                "get all -A",
		"get-all-empty":          "get all -n nowhere",
		"get-wrong-output":       "get ks -o table",
		"get-wrong-kind":         "get pods",
		"get-watch-all":          "get all --watch",
		"tree":                   "tree ks flux-system",
		"tree-compact":           "tree kustomization flux-system --compact",
		"tree-json":              "tree ks apps -o json",
		"tree-without-name":      "tree ks",
		"events":                 "events",
		"events-all":             "events -A",
		"events-for":             "events --for Kustomization/apps",
		"events-warnings":        "events --types Warning",
		"events-of-unknown-kind": "events --for Pod/x",
		"trace-pod":              "trace -n podinfo pod/podinfo-7d9f-x",
		"trace-several":          "trace deploy/podinfo/podinfo cm/podinfo/by-hand",
		"trace-api-version":      "trace podinfo --kind Deployment --api-version apps/v1 -n podinfo",
		"trace-nothing":          "trace deployment",
		"export-ks":              "export kustomization apps",
		"export-git-all":         "export source git --all",
		"check":                  "check",
		"check-pre":              "check --pre",
		"version":                "version -o json",
		"suspend-nothing":        "suspend kustomization",
		"reconcile-suspended":    "reconcile kustomization paused -n team",
		"approve-nothing":        "approve ks apps",
		"adopt-preview":          "adopt",
	})
}

// answering makes the fake server answer requests to reconcile as a controller
// would, with the given Ready condition.
func answering(f *fakeAPI, status, reason, message string) {
	f.changed = func(o *unstructured.Unstructured) {
		token := o.GetAnnotations()[requestedAt]
		if handled := text(o, "status", "lastHandledReconcileAt"); token == handled && suspendedOrObserved(o) {
			return
		}
		set := func(value any, path ...string) {
			if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
				f.t.Error(err)
			}
		}
		set(token, "status", "lastHandledReconcileAt")
		set(o.GetGeneration(), "status", "observedGeneration")
		set([]any{map[string]any{
			"type": "Ready", "status": status, "reason": reason, "message": message,
			"observedGeneration": o.GetGeneration(), "lastTransitionTime": "2026-03-01T12:00:00Z",
		}}, "status", "conditions")
		f.put(o)
	}
}

func suspendedOrObserved(o *unstructured.Unstructured) bool {
	observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	return suspended(o) || observed == o.GetGeneration()
}

func TestReconcileWaitsForTheOutcome(t *testing.T) {
	f := declared(t)
	answering(f, "True", "ReconciliationSucceeded", "Applied")
	golden(t, "reconcile-with-source", transcript(f, "", "reconcile", "kustomization", "apps", "--with-source"))
	for kind, name := range map[string]string{"Kustomization": "apps", "GitRepository": "flux-system"} {
		if got := f.object(kind, "flux-system", name).GetAnnotations()[requestedAt]; got != "2026-03-01T12:00:00Z" {
			t.Errorf("%s is annotated with %q", kind, got)
		}
	}
}

func TestReconcileFailsAsSoonAsTheRunHas(t *testing.T) {
	f := declared(t)
	answering(f, "False", "BuildFailed", "kustomize build failed: missing resource deployment.yaml")
	golden(t, "reconcile-fails", transcript(f, "", "reconcile", "ks", "apps"))
}

func TestReconcileSaysWhatItSawWhenTimeIsUp(t *testing.T) {
	f := declared(t)
	code, _, errs := f.plumb("reconcile", "ks", "apps", "--timeout", "2s")
	if code != exitFailed || !strings.Contains(errs, "no outcome within 2s") || !strings.Contains(errs, "last seen: Ready True") || !strings.Contains(errs, "plumb check") {
		t.Errorf("exit %d:\n%s", code, errs)
	}
}

func TestSuspendAndResume(t *testing.T) {
	f := declared(t)
	answering(f, "True", "ReconciliationSucceeded", "Applied")
	golden(t, "suspend", transcript(f, "", "suspend", "ks", "apps", "apps", "nowhere"))
	if !suspended(f.object("Kustomization", "flux-system", "apps")) {
		t.Error("not suspended")
	}
	golden(t, "resume", transcript(f, "", "resume", "ks", "apps"))
	o := f.object("Kustomization", "flux-system", "apps")
	if _, set, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); set {
		t.Error("resume leaves spec.suspend behind, where upstream removes it")
	}
}

func TestSuspendAll(t *testing.T) {
	f := declared(t)
	if code, _, errs := f.plumb("suspend", "source", "git", "--all"); code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if !suspended(f.object("GitRepository", "flux-system", "flux-system")) {
		t.Error("not suspended")
	}
}

// TestWatchPrintsChanges follows a list until a change has been printed.
func TestWatchPrintsChanges(t *testing.T) {
	f := declared(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines := &lineWriter{lines: make(chan string, 100)}
	a := newApp(Streams{Out: lines, Err: lines, Getenv: func(string) string { return "" }})
	ended := make(chan int, 1)
	go func() { ended <- a.run(ctx, []string{"--kubeconfig", f.kubeconfig(), "get", "ks", "--watch"}) }()
	lines.await(t, "broken")
	o := f.object("Kustomization", "flux-system", "apps")
	if err := unstructured.SetNestedField(o.Object, "main@sha1:2222222222222222222222222222222222222222", "status", "lastAppliedRevision"); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.put(o)
	f.mu.Unlock()
	if got := lines.await(t, "main@sha1:22222222"); !strings.HasPrefix(got, "apps          main@sha1:22222222   False") {
		t.Errorf("the change is not aligned with the table: %q", got)
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("an interrupted watch exits with %d", code)
	}
}

// lineWriter hands out what is written, line by line.
type lineWriter struct{ lines chan string }

func (w *lineWriter) Write(p []byte) (int, error) {
	for _, line := range strings.SplitAfter(string(p), "\n") {
		if line != "" {
			w.lines <- line
		}
	}
	return len(p), nil
}

// await reads lines until one contains a text.
func (w *lineWriter) await(t *testing.T, contains string) string {
	t.Helper()
	for {
		select {
		case line := <-w.lines:
			if strings.Contains(line, contains) {
				return line
			}
		case <-t.Context().Done():
			t.Fatalf("never printed: %q", contains)
		}
	}
}
