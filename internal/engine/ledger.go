package engine

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
)

// entry is what is known of one managed object.
type entry struct {
	owner    object.ID
	version  string
	base     model.Baseline // Cut is "" when there is none
	seen     bool           // an event or an answer has confirmed the baseline since the start
	heard    bool           // the watch of its kind has told of it
	read     bool           // handle and health are those of the live object, not yet unknown
	latest   string         // resource version that a watch told last
	missing  bool
	deleting bool
	drift    string // how it differs from the baseline
	culprit  string // field manager that changed it last
	handle   model.Handling
	wave     int      // of a sync, as the live object names it
	links    []string // where people reach it
	health   model.Health
	refused  map[object.ID]bool         // deliveries that want it and were not allowed to write it
	busy     bool                       // a write is under way: events wait for its answer
	held     *unstructured.Unstructured // last event while busy
	gone     bool                       // the last event while busy was a deletion
	heals    int                        // heals in a row, for backing off
	healed   time.Time
	made     int64 // generation of the object in the answer to our last apply
}

func (en *entry) hasBase() bool { return en.base.Cut != "" }

// watches are the filtered watches of one cluster, one per kind and version.
type watches struct {
	e       *Engine
	cluster *cluster.Cluster
	kinds   map[schema.GroupVersionKind]*kindWatch
	plain   map[spot]func() // watches without the label, and how to stop them
	// resolved maps kinds to resources, for those that have been placed.
	resolved map[schema.GroupKind]schema.GroupResource

	// What charts may know of the cluster, and the name of that state.
	capabilities render.Tree
	capable      string
	stopAPIs     func() // ends listening for other kinds; nil: nobody listens
	stopStorage  func() // ends the watch of Helm's release records; nil: there is none
}

// unmarked watches a kind in one namespace without regard to the watch label:
// objects that are compared before anybody has asked for a sync. The caller
// holds e.mu.
func (w *watches) unmarked(gvk schema.GroupVersionKind, namespace string) {
	at := spot{gvk, namespace}
	if w.plain == nil {
		w.plain = map[spot]func(){}
	}
	if w.plain[at] != nil {
		return
	}
	w.plain[at] = w.cluster.Watch(w.e.ctx, cluster.WatchSpec{GVK: gvk, Namespace: namespace, MetadataOnly: true}, &plainWatch{w: w})
}

// spot is a kind in a namespace.
type spot struct {
	gvk       schema.GroupVersionKind
	namespace string
}

// plainWatch wakes the deliveries that compare an object which does not carry
// the watch label; they look at it themselves, as who they are.
type plainWatch struct {
	w     *watches
	ready bool
}

// Event wakes whoever compares the object.
func (p *plainWatch) Event(_ watch.EventType, o *unstructured.Unstructured) {
	e := p.w.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if !p.ready {
		return // as it was when they looked
	}
	k := key{p.w.cluster.Key(), object.Of(o)}
	for id := range e.book.unmarked[k] {
		if d := e.book.deliveries[id]; d != nil {
			delete(d.compared, k.id)
			e.queue.add(id, routine)
		}
	}
}

// Synced ends the initial state.
func (p *plainWatch) Synced() {
	p.w.e.mu.Lock()
	defer p.w.e.mu.Unlock()
	p.ready = true
}

// Gone needs nothing: the interval looks.
func (p *plainWatch) Gone(error) {}

type kindWatch struct {
	w      *watches
	gvk    schema.GroupVersionKind
	stop   func()
	synced bool
	failed error // the watch cannot be had: the interval looks instead
}

// follow makes sure that a kind is watched. The caller holds e.mu.
func (w *watches) follow(gvk schema.GroupVersionKind) *kindWatch {
	if kw, ok := w.kinds[gvk]; ok {
		return kw
	}
	kw := &kindWatch{w: w, gvk: gvk}
	w.kinds[gvk] = kw
	kw.stop = w.cluster.Watch(w.e.ctx, cluster.WatchSpec{GVK: gvk, LabelSelector: WatchLabel + "=true"}, kw)
	return kw
}

// Event judges one watch event.
func (kw *kindWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	e := kw.w.e
	e.opts.Meter.Heard(kw.w.cluster.Key(), kw.gvk.GroupKind())
	k := key{kw.w.cluster.Key(), object.Of(o)}
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.book.hooks[k]; h != nil && (!h.spent || e.book.entries[k] == nil) {
		e.hearHook(h, o, typ == watch.Deleted)
		return
	}
	en := e.book.entries[k]
	if en == nil || en.version != kw.gvk.Version {
		return // labelled, but in no inventory: not ours
	}
	if en.busy {
		en.held, en.gone = o, typ == watch.Deleted
		return
	}
	e.hear(k, en, o, typ == watch.Deleted)
}

// Synced marks objects that the initial state of the watch did not have.
func (kw *kindWatch) Synced() {
	e := kw.w.e
	e.mu.Lock()
	defer e.mu.Unlock()
	kw.synced, kw.failed = true, nil
	for k, en := range e.book.entries {
		if k.cluster != kw.w.cluster.Key() || k.id.Group != kw.gvk.Group || k.id.Kind != kw.gvk.Kind || en.version != kw.gvk.Version {
			continue
		}
		switch {
		case en.busy || !en.hasBase():
		case !en.seen:
			e.lost(k, en)
		case !en.heard:
			en.read = false // applied while the watch began: nobody would have told of its end
			e.queue.add(en.owner, routine)
		}
	}
}

