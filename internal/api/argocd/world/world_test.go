package world

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kubejson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/api/argocd"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func read(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := kubejson.Unmarshal(raw, &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestActions(t *testing.T) {
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		kind       schema.GroupKind
		name       string
		parameters map[string]string
		want       string // the patch, or part of the refusal
	}{
		{deployment, "restart", nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-05-04T10:00:00Z"}}}}}`},
		{statefulSet, "scale", map[string]string{"replicas": "3"}, `{"spec":{"replicas":3}}`},
		{deployment, "scale", map[string]string{"replicas": "-3"}, "invalid number of replicas"},
		{deployment, "scale", nil, "invalid number of replicas"},
		{deployment, "pause", nil, `{"spec":{"paused":true}}`},
		{deployment, "resume", nil, `{"spec":{"paused":false}}`},
		{cronJob, "resume", nil, `{"spec":{"suspend":false}}`},
		{job, "suspend", nil, `{"spec":{"suspend":true}}`},
	} {
		found := false
		for _, a := range actions {
			if a.name != c.name || !has(a.kinds, c.kind) {
				continue
			}
			found = true
			patch, err := a.patch(c.parameters, now)
			got := ""
			if err != nil {
				got = err.Error()
			} else if raw, err := json.Marshal(patch); err == nil {
				got = string(raw)
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%s of %s: got %s, want %s", c.name, c.kind, got, c.want)
			}
		}
		if !found {
			t.Errorf("there is no %s of %s", c.name, c.kind)
		}
	}
	paused := read(t, `{apiVersion: apps/v1, kind: Deployment, spec: {paused: true}}`)
	for _, a := range actions {
		if has(a.kinds, deployment) && a.disabled != nil && a.disabled(paused) != (a.name == "pause") {
			t.Errorf("%s of a paused Deployment", a.name)
		}
	}
}

func has(kinds []schema.GroupKind, kind schema.GroupKind) bool {
	for _, k := range kinds {
		if k == kind {
			return true
		}
	}
	return false
}

func TestUnknownAction(t *testing.T) {
	w := &world{}
	err := w.Act(context.Background(), read(t, "{kind: Application, metadata: {name: a}}"), argocd.Ref{Group: "apps", Kind: "Deployment"}, "explode", nil)
	if err == nil || !strings.Contains(err.Error(), `there is no action "explode" for apps/Deployment`) {
		t.Errorf("got %v", err)
	}
}

