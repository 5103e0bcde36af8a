// Package world answers, for the API of Argo CD, what becomes of Applications: it
// asks the engine, and acts on their objects as they do.
package world

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"plumb.dev/plumb/internal/api/argocd"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Options are what a world is made of.
type Options struct {
	// Engine and Local return nil while this process does not lead.
	Engine func() *engine.Engine
	Local  func() *cluster.Cluster

	Dialect  dialect.Dialect // Argo CD's
	Settings dialect.Settings

	// Render makes the objects of an Application that is not declared as it
	// stands; nil: that cannot be asked for.
	Render func(ctx context.Context, app *unstructured.Unstructured) ([]*unstructured.Unstructured, error)
	// Answer finds the answer to a question of a generator; nil: sets that need
	// one cannot be previewed.
	Answer func(ctx context.Context, q model.Question) (model.Answer, error)
	// Reach tries to read a Git repository; nil: whether it can be read is not
	// known.
	Reach func(ctx context.Context, source model.Source) error
	// Version asks a remote cluster for its version; nil: it is not known.
	Version func(ctx context.Context, server string) (string, error)
}

// New makes a world.
func New(opts Options) argocd.Deliveries {
	return &world{Options: opts, outside: make(chan struct{}, outsiders)}
}

// outsiders bounds how many callers have something asked outside at a time.
const outsiders = 4

type world struct {
	Options
	outside chan struct{} // turns of those who have something asked outside
	watched watched
}

