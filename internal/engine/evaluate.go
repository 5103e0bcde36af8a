package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/source"
)

// evaluate learns what the delivery wants, unless that is known already.
func (r *run) evaluate(ctx context.Context) error {
	r.report.Phase = model.PhaseRender
	e, d := r.e, r.d
	if err := r.lookAtTarget(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	fresh := r.fresh()
	if fresh {
		r.report.Digest = d.digest
		d.describe(r.report)
	}
	fault := r.sourceFault()
	early := r.trees == nil && r.early()
	e.mu.Unlock()
	switch {
	case fresh:
		return nil
	case early:
		return errNotYet
	case r.trees == nil && fault == nil:
		return errSuperseded // the last of them came while this run began
	case r.trees == nil:
		return r.settled(nil, fault)
	}
	if len(r.trees) > 0 {
		r.report.Revision, r.report.OriginRevision, r.report.Commit = r.trees[0].Revision(), r.trees[0].OriginRevision(), r.trees[0].Commit()
	}
	wants, err := r.desired(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, errNotYet) {
		return err
	}
	return r.settled(wants, err)
}

// fresh reports whether the last evaluation still answers. The caller holds
// e.mu.
func (r *run) fresh() bool {
	d := r.d
	same := r.trees != nil && slices.Equal(d.trees, r.trees) && d.at == r.version && d.own == r.own()
	return same && d.fault == nil && !d.unplaced && !d.outdated() && !r.e.book.stale[r.spec.ID] && d.capable == r.capable && !r.e.deaf(d)
}

// lookAtTarget finds out what the target serves now, if the last render asked.
func (r *run) lookAtTarget(ctx context.Context) error {
	r.e.mu.Lock()
	asked := r.d.capable != ""
	r.e.mu.Unlock()
	if !asked {
		return nil
	}
	_, err := r.capabilities(ctx)
	return err
}

// wanted is the answer of an evaluation.
type wanted struct {
	objects  []model.Desired
	hooks    []model.Desired
	withheld []model.Finding
	unplaced bool // the scope of a kind is not known yet
	inputs   []model.InputReport
	readings []render.Reading
	asks     []model.Source // that a render or an expansion asked to read
	extras   map[object.ID][]extra
	capable  string // state of the target that a render looked at
}

// early reports whether there is no tree only because a source has not been
// looked at since the start: the end of the first look wakes every reader. The
// caller holds e.mu.
func (r *run) early() bool {
	e := r.e
	for i := range r.inputs {
		s := e.sourceOf(&r.inputs[i])
		switch {
		case s == nil && e.opts.Declared.Unheard() != "":
			e.book.blocked[r.spec.ID] = map[object.ID]bool{}
			return true
		case s != nil && s.tree == nil && !s.looked && !s.spec.Suspended:
			return true
		}
	}
	return false
}

// sourceFault says why there is no tree to read; nil when there is one for
// every input. The caller holds e.mu.
func (r *run) sourceFault() *model.Fault {
	for i := range r.inputs {
		id := r.inputs[i].Source
		s := r.e.sourceOf(&r.inputs[i])
		if s != nil {
			id = s.spec.ID
		}
		if s != nil && s.tree != nil && !s.mute() {
			continue
		}
		origin := model.Origin{Declared: r.spec.ID, Field: "spec.sourceRef"}
		switch {
		case s != nil && s.spec.External != nil && s.fault != nil:
			return &model.Fault{
				Reason: "ArtifactFailed", Origin: origin, Waiting: s.fault.Waiting, Retry: s.fault.Retry,
				Message: fmt.Sprintf("%s '%s': %s", id.Kind, name(id), s.fault.Message), Advice: s.fault.Advice, Err: s.fault.Err,
			}
		case s != nil && s.spec.Implied && s.fault != nil && r.spec.Release != nil:
			return &model.Fault{
				Reason: "ArtifactFailed", Origin: model.Origin{Dialect: r.spec.Origin.Dialect, Declared: r.spec.ID, Field: "spec.chart"}, Waiting: true,
				Message: s.fault.Message, Advice: s.fault.Advice, Err: s.fault.Err,
			}
		case s != nil && s.spec.Implied && s.fault != nil:
			f := *s.fault
			f.Reason, f.Origin = "ComparisonError", model.Origin{Dialect: r.spec.Origin.Dialect, Declared: r.spec.ID, Field: s.spec.Origin.Field}
			return &f
		case s == nil && r.e.opts.Declared.Object(id) != nil:
			return &model.Fault{
				Reason: "ArtifactFailed", Origin: origin, Waiting: true,
				Message: fmt.Sprintf("Source artifact not found: %s '%s' is not ready", id.Kind, name(id)),
				Advice:  "its own status says why",
			}
		case s == nil:
			return &model.Fault{
				Reason: "ArtifactFailed", Origin: origin, Waiting: true,
				Message: fmt.Sprintf("%s '%s' not found", id.Kind, name(id)),
				Advice:  "create the source, or correct spec.sourceRef",
			}
		case s.fault != nil:
			return &model.Fault{
				Reason: "ArtifactFailed", Origin: origin, Waiting: true,
				Message: fmt.Sprintf("Source artifact not found: %s '%s' is not ready: %s", id.Kind, name(id), s.fault.Message),
			}
		}
		return &model.Fault{
			Reason: "ArtifactFailed", Origin: origin, Waiting: true,
			Message: "Source artifact not found, retrying when it is fetched",
		}
	}
	return nil
}

// desired renders every input and marks the result as the delivery's own. The
// objects of a later input go before those of an earlier one.
func (r *run) desired(ctx context.Context) (*wanted, error) {
	w := &wanted{extras: map[object.ID][]extra{}}
	at := map[object.ID]int{}
	var all []model.Rendered
	take := func(objects []model.Rendered) {
		for i := range objects {
			id := objects[i].ID
			if was, ok := at[id]; ok && id.Name != "" {
				w.withheld = append(w.withheld, repeated(all[was].Origin, &objects[i]))
				all[was] = objects[i]
				continue
			}
			at[id] = len(all)
			all = append(all, objects[i])
		}
	}
	for i := range r.inputs {
		manifest, err := r.rendered(ctx, i, w)
		if err != nil {
			return w, err
		}
		take(manifest.Objects)
	}
	if r.expands() {
		objects, err := r.expand(ctx, w)
		if err != nil {
			return w, err
		}
		take(objects)
	}
	for i := range all {
		if err := r.keepOne(ctx, w, &all[i]); err != nil {
			return w, err
		}
	}
	sort.Slice(w.objects, func(i, j int) bool { return w.objects[i].ID.Less(w.objects[j].ID) })
	sort.SliceStable(w.hooks, func(i, j int) bool { return w.hooks[i].ID.Less(w.hooks[j].ID) })
	return w, nil
}

// repeated tells of an object that several inputs, or files, ask for.
func repeated(first model.Origin, again *model.Rendered) model.Finding {
	return model.Finding{
		Severity: model.Warning, Reason: "RepeatedResource", Origin: again.Origin,
		Message: fmt.Sprintf("Resource %s appeared more than once among application resources; the one in %s wins over the one in %s", again.ID, again.Origin, first),
	}
}

// rendered renders one input, finished but not yet marked.
func (r *run) rendered(ctx context.Context, i int, w *wanted) (*model.Manifest, error) {
	in := &r.inputs[i]
	if in.Render.Kind == model.RenderExpand {
		w.inputs = append(w.inputs, model.InputReport{Revision: r.trees[i].Revision(), Commit: r.trees[i].Commit()})
		return &model.Manifest{}, nil
	}
	manifest, err := r.render(ctx, i, w)
	if err != nil {
		return nil, err
	}
	w.inputs = append(w.inputs, model.InputReport{Revision: r.trees[i].Revision(), Commit: r.trees[i].Commit(), Kind: string(manifest.Kind)})
	var vars map[string]render.Variable
	if sub := in.Render.Substitution; sub != nil {
		if vars, err = render.Variables(sub, r.facts); err != nil {
			return nil, err
		}
	}
	return render.Finish(manifest, in.Render, vars, r.spec.Ownership.Control)
}

// keepOne decides what becomes of one rendered object: it is wanted, runs as a
// hook, or is left out.
func (r *run) keepOne(ctx context.Context, w *wanted, rendered *model.Rendered) error {
	if r.withhold(w, rendered) {
		return nil
	}
	placed, namespaced, err := r.place(ctx, rendered)
	if err != nil {
		return err
	}
	w.unplaced = w.unplaced || !placed
	if gate.Excluded(&r.spec.Policy.Kinds, rendered.ID) {
		w.withheld = append(w.withheld, model.Finding{
			Severity: model.Warning, Reason: "ExcludedResource", Origin: rendered.Origin,
			Message: fmt.Sprintf("Resource %s is excluded in the settings: it is neither applied nor compared", rendered.ID),
		})
		return nil
	}
	if placed {
		if f := gate.Permits(&r.spec.Permit, rendered.ID, namespaced); f != nil {
			f.Object, f.Origin = rendered.ID, rendered.Origin
			return f
		}
	}
	want, err := r.e.mark(&r.spec, rendered)
	switch {
	case err != nil:
		return err
	case want.Stage.Skip:
	case want.Stage.Hook():
		w.hooks = append(w.hooks, want)
	case want.ID.Name == "":
		return &model.Fault{
			Reason: "ComparisonError", Origin: rendered.Origin, Object: want.ID,
			Message: fmt.Sprintf("%s has no metadata.name: generateName is for hooks only", want.ID), Advice: "give it a name, or make it a hook",
		}
	default:
		w.objects = append(w.objects, want)
	}
	return nil
}

// render goes through the memo: an answer that rests on the same reads is
// taken from there.
func (r *run) render(ctx context.Context, i int, w *wanted) (*model.Manifest, error) {
	in, tree := r.inputs[i], r.trees[i]
	origin := r.spec.Origin
	origin.Repository, origin.Revision = in.URL, tree.Revision()
	if in.Field != "" {
		origin.Field = in.Field
	}
	opts, limits := r.environment(&in, tree), render.Limits{}
	outside, closing, err := r.outside(&in)
	if err != nil {
		return nil, err
	}
	defer closing()
	return r.wholeRender(ctx, &in, opts, w, origin, func(tree render.Tree) (*model.Manifest, error) {
		manifest, hit, err := r.e.memo.Render(ctx, render.KeyOf(in.Path, opts, limits), origin, tree, func(reads *render.Recorder) (*model.Manifest, error) {
			opts, err := r.override(opts, in.Path, reads)
			if err != nil {
				return nil, err
			}
			return outside.Build(ctx, reads, in.Path, opts, origin, limits)
		})
		r.e.opts.Meter.Rendered(hit)
		return manifest, err
	})
}

// wholeRender renders, and fetches what the render misses until it misses
// nothing.
func (r *run) wholeRender(ctx context.Context, in *model.Input, opts model.Render, w *wanted, origin model.Origin, build func(render.Tree) (*model.Manifest, error)) (*model.Manifest, error) {
	desk, err := r.desk(ctx, in, opts)
	if err != nil {
		return nil, err
	}
	for range maxWanted {
		manifest, err := build(desk.tree)
		var missing *render.MissingError
		if errors.As(err, &missing) {
			if err := r.fetch(desk, in, w, missing); err != nil {
				return nil, err
			}
			continue
		}
		if manifest != nil {
			r.looked(w, in, desk, manifest.Trace)
		}
		return manifest, err
	}
	return nil, &model.Fault{
		Reason: "BuildFailed", Origin: origin,
		Message: fmt.Sprintf("the render asks for more in more than %d rounds", maxWanted), Advice: "vendor the dependencies of the chart",
	}
}

// looked notes what a render rests on.
func (r *run) looked(w *wanted, in *model.Input, desk *desk, trace model.Trace) {
	w.readings = append(w.readings, render.Split(trace, in.Source, desk.mounts)...)
	if looksAtAPIs(trace) {
		w.capable = r.capable
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	for _, known := range r.d.extras[in.Source] {
		if s := r.e.book.sources[known.source]; s != nil && !slices.ContainsFunc(w.extras[in.Source], func(x extra) bool { return x.at == known.at }) && used(trace, known.at) {
			w.extras[in.Source] = append(w.extras[in.Source], known)
			w.asks = append(w.asks, s.spec)
		}
	}
}

// used reports whether a render looked at a mount.
func used(trace model.Trace, at string) bool {
	return slices.ContainsFunc(trace, func(read model.Read) bool { return read.Path == at || strings.HasPrefix(read.Path, at+"/") })
}

// environment adds what is known of the revision to what a render may refer to
// (Argo CD, "Build Environment").
func (r *run) environment(in *model.Input, tree *source.Tree) model.Render {
	opts := in.Render
	if len(opts.Environment) == 0 {
		return opts
	}
	const short, shorter = 7, 8
	env := make(map[string]string, len(opts.Environment)+3)
	for k, v := range opts.Environment {
		env[k] = v
	}
	if opts.NamesRevision() || overridesNameRevision(in, tree) {
		hash := tree.Commit().Hash
		if hash == "" { // the version of a chart, the digest of an artifact
			hash = tree.Revision()[strings.LastIndexByte(tree.Revision(), '@')+1:]
		}
		env[model.RevisionVariable] = hash
		env[model.RevisionVariable+"_SHORT"] = hash[:min(short, len(hash))]
		env[model.RevisionVariable+"_SHORT_8"] = hash[:min(shorter, len(hash))]
	}
	opts.Environment = env
	return opts
}

// overridesNameRevision looks into the files that change how the directory is
// rendered; the render reads them again, and records it.
func overridesNameRevision(in *model.Input, tree *source.Tree) bool {
	for _, file := range in.Render.Overrides {
		content, err := tree.Read(path.Join(in.Path, file))
		if err == nil && strings.Contains(string(content), model.RevisionVariable) {
			return true
		}
	}
	return false
}

// override lets files of the directory change how it is rendered.
func (r *run) override(opts model.Render, dir string, reads *render.Recorder) (model.Render, error) {
	for _, file := range opts.Overrides {
		p := path.Join(dir, file)
		entry, ok, err := reads.Lookup(p)
		if err != nil {
			return opts, err
		}
		if !ok || entry.Kind == model.DirEntry {
			continue
		}
		content, err := reads.Read(p)
		if err != nil {
			return opts, err
		}
		if opts, err = r.e.opts.Words.Override(r.spec.Origin.Dialect, opts, file, content); err != nil {
			return opts, err
		}
	}
	return opts, nil
}

// withhold keeps back what would start the controller that Plumb replaces.
func (r *run) withhold(w *wanted, rendered *model.Rendered) bool {
	if !replaceable[rendered.ID.Kind] {
		return false
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(rendered.JSON); err != nil || !r.e.opts.Withhold(o) {
		return false
	}
	w.withheld = append(w.withheld, model.Finding{
		Severity: model.Info,
		Reason:   "Withheld",
		Message:  fmt.Sprintf("%s belongs to the installation of a controller that Plumb replaces; it is neither applied nor pruned", rendered.ID),
		Origin:   rendered.Origin,
	})
	return true
}

// replaceable are the kinds that may be withheld: what starts a controller, or
// has one started, and what defines its kinds.
var replaceable = map[string]bool{
	"Deployment": true, "StatefulSet": true, "CustomResourceDefinition": true,
	"Service": true, "ServiceAccount": true, "NetworkPolicy": true, "ResourceQuota": true,
	"ClusterRole": true, "ClusterRoleBinding": true, "Role": true, "RoleBinding": true,
	"FluxInstance": true,
}

// place settles the namespace of an object by the scope of its kind on the
// target. A kind that is not served yet is left for the apply to wait for, and
// the next evaluation places its objects.
func (r *run) place(ctx context.Context, rendered *model.Rendered) (placed, namespaced bool, err error) {
	gvk := schema.GroupVersionKind{Group: rendered.ID.Group, Version: rendered.Version, Kind: rendered.ID.Kind}
	kind, err := r.cluster.Resolve(ctx, gvk)
	var unknown *cluster.UnknownKindError
	switch {
	case errors.As(err, &unknown):
		return false, false, nil
	case err != nil:
		return false, false, cluster.Explain(err, "discover", rendered.ID, rendered.Origin)
	}
	r.e.mu.Lock()
	r.e.watchesOf(r.cluster).resolved[gvk.GroupKind()] = kind.GVR.GroupResource()
	r.e.mu.Unlock()
	switch {
	case kind.Namespaced && rendered.ID.Namespace == "" && r.spec.Target.Namespace != "":
		return true, true, replace(rendered, r.spec.Target.Namespace)
	case kind.Namespaced && rendered.ID.Namespace == "":
		return false, true, &model.Fault{
			Reason: "ReconciliationFailed", Object: rendered.ID, Origin: rendered.Origin,
			Message: fmt.Sprintf("%s namespace not specified", rendered.ID),
			Advice:  "set metadata.namespace, or the target namespace of " + r.spec.ID.String(),
		}
	case !kind.Namespaced && rendered.ID.Namespace != "":
		return true, false, replace(rendered, "")
	}
	return true, kind.Namespaced, nil
}

// replace puts an object into another namespace, or takes away one that a
// transformer set on an object whose kind has none.
func replace(rendered *model.Rendered, namespace string) error {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(rendered.JSON); err != nil {
		return asFault(err, "BuildFailed")
	}
	if namespace == "" {
		unstructured.RemoveNestedField(o.Object, "metadata", "namespace")
	} else {
		o.SetNamespace(namespace)
	}
	body, err := object.Canonical(o.Object)
	if err != nil {
		return asFault(err, "BuildFailed")
	}
	moved := *rendered
	moved.ID.Namespace, moved.JSON = namespace, body
	*rendered = moved
	return nil
}

// settled keeps the answer of an evaluation. When it failed, the last good
// answer goes on claiming what it claimed.
func (r *run) settled(w *wanted, err error) error {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.version != r.version {
		return errSuperseded
	}
	if r.trees != nil && !r.pinned() && r.moved() {
		return errSuperseded
	}
	news := (d.fault == nil) != (err == nil)
	d.trees, d.at, d.own, d.fault = r.trees, r.version, r.own(), asFault(err, "BuildFailed")
	if w != nil && len(w.readings) > 0 {
		e.index.Set(d.spec.ID, w.readings...)
	}
	if w != nil {
		e.ask(d, w.asks)
		d.extras, d.capable = w.extras, w.capable
	}
	if err == nil {
		e.want(d, w.objects)
		d.hooks, d.withheld, d.unplaced, d.inputs = w.hooks, w.withheld, w.unplaced, w.inputs
		d.images = imagesOf(w.objects)
		e.autoscaled(d)
		digest := e.digestOf(w.objects) + e.digestOf(w.hooks)
		news = news || digest != d.digest
		d.digest = digest
		r.report.Digest = d.digest
		d.describe(r.report)
	}
	e.answered(d, news)
	r.rely()
	return err
}

// answered notes that a delivery has said what it wants, or has failed to, and
// wakes those who wait for that if it is news. The caller holds e.mu.
func (e *Engine) answered(d *delivery, news bool) {
	if news || e.book.stale[d.spec.ID] {
		delete(e.book.stale, d.spec.ID)
		e.evaluated()
	}
}

// digestOf names a desired set.
func (e *Engine) digestOf(objects []model.Desired) string {
	var all strings.Builder
	for i := range objects {
		all.WriteString(objects[i].Digest)
		all.WriteByte('\n')
	}
	return object.Digest([]byte(all.String()))
}

// desiredOf is the desired object of that identity; nil when there is none. The
// caller holds e.mu.
func (d *delivery) desiredOf(id object.ID) *model.Desired {
	i, found := sort.Find(len(d.desired), func(i int) int {
		switch have := d.desired[i].ID; {
		case id == have:
			return 0
		case id.Less(have):
			return -1
		}
		return 1
	})
	if !found {
		return nil
	}
	return &d.desired[i]
}

// wanted is the desired object of that identity, decoded; nil when there is
// none. The caller holds e.mu.
func (d *delivery) wanted(id object.ID) *unstructured.Unstructured {
	want := d.desiredOf(id)
	if want == nil {
		return nil
	}
	o := &unstructured.Unstructured{}
	if o.UnmarshalJSON(want.JSON) != nil {
		return nil
	}
	return o
}
