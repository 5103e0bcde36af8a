package engine

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
)

// A release whose objects are of kinds that the cluster does not serve is not
// begun: nothing of it is written, no record and no object, as Helm builds all
// objects before it stores a revision, and the attempt does not count. It is
// tried again as soon as the kinds are served.

// allServed reports which objects of a revision are of kinds that are not
// served. Those that it defines itself come with it.
func (r *run) allServed(ctx context.Context, c *content) error {
	defined := map[schema.GroupKind]bool{}
	for _, list := range [][]model.Rendered{c.crds, c.objects} {
		for i := range list {
			if gk, ok := definition(&model.Desired{ID: list[i].ID, JSON: list[i].JSON}); ok {
				defined[gk] = true
			}
		}
	}
	var missing []schema.GroupVersionKind
	var faults []model.Fault
	for i := range c.objects {
		o := &c.objects[i]
		gvk := schema.GroupVersionKind{Group: o.ID.Group, Version: o.Version, Kind: o.ID.Kind}
		if defined[gvk.GroupKind()] || r.withhold(&wanted{}, o) {
			continue
		}
		_, err := r.cluster.Resolve(ctx, gvk)
		var unknown *cluster.UnknownKindError
		switch {
		case errors.As(err, &unknown):
			missing = append(missing, gvk)
			faults = append(faults, *r.explain(err, "apply", model.Change{Object: o.ID, Want: &model.Desired{Origin: o.Origin}}))
		case err != nil:
			return cluster.Explain(err, "discover", o.ID, o.Origin)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	r.e.mu.Lock()
	r.d.release.unserved = missing
	r.e.mu.Unlock()
	return r.several(faults)
}

// lookForKinds has a release tried again whose kinds are served now, or goes on
// waiting for them.
func (r *run) lookForKinds(ctx context.Context) {
	r.e.mu.Lock()
	missing := r.d.release.unserved
	r.e.mu.Unlock()
	if len(missing) == 0 {
		return
	}
	for _, gvk := range missing {
		stop := r.cluster.OnServed(gvk, func() { r.e.queue.add(r.spec.ID, changed) })
		_, err := r.cluster.Resolve(ctx, gvk)
		var unknown *cluster.UnknownKindError
		if errors.As(err, &unknown) {
			r.e.awaitKind(r.d, stop)
			return // the others are looked at when this one is there
		}
		stop()
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.d.release.unserved, r.d.release.state.RetryAt = nil, time.Time{}
}