// enter waits for a turn to ask outside, until leave.
func (w *world) enter(ctx context.Context) (leave func(), err error) {
	select {
	case w.outside <- struct{}{}:
		return func() { <-w.outside }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ErrNotLeading is for a process that is starting, or that another one replaces.
var ErrNotLeading error = &model.Fault{Reason: "NotLeading", Message: "this replica does not lead, or is just starting", Advice: "try again in a moment", Retry: true}

func idOf(o *unstructured.Unstructured) object.ID {
	return object.ID{Group: "argoproj.io", Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
}

// known is what the engine knows of an Application.
func (w *world) known(app *unstructured.Unstructured) (*engine.Engine, engine.Known, error) {
	e := w.Engine()
	if e == nil {
		return nil, engine.Known{}, ErrNotLeading
	}
	k, ok := e.Known(idOf(app))
	if !ok {
		return e, k, unknownOf(app)
	}
	return e, k, nil
}

// unknownOf says why there is nothing to tell of an Application: its conditions
// do.
func unknownOf(app *unstructured.Unstructured) error {
	conditions, _, _ := unstructured.NestedSlice(app.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok {
			if kind, _ := m["type"].(string); kind == "InvalidSpecError" || kind == "ComparisonError" {
				return &model.Fault{Reason: kind, Message: fmt.Sprintf("%s: %s", kind, m["message"])}
			}
		}
	}
	return &model.Fault{Reason: "NotReady", Message: fmt.Sprintf("application %s has not been looked at yet", app.GetName()), Advice: "try again in a moment", Retry: true}
}

// Managed compares what is wanted and what is there.
func (w *world) Managed(ctx context.Context, app *unstructured.Unstructured) ([]argocd.Managed, error) {
	e, known, err := w.known(app)
	if err != nil {
		return nil, err
	}
	compared, err := e.Compare(ctx, idOf(app), nil)
	if err != nil {
		return nil, err
	}
	hooks := map[object.ID]bool{}
	for i := range known.Objects {
		hooks[known.Objects[i].ID] = !known.Objects[i].Owned && known.Objects[i].Stage.Hook()
	}
	return managed(compared, hooks)
}

// managed are objects as they were compared. One that belongs to another delivery,
// or cannot be compared, is shown as it is wanted, and differs; the error is for an
// Application of which nothing can be compared.
func managed(compared []engine.Comparison, hooks map[object.ID]bool) ([]argocd.Managed, error) {
	var out []argocd.Managed
	var fault error
	failures := 0
	for i := range compared {
		c := &compared[i]
		m := argocd.Managed{
			Ref:     argocd.Ref{Group: c.Object.Group, Version: c.Version, Kind: c.Object.Kind, Namespace: c.Object.Namespace, Name: c.Object.Name},
			Desired: c.Desired, Live: c.Live, Predicted: c.Predicted, Modified: c.Verb != "" && !c.Ignored, Hook: hooks[c.Object] && c.Live == nil,
		}
		switch {
		case c.Fault != nil:
			if c.Fault.Reason != "Conflict" {
				failures, fault = failures+1, c.Fault
			}
			m.Predicted, m.Modified = c.Desired, true
		case m.Predicted == nil && c.Verb == "", c.Ignored: // what a rule leaves to others is no difference here either
			m.Predicted = c.Live
		}
		out = append(out, m)
	}
	if fault != nil && failures == len(compared) {
		return nil, fault
	}
	return out, nil
}

// Manifests renders an Application. As it is declared, that has been done.
func (w *world) Manifests(ctx context.Context, app *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	e, known, err := w.known(app)
	if err != nil {
		return nil, err
	}
	local := w.Local()
	if local == nil {
		return nil, ErrNotLeading
	}
	kind, err := local.Resolve(ctx, gvk(idOf(app), "v1alpha1"))
	if err != nil {
		return nil, err
	}
	declared, err := local.As(model.Identity{}).Get(ctx, kind, app.GetNamespace(), app.GetName())
	if err != nil {
		return nil, err
	}
	if !sameJSON(declared.Object["spec"], asDeclared(app, declared, known.Inputs)) {
		if w.Render == nil {
			return nil, &model.Fault{Reason: "NotDeclared", Message: "another revision than the declared one is not rendered by the server", Advice: "render it with plumb build"}
		}
		return w.Render(ctx, app)
	}
	if known.Fault != nil {
		return nil, known.Fault
	}
	var out []*unstructured.Unstructured
	for i := range known.Objects {
		if !known.Objects[i].Wanted {
			continue
		}
		if o := e.Desired(idOf(app), known.Objects[i].ID); o != nil {
			out = append(out, o)
		}
	}
	return out, nil
}

// asDeclared is the spec of an Application, in which a source that is asked for at
// the commit that it stands at is the declared one.
func asDeclared(app, declared *unstructured.Unstructured, inputs []model.InputReport) any {
	spec, _, _ := unstructured.NestedMap(app.Object, "spec")
	was, _, _ := unstructured.NestedMap(declared.Object, "spec")
	asked, known := sourcesOf(spec), sourcesOf(was)
	for i := range min(len(asked), len(known), len(inputs)) {
		revision, _ := asked[i]["targetRevision"].(string)
		if at := inputs[i].Commit.Hash; len(revision) < shortestCommit || !strings.HasPrefix(at, revision) {
			continue
		}
		if target, there := known[i]["targetRevision"]; there {
			asked[i]["targetRevision"] = target
		} else {
			delete(asked[i], "targetRevision")
		}
	}
	return spec
}

// shortestCommit is how much of a commit has to be named (util/git
// IsTruncatedCommitSHA).
const shortestCommit = 7

// sourcesOf are the sources of a spec.
func sourcesOf(spec map[string]any) []map[string]any {
	var out []map[string]any
	many, _ := spec["sources"].([]any)
	for _, one := range many {
		m, _ := one.(map[string]any)
		out = append(out, m)
	}
	if one, ok := spec["source"].(map[string]any); ok && len(many) == 0 {
		out = append(out, one)
	}
	return out
}

func sameJSON(a, b any) bool {
	left, err := json.Marshal(a)
	if err != nil {
		return false
	}
	right, err := json.Marshal(b)
	return err == nil && slices.Equal(left, right)
}

func gvk(id object.ID, version string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: id.Group, Version: version, Kind: id.Kind}
}

// session is what acts as an Application, and how a kind is served there.
func (w *world) session(ctx context.Context, app *unstructured.Unstructured, ref argocd.Ref) (*engine.Engine, *cluster.Session, cluster.Kind, error) {
	e := w.Engine()
	if e == nil {
		return nil, nil, cluster.Kind{}, ErrNotLeading
	}
	session, err := e.Session(idOf(app))
	if err != nil {
		if engine.IsNoDelivery(err) {
			err = unknownOf(app)
		}
		return nil, nil, cluster.Kind{}, err
	}
	kind, err := session.Cluster().Resolve(ctx, schema.GroupVersionKind{Group: ref.Group, Version: ref.Version, Kind: ref.Kind})
	return e, session, kind, err
}

// Predict is what the cluster would make of an object: a dry run of an apply.
func (w *world) Predict(ctx context.Context, app, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	of := desired.GroupVersionKind()
	e, session, kind, err := w.session(ctx, app, argocd.Ref{Group: of.Group, Version: of.Version, Kind: of.Kind})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(desired.Object)
	if err != nil {
		return nil, err
	}
	predicted, err := session.Apply(ctx, kind, body, cluster.ApplyOptions{Manager: "argocd-controller", Force: true, DryRun: true})
	if err != nil {
		return nil, err
	}
	return e.Mask(idOf(app), predicted), nil
}

// raw reads an object as it is.
func (w *world) raw(ctx context.Context, app *unstructured.Unstructured, ref argocd.Ref) (*unstructured.Unstructured, error) {
	_, session, kind, err := w.session(ctx, app, ref)
	if err != nil {
		return nil, err
	}
	return session.Get(ctx, kind, ref.Namespace, ref.Name)
}

// Live reads an object, masked.
func (w *world) Live(ctx context.Context, app *unstructured.Unstructured, ref argocd.Ref) (*unstructured.Unstructured, error) {
	live, err := w.raw(ctx, app, ref)
	if err != nil {
		return nil, err
	}
	return w.Engine().Mask(idOf(app), live), nil
}

// Patch changes an object.
func (w *world) Patch(ctx context.Context, app *unstructured.Unstructured, ref argocd.Ref, patch types.PatchType, body []byte) (*unstructured.Unstructured, error) {
	e, session, kind, err := w.session(ctx, app, ref)
	if err != nil {
		return nil, err
	}
	changed, err := session.Patch(ctx, kind, ref.Namespace, ref.Name, cluster.PatchOptions{Type: patch, Manager: "argocd-server"}, body)
	if err != nil {
		return nil, err
	}
	return e.Mask(idOf(app), changed), nil
}

// Delete removes an object.
func (w *world) Delete(ctx context.Context, app *unstructured.Unstructured, ref argocd.Ref, how argocd.Deletion) error {
	_, session, kind, err := w.session(ctx, app, ref)
	if err != nil {
		return err
	}
	opts := cluster.DeleteOptions{Propagation: "Foreground"}
	switch {
	case how.Orphan:
		opts.Propagation = "Orphan"
	case how.Force:
		opts.Propagation = "Background"
	}
	return session.Delete(ctx, kind, ref.Namespace, ref.Name, opts)
}

// Events are those about an object.
func (w *world) Events(ctx context.Context, app *unstructured.Unstructured, ref argocd.Ref, uid string) ([]*unstructured.Unstructured, error) {
	_, session, kind, err := w.session(ctx, app, argocd.Ref{Version: "v1", Kind: "Event"})
	if err != nil {
		return nil, err
	}
	namespace := ref.Namespace
	if namespace == "" {
		namespace = "default"
	}
	var out []*unstructured.Unstructured
	_, err = session.List(ctx, kind, cluster.ListOptions{Namespace: namespace, FieldSelector: "involvedObject.uid=" + uid}, func(o *unstructured.Unstructured) error {
		out = append(out, o)
		return nil
	})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	return out, err
}

// Cluster is the version of a cluster.
func (w *world) Cluster(ctx context.Context, server string) (string, error) {
	local := w.Local()
	switch {
	case local == nil:
		return "", ErrNotLeading
	case server == "https://kubernetes.default.svc" || server == local.Host():
		return local.Version(ctx)
	case w.Version == nil:
		return "", argocd.ErrNotLooked
	}
	return w.Version(ctx, server)
}
