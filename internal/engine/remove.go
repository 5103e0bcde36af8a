package engine

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/plan"
)

// remove ends a delivery whose declared object is being deleted.
func (r *run) remove(ctx context.Context) error {
	r.report.Phase = model.PhaseDelete
	if !r.orphans() {
		if done, err := r.deleteHooks(ctx, model.PreDelete); err != nil || !done {
			return err
		}
	}
	r.endWants()
	if r.orphans() {
		r.report.Deleted = true
		return nil
	}
	if err := r.observe(ctx); err != nil {
		return r.unreachable(ctx, err)
	}
	e := r.e
	e.mu.Lock()
	if r.d.version != r.version {
		e.mu.Unlock()
		return errSuperseded
	}
	r.plan = plan.Unmake(r.input())
	r.hold()
	e.block(r.d, r.plan)
	e.mu.Unlock()
	if err := r.apply(ctx); err != nil {
		return err
	}
	r.report.Phase = model.PhaseDelete
	if left := r.left(); left > 0 {
		return &model.Fault{Reason: "PruneWaits", Waiting: true, Message: fmt.Sprintf("%d objects are being deleted and not gone yet", left)}
	}
	if done, err := r.deleteHooks(ctx, model.PostDelete); err != nil || !done {
		return err
	}
	r.report.Deleted = true
	return nil
}

// deleteHooks runs the hooks of a deletion (Argo CD, PreDelete and PostDelete),
// and reports whether all of them are complete.
func (r *run) deleteHooks(ctx context.Context, phase model.SyncPhase) (done bool, err error) {
	if !r.spec.Sync.Staged {
		return true, nil
	}
	if err := r.knowHooks(ctx); err != nil {
		return false, err
	}
	d := r.d
	r.e.mu.Lock()
	if d.ending == nil {
		d.ending = &syncing{started: r.spec.DeletedAt, results: map[resultKey]model.SyncResult{}}
	}
	op, found := d.ending, map[place]*step{}
	r.addHooks(func(p place) *step {
		if found[p] == nil {
			found[p] = &step{at: p}
		}
		return found[p]
	}, phase)
	r.e.mu.Unlock()
	for _, s := range sorted(found) {
		if err := r.runHooks(ctx, op, &s); err != nil {
			return false, err
		}
		waiting, err := r.settledStep(op, &s, false)
		if err != nil {
			return false, err
		}
		if waiting != "" {
			r.report.Running, r.report.Message = true, waiting
			return false, nil
		}
	}
	return true, nil
}

// knowHooks evaluates a delivery that was declared as deleted: its hooks are in
// Git. One whose source cannot be read any more has none.
func (r *run) knowHooks(ctx context.Context) error {
	r.e.mu.Lock()
	known := r.d.at > 0
	r.e.mu.Unlock()
	if known {
		return nil
	}
	if err := r.evaluate(ctx); errors.Is(err, errNotYet) || errors.Is(err, errSuperseded) || ctx.Err() != nil {
		return err
	}
	return nil
}

// endWants stops the delivery from wanting anything, so that others may take
// its objects over.
func (r *run) endWants() {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	news := len(d.desired) > 0
	e.want(d, nil)
	d.at = r.version
	d.endHealth()
	e.answered(d, news)
}

// orphans reports whether everything stays.
func (r *run) orphans() bool {
	return r.spec.Suspended || r.spec.Policy.OnDelete == model.OrphanObjects || !r.spec.Finalized
}

func (r *run) left() int {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	n := 0
	for k := range r.e.book.owned[r.spec.ID] {
		if k.cluster == r.d.cluster {
			n++
		}
	}
	return n
}

// serviceAccounts is the kind of the identities of deliveries.
var serviceAccounts = schema.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"}

// unreachable lets a delivery go whose service account does not exist any more:
// upstream leaves the objects behind rather than the declared object forever
// (fluxcd/pkg runtime/client, Impersonator.CanImpersonate). One that merely
// lacks a permission is waited for.
func (r *run) unreachable(ctx context.Context, err error) error {
	var f *model.Fault
	if !errors.As(err, &f) || r.spec.Identity.ServiceAccount == "" || !apierrors.IsForbidden(f.Err) {
		return err
	}
	kind, unresolved := r.cluster.Resolve(ctx, serviceAccounts)
	if unresolved != nil {
		return err
	}
	_, gone := r.cluster.As(model.Identity{}).Get(ctx, kind, r.spec.Identity.Namespace, r.spec.Identity.ServiceAccount)
	if !apierrors.IsNotFound(gone) {
		return err
	}
	r.report.Deleted = true
	r.find(model.Finding{
		Severity: model.Warning, Reason: "Orphaned", Origin: r.spec.Origin,
		Message: "objects are left behind, because their deletion is not allowed: " + f.Message,
	})
	return nil
}
