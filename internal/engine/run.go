package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/health"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/source"
)

// errSuperseded ends a run whose inputs changed while it was under way. The
// delivery runs again.
var errSuperseded = errors.New("superseded by a newer revision or declaration")

// errNotYet ends a run that can say nothing yet. What it waits for wakes it.
var errNotYet = errors.New("what it rests on has not been looked at yet")

// run is one pass of one delivery through the phases.
type run struct {
	e       *Engine
	d       *delivery
	spec    model.Delivery // as it was when the run began
	facts   model.Facts
	version uint64
	inputs  []model.Input  // what is rendered: the delivery's, or an operation's own
	trees   []*source.Tree // one for each input; nil when one is missing

	cluster *cluster.Cluster
	session *cluster.Session
	seen    map[object.ID]observed // what observe found
	plan    *model.Plan
	report  *model.Report
	found   []model.Finding // in this run
	consent plan.Consent
	lookups map[render.Lookup]told
	capable string           // state of the target that was laid before its renders
	asked   *model.Operation // the operation that this run begins or goes on with

	// correcting: drift of a release is put back, and nothing else. What a
	// comparison ignores stays as it is.
	correcting bool

	// Objects of others that the plan took hold of, and those of them that may
	// have been written by now. Engine.mu guards both.
	before map[object.ID]holding
	wrote  map[object.ID]bool
}

// holding is whose an object was.
type holding struct {
	owner   object.ID
	version string
}

// run takes a delivery through its phases and reports.
func (e *Engine) run(ctx context.Context, id object.ID) {
	r := e.begin(id)
	if r == nil {
		return
	}
	err := r.phases(ctx)
	switch {
	case ctx.Err() != nil, errors.Is(err, errNotYet):
	case errors.Is(err, errSuperseded):
		e.queue.add(id, changed) // a commit that changed nothing for it has not asked for a run
	default:
		r.finish(err)
	}
}

// begin notes what the run starts from.
func (e *Engine) begin(id object.ID) *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.book.deliveries[id]
	if d == nil {
		return nil
	}
	d.endKindWaits()
	delete(e.book.blocked, id)
	now := time.Now()
	r := &run{
		e: e, d: d, spec: d.spec, facts: d.facts, version: d.version,
		report: &model.Report{
			Delivery: id, Generation: d.spec.Generation, Started: now, Facts: d.facts,
			Phase: model.PhaseResolve, Findings: d.standingFindings(), Suspended: d.spec.Suspended,
		},
	}
	r.inputs = r.requested()
	if len(r.inputs) > 0 {
		r.report.Source = r.inputs[0].Source
	}
	r.trees = e.treesOf(r.inputs)
	if r.pinned() && d.sync.trees != nil {
		r.trees = d.sync.trees // it was asked for what was there when it began
	}
	if last := d.report; last != nil {
		r.report.Applied, r.report.Inventory, r.report.Digest = last.Applied, last.Inventory, last.Digest
		r.report.Revision, r.report.OriginRevision, r.report.Commit, r.report.Inputs = last.Revision, last.OriginRevision, last.Commit, last.Inputs
		r.report.Sync, r.report.Resources, r.report.Images = last.Sync, last.Resources, last.Images
	} else {
		r.report.Applied = d.spec.Applied
	}
	return r
}

// phases is the life of a run. It returns nil when the delivery is as it is
// wanted, a *model.Fault when it is not, or errSuperseded.
func (r *run) phases(ctx context.Context) error {
	if r.spec.Suspended && !r.spec.Deleting {
		return nil
	}
	if err := r.resolve(ctx); err != nil {
		return r.unresolved(err)
	}
	r.follow()
	if r.spec.Deleting {
		if r.spec.Release != nil {
			return r.endRelease(ctx)
		}
		return r.remove(ctx)
	}
	if r.waits() {
		return errNotYet
	}
	if r.spec.Release != nil {
		return r.deliverRelease(ctx)
	}
	evaluation := r.evaluate(ctx)
	if errors.Is(evaluation, errSuperseded) || errors.Is(evaluation, errNotYet) {
		return evaluation
	}
	if err := r.depend(); err != nil {
		return err
	}
	if evaluation != nil {
		r.report.Phase = model.PhaseRender
		if err := r.abandon(ctx, evaluation); err != nil {
			return err
		}
		return evaluation
	}
	if err := r.observe(ctx); err != nil {
		return err
	}
	if r.spec.Sync.Staged {
		return r.synchronize(ctx)
	}
	r.consent = plan.Consent{Apply: true, Correct: r.spec.Policy.Drift == model.Heal, Prune: r.spec.Policy.Prune || !r.spec.Expands}
	if err := r.decide(); err != nil {
		return err
	}
	if err := r.apply(ctx); err != nil {
		return err
	}
	return r.settle(ctx)
}