// Gone records that the kind cannot be watched now. Nothing vouches for its
// objects any more: their owners look, and go on looking at their interval.
func (kw *kindWatch) Gone(err error) {
	e := kw.w.e
	e.mu.Lock()
	defer e.mu.Unlock()
	kw.synced, kw.failed = false, err
	for k, en := range e.book.entries {
		if k.cluster == kw.w.cluster.Key() && k.id.Group == kw.gvk.Group && k.id.Kind == kw.gvk.Kind && en.version == kw.gvk.Version {
			en.seen, en.heard, en.latest = false, false, ""
			e.queue.add(en.owner, routine)
		}
	}
}

// hear judges what a watch says of an object, and puts the owner into the
// queue when that calls for a run. The caller holds e.mu.
func (e *Engine) hear(k key, en *entry, o *unstructured.Unstructured, deleted bool) {
	if !deleted {
		en.heard, en.latest = true, o.GetResourceVersion()
		if calls, how := e.judge(k, en, o); calls {
			e.queue.add(en.owner, how)
		}
		return
	}
	if en.hasBase() && string(o.GetUID()) != en.base.UID {
		return // an earlier incarnation
	}
	e.lost(k, en)
}

// judge compares a live object with its baseline. Anything that is not equal
// is a difference, and a difference calls for a run of the owner. The caller
// holds e.mu.
func (e *Engine) judge(k key, en *entry, o *unstructured.Unstructured) (calls bool, how urgency) {
	if en.hasBase() && object.Older(o.GetResourceVersion(), en.base.ResourceVersion) {
		return false, routine // from before our own last apply
	}
	if en.latest != "" && object.Older(o.GetResourceVersion(), en.latest) {
		return false, routine // a watch has told of a later state, which was judged
	}
	d := e.book.deliveries[en.owner]
	if d == nil { // not declared yet: it is there, and the first run looks for itself
		en.seen, en.missing = true, false
		return false, routine
	}
	e.healthOf(k, en, o)
	en.read = true
	en.handle, en.wave = e.handling(&d.spec, o)
	wasDeleting := en.deleting
	en.deleting = o.GetDeletionTimestamp() != nil
	if !en.hasBase() {
		calls = !en.seen || wasDeleting != en.deleting
		en.seen, en.missing = true, false
		return calls, routine
	}
	if en.base.ResourceVersion == o.GetResourceVersion() {
		en.seen, en.missing = true, false
		return false, routine
	}
	en.seen, en.missing = true, false
	base, ok := e.baseline(d, o, func() *unstructured.Unstructured { return d.wanted(k.id) })
	if ok && base.UID == en.base.UID && base.Paths == en.base.Paths && base.Cut == en.base.Cut && !en.deleting {
		en.base.ResourceVersion = base.ResourceVersion
		en.drift = ""
		return false, routine
	}
	if en.handle.Disabled || en.handle.IfNotPresent {
		return false, routine
	}
	e.notice(en.owner)
	en.culprit = lastManager(o, d.spec.Ownership.FieldManager)
	en.drift = "it was changed"
	if en.culprit != "" {
		en.drift += " by " + en.culprit
	}
	return true, urgent
}

// lost marks an object as gone and puts its owner into the queue. The caller
// holds e.mu.
func (e *Engine) lost(k key, en *entry) {
	en.missing, en.seen, en.deleting = true, true, false
	en.drift = "it was deleted"
	en.base.Cut = "" // never trusted again: the next run looks once, then concludes
	en.health = model.Health{State: model.NotFound, Reason: "NotFound", Message: k.id.String() + " not found"}
	e.notice(en.owner)
	e.queue.add(en.owner, urgent)
}

// baseline derives what has to hold from an object as the server stored it.
// want gives the desired object, for when the server keeps no entry of our own
// apply.
func (e *Engine) baseline(d *delivery, live *unstructured.Unstructured, want func() *unstructured.Unstructured) (model.Baseline, bool) {
	paths, ok := object.Owned(live, d.spec.Ownership.FieldManager)
	if !ok {
		o := want()
		if o == nil {
			return model.Baseline{}, false
		}
		paths = object.Leaves(o)
	}
	cut := live
	if d.judgement.rules.Any(live) {
		cut = live.DeepCopy()
		if _, err := d.judgement.rules.Strip(cut); err != nil {
			return model.Baseline{}, false
		}
	}
	return model.Baseline{
		UID:             string(live.GetUID()),
		ResourceVersion: live.GetResourceVersion(),
		Paths:           paths.Digest(),
		Cut:             object.Keyed(e.key, paths.Cut(cut)),
	}, true
}

// healthOf updates the health of an object whose owner is declared, and wakes
// whoever awaits it. The caller holds e.mu.
func (e *Engine) healthOf(k key, en *entry, o *unstructured.Unstructured) {
	d := e.book.deliveries[en.owner]
	if d.health != nil {
		if p := d.health.pods[k.id]; p != nil {
			p.see(o)
		}
	}
	now, links := e.judgeHealth(d, o), en.links
	if d.spec.Sync.Staged {
		links = linksOf(o)
	}
	if now == en.health && slices.Equal(links, en.links) {
		return
	}
	en.health, en.links = now, links
	e.notice(en.owner)
	if d.awaits(k.id) {
		e.queue.add(en.owner, changed)
	}
}

// lastManager names the field manager of the newest entry that is not ours.
func lastManager(o *unstructured.Unstructured, ours string) string {
	var name string
	var newest time.Time
	for _, f := range o.GetManagedFields() {
		if f.Manager == ours || f.Subresource != "" || f.Time == nil {
			continue
		}
		if name == "" || !f.Time.Time.Before(newest) {
			name, newest = f.Manager, f.Time.Time
		}
	}
	return name
}
