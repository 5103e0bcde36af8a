package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
	"plumb.dev/plumb/internal/source"
)

// A staged delivery changes the cluster by operations: one that somebody asked
// for, or one that the engine begins when its policy is to sync by itself. An
// operation goes through steps, each a wave of a phase:
//
//	PreSync hooks ▶ Sync: objects and hooks by wave ▶ deletions ▶ PostSync hooks
//	           failed at any of them ▶ SyncFail hooks
//
// A step begins when everything that the operation changed in the one before is
// healthy. Waiting holds no worker: what is awaited wakes the delivery, and the
// next run goes on where the operation stands. After a restart an operation is
// found again in the status of the declared object, and what it has done on the
// cluster.

// syncing is an operation that is under way.
type syncing struct {
	op      model.Operation
	started time.Time
	// tried are the hooks that were started, where all of them are since this
	// process began the operation; nil: that is not known.
	tried   map[object.ID]bool
	trees   []*source.Tree // synced to
	digest  string         // of what it brings to the cluster
	consent plan.Consent   // that it began with
	reached place          // last step that is complete
	results map[resultKey]model.SyncResult
	failed  string    // why it failed; only SyncFail hooks still run
	checked bool      // every change has been predicted, the namespace is there
	saved   bool      // the declared object tells of it
	waiting string    // for what, for people
	delayed time.Time // the wave delay ends then
	retries int
	retryAt time.Time // the next try, after a failure
	waits   bool      // of a release: for the health of objects
	jobs    bool      // of a release: for Jobs to be complete, too
	eager   bool      // the next try begins with the next event, whatever retryAt says
	// told is what was last said of it to those who ask. The run alone may look at
	// the rest, but for op, under e.mu.
	told *model.OperationReport
}

type resultKey struct {
	phase model.SyncPhase
	id    object.ID
}

// attempt is an automated sync that failed for good: the same is not tried
// again.
type attempt struct {
	trees   []*source.Tree
	version uint64
	digest  string
	message string
}

// goesOn reports whether an automated operation still brings what is wanted.
// The caller holds e.mu.
func (s *syncing) goesOn(r *run) bool {
	return s.automated() && slices.Equal(s.trees, r.trees) && s.digest == r.d.digest
}

// automated reports whether the engine began the operation itself.
func (s *syncing) automated() bool { return s.op.ID == "" }

// requested are the inputs of this run, which an operation may bring. The
// caller holds e.mu.
func (r *run) requested() []model.Input {
	r.asked = r.d.requested()
	switch {
	case r.d.sync != nil && r.d.sync.op.Inputs != nil:
		return r.d.sync.op.Inputs
	case r.d.sync == nil && r.asked != nil && r.asked.Inputs != nil:
		return r.asked.Inputs
	}
	return r.spec.Inputs
}

// requested is the operation that was asked for and has not ended; nil when there
// is none. The caller holds e.mu.
func (d *delivery) requested() *model.Operation {
	if op := d.spec.Operation; op != nil && (op.ID == "" || op.ID != d.done) {
		return op
	}
	return nil
}

// own reports whether the inputs are those that an operation brought.
func (r *run) own() bool {
	return len(r.inputs) > 0 && (len(r.spec.Inputs) == 0 || &r.inputs[0] != &r.spec.Inputs[0])
}

// pinned reports whether the operation stays at the revision that it began
// with. The caller holds e.mu.
func (r *run) pinned() bool { return r.d.sync != nil && !r.d.sync.automated() }

// synchronize compares, and changes the cluster as far as an operation or the
// policy lets it.
func (r *run) synchronize(ctx context.Context) error {
	if err := r.sweepLast(ctx); err != nil {
		return err
	}
	r.e.mu.Lock()
	due, before := r.d.recheck, r.d.last
	r.e.mu.Unlock()
	if err := r.bring(ctx); err != nil {
		return err
	}
	return r.lookForOrphans(ctx, due || r.d.last != before)
}

