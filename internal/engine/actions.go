package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
	"plumb.dev/plumb/internal/release"
)

// carryOut takes an action as far as it goes now. An error ends the run and not
// the action: the next run goes on with it.
func (r *run) carryOut(ctx context.Context, a *acting) (done bool, outcome release.Outcome, err error) {
	r.e.mu.Lock()
	if r.d.sync = a.op; a.op != nil {
		a.op.tell()
	}
	r.e.mu.Unlock()
	switch a.action.Kind {
	case release.Install, release.Upgrade, release.Rollback:
		return r.carryRelease(ctx, a)
	case release.Test:
		return r.carryTest(ctx, a)
	case release.Uninstall:
		return r.carryUninstall(ctx, a)
	case release.Unlock:
		outcome, err = r.unlock(ctx, a)
		return true, outcome, err
	case release.Correct:
		outcome, err = r.correct(ctx)
		return true, outcome, err
	}
	return true, release.Outcome{Failed: fmt.Sprintf("there is no action %q", a.action.Kind)}, nil
}

// passing reports whether an error says nothing of the action: the run was
// ended, or the API server did not answer and may do so soon. That something is
// not allowed is an answer.
func passing(ctx context.Context, a *acting, err error) bool {
	if ctx.Err() != nil || errors.Is(err, errSuperseded) || errors.Is(err, errNotYet) {
		return true
	}
	var f *model.Fault
	return errors.As(err, &f) && f.Retry && !apierrors.IsForbidden(f.Err) && time.Now().Before(a.deadline())
}

func (a *acting) deadline() time.Time {
	began := a.began
	if a.op != nil {
		began = a.op.started
	}
	return began.Add(a.action.Timeout)
}

// carryRelease makes a revision.
func (r *run) carryRelease(ctx context.Context, a *acting) (bool, release.Outcome, error) {
	if a.action.Refused != "" {
		return true, release.Outcome{Failed: a.action.Refused}, nil
	}
	if a.op == nil {
		if err := r.beginRevision(ctx, a); err != nil {
			if passing(ctx, a, err) || a.record != nil {
				return false, release.Outcome{}, err
			}
			return true, release.Outcome{Failed: err.Error()}, nil
		}
	}
	waiting, err := r.bringRevision(ctx, a)
	done, err := r.reached(ctx, a, waiting, err)
	if !done {
		return false, release.Outcome{}, err
	}
	outcome, ended := r.endRevision(ctx, a, err)
	return ended == nil, outcome, ended
}

// beginRevision writes the pending record, and makes its content what is wanted.
func (r *run) beginRevision(ctx context.Context, a *acting) error {
	c, err := r.contentOf(ctx, a)
	if err != nil {
		return err
	}
	act := r.actionSpec(a)
	r.noteDefinitions(a, c.crds)
	if !a.action.Resume {
		if err := r.applyDefinitions(ctx, a, c.crds); err != nil {
			a.record = nil
			return err
		}
		if err := r.allServed(ctx, c); err != nil {
			a.record = nil
			return err
		}
		a.record.Generation = a.facts.Generation
		if err := r.store(ctx, a.record); err != nil {
			a.record = nil
			return err
		}
	}
	// Only now: a release that cannot be stored must not lose what it may go back to.
	if err := r.discard(ctx, a.action.Surplus); err != nil {
		return err
	}
	a.op = &syncing{
		started: a.record.Info.LastDeployed.Truncate(time.Second), trees: r.trees, results: map[resultKey]model.SyncResult{}, saved: true,
		consent: plan.Consent{
			Apply: true, Correct: true, CorrectAlong: true, Prune: true,
			Unguarded: a.action.Kind == release.Rollback, // what goes is what the failed release brought
		},
		waits: act.Wait, jobs: act.WaitJobs,
		op: model.Operation{NoHooks: !act.Hooks, Options: &model.SyncOptions{
			CreateNamespace: a.action.Kind == release.Install && r.spec.Release.CreateNamespace, Propagation: "background", Force: act.Force,
		}},
	}
	r.e.mu.Lock()
	r.d.sync = a.op
	a.op.tell()
	if !a.action.Resume {
		a.op.tried = map[object.ID]bool{}
		r.e.spendHooks(r.spec.ID)
	}
	r.e.mu.Unlock()
	if a.action.Resume { // they may have been changed meanwhile
		if err := r.applyDefinitions(ctx, a, c.crds); err != nil {
			return r.unbegun(a, err)
		}
	}
	if err := r.wantRelease(ctx, c, a.action.Helm(), fmt.Sprintf("revision %d under way", a.action.Version)); err != nil {
		return r.unbegun(a, err)
	}
	if a.action.Resume {
		r.recall(a)
	}
	return nil
}

