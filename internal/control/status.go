package control

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// writer writes what the dialects project of reports. Reports of one object
// coalesce: only the newest is written, and only what differs from what is
// there. All of it goes through the background lane, behind writes that change
// the cluster; finalizers, which gate such writes, do not.
type writer struct {
	ds      *declarations
	log     *slog.Logger
	manager string // field manager and event source

	mu      sync.Mutex
	ready   *sync.Cond
	freed   *sync.Cond // an object is not written any more
	order   []object.ID
	pending map[object.ID]job
	running map[object.ID]bool
	closed  bool
	events  *events
	makers  *makers
}

// job is what there is to say of one declared object. One field is set.
type job struct {
	delivery *model.Report
	source   *model.SourceReport
	refused  *model.Fault
	findings []model.Finding // with refused
	about    *declared
	number   uint64 // of the jobs of the object
	attempt  int
}

// statusWriters is the number of statuses written at a time. The background
// lane of the cluster bounds them once more.
const statusWriters = 8

func newWriter(ds *declarations, log *slog.Logger) *writer {
	w := &writer{ds: ds, log: log, manager: "plumb", pending: map[object.ID]job{}, running: map[object.ID]bool{}}
	w.events, w.makers = newEvents(w), newMakers(w)
	w.ready, w.freed = sync.NewCond(&w.mu), sync.NewCond(&w.mu)
	return w
}

// Delivery takes the report of a delivery.
func (w *writer) Delivery(r *model.Report) {
	if d := w.ds.get(r.Delivery); d != nil && !d.refused.Load() {
		if d.expands.Load() {
			quiet := *r
			quiet.Objects = nil // told once
			d.last.Store(&quiet)
		}
		w.put(d, job{delivery: r})
	}
}

// Source takes the report of a source.
func (w *writer) Source(r *model.SourceReport) {
	if d := w.ds.get(r.Source); d != nil && !d.refused.Load() {
		w.put(d, job{source: r})
	}
}

// put queues a job; one that has not been written yet is replaced.
func (w *writer) put(d *declared, j job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d.told++
	j.about, j.number = d, d.told
	w.queue(j)
}

// again queues a job that failed, unless something newer was told since: what
// was newer may have been written already.
func (w *writer) again(j job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j.number == j.about.told {
		w.queue(j)
	}
}

// queue is for put and again. The caller holds w.mu.
func (w *writer) queue(j job) {
	id := j.about.id
	if was, ok := w.pending[id]; ok {
		if was.about == j.about {
			j = merge(was, j)
		}
		w.pending[id] = j
		return
	}
	w.pending[id] = j
	if !w.running[id] {
		w.order = append(w.order, id)
		w.ready.Signal()
	}
}

// merge keeps of a report that was never written what the next one would lose:
// the outcomes that events tell of.
func merge(was, now job) job {
	if was.delivery != nil && now.delivery != nil && len(now.delivery.Objects) == 0 && len(was.delivery.Objects) > 0 && now.delivery.Fault == nil {
		kept := *now.delivery
		kept.Objects = was.delivery.Objects
		now.delivery = &kept
	}
	if was.delivery != nil && now.delivery != nil && was.delivery.Release != nil && now.delivery.Release != nil && len(was.delivery.Release.Events) > 0 {
		kept, release := *now.delivery, *now.delivery.Release
		release.Events = append(slices.Clone(was.delivery.Release.Events), release.Events...)
		kept.Release = &release
		now.delivery = &kept
	}
	return now
}

// run writes until the context ends.
func (w *writer) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		w.closed = true
		w.mu.Unlock()
		w.ready.Broadcast()
		w.freed.Broadcast()
	})
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { w.events.run(ctx) })
	for range statusWriters {
		all.Go(func() {
			for {
				j, ok := w.next()
				if !ok {
					return
				}
				err := w.write(ctx, j)
				w.done(ctx, j, err)
			}
		})
	}
	all.Wait()
}

func (w *writer) next() (job, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.order) == 0 && !w.closed {
		w.ready.Wait()
	}
	if w.closed {
		return job{}, false
	}
	id := w.order[0]
	w.order = w.order[1:]
	j := w.pending[id]
	delete(w.pending, id)
	w.running[id] = true
	return j, true
}

// done ends a write. One that failed is tried again, unless something newer
// has come.
func (w *writer) done(ctx context.Context, j job, err error) {
	id := j.about.id
	if err != nil && ctx.Err() == nil {
		w.log.Warn("status not written, trying again", "object", id.String(), "error", err)
		j.attempt++
		pause := min(100*time.Millisecond<<min(j.attempt, 9), 30*time.Second)
		time.AfterFunc(pause, func() { w.again(j) })
	}
	w.mu.Lock()
	delete(w.running, id)
	w.freed.Broadcast()
	if _, ok := w.pending[id]; ok {
		w.order = append(w.order, id)
		w.ready.Signal()
	}
	idle := w.idle()
	w.mu.Unlock()
	if idle {
		w.events.nudge()
		w.makers.nudge()
	}
}