func TestLinesOfLogs(t *testing.T) {
	for text, want := range map[string]argocd.LogLine{
		"2026-05-04T10:00:00.5Z Hello, world\r\n": {At: time.Date(2026, 5, 4, 10, 0, 0, 500_000_000, time.UTC), Text: "Hello, world"},
		"2026-05-04T10:00:00Z":                    {At: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)},
		"no time at all\n":                        {Text: "no time at all"},
	} {
		if got := lineOf(text); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func TestTreeGrows(t *testing.T) {
	grow := &tree{refs: map[types.UID]map[string]any{}, judge: func(*unstructured.Unstructured) model.Health {
		return model.Health{State: model.Unhealthy, Message: "it crashes"}
	}}
	grow.own(&engine.KnownObject{ID: object.ID{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}, Version: "v1", UID: "u1", Wanted: true, Health: model.Health{State: model.Current}, Links: []string{"https://shop.example.org"}})
	grow.own(&engine.KnownObject{ID: object.ID{Kind: "ConfigMap", Namespace: "shop", Name: "gone"}})
	for _, text := range []string{
		`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, namespace: shop, uid: u2, annotations: {deployment.kubernetes.io/revision: "4"}, ownerReferences: [{uid: u1, controller: true}]}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: web-1-a, namespace: shop, uid: u3, ownerReferences: [{uid: u2, controller: true}]}, spec: {nodeName: n1, containers: [{image: "nginx:1"}, {image: "nginx:1"}]},
			status: {phase: Running, containerStatuses: [{ready: true, restartCount: 2}, {state: {waiting: {reason: CrashLoopBackOff}}}]}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: elsewhere, namespace: shop, uid: u4, ownerReferences: [{uid: u9, controller: true}]}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: nobodys, namespace: shop, uid: u5}}`,
	} {
		grow.child(read(t, text))
	}
	var got []string
	for _, n := range grow.nodes {
		m, _ := n.(map[string]any)
		raw, err := json.Marshal([]any{m["kind"], m["name"], m["health"], m["info"], m["images"]})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(raw))
	}
	want := []string{
		`["Deployment","web",{"status":"Healthy"},null,null]`,
		`["ReplicaSet","web-1",{"message":"it crashes","status":"Degraded"},[{"name":"Revision","value":"Rev:4"}],null]`,
		`["Pod","web-1-a",{"message":"it crashes","status":"Degraded"},[{"name":"Status Reason","value":"CrashLoopBackOff"},{"name":"Node","value":"n1"},{"name":"Containers","value":"1/2"},{"name":"Restart Count","value":"2"}],["nginx:1"]]`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFactsAreNotConfused(t *testing.T) {
	o := read(t, "{kind: Secret}")
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "a", errors.New("no"))
	for want, c := range map[model.FactState]struct {
		o   *unstructured.Unstructured
		err error
	}{
		model.Present: {o: o}, model.Absent: {err: apierrors.NewNotFound(schema.GroupResource{}, "a")}, model.Forbidden: {err: forbidden}, model.Failed: {err: errors.New("timeout")},
	} {
		if got := factOf(c.o, nil, c.err); got.State != want {
			t.Errorf("got %s, want %s", got.State, want)
		}
	}
}

func TestWithoutLeading(t *testing.T) {
	w := New(Options{Engine: func() *engine.Engine { return nil }, Local: func() *cluster.Cluster { return nil }})
	app := read(t, "{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: a, namespace: argocd}}")
	ctx := context.Background()
	for name, err := range map[string]error{
		"tree": second(w.Tree(ctx, app)), "managed": second(w.Managed(ctx, app)), "manifests": second(w.Manifests(ctx, app)), "generate": second(w.Generate(ctx, app)),
		"validate": w.Validate(ctx, app), "live": second(w.Live(ctx, app, argocd.Ref{Kind: "Pod"})), "cluster": second(w.Cluster(ctx, "https://x")),
	} {
		var fault *model.Fault
		if !errors.As(err, &fault) || !fault.Retry {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := w.Reach(ctx, app); !errors.Is(err, argocd.ErrNotLooked) {
		t.Errorf("got %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestWhyNothingIsKnown(t *testing.T) {
	app := read(t, "{metadata: {name: a}, status: {conditions: [{type: SyncError, message: x}, {type: InvalidSpecError, message: no such path}]}}")
	if err := unknownOf(app); err.Error() != "InvalidSpecError: no such path" {
		t.Errorf("got %v", err)
	}
}

// One object that cannot be compared hides the others from nobody.
func TestManagedBesideOthers(t *testing.T) {
	config := func(name, value string) *unstructured.Unstructured {
		return read(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: `+name+`}, data: {a: `+value+`}}`)
	}
	id := func(name string) object.ID { return object.ID{Kind: "ConfigMap", Name: name} }
	theirs := engine.Comparison{Object: id("theirs"), Desired: config("theirs", "ours"), Fault: &model.Fault{Reason: "Conflict", Message: "it belongs to another"}}
	refused := engine.Comparison{Object: id("refused"), Desired: config("refused", "x"), Live: config("refused", "y"), Fault: &model.Fault{Reason: "Invalid", Message: "no"}}
	same := engine.Comparison{Object: id("same"), Desired: config("same", "x"), Live: config("same", "x")}
	left := engine.Comparison{Object: id("left"), Desired: config("left", "x"), Live: config("left", "y"), Predicted: config("left", "x"), Verb: model.Update, Ignored: true}
	out, err := managed([]engine.Comparison{theirs, refused, same, left}, nil)
	if err != nil || len(out) != 4 {
		t.Fatalf("got %v (%v)", out, err)
	}
	for i, want := range []bool{true, true, false, false} {
		m := out[i]
		if m.Modified != want || reflect.DeepEqual(m.Live, m.Predicted) == want {
			t.Errorf("%s: got %+v", m.Ref.Name, m)
		}
	}
	if out, err = managed([]engine.Comparison{theirs}, nil); err != nil || len(out) != 1 {
		t.Errorf("got %v (%v)", out, err)
	}
	if _, err = managed([]engine.Comparison{refused}, nil); err == nil {
		t.Error("nothing could be compared, and nobody says so")
	}
	if out, err = managed(nil, nil); err != nil || len(out) != 0 {
		t.Errorf("got %v (%v)", out, err)
	}
}

// A source that is asked for at the commit that it stands at is the declared one.
func TestAskedAtItsCommit(t *testing.T) {
	const commit = "15912e331922bcd3f7dfbb5b20dba14e9d59fb68"
	inputs := []model.InputReport{{Commit: model.Commit{Hash: commit}}, {}}
	declared := read(t, `{spec: {sources: [{repoURL: a, targetRevision: main}, {chart: c, targetRevision: 1.0.0}]}}`)
	bare := read(t, `{spec: {source: {repoURL: a}}}`)
	for revision, want := range map[string]bool{commit: true, commit[:8]: true, commit[:4]: false, "main": true, "other": false, "": false} {
		asked := declared.DeepCopy()
		sources, _, _ := unstructured.NestedSlice(asked.Object, "spec", "sources")
		sources[0].(map[string]any)["targetRevision"] = revision //nolint:forcetypeassert // it is as written above
		asked.Object["spec"] = map[string]any{"sources": sources}
		if got := sameJSON(declared.Object["spec"], asDeclared(asked, declared, inputs)); got != want {
			t.Errorf("%q: %v", revision, got)
		}
		if got, _, _ := unstructured.NestedSlice(asked.Object, "spec", "sources"); got[0].(map[string]any)["targetRevision"] != revision { //nolint:forcetypeassert // as above
			t.Errorf("%q: what was asked is changed", revision)
		}
	}
	at := read(t, `{spec: {source: {repoURL: a, targetRevision: `+commit+`}}}`)
	if !sameJSON(bare.Object["spec"], asDeclared(at, bare, inputs)) {
		t.Error("a source without a revision has none that could be asked for")
	}
}

// What is about to be registered is used in the place of what is.
func TestRegistered(t *testing.T) {
	secret := func(name, url, project string) *unstructured.Unstructured {
		return read(t, `{apiVersion: v1, kind: Secret, metadata: {namespace: argocd, name: `+name+`}, data: {url: `+encoded(url)+`, project: `+encoded(project)+`}}`)
	}
	need := repository.Secrets("argocd", "repository")
	proposed := secret("new", "https://example.org/a", "shop")
	facts := model.Facts{}
	registered(facts, "argocd", proposed) // nothing is known yet: nothing is claimed to be
	if len(facts) != 0 {
		t.Errorf("got %v", facts)
	}
	facts[need] = model.Fact{State: model.Present, Objects: []*unstructured.Unstructured{secret("old", "https://example.org/a.git", "shop"), secret("other", "https://example.org/a", "")}}
	registered(facts, "argocd", proposed)
	registered(facts, "argocd", proposed)
	var names []string
	for _, o := range facts[need].Objects {
		names = append(names, o.GetName())
	}
	if !reflect.DeepEqual(names, []string{"other", "new"}) {
		t.Errorf("got %v", names)
	}
	w := &world{outside: make(chan struct{}, 1)}
	if err := w.Reach(context.Background(), proposed); !errors.Is(err, argocd.ErrNotLooked) {
		t.Errorf("got %v", err)
	}
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// Who watches the same tree shares the look; what failed is looked at again.
func TestSharedLooks(t *testing.T) {
	var w watched
	id := object.ID{Kind: "Application", Name: "a"}
	first, leaveFirst := w.join(id)
	second, leaveSecond := w.join(id)
	looked := 0
	look := func() (map[string]any, error) {
		if looked++; looked == 1 {
			return nil, errors.New("not now")
		}
		return map[string]any{"nodes": looked}, nil
	}
	if _, err := first.look(context.Background(), look); err == nil {
		t.Error("a failure is kept from the one who looked")
	}
	for _, shared := range []*sharedTree{first, second, first} {
		if got, err := shared.look(context.Background(), look); err != nil || got["nodes"] != 2 {
			t.Errorf("got %v (%v)", got, err)
		}
	}
	second.at = second.at.Add(-looks)
	if got, err := second.look(context.Background(), look); err != nil || got["nodes"] != 3 {
		t.Errorf("got %v (%v)", got, err)
	}
	leaveFirst()
	if len(w.of) != 1 {
		t.Error("it is forgotten while somebody watches")
	}
	leaveSecond()
	if len(w.of) != 0 {
		t.Error("it is kept though nobody watches")
	}
}
