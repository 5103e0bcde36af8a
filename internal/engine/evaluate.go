package engine

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
)

// evaluate learns what the delivery wants, unless that is known already.
func (r *run) evaluate(ctx context.Context) error {
	r.report.Phase = model.PhaseRender
	e, d := r.e, r.d
	e.mu.Lock()
	fresh := r.tree != nil && d.tree == r.tree && d.at == r.version && d.fault == nil && !d.unplaced
	digest := d.digest
	fault := r.sourceFault()
	early := r.tree == nil && r.early()
	e.mu.Unlock()
	if early {
		return errNotYet
	}
	if r.tree == nil {
		return r.settled(nil, fault)
	}
	r.report.Revision, r.report.Commit = r.tree.Revision(), r.tree.Commit()
	if fresh {
		r.report.Digest = digest
		return nil
	}
	wants, err := r.desired(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return r.settled(wants, err)
}

// wanted is the answer of an evaluation.
type wanted struct {
	objects  []model.Desired
	withheld []model.Finding
	unplaced bool // the scope of a kind is not known yet
}

// early reports whether there is no tree only because its source has not been
// looked at since the start: the end of the first look wakes every reader. The
// caller holds e.mu.
func (r *run) early() bool {
	e := r.e
	if s := e.book.sources[r.spec.Source]; s != nil {
		return !s.looked && !s.spec.Suspended
	}
	if e.opts.Declared.Unheard() == "" {
		return false
	}
	e.book.blocked[r.spec.ID] = map[object.ID]bool{}
	return true
}

// sourceFault says why there is no tree to read. The caller holds e.mu.
func (r *run) sourceFault() *model.Fault {
	origin := model.Origin{Declared: r.spec.ID, Field: "spec.sourceRef"}
	s := r.e.book.sources[r.spec.Source]
	switch {
	case s == nil && r.e.opts.Declared.Object(r.spec.Source) != nil:
		return &model.Fault{
			Reason: "ArtifactFailed", Origin: origin, Waiting: true,
			Message: fmt.Sprintf("Source artifact not found: %s '%s' is not ready", r.spec.Source.Kind, name(r.spec.Source)),
			Advice:  "its own status says why",
		}
	case s == nil:
		return &model.Fault{
			Reason: "ArtifactFailed", Origin: origin, Waiting: true,
			Message: fmt.Sprintf("%s '%s' not found", r.spec.Source.Kind, name(r.spec.Source)),
			Advice:  "create the source, or correct spec.sourceRef",
		}
	case s.fault != nil:
		return &model.Fault{
			Reason: "ArtifactFailed", Origin: origin, Waiting: true,
			Message: fmt.Sprintf("Source artifact not found: %s '%s' is not ready: %s", r.spec.Source.Kind, name(r.spec.Source), s.fault.Message),
		}
	}
	return &model.Fault{
		Reason: "ArtifactFailed", Origin: origin, Waiting: true,
		Message: "Source artifact not found, retrying when it is fetched",
	}
}

// desired renders the tree and marks the result as the delivery's own.
func (r *run) desired(ctx context.Context) (*wanted, error) {
	manifest, err := r.render(ctx)
	if err != nil {
		return nil, err
	}
	w := &wanted{objects: make([]model.Desired, 0, len(manifest.Objects))}
	var vars map[string]render.Variable
	if sub := r.spec.Render.Substitution; sub != nil {
		if vars, err = render.Variables(sub, r.facts); err != nil {
			return w, err
		}
	}
	if manifest, err = render.Finish(manifest, r.spec.Render, vars, r.spec.Ownership.Control); err != nil {
		return w, err
	}
	for i := range manifest.Objects {
		rendered := &manifest.Objects[i]
		if r.withhold(w, rendered) {
			continue
		}
		placed, err := r.place(ctx, rendered)
		if err != nil {
			return w, err
		}
		w.unplaced = w.unplaced || !placed
		want, err := r.e.mark(&r.spec, rendered)
		if err != nil {
			return w, err
		}
		w.objects = append(w.objects, want)
	}
	sort.Slice(w.objects, func(i, j int) bool { return w.objects[i].ID.Less(w.objects[j].ID) })
	return w, nil
}

// render goes through the memo: an answer that rests on the same reads is
// taken from there.
func (r *run) render(ctx context.Context) (*model.Manifest, error) {
	origin := r.spec.Origin
	origin.Revision = r.tree.Revision()
	opts, limits := r.spec.Render.Kustomize, render.Limits{}
	manifest, hit, err := r.e.memo.Render(ctx, render.KeyOf(r.spec.Path, opts, limits), origin, r.tree, func(tree *render.Recorder) (*model.Manifest, error) {
		return render.Kustomize(ctx, tree, r.spec.Path, opts, origin, limits)
	})
	r.e.opts.Meter.Rendered(hit)
	if manifest != nil {
		r.e.index.Set(r.spec.ID, r.spec.Source, manifest.Trace)
	}
	return manifest, err
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

// replaceable are the kinds that may be withheld: what starts a controller and
// what defines its kinds.
var replaceable = map[string]bool{
	"Deployment": true, "StatefulSet": true, "CustomResourceDefinition": true,
	"Service": true, "ServiceAccount": true, "NetworkPolicy": true, "ResourceQuota": true,
	"ClusterRole": true, "ClusterRoleBinding": true, "Role": true, "RoleBinding": true,
}

// place settles the namespace of an object by the scope of its kind on the
// target. A kind that is not served yet is left for the apply to wait for, and
// the next evaluation places its objects.
func (r *run) place(ctx context.Context, rendered *model.Rendered) (placed bool, err error) {
	gvk := schema.GroupVersionKind{Group: rendered.ID.Group, Version: rendered.Version, Kind: rendered.ID.Kind}
	kind, err := r.cluster.Resolve(ctx, gvk)
	var unknown *cluster.UnknownKindError
	switch {
	case errors.As(err, &unknown):
		return false, nil
	case err != nil:
		return false, cluster.Explain(err, "discover", rendered.ID, rendered.Origin)
	}
	r.e.mu.Lock()
	r.e.watchesOf(r.cluster).resolved[gvk.GroupKind()] = kind.GVR.GroupResource()
	r.e.mu.Unlock()
	switch {
	case kind.Namespaced && rendered.ID.Namespace == "":
		return false, &model.Fault{
			Reason: "ReconciliationFailed", Object: rendered.ID, Origin: rendered.Origin,
			Message: fmt.Sprintf("%s namespace not specified", rendered.ID),
			Advice:  "set metadata.namespace, or spec.targetNamespace of " + r.spec.ID.String(),
		}
	case !kind.Namespaced && rendered.ID.Namespace != "":
		return true, unplace(rendered)
	}
	return true, nil
}

// unplace takes away a namespace that a transformer set on an object whose
// kind has none.
func unplace(rendered *model.Rendered) error {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(rendered.JSON); err != nil {
		return asFault(err, "BuildFailed")
	}
	unstructured.RemoveNestedField(o.Object, "metadata", "namespace")
	body, err := object.Canonical(o.Object)
	if err != nil {
		return asFault(err, "BuildFailed")
	}
	moved := *rendered
	moved.ID.Namespace, moved.JSON = "", body
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
	if s := e.book.sources[r.spec.Source]; s != nil && r.tree != nil && s.tree != r.tree {
		return errSuperseded
	}
	news := (d.fault == nil) != (err == nil)
	d.tree, d.at, d.fault = r.tree, r.version, asFault(err, "BuildFailed")
	if err == nil {
		e.want(d, w.objects)
		d.withheld, d.unplaced = w.withheld, w.unplaced
		digest := e.digestOf(w.objects)
		news = news || digest != d.digest
		d.digest = digest
		r.report.Digest = d.digest
	}
	e.answered(d, news)
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

// wanted is the desired object of that identity, decoded; nil when there is
// none. The caller holds e.mu.
func (d *delivery) wanted(id object.ID) *unstructured.Unstructured {
	for i := range d.desired {
		if d.desired[i].ID == id {
			o := &unstructured.Unstructured{}
			if o.UnmarshalJSON(d.desired[i].JSON) != nil {
				return nil
			}
			return o
		}
	}
	return nil
}
