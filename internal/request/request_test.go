package request

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

var update = flag.Bool("update", false, "write goldens anew")

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	body, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.UnmarshalJSON(body); err != nil {
		t.Fatal(err)
	}
	return o
}

const (
	app = `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd, resourceVersion: "7"}
spec:
  project: default
  source: {repoURL: https://git.example.org/web, targetRevision: main}
  syncPolicy: {syncOptions: [Validate=true, PruneLast=true], retry: {limit: 3}}
status:
  sync: {revision: bbbb}
  operationState: {phase: Succeeded}
  history:
  - {id: 0, revision: aaaa, source: {repoURL: https://git.example.org/web, targetRevision: main}}
  - {id: 1, revision: bbbb, source: {repoURL: https://git.example.org/web, targetRevision: main}}
  - {id: 2, revision: cccc}
`
	several = `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd, resourceVersion: "7"}
spec: {sources: [{repoURL: https://git.example.org/a, targetRevision: main}, {repoURL: https://git.example.org/b, targetRevision: v1}]}
`
)

func kind(apiVersion, name string) string {
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: web, namespace: team, resourceVersion: \"7\"}\n", apiVersion, name)
}

// declared are one object of every kind that requests are written on.
var declared = []string{
	app, kind("argoproj.io/v1alpha1", "ApplicationSet"), kind("argoproj.io/v1alpha1", "AppProject"),
	kind("kustomize.toolkit.fluxcd.io/v1", "Kustomization"), kind("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
	kind("source.toolkit.fluxcd.io/v1", "GitRepository"), kind("source.extensions.fluxcd.io/v1beta1", "ArtifactGenerator"),
}

func automated(text string) string {
	return strings.Replace(text, "syncPolicy: {", "syncPolicy: {automated: {}, ", 1)
}

// TestPatches holds what is written, kind by kind, against a golden file.
func TestPatches(t *testing.T) {
	var b strings.Builder
	write := func(what string, p Patch, err error) {
		if err != nil {
			fmt.Fprintf(&b, "%s: refused: %v\n", what, err)
			return
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: %s\n", what, text)
	}
	for _, text := range declared {
		o := object(t, text)
		at := o.GetKind() + " "
		p, err := Suspend(o)
		write(at+"suspend", p, err)
		p, err = Resume(o)
		write(at+"resume", p, err)
		p, err = Refresh(o, "now", false)
		write(at+"refresh", p, err)
		p, err = Look{Token: "now", Hard: true, Force: true, Reset: true}.Patch(o)
		write(at+"refresh with everything", p, err)
	}
	write("approve what was seen", Approve("abcd", "now"), nil)
	write("approve one by one", Approve("", "now"), nil)
	write("lift", Lift(), nil)
	for _, c := range []struct {
		what string
		on   string
		sync Sync
	}{
		{"sync", app, Sync{}},
		{"sync by somebody", app, Sync{By: "ann"}},
		{"sync with everything", app, Sync{
			Revision: "v2", Prune: true, DryRun: true, Force: true, NoHooks: true, Options: []string{"Validate=false"},
			Resources: []model.ObjectFilter{{Group: "apps", Kind: "Deployment", Namespace: "team", Name: "web"}, {Kind: "Service", Name: "web"}},
			Retry:     map[string]any{"limit": int64(-1)}, Info: [][2]string{{"why", "because"}},
		}},
		{"sync to another revision, automated", automated(app), Sync{Revision: "v2"}},
		{"sync to the declared revision, automated", automated(app), Sync{Revision: "main"}},
		{"dry run of another revision, automated", automated(app), Sync{Revision: "v2", DryRun: true}},
		{"sync of several sources to one revision", several, Sync{Revision: "v2"}},
		{"sync of several sources", several, Sync{Revisions: []string{"", "v2"}}},
		{"sync of several sources to too few revisions", several, Sync{Revisions: []string{"v2"}}},
		{"sync of a Kustomization", declared[3], Sync{}},
	} {
		p, err := c.sync.Operation(object(t, c.on))
		write(c.what, p, err)
	}
	for _, c := range []struct {
		what          string
		on            string
		id            int64
		prune, dryRun bool
	}{
		{"rollback", app, 0, false, false},
		{"rollback with prune, automated", automated(app), 0, true, false},
		{"dry run of a rollback, automated", automated(app), 0, false, true},
		{"rollback to what is there, automated", automated(app), 1, false, false},
		{"rollback to what does not say where from", app, 2, false, false},
		{"rollback to nothing", app, 9, false, false},
	} {
		p, left, err := Rollback(object(t, c.on), c.id, c.prune, c.dryRun, "ann")
		write(c.what+" (leaves "+left+")", p, err)
	}
	p, err := Terminate(object(t, strings.Replace(app, "phase: Succeeded", "phase: Running", 1)))
	write("terminate what runs", p, err)
	p, err = Terminate(object(t, app+"operation: {sync: {}}\n"))
	write("terminate what nobody has begun", p, err)
	p, err = Terminate(object(t, app))
	write("terminate nothing", p, err)

	const golden = "testdata/patches.golden"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("other patches are written (go test ./internal/request -update writes them down):\n%s", b.String())
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]error{
		strings.Replace(app, "phase: Succeeded", "phase: Running", 1): ErrBusy,
		app + "operation: {sync: {}}\n":                               ErrBusy,
		strings.Replace(app, "name: web,", "name: web, annotations: {argocd.argoproj.io/skip-reconcile: 'true'},", 1):   ErrSuspended,
		strings.Replace(app, "name: web,", "name: web, deletionTimestamp: '2026-03-01T12:00:00Z', finalizers: [x],", 1): ErrDeleting,
	} {
		o := object(t, text)
		_, syncErr := Sync{}.Operation(o)
		_, _, backErr := Rollback(o, 0, false, false, "")
		if !errors.Is(syncErr, want) || !errors.Is(backErr, want) {
			t.Errorf("sync: %v, rollback: %v, want %v", syncErr, backErr, want)
		}
	}
	for _, text := range declared {
		o := object(t, text)
		p, err := Suspend(o)
		if err != nil {
			continue
		}
		if Suspended(o) || !Suspended(merged(t, o, p)) {
			t.Errorf("%s does not rest by %v", o.GetKind(), p)
		}
		if _, err := Refresh(merged(t, o, p), "now", false); !errors.Is(err, ErrSuspended) {
			t.Errorf("%s: %v", o.GetKind(), err)
		}
		back, err := Resume(merged(t, o, p))
		if err != nil || Suspended(merged(t, merged(t, o, p), back)) {
			t.Errorf("%s does not work again by %v: %v", o.GetKind(), back, err)
		}
	}
}

// merged applies a merge patch of maps.
func merged(t *testing.T, o *unstructured.Unstructured, p Patch) *unstructured.Unstructured {
	t.Helper()
	out := o.DeepCopy()
	merge(out.Object, p)
	return out
}

func merge(into, patch map[string]any) {
	for k, v := range patch {
		child, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap:
			below, _ := into[k].(map[string]any)
			if below == nil {
				below = map[string]any{}
				into[k] = below
			}
			merge(below, child)
		default:
			into[k] = v
		}
	}
}

// TestSyncOfNow: whoever asks for no revision may have the sources looked at
// first, and options in the place of those of the Application.
func TestSyncOfNow(t *testing.T) {
	patch, err := Sync{Fresh: true, Only: true, Options: []string{"Replace=true"}}.Operation(object(t, app))
	if err != nil {
		t.Fatal(err)
	}
	options, _, _ := unstructured.NestedSlice(patch, "operation", "sync", "syncOptions")
	refresh, _, _ := unstructured.NestedString(patch, "metadata", "annotations", "argocd.argoproj.io/refresh")
	if fmt.Sprint(options) != "[Replace=true]" || refresh != "normal" {
		t.Errorf("got %v", patch)
	}
}
