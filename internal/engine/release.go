package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
	"plumb.dev/plumb/internal/release"
	"plumb.dev/plumb/internal/source"
)

// A Helm release is a delivery whose changes are made in Helm's actions:
//
//	what is wanted, what the storage holds ──release.Next──▶ action
//	    ▶ a pending record ▶ hooks ▶ objects ▶ hooks ▶ a deployed record ──release.After──▶ …
//
// What an action changes goes through the same plan, steps and writes as any
// other delivery's. Between two actions the objects of the deployed record are
// what is wanted; they are rendered anew only for another action.

// releasing is what the engine knows of a release.
type releasing struct {
	state   release.State
	storage storage
	acting  *acting // the action that is under way; nil: none
	wanted  string  // record whose objects are the desired ones; "": none yet
	looked  bool    // drift has been looked for since the start
	untold  bool    // an action has ended of which the status may not tell yet
	// definitions are those of the chart's directory crds: the inventory tells of
	// them, and they are nobody's.
	definitions []model.Claim
	// unserved are kinds that the last action missed.
	unserved []schema.GroupVersionKind
}

// acting is an action that is under way.
type acting struct {
	action release.Action
	facts  release.Facts
	record *release.Record // that it writes, or that it is about
	op     *syncing
	began  time.Time
	hooks  map[object.ID]*hookTimes
	known  map[int]*release.Record // older records that have been read for it
}

// hookTimes are when a hook began and ended.
type hookTimes struct{ began, ended time.Time }

// retryAt is when a release that failed is tried again; zero: it is not.
func (l *releasing) retryAt() time.Time {
	if l == nil || l.acting != nil {
		return time.Time{}
	}
	return l.state.RetryAt
}

// declaredRelease is what is declared of a release, without what its status
// tells. A token that was handled meanwhile is as it was before.
func declaredRelease(was, now *model.Release) *model.Release {
	if was == nil || now == nil {
		return was
	}
	out := *was
	out.History, out.Failures, out.InstallFailures, out.UpgradeFailures = nil, 0, 0, 0
	out.Attempted, out.Observed = model.ReleaseAttempt{}, model.ReleaseObserved{}
	out.Released, out.Tested, out.Remedied, out.Drifted, out.ForceHandled, out.ResetHandled = nil, nil, nil, nil, "", ""
	if now.ForceToken == "" {
		out.ForceToken = ""
	}
	if now.ResetToken == "" {
		out.ResetToken = ""
	}
	return &out
}

// deliverRelease takes a release as far as it goes now.
func (r *run) deliverRelease(ctx context.Context) error {
	r.beginRelease()
	if err := r.chartThere(); err != nil {
		return err
	}
	err := r.depend()
	if err == nil {
		err = r.act(ctx)
	}
	r.answerAs(ctx, err)
	return err
}

// answerAs tells others what the delivery wants: what it wanted last, if it
// failed to find out anew.
func (r *run) answerAs(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, errSuperseded) || errors.Is(err, errNotYet) {
		return
	}
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.version != r.version {
		return
	}
	d.trees, d.at, d.fault = r.trees, r.version, asFault(err, helm.StateError)
	e.answered(d, false)
}