// bring takes the cluster as far towards Git as it may go now.
func (r *run) bring(ctx context.Context) error {
	r.e.mu.Lock()
	r.consent = r.consented()
	r.e.mu.Unlock()
	if err := r.decideSync(); err != nil {
		return err
	}
	op := r.operation()
	if op == nil {
		return r.quietly(ctx)
	}
	err := r.operate(ctx, op)
	switch {
	case ctx.Err() != nil, errors.Is(err, errSuperseded):
		return err
	case err != nil:
		return r.fail(ctx, op, asFault(err, "SyncError"))
	}
	if r.e.ended(r.d, op) {
		return r.standingFault()
	}
	r.report.Running, r.report.Message = true, op.waiting
	return nil
}

// decideSync makes the plan; nothing of it is held yet.
func (r *run) decideSync() error {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.version != r.version {
		return errSuperseded
	}
	r.report.Phase = model.PhasePlan
	r.plan = plan.Make(r.input())
	r.permitted()
	e.block(d, r.plan)
	r.shared()
	return nil
}

// operation is the one that goes on, or that begins now; nil when there is
// nothing to do that needs one.
func (r *run) operation() *syncing {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	requested := r.running()
	if op := d.sync; op != nil {
		switch {
		case requested != nil && op.op.ID == requested.ID:
			op.op.Terminate = requested.Terminate
			return op
		case requested == nil && op.goesOn(r):
			op.op.Terminate = r.asked != nil && r.asked.Terminate
			return op
		case requested == nil && op.automated() && !r.loud():
			return op // what it did is done; it ends with what it waits for
		}
		d.sync = nil // superseded
	}
	switch {
	case requested != nil && r.consent.Apply:
		return r.begins(*requested)
	case requested == nil && (r.loud() || r.interrupted() && r.consent.Apply):
		op := model.Operation{Automated: true, Prune: r.spec.Policy.Prune, Retry: r.spec.Sync.Retry}
		switch known := r.asked; {
		case !r.interrupted():
			op.Objects = r.heals()
		case r.at(known.Revisions):
			op.Started, op.Results, op.Retries = known.Started, known.Results, known.Retries
			op.Objects, op.Terminate = known.Objects, known.Terminate
		}
		return r.begins(op)
	}
	return nil
}

// interrupted reports whether an automated sync was under way when Plumb
// stopped. Its hooks may be left to run, even when every object is as it should
// be by now. The caller holds e.mu.
func (r *run) interrupted() bool {
	return r.asked != nil && r.asked.ID == "" && r.d.last == nil
}

// at reports whether the run is about these commits.
func (r *run) at(revisions []string) bool {
	return slices.EqualFunc(revisions, r.trees, func(revision string, tree *source.Tree) bool { return tree.Commit().Hash == revision })
}

// heals names what the plan puts back, when that is all it does: healing is a
// sync of these objects alone, without hooks (Argo CD, autoSync with selfHeal).
func (r *run) heals() []model.ObjectFilter {
	var only []model.ObjectFilter
	for _, w := range r.plan.Waves {
		for i := range w.Changes {
			switch c := &w.Changes[i]; {
			case c.Quiet, c.Verb == model.Forget:
			case c.Verb == model.Correct:
				id := c.Object
				only = append(only, model.ObjectFilter{Group: id.Group, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name})
			default:
				return nil
			}
		}
	}
	return only
}

// loud reports whether the plan holds a change that is more than taking over
// what is as it should be.
func (r *run) loud() bool {
	for _, w := range r.plan.Waves {
		for i := range w.Changes {
			if c := &w.Changes[i]; !c.Quiet && c.Verb != model.Forget {
				return true
			}
		}
	}
	return false
}

// begins opens an operation. One that ran when Plumb stopped goes on with what
// it had done. The caller holds e.mu.
func (r *run) begins(op model.Operation) *syncing {
	s := &syncing{op: op, started: op.Started, trees: r.trees, digest: r.d.digest, consent: r.consent, results: map[resultKey]model.SyncResult{}, retries: op.Retries}
	s.saved = !s.started.IsZero()
	if s.started.IsZero() {
		s.started = time.Now().Truncate(time.Second)
	}
	for _, res := range op.Results {
		s.results[resultKey{res.Phase, res.Object}] = res
	}
	r.e.spendHooks(r.spec.ID)
	r.d.sync = s
	s.tell()
	return s
}

// quietly makes the changes that no operation is needed for: objects that are
// as they should be are taken over.
func (r *run) quietly(ctx context.Context) error {
	r.e.mu.Lock()
	r.plan.Waves = r.stillOurs(r.plan.Waves)
	r.hold()
	r.e.mu.Unlock()
	if err := r.apply(ctx); err != nil {
		return err
	}
	return r.standingFault()
}