// recall takes up what the record tells of an action that is carried on: hooks
// that have run do not run again.
func (r *run) recall(a *acting) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	a.op.failed = a.record.FailedWith()
	for i := range r.d.hooks {
		hook := &r.d.hooks[i]
		if len(hook.Stage.Hooks) != 1 {
			continue // the record does not tell which of them it was
		}
		at := hook.Stage.Hooks[0]
		res := model.SyncResult{Object: hook.ID, Version: hook.Version, Code: model.ResultSynced, Hook: at, Phase: at}
		switch succeeded, failed := a.record.Ended(hook.ID.Kind, hook.ID.Name, a.op.started); {
		case succeeded:
			res.HookPhase = model.OperationSucceeded
		case failed && a.op.failed != "": // the action has failed with it; else it runs again
			res.HookPhase = model.OperationFailed
		default:
			continue
		}
		a.op.results[resultKey{at, hook.ID}] = res
	}
}

// unbegun keeps an error of a revision whose record is written: it ends the
// revision, unless it passes.
func (r *run) unbegun(a *acting, err error) error {
	var f *model.Fault
	if errors.Is(err, errSuperseded) || errors.Is(err, errNotYet) || errors.As(err, &f) && f.Retry && time.Now().Before(a.deadline()) {
		a.op, a.action.Resume = nil, true
		return err
	}
	a.op.failed = err.Error()
	return nil
}

// reached reports whether an action has come to its end, and why it failed:
// what it waits for may be worth waiting for, and an error may pass.
func (r *run) reached(ctx context.Context, a *acting, waiting string, err error) (done bool, failed error) {
	r.clock(a)
	switch {
	case err != nil:
		return !passing(ctx, a, err), err
	case waiting == "":
		return true, nil
	case time.Now().Before(a.deadline()):
		a.op.waiting = waiting
		if r.d.next = time.Until(a.deadline()); a.action.Kind == release.Uninstall && r.unheardLeft() {
			r.d.next = min(r.d.next, lookBack)
		}
		return false, nil
	}
	return true, &model.Fault{Reason: "Timeout", Message: "context deadline exceeded: " + waiting}
}

// actionSpec is how the action behaves.
func (r *run) actionSpec(a *acting) *model.ReleaseAction {
	switch a.action.Kind {
	case release.Install:
		return &r.spec.Release.Install
	case release.Rollback:
		return &r.spec.Release.Rollback
	case release.Uninstall:
		return &r.spec.Release.Uninstall
	case release.Test:
		return &r.spec.Release.Test
	}
	return &r.spec.Release.Upgrade
}

// locate takes over where objects come from: records tell less of it.
func (c *content) locate(rendered *content) {
	at := map[object.ID]model.Origin{}
	for _, list := range [][]model.Rendered{rendered.objects, rendered.hooks} {
		for i := range list {
			at[list[i].ID] = list[i].Origin
		}
	}
	for _, list := range [][]model.Rendered{c.objects, c.hooks} {
		for i := range list {
			if origin, ok := at[list[i].ID]; ok {
				list[i].Origin = origin
			}
		}
	}
}