// treesOf are the trees of some inputs; nil when one of them has none yet, or
// one that its readers must not go on with. The caller holds e.mu.
func (e *Engine) treesOf(inputs []model.Input) []*source.Tree {
	trees := make([]*source.Tree, len(inputs))
	for i := range inputs {
		s := e.sourceOf(&inputs[i])
		if s == nil || s.tree == nil || s.mute() {
			return nil
		}
		trees[i] = s.tree
	}
	return trees
}

// waits reports whether a look that a person asked for is under way: what
// there is to say without it is not what was asked.
func (r *run) waits() bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return r.e.looking(r.d)
}

// resolve finds the cluster that the delivery goes to and the identity it has
// there.
func (r *run) resolve(context.Context) error {
	r.report.Phase = model.PhaseResolve
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.d.version != r.version {
		return errSuperseded
	}
	// Under the lock, so that no other run ends a connection of which nobody knows
	// yet that it is used.
	var err error
	if r.cluster, err = r.e.targetOf(&r.spec, r.facts); err != nil {
		return asFault(err, "ReconciliationFailed")
	}
	r.session = r.cluster.As(r.spec.Identity)
	r.e.claim(r.d, r.cluster.Key())
	if r.d.refusal != nil && !r.spec.Deleting {
		return r.d.refusal
	}
	if r.d.badRules != nil {
		return r.d.badRules
	}
	return nil
}

// unresolved keeps the fault as the answer of the evaluation that could not be:
// the delivery has been asked and goes on claiming what it claimed.
func (r *run) unresolved(err error) error {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.version != r.version {
		return errSuperseded
	}
	d.trees, d.at, d.fault = r.trees, r.version, asFault(err, "ReconciliationFailed")
	e.answered(d, false)
	return err
}

// follow watches the kinds of what is owned from before.
func (r *run) follow() {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.followed {
		return
	}
	d.followed = true
	for k, version := range e.book.owned[d.spec.ID] {
		e.follow(r.cluster, schema.GroupVersionKind{Group: k.id.Group, Version: version, Kind: k.id.Kind})
	}
}

// depend holds the run until everything it depends on is ready.
func (r *run) depend() error {
	r.report.Phase = model.PhaseResolve
	e := r.e
	e.mu.Lock()
	circle := e.circle(r.spec.ID)
	e.mu.Unlock()
	if circle != "" {
		return &model.Fault{
			Reason: "DependencyNotReady", Waiting: true, Origin: model.Origin{Declared: r.spec.ID, Field: "spec.dependsOn"},
			Message: "the dependencies run in a circle: " + circle, Advice: "take one of them out",
		}
	}
	for i := range r.spec.DependsOn {
		dep := &r.spec.DependsOn[i]
		e.mu.Lock()
		ready, why := e.ready(r, dep)
		e.mu.Unlock()
		if ready && dep.ReadyExpr != "" {
			var err error
			if ready, err = r.readyByExpr(dep); err != nil {
				return err
			}
			why = fmt.Sprintf("dependency '%s' is not ready according to readyExpr eval", name(dep.On))
		}
		if !ready {
			return &model.Fault{
				Reason: "DependencyNotReady", Message: why, Waiting: true, Retry: true,
				Origin: model.Origin{Declared: r.spec.ID, Field: fmt.Sprintf("spec.dependsOn[%d]", i)},
			}
		}
	}
	return nil
}

