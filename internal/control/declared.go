package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Engine is what declarations are handed to.
type Engine interface {
	SetSource(model.Source, []model.Finding)
	DropSource(object.ID)
	SetDelivery(model.Delivery, []model.Source, model.Facts, []model.Finding)
	DropDelivery(object.ID)
	// Heard tells that Unheard of the declarations has got shorter.
	Heard()
	// Touched tells that a declared object changed in any way, its status included.
	Touched(object.ID)
	// AtRest is closed once no delivery is at work or waits to be.
	AtRest() <-chan struct{}
	// Refuse tells that a declared object, as it stands, may not be acted on.
	Refuse(object.ID, *model.Fault)
}

// declarations follows every declared object of every dialect.
type declarations struct {
	engine   Engine
	dialects []dialect.Dialect
	settings dialect.Settings
	cluster  *cluster.Cluster
	facts    *facts
	writer   *writer
	log      *slog.Logger
	noticed  func(object.ID) // told of every change of a declared object; nil: nobody follows

	mu      sync.RWMutex
	objects map[object.ID]*declared
	unread  map[schema.GroupKind]bool // handled kinds whose objects have not all been seen
	unheard map[object.ID]bool        // objects that have not been compiled yet
	// children are the declared objects by whom they name as their controller.
	children map[object.ID]map[object.ID]*declared
}

// declared is one declared object.
type declared struct {
	id      object.ID
	dialect dialect.Dialect
	kind    dialect.Kind
	current atomic.Pointer[unstructured.Unstructured] // as last seen or written, without managed fields; never changed in place
	made    atomic.Pointer[string]                    // digest of what the kind's MadeBy asked for in it; nil: nobody did

	mu      sync.Mutex // one compilation at a time
	digest  string     // of what was compiled
	gone    bool
	told    uint64      // counts the jobs of the writer, whose lock guards it
	refused atomic.Bool // the object as it stands cannot be acted on: reports of an earlier form are not written
	parent  object.ID   // whom it names as its controller; declarations.mu guards it
	source  bool        // handed to the engine as a source
	deliver bool        // handed to the engine as a delivery

	// Of a delivery that makes declared objects: what was told of it last, and
	// whether it is about to be told again because of one of them.
	expands atomic.Bool
	last    atomic.Pointer[model.Report]
	due     atomic.Bool
}

func newDeclarations(ctx context.Context, c *cluster.Cluster, dialects []dialect.Dialect, settings dialect.Settings, log *slog.Logger) *declarations {
	d := &declarations{cluster: c, dialects: dialects, settings: settings, log: log, objects: map[object.ID]*declared{}, unread: map[schema.GroupKind]bool{}, unheard: map[object.ID]bool{}, children: map[object.ID]map[object.ID]*declared{}}
	for _, room := range dialects {
		for _, k := range room.Kinds() {
			if k.Handled {
				d.unread[k.GroupKind] = true
			}
		}
	}
	d.facts = newFacts(ctx, c, d.recompile)
	return d
}

// follow watches every kind of every dialect, in its newest version.
func (ds *declarations) follow(ctx context.Context) {
	for _, d := range ds.dialects {
		for _, k := range d.Kinds() {
			gvk := k.GroupKind.WithVersion(k.Versions[0])
			ds.cluster.Watch(ctx, cluster.WatchSpec{GVK: gvk}, &declaredWatch{ds: ds, dialect: d, kind: k, gvk: gvk})
		}
	}
}

// declaredWatch is the watch of one kind of declared objects.
type declaredWatch struct {
	ds      *declarations
	dialect dialect.Dialect
	kind    dialect.Kind
	gvk     schema.GroupVersionKind

	again map[object.ID]bool // seen since nothing was known; nil unless the watch had to begin anew
}

// Event keeps the object and compiles it when what it asks for changed.
func (w *declaredWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	id := object.Of(o)
	if typ == watch.Deleted {
		w.ds.drop(id)
		return
	}
	if w.again != nil {
		w.again[id] = true
	}
	made := madeForm(o, w.kind.MadeBy)
	o = slim(o)
	d := w.ds.get(id)
	if d == nil {
		d = &declared{id: id, dialect: w.dialect, kind: w.kind}
		d.made.Store(made)
		d.current.Store(o)
		w.ds.mu.Lock()
		w.ds.objects[id], w.ds.unheard[id] = d, true
		w.ds.mu.Unlock()
	} else if !d.advance(o) {
		return
	}
	d.made.Store(made)
	w.ds.compile(d)
	w.ds.notice(id)
	w.ds.engine.Touched(id)
	w.ds.adopt(d, o)
	w.ds.writer.makers.heard(id)
}

// Synced tells that every object of the kind is known. After Gone, those that
// vanished meanwhile are told of by nothing else.
func (w *declaredWatch) Synced() {
	if w.again != nil {
		for _, id := range w.ds.of(w.kind.GroupKind) {
			if !w.again[id] {
				w.ds.drop(id)
			}
		}
		w.again = nil
	}
	w.ds.read(w.kind.GroupKind, true)
}