// standingFault is why automated syncs have stopped; nil when they have not.
func (r *run) standingFault() error {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	f := &r.d.failed
	if f.message != "" && slices.Equal(f.trees, r.trees) && f.version == r.version && f.digest == r.d.digest {
		return &model.Fault{
			Reason: "SyncError", Origin: model.Origin{Declared: r.spec.ID},
			Message: "Failed last sync attempt: " + f.message, Advice: "commit a correction, or sync by hand",
		}
	}
	if h := r.plan.Held; h != nil {
		return asFault(r.verdict(), "SyncError")
	}
	return nil
}

// operate takes an operation as far as it goes now.
func (r *run) operate(ctx context.Context, op *syncing) error {
	if op.op.Terminate {
		return r.terminate(ctx, op)
	}
	if f := op.op.Refused; f != nil {
		return r.complete(ctx, op, model.OperationError, f.Error())
	}
	if now := time.Now(); !gate.MayGoOn(r.spec.Sync.Windows, now, op.started, !op.op.Automated) {
		window := gate.Windows(r.spec.Sync.Windows, now)
		r.holdBack(window, now)
		op.waiting = "Sync operation blocked by sync window"
		return nil
	}
	if !op.retryAt.IsZero() && time.Now().Before(op.retryAt) && !op.eager {
		r.d.next = time.Until(op.retryAt)
		return nil
	}
	if !op.retryAt.IsZero() {
		if op.eager && time.Now().Before(op.retryAt) {
			op.retries-- // what it waited for came before its time: the try that could not be is not counted
		}
		op.results = map[resultKey]model.SyncResult{}
	}
	op.retryAt, op.eager = time.Time{}, false
	if op.op.DryRun {
		return r.rehearse(ctx, op)
	}
	if op.failed != "" { // its SyncFail hooks run
		return &model.Fault{Reason: "SyncError", Origin: model.Origin{Declared: r.spec.ID}, Message: op.failed}
	}
	waiting, err := r.climb(ctx, op)
	if err != nil {
		return err
	}
	if waiting != "" {
		op.waiting = waiting
		return nil
	}
	if f := r.unsyncable(); f != nil {
		return f
	}
	if wait := r.unsettled(); wait != "" && !op.automated() {
		op.waiting = wait // what was asked for once is not done by half: an automated sync comes again
		return nil
	}
	return r.complete(ctx, op, model.OperationSucceeded, "successfully synced (all tasks run)")
}

// climb takes the steps of an operation that can be taken now, and says what the
// next one waits for; "" when all have been taken.
func (r *run) climb(ctx context.Context, op *syncing) (waiting string, err error) {
	steps := r.steps()
	if err := r.prepare(ctx, op, steps); err != nil {
		return "", err
	}
	several := op.waits || r.spec.Release == nil && len(steps) > 1
	for i := range steps {
		step := &steps[i]
		if !op.reached.before(step.at) {
			continue
		}
		if !op.delayed.IsZero() && time.Now().Before(op.delayed) {
			r.d.next = time.Until(op.delayed)
			return "waiting for the wave delay", nil
		}
		if r.superseded() {
			return "", errSuperseded
		}
		if err := r.take(ctx, op, step); err != nil {
			return "", err
		}
		waiting, err := r.settledStep(op, step, several)
		if err != nil {
			return "", err
		}
		if waiting != "" {
			return waiting, nil
		}
		op.reached = step.at
		r.progress(op)
		if d := r.spec.Sync.WaveDelay; d > 0 && i < len(steps)-1 && step.busy() {
			op.delayed = time.Now().Add(d)
		}
	}
	return "", nil
}

