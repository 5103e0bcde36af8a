package engine

import (
	"context"
	"log/slog"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
)

// world is a declared world of which a test says what it knows.
type world struct {
	objects map[object.ID]bool
	unheard string
}

func (w *world) Object(id object.ID) *unstructured.Unstructured {
	if w.objects[id] {
		return &unstructured.Unstructured{}
	}
	return nil
}
func (w *world) Ready(object.ID) bool { return false }
func (w *world) Unheard() string      { return w.unheard }

// silent is a dialect whose objects ask for nothing but to be kept.
type silent struct{}

func (silent) Handling(_ string, o *unstructured.Unstructured) (model.Handling, model.Stage) {
	return model.Handling{Keep: o.GetAnnotations()["example.org/prune"] == "disabled"}, model.Stage{}
}
func (silent) Override(_ string, r model.Render, _ string, _ []byte) (model.Render, error) {
	return r, nil
}
func (silent) Expand(object.ID, model.Facts, map[string]model.Answer) ([]model.Rendered, []model.Question, []model.Finding, error) {
	return nil, nil, nil, nil
}

// bookOf is an engine that never runs: tests look at what it would decide.
func bookOf(t *testing.T) (*Engine, *world) {
	t.Helper()
	clusters, err := cluster.NewSet(&rest.Config{Host: "http://nowhere.invalid"}, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(clusters.Close)
	books, err := journal.Open(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = books.Close() })
	w := &world{objects: map[object.ID]bool{}}
	return New(context.Background(), Options{Clusters: clusters, Journal: books, Declared: w, Words: silent{}, Log: slog.New(slog.DiscardHandler)}), w
}

var (
	repository = object.ID{Group: "example.org", Kind: "Repository", Namespace: "team", Name: "repo"}
	thing      = object.ID{Kind: "ConfigMap", Namespace: "web", Name: "thing"}
)

func declare(e *Engine, name string, claims ...object.ID) *delivery {
	spec := model.Delivery{ID: named(name), UID: "uid-" + name, Inputs: []model.Input{{Source: repository}}, Policy: model.Policy{Prune: true, OnDelete: model.DeleteObjects, Drift: model.Heal}}
	for _, id := range claims {
		spec.Claims = append(spec.Claims, model.Claim{ID: id, Version: "v1"})
	}
	e.SetDelivery(spec, nil, nil, nil)
	return e.book.deliveries[spec.ID]
}

// answers makes a delivery say what it wants.
func answers(e *Engine, d *delivery, wants ...object.ID) {
	var desired []model.Desired
	for _, id := range wants {
		desired = append(desired, model.Desired{ID: id, Version: "v1", Digest: "new"})
	}
	e.want(d, desired)
	d.at = d.version
	e.answered(d, true)
}

func standingOf(e *Engine, d *delivery, id object.ID) plan.Standing {
	return e.standing(d, id, func() string { return e.pendingPeer(d) })
}

func (e *Engine) drain() map[object.ID]bool {
	all := map[object.ID]bool{}
	for e.queue.depth() > 0 {
		id, _ := e.queue.next()
		e.queue.done(id)
		all[id] = true
	}
	return all
}

func TestAnOwnerOfWhichNothingIsKnownYetKeepsItsObjects(t *testing.T) {
	e, w := bookOf(t)
	late := named("late")
	e.own(key{"", thing}, late, "v1") // as the journal says
	d := declare(e, "eager")
	answers(e, d, thing)

	w.unheard = "every Delivery"
	if st := standingOf(e, d, thing); st.Owner != late || st.Pending == "" {
		t.Errorf("while declarations are read: %+v", st)
	}
	w.unheard = ""
	w.objects[late] = true // declared, and refused as it stands
	if st := standingOf(e, d, thing); st.Owner != late || st.Pending == "" {
		t.Errorf("when the owner is refused: %+v", st)
	}
	delete(w.objects, late)
	if st := standingOf(e, d, thing); !st.Owner.IsZero() {
		t.Errorf("when the owner is gone: %+v", st)
	}
}

func TestASuspendedOwnerThatNeverSaidKeepsItsObjects(t *testing.T) {
	e, _ := bookOf(t)
	owner := declare(e, "owner", thing)
	owner.spec.Suspended = true
	delete(e.book.stale, owner.spec.ID)
	d := declare(e, "other")
	answers(e, d, thing)
	if st := standingOf(e, d, thing); st.Owner != owner.spec.ID || !st.Wanted {
		t.Errorf("%+v", st)
	}
}

func TestNothingIsPrunedWhileADeclarationIsUnheard(t *testing.T) {
	e, w := bookOf(t)
	d := declare(e, "mine", thing)
	answers(e, d)
	w.unheard = "Delivery/team/new"
	if st := standingOf(e, d, thing); st.Pending != w.unheard {
		t.Errorf("%+v", st)
	}
	w.unheard = ""
	if st := standingOf(e, d, thing); st.Pending != "" {
		t.Errorf("%+v", st)
	}
}