// Gone is logged: without a watch nothing new is heard of this kind. What is
// not served has no objects; what may not be read may have some.
func (w *declaredWatch) Gone(err error) {
	w.ds.log.Warn("declared objects cannot be watched now", "kind", w.gvk.Kind, "error", err)
	w.again = map[object.ID]bool{}
	var unknown *cluster.UnknownKindError
	w.ds.read(w.kind.GroupKind, !w.kind.Handled || errors.As(err, &unknown))
}

// of lists the objects of a kind.
func (ds *declarations) of(gk schema.GroupKind) []object.ID {
	ds.mu.RLock()
	defer ds.mu.RUnlock()
	var ids []object.ID
	for id := range ds.objects {
		if id.GroupKind() == gk {
			ids = append(ids, id)
		}
	}
	return ids
}

// read notes whether every object of a kind has been seen.
func (ds *declarations) read(gk schema.GroupKind, all bool) {
	ds.mu.Lock()
	if all {
		delete(ds.unread, gk)
	} else {
		ds.unread[gk] = true
	}
	ds.mu.Unlock()
	if all {
		ds.writer.makers.seen(gk)
		ds.engine.Heard()
	}
}

// seen reports whether every object of a kind has been seen.
func (ds *declarations) seen(gk schema.GroupKind) bool {
	ds.mu.RLock()
	defer ds.mu.RUnlock()
	return !ds.unread[gk]
}

// Unheard names something declared of which it is not known yet what it asks
// for; "" when there is nothing.
func (ds *declarations) Unheard() string {
	ds.mu.RLock()
	defer ds.mu.RUnlock()
	var first string
	note := func(name string) {
		if first == "" || name < first {
			first = name
		}
	}
	for gk := range ds.unread {
		note("every " + gk.Kind)
	}
	for id := range ds.unheard {
		note(id.String())
	}
	return first
}

// understood notes that an object has been compiled or refused.
func (ds *declarations) understood(id object.ID) {
	ds.mu.Lock()
	first := ds.unheard[id]
	delete(ds.unheard, id)
	ds.mu.Unlock()
	if first {
		ds.engine.Heard()
	}
}

// slim is a shallow copy without what nobody here reads and what would fill the
// memory. Watched objects are shared: they are not changed in place.
func slim(o *unstructured.Unstructured) *unstructured.Unstructured {
	top := make(map[string]any, len(o.Object))
	for k, v := range o.Object {
		top[k] = v
	}
	if meta, ok := o.Object["metadata"].(map[string]any); ok {
		kept := make(map[string]any, len(meta))
		for k, v := range meta {
			if k != "managedFields" {
				kept[k] = v
			}
		}
		if annotations, ok := kept["annotations"].(map[string]any); ok {
			kept["annotations"] = without(annotations, "kubectl.kubernetes.io/last-applied-configuration")
		}
		top["metadata"] = kept
	}
	return &unstructured.Unstructured{Object: top}
}

func without(m map[string]any, name string) map[string]any {
	if _, ok := m[name]; !ok {
		return m
	}
	kept := make(map[string]any, len(m))
	for k, v := range m {
		if k != name {
			kept[k] = v
		}
	}
	return kept
}

// advance keeps o if it is not older than what is known.
func (d *declared) advance(o *unstructured.Unstructured) bool {
	for {
		was := d.current.Load()
		if was != nil && was.GetUID() == o.GetUID() && object.Older(o.GetResourceVersion(), was.GetResourceVersion()) {
			return false
		}
		if d.current.CompareAndSwap(was, o) {
			return true
		}
	}
}

func (ds *declarations) get(id object.ID) *declared {
	ds.mu.RLock()
	defer ds.mu.RUnlock()
	return ds.objects[id]
}

// Object is the declared object as last seen; nil when there is none.
func (ds *declarations) Object(id object.ID) *unstructured.Unstructured {
	if d := ds.get(id); d != nil {
		return d.current.Load()
	}
	return nil
}

// Ready is the dialect's judgement of a declared object.
func (ds *declarations) Ready(id object.ID) bool {
	d := ds.get(id)
	return d != nil && d.dialect.Ready(d.current.Load())
}

// recompile compiles an object again because a fact changed.
func (ds *declarations) recompile(id object.ID) {
	if d := ds.get(id); d != nil {
		d.mu.Lock()
		d.digest = ""
		d.mu.Unlock()
		ds.compile(d)
	}
}

