package argocd

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/policy"
)

// servesSets reports whether ApplicationSets may be in a namespace.
func (s *server) servesSets(ctx context.Context, namespace string) bool {
	return namespace == s.Namespace || config.Listed(s.settings(ctx).ApplicationSets.Namespaces, namespace)
}

// set is an ApplicationSet that the caller may see.
func (s *server) set(ctx context.Context, c *call) (*unstructured.Unstructured, error) {
	namespace := s.orOwn(text(c.value, "appsetNamespace"))
	if !s.servesSets(ctx, namespace) {
		return nil, notPermitted(namespace)
	}
	o, err := s.Objects.Get(ctx, KindApplicationSet, namespace, text(c.value, "name"))
	if err != nil {
		return nil, fmt.Errorf("error getting ApplicationSet: %w", err)
	}
	if err := s.must(ctx, c, policy.ApplicationSets, policy.Get, s.objectOf(o)); err != nil {
		return nil, err
	}
	return o, nil
}

func (s *server) getSet(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.set(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.told(o).Object, nil
}

func (s *server) listSets(ctx context.Context, c *call) (map[string]any, error) {
	selector, err := selectorOf(c)
	if err != nil {
		return nil, err
	}
	all, version, err := s.list(ctx, KindApplicationSet, text(c.value, "appsetNamespace"), selector)
	if err != nil {
		return nil, fmt.Errorf("error listing ApplicationSets with selectors: %w", err)
	}
	shows := s.showsSets(ctx, c)
	all = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool { return !shows(o) })
	sort.SliceStable(all, func(i, j int) bool { return all[i].GetName() < all[j].GetName() })
	return map[string]any{"metadata": map[string]any{"resourceVersion": version}, "items": s.toldAll(all)}, nil
}

func (s *server) showsSets(ctx context.Context, c *call) func(*unstructured.Unstructured) bool {
	projects := texts(c.value, "projects")
	serves := s.serving(ctx, func(settings config.Settings) []string { return settings.ApplicationSets.Namespaces })
	return func(o *unstructured.Unstructured) bool {
		return serves(o.GetNamespace()) && (len(projects) == 0 || slices.Contains(projects, projectOf(o))) &&
			s.can(ctx, c, policy.ApplicationSets, policy.Get, s.objectOf(o))
	}
}

func (s *server) watchSets(ctx context.Context, c *call, send func(map[string]any) error) error {
	return s.watchDeclared(ctx, c, send, KindApplicationSet, "applicationSet", s.showsSets(ctx, c))
}

// proposedSet is an ApplicationSet that a caller sends, if they may create it.
func (s *server) proposedSet(ctx context.Context, c *call, field string) (*unstructured.Unstructured, error) {
	sent := object(c.value, field)
	if sent == nil {
		return nil, failed(connect.CodeInvalidArgument, "error creating ApplicationSets: ApplicationSets is nil in request")
	}
	o := withoutServerFields(declaredFrom(KindApplicationSet, sent))
	o.SetNamespace(s.orOwn(o.GetNamespace()))
	project := projectOf(o)
	if !s.servesSets(ctx, o.GetNamespace()) {
		return nil, notPermitted(o.GetNamespace())
	}
	for _, into := range projectsInto(o) {
		if strings.Contains(into, "{{") {
			return nil, failed(connect.CodeInvalidArgument, "error validating ApplicationSets: the Argo CD API does not currently support creating ApplicationSets with templated `project` fields")
		}
		if err := s.must(ctx, c, policy.ApplicationSets, policy.Create, policy.ApplicationObject(s.Namespace, into, o.GetNamespace(), o.GetName())); err != nil {
			return nil, fmt.Errorf("error checking create permissions for ApplicationSets %s : %w", o.GetName(), err)
		}
	}
	if _, err := s.projectAlone(ctx, effectiveProject(o)); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, failed(connect.CodeInvalidArgument, "ApplicationSet references project %s which does not exist", project)
		}
		return nil, failed(connect.CodeInvalidArgument, "error checking create permissions for ApplicationSets %s : ApplicationSet references project %s which cannot be used: %s", o.GetName(), project, err.Error())
	}
	return o, s.unmask(ctx, c, KindApplicationSet, o)
}

// projectsInto are the projects that the Applications of a set can be in, the
// set's own first: templates of generators and a patch of the template go before
// it. "*" stands for whatever a patch makes of it. Upstream looks at the first
// alone, so that who may create sets in one project gets into all of them.
func projectsInto(o *unstructured.Unstructured) []string {
	out := []string{projectOf(o)}
	add := func(project string) {
		if !slices.Contains(out, project) {
			out = append(out, project)
		}
	}
	var visit func(value any)
	visit = func(value any) {
		switch v := value.(type) {
		case map[string]any:
			if project := text(v, "template", "spec", "project"); project != "" {
				add(project)
			}
			for name, child := range v {
				if name != "elements" && name != "values" { // parameters, of any shape
					visit(child)
				}
			}
		case []any:
			for _, child := range v {
				visit(child)
			}
		}
	}
	visit(at(o.Object, "spec", "generators"))
	if strings.Contains(text(o.Object, "spec", "templatePatch"), "project") {
		add("*")
	}
	return out
}