// circle is the way from a delivery back to itself along its dependencies; ""
// when there is none. The caller holds e.mu.
func (e *Engine) circle(from object.ID) string {
	seen := map[object.ID]bool{}
	var walk func(id object.ID, way string) string
	walk = func(id object.ID, way string) string {
		d := e.book.deliveries[id]
		if d == nil || seen[id] {
			return ""
		}
		seen[id] = true
		for i := range d.spec.DependsOn {
			next := d.spec.DependsOn[i].On
			if next == from {
				return way + " → " + next.String()
			}
			if found := walk(next, way+" → "+next.String()); found != "" {
				return found
			}
		}
		return ""
	}
	if d := e.book.deliveries[from]; d == nil || len(d.spec.DependsOn) == 0 {
		return ""
	}
	return walk(from, from.String())
}

// ready judges one dependency. With a readyExpr the expression decides about
// readiness, alone unless it is additive. The caller holds e.mu.
func (e *Engine) ready(r *run, dep *model.Dependency) (bool, string) {
	other := e.book.deliveries[dep.On]
	alone := dep.ReadyExpr != "" && !dep.Additive
	if other == nil {
		if e.opts.Declared.Object(dep.On) == nil {
			return false, fmt.Sprintf("dependency '%s' not found", name(dep.On))
		}
		if alone || e.opts.Declared.Ready(dep.On) {
			return true, ""
		}
		return false, fmt.Sprintf("dependency '%s' is not ready", name(dep.On))
	}
	if alone {
		return true, ""
	}
	if other.spec.Suspended {
		if e.opts.Declared.Ready(dep.On) {
			return true, ""
		}
		return false, fmt.Sprintf("dependency '%s' is suspended and not ready", name(dep.On))
	}
	last := other.report
	if last == nil || last.Phase != model.PhaseDone || last.Generation != other.spec.Generation || other.at != other.version {
		return false, fmt.Sprintf("dependency '%s' is not ready", name(dep.On))
	}
	if other.spec.Release == nil && len(r.trees) == 1 && len(other.spec.Inputs) == 1 && other.spec.Inputs[0].Source == r.inputs[0].Source && last.Applied != r.trees[0].Revision() {
		return false, fmt.Sprintf("dependency '%s' revision is not up to date", name(dep.On))
	}
	if other.spec.Release == nil && other.spec.Sync.Staged && (last.Sync != model.Synced || last.Healthy == nil || !*last.Healthy) {
		return false, fmt.Sprintf("dependency '%s' is not synced and healthy", name(dep.On))
	}
	return true, ""
}

func (r *run) readyByExpr(dep *model.Dependency) (bool, error) {
	self, other := r.e.opts.Declared.Object(r.spec.ID), r.e.opts.Declared.Object(dep.On)
	if self == nil || other == nil {
		return false, nil
	}
	expr, err := health.CompileReady(dep.ReadyExpr)
	if err != nil {
		return false, asFault(err, "InvalidCELExpression")
	}
	ok, err := expr.Eval(self.Object, other.Object)
	if err != nil {
		return false, asFault(err, "DependencyNotReady")
	}
	return ok, nil
}

// name is how dialects print a dependency: namespace/name.
func name(id object.ID) string { return id.Namespace + "/" + id.Name }

// decide makes the plan and takes hold of what it is about to write, in one
// step, so that two runs never plan for the same object.
func (r *run) decide() error {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.version != r.version {
		return errSuperseded // what it wants is not what was evaluated
	}
	r.report.Phase = model.PhasePlan
	r.plan = plan.Make(r.input())
	r.hold()
	e.block(d, r.plan)
	return nil
}

// block remembers that a plan waits for what other deliveries say. The caller
// holds e.mu.
func (e *Engine) block(d *delivery, p *model.Plan) {
	if len(p.Blocked) == 0 && len(p.HandsOver) == 0 {
		return
	}
	objects := make(map[object.ID]bool, len(p.Blocked)+len(p.HandsOver))
	for _, id := range p.HandsOver {
		objects[id] = true
	}
	for i := range p.Blocked {
		objects[p.Blocked[i].Object] = true
	}
	e.book.blocked[d.spec.ID] = objects
}