// TestHeirs: who takes an object by itself goes before who waits to be asked, and
// who is being deleted takes nothing. A Namespace stays while something in it is
// to be somebody else's.
func TestHeirs(t *testing.T) {
	e, _ := bookOf(t)
	space := object.ID{Kind: "Namespace", Name: thing.Namespace}
	d := declare(e, "mine", thing, space)
	byHand, going, willing := declare(e, "by-hand"), declare(e, "going"), declare(e, "willing")
	byHand.spec.Sync.Manual, going.spec.Deleting = true, true
	answers(e, d)
	answers(e, byHand)
	answers(e, willing)
	check := func(when string, heir *delivery, idle bool) {
		t.Helper()
		var want object.ID
		if heir != nil {
			want = heir.spec.ID
		}
		if st := standingOf(e, d, thing); st.Heir != want || st.Idle != idle {
			t.Errorf("%s: %+v", when, st)
		}
		if st := standingOf(e, d, space); st.Dweller != want {
			t.Errorf("%s: the Namespace: %+v", when, st)
		}
	}
	answers(e, going, thing)
	check("wanted by one that goes", nil, false)
	answers(e, byHand, thing)
	check("wanted by one that is synced by hand", byHand, true)
	byHand.spec.Operation = &model.Operation{ID: "now"}
	check("which somebody has asked to sync", byHand, false)
	byHand.done = "now"
	check("which has been synced", byHand, true)
	answers(e, willing, thing)
	check("wanted by one that takes it", willing, false)
}

// A commit moves an object from one delivery to another that it adds.
func TestPruningWaitsForADeliveryThatIsAboutToBeDeclared(t *testing.T) {
	e, w := bookOf(t)
	d := declare(e, "old", thing)
	root := declare(e, "root")
	fresh := named("fresh")
	answers(e, d)
	answers(e, root, fresh)
	pending := func() string { return standingOf(e, d, thing).Pending }

	if pending() != fresh.String() {
		t.Errorf("before it is applied: %q", pending())
	}
	en := e.own(key{"", fresh}, root.spec.ID, "v1")
	en.base, en.made = model.Baseline{Inputs: "new"}, 1
	root.ranVersion = root.version
	if pending() != fresh.String() {
		t.Errorf("applied, and not seen: %q", pending())
	}
	w.objects[fresh] = true
	child := declare(e, "fresh")
	child.spec.Generation = 1
	if pending() != fresh.String() {
		t.Errorf("declared, and not evaluated: %q", pending())
	}
	answers(e, child, thing)
	if st := standingOf(e, d, thing); st.Pending != "" || st.Heir != fresh {
		t.Errorf("evaluated: %+v", st)
	}
	en.made = 2
	if pending() != fresh.String() {
		t.Errorf("changed, and not seen: %q", pending())
	}
	e.disown(key{"", fresh})
	e.DropDelivery(fresh)
	delete(w.objects, fresh)
	if pending() != "" {
		t.Errorf("the run that could not declare it has ended: %q", pending())
	}
}

func TestWhatIsRefusedGoesBack(t *testing.T) {
	for name, c := range map[string]struct {
		owner, wrote bool
		want         string
	}{
		"to nobody":           {false, false, ""},
		"to the other":        {true, false, "other"},
		"unless it may exist": {true, true, "squatter"},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := bookOf(t)
			waits := declare(e, "other")
			if c.owner {
				e.own(key{"", thing}, waits.spec.ID, "v1")
			}
			d := declare(e, "squatter")
			e.drain()
			e.book.blocked[waits.spec.ID] = map[object.ID]bool{thing: true}
			e.book.blocked[d.spec.ID] = map[object.ID]bool{thing: true}
			r := &run{e: e, d: d, spec: d.spec, plan: &model.Plan{Waves: []model.Wave{{Changes: []model.Change{{Verb: model.Create, Object: thing, Version: "v1"}}}}}}
			r.hold()
			if en := e.book.entries[key{"", thing}]; en.owner != d.spec.ID || !en.busy {
				t.Fatalf("not held: %+v", en)
			}
			if c.wrote {
				r.keep(r.plan.Waves[0].Changes[0])
			}
			r.release()
			owner := ""
			if en := e.book.entries[key{"", thing}]; en != nil {
				owner = en.owner.Name
			}
			if owner != c.want {
				t.Errorf("it belongs to %q, want %q", owner, c.want)
			}
			if woken := e.drain(); !woken[waits.spec.ID] || woken[d.spec.ID] {
				t.Errorf("woken: %v", woken)
			}
		})
	}
}

func TestAnotherObjectOfTheSameNameStartsAnew(t *testing.T) {
	e, _ := bookOf(t)
	first := declare(e, "app", thing)
	version := first.version
	spec := first.spec
	spec.UID, spec.Claims = "another", nil
	e.SetDelivery(spec, nil, nil, nil)
	second := e.book.deliveries[spec.ID]
	if second == first || first.version == version {
		t.Error("a run of the first goes on")
	}
	if len(e.book.owned[spec.ID]) != 0 {
		t.Errorf("it owns %v of the first", e.book.owned[spec.ID])
	}
	r := &run{e: e, d: first, spec: spec, version: version}
	if err := r.decide(); err == nil {
		t.Error("the first still decides")
	}
}

