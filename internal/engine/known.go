package engine

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
)

// Known is what is known of a delivery at one moment, for people to see. What
// it points at must not be changed.
type Known struct {
	Delivery model.Delivery
	Report   *model.Report // of the last run; nil before one has ended
	Fault    *model.Fault  // why the last evaluation failed, or why it may not be acted on; nil: neither
	Inputs   []model.InputReport
	Objects  []KnownObject // wanted or owned, hooks besides, sorted
	Images   []string
	// Waits are the deliveries that it depends on and that are not ready.
	Waits      []object.ID
	Dependants []object.ID
	Operation  *model.OperationReport // under way, or the last one
	Sync       model.SyncState
}

// KnownObject is what is known of one object of a delivery.
type KnownObject struct {
	ID       object.ID
	Version  string
	Origin   model.Origin // zero for what is not wanted any more
	Stage    model.Stage
	Wanted   bool
	Owned    bool
	Sensible bool // it holds what nobody may see
	// Foreign is another delivery that has the object and goes on wanting it: it
	// is none of this one's to show. Zero: there is none.
	Foreign object.ID
	UID     string // of the live object, as it was applied; "" when it is not known
	Sync    model.SyncState
	Health  model.Health // State is "" where it has none
	Drift   string       // how it differs from what was applied, in words
	Links   []string
}

// Known tells of a delivery; false when there is none of that name.
func (e *Engine) Known(id object.ID) (Known, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.book.deliveries[id]
	if d == nil {
		return Known{}, false
	}
	k := Known{
		Delivery: d.spec, Report: d.report, Fault: d.fault, Inputs: d.inputs, Objects: e.objectsOf(d), Images: d.images, Operation: d.last,
	}
	switch {
	case d.refusal != nil:
		k.Fault = d.refusal
	case d.badRules != nil:
		k.Fault = d.badRules
	}
	if d.sync != nil {
		k.Operation = d.sync.told
	}
	for _, on := range d.spec.DependsOn {
		if !e.opts.Declared.Ready(on.On) {
			k.Waits = append(k.Waits, on.On)
		}
	}
	for dependant := range e.book.dependants[id] {
		k.Dependants = append(k.Dependants, dependant)
	}
	slices.SortFunc(k.Dependants, object.ID.Compare)
	k.Sync = e.syncOf(d, k.Objects)
	return k, true
}

// Given is what the generators of a delivery filled the template of an object
// with, as model.Rendered has it; nil when it makes none of that name.
func (e *Engine) Given(delivery, made object.ID) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.book.deliveries[delivery]
	if d == nil {
		return nil
	}
	if want := d.desiredOf(made); want != nil {
		return want.Given
	}
	return nil
}

// syncOf is how the whole of a delivery compares. The caller holds e.mu.
func (e *Engine) syncOf(d *delivery, objects []KnownObject) model.SyncState {
	switch {
	case d.fault != nil, d.report == nil:
		return model.SyncUnknown
	case d.spec.Sync.Staged && d.spec.Release == nil && d.report.Compared:
		return d.report.Sync // what is ignored does not count
	}
	for i := range objects {
		if o := &objects[i]; o.Sync == model.OutOfSync && (o.Wanted || d.spec.Policy.Prune) {
			return model.OutOfSync
		}
	}
	return model.Synced
}

// objectsOf lists what is known of the objects of a delivery. The caller holds
// e.mu.
func (e *Engine) objectsOf(d *delivery) []KnownObject {
	objects := make([]KnownObject, 0, len(d.desired)+len(d.hooks))
	for i := range d.desired {
		if want := &d.desired[i]; !want.Handle.Disabled {
			objects = append(objects, e.wantedObject(d, want))
		}
	}
	for k, version := range e.book.owned[d.spec.ID] {
		if k.cluster == d.cluster && d.desiredOf(k.id) == nil {
			objects = append(objects, e.ownedObject(k, version, len(d.desired) == 0 && d.fault == nil))
		}
	}
	for i := range d.hooks {
		h := &d.hooks[i]
		objects = append(objects, KnownObject{ID: h.ID, Version: h.Version, Origin: h.Origin, Stage: h.Stage, Sensible: h.Secret, Sync: model.Synced, Wanted: true})
	}
	slices.SortStableFunc(objects, func(a, b KnownObject) int { return a.ID.Compare(b.ID) })
	return objects
}

