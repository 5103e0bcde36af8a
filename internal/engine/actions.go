package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
	"plumb.dev/plumb/internal/release"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/source"
)

// content is what an action brings to the cluster.
type content struct {
	objects, hooks, crds []model.Rendered
	notes                string
}

// carryOut takes an action as far as it goes now. An error ends the run and not
// the action: the next run goes on with it.
func (r *run) carryOut(ctx context.Context, a *acting) (done bool, outcome release.Outcome, err error) {
	r.e.mu.Lock()
	r.d.sync = a.op
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
// ended, or the API server did not answer and may do so soon.
func passing(ctx context.Context, a *acting, err error) bool {
	if ctx.Err() != nil || errors.Is(err, errSuperseded) || errors.Is(err, errNotYet) {
		return true
	}
	var f *model.Fault
	return errors.As(err, &f) && f.Retry && time.Now().Before(a.deadline())
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
	if !a.action.Resume {
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
		consent: plan.Consent{Apply: true, Correct: true, CorrectAlong: true, Prune: true, Unguarded: true},
		waits:   act.Wait, jobs: act.WaitJobs,
		op: model.Operation{NoHooks: !act.Hooks, Options: &model.SyncOptions{
			CreateNamespace: a.action.Kind == release.Install && r.spec.Release.CreateNamespace, Propagation: "background", Force: act.Force,
		}},
	}
	r.e.mu.Lock()
	r.d.sync = a.op
	if !a.action.Resume {
		r.e.spendHooks(r.spec.ID)
	}
	r.e.mu.Unlock()
	if err := r.applyDefinitions(ctx, a, c.crds); err != nil {
		return r.unbegun(a, err)
	}
	if err := r.wantRelease(ctx, c, a.action.Helm(), fmt.Sprintf("revision %d under way", a.action.Version)); err != nil {
		return r.unbegun(a, err)
	}
	return nil
}

// unbegun keeps an error of a revision whose record is written: it ends the
// revision, unless it passes.
func (r *run) unbegun(a *acting, err error) error {
	if errors.Is(err, errSuperseded) {
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
		r.d.next = time.Until(a.deadline())
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

// contentOf makes the record of a revision, and what it brings.
func (r *run) contentOf(ctx context.Context, a *acting) (*content, error) {
	switch {
	case a.action.Kind == release.Rollback && !a.action.Resume:
		last, err := r.revision(ctx, a.facts.Stored[0].Version)
		if err != nil {
			return nil, err
		}
		to, err := r.revision(ctx, a.action.To)
		if err != nil {
			return nil, err
		}
		a.record = release.Back(last, to, name(r.spec.ID), release.ServerSide(r.spec.Release.Rollback.ServerSideApply, to), time.Now())
		return recorded(a.record, r.spec.Origin)
	case a.action.Resume:
		record, err := r.revision(ctx, a.action.Version)
		if err != nil {
			return nil, err
		}
		c, err := recorded(record, r.spec.Origin)
		if err != nil {
			return nil, asFault(err, "StateError")
		}
		if a.action.Kind != release.Rollback {
			rendered, err := r.renderRevision(ctx, a, r.inputs[0].Render.Helm)
			if err != nil {
				return nil, err
			}
			c.crds = rendered.crds
		}
		a.record = record
		return c, nil
	}
	return r.freshRevision(ctx, a)
}

// freshRevision renders the chart.
func (r *run) freshRevision(ctx context.Context, a *acting) (*content, error) {
	var last, deployed *release.Record
	var err error
	if len(a.facts.Stored) > 0 {
		if last, err = r.revision(ctx, a.facts.Stored[0].Version); err != nil {
			return nil, err
		}
	}
	if current := release.Deployed(a.facts.Stored); current != nil && last != nil {
		if deployed = last; current.Version != last.Version {
			if deployed, err = r.revision(ctx, current.Version); err != nil {
				return nil, err
			}
		}
	}
	a.known = map[int]*release.Record{}
	for _, record := range []*release.Record{last, deployed} {
		if record != nil {
			a.known[record.Version] = record
		}
	}
	opts := r.inputs[0].Render.Helm
	config, err := valuesOf(opts.Values)
	if err != nil {
		return nil, err
	}
	if r.spec.Release.Upgrade.PreserveValues && a.action.Kind == release.Upgrade && last != nil {
		if config, err = preserve(&opts, config, last); err != nil {
			return nil, err
		}
	}
	c, err := r.renderRevision(ctx, a, opts)
	if err != nil {
		return nil, err
	}
	chart, dir, err := r.recordChart(a)
	if err != nil {
		return nil, err
	}
	a.record, err = release.New(a.action.Helm(), r.spec.Release, &release.Content{
		Chart: chart, Config: config, Objects: c.objects, Hooks: c.hooks, Notes: c.notes, Dir: dir,
		ServerSide: release.ServerSide(r.actionSpec(a).ServerSideApply, last),
	}, last, deployed, time.Now())
	return c, err
}

// preserve puts the values of the last release below those that are given.
func preserve(opts *model.HelmOptions, values map[string]any, last *release.Record) (map[string]any, error) {
	config, defaults, err := release.Reuse(values, last)
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		values map[string]any
		into   *model.Secret
		digest *string
	}{{config, &opts.Values, &opts.ValuesDigest}, {defaults, &opts.Defaults, &opts.DefaultsDigest}} {
		text, err := json.Marshal(part.values)
		if err != nil {
			return nil, errors.New("the values of the release cannot be encoded")
		}
		*part.into, *part.digest = model.NewSecret(text), helm.ValuesDigest(part.values)
	}
	return config, nil
}

// preservedDigest is that of the values which the next release will have.
func (r *run) preservedDigest(ctx context.Context, version int) (string, error) {
	last, err := r.revision(ctx, version)
	if err != nil {
		return "", err
	}
	values, err := valuesOf(r.inputs[0].Render.Helm.Values)
	if err != nil {
		return "", err
	}
	config, _, err := release.Reuse(values, last)
	if err != nil {
		return "", err
	}
	return helm.ValuesDigest(config), nil
}

func valuesOf(text model.Secret) (map[string]any, error) {
	var values map[string]any
	if err := yaml.Unmarshal(text.Reveal(), &values); err != nil {
		return nil, &model.Fault{Reason: "ValuesError", Message: "the values of the release are no mapping"}
	}
	return values, nil
}

// renderRevision renders the chart for an action. It goes around the memo: a
// release renders only when it changes.
func (r *run) renderRevision(ctx context.Context, a *acting, opts model.HelmOptions) (*content, error) {
	in := r.inputs[0]
	opts.Upgrade, opts.Revision, opts.ChartVersion = a.action.Kind != release.Install, a.action.Version, a.facts.Chart.Version
	opts.SkipSchema = r.actionSpec(a).SkipSchema
	in.Render.Helm = opts
	origin := r.spec.Origin
	origin.Repository, origin.Revision = in.URL, r.trees[0].Revision()
	w := &wanted{extras: map[object.ID][]extra{}}
	outside, closing, err := r.outside(&in)
	if err != nil {
		return nil, err
	}
	defer closing()
	manifest, err := r.wholeRender(ctx, &in, in.Render, w, origin, func(tree render.Tree) (*model.Manifest, error) {
		return outside.Build(ctx, render.Record(ctx, tree, render.Limits{}), in.Path, in.Render, origin, render.Limits{})
	})
	r.e.mu.Lock()
	r.e.ask(r.d, w.asks)
	r.d.extras = w.extras
	r.e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c := &content{notes: manifest.Notes}
	for i := range manifest.Objects {
		c.add(manifest.Objects[i])
	}
	return c, nil
}

// add puts an object where Helm has it. One that names a hook event which Helm
// does not know is left out.
func (c *content) add(rendered model.Rendered) {
	var o struct {
		Kind     string
		Metadata struct {
			Name        string
			Annotations map[string]string
		}
	}
	if rendered.CRD {
		c.crds = append(c.crds, rendered)
		return
	}
	if json.Unmarshal(rendered.JSON, &o) != nil {
		return
	}
	switch _, role := helm.ReadHook(o.Kind, o.Metadata.Name, o.Metadata.Annotations); role {
	case helm.Hooked:
		c.hooks = append(c.hooks, rendered)
	case helm.Plain:
		c.objects = append(c.objects, rendered)
	}
}

// recorded is the content of a record.
func recorded(record *release.Record, origin model.Origin) (*content, error) {
	objects, err := record.Objects()
	if err != nil {
		return nil, err
	}
	c := &content{}
	for _, one := range objects {
		at := origin
		at.File = one.Template
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(one.JSON); err != nil {
			return nil, fmt.Errorf("%s in release %s cannot be read", one.Template, record)
		}
		var members []unstructured.Unstructured
		if o.IsList() {
			list, err := o.ToList()
			if err != nil {
				return nil, fmt.Errorf("%s in release %s cannot be read", one.Template, record)
			}
			members = list.Items
		} else {
			members = []unstructured.Unstructured{*o}
		}
		for i := range members {
			body, err := object.Canonical(members[i].Object)
			if err != nil {
				return nil, fmt.Errorf("%s in release %s cannot be read", one.Template, record)
			}
			id := object.Of(&members[i])
			rendered := model.Rendered{ID: id, Version: members[i].GroupVersionKind().Version, JSON: body, Origin: at, Secret: id.Kind == "Secret" && id.Group == ""}
			if one.Hook != nil {
				c.hooks = append(c.hooks, rendered)
			} else {
				c.objects = append(c.objects, rendered)
			}
		}
	}
	return c, nil
}

// recordChart is the chart as records hold it, prepared once for all releases
// of it.
func (r *run) recordChart(a *acting) (*release.Chart, string, error) {
	tree := r.trees[0]
	dir, err := chartDir(tree)
	if err != nil {
		return nil, "", err
	}
	version := a.facts.Chart.Version
	chart, err := r.e.codec.Chart(tree.Digest()+" "+version, func() (*release.Chart, error) {
		files := map[string][]byte{}
		if err := filesBelow(tree, dir, "", files); err != nil {
			return nil, err
		}
		return release.LoadChart(files, version)
	})
	return chart, dir, err
}

// filesBelow reads every file below a directory, but for charts that others
// depend on, which records leave out.
func filesBelow(tree *source.Tree, dir, at string, into map[string][]byte) error {
	entries, err := tree.List(path.Join(dir, at))
	if err != nil {
		return err
	}
	for i := range entries {
		name := path.Join(at, entries[i].Name)
		switch entries[i].Kind {
		case model.DirEntry:
			if name == "charts" {
				continue
			}
			if err := filesBelow(tree, dir, name, into); err != nil {
				return err
			}
		case model.FileEntry, model.ExecutableEntry:
			if into[name], err = tree.Read(path.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// applyDefinitions installs the CRDs of a chart's directory crds before all
// else. They are nobody's afterwards: Helm neither updates nor deletes them
// unless it is told to.
func (r *run) applyDefinitions(ctx context.Context, a *acting, crds []model.Rendered) error {
	policy := r.spec.Release.UpgradeCRDs
	if a.action.Kind == release.Install {
		policy = r.spec.Release.InstallCRDs
	}
	if policy == "Skip" || a.action.Kind == release.Rollback {
		return nil
	}
	for i := range crds {
		crd := &crds[i]
		kind, err := r.cluster.Resolve(ctx, schema.GroupVersionKind{Group: crd.ID.Group, Version: crd.Version, Kind: crd.ID.Kind})
		if err != nil {
			return cluster.Explain(err, "discover", crd.ID, crd.Origin)
		}
		if policy == "Create" {
			_, err := r.session.Get(ctx, kind, "", crd.ID.Name)
			if err == nil {
				continue
			}
			if !apierrors.IsNotFound(err) {
				return cluster.Explain(err, "get", crd.ID, crd.Origin)
			}
		}
		if _, err := r.session.Apply(ctx, kind, crd.JSON, cluster.ApplyOptions{Manager: r.spec.Ownership.FieldManager, Force: true}); err != nil {
			return cluster.Explain(err, "apply", crd.ID, crd.Origin)
		}
		if err := r.established(ctx, crd); err != nil {
			return err
		}
	}
	return nil
}

// established waits until the kind that a CRD defines is served.
func (r *run) established(ctx context.Context, crd *model.Rendered) error {
	defined, ok := definition(&model.Desired{ID: crd.ID, JSON: crd.JSON})
	if !ok {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	served := make(chan struct{}, 1)
	stop := r.cluster.OnKind(defined, func() { served <- struct{}{} })
	defer stop()
	select {
	case <-served:
		return nil
	case <-within.Done():
		return &model.Fault{Reason: "InstallFailed", Object: crd.ID, Origin: crd.Origin, Message: crd.ID.String() + " is not established"}
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
	return r.unsettled(), nil
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
	a.noteHooks()
	touched := []int{a.record.Version}
	if why != nil {
		outcome.Failed = oneLine(why)
		if r.actionSpec(a).CleanupOnFail {
			r.cleanUp(ctx, a)
		}
		a.record.Fail(outcome.Failed)
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
	r.sweepAction(ctx, a, why != nil)
	return outcome, nil
}

// supersede notes which older revisions are not deployed any more.
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
	return a.action.Supersedes, nil
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
	for i := range r.d.desired {
		if want := &r.d.desired[i]; created[want.ID] {
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
			return true, release.Outcome{Failed: err.Error()}, nil
		}
		a.record = record
		a.op = &syncing{started: time.Now().Truncate(time.Second), trees: r.trees, results: map[resultKey]model.SyncResult{}, saved: true, checked: true}
		r.e.mu.Lock()
		r.d.sync = a.op
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
	waiting, err := r.takeAway(ctx, a, act)
	r.spec.Deleting = deleting
	done, err := r.reached(ctx, a, waiting, err)
	if !done {
		return false, release.Outcome{}, err
	}
	a.noteHooks()
	outcome := release.Outcome{}
	if err != nil {
		outcome.Failed = oneLine(err)
		if err := r.store(ctx, a.record); err != nil {
			return false, outcome, err
		}
		outcome.Wrote = r.storedOnes([]int{a.record.Version})
		return true, outcome, nil
	}
	r.sweepAction(ctx, a, false)
	if outcome.Wrote, err = r.endRecords(ctx, a, act); err != nil {
		return false, outcome, err
	}
	r.e.mu.Lock()
	r.d.release.wanted = ""
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
	defer r.e.mu.Unlock()
	r.d.sync = a.op
	if !a.action.Resume {
		r.e.spendHooks(r.spec.ID)
	}
	return nil
}

// ownRecorded makes the objects of a record the delivery's, where nobody else
// has them: a release that somebody else made goes whole.
func (r *run) ownRecorded() {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	for i := range r.d.desired {
		k := key{r.d.cluster, r.d.desired[i].ID}
		if r.e.book.entries[k] == nil {
			r.e.own(k, r.spec.ID, r.d.desired[i].Version)
		}
	}
}

// takeAway runs the hooks of an uninstall and deletes the objects between them.
func (r *run) takeAway(ctx context.Context, a *acting, act *model.ReleaseAction) (waiting string, err error) {
	if act.Hooks {
		if waiting, err = r.phaseHooks(ctx, a.op, model.PreDelete); err != nil || waiting != "" {
			return waiting, err
		}
	}
	r.endWants()
	if err := r.observe(ctx); err != nil {
		return "", err
	}
	r.e.mu.Lock()
	if r.d.version != r.version {
		r.e.mu.Unlock()
		return "", errSuperseded
	}
	r.plan = plan.Unmake(r.input())
	r.hold()
	r.e.block(r.d, r.plan)
	r.e.mu.Unlock()
	if err := r.apply(ctx); err != nil {
		return "", err
	}
	if left := r.left(); left > 0 {
		return fmt.Sprintf("%d objects are being deleted and not gone yet", left), nil
	}
	if act.Hooks {
		return r.phaseHooks(ctx, a.op, model.PostDelete)
	}
	return "", nil
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
	r.consent = plan.Consent{Apply: true, Correct: true, CorrectAlong: true}
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
	if err != nil {
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