// prepare makes sure, before the first write, that everything can be written
// and that a restart would find the operation again.
func (r *run) prepare(ctx context.Context, op *syncing, steps []step) error {
	if op.checked {
		return nil
	}
	hooked := slices.ContainsFunc(steps, func(s step) bool { return len(s.hooks) > 0 })
	if hooked && !op.saved {
		r.report.Running, r.report.Operation = true, r.progress(op)
		r.report.At = time.Now()
		if err := r.e.opts.Reporter.Persist(ctx, r.report); err != nil {
			return asFault(err, "SyncError")
		}
		op.saved = true
	}
	if err := r.ensureNamespace(ctx, op); err != nil {
		return err
	}
	if faults := r.predict(ctx); len(faults) > 0 {
		for i := range faults {
			op.results[resultKey{model.Sync, faults[i].Object}] = model.SyncResult{Object: faults[i].Object, Code: model.ResultFailed, Message: faults[i].Message, Phase: model.Sync}
		}
		return r.several(faults)
	}
	op.checked = true
	return nil
}

// take makes the changes of a step, and starts its hooks.
func (r *run) take(ctx context.Context, op *syncing, s *step) error {
	if len(s.waves) > 0 {
		whole := r.plan.Waves
		r.e.mu.Lock()
		r.plan.Waves = r.stillOurs(s.waves)
		r.hold()
		r.e.mu.Unlock()
		first := len(r.report.Objects)
		err := r.change(ctx)
		r.note(op, r.report.Objects[first:])
		r.plan.Waves = whole
		if err != nil {
			return err
		}
		if f := faultOf(r.report.Objects[first:]); f != nil {
			return r.several(f)
		}
		s.waves = nil
	}
	return r.runHooks(ctx, op, s)
}

// stillOurs leaves out of a plan that was made a while ago what another
// delivery has taken, or wants, since then; the next run plans anew. The caller
// holds e.mu.
func (r *run) stillOurs(waves []model.Wave) []model.Wave {
	var kept []model.Wave
	for _, w := range waves {
		changes := make([]model.Change, 0, len(w.Changes))
		for _, c := range w.Changes {
			if r.taken(&c) {
				r.e.queue.add(r.spec.ID, changed)
				continue
			}
			changes = append(changes, c)
		}
		if w.Changes = changes; len(changes) > 0 {
			kept = append(kept, w)
		}
	}
	return kept
}

// taken reports whether another delivery has a claim on an object that it had
// not when the plan was made. The caller holds e.mu.
func (r *run) taken(c *model.Change) bool {
	k := key{r.d.cluster, c.Object}
	en, wants := r.e.book.entries[k], r.e.book.wants[k]
	others := en != nil && en.owner != r.spec.ID && r.e.book.deliveries[en.owner] != nil
	if c.Verb == model.Delete {
		return others || len(wants) > 0
	}
	return others && (en.busy || wants[en.owner])
}

func faultOf(outcomes []model.Outcome) []model.Fault {
	var faults []model.Fault
	for i := range outcomes {
		if f := outcomes[i].Fault; f != nil {
			faults = append(faults, *f)
		}
	}
	return faults
}

// note keeps what the changes of an operation came to.
func (r *run) note(op *syncing, outcomes []model.Outcome) {
	for _, o := range outcomes {
		res := model.SyncResult{Object: o.Object, Phase: model.Sync, Code: model.ResultSynced, HookPhase: model.OperationRunning, Message: resultMessage(o)}
		switch {
		case o.Fault != nil:
			res.Code, res.HookPhase, res.Message = model.ResultFailed, model.OperationFailed, o.Fault.Error()
		case o.Verb == model.Delete:
			res.Code, res.HookPhase = model.ResultPruned, model.OperationSucceeded
		case o.Verb == model.Forget:
			continue
		}
		res.Version = r.versionOf(o.Object)
		op.results[resultKey{model.Sync, o.Object}] = res
	}
}

// versionOf is the API version of an object of the plan.
func (r *run) versionOf(id object.ID) string {
	for _, w := range r.plan.Waves {
		for i := range w.Changes {
			if w.Changes[i].Object == id {
				return w.Changes[i].Version
			}
		}
	}
	return ""
}

// resultMessage says what was done in the words of kubectl.
func resultMessage(o model.Outcome) string {
	what := strings.ToLower(o.Object.Kind)
	if o.Object.Group != "" {
		what += "." + o.Object.Group
	}
	what += "/" + o.Object.Name
	switch o.Verb {
	case model.Create:
		return what + " created"
	case model.Recreate:
		return what + " replaced"
	case model.Delete:
		return "pruned"
	}
	return what + " configured"
}

