package engine

import (
	"fmt"
	"slices"
	"time"

	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
)

// permitted takes out of the plan the deletions that the bounds of the delivery
// forbid: what it was allowed to make once need not be its to delete now. The
// caller holds e.mu.
func (r *run) permitted() {
	for i := range r.plan.Waves {
		w := &r.plan.Waves[i]
		if !w.Prunes {
			continue
		}
		kept := w.Changes[:0]
		for _, c := range w.Changes {
			f := gate.Permits(&r.spec.Permit, c.Object, c.Object.Namespace != "")
			if f == nil || c.Verb != model.Delete {
				kept = append(kept, c)
				continue
			}
			c.Why = f.Message
			r.plan.Pending = append(r.plan.Pending, c)
			r.plan.Keeps = append(r.plan.Keeps, model.Claim{ID: c.Object, Version: c.Version})
			r.find(model.Finding{Severity: model.Warning, Reason: "NotPermitted", Origin: model.Origin{Declared: r.spec.ID}, Message: c.Object.String() + " is not deleted: " + f.Message})
		}
		w.Changes = kept
	}
	r.plan.Waves = slices.DeleteFunc(r.plan.Waves, func(w model.Wave) bool { return len(w.Changes) == 0 })
}

// consented says what may be changed now. The caller holds e.mu.
func (r *run) consented() plan.Consent {
	d, policy, now := r.d, &r.spec.Sync, time.Now()
	window := gate.Windows(policy.Windows, now)
	if op := r.running(); op != nil {
		c := plan.Consent{Apply: true, Correct: true, Prune: op.Prune, Unguarded: !op.Automated}
		if len(op.Objects) > 0 {
			c.Selected = func(id object.ID) bool { return selected(op.Objects, id) }
		}
		return c
	}
	if op := d.sync; op != nil && op.goesOn(r) {
		return op.consent // what was allowed when it began
	}
	automatic := plan.Consent{Apply: true, Correct: r.spec.Policy.Drift == model.Heal, CorrectAlong: true, Prune: r.spec.Policy.Prune}
	switch {
	case d.sync == nil && r.interrupted():
		return automatic // it ends as it began, whatever the policy says by now
	case policy.Manual:
		return plan.Consent{}
	case !window.Automatic && d.sync == nil:
		r.holdBack(window, now)
		return plan.Consent{}
	case r.quarantined():
		r.find(model.Finding{
			Severity: model.Warning, Reason: "Quarantined", Origin: model.Origin{Declared: r.spec.ID},
			Message: fmt.Sprintf("revision %s was rolled back from: it is not synced automatically until a newer one arrives, or the annotation plumb.dev/quarantine goes", policy.Quarantined),
		})
		return plan.Consent{}
	case r.exhausted():
		return plan.Consent{}
	}
	return automatic
}

// running is the requested operation that goes on or begins; nil when the
// policy alone decides. The caller holds e.mu.
func (r *run) running() *model.Operation {
	if r.asked != nil && r.asked.ID != "" {
		return r.asked
	}
	return nil
}

// holdBack tells that a sync window forbids what would be done, and looks again
// when that changes.
func (r *run) holdBack(window gate.Verdict, now time.Time) {
	if !window.Next.IsZero() {
		r.d.next = max(window.Next.Sub(now), time.Second)
	}
	r.find(model.Finding{
		Severity: model.Info, Reason: "SyncWindow", Origin: window.Origin,
		Message: "Sync operation blocked by sync window: " + window.Why,
	})
}

// quarantined reports whether somebody rolled back from the revision.
func (r *run) quarantined() bool {
	bad := r.spec.Sync.Quarantined
	return bad != "" && len(r.trees) > 0 && (r.trees[0].Commit().Hash == bad || r.trees[0].Revision() == bad)
}

// exhausted reports whether the same automated sync failed, as often as the
// policy lets it be tried. The caller holds e.mu.
func (r *run) exhausted() bool {
	f := &r.d.failed
	if f.message == "" {
		return false
	}
	if slices.Equal(f.trees, r.trees) && f.version == r.version && f.digest == r.d.digest && !r.d.recheck {
		return true
	}
	r.d.failed = attempt{}
	return false
}

// selected reports whether a selective sync names an object.
func selected(filters []model.ObjectFilter, id object.ID) bool {
	included, named := false, false
	for _, f := range filters {
		glob := func(pattern, text string) bool { return pattern == text || gate.Glob(pattern, text) }
		match := glob(f.Group, id.Group) && glob(f.Kind, id.Kind) && glob(f.Name, id.Name) && (f.Namespace == "" || glob(f.Namespace, id.Namespace))
		if f.Exclude {
			if match {
				return false
			}
			continue
		}
		named = true
		included = included || match
	}
	return included || !named
}