// bringRevision takes the steps that can be taken now.
func (r *run) bringRevision(ctx context.Context, a *acting) (waiting string, err error) {
	if a.op.failed != "" {
		return "", errors.New(a.op.failed)
	}
	if err := r.observe(ctx); err != nil {
		return "", err
	}
	r.consent = a.op.consent
	if err := r.planRevision(); err != nil {
		return "", err
	}
	if !r.actionSpec(a).TakeOwnership && a.action.Kind != release.Rollback && !a.op.checked {
		if err := r.ownsAll(); err != nil {
			return "", err
		}
	}
	if waiting, err = r.climb(ctx, a.op); err != nil || waiting != "" {
		return waiting, err
	}
	if f := r.unsyncable(); f != nil {
		return "", f
	}
	for i := range r.plan.Blocked {
		// What is not wanted any more may stay for a while: it goes at rest.
		if f := &r.plan.Blocked[i]; f.Waiting && f.Reason != plan.PruneWaits {
			return f.Message, nil
		}
	}
	return "", nil
}

// planRevision makes the plan; nothing of it is held yet.
func (r *run) planRevision() error {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.version != r.version {
		return errSuperseded
	}
	r.report.Phase = model.PhasePlan
	r.plan = plan.Make(r.input())
	e.block(d, r.plan)
	return nil
}

// ownsAll refuses objects that are not of this release, where it may not take
// them (disableTakeOwnership).
func (r *run) ownsAll() error {
	for id, seen := range r.seen {
		if seen.live == nil {
			continue
		}
		r.e.mu.Lock()
		want := r.d.desiredOf(id)
		r.e.mu.Unlock()
		if want == nil {
			continue
		}
		if why := helm.Foreign(seen.live.GetLabels(), seen.live.GetAnnotations(), r.spec.Release.Name, r.spec.Release.Namespace); why != "" {
			return &model.Fault{
				Reason: "InstallFailed", Object: id, Origin: want.Origin,
				Message: fmt.Sprintf("unable to continue with install: %s %q in namespace %q exists and cannot be imported into the current release: %s", id.Kind, id.Name, id.Namespace, why),
			}
		}
	}
	return nil
}

// clock notes when hooks began and ended.
func (r *run) clock(a *acting) {
	if a.op == nil {
		return
	}
	now := time.Now()
	for k, res := range a.op.results {
		if res.Hook == "" {
			continue
		}
		t := a.hooks[k.id]
		if t == nil {
			t = &hookTimes{began: now}
			a.hooks[k.id] = t
		}
		if res.HookPhase.Completed() && t.ended.IsZero() {
			t.ended = now
		}
	}
}

// noteHooks writes into the record how its hooks did.
func (a *acting) noteHooks() {
	for k, res := range a.op.results {
		if t := a.hooks[k.id]; t != nil {
			a.record.Ran(k.id.Kind, k.id.Name, t.began, t.ended, res.HookPhase != model.OperationSucceeded)
		}
	}
}

// endRevision writes what became of a revision.
func (r *run) endRevision(ctx context.Context, a *acting, why error) (release.Outcome, error) {
	outcome := release.Outcome{}
	touched := []int{a.record.Version}
	if why != nil {
		outcome.Failed = oneLine(why)
		a.record.Failing(outcome.Failed)
	}
	if err := r.endHooks(ctx, a, why != nil); err != nil {
		return outcome, err
	}
	if why != nil {
		if r.actionSpec(a).CleanupOnFail {
			r.cleanUp(ctx, a)
		}
		a.record.Fail(outcome.Failed)
		r.waive()
	} else {
		older, err := r.supersede(ctx, a)
		if err != nil {
			return outcome, err
		}
		touched = append(touched, older...)
		a.record.Succeed()
	}
	if err := r.store(ctx, a.record); err != nil {
		return outcome, err
	}
	outcome.Wrote = r.storedOnes(touched)
	if why == nil {
		r.e.mu.Lock()
		r.d.release.wanted = recordName(&outcome.Wrote[0])
		r.e.mu.Unlock()
	}
	return outcome, nil
}