// settledStep says what a step still waits for; "" when it is complete.
func (r *run) settledStep(op *syncing, s *step, several bool) (string, error) {
	e := r.e
	e.mu.Lock()
	defer e.mu.Unlock()
	var waiting []string
	for i := range s.hooks {
		k := resultKey{s.at.phase, s.hooks[i].ID}
		switch res := op.results[k]; res.HookPhase {
		case model.OperationFailed, model.OperationError:
			return "", &model.Fault{Reason: "SyncError", Object: s.hooks[i].ID, Origin: s.hooks[i].Origin, Message: fmt.Sprintf("hook %s failed: %s", s.hooks[i].ID, res.Message)}
		case model.OperationSucceeded:
		default:
			waiting = append(waiting, what("completion of hook", s.hooks[i].ID))
		}
	}
	if !several {
		return first(waiting), nil
	}
	for _, id := range s.objects {
		k := resultKey{model.Sync, id}
		res, ours := op.results[k]
		en := e.book.entries[key{r.d.cluster, id}]
		if !ours && r.spec.Release == nil || en == nil || en.handle.Weightless || r.unawaited(op, id) {
			continue
		}
		switch en.health.State {
		case "", model.Current:
			if ours && res.HookPhase == model.OperationRunning {
				res.HookPhase = model.OperationSucceeded
				op.results[k] = res
			}
		case model.Unhealthy:
			return "", &model.Fault{Reason: "SyncError", Object: id, Message: fmt.Sprintf("%s is degraded: %s", id, en.health.Message)}
		default:
			waiting = append(waiting, what("healthy state of", id))
		}
	}
	return first(waiting), nil
}

func what(prefix string, id object.ID) string {
	if id.Group == "" {
		return fmt.Sprintf("waiting for %s /%s/%s", prefix, id.Kind, id.Name)
	}
	return fmt.Sprintf("waiting for %s %s/%s/%s", prefix, id.Group, id.Kind, id.Name)
}

// first is what is waited for, in the words of upstream.
func first(waiting []string) string {
	switch len(waiting) {
	case 0:
		return ""
	case 1:
		return waiting[0]
	}
	return fmt.Sprintf("%s and %d more resources", waiting[0], len(waiting)-1)
}