// wantedObject is what is known of one wanted object. The caller holds e.mu.
func (e *Engine) wantedObject(d *delivery, want *model.Desired) KnownObject {
	o := KnownObject{ID: want.ID, Version: want.Version, Origin: want.Origin, Stage: want.Stage, Sensible: want.Secret, Wanted: true, Sync: model.OutOfSync}
	en := e.book.entries[key{d.cluster, want.ID}]
	compared, looked := d.compared[want.ID]
	switch {
	case en != nil:
		o.Owned, o.UID, o.Foreign = en.owner == d.spec.ID, en.base.UID, e.keeper(d, want.ID)
		o.Health, o.Links = en.health, en.links
		if !o.Foreign.IsZero() {
			o.Health, o.Links, o.UID = model.Health{State: en.health.State}, nil, ""
		}
		if o.Owned && en.hasBase() && en.base.Inputs == want.Digest && en.drift == "" && !en.missing || en.handle.IfNotPresent && !en.missing {
			o.Sync = model.Synced
		}
		if o.Owned {
			o.Drift = en.drift
		}
		if en.missing {
			o.Health = model.Health{State: model.NotFound, Reason: "NotFound"}
		}
	case looked && compared.digest == want.Digest:
		o.Health = compared.health
		if compared.Same {
			o.Sync = model.Synced
		}
		if compared.Presence == plan.Missing {
			o.Health = model.Health{State: model.NotFound, Reason: "NotFound"}
		}
	default:
		o.Health = model.Health{State: model.NotFound, Reason: "NotFound"}
	}
	return o
}

// keeper is another delivery that has an object on the target of d and goes on
// wanting it, or may do so: what one tenant has is not to be looked at through a
// delivery of another that names it too. Zero: there is none. The caller holds
// e.mu.
func (e *Engine) keeper(d *delivery, id object.ID) object.ID {
	en := e.book.entries[key{d.cluster, id}]
	if en == nil || en.owner.IsZero() || en.owner == d.spec.ID {
		return object.ID{}
	}
	owner := e.book.deliveries[en.owner]
	if owner == nil || owner.fault == nil && owner.report != nil && owner.desiredOf(id) == nil {
		return object.ID{}
	}
	return en.owner
}

// ownedObject is what is known of an object that the last evaluation does not
// want. unsaid: there was none yet. The caller holds e.mu.
func (e *Engine) ownedObject(k key, version string, unsaid bool) KnownObject {
	o := KnownObject{ID: k.id, Version: version, Owned: true, Sync: model.OutOfSync}
	if en := e.book.entries[k]; en != nil {
		o.Health, o.Links, o.Drift, o.UID = en.health, en.links, en.drift, en.base.UID
		if unsaid && en.drift == "" && !en.missing {
			o.Sync, o.Wanted = model.Synced, true
		}
	}
	return o
}

// KnownSource is what is known of a declared source.
type KnownSource struct {
	Source   model.Source
	Fault    *model.Fault
	Looked   bool // a look has ended, well or not
	Revision string
	Commit   model.Commit
	Artifact *model.Artifact
	Readers  []object.ID
	Findings []model.Finding
}

// KnownSource tells of a source; false when there is none of that name.
func (e *Engine) KnownSource(id object.ID) (KnownSource, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.book.sources[id]
	if s == nil {
		return KnownSource{}, false
	}
	k := KnownSource{Source: s.spec, Fault: s.fault, Looked: s.looked, Artifact: s.artifact, Findings: s.findings}
	if s.tree != nil {
		k.Revision, k.Commit = s.tree.Revision(), s.tree.Commit()
	}
	for reader := range e.book.readers[id] {
		k.Readers = append(k.Readers, reader)
	}
	slices.SortFunc(k.Readers, object.ID.Compare)
	return k, true
}

// SourceSpec is what a declared or implied source reads; false when there is none
// of that name.
func (e *Engine) SourceSpec(id object.ID) (model.Source, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.book.sources[id]; s != nil {
		return s.spec, true
	}
	return model.Source{}, false
}

// KnownCluster is what is known of a cluster that a delivery goes to.
type KnownCluster struct {
	Ref     model.ClusterRef
	Cluster *cluster.Cluster // nil before anything is watched there
	Kinds   int              // that are watched
}

// ClusterOf tells of the cluster that a delivery goes to; false when there is no
// delivery of that name.
func (e *Engine) ClusterOf(id object.ID) (KnownCluster, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.book.deliveries[id]
	if d == nil {
		return KnownCluster{}, false
	}
	known := KnownCluster{Ref: d.spec.Target.Cluster}
	if known.Ref.Local() {
		known.Cluster = e.opts.Clusters.Local()
	}
	if w := e.watching[d.cluster]; w != nil && (d.cluster != "" || known.Ref.Local()) {
		known.Cluster, known.Kinds = w.cluster, len(w.kinds)
	}
	return known, true
}

// Contacts is closed when a cluster answers again, or no more.
func (e *Engine) Contacts() <-chan struct{} { return e.opts.Clusters.Contacts() }

// OwnerOf is the delivery that owns an object on the local cluster; false when
// none does.
func (e *Engine) OwnerOf(id object.ID) (object.ID, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	en := e.book.entries[key{id: id}]
	if en == nil || en.owner.IsZero() {
		return object.ID{}, false
	}
	return en.owner, true
}

// notice tells whoever follows that something of a delivery looks different.
// The caller may hold e.mu.
func (e *Engine) notice(id object.ID) {
	if e.opts.Noticed != nil {
		e.opts.Noticed(id)
	}
}

// HealthOf judges a live object in the words of a delivery.
func (e *Engine) HealthOf(delivery object.ID, live *unstructured.Unstructured) model.Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.book.deliveries[delivery]
	if d == nil || live == nil {
		return model.Health{}
	}
	return e.judgeHealth(d, live)
}