// endRelease uninstalls a release whose declared object is being deleted.
func (r *run) endRelease(ctx context.Context) error {
	r.report.Phase = model.PhaseDelete
	if r.orphans() {
		r.report.Deleted = true
		return nil
	}
	r.beginRelease()
	if err := r.act(ctx); err != nil {
		return r.unreachable(ctx, err)
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if l := r.d.release; l.acting == nil && l.state.Report.StoredIn == "" {
		r.report.Deleted = true
	}
	return nil
}

// beginRelease takes up what the status tells.
func (r *run) beginRelease() {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.d.release == nil {
		_, definitions := definitionsApart(r.spec.Claims)
		r.d.release = &releasing{state: release.Begin(r.spec.Release), definitions: definitions}
	}
	told := r.d.release.state.Report
	told.Events = nil // told once
	r.report.Release = &told
}

// chartThere reports why there is no chart; nil when there is one.
func (r *run) chartThere() error {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.report.Phase = model.PhaseRender
	fault := r.sourceFault()
	switch {
	case r.trees == nil && r.early():
		return errNotYet
	case r.trees == nil && fault == nil:
		return errSuperseded // it came while this run began
	case r.trees == nil:
		r.d.trees, r.d.at, r.d.fault = nil, r.version, fault
		r.e.answered(r.d, false)
		return fault
	}
	r.report.Revision = r.trees[0].Revision()
	return nil
}

// act carries out one action after another until none is due, or one waits.
func (r *run) act(ctx context.Context) error {
	l, foreign := r.d.release, 0
	for {
		if l.acting != nil && r.overtaken(l.acting) {
			if err := r.abandonAction(ctx); err != nil {
				return err
			}
		}
		if l.acting == nil {
			facts, err := r.releaseFacts(ctx)
			if err != nil {
				return err
			}
			if left := r.othersWork(); left > 0 {
				r.d.next = left
				r.report.Running, r.report.Message = true, "waiting for another Helm client, which is changing the release"
				return nil
			}
			r.lookForKinds(ctx)
			action, state := release.Next(facts, l.state)
			r.noteRelease(state)
			switch action.Kind {
			case release.None:
				l.untold = false
				return r.atRest(ctx, facts)
			case release.Look:
				continue
			}
			l.acting = &acting{action: action, facts: *facts, began: time.Now(), hooks: map[object.ID]*hookTimes{}}
			if err := r.tellOutcome(ctx); err != nil {
				l.acting = nil
				return err
			}
		}
		done, outcome, err := r.carryOut(ctx, l.acting)
		if errors.Is(err, errForeignRecord) && foreign < maxForeign {
			foreign++
			r.e.mu.Lock()
			l.acting, r.d.sync = nil, nil // its hooks go on, for whoever takes the release up
			r.e.mu.Unlock()
			continue
		}
		if err != nil {
			return r.unrecorded(err)
		}
		if !done {
			r.tellWaiting(l.acting)
			return nil
		}
		outcome.Duration = time.Since(l.acting.began)
		facts := l.acting.facts
		facts.Now = time.Now()
		state := release.After(&facts, l.state, l.acting.action, outcome)
		r.e.mu.Lock()
		l.acting, r.d.sync, l.untold = nil, nil, true
		r.e.mu.Unlock()
		r.noteRelease(state)
	}
}

// tellOutcome has the status tell what an action came to before the next one
// begins: that may delete the records which are all that would tell of it after a
// crash. A single action needs no status before it.
func (r *run) tellOutcome(ctx context.Context) error {
	l := r.d.release
	if !l.untold {
		return nil
	}
	told := *r.report
	told.Running, told.Message, told.At = true, l.acting.waiting(), time.Now()
	r.e.mu.Lock()
	told.Inventory = r.inventory()
	r.e.mu.Unlock()
	if err := r.e.opts.Reporter.Persist(ctx, &told); err != nil {
		return asFault(err, "StateError")
	}
	l.untold = false
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	rest := *r.report.Release
	rest.Events = nil // told once
	r.report.Release = &rest
	return nil
}

// maxForeign is how often in a run an action begins anew because somebody else
// writes the records.
const maxForeign = 3

// unrecorded is the fault of a release whose records somebody else keeps
// writing; any other error is as it is.
func (r *run) unrecorded(err error) error {
	if !errors.Is(err, errForeignRecord) {
		return err
	}
	r.e.mu.Lock()
	r.d.release.acting, r.d.sync = nil, nil
	r.e.mu.Unlock()
	return &model.Fault{Reason: helm.StateError, Origin: r.spec.Origin, Message: err.Error(), Retry: true, Err: err}
}

// tellWaiting tells what an action that is under way waits for.
func (r *run) tellWaiting(a *acting) {
	r.report.Running, r.report.Message = true, a.waiting()
	if a.op == nil || a.op.waiting == "" {
		return
	}
	told := *r.report.Release
	for _, verdict := range []**model.Verdict{&told.Reconciling, &told.Ready} {
		if *verdict != nil && (*verdict).Reason == helm.Progressing {
			now := **verdict
			now.Message += ": " + a.op.waiting
			*verdict = &now
		}
	}
	r.report.Release = &told
}

// waiting is what an action waits for.
func (a *acting) waiting() string {
	if a.op != nil && a.op.waiting != "" {
		return a.op.waiting
	}
	return fmt.Sprintf("Running '%s' action with timeout of %s", a.action.Kind, a.action.Timeout)
}

// noteRelease keeps what has been decided. Events are told with the next
// report.
func (r *run) noteRelease(state release.State) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	events := append(slices.Clone(r.report.Release.Events), state.Report.Events...)
	r.d.release.state = state
	told := state.Report
	told.Events = events // those of every step of the run
	r.report.Release = &told
}