// unsyncable is the fault of what an operation could not change because it
// belongs to somebody else, or waits for a person.
func (r *run) unsyncable() error {
	var faults []model.Fault
	for i := range r.plan.Blocked {
		if f := &r.plan.Blocked[i]; !f.Waiting {
			faults = append(faults, *f)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return r.several(faults)
}

// unsettled is what an operation could not change yet, because others have not
// said whether they want it, or because it is not gone; "" when there is
// nothing. The end of that wakes the delivery.
func (r *run) unsettled() string {
	for i := range r.plan.Blocked {
		if f := &r.plan.Blocked[i]; f.Waiting {
			return f.Message
		}
	}
	return ""
}

// shared makes warnings of objects that belong to another delivery, unless the
// delivery asks that they fail (FailOnSharedResource). The caller holds e.mu.
func (r *run) shared() {
	if r.spec.Sync.Options.FailOnShared {
		return
	}
	kept := r.plan.Blocked[:0]
	for _, f := range r.plan.Blocked {
		if f.Reason != "Conflict" {
			kept = append(kept, f)
			continue
		}
		r.find(model.Finding{
			Severity: model.Warning, Reason: "SharedResource", Origin: f.Origin, Message: f.Message,
		})
	}
	r.plan.Blocked = kept
}

// fail ends an operation that failed, once its SyncFail hooks have run; or
// tries again, if it may.
func (r *run) fail(ctx context.Context, op *syncing, f *model.Fault) error {
	if op.failed == "" {
		op.failed = f.Error()
	}
	if waiting, err := r.failHooks(ctx, op); err != nil {
		return err
	} else if waiting != "" {
		op.waiting = waiting
		r.report.Running, r.report.Message = true, waiting
		return nil
	}
	if pause, ok := op.retry(); ok {
		if err := r.endTry(ctx, op); err != nil {
			return err
		}
		op.eager = f.Waiting
		op.retryAt = time.Now().Add(pause)
		op.waiting = fmt.Sprintf("%s. Retrying attempt #%d at %s.", op.failed, op.retries, op.retryAt.Format("3:04PM"))
		op.failed, op.reached, op.checked = "", place{}, false
		if op.op.Retry.Refresh {
			r.e.mu.Lock()
			if newer := r.e.treesOf(r.inputs); newer != nil {
				op.trees = newer
			}
			r.e.mu.Unlock()
		}
		r.d.next = pause
		r.report.Running, r.report.Message = true, op.waiting
		return nil
	}
	message := "one or more objects failed to apply, reason: " + op.failed
	if op.retries > 0 {
		message += fmt.Sprintf(" (retried %d times).", op.retries)
	}
	if err := r.complete(ctx, op, model.OperationFailed, message); err != nil {
		return err
	}
	return r.standingFault()
}

// endTry deletes the hooks of a try that failed, as their policies say: the
// next one runs its own.
func (r *run) endTry(ctx context.Context, op *syncing) error {
	r.e.mu.Lock()
	r.e.spendHooks(r.spec.ID)
	account := op.account()
	left := r.leftovers(account)
	r.e.mu.Unlock()
	return r.sweep(ctx, account, left)
}

// retry says whether and after which pause a failed operation is tried again.
func (s *syncing) retry() (time.Duration, bool) {
	p := s.op.Retry
	if p == nil || p.Limit >= 0 && s.retries >= p.Limit {
		return 0, false
	}
	pause := float64(p.Duration) * math.Pow(float64(max(p.Factor, 1)), float64(s.retries))
	s.retries++
	if p.Max > 0 {
		pause = math.Min(pause, float64(p.Max))
	}
	return time.Duration(pause), true
}

// complete ends an operation: first the declared object tells so, then the
// hooks that should go are deleted.
func (r *run) complete(ctx context.Context, op *syncing, phase model.OperationPhase, message string) error {
	e, d := r.e, r.d
	e.mu.Lock()
	for k, res := range op.results {
		if res.HookPhase == model.OperationRunning && phase == model.OperationSucceeded {
			res.HookPhase = model.OperationSucceeded
			op.results[k] = res
		}
	}
	account := op.account()
	account.Phase, account.Message, account.Finished = phase, message, time.Now()
	d.last, d.sync = account, nil
	if !op.automated() {
		d.done = op.op.ID
	}
	if op.automated() && phase != model.OperationSucceeded {
		d.failed = attempt{trees: r.trees, version: r.version, digest: d.digest, message: op.failed}
	} else {
		d.failed = attempt{}
	}
	if r.own() || !r.spec.Sync.Manual {
		e.queue.add(d.spec.ID, changed) // compared with what is declared, and with what happened meanwhile
	}
	leftovers := r.leftovers(account)
	e.mu.Unlock()
	e.opts.Meter.Synced(d.spec.ID, account)
	if len(leftovers) == 0 {
		return nil
	}
	r.report.Operation, r.report.At = account, time.Now()
	err := e.opts.Reporter.Persist(ctx, r.report)
	if err == nil {
		err = r.sweep(ctx, account, leftovers)
	}
	if err != nil && ctx.Err() == nil { // the sync has ended as it has
		r.find(model.Finding{
			Severity: model.Warning, Reason: "HookLeft", Origin: model.Origin{Declared: r.spec.ID},
			Message: "hooks of the last sync could not be cleaned up: " + err.Error(),
		})
	}
	return ctx.Err()
}

// abandon ends a requested operation whose sources cannot be rendered: it must
// not keep the delivery from what is declared.
func (r *run) abandon(ctx context.Context, why error) error {
	f := asFault(why, "ComparisonError")
	r.e.mu.Lock()
	requested := r.running()
	if requested == nil || f.Waiting {
		r.e.mu.Unlock()
		return nil
	}
	op := r.d.sync
	if op == nil || op.op.ID != requested.ID {
		op = r.begins(*requested)
	}
	op.failed = f.Error()
	r.e.mu.Unlock()
	return r.complete(ctx, op, model.OperationError, f.Error())
}

// ended reports whether an operation is over.
func (e *Engine) ended(d *delivery, op *syncing) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return d.sync != op
}

// terminate stops an operation: hooks that run are deleted, what was applied
// stays.
func (r *run) terminate(ctx context.Context, op *syncing) error {
	if err := r.stopHooks(ctx, op); err != nil {
		return err
	}
	op.failed = "Operation terminated"
	return r.complete(ctx, op, model.OperationFailed, "Operation terminated")
}
