package engine

import (
	"context"
	"errors"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/differ"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
)

// observed is what a look at one object found.
type observed struct {
	plan.Seen
	live   *unstructured.Unstructured // nil when it is not there, or was seen in an earlier run
	health model.Health
	digest string // of what it was compared with
}

// observe looks at every object that the run has to decide about and of which
// nothing is known. Without a baseline, live state is never trusted.
func (r *run) observe(ctx context.Context) error {
	r.report.Phase = model.PhasePlan
	r.seen = map[object.ID]observed{}
	targets := r.unknown()
	if len(targets) == 0 {
		return nil
	}
	var mu sync.Mutex
	var first error
	each(targets, func(c model.Claim) {
		o, err := r.lookAt(ctx, c)
		if err == nil {
			err = r.compare(ctx, c, &o)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil && first == nil {
			first = err
		}
		r.seen[c.ID] = o
	})
	return first
}

// unknown lists the objects that have to be looked at.
func (r *run) unknown() []model.Claim {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	var targets []model.Claim
	wants := make(map[object.ID]bool, len(d.desired))
	for i := range d.desired {
		want := &d.desired[i]
		wants[want.ID] = true
		if known, ok := d.compared[want.ID]; ok {
			if known.digest == want.Digest && !d.recheck && r.asked == nil {
				r.seen[want.ID] = known
				continue
			}
			delete(d.compared, want.ID)
		}
		en := e.book.entries[key{d.cluster, want.ID}]
		if !want.Handle.Disabled && (d.recheck || e.doubtful(en, want) || r.excusable(en, want) || e.distrusted(r.cluster, want.ID, want.Version)) {
			targets = append(targets, model.Claim{ID: want.ID, Version: want.Version})
		}
	}
	// No deletion rests on memory: an annotation that keeps the object, another
	// owner's labels or another incarnation may have come a moment ago.
	for k, version := range e.book.owned[d.spec.ID] {
		if k.cluster == d.cluster && !wants[k.id] {
			targets = append(targets, model.Claim{ID: k.id, Version: version})
		}
	}
	return targets
}

// doubtful reports whether an object has to be looked at before a decision:
// nothing is known of it, or it would be changed and nobody has read yet what
// its annotations ask for. The caller holds e.mu.
func (e *Engine) doubtful(en *entry, want *model.Desired) bool {
	return en == nil || !en.hasBase() || !en.read && (en.seen || en.base.Inputs != want.Digest)
}

// distrusted reports whether no watch vouches for an object's baseline. The
// caller holds e.mu.
func (e *Engine) distrusted(c *cluster.Cluster, id object.ID, version string) bool {
	kw := e.follow(c, schema.GroupVersionKind{Group: id.Group, Version: version, Kind: id.Kind})
	return kw.failed != nil
}

// served resolves the kind of an object, in whatever version it is served now:
// an object outlives the version that it was applied in.
func (r *run) served(ctx context.Context, id object.ID, version string) (cluster.Kind, error) {
	kind, err := r.cluster.Resolve(ctx, schema.GroupVersionKind{Group: id.Group, Version: version, Kind: id.Kind})
	var unknown *cluster.UnknownKindError
	if errors.As(err, &unknown) {
		return r.cluster.Resolve(ctx, schema.GroupVersionKind{Group: id.Group, Kind: id.Kind})
	}
	return kind, err
}

// lookAt reads one object as the delivery's identity and judges it.
func (r *run) lookAt(ctx context.Context, c model.Claim) (observed, error) {
	kind, err := r.served(ctx, c.ID, c.Version)
	var unknown *cluster.UnknownKindError
	if errors.As(err, &unknown) {
		return observed{Seen: plan.Seen{Presence: plan.Missing}}, nil // no such kind, no such object
	}
	if err != nil {
		return observed{}, cluster.Explain(err, "discover", c.ID, model.Origin{})
	}
	if kind.Namespaced != (c.ID.Namespace != "") {
		// The scope of the kind is another by now. Without its namespace the
		// identity would name an object that is not meant.
		return observed{Seen: plan.Seen{Presence: plan.Missing}}, nil
	}
	live, err := r.session.Get(ctx, kind, c.ID.Namespace, c.ID.Name)
	switch {
	case apierrors.IsNotFound(err):
		o := observed{Seen: plan.Seen{Presence: plan.Missing}}
		r.e.mu.Lock()
		if en := r.e.book.entries[key{r.d.cluster, c.ID}]; en != nil {
			o.Inputs = en.base.Inputs
			en.missing = true
			if o.Inputs != "" {
				en.drift = "it was deleted"
			}
		}
		r.e.mu.Unlock()
		return o, nil
	case err != nil:
		return observed{}, cluster.Explain(err, "get", c.ID, model.Origin{})
	}
	o := observed{live: live, Seen: plan.Seen{
		Presence: plan.Present,
		UID:      string(live.GetUID()),
		Deleting: live.GetDeletionTimestamp() != nil,
		Foreign:  r.foreign(live),
	}}
	o.Handle, o.Wave = r.e.handling(&r.spec, live)
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	k := key{r.d.cluster, c.ID}
	en := r.e.book.entries[k]
	switch {
	case en == nil || en.owner != r.spec.ID:
	case en.hasBase():
		_, _ = r.e.judge(k, en, live) // this is the run it calls for
		o.Inputs, o.Drift = en.base.Inputs, en.drift
		if en.drift == "" {
			o.Presence = plan.Trusted
		}
	case r.spec.Sync.Staged && en.base.Inputs == "":
	case en.base.Inputs != "" && en.base.UID == o.UID:
		// Our watch lost sight of it and it is still there: somebody took the
		// label off.
		en.missing, en.drift = false, "its labels were changed"
		o.Inputs, o.Drift = en.base.Inputs, en.drift
	}
	return o, nil
}

// compare finds out whether an object of which nothing is known is as a staged
// delivery wants it: the API server is asked what an apply would change. One
// that is the same is trusted from then on, and watched.
func (r *run) compare(ctx context.Context, c model.Claim, o *observed) error {
	if !r.spec.Sync.Staged || r.spec.Deleting {
		return nil
	}
	defer r.remember(c, o)
	r.e.mu.Lock()
	want := r.d.desiredOf(c.ID)
	rules := r.d.judgement.rules
	r.e.mu.Unlock()
	if want == nil || o.Presence != plan.Present || o.Deleting {
		return nil
	}
	if o.Inputs != "" && (o.Inputs != want.Digest || o.Drift == "" || !rules.Any(o.live)) {
		return nil
	}
	kind, err := r.served(ctx, c.ID, c.Version)
	if err != nil {
		return cluster.Explain(err, "discover", c.ID, want.Origin)
	}
	predicted, err := r.session.Apply(ctx, kind, want.JSON, cluster.ApplyOptions{Manager: r.spec.Ownership.FieldManager, Force: true, DryRun: true})
	wanted := &unstructured.Unstructured{}
	if err := wanted.UnmarshalJSON(want.JSON); err != nil {
		return asFault(err, "ComparisonError")
	}
	if err != nil {
		predicted = wanted // it may not be written as it is: the sync says why
	}
	o.Same, o.Paths = differ.Same(wanted, predicted, o.live, rules)
	if o.Same && o.Inputs != "" {
		r.excuse(c, o)
	}
	return nil
}

// excusable reports whether a staged delivery's object was changed and may have
// been changed only where a rule leaves it to others. Its baseline cannot tell:
// whoever writes a field takes it out of what we own. The caller holds e.mu.
func (r *run) excusable(en *entry, want *model.Desired) bool {
	if !r.spec.Sync.Staged || en == nil || en.owner != r.spec.ID || en.drift == "" || en.missing || en.base.Inputs != want.Digest {
		return false
	}
	wanted := r.d.wanted(want.ID)
	return wanted != nil && r.d.judgement.rules.Any(wanted)
}

// excuse trusts an object of which only that differs which is left to others:
// as it is now is what it is compared with from here on.
func (r *run) excuse(c model.Claim, o *observed) {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	k := key{d.cluster, c.ID}
	en := e.book.entries[k]
	if en == nil || en.owner != r.spec.ID || en.busy {
		return
	}
	if en.latest != "" && object.Older(o.live.GetResourceVersion(), en.latest) {
		// It has changed again since the look: nothing is decided by this one.
		o.Presence, o.Drift = plan.Trusted, ""
		e.queue.add(r.spec.ID, changed)
		return
	}
	base, ok := e.baseline(d, o.live, func() *unstructured.Unstructured { return d.wanted(c.ID) })
	if !ok {
		return
	}
	base.Inputs, base.Sealed = o.Inputs, en.base.Sealed
	en.base, en.drift = base, ""
	e.opts.Journal.Put(k.cluster, r.spec.ID, c.ID, c.Version, base)
	o.Presence, o.Drift = plan.Trusted, ""
}

// lookedOver reports whether an object of a release is only looked over for drift:
// what another controller has brought does not carry the watch label until the next
// action applies it.
func (r *run) lookedOver(o *observed) bool {
	return r.spec.Release != nil && r.d.sync == nil && r.spec.Policy.Drift != model.Ignore && (o.live == nil || o.live.GetLabels()[WatchLabel] == "")
}

// remember keeps what a look found at an object that does not carry the watch
// label, because nobody has asked for a sync yet. Its namespace is watched, so
// that it is looked at again when it changes and not before.
func (r *run) remember(c model.Claim, o *observed) {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	want := d.desiredOf(c.ID)
	if !r.spec.Sync.Manual && !r.lookedOver(o) || want == nil || o.Inputs != "" || r.asked != nil {
		return
	}
	if o.live != nil {
		o.health = e.judgeHealth(d, o.live)
	}
	kept := *o
	kept.live, kept.digest = nil, want.Digest
	if d.compared == nil {
		d.compared = map[object.ID]observed{}
	}
	d.compared[c.ID] = kept
	e.watchesOf(r.cluster).unmarked(schema.GroupVersionKind{Group: c.ID.Group, Version: c.Version, Kind: c.ID.Kind}, c.ID.Namespace)
	link(e.book.unmarked, key{d.cluster, c.ID}, r.spec.ID)
}