// idle reports whether every status has been written. The caller holds w.mu.
func (w *writer) idle() bool { return len(w.order) == 0 && len(w.running) == 0 }

// write projects a report and writes what differs. What is told of an object
// that is gone is not written on another one of the same name.
func (w *writer) write(ctx context.Context, j job) error {
	d := j.about
	if w.ds.get(d.id) != d {
		return nil
	}
	previous := d.current.Load()
	edits := w.project(d, j, previous)
	kind, err := w.ds.cluster.Resolve(ctx, schema.FromAPIVersionAndKind(previous.GetAPIVersion(), previous.GetKind()))
	if err != nil {
		return err
	}
	session := w.ds.cluster.As(model.Identity{}).Background()
	if err := w.makers.drop(ctx, session, d, edits.Drops); err != nil {
		return err
	}
	if edits.Status != nil || len(edits.Fields) > 0 {
		if err := w.status(ctx, session, kind, d, previous, edits); err != nil {
			return gone(err)
		}
	}
	if err := w.metadata(ctx, session, kind, d, edits); err != nil {
		return gone(err)
	}
	w.events.add(previous, edits.Events)
	w.makers.want(d, edits.Makes, j.delivery != nil && j.delivery.Running)
	return nil
}

func (w *writer) project(d *declared, j job, previous *unstructured.Unstructured) model.Edits {
	switch {
	case j.delivery != nil:
		return d.dialect.Project(w.withChildren(d, j.delivery), previous)
	case j.source != nil:
		return d.dialect.ProjectSource(j.source, previous)
	}
	return d.dialect.Refuse(j.refused, j.findings, previous)
}