func (s *server) createSet(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.proposedSet(ctx, c, "applicationset")
	if err != nil {
		return nil, err
	}
	if flag(c.value, "dryRun") {
		return s.previewSet(ctx, o)
	}
	created, err := s.Objects.Create(ctx, KindApplicationSet, o)
	if err == nil {
		s.done(ctx, c, "create", KindApplicationSet, created, "created ApplicationSet")
		return s.told(created).Object, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("error creating ApplicationSet: %w", err)
	}
	existing, err := s.Objects.Get(ctx, KindApplicationSet, o.GetNamespace(), o.GetName())
	if err != nil {
		return nil, failed(connect.CodeInternal, "unable to check existing ApplicationSet details: %v", err)
	}
	if sameDeclaration("v1alpha1.ApplicationSetSpec", existing, o) {
		return s.told(existing).Object, nil
	}
	if !flag(c.value, "upsert") {
		return nil, failed(connect.CodeInvalidArgument, "existing ApplicationSet spec is different, use upsert flag to force update")
	}
	if err := s.must(ctx, c, policy.ApplicationSets, policy.Update, s.objectOf(o)); err != nil {
		return nil, err
	}
	if projectOf(existing) != projectOf(o) { // creating it in the new project was asked before
		if err := s.must(ctx, c, policy.ApplicationSets, policy.Update, s.objectOf(existing)); err != nil {
			return nil, err
		}
	}
	updated, err := s.replace(ctx, KindApplicationSet, existing, o, true)
	if err != nil {
		return nil, fmt.Errorf("error updating ApplicationSets: %w", err)
	}
	s.done(ctx, c, "update", KindApplicationSet, updated, "updated ApplicationSets spec")
	return s.told(updated).Object, nil
}

// previewSet is an ApplicationSet with what it would make among its resources.
func (s *server) previewSet(ctx context.Context, o *unstructured.Unstructured) (map[string]any, error) {
	apps, err := s.Deliveries.Generate(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("unable to generate Applications of ApplicationSet: %w", err)
	}
	var resources []any
	for _, app := range apps {
		resources = append(resources, map[string]any{
			"group": KindApplication.Group, "version": KindApplication.Version, "kind": KindApplication.Kind,
			"namespace": app.GetNamespace(), "name": app.GetName(),
		})
	}
	o.Object["status"] = map[string]any{"resources": resources}
	return s.told(o).Object, nil
}

func (s *server) generateSet(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.proposedSet(ctx, c, "applicationSet")
	if err != nil {
		return nil, err
	}
	apps, err := s.Deliveries.Generate(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("unable to generate Applications of ApplicationSet: %w", err)
	}
	return map[string]any{"applications": s.toldAll(apps)}, nil
}

func (s *server) deleteSet(ctx context.Context, c *call) (map[string]any, error) {
	namespace := s.orOwn(text(c.value, "appsetNamespace"))
	if !s.servesSets(ctx, namespace) {
		return nil, notPermitted(namespace)
	}
	o, err := s.Objects.Get(ctx, KindApplicationSet, namespace, text(c.value, "name"))
	if err != nil {
		return nil, fmt.Errorf("error getting ApplicationSets: %w", err)
	}
	if err := s.must(ctx, c, policy.ApplicationSets, policy.Delete, s.objectOf(o)); err != nil {
		return nil, err
	}
	if err := s.Objects.Delete(ctx, KindApplicationSet, namespace, o.GetName()); err != nil {
		return nil, fmt.Errorf("error deleting ApplicationSets: %w", err)
	}
	s.departed.note(KindApplicationSet, o, s.Now())
	s.done(ctx, c, "delete", KindApplicationSet, o, "deleted ApplicationSets")
	return nothing(), nil
}

// setTree is the set with its Applications below it, as its status lists them.
func (s *server) setTree(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.set(ctx, c)
	if err != nil {
		return nil, err
	}
	above := map[string]any{
		"group": KindApplicationSet.Group, "version": KindApplicationSet.Version, "kind": KindApplicationSet.Kind,
		"namespace": o.GetNamespace(), "name": o.GetName(), "uid": string(o.GetUID()),
	}
	nodes := []any{}
	for _, r := range objects(o.Object, "status", "resources") {
		node := map[string]any{"parentRefs": []any{above}, "namespace": o.GetNamespace()}
		for _, field := range []string{"group", "version", "kind", "name", "health"} {
			if value, ok := r[field]; ok {
				node[field] = value
			}
		}
		nodes = append(nodes, node)
	}
	return map[string]any{"nodes": nodes}, nil
}

func (s *server) setEvents(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.set(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.eventsOf(ctx, o)
}

// eventsOf are the events of a declared object.
func (s *server) eventsOf(ctx context.Context, o *unstructured.Unstructured) (map[string]any, error) {
	all, version, err := s.Objects.List(ctx, KindEvent, s.orOwn(o.GetNamespace()), nil)
	if err != nil {
		return nil, fmt.Errorf("error listing resource events: %w", err)
	}
	all = slices.DeleteFunc(all, func(e *unstructured.Unstructured) bool {
		return text(e.Object, "involvedObject", "name") != o.GetName() || text(e.Object, "involvedObject", "uid") != string(o.GetUID())
	})
	return map[string]any{"metadata": map[string]any{"resourceVersion": version}, "items": listed(all)}, nil
}