// hold marks the objects of the plan as being written, and remembers whose they
// were: what turns out to be refused is given back. The caller holds e.mu.
func (r *run) hold() {
	r.before, r.wrote = map[object.ID]holding{}, map[object.ID]bool{}
	for _, w := range r.plan.Waves {
		for _, c := range w.Changes {
			k := key{r.d.cluster, c.Object}
			switch c.Verb {
			case model.Delete, model.Forget:
				if en := r.e.book.entries[k]; en != nil {
					en.busy = true
				}
			default:
				if en := r.e.book.entries[k]; en == nil {
					r.before[c.Object] = holding{}
				} else if en.owner != r.spec.ID {
					r.before[c.Object] = holding{en.owner, en.version}
				}
				r.e.own(k, r.spec.ID, c.Version).busy = true
			}
		}
	}
}

// input gathers what the plan depends on. The caller holds e.mu.
func (r *run) input() plan.Input {
	e, d := r.e, r.d
	owned := e.book.owned[d.spec.ID]
	claims := make([]model.Claim, 0, len(owned))
	for k, version := range owned {
		if k.cluster == d.cluster {
			claims = append(claims, model.Claim{ID: k.id, Version: version})
		}
	}
	spec := r.spec
	spec.Sync.Options = *r.options(d.sync)
	peer := sync.OnceValue(func() string { return e.pendingPeer(d) })
	return plan.Input{
		Delivery: &spec,
		Desired:  d.desired,
		Claims:   claims,
		Seen:     r.known,
		Standing: func(id object.ID) plan.Standing { return e.standing(d, id, peer) },
		Weight:   e.weight,
		Guard:    e.opts.Guard,
		Consent:  r.consent,
	}
}

// known says what is known of one object. The caller holds e.mu.
func (r *run) known(id object.ID) plan.Seen {
	en := r.e.book.entries[key{r.d.cluster, id}]
	s := r.sight(id, en)
	s.Resting = en != nil && !r.d.recheck && r.e.backingOff(en)
	return s
}

// sight is what a look found, or else what the entry says. The caller holds
// e.mu.
func (r *run) sight(id object.ID, en *entry) plan.Seen {
	if o, ok := r.seen[id]; ok {
		return o.Seen
	}
	if en == nil {
		return plan.Seen{}
	}
	s := plan.Seen{Inputs: en.base.Inputs, UID: en.base.UID, Deleting: en.deleting, Handle: en.handle, Wave: en.wave, Drift: en.drift}
	switch {
	case en.missing:
		s.Presence = plan.Missing
	case en.hasBase():
		s.Presence = plan.Trusted
	}
	return s
}

// find adds to the account something a user should know.
func (r *run) find(f model.Finding) {
	r.found = append(r.found, f)
	r.report.Findings = append(r.report.Findings, f)
}

// standingFindings are those that hold until the next declaration or evaluation.
// The caller holds e.mu.
func (d *delivery) standingFindings() []model.Finding {
	all := append([]model.Finding{}, d.findings...)
	return append(append(all, d.judgement.findings...), d.withheld...)
}

// finish completes the report, keeps it, and arranges what comes next.
func (r *run) finish(err error) {
	e, d, rep := r.e, r.d, r.report
	now := time.Now()
	e.mu.Lock()
	if e.book.deliveries[r.spec.ID] != d {
		e.mu.Unlock()
		return // the declared object is gone, or another one has its name
	}
	if d.at == r.version && len(d.trees) > 0 && !slices.Equal(d.trees, r.trees) && !e.book.stale[r.spec.ID] {
		r.trees = d.trees // a commit came meanwhile that changes nothing for it
		d.describe(rep)
	}
	rep.At = now
	rep.Fault = asFault(err, "ReconciliationFailed")
	if rep.Fault == nil && !rep.Running && !rep.Suspended && !rep.Deleted {
		rep.Phase = model.PhaseDone
	}
	if rep.Phase == model.PhaseDone && rep.Revision != "" {
		rep.Applied = rep.Revision
	}
	if r.spec.Release != nil && d.claimed && r.cluster != nil {
		rep.Inventory = r.inventory()
	}
	if r.plan != nil {
		rep.Inventory = r.inventory()
		rep.Hold, rep.Pending = r.plan.Held, r.plan.Pending
	}
	if r.spec.Sync.Staged && r.spec.Release == nil {
		r.account()
	}
	rep.Findings = append(append(d.standingFindings(), r.found...), e.fights(d)...)
	rep.Handled = r.spec.Wake
	d.handled = r.spec.Wake
	d.recheck = d.recheck && (d.version != r.version || r.plan == nil)
	d.report = rep
	if !slices.Equal(d.ranTrees, r.trees) || d.ranVersion != r.version {
		d.ranTrees, d.ranVersion = r.trees, r.version
		e.evaluated() // what it declares has been applied, or has failed
	}
	if rep.Wrote = r.hasWritten(); rep.Wrote && r.spec.Expands {
		d.next = lookBack
	}
	r.schedule(rep)
	if rep.Phase == model.PhaseDone {
		e.edges(d.spec.ID)
	}
	e.opts.Reporter.Delivery(rep) // under the lock, as whatever else is told of it: what is newer comes later
	e.mu.Unlock()

	e.notice(rep.Delivery)
	e.opts.Meter.Ran(rep.Delivery.Kind, rep.Delivery.Namespace, rep.Delivery.Name, now.Sub(rep.Started), rep.Fault == nil)
	r.record(rep)
}

