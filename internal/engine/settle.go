package engine

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/health"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// settling is a wait for health. It holds no worker: watch events and the
// deadline bring the delivery back into the queue.
type settling struct {
	began    time.Time
	deadline time.Time
	revision string
	expired  bool
	foreign  map[object.ID]*foreign // health checks of objects that are not ours
	pods     map[object.ID]*podWatch
}

// foreign is an object that the delivery does not own and whose health it
// asked for. The identity was allowed to read it when the wait began.
type foreign struct {
	health model.Health
	stop   func()
}

// settle judges the health of everything that is awaited.
func (r *run) settle(ctx context.Context) error {
	if !r.spec.Policy.Wait && len(r.spec.Policy.HealthChecks) == 0 {
		return nil // SetDelivery has ended an earlier wait
	}
	r.report.Phase = model.PhaseSettle
	s := r.beginHealth()
	if err := r.lookAtForeign(ctx, s); err != nil {
		return err
	}
	bad, failed := r.unhealthy(s)
	healthy := len(bad) == 0
	r.report.Healthy = &healthy
	r.report.HealthRan = time.Since(s.began)
	if healthy {
		r.e.mu.Lock()
		if !s.deadline.IsZero() && s.began.Before(r.report.Started) {
			r.report.Started = s.began // the wait is part of the run
		}
		s.endPods()
		s.expired = false
		s.deadline = time.Time{}
		r.e.mu.Unlock()
		return nil
	}
	r.lookDeeper(ctx, s, bad)
	why := causes(bad)
	r.report.Objects = append(r.report.Objects, bad...)
	switch {
	case failed && !r.spec.Policy.Patient:
		return &model.Fault{Reason: "HealthCheckFailed", Retry: true, Message: "health check failed early due to stalled resources: " + why}
	case !time.Now().Before(s.deadline):
		r.e.mu.Lock()
		s.expired = true
		r.e.mu.Unlock()
		return &model.Fault{Reason: "HealthCheckFailed", Retry: true, Message: fmt.Sprintf("health check failed after %s: timeout waiting for: %s", r.spec.Policy.Timeout, why)}
	}
	r.report.Running = true
	r.report.Message = why
	return nil
}

// beginHealth starts the clock for a revision, or again when health was lost
// after it had been reached.
func (r *run) beginHealth() *settling {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	s := d.health
	if s == nil {
		s = &settling{foreign: map[object.ID]*foreign{}, pods: map[object.ID]*podWatch{}}
		d.health = s
	}
	changedNow := len(r.report.Objects) > 0
	if s.revision != r.report.Revision || s.deadline.IsZero() || changedNow {
		s.began, s.deadline, s.revision, s.expired = now, now.Add(r.spec.Policy.Timeout), r.report.Revision, false
	}
	return s
}

// endHealth stops every watch that a wait has opened. The caller holds e.mu.
func (d *delivery) endHealth() {
	if d.health == nil {
		return
	}
	for _, f := range d.health.foreign {
		f.stop()
	}
	d.health.endPods()
	d.health = nil
}

func (s *settling) endPods() {
	for id, p := range s.pods {
		p.stop()
		delete(s.pods, id)
	}
}

