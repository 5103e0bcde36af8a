package argocd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kubejson "k8s.io/apimachinery/pkg/util/json"

	"plumb.dev/plumb/internal/policy"
)

func (s *server) resourceTree(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	return s.Deliveries.Tree(ctx, app)
}

func (s *server) watchResourceTree(ctx context.Context, c *call, send func(map[string]any) error) error {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return err
	}
	return s.Deliveries.WatchTree(ctx, app, send)
}

func (s *server) mayWatchTree(ctx context.Context, c *call) error {
	_, _, err := s.application(ctx, c, policy.Get, "")
	return err
}

// managedResources compares objects; scripts and the command line make their
// diffs of it.
func (s *server) managedResources(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	managed, err := s.Deliveries.Managed(ctx, app)
	if err != nil {
		return nil, fmt.Errorf("error getting cached app managed resources: %w", err)
	}
	out, sensitive := []any{}, s.sensitive(ctx)
	for _, m := range managed {
		if !m.Hook && matches(c, m.Ref) {
			item, err := difference(m, sensitive)
			if err != nil {
				return nil, err
			}
			out = append(out, item)
		}
	}
	return map[string]any{"items": out}, nil
}

// matches reports whether a query asks for an object; what it leaves open is
// any.
func matches(c *call, ref Ref) bool {
	for field, value := range map[string]string{"name": ref.Name, "namespace": ref.Namespace, "group": ref.Group, "kind": ref.Kind} {
		if wanted := text(c.value, field); wanted != "" && wanted != value {
			return false
		}
	}
	return true
}

// difference is an object as a ResourceDiff. States that are not there are the
// word null, as Go's JSON has them.
func difference(m Managed, sensitive []string) (map[string]any, error) {
	out := map[string]any{"group": m.Ref.Group, "kind": m.Ref.Kind, "namespace": m.Ref.Namespace, "name": m.Ref.Name, "hook": m.Hook, "modified": m.Modified}
	for field, o := range map[string]*unstructured.Unstructured{
		"targetState": m.Desired, "liveState": m.Live, "normalizedLiveState": m.Live, "predictedLiveState": m.Predicted,
	} {
		state, err := written(o, sensitive)
		if err != nil {
			return nil, err
		}
		out[field] = state
	}
	if m.Live != nil {
		out["resourceVersion"] = m.Live.GetResourceVersion()
	}
	return out, nil
}

// sensitive are the annotations of Secrets that the installation hides.
func (s *server) sensitive(ctx context.Context) []string { return s.settings(ctx).SensitiveAnnotations }

// written is an object as JSON, with whatever is secret masked once more: what
// comes in here was masked already, as far as the engine knows of it.
func written(o *unstructured.Unstructured, sensitive []string) (string, error) {
	if o == nil {
		return "null", nil
	}
	body, err := json.Marshal(masked(o, sensitive).Object)
	if err != nil {
		return "", fmt.Errorf("error marshaling object: %w", err)
	}
	return string(body), nil
}