// compile asks the dialect what the object means and tells the engine, unless
// nothing that matters changed.
func (ds *declarations) compile(d *declared) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return
	}
	o := d.current.Load()
	digest := meaning(o, &d.kind)
	if digest == d.digest {
		return
	}
	known := model.Facts{}
	var intent dialect.Intent
	var findings []model.Finding
	var err error
	for {
		var needs []model.Need
		intent, needs, findings, err = d.dialect.Compile(o, known, ds.settings)
		needs = append(unmet(needs, known), referred(intent.Delivery, known)...)
		if len(needs) == 0 {
			break
		}
		if !ds.facts.answer(d.id, needs, known) {
			return // a fact is on its way; its arrival compiles again
		}
	}
	ds.facts.retain(d.id, known)
	d.digest = digest
	defer ds.understood(d.id)
	if err != nil {
		ds.refuse(d, err, findings)
		return
	}
	d.refused.Store(false)
	if intent.Source == nil && intent.Delivery == nil {
		ds.writer.tell(o, findings) // nothing else will ever be reported of it
	}
	if intent.Source != nil {
		d.source = true
		ds.engine.SetSource(*intent.Source, findings)
	}
	if intent.Delivery != nil {
		d.deliver = true
		d.expands.Store(intent.Delivery.Expands)
		edges, more := dialect.DependsOn(o)
		for i := range more {
			more[i].Origin.Dialect = d.dialect.Name()
		}
		intent.Delivery.DependsOn = append(intent.Delivery.DependsOn, edges...)
		ds.engine.SetDelivery(*intent.Delivery, intent.Implied, read(intent.Delivery, known), append(findings, more...))
	}
}

// unmet leaves out the needs that are answered already: a dialect may go on
// naming everything that it reads.
func unmet(needs []model.Need, known model.Facts) []model.Need {
	open := needs[:0]
	for _, n := range needs {
		if _, ok := known[n]; !ok {
			open = append(open, n)
		}
	}
	return open
}

// read are the facts that a run reads. What only the compilation read shows in
// the delivery, and need not be kept once for each of them.
func read(d *model.Delivery, known model.Facts) model.Facts {
	if d.Expands {
		return known
	}
	var kept model.Facts
	for _, need := range referred(d, nil) {
		if kept == nil {
			kept = model.Facts{}
		}
		kept[need] = known[need]
	}
	return kept
}

// referred lists the objects that a delivery refers to, besides what its
// dialect asked for, and that are not among the facts yet.
func referred(d *model.Delivery, known model.Facts) []model.Need {
	if d == nil {
		return nil
	}
	var needs []model.Need
	ask := func(n model.Need) {
		if _, ok := known[n]; !ok {
			needs = append(needs, n)
		}
	}
	for i := range d.Inputs {
		if sub := d.Inputs[i].Render.Substitution; sub != nil {
			for _, from := range sub.From {
				ask(from.Need)
			}
		}
	}
	if d.Target.Cluster.Need != (model.Need{}) {
		ask(d.Target.Cluster.Need)
	}
	return needs
}

// refuse reports an object that cannot be acted on. What it stood for before
// stays as it is.
func (ds *declarations) refuse(d *declared, err error, findings []model.Finding) {
	var fault *model.Fault
	if !errors.As(err, &fault) {
		fault = &model.Fault{Reason: "InvalidSpec", Message: err.Error(), Err: err}
	}
	fault.At = time.Now()
	d.refused.Store(true)
	ds.engine.Refuse(d.id, fault)
	ds.writer.put(d, job{refused: fault, findings: findings})
}

// drop forgets an object that is gone.
func (ds *declarations) drop(id object.ID) {
	d := ds.get(id)
	if d == nil {
		return
	}
	ds.mu.Lock()
	delete(ds.objects, id)
	delete(ds.unheard, id)
	ds.mu.Unlock()
	d.mu.Lock()
	d.gone = true
	source, deliver := d.source, d.deliver
	d.mu.Unlock()
	ds.facts.release(id)
	ds.adopt(d, nil)
	if source {
		ds.engine.DropSource(id)
	}
	if deliver {
		ds.engine.DropDelivery(id)
	}
	ds.writer.makers.gone(d)
	ds.engine.Heard()
	ds.engine.Touched(id)
	ds.notice(id)
}

func (ds *declarations) notice(id object.ID) {
	if ds.noticed != nil {
		ds.noticed(id)
	}
}

// meaning digests what a compilation depends on: everything but the status and
// what the server keeps. Generation alone would miss annotations; where the
// status is no subresource (whole) it says nothing, since every status raises it.
func meaning(o *unstructured.Unstructured, kind *dialect.Kind) string {
	part := map[string]any{
		"uid":         string(o.GetUID()),
		"annotations": toAny(o.GetAnnotations()),
		"deleting":    deletion(o.GetDeletionTimestamp()),
	}
	if kind.Whole {
		phase, _, _ := unstructured.NestedString(o.Object, "status", "operationState", "phase")
		part["labels"], part["finalizers"], part["terminating"] = toAny(o.GetLabels()), o.GetFinalizers(), phase == "Terminating"
	} else {
		part["generation"] = o.GetGeneration()
	}
	for k, v := range o.Object {
		if (k != "status" || kind.ByStatus) && k != "metadata" {
			part[k] = v
		}
	}
	body, err := json.Marshal(part)
	if err != nil {
		return ""
	}
	return object.Digest(body)
}

func toAny(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func deletion(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().String()
}