// releaseFacts gathers what the next decision goes by.
func (r *run) releaseFacts(ctx context.Context) (*release.Facts, error) {
	l, spec := r.d.release, r.spec.Release
	facts := &release.Facts{
		Release: spec, Generation: r.spec.Generation, By: name(r.spec.ID), ConfigDigest: spec.ValuesDigest,
		Drift: r.spec.Policy.Drift, Deleting: r.spec.Deleting, Now: time.Now(), Configured: r.configured,
	}
	if !r.spec.Deleting {
		chart, err := r.chart()
		if err != nil {
			return nil, err
		}
		facts.Chart, facts.OCIDigest = chart, r.ociDigest()
	}
	r.e.mu.Lock()
	namespace, of := l.state.Target(spec)
	r.e.mu.Unlock()
	var err error
	if facts.Stored, err = r.records(ctx, namespace, of); err != nil {
		return nil, err
	}
	if spec.Upgrade.PreserveValues && len(facts.Stored) > 0 && !r.spec.Deleting {
		if facts.ConfigDigest, err = r.preservedDigest(ctx, facts.Stored[0].Version); err != nil {
			return nil, err
		}
	}
	if err := r.wantDeployed(ctx, facts); err != nil {
		return nil, err
	}
	if facts.Drift != model.Ignore && !r.spec.Deleting && l.wanted != "" {
		if facts.Drifted, err = r.drift(ctx); err != nil {
			return nil, err
		}
	}
	return facts, nil
}

// chart is what is known of the chart, with the version that the release will
// have.
func (r *run) chart() (model.Chart, error) {
	chart, err := ChartIn(r.trees[0])
	if err != nil {
		return chart, &model.Fault{Reason: "ArtifactFailed", Origin: r.spec.Origin, Message: err.Error()}
	}
	version, _, err := helm.ChartVersion(chart.Version, r.trees[0].Revision())
	if err != nil {
		return chart, &model.Fault{Reason: "ArtifactFailed", Origin: r.spec.Origin, Message: err.Error()}
	}
	if r.spec.Release.PlainVersion {
		chart.Digest = "" // another package of this version is no news
	} else {
		chart.Version = version
	}
	return chart, nil
}

// ociDigest is the digest of the artifact that the chart came in; "" when it
// has none.
func (r *run) ociDigest() string {
	if len(r.trees) == 0 {
		return ""
	}
	chart, err := ChartIn(r.trees[0])
	if err != nil {
		return ""
	}
	_, digest, _ := helm.ChartVersion(chart.Version, r.trees[0].Revision())
	return digest
}

// configured reports whether a digest, made as it may be, is that of the values.
func (r *run) configured(digest string) bool {
	if len(r.inputs) == 0 {
		return false
	}
	values, err := valuesOf(r.inputs[0].Render.Helm.Values)
	return err == nil && helm.SameValues(digest, values)
}