func (s *server) manifests(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	if err := atRevisions(app, c); err != nil {
		return nil, err
	}
	rendered, err := s.Deliveries.Manifests(ctx, app)
	if err != nil {
		return nil, fmt.Errorf("error generating manifests: %w", err)
	}
	var out []any
	sensitive := s.sensitive(ctx)
	for _, o := range rendered {
		text, err := written(o, sensitive)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return map[string]any{"manifests": out}, nil
}

// atRevisions puts the revisions that a request asks for into an Application.
func atRevisions(app *unstructured.Unstructured, c *call) error {
	many := objects(app.Object, "spec", "sources")
	if len(many) > 0 {
		asked := texts(c.value, "revisions")
		for i, p := range items(c.value, "sourcePositions") {
			position, _ := p.(int64)
			if position <= 0 || int(position) > len(many) || i >= len(asked) {
				return failed(connect.CodeInvalidArgument, "source position is out of range")
			}
			many[position-1]["targetRevision"] = asked[i]
		}
		return nil
	}
	revision := text(c.value, "revision")
	if source := object(app.Object, "spec", "source"); source != nil && revision != "" {
		source["targetRevision"] = revision
	}
	return nil
}

// localManifests answers for manifests of a directory of the caller, which
// would have to be rendered here.
func (s *server) localManifests(ctx context.Context, c *call) (map[string]any, error) {
	query := object(c.value, "query")
	if query == nil {
		return nil, failed(connect.CodeInvalidArgument, "invalid request: the first message must be the query")
	}
	if _, _, err := s.applicationNamed(ctx, c, policy.Get, "", text(query, "project"), text(query, "appNamespace"), text(query, "name")); err != nil {
		return nil, err
	}
	return nil, failed(connect.CodeUnimplemented, "manifests of a local directory are not rendered by the server: leave out --server-side-generate, or render them with plumb build")
}

// serverSideDiff tells what the cluster would make of manifests of a caller.
func (s *server) serverSideDiff(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	wanted := map[Ref]*unstructured.Unstructured{}
	for _, manifest := range texts(c.value, "targetManifests") {
		if manifest == "" || manifest == "null" {
			continue
		}
		o := &unstructured.Unstructured{}
		if err := kubejson.Unmarshal([]byte(manifest), &o.Object); err != nil || o.GetKind() == "" {
			return nil, failed(connect.CodeInvalidArgument, "error unmarshaling target manifest")
		}
		ref := refOf(o)
		ref.Version = ""
		wanted[ref] = o
	}
	nodes, err := s.nodes(ctx, app)
	if err != nil {
		return nil, err
	}
	out, changed, sensitive := []any{}, false, s.sensitive(ctx)
	for _, live := range objects(c.value, "liveResources") {
		ref := Ref{Group: text(live, "group"), Kind: text(live, "kind"), Namespace: text(live, "namespace"), Name: text(live, "name")}
		m := Managed{Ref: ref, Desired: wanted[ref]}
		delete(wanted, ref)
		if err := s.predict(ctx, app, nodes, &m); err != nil {
			return nil, err
		}
		changed = changed || m.Modified
		item, err := difference(m, sensitive)
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	for ref, o := range wanted {
		m := Managed{Ref: ref, Desired: o}
		if err := s.predict(ctx, app, nodes, &m); err != nil {
			return nil, err
		}
		changed = changed || m.Modified
		item, err := difference(m, sensitive)
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	return map[string]any{"items": out, "modified": changed}, nil
}

// predict looks at what is there, and asks the cluster what it would be. What is
// none of the Application's is neither looked at nor asked about: a right to an
// Application is none to whatever its controller may read.
func (s *server) predict(ctx context.Context, app *unstructured.Unstructured, nodes []map[string]any, m *Managed) error {
	ref := m.Ref
	if m.Desired != nil {
		ref = refOf(m.Desired)
	}
	node := nodeOf(nodes, ref)
	if node == nil {
		m.Predicted, m.Modified = m.Desired, m.Desired != nil
		return nil
	}
	if ref.Version == "" {
		ref.Version = text(node, "version")
	}
	live, err := s.Deliveries.Live(ctx, app, ref)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("error getting resource: %w", err)
	}
	m.Live = live
	if m.Desired != nil {
		if m.Predicted, err = s.Deliveries.Predict(ctx, app, m.Desired); err != nil {
			return fmt.Errorf("error performing server-side diff: %w", err)
		}
	}
	m.Modified = !alike(m.Live, m.Predicted)
	return nil
}

// alike compares objects without what the server keeps for itself.
func alike(a, b *unstructured.Unstructured) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return sameObject(a, b)
}

func refOf(o *unstructured.Unstructured) Ref {
	gvk := o.GroupVersionKind()
	return Ref{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// asked is the object that a request is about.
func asked(c *call) Ref {
	return Ref{
		Group: text(c.value, "group"), Version: text(c.value, "version"), Kind: text(c.value, "kind"),
		Namespace: text(c.value, "namespace"), Name: text(c.value, "resourceName"),
	}
}

// owned is an object in the tree of an Application, which is all that may be
// asked for by way of it.
func (s *server) owned(ctx context.Context, c *call, action, child string) (*unstructured.Unstructured, Ref, error) {
	app, _, err := s.application(ctx, c, action, child)
	if err != nil {
		return nil, Ref{}, err
	}
	ref := asked(c)
	node, err := s.node(ctx, app, ref)
	if err != nil {
		return nil, ref, err
	}
	if node == nil {
		return nil, ref, failed(connect.CodeInvalidArgument, "%s %s %s not found as part of application %s", ref.Kind, ref.Group, ref.Name, app.GetName())
	}
	if ref.Version == "" {
		ref.Version = text(node, "version")
	}
	return app, ref, nil
}

// node is an object of the tree that is there; nil for one that is not.
func (s *server) node(ctx context.Context, app *unstructured.Unstructured, ref Ref) (map[string]any, error) {
	nodes, err := s.nodes(ctx, app)
	if err != nil {
		return nil, err
	}
	return nodeOf(nodes, ref), nil
}

// nodes are the objects of the tree.
func (s *server) nodes(ctx context.Context, app *unstructured.Unstructured) ([]map[string]any, error) {
	tree, err := s.Deliveries.Tree(ctx, app)
	if err != nil {
		return nil, fmt.Errorf("error getting app resources: %w", err)
	}
	return slices.Concat(objects(tree, "nodes"), objects(tree, "orphanedNodes")), nil
}

func nodeOf(nodes []map[string]any, ref Ref) map[string]any {
	i := slices.IndexFunc(nodes, func(n map[string]any) bool {
		return text(n, "uid") != "" && text(n, "group") == ref.Group && text(n, "kind") == ref.Kind && text(n, "namespace") == ref.Namespace && text(n, "name") == ref.Name
	})
	if i < 0 {
		return nil
	}
	return nodes[i]
}

func childOf(ref Ref) string { return policy.ChildObject(ref.Group, ref.Kind, ref.Namespace, ref.Name) }

func (s *server) getResource(ctx context.Context, c *call) (map[string]any, error) {
	app, ref, err := s.owned(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	live, err := s.Deliveries.Live(ctx, app, ref)
	if err != nil {
		return nil, fmt.Errorf("error getting resource: %w", err)
	}
	manifest, err := written(live, s.sensitive(ctx))
	if err != nil {
		return nil, err
	}
	return map[string]any{"manifest": manifest}, nil
}

func (s *server) patchResource(ctx context.Context, c *call) (map[string]any, error) {
	app, ref, err := s.owned(ctx, c, policy.Update, childOf(asked(c)))
	if err != nil {
		return nil, err
	}
	changed, err := s.Deliveries.Patch(ctx, app, ref, types.PatchType(text(c.value, "patchType")), []byte(text(c.value, "patch")))
	if err != nil {
		if ref.Kind == "Secret" && ref.Group == "" { // the reason may quote what is in it
			return nil, failed(codeOf(err), "failed to patch Secret %s/%s", ref.Namespace, ref.Name)
		}
		return nil, fmt.Errorf("error patching resource: %w", err)
	}
	manifest, err := written(changed, s.sensitive(ctx))
	if err != nil {
		return nil, err
	}
	s.done(ctx, c, "patch-resource", KindApplication, app, fmt.Sprintf("patched resource %s/%s '%s'", ref.Group, ref.Kind, ref.Name))
	return map[string]any{"manifest": manifest}, nil
}

func (s *server) deleteResource(ctx context.Context, c *call) (map[string]any, error) {
	app, ref, err := s.owned(ctx, c, policy.Delete, childOf(asked(c)))
	if err != nil {
		return nil, err
	}
	how := Deletion{Orphan: flag(c.value, "orphan"), Force: flag(c.value, "force")}
	if err := s.Deliveries.Delete(ctx, app, ref, how); err != nil {
		return nil, fmt.Errorf("error deleting resource: %w", err)
	}
	s.done(ctx, c, "delete-resource", KindApplication, app, fmt.Sprintf("deleted resource %s/%s '%s'", ref.Group, ref.Kind, ref.Name))
	return nothing(), nil
}

// subject is the object of an action: one in the tree, or the Application, of
// which the reference is zero.
func (s *server) subject(ctx context.Context, c *call, action, child string) (*unstructured.Unstructured, Ref, error) {
	ref := asked(c)
	itself := ref.Kind == KindApplication.Kind && ref.Group == KindApplication.Group && ref.Name == text(c.value, "name")
	if itself && (ref.Namespace == "" || ref.Namespace == s.orOwn(text(c.value, "appNamespace"))) {
		app, _, err := s.application(ctx, c, action, child)
		return app, Ref{}, err
	}
	return s.owned(ctx, c, action, child)
}

func (s *server) listActions(ctx context.Context, c *call) (map[string]any, error) {
	app, ref, err := s.subject(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	out := []any{}
	if ref == (Ref{}) { // there are none of an Application itself
		return map[string]any{"actions": out}, nil
	}
	actions, err := s.Deliveries.Actions(ctx, app, ref)
	if err != nil {
		return nil, fmt.Errorf("error getting available actions: %w", err)
	}
	for _, a := range actions {
		out = append(out, map[string]any{"name": a.Name, "disabled": a.Disabled, "displayName": a.DisplayName, "iconClass": a.Icon})
	}
	return map[string]any{"actions": out}, nil
}

func (s *server) runAction(ctx context.Context, c *call) (map[string]any, error) {
	name := text(c.value, "action")
	app, ref, err := s.subject(ctx, c, policy.Action, policy.ChildAction(text(c.value, "group"), text(c.value, "kind"), name))
	if err != nil {
		return nil, err
	}
	parameters := map[string]string{}
	for _, p := range objects(c.value, "resourceActionParameters") {
		parameters[text(p, "name")] = text(p, "value")
	}
	if ref == (Ref{}) {
		return nil, failed(connect.CodeInvalidArgument, "an Application itself has no action %s", name)
	}
	if err := s.Deliveries.Act(ctx, app, ref, name, parameters); err != nil {
		return nil, fmt.Errorf("error executing resource action: %w", err)
	}
	s.done(ctx, c, "action", KindApplication, app, fmt.Sprintf("ran action %s on resource %s/%s/%s", name, ref.Group, ref.Kind, ref.Name))
	return nothing(), nil
}

// resourceEvents are the events of an Application, or of an object of its tree.
func (s *server) resourceEvents(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	name, uid := text(c.value, "resourceName"), text(c.value, "resourceUID")
	if name == "" && uid == "" {
		return s.eventsOf(ctx, app)
	}
	tree, err := s.Deliveries.Tree(ctx, app)
	if err != nil {
		return nil, fmt.Errorf("error getting app resources: %w", err)
	}
	for _, n := range slices.Concat(objects(tree, "nodes"), objects(tree, "orphanedNodes")) {
		if text(n, "uid") == uid && text(n, "name") == name && text(n, "namespace") == text(c.value, "resourceNamespace") {
			ref := Ref{Group: text(n, "group"), Version: text(n, "version"), Kind: text(n, "kind"), Namespace: text(n, "namespace"), Name: name}
			events, err := s.Deliveries.Events(ctx, app, ref, uid)
			if err != nil {
				return nil, fmt.Errorf("error listing resource events: %w", err)
			}
			return map[string]any{"metadata": map[string]any{}, "items": listed(events)}, nil
		}
	}
	return nil, failed(connect.CodeInvalidArgument, "%s not found as part of application %s", name, app.GetName())
}

// applicationLinks answers without deep links: they are made by templates in
// argocd-cm that the console does not have.
func (s *server) applicationLinks(ctx context.Context, c *call) (map[string]any, error) {
	if _, _, err := s.applicationNamed(ctx, c, policy.Get, "", text(c.value, "project"), text(c.value, "namespace"), text(c.value, "name")); err != nil {
		return nil, err
	}
	return map[string]any{"items": []any{}}, nil
}

func (s *server) resourceLinks(ctx context.Context, c *call) (map[string]any, error) {
	if _, _, err := s.application(ctx, c, policy.Get, ""); err != nil {
		return nil, err
	}
	return map[string]any{"items": []any{}}, nil
}