// endHooks deletes the hooks of an action as their policies say. The record tells
// first how they did: a hook that is gone must not run again after a crash.
func (r *run) endHooks(ctx context.Context, a *acting, failed bool) error {
	a.noteHooks()
	r.e.mu.Lock()
	left := len(r.leftovers(a.op.account()))
	r.e.mu.Unlock()
	if left > 0 {
		if err := r.store(ctx, a.record); err != nil {
			return err
		}
	}
	r.sweepAction(ctx, a, failed)
	return nil
}

// waive stops the delivery from wanting what a failed action did not get: who
// has it may let go of it without handing it over.
func (r *run) waive() {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	var got []model.Desired
	for i := range d.desired {
		if _, ours := e.book.owned[d.spec.ID][key{d.cluster, d.desired[i].ID}]; ours {
			got = append(got, d.desired[i])
		}
	}
	if len(got) < len(d.desired) {
		e.want(d, got)
		e.answered(d, true)
	}
}

// supersede notes which older revisions are not deployed any more, and returns all
// older ones: an action that is carried on may have done so before it stopped.
func (r *run) supersede(ctx context.Context, a *acting) ([]int, error) {
	for _, version := range a.action.Supersedes {
		older := a.known[version]
		if older == nil {
			var err error
			if older, err = r.revision(ctx, version); err != nil {
				return nil, err
			}
		}
		older.Supersede()
		if err := r.store(ctx, older); err != nil {
			return nil, err
		}
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	var older []int
	for i := range r.d.release.storage.stored {
		if version := r.d.release.storage.stored[i].Version; version < a.record.Version {
			older = append(older, version)
		}
	}
	return older, nil
}

// oneLine is an error as the record and the conditions tell it.
func oneLine(err error) string { return strings.TrimSpace(err.Error()) }

// storedOnes are the records of these revisions as they are in the storage, the
// first revision first.
func (r *run) storedOnes(versions []int) []release.Stored {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	var out []release.Stored
	for _, version := range versions {
		for _, s := range r.d.release.storage.stored {
			if s.Version == version {
				out = append(out, s)
			}
		}
	}
	return out
}

// sweepAction deletes hooks as their policies say. What is left behind is told.
func (r *run) sweepAction(ctx context.Context, a *acting, failed bool) {
	r.e.mu.Lock()
	for k, res := range a.op.results {
		if res.HookPhase == model.OperationRunning && !failed {
			res.HookPhase = model.OperationSucceeded
			a.op.results[k] = res
		}
	}
	account := a.op.account()
	left := r.leftovers(account)
	r.e.spendHooks(r.spec.ID)
	r.e.mu.Unlock()
	if err := r.sweep(ctx, account, left); err != nil && ctx.Err() == nil {
		r.find(model.Finding{
			Severity: model.Warning, Reason: "HookLeft", Origin: model.Origin{Declared: r.spec.ID},
			Message: "hooks of the last release could not be cleaned up: " + err.Error(),
		})
	}
}

// cleanUp deletes what a failed action has created (cleanupOnFail).
func (r *run) cleanUp(ctx context.Context, a *acting) {
	created := map[object.ID]bool{}
	for k, res := range a.op.results {
		if res.Hook == "" && strings.HasSuffix(res.Message, " created") {
			created[k.id] = true
		}
	}
	r.e.mu.Lock()
	desired := slices.Clone(r.d.desired)
	r.e.mu.Unlock()
	for i := range desired {
		if want := &desired[i]; created[want.ID] {
			if err := r.delete(ctx, model.Change{Verb: model.Delete, Object: want.ID, Version: want.Version}); err != nil {
				r.find(model.Finding{Severity: model.Warning, Reason: "CleanupFailed", Origin: want.Origin, Message: fmt.Sprintf("%s could not be cleaned up: %v", want.ID, err)})
			}
		}
	}
}

// carryTest runs the tests of the deployed release.
func (r *run) carryTest(ctx context.Context, a *acting) (bool, release.Outcome, error) {
	if a.op == nil {
		record, err := r.revision(ctx, a.action.Version)
		if err != nil {
			return false, release.Outcome{}, err
		}
		c, err := recorded(record, r.spec.Origin)
		if err != nil {
			return true, release.Outcome{Failed: err.Error()}, nil //nolint:nilerr // it is what the test came to
		}
		a.record = record
		a.op = &syncing{started: time.Now().Truncate(time.Second), trees: r.trees, results: map[resultKey]model.SyncResult{}, saved: true, checked: true, tried: map[object.ID]bool{}}
		r.e.mu.Lock()
		r.d.sync = a.op
		a.op.tell()
		r.e.spendHooks(r.spec.ID)
		wanted := r.d.release.wanted
		r.e.mu.Unlock()
		if err := r.wantRelease(ctx, c, helm.Test, wanted); err != nil {
			a.op = nil
			return false, release.Outcome{}, err
		}
	}
	waiting, err := r.phaseHooks(ctx, a.op, model.PostSync)
	done, err := r.reached(ctx, a, waiting, err)
	if !done {
		return false, release.Outcome{}, err
	}
	a.noteHooks()
	if stored := r.store(ctx, a.record); stored != nil {
		return false, release.Outcome{}, stored
	}
	outcome := release.Outcome{Wrote: r.storedOnes([]int{a.record.Version})}
	for i := range outcome.Wrote {
		outcome.Wrote[i].TestHooks = a.record.Tests(r.spec.Release.Test.Filters)
		r.e.mu.Lock()
		r.d.release.wanted = recordName(&outcome.Wrote[i])
		r.e.mu.Unlock()
	}
	if err != nil {
		outcome.Failed = oneLine(err)
	}
	r.sweepAction(ctx, a, err != nil)
	return true, outcome, nil
}

// unlock fails a pending record that nobody works on.
func (r *run) unlock(ctx context.Context, a *acting) (release.Outcome, error) {
	record, err := r.revision(ctx, a.action.Version)
	if err != nil {
		return release.Outcome{}, err
	}
	record.Unlock()
	if err := r.store(ctx, record); err != nil {
		return release.Outcome{}, err
	}
	return release.Outcome{Wrote: r.storedOnes([]int{record.Version})}, nil
}

// correct puts back what differs from the deployed release.
func (r *run) correct(ctx context.Context) (release.Outcome, error) {
	outcome := release.Outcome{}
	r.consent = r.corrections()
	r.correcting = true
	defer func() { r.correcting = false }()
	if err := r.decide(); err != nil {
		return outcome, err
	}
	words := map[object.ID]string{}
	for _, w := range r.plan.Waves {
		for i := range w.Changes {
			words[w.Changes[i].Object] = correction(&w.Changes[i])
		}
	}
	first := len(r.report.Objects)
	err := r.apply(ctx)
	if ctx.Err() != nil || errors.Is(err, errSuperseded) {
		return outcome, err
	}
	for _, o := range r.report.Objects[first:] {
		if o.Fault == nil {
			outcome.Corrected = append(outcome.Corrected, objectLine(o.Object)+" "+words[o.Object])
		}
	}
	slices.Sort(outcome.Corrected)
	var f *model.Fault
	if waits := errors.As(err, &f) && f.Waiting && !r.stumbled(); err != nil && !waits {
		outcome.Failed = oneLine(err)
	}
	return outcome, nil
}

// correction tells in helm-controller's words what is done about a difference.
func correction(c *model.Change) string {
	if removed(c) {
		return "created"
	}
	return "configured"
}