// gone makes nothing of an error that says the object is not there any more.
func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// status patches the parts of a status that differ, and other fields of the
// object. A field is only taken away from the very version that it was read of:
// what somebody has asked for meanwhile stays.
func (w *writer) status(ctx context.Context, session *cluster.Session, kind cluster.Kind, d *declared, previous *unstructured.Unstructured, edits model.Edits) error {
	patch := map[string]any{}
	if edits.Status != nil {
		was, _, _ := unstructured.NestedMap(previous.Object, "status")
		normal, err := roundTrip(edits.Status)
		if err != nil {
			return fmt.Errorf("encode status: %w", err)
		}
		if changes := difference(was, normal); len(changes) > 0 {
			patch["status"] = changes
		}
	}
	for field, value := range edits.Fields {
		if _, there := previous.Object[field]; there || value != nil {
			patch[field] = value
			patch["metadata"] = map[string]any{"resourceVersion": previous.GetResourceVersion()}
		}
	}
	if len(patch) == 0 {
		return nil
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	where := cluster.PatchOptions{Subresource: "status", Manager: w.manager}
	if d.kind.Whole {
		where.Subresource = ""
	}
	answer, err := session.Patch(ctx, kind, d.id.Namespace, d.id.Name, where, body)
	if err != nil {
		return err
	}
	d.advance(slim(answer))
	return nil
}

// roundTrip brings values into the form that decoded objects have.
func roundTrip(m map[string]any) (map[string]any, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{Object: map[string]any{}}
	wrapped := append(append([]byte(`{"apiVersion":"v1","kind":"Status","status":`), body...), '}')
	if err := o.UnmarshalJSON(wrapped); err != nil {
		return nil, err
	}
	out, _ := o.Object["status"].(map[string]any)
	return out, nil
}

// difference is the JSON merge patch (RFC 7386) that turns was into now.
func difference(was, now map[string]any) map[string]any {
	patch := map[string]any{}
	for k, v := range now {
		old, ok := was[k]
		if ok && reflect.DeepEqual(old, v) {
			continue
		}
		oldMap, a := old.(map[string]any)
		newMap, b := v.(map[string]any)
		if a && b {
			patch[k] = difference(oldMap, newMap)
			continue
		}
		patch[k] = v
	}
	for k := range was {
		if _, ok := now[k]; !ok {
			patch[k] = nil
		}
	}
	return patch
}

// metadata sets annotations and our finalizer as the projection asks.
func (w *writer) metadata(ctx context.Context, session *cluster.Session, kind cluster.Kind, d *declared, edits model.Edits) error {
	if edits.Finalizer != "" {
		if err := w.finalizer(ctx, session, kind, d, edits.Finalizer, edits.Finalize); err != nil {
			return err
		}
	}
	for name, want := range edits.Finalizers {
		if err := w.finalizer(ctx, session, kind, d, name, want); err != nil {
			return err
		}
	}
	current := d.current.Load().GetAnnotations()
	patch := map[string]any{}
	for k, v := range edits.Annotations {
		switch had, ok := current[k]; {
		case v == "" && ok:
			patch[k] = nil
		case v != "" && had != v:
			patch[k] = v
		}
	}
	if len(patch) == 0 {
		return nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": patch}})
	if err != nil {
		return err
	}
	answer, err := session.Patch(ctx, kind, d.id.Namespace, d.id.Name, cluster.PatchOptions{Manager: w.manager}, body)
	if err != nil {
		return err
	}
	d.advance(slim(answer))
	return nil
}

// Persist writes the report of a delivery before it returns.
func (w *writer) Persist(ctx context.Context, r *model.Report) error {
	d := w.ds.get(r.Delivery)
	if d == nil || d.refused.Load() {
		return fmt.Errorf("%s is gone, or was refused", r.Delivery)
	}
	j := w.seize(job{delivery: r, about: d})
	defer w.done(ctx, j, nil)
	for {
		err := w.write(ctx, j)
		if !apierrors.IsConflict(err) {
			return err
		}
		if err := w.refetch(ctx, d); err != nil {
			return err
		}
	}
}

// seize makes the caller the one who writes an object, once nobody else does.
// What was queued is older, and goes with the job.
func (w *writer) seize(j job) job {
	id := j.about.id
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.running[id] && !w.closed {
		w.freed.Wait()
	}
	if was, ok := w.pending[id]; ok {
		if was.about == j.about {
			j = merge(was, j)
		}
		delete(w.pending, id)
		w.order = slices.DeleteFunc(w.order, func(waiting object.ID) bool { return waiting == id })
	}
	w.running[id] = true
	j.about.told++ // one that failed and waits for its next try is older too
	j.number = j.about.told
	return j
}

// refetch reads a declared object that somebody else has changed.
func (w *writer) refetch(ctx context.Context, d *declared) error {
	was := d.current.Load()
	kind, err := w.ds.cluster.Resolve(ctx, schema.FromAPIVersionAndKind(was.GetAPIVersion(), was.GetKind()))
	if err != nil {
		return err
	}
	o, err := w.ds.cluster.As(model.Identity{}).Get(ctx, kind, d.id.Namespace, d.id.Name)
	if err != nil {
		return err
	}
	if o.GetUID() != was.GetUID() {
		return fmt.Errorf("%s was deleted and created anew", d.id)
	}
	d.advance(slim(o))
	return nil
}

// Finalize puts a finalizer on a declared object before anything of it exists.
func (w *writer) Finalize(ctx context.Context, id object.ID, finalizer string) error {
	d := w.ds.get(id)
	if d == nil {
		return fmt.Errorf("%s is gone", id)
	}
	o := d.current.Load()
	kind, err := w.ds.cluster.Resolve(ctx, schema.FromAPIVersionAndKind(o.GetAPIVersion(), o.GetKind()))
	if err != nil {
		return err
	}
	if err := w.finalizer(ctx, w.ds.cluster.As(model.Identity{}), kind, d, finalizer, true); err != nil {
		return err
	}
	if !slices.Contains(d.current.Load().GetFinalizers(), finalizer) {
		return fmt.Errorf("%s is being deleted", id)
	}
	return nil
}

// finalizer adds or removes a finalizer. The list is written whole, so the
// write is tied to the version it was derived from.
func (w *writer) finalizer(ctx context.Context, session *cluster.Session, kind cluster.Kind, d *declared, name string, want bool) error {
	o := d.current.Load()
	for {
		list, changed := withFinalizer(o.GetFinalizers(), name, want)
		if !changed || (want && o.GetDeletionTimestamp() != nil) {
			return nil
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"finalizers": list, "resourceVersion": o.GetResourceVersion(), "uid": string(o.GetUID()),
		}})
		if err != nil {
			return err
		}
		answer, err := session.Patch(ctx, kind, d.id.Namespace, d.id.Name, cluster.PatchOptions{Manager: w.manager}, body)
		if err == nil {
			d.advance(slim(answer))
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		uid := o.GetUID()
		if o, err = session.Get(ctx, kind, d.id.Namespace, d.id.Name); err != nil {
			return err
		}
		if o.GetUID() != uid {
			return fmt.Errorf("%s was deleted and created anew", d.id)
		}
		d.advance(slim(o))
	}
}

func withFinalizer(list []string, name string, want bool) ([]string, bool) {
	kept := []string{}
	found := false
	for _, f := range list {
		if f == name {
			found = true
			if !want {
				continue
			}
		}
		kept = append(kept, f)
	}
	if want && !found {
		kept = append(kept, name)
	}
	return kept, found != want
}
