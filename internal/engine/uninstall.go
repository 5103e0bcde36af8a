package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
	"plumb.dev/plumb/internal/release"
)

// carryUninstall deletes the objects of a release, and its records.
func (r *run) carryUninstall(ctx context.Context, a *acting) (bool, release.Outcome, error) {
	act := r.actionSpec(a)
	if a.op == nil {
		if err := r.beginUninstall(ctx, a, act); err != nil {
			return false, release.Outcome{}, err
		}
	}
	deleting := r.spec.Deleting
	r.spec.Deleting = true // while it is taken away: everything goes
	waiting, gone, err := r.takeAway(ctx, a, act)
	r.spec.Deleting = deleting
	done, err := r.reached(ctx, a, waiting, err)
	if !done {
		return false, release.Outcome{}, err
	}
	outcome := release.Outcome{}
	if err := r.endHooks(ctx, a, err != nil); err != nil {
		return false, outcome, err
	}
	if err != nil {
		outcome.Failed = oneLine(err)
	}
	if err != nil && !gone {
		if err := r.store(ctx, a.record); err != nil {
			return false, outcome, err
		}
		outcome.Wrote = r.storedOnes([]int{a.record.Version})
		return true, outcome, nil
	}
	if outcome.Wrote, err = r.endRecords(ctx, a, act); err != nil {
		return false, outcome, err
	}
	r.e.mu.Lock()
	r.d.release.wanted, r.d.release.definitions = "", nil
	r.e.mu.Unlock()
	return true, outcome, nil
}

// beginUninstall notes in the record that the release goes.
func (r *run) beginUninstall(ctx context.Context, a *acting, act *model.ReleaseAction) error {
	record, err := r.revision(ctx, a.action.Version)
	if err != nil {
		return err
	}
	c, err := recorded(record, r.spec.Origin)
	if err != nil {
		return asFault(err, "StateError")
	}
	record.Uninstall(time.Now())
	if err := r.store(ctx, record); err != nil {
		return err
	}
	if err := r.wantRelease(ctx, c, helm.Uninstall, "uninstall under way"); err != nil {
		return err
	}
	r.ownRecorded()
	a.record = record
	a.op = &syncing{started: record.Info.Deleted.Truncate(time.Second), trees: r.trees, results: map[resultKey]model.SyncResult{}, saved: true, op: model.Operation{NoHooks: !act.Hooks}}
	r.e.mu.Lock()
	r.d.sync = a.op
	a.op.tell()
	if !a.action.Resume {
		a.op.tried = map[object.ID]bool{}
		r.e.spendHooks(r.spec.ID)
	}
	r.e.mu.Unlock()
	if a.action.Resume {
		r.recall(a)
	}
	return nil
}

// ownRecorded makes the objects of a record the delivery's, where nobody else
// has them: a release that somebody else made goes whole.
func (r *run) ownRecorded() {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	for i := range r.d.desired {
		want := &r.d.desired[i]
		k := key{r.d.cluster, want.ID}
		switch en := r.e.book.entries[k]; {
		case want.Handle.Keep:
			if en != nil && en.owner == r.spec.ID {
				r.e.disown(k) // Helm goes by the manifest, whatever the live object says by now
			}
		case en == nil:
			r.e.own(k, r.spec.ID, want.Version)
		}
	}
}

// takeAway runs the hooks of an uninstall and deletes the objects between them.
// gone: there is nothing left but what comes after that, whose failure is told once
// and does not keep the release (Helm, Uninstall.Run).
func (r *run) takeAway(ctx context.Context, a *acting, act *model.ReleaseAction) (waiting string, gone bool, err error) {
	if act.Hooks {
		if waiting, err = r.phaseHooks(ctx, a.op, model.PreDelete); err != nil || waiting != "" {
			return waiting, false, err
		}
	}
	r.endWants()
	if err := r.observe(ctx); err != nil {
		return "", false, err
	}
	r.e.mu.Lock()
	if r.d.version != r.version {
		r.e.mu.Unlock()
		return "", false, errSuperseded
	}
	r.plan = plan.Unmake(r.input())
	r.hold()
	r.e.block(r.d, r.plan)
	r.e.mu.Unlock()
	if err := r.apply(ctx); err != nil {
		var f *model.Fault
		if errors.As(err, &f) && f.Waiting {
			return f.Message, false, nil // somebody may want it: they wake it when that is known
		}
		return "", false, err
	}
	left := r.left()
	if !act.Wait {
		left = r.staying()
	}
	if left > 0 {
		return fmt.Sprintf("%d objects are being deleted and not gone yet", left), false, nil
	}
	if act.Hooks {
		waiting, err = r.phaseHooks(ctx, a.op, model.PostDelete)
	}
	return waiting, true, err
}

// staying is how many objects the delivery owns whose deletion has not begun.
func (r *run) staying() int {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	n := 0
	for k := range r.e.book.owned[r.spec.ID] {
		if k.cluster == r.d.cluster && !r.e.book.entries[k].deleting {
			n++
		}
	}
	return n
}

// endRecords deletes the records of a release that is gone, or closes them.
func (r *run) endRecords(ctx context.Context, a *acting, act *model.ReleaseAction) ([]release.Stored, error) {
	if act.KeepHistory {
		older, err := r.supersede(ctx, a)
		if err != nil {
			return nil, err
		}
		a.record.Uninstalled()
		if err := r.store(ctx, a.record); err != nil {
			return nil, err
		}
		return r.storedOnes(append([]int{a.record.Version}, older...)), nil
	}
	a.record.Uninstalled()
	last := a.record.Sum(r.d.release.state.Report.History, a.facts.OCIDigest)
	r.e.mu.Lock()
	versions := make([]int, 0, len(r.d.release.storage.stored))
	for _, s := range r.d.release.storage.stored {
		versions = append(versions, s.Version)
	}
	r.e.mu.Unlock()
	slices.Sort(versions) // the newest last: what is left after a crash still says what became of the release
	return []release.Stored{last}, r.discard(ctx, versions)
}