// drift says in which objects the cluster differs from the deployed release.
func (r *run) drift(ctx context.Context) ([]string, error) {
	// Drift that was told of before a start is looked for at once: until the
	// watches have said so there is none, and it would be told again.
	l := r.d.release
	r.e.mu.Lock()
	asked := r.d.recheck
	r.d.recheck = asked || !l.looked && l.state.Report.Drift != nil && l.state.Report.Drift.OK
	r.e.mu.Unlock()
	err := r.observe(ctx)
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.d.recheck = asked
	if err != nil {
		return nil, err
	}
	l.looked = true
	r.consent = r.corrections()
	in := r.input()
	var lines []string
	for _, w := range plan.Make(in).Waves {
		for i := range w.Changes {
			if c := &w.Changes[i]; !c.Quiet && c.Want != nil {
				lines = append(lines, driftLine(c))
			}
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// corrections is the consent to put back what differs, but for objects that are
// left to others as a whole, even when they are gone (fluxcd/pkg ssa/jsondiff,
// DiffTypeExclude).
func (r *run) corrections() plan.Consent {
	return plan.Consent{Apply: true, Correct: true, CorrectAlong: true, Selected: func(id object.ID) bool {
		want := r.d.wanted(id)
		return want == nil || !r.d.judgement.rules.Whole(want)
	}}
}

// driftLine tells of one difference as helm-controller does.
func driftLine(c *model.Change) string {
	if removed(c) {
		return objectLine(c.Object) + " removed"
	}
	return objectLine(c.Object) + " changed"
}

// removed reports whether a change brings back what somebody deleted.
func removed(c *model.Change) bool { return c.Verb == model.Create || c.Why == "it was deleted" }

func objectLine(id object.ID) string {
	if id.Namespace == "" {
		return id.Kind + "/" + id.Name
	}
	return id.Kind + "/" + id.Namespace + "/" + id.Name
}

// wantDeployed makes the objects of the deployed record the desired ones, when
// nothing has made them so since the start.
func (r *run) wantDeployed(ctx context.Context, facts *release.Facts) error {
	l := r.d.release
	current := release.Deployed(facts.Stored)
	if current == nil && r.spec.Deleting && len(facts.Stored) > 0 {
		current = &facts.Stored[0]
	}
	if current == nil || l.wanted == recordName(current) {
		return nil
	}
	record, err := r.revision(ctx, current.Version)
	if err != nil {
		return err
	}
	content, err := recorded(record, r.spec.Origin)
	if err != nil {
		return asFault(err, "StateError")
	}
	return r.wantRelease(ctx, content, "", recordName(current))
}

func recordName(s *release.Stored) string {
	return fmt.Sprintf("%s/%s.v%d %s", s.Namespace, s.Name, s.Version, s.Digest)
}

// wantRelease makes objects the desired ones of the delivery, and hooks those
// that an action runs.
func (r *run) wantRelease(ctx context.Context, c *content, action helm.Action, of string) error {
	w := &wanted{}
	for i := range c.objects {
		rendered := c.objects[i]
		if err := r.keepOne(ctx, w, &rendered); err != nil {
			return err
		}
	}
	if err := r.keepHooks(ctx, w, c.hooks, action); err != nil {
		return err
	}
	slices.SortFunc(w.objects, func(a, b model.Desired) int {
		switch {
		case a.ID.Less(b.ID):
			return -1
		case b.ID.Less(a.ID):
			return 1
		}
		return 0
	})
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.version != r.version {
		return errSuperseded
	}
	d.trees, d.at, d.fault = r.trees, r.version, nil
	if c.untold {
		r.unseal(w.objects)
	}
	e.want(d, w.objects)
	d.hooks, d.withheld, d.unplaced = w.hooks, w.withheld, w.unplaced
	e.autoscaled(d)
	d.digest = e.digestOf(w.objects)
	r.report.Digest = d.digest
	d.release.wanted = of
	for i := range w.objects { // what the record names is the release's, whether the status says so or not
		k := key{d.cluster, w.objects[i].ID}
		if e.book.entries[k] == nil && action == "" {
			e.own(k, d.spec.ID, w.objects[i].Version)
		}
	}
	e.answered(d, true)
	return nil
}

// keepHooks settles when each hook runs in an action.
func (r *run) keepHooks(ctx context.Context, w *wanted, rendered []model.Rendered, action helm.Action) error {
	if action == "" {
		return nil
	}
	hooks := make([]helm.Hook, len(rendered))
	for i := range rendered {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(rendered[i].JSON); err != nil {
			return asFault(err, "StateError")
		}
		hooks[i], _ = helm.ReadHook(o.GetKind(), o.GetName(), o.GetAnnotations())
	}
	for i, stage := range helm.Stages(hooks, action) {
		if stage == nil || action == helm.Test && !release.Selected(hooks[i].Name, r.spec.Release.Test.Filters) {
			continue
		}
		hook := rendered[i]
		if _, _, err := r.place(ctx, &hook); err != nil {
			return err
		}
		want, err := r.e.mark(&r.spec, &hook)
		if err != nil {
			return err
		}
		want.Stage = *stage
		w.hooks = append(w.hooks, want)
	}
	return nil
}

// atRest ends a run when no action is due.
func (r *run) atRest(ctx context.Context, facts *release.Facts) error {
	l := r.d.release
	rep := &l.state.Report
	r.report.Running = false
	if r.spec.Deleting {
		if rep.StoredIn == "" {
			return nil
		}
		return &model.Fault{Reason: helm.UninstallFailed, Waiting: true, Message: verdictText(rep.Released)}
	}
	r.report.Revision = facts.Chart.Version
	if len(facts.Stored) > 0 && l.wanted == recordName(&facts.Stored[0]) {
		if err := r.pruneLeft(ctx, facts.Stored[0].RollbackTo != 0); err != nil {
			return err
		}
	}
	switch {
	case rep.Stalled != nil:
		return &model.Fault{Reason: rep.Stalled.Reason, Message: rep.Stalled.Message, Origin: r.spec.Origin}
	case rep.Ready != nil && !rep.Ready.OK:
		return &model.Fault{Reason: rep.Ready.Reason, Message: rep.Ready.Message, Origin: r.spec.Origin}
	}
	return nil
}

// pruneLeft deletes what the delivery owns and the deployed release does not
// have: the action that made it could not yet, since others had not said whether
// they want it, or Plumb stopped before the status told what has become of it, or
// there is too much of it to go unasked. What a release brought that was rolled
// back goes however much it is.
func (r *run) pruneLeft(ctx context.Context, rolledBack bool) error {
	if !r.ownsMore() {
		return nil
	}
	if err := r.observe(ctx); err != nil {
		return err
	}
	r.consent = plan.Consent{Prune: true, Unguarded: rolledBack}
	if err := r.decide(); err != nil {
		return err
	}
	err := r.apply(ctx)
	var f *model.Fault
	if errors.As(err, &f) && f.Waiting && r.plan.Held == nil {
		r.tellUnpruned()
		return nil
	}
	return err
}

// tellUnpruned tells that the release is not done: what it has no more is still
// there, since others have not said whether they want it. They wake it when they
// have; the pause is for those who never do. What has failed goes before that.
func (r *run) tellUnpruned() {
	at := slices.IndexFunc(r.plan.Blocked, func(f model.Fault) bool { return f.Reason == plan.PruneWaits })
	if ready := r.report.Release.Ready; at < 0 || ready != nil && !ready.OK {
		return
	}
	message := r.plan.Blocked[at].Message
	told := *r.report.Release
	told.Ready = &model.Verdict{Unknown: true, Reason: helm.Progressing, Message: message}
	told.Reconciling = &model.Verdict{OK: true, Reason: helm.Progressing, Message: message}
	r.report.Release = &told
	r.report.Running, r.report.Message = true, message
	r.d.next = r.spec.Policy.RetryInterval
}

// ownsMore reports whether the delivery owns what it does not want.
func (r *run) ownsMore() bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	for k := range r.e.book.owned[r.spec.ID] {
		if k.cluster == r.d.cluster && r.d.desiredOf(k.id) == nil {
			return true
		}
	}
	return false
}

func verdictText(v *model.Verdict) string {
	if v == nil {
		return ""
	}
	return v.Message
}

// overtaken reports whether what is wanted has changed since an action began,
// so that it is not worth its end. One that takes a release away is.
func (r *run) overtaken(a *acting) bool {
	if a.action.Kind == release.Uninstall {
		return false
	}
	if r.spec.Deleting || a.facts.Generation != r.spec.Generation || a.facts.ConfigDigest != r.spec.Release.ValuesDigest && !r.spec.Release.Upgrade.PreserveValues {
		return true
	}
	chart, err := r.chart()
	return err == nil && chart != a.facts.Chart
}

// abandonAction ends an action whose end nobody waits for. Its record stays
// pending: the next decision says what becomes of it.
func (r *run) abandonAction(ctx context.Context) error {
	a := r.d.release.acting
	if a.op != nil {
		if err := r.stopHooks(ctx, a.op); err != nil {
			return err
		}
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.d.release.acting, r.d.sync = nil, nil
	return nil
}

// releaseHandling reads what an object of a release asks for.
func releaseHandling(o *unstructured.Unstructured) model.Handling {
	return model.Handling{Keep: helm.Keeps(o.GetAnnotations())}
}

// foreign reports whether a live object is not the delivery's, so that it is
// not deleted.
func (r *run) foreign(live *unstructured.Unstructured) bool {
	if marked(live, &r.spec.Ownership) {
		return false
	}
	if rel := r.spec.Release; rel != nil {
		name, namespace := rel.Name, rel.Namespace
		if l := r.d.release; l != nil && l.acting != nil && l.acting.action.Kind == release.Uninstall {
			name, namespace = l.acting.record.Name, l.acting.record.Namespace // it may be wanted under another name by now
		}
		return helm.Foreign(live.GetLabels(), live.GetAnnotations(), name, namespace) != ""
	}
	return true
}

// unawaited reports whether an action does not wait for an object: Jobs may take
// as long as they like, unless it is asked to wait for them. The caller holds
// e.mu.
func (r *run) unawaited(op *syncing, id object.ID) bool {
	return r.spec.Release != nil && (!op.waits || !op.jobs && id.Kind == "Job" && id.Group == "batch")
}

// ChartIn reads what a tree tells of the chart in it.
func ChartIn(tree *source.Tree) (model.Chart, error) {
	if c := tree.Chart(); c != nil {
		return *c, nil
	}
	dir, err := chartDir(tree)
	if err != nil {
		return model.Chart{}, err
	}
	text, err := tree.Read(path.Join(dir, chartFile))
	if err != nil {
		return model.Chart{}, err
	}
	var metadata struct {
		Name, Version, AppVersion string
		Deprecated                bool
	}
	if err := yaml.Unmarshal(text, &metadata); err != nil {
		return model.Chart{}, fmt.Errorf("%s of the chart cannot be read: %w", chartFile, err)
	}
	return model.Chart{Name: metadata.Name, Version: metadata.Version, AppVersion: metadata.AppVersion, Deprecated: metadata.Deprecated, Digest: tree.Digest()}, nil
}

const chartFile = "Chart.yaml"

// chartDir is the directory of the chart: the root, or the only directory in it.
func chartDir(tree *source.Tree) (string, error) {
	if _, ok, err := tree.Lookup(chartFile); ok || err != nil {
		return "", err
	}
	entries, err := tree.List("")
	if err != nil {
		return "", err
	}
	found := ""
	for i := range entries {
		if entries[i].Kind != model.DirEntry {
			continue
		}
		if _, ok, err := tree.Lookup(path.Join(entries[i].Name, chartFile)); err != nil {
			return "", err
		} else if ok && found == "" {
			found = entries[i].Name
		}
	}
	if found == "" {
		return "", fmt.Errorf("there is no %s in the artifact %s, nor in a directory of it", chartFile, tree.Revision())
	}
	return found, nil
}