// lookAtForeign reads the health checks of objects that are not ours, as the
// delivery's identity, and watches them by name.
func (r *run) lookAtForeign(ctx context.Context, s *settling) error {
	for _, check := range r.spec.Policy.HealthChecks {
		r.e.mu.Lock()
		_, owned := r.e.book.owned[r.spec.ID][key{r.d.cluster, check.Object}]
		_, known := s.foreign[check.Object]
		r.e.mu.Unlock()
		if owned || known {
			continue
		}
		if err := r.watchForeign(ctx, s, check); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) watchForeign(ctx context.Context, s *settling, check model.HealthCheck) error {
	gvk := schema.GroupVersionKind{Group: check.Object.Group, Version: check.Version, Kind: check.Object.Kind}
	f := &foreign{stop: func() {}, health: model.Health{State: model.NotFound, Reason: "NotFound", Message: check.Object.String() + " not found"}}
	kind, err := r.cluster.Resolve(ctx, gvk)
	var unknown *cluster.UnknownKindError
	if errors.As(err, &unknown) {
		r.e.awaitKind(r.d, r.cluster.OnServed(gvk, func() { r.e.queue.add(r.spec.ID, changed) }))
		return &model.Fault{Reason: "HealthCheckFailed", Retry: true, Waiting: true, Message: fmt.Sprintf("%s: %v", check.Object, err), Object: check.Object}
	}
	if err != nil {
		return cluster.Explain(err, "discover", check.Object, model.Origin{Declared: r.spec.ID, Field: "spec.healthChecks"})
	}
	live, err := r.session.Get(ctx, kind, check.Object.Namespace, check.Object.Name)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return cluster.Explain(err, "get", check.Object, model.Origin{Declared: r.spec.ID, Field: "spec.healthChecks"})
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.d.health != s {
		return errSuperseded // the wait has ended: nobody would stop the watch
	}
	if err == nil {
		f.health = r.e.judgeHealth(r.d, live)
	}
	s.foreign[check.Object] = f
	f.stop = r.cluster.Watch(r.e.ctx, cluster.WatchSpec{
		GVK: gvk, Namespace: check.Object.Namespace, FieldSelector: "metadata.name=" + check.Object.Name,
	}, &foreignWatch{e: r.e, d: r.d, f: f, id: check.Object})
	return nil
}

// foreignWatch keeps the health of one object that is not ours.
type foreignWatch struct {
	e  *Engine
	d  *delivery
	f  *foreign
	id object.ID
}

// Event updates the health.
func (w *foreignWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	now := model.Health{State: model.NotFound, Reason: "NotFound", Message: w.id.String() + " not found"}
	if typ != watch.Deleted {
		now = w.e.judgeHealth(w.d, o)
	}
	if now != w.f.health {
		w.f.health = now
		w.e.queue.add(w.d.spec.ID, changed)
	}
}

// Synced needs nothing: the wait began with a look.
func (w *foreignWatch) Synced() {}

// Gone needs nothing: the deadline ends the wait.
func (w *foreignWatch) Gone(error) {}

// unhealthy lists what is awaited and not healthy, and whether one of them has
// failed for good.
func (r *run) unhealthy(s *settling) (bad []model.Outcome, failed bool) {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	add := func(id object.ID, h model.Health) {
		if h.State == model.Current {
			return
		}
		failed = failed || h.State == model.Unhealthy
		bad = append(bad, model.Outcome{Object: id, Health: h})
	}
	own := func(id object.ID) {
		en := e.book.entries[key{d.cluster, id}]
		switch {
		case id == r.spec.ID && d.cluster == "":
			// It is ready when this wait has ended.
		case r.leaves(id, en):
		case en == nil:
			add(id, model.Health{State: model.Unknown, Reason: "Unknown", Message: "nothing is known of it"})
		case en.health == (model.Health{}):
			add(id, model.Health{State: model.InProgress, Reason: "NotSeen", Message: "it has not been seen yet"})
		default:
			add(id, en.health)
		}
	}
	judged := map[object.ID]bool{}
	if r.spec.Policy.Wait {
		for i := range d.desired {
			if !d.desired[i].Handle.Disabled {
				own(d.desired[i].ID)
			}
			judged[d.desired[i].ID] = true
		}
	}
	for _, check := range r.spec.Policy.HealthChecks {
		switch f := s.foreign[check.Object]; {
		case judged[check.Object]:
		case f != nil:
			add(check.Object, f.health)
		default:
			own(check.Object)
		}
	}
	sort.Slice(bad, func(i, j int) bool { return bad[i].Object.Less(bad[j].Object) })
	return bad, failed
}

// leaves reports whether an object is wanted and left to others: nobody awaits
// its health (kustomize-controller, checkHealth). The caller holds e.mu.
func (r *run) leaves(id object.ID, en *entry) bool {
	if en == nil {
		return r.seen[id].live != nil
	}
	return en.handle.Disabled
}

// causes names what is not healthy, and why, in few words.
func causes(bad []model.Outcome) string {
	var parts []string
	for i, o := range bad {
		if i == 5 {
			parts = append(parts, fmt.Sprintf("and %d more", len(bad)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s status: '%s': %s", o.Object, o.Health.State, o.Health.Message))
	}
	return strings.Join(parts, ", ")
}

// podWatch follows what an unhealthy workload has made while its health is
// awaited: its pods know why.
type podWatch struct {
	e        *Engine
	owner    object.ID
	parent   *unstructured.Unstructured
	children map[object.ID]*unstructured.Unstructured
	why      model.Health
	stops    []func()
}

func (p *podWatch) stop() {
	for _, stop := range p.stops {
		stop()
	}
}

// childKinds are what a workload makes, of which the health of the workload can
// be explained.
var childKinds = map[schema.GroupKind][]schema.GroupVersionKind{
	{Group: "apps", Kind: "Deployment"}:  {replicaSets, pods},
	{Group: "apps", Kind: "StatefulSet"}: {pods},
	{Group: "apps", Kind: "DaemonSet"}:   {pods},
	{Group: "apps", Kind: "ReplicaSet"}:  {pods},
	{Group: "batch", Kind: "Job"}:        {pods},
}

var (
	pods        = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	replicaSets = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}
)

// lookDeeper replaces the health of unhealthy workloads by what their pods say.
func (r *run) lookDeeper(ctx context.Context, s *settling, bad []model.Outcome) {
	for i := range bad {
		p := r.podsOf(ctx, s, bad[i].Object)
		if p == nil {
			continue
		}
		r.e.mu.Lock()
		if p.why.Message != "" {
			bad[i].Health.Reason, bad[i].Health.Message = p.why.Reason, p.why.Message
		}
		r.e.mu.Unlock()
	}
}

// podsOf opens the watches on what a workload has made, if the delivery's
// identity may list it.
func (r *run) podsOf(ctx context.Context, s *settling, id object.ID) *podWatch {
	kinds := childKinds[id.GroupKind()]
	r.e.mu.Lock()
	p := s.pods[id]
	version := r.e.book.owned[r.spec.ID][key{r.d.cluster, id}]
	r.e.mu.Unlock()
	if p != nil || version == "" || kinds == nil {
		return p
	}
	kind, err := r.cluster.Resolve(ctx, schema.GroupVersionKind{Group: id.Group, Version: version, Kind: id.Kind})
	if err != nil {
		return nil
	}
	parent, err := r.session.Get(ctx, kind, id.Namespace, id.Name)
	if err != nil {
		return nil
	}
	selector := podSelector(parent)
	if selector == "" {
		return nil
	}
	p = &podWatch{e: r.e, owner: r.spec.ID, parent: parent, children: map[object.ID]*unstructured.Unstructured{}}
	for _, gvk := range kinds {
		child, err := r.cluster.Resolve(ctx, gvk)
		if err != nil {
			return nil
		}
		_, err = r.session.List(ctx, child, cluster.ListOptions{Namespace: id.Namespace, LabelSelector: selector}, func(o *unstructured.Unstructured) error {
			p.children[object.Of(o)] = o
			return nil
		})
		if err != nil {
			return nil // the identity may not know
		}
	}
	p.why = health.Deeper(parent, p.list())
	if !r.followPods(s, id, p, kinds, selector) {
		return nil // the wait has ended: nobody would stop the watches
	}
	// What the watch of the workload told between the look and now went to nobody.
	if parent, err = r.session.Get(ctx, kind, id.Namespace, id.Name); err == nil {
		r.e.mu.Lock()
		p.see(parent)
		r.e.mu.Unlock()
	}
	return p
}

// followPods begins the watches of what a workload has made, while its health is
// awaited; false when it is not any more.
func (r *run) followPods(s *settling, id object.ID, p *podWatch, kinds []schema.GroupVersionKind, selector string) bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.d.health != s {
		return false
	}
	s.pods[id] = p
	for _, gvk := range kinds {
		p.stops = append(p.stops, r.cluster.Watch(r.e.ctx, cluster.WatchSpec{GVK: gvk, Namespace: id.Namespace, LabelSelector: selector}, p))
	}
	return true
}

// podSelector is the label selector of a workload as text.
func podSelector(parent *unstructured.Unstructured) string {
	labels, _, _ := unstructured.NestedStringMap(parent.Object, "spec", "selector", "matchLabels")
	parts := make([]string, 0, len(labels))
	for k, v := range labels {
		parts = append(parts, k+"="+v)
	}
	sort.Strings(parts)
	return strings.Join(parts, ",")
}

func (p *podWatch) list() []*unstructured.Unstructured {
	all := make([]*unstructured.Unstructured, 0, len(p.children))
	for _, o := range p.children {
		all = append(all, o)
	}
	sort.Slice(all, func(i, j int) bool { return object.Of(all[i]).Less(object.Of(all[j])) })
	return all
}

// Event keeps the children and wakes the delivery when they say something new.
func (p *podWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	if typ == watch.Deleted {
		delete(p.children, object.Of(o))
	} else {
		p.children[object.Of(o)] = o
	}
	p.judge()
}

// see keeps the workload itself. The caller holds e.mu.
func (p *podWatch) see(parent *unstructured.Unstructured) {
	if object.Older(parent.GetResourceVersion(), p.parent.GetResourceVersion()) {
		return
	}
	p.parent = parent
	p.judge()
}

// judge wakes the delivery when there is another root cause. The caller holds
// e.mu.
func (p *podWatch) judge() {
	if why := health.Deeper(p.parent, p.list()); why != p.why {
		p.why = why
		p.e.queue.add(p.owner, routine)
	}
}

// Synced needs nothing: the watch began with a list.
func (p *podWatch) Synced() {}

// Gone needs nothing: the workload itself is still watched.
func (p *podWatch) Gone(error) {}
