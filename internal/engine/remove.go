package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
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
		if err := r.letGo(ctx, r.inventoried()); err != nil {
			return err
		}
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
	if err := r.letGo(ctx, r.forgotten()); err != nil {
		r.release()
		return err
	}
	if err := r.apply(ctx); err != nil {
		return err
	}
	r.report.Phase = model.PhaseDelete
	if left := r.left(); left > 0 {
		if r.unheardLeft() {
			r.d.next = lookBack
		}
		return &model.Fault{Reason: plan.PruneWaits, Waiting: true, Message: fmt.Sprintf("%d objects are being deleted and not gone yet", left)}
	}
	if done, err := r.deleteHooks(ctx, model.PostDelete); err != nil || !done {
		return err
	}
	if err := r.sweep(ctx, &model.OperationReport{}, r.hooksLeft()); err != nil {
		return err
	}
	r.report.Deleted = true
	return nil
}

// inventoried are the objects that the delivery owns.
func (r *run) inventoried() []model.Claim {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return r.inventory()
}

// forgotten are the objects that the plan leaves on the cluster.
func (r *run) forgotten() []model.Claim {
	var claims []model.Claim
	for _, w := range r.plan.Waves {
		for _, c := range w.Changes {
			if c.Verb == model.Forget {
				claims = append(claims, model.Claim{ID: c.Object, Version: c.Version})
			}
		}
	}
	return claims
}

// letGo takes the owner reference off objects that stay: the API server would
// delete them with the declared object.
func (r *run) letGo(ctx context.Context, claims []model.Claim) error {
	if r.spec.Ownership.Reference == nil || len(claims) == 0 {
		return nil
	}
	var mu sync.Mutex
	var faults []model.Fault
	each(claims, func(c model.Claim) {
		if err := r.unrefer(ctx, c); err != nil {
			f := cluster.Explain(err, "patch", c.ID, model.Origin{Declared: r.spec.ID})
			mu.Lock()
			faults = append(faults, *f)
			mu.Unlock()
		}
	})
	if len(faults) > 0 {
		return r.several(faults)
	}
	return nil
}

// unrefer writes the owner references of one object without ours. The list is
// written whole, so that the write is tied to the version that was read.
func (r *run) unrefer(ctx context.Context, c model.Claim) error {
	ref := r.spec.Ownership.Reference
	kind, err := r.served(ctx, c.ID, c.Version)
	var unknown *cluster.UnknownKindError
	if errors.As(err, &unknown) {
		return nil
	}
	if err != nil {
		return err
	}
	for {
		live, err := r.session.Get(ctx, kind, c.ID.Namespace, c.ID.Name)
		if apierrors.IsNotFound(err) || err == nil && !refers(live, ref) {
			return nil
		}
		if err != nil {
			return err
		}
		kept := slices.DeleteFunc(live.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return string(o.UID) == ref.UID })
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"ownerReferences": kept, "resourceVersion": live.GetResourceVersion(), "uid": string(live.GetUID()),
		}})
		if err != nil {
			return err
		}
		_, err = r.session.Patch(ctx, kind, c.ID.Namespace, c.ID.Name, cluster.PatchOptions{Manager: r.spec.Ownership.FieldManager}, body)
		if !apierrors.IsConflict(err) || ctx.Err() != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		}
	}
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
		r.e.spendHooks(r.spec.ID)
		d.ending = &syncing{started: r.spec.DeletedAt, results: map[resultKey]model.SyncResult{}}
	}
	op := d.ending
	r.e.mu.Unlock()
	waiting, err := r.phaseHooks(ctx, op, phase)
	if err != nil {
		return false, err
	}
	if waiting != "" {
		r.report.Running, r.report.Message = true, waiting
		return false, nil
	}
	return true, nil
}

// phaseHooks runs the hooks of one phase alone, and says what they wait for.
func (r *run) phaseHooks(ctx context.Context, op *syncing, phase model.SyncPhase) (waiting string, err error) {
	found := map[place]*step{}
	r.e.mu.Lock()
	r.addHooks(func(p place) *step {
		if found[p] == nil {
			found[p] = &step{at: p}
		}
		return found[p]
	}, phase)
	r.e.mu.Unlock()
	for _, s := range sorted(found) {
		if err := r.runHooks(ctx, op, &s); err != nil {
			return "", err
		}
		if waiting, err = r.settledStep(op, &s, false); err != nil || waiting != "" {
			return waiting, err
		}
	}
	return "", nil
}

// patience is how often a source that cannot be read is tried again before a
// deletion goes on without its hooks.
const patience = 5

// knowHooks evaluates a delivery that was declared as deleted: its hooks are in
// Git. One whose source cannot be read any more has none.
func (r *run) knowHooks(ctx context.Context) error {
	r.e.mu.Lock()
	known := r.d.at > 0
	r.e.mu.Unlock()
	if known {
		return nil
	}
	err := r.evaluate(ctx)
	var fault *model.Fault
	switch {
	case errors.Is(err, errNotYet), errors.Is(err, errSuperseded), ctx.Err() != nil:
		return err
	case errors.As(err, &fault) && (fault.Retry || fault.Waiting) && r.d.failures < patience:
		return err // it may come back
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

// unheardLeft reports whether no watch will tell of the end of something that is
// being deleted: it does not carry the label that the watches select by, such as
// what another controller made and nobody has applied since.
func (r *run) unheardLeft() bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	for k := range r.e.book.owned[r.spec.ID] {
		if o := r.seen[k.id]; k.cluster == r.d.cluster && o.live != nil && o.live.GetLabels()[WatchLabel] == "" && r.d.desiredOf(k.id) == nil {
			return true
		}
	}
	return false
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
