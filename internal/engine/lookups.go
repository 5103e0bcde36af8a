package engine

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
)

// What the function lookup answered a render is watched, so that another answer
// is rendered at once: the metadata of the very objects, or of the kind in the
// namespace, that were asked for. The watch only says that something changed; the
// next render asks again, as the delivery's identity. A release is not rendered
// between its actions, and so is not woken.

const (
	// maxLookups bounds the questions of one delivery that are watched. With more,
	// its next run asks them all again.
	maxLookups = 64
	// lookupPause is the shortest time between two wakes because of one question:
	// some objects change all the time. The first change is told at once.
	lookupPause = 5 * time.Second
)

// question is what a chart asked of a cluster.
type question struct {
	cluster string
	render.Lookup
}

// told is what a question was answered with: the namespaces and names of objects,
// each with its resource version.
type told map[types.NamespacedName]string

func placed(o *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// lookupWatch hears what happens to the answer to a question.
type lookupWatch struct {
	e       *Engine
	stop    func()
	known   bool  // there is all there is
	failed  error // nothing is heard of it
	there   told
	readers map[object.ID]told // delivery → what it was told
	woken   time.Time
	waits   bool // a wake is due once the pause is over
}

// toldOf keeps what a question of this run was answered with.
func (r *run) toldOf(asked render.Lookup, objects ...unstructured.Unstructured) {
	answer := make(told, len(objects))
	for i := range objects {
		answer[placed(&objects[i])] = objects[i].GetResourceVersion()
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.lookups == nil {
		r.lookups = map[render.Lookup]told{}
	}
	r.lookups[asked] = answer
}

// rely makes a delivery hear of other answers to what its last evaluation asked,
// and of nothing else. The caller holds e.mu.
func (r *run) rely() {
	e, d := r.e, r.d
	was := d.lookups
	d.lookups, d.unheard = map[question]bool{}, len(r.lookups) > maxLookups
	for asked, answer := range r.lookups {
		if len(d.lookups) == maxLookups {
			break
		}
		q := question{d.cluster, asked}
		d.lookups[q] = true
		w := e.book.lookups[q]
		if w == nil {
			w = e.listen(r.cluster, q)
		}
		w.readers[d.spec.ID] = answer
		if w.newer(answer) {
			w.judge()
		}
	}
	for q := range was {
		if !d.lookups[q] {
			e.unlisten(q, d.spec.ID)
		}
	}
}

// listen begins to watch what a question asks for. The caller holds e.mu.
func (e *Engine) listen(c *cluster.Cluster, q question) *lookupWatch {
	w := &lookupWatch{e: e, there: told{}, readers: map[object.ID]told{}}
	e.book.lookups[q] = w
	spec := cluster.WatchSpec{Namespace: q.Namespace, MetadataOnly: true}
	if gv, err := schema.ParseGroupVersion(q.APIVersion); err == nil {
		spec.GVK = gv.WithKind(q.Kind)
	}
	if q.Name != "" {
		spec.FieldSelector = "metadata.name=" + q.Name
	}
	w.stop = c.Watch(e.ctx, spec, w)
	return w
}

// unlisten ends it for one delivery. The caller holds e.mu.
func (e *Engine) unlisten(q question, id object.ID) {
	w := e.book.lookups[q]
	if w == nil {
		return
	}
	delete(w.readers, id)
	if len(w.readers) == 0 {
		w.stop()
		delete(e.book.lookups, q)
	}
}

// forgetLookups ends it for all that a delivery has asked. The caller holds e.mu.
func (e *Engine) forgetLookups(d *delivery) {
	for q := range d.lookups {
		e.unlisten(q, d.spec.ID)
	}
	d.lookups, d.unheard = nil, false
}

// deaf reports whether something that a delivery asked may be answered otherwise
// by now without anybody having heard. The caller holds e.mu.
func (e *Engine) deaf(d *delivery) bool {
	if d.unheard {
		return true
	}
	for q := range d.lookups {
		if w := e.book.lookups[q]; w != nil && w.failed != nil {
			return true
		}
	}
	return false
}

// newer reports whether the watch has told of what came after an answer. What
// the answer has and the watch has not yet, it tells later. The caller holds
// e.mu.
func (w *lookupWatch) newer(answer told) bool {
	for id, version := range w.there {
		if was, ok := answer[id]; !ok || object.Older(was, version) {
			return true
		}
	}
	return false
}

// Event takes over what the watch says of one object.
func (w *lookupWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	if typ == watch.Deleted {
		delete(w.there, placed(o))
	} else {
		w.there[placed(o)] = o.GetResourceVersion()
	}
	w.judge()
}

// Synced says that all there is has been told.
func (w *lookupWatch) Synced() {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	w.known, w.failed = true, nil
	w.judge()
}

// Gone says that nothing is known any more. A kind that is not served has no
// objects, which is an answer.
func (w *lookupWatch) Gone(err error) {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	w.there = told{}
	var unknown *cluster.UnknownKindError
	if w.known = errors.As(err, &unknown); w.known {
		w.judge()
		return
	}
	w.failed = err
}

// judge wakes whoever was told otherwise, but not too often. The caller holds
// e.mu.
func (w *lookupWatch) judge() {
	var misled []object.ID
	for id, answer := range w.readers {
		if w.newer(answer) || len(answer) > len(w.there) {
			misled = append(misled, id)
		}
	}
	if !w.known || w.waits || len(misled) == 0 {
		return
	}
	if left := time.Until(w.woken.Add(lookupPause)); left > 0 {
		w.waits = true
		time.AfterFunc(left, func() {
			w.e.mu.Lock()
			defer w.e.mu.Unlock()
			w.waits = false
			w.judge()
		})
		return
	}
	for _, id := range misled {
		w.e.book.stale[id] = true
		w.e.queue.add(id, changed)
	}
	w.woken = time.Now()
}