func TestAnotherKubeconfigKeepsTheInventory(t *testing.T) {
	e, _ := bookOf(t)
	d := declare(e, "app", thing)
	other := object.ID{Kind: "ConfigMap", Namespace: "web", Name: "other"}
	e.own(key{"", other}, d.spec.ID, "v1")
	e.claim(d, "remote")
	for _, id := range []object.ID{thing, other} {
		if en := e.book.entries[key{"remote", id}]; en == nil || en.owner != d.spec.ID || en.hasBase() {
			t.Errorf("%s is not claimed where the delivery goes now", id)
		}
		if e.book.entries[key{"", id}] != nil {
			t.Errorf("%s is still known where the delivery went", id)
		}
	}
}

func TestEndingADeliveryDoesNotWakeItself(t *testing.T) {
	e, _ := bookOf(t)
	d := declare(e, "app", thing)
	answers(e, d, thing)
	e.drain()
	e.book.blocked[d.spec.ID] = map[object.ID]bool{thing: true}
	r := &run{e: e, d: d, spec: d.spec, version: d.version}
	r.endWants()
	if !e.drain()[d.spec.ID] {
		t.Error("that it wants nothing any more is no news")
	}
	r.endWants()
	if woken := e.drain(); len(woken) != 0 {
		t.Errorf("the next run wakes %v", woken)
	}
}

func TestAWeightCountsDeliveriesOfDeliveries(t *testing.T) {
	e, _ := bookOf(t)
	declare(e, "leaf", thing)
	declare(e, "middle", named("leaf"))
	declare(e, "root", named("middle"))
	declare(e, "loop", named("loop"))
	for name, want := range map[string]int{"leaf": 2, "middle": 3, "root": 4, "loop": 2} {
		if got := e.weight(named(name)); got != want {
			t.Errorf("%s weighs %d, want %d", name, got, want)
		}
	}
	quiet := declare(e, "not-run-yet")
	quiet.claimed, quiet.spec.Claims = false, make([]model.Claim, 7)
	if got := e.weight(quiet.spec.ID); got != 8 {
		t.Errorf("one that has not run weighs %d", got)
	}
}

// After a restart the first event is equal to the baseline: what its
// annotations ask for has to be known all the same.
func TestAnEventThatConfirmsTheBaselineIsReadForItsAnnotations(t *testing.T) {
	e, _ := bookOf(t)
	declare(e, "app", thing)
	k := key{"", thing}
	en := e.book.entries[k]
	en.base = model.Baseline{UID: "u", ResourceVersion: "7", Inputs: "old", Cut: "cut"}
	want := &model.Desired{ID: thing, Version: "v1", Digest: "new"}
	if !e.doubtful(en, want) {
		t.Error("a change rests on annotations that nobody read")
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{
		"namespace": "web", "name": "thing", "uid": "u", "resourceVersion": "7", "annotations": map[string]any{"example.org/prune": "disabled"},
	}}}
	e.drain()
	e.hear(k, en, o, false)
	if !en.handle.Keep || !en.read || e.doubtful(en, want) {
		t.Errorf("not read: %+v", en)
	}
	if woken := e.drain(); len(woken) != 0 {
		t.Errorf("nothing happened, and %v runs", woken)
	}
}

func TestEveryObjectThatMayBeDeletedIsLookedAt(t *testing.T) {
	e, _ := bookOf(t)
	d := declare(e, "app", thing)
	en := e.book.entries[key{"", thing}]
	en.base, en.seen, en.read = model.Baseline{Cut: "cut", Inputs: "new"}, true, true
	answers(e, d)
	r := &run{e: e, d: d, spec: d.spec, cluster: e.opts.Clusters.Local()}
	if got := r.unknown(); len(got) != 1 || got[0].ID != thing {
		t.Errorf("looks at %v", got)
	}
}

// A bootstrap repository declares the delivery that delivers it.
func TestADeliveryDoesNotAwaitItselfNorWhatItLeavesToOthers(t *testing.T) {
	e, _ := bookOf(t)
	itself, left, disabled := named("app"), named("left"), named("disabled")
	d := declare(e, "app", itself, disabled, thing)
	d.spec.Policy.Wait = true
	answers(e, d, itself, left, disabled, thing)
	e.book.entries[key{"", disabled}].handle.Disabled = true
	r := &run{e: e, d: d, spec: d.spec, seen: map[object.ID]observed{left: {live: &unstructured.Unstructured{}}}}
	bad, failed := r.unhealthy(&settling{})
	if len(bad) != 1 || bad[0].Object != thing || failed {
		t.Errorf("awaits %v", bad)
	}
}