// lookBack is when a run that wrote and whose facts include what it wrote is
// followed by another, should no fact change.
const lookBack = 2 * time.Second

// hasWritten reports whether the run has changed an object.
func (r *run) hasWritten() bool {
	return slices.ContainsFunc(r.report.Objects, func(o model.Outcome) bool {
		return o.Fault == nil && o.Verb != "" && o.Verb != model.Forget
	})
}

// inventory lists what the delivery owns now. The caller holds e.mu.
func (r *run) inventory() []model.Claim {
	owned := r.e.book.owned[r.spec.ID]
	claims := make([]model.Claim, 0, len(owned))
	for k, version := range owned {
		if k.cluster == r.d.cluster {
			claims = append(claims, model.Claim{ID: k.id, Version: version})
		}
	}
	for _, c := range r.definitions() {
		if _, ours := owned[key{r.d.cluster, c.ID}]; !ours {
			claims = append(claims, c)
		}
	}
	sortClaims(claims)
	return claims
}

// schedule sets the one timer of a delivery: a retry, or the fallback behind an
// edge. A delivery that is done needs none, unless one of its kinds cannot be
// watched. The caller holds e.mu.
func (r *run) schedule(rep *model.Report) {
	d, e := r.d, r.e
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	var pause time.Duration
	urge := routine
	switch f := rep.Fault; {
	case rep.Deleted:
		return
	case rep.Running && d.health != nil:
		pause, urge = max(time.Until(d.health.deadline), time.Millisecond), changed
	case f == nil && d.next > 0:
		pause, d.next = d.next, 0
	case f == nil:
		d.failures = 0
		if rep.Suspended {
			return
		}
		if e.unwatched(d) {
			pause = jitter(r.spec.Policy.Interval)
		}
	case f.Waiting && d.next > 0:
		d.failures, pause, d.next = 0, d.next, 0
	case f.Waiting:
		d.failures, pause = 0, r.spec.Policy.RetryInterval
	case f.Retry:
		pause = min(backoff(d.failures, firstRetry, 5*time.Minute), r.spec.Policy.RetryInterval)
		d.failures++
	default:
		pause = r.spec.Policy.RetryInterval
	}
	if again := d.askAgain(rep.Fault != nil); again > 0 && (pause == 0 || again < pause) {
		pause = again
	}
	if at := d.release.retryAt(); !at.IsZero() {
		pause, urge = max(time.Until(at), time.Millisecond), changed
	}
	if lag := d.nextHeal(e); lag > 0 && (pause == 0 || lag < pause) {
		pause, urge = lag, urgent
	}
	if pause == 0 {
		return
	}
	id := r.spec.ID
	d.timer = time.AfterFunc(pause, func() { e.queue.add(id, urge) })
}

// unwatched reports whether one of the kinds of a delivery cannot be watched,
// so that only the interval can tell what became of it. The caller holds e.mu.
func (e *Engine) unwatched(d *delivery) bool {
	w := e.watching[d.cluster]
	if w == nil {
		return false
	}
	for k, version := range e.book.owned[d.spec.ID] {
		if kw := w.kinds[schema.GroupVersionKind{Group: k.id.Group, Version: version, Kind: k.id.Kind}]; kw != nil && kw.failed != nil {
			return true
		}
	}
	return false
}
