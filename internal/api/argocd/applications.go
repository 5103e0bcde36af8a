package argocd

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/policy"
)

// application is an Application that the caller may do something with, and its
// project. Whether it exists is told to those only who may see it: without a
// project in the request every refusal is the same (argo-cd server/application
// getAppEnforceRBAC).
func (s *server) application(ctx context.Context, c *call, action, child string) (*unstructured.Unstructured, *project.Project, error) {
	name := text(c.value, "name")
	for _, field := range []string{"applicationName", "appName"} {
		if name == "" {
			name = text(c.value, field)
		}
	}
	wanted := text(c.value, "project")
	if listed := texts(c.value, "projects"); wanted == "" && len(listed) == 1 {
		wanted = listed[0]
	}
	if listed := texts(c.value, "project"); len(listed) == 1 {
		wanted = listed[0]
	}
	return s.applicationNamed(ctx, c, action, child, wanted, text(c.value, "appNamespace"), name)
}

func (s *server) applicationNamed(ctx context.Context, c *call, action, child, wanted, namespace, name string) (*unstructured.Unstructured, *project.Project, error) {
	namespace = s.orOwn(namespace)
	absent := apierrors.NewNotFound(schema.GroupResource{Group: KindApplication.Group, Resource: "applications"}, name)
	ask := func(in string) bool {
		return s.Guard.Can(ctx, c.who, policy.Request{
			Resource: policy.Applications, Action: action, Child: child, Object: policy.ApplicationObject(s.Namespace, in, namespace, name),
		})
	}
	if name == "" {
		return nil, nil, failed(connect.CodeInvalidArgument, "invalid request: application name is missing")
	}
	app, err := s.read(ctx, namespace, name)
	if wanted != "" && !ask(wanted) {
		return nil, nil, errDenied
	}
	switch {
	case err != nil && wanted != "" && apierrors.IsNotFound(err):
		return nil, nil, absent
	case err != nil:
		s.Log.Info("an application cannot be read", "name", name, "namespace", namespace, "error", err.Error())
		return nil, nil, errDenied
	case !ask(projectOf(app)):
		if wanted != "" {
			return nil, nil, absent
		}
		return nil, nil, errDenied
	case wanted != "" && effectiveProject(app) != wanted:
		return nil, nil, absent
	}
	bounds, err := s.projectFor(ctx, app)
	return app, bounds, err
}

func (s *server) read(ctx context.Context, namespace, name string) (*unstructured.Unstructured, error) {
	if !s.servesApplications(ctx, namespace) {
		return nil, notPermitted(namespace)
	}
	return s.Objects.Get(ctx, KindApplication, namespace, name)
}

// projectFor is the project of an Application, with what is registered for it.
// Why it may not be used is not told, so that nobody finds out what projects
// there are.
func (s *server) projectFor(ctx context.Context, app *unstructured.Unstructured) (*project.Project, error) {
	vague := failed(connect.CodeInvalidArgument, "app is not allowed in project %q, or the project does not exist", projectOf(app))
	found, err := s.project(ctx, effectiveProject(app))
	if err != nil {
		s.Log.Info("a project cannot be used", "project", projectOf(app), "application", app.GetName(), "error", err.Error())
		return nil, vague
	}
	if fault := found.CheckNamespace(app.GetName(), s.orOwn(app.GetNamespace())); fault != nil {
		return nil, vague
	}
	return found, nil
}

// project reads a project with the rules of the global ones.
func (s *server) project(ctx context.Context, name string) (*project.Project, error) {
	own, err := s.projectAlone(ctx, name)
	if err != nil {
		return nil, err
	}
	var globals []*project.Project
	for _, global := range own.Globals(s.settings(ctx).GlobalProjects) {
		if g, err := s.projectAlone(ctx, global); err == nil && global != name {
			globals = append(globals, g)
		}
	}
	scoped, err := s.scopedTo(ctx, name)
	if err != nil {
		return nil, err
	}
	return own.With(scoped, globals...), nil
}

func (s *server) projectAlone(ctx context.Context, name string) (*project.Project, error) {
	o, err := s.Objects.Get(ctx, KindProject, s.Namespace, name)
	if apierrors.IsNotFound(err) {
		implied, fault := project.Absent(s.Namespace, name)
		if fault != nil {
			return nil, fault
		}
		return implied, nil
	}
	if err != nil {
		return nil, err
	}
	p, _, err := project.Read(o)
	return p, err
}

// selectorOf reads the selector of a request.
func selectorOf(c *call) (labels.Selector, error) {
	selector, err := labels.Parse(text(c.value, "selector"))
	if err != nil {
		return nil, failed(connect.CodeInvalidArgument, "error parsing the selector: %v", err)
	}
	return selector, nil
}

// projectsOf are the projects that a list is restricted to.
func projectsOf(c *call) []string {
	if old := texts(c.value, "project"); len(old) > 0 {
		return old
	}
	return texts(c.value, "projects")
}

func (s *server) listApplications(ctx context.Context, c *call) (map[string]any, error) {
	selector, err := selectorOf(c)
	if err != nil {
		return nil, err
	}
	all, version, err := s.list(ctx, KindApplication, text(c.value, "appNamespace"), selector)
	if err != nil {
		return nil, fmt.Errorf("error listing apps with selectors: %w", err)
	}
	shows := s.shows(ctx, c)
	name, repo := text(c.value, "name"), text(c.value, "repo")
	all = slices.DeleteFunc(all, func(app *unstructured.Unstructured) bool {
		return name != "" && app.GetName() != name || repo != "" && !reads(app, repo) || !shows(app)
	})
	sort.SliceStable(all, func(i, j int) bool { return all[i].GetName() < all[j].GetName() })
	return map[string]any{"metadata": map[string]any{"resourceVersion": version}, "items": s.toldAll(all)}, nil
}

// shows judges Applications for a caller, in a namespace and a project that the
// request is about.
func (s *server) shows(ctx context.Context, c *call) func(*unstructured.Unstructured) bool {
	projects := projectsOf(c)
	serves := s.serving(ctx, func(settings config.Settings) []string { return settings.ApplicationNamespaces })
	return func(app *unstructured.Unstructured) bool {
		return serves(app.GetNamespace()) && (len(projects) == 0 || slices.Contains(projects, effectiveProject(app))) &&
			s.can(ctx, c, policy.Applications, policy.Get, s.objectOf(app))
	}
}

// reads reports whether an Application reads a repository.
func reads(app *unstructured.Unstructured, repo string) bool {
	return slices.ContainsFunc(sourcesOf(app), func(source map[string]any) bool { return repository.Same(text(source, "repoURL"), repo) })
}

// sourcesOf are the sources of an Application.
func sourcesOf(app *unstructured.Unstructured) []map[string]any {
	if hydrator := object(app.Object, "spec", "sourceHydrator"); hydrator != nil {
		dry := object(hydrator, "drySource")
		return []map[string]any{{
			"repoURL": dry["repoURL"], "targetRevision": at(hydrator, "syncSource", "targetBranch"), "path": at(hydrator, "syncSource", "path"),
		}}
	}
	if many := objects(app.Object, "spec", "sources"); len(many) > 0 {
		return many
	}
	if one := object(app.Object, "spec", "source"); one != nil {
		return []map[string]any{one}
	}
	return nil
}

// sourcesIn are the sources of the spec of an Application, or of an entry of its
// history.
func sourcesIn(o map[string]any) []map[string]any {
	if many := objects(o, "sources"); len(many) > 0 {
		return many
	}
	if one := object(o, "source"); len(one) > 0 {
		return []map[string]any{one}
	}
	return nil
}

func (s *server) getApplication(ctx context.Context, c *call) (map[string]any, error) {
	if len(projectsOf(c)) > 1 {
		return nil, failed(connect.CodeInvalidArgument, "multiple projects specified - the get endpoint accepts either zero or one project")
	}
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	refresh, asked := c.value["refresh"].(string)
	if !asked {
		return s.told(app).Object, nil
	}
	if app, err = s.refresh(ctx, app, refresh == "hard"); err != nil {
		return nil, err
	}
	return s.told(app).Object, nil
}

// watchApplications sends what there is, unless the caller knows it already, and
// what changes.
func (s *server) watchApplications(ctx context.Context, c *call, send func(map[string]any) error) error {
	return s.watchDeclared(ctx, c, send, KindApplication, "application", s.shows(ctx, c))
}

func (s *server) watchDeclared(ctx context.Context, c *call, send func(map[string]any) error, kind Kind, field string, shows func(*unstructured.Unstructured) bool) error {
	selector, err := selectorOf(c)
	if err != nil {
		return err
	}
	name, namespace := text(c.value, "name"), text(c.value, "appNamespace")
	if own := text(c.value, "appSetNamespace"); own != "" {
		namespace = own
	}
	if name != "" {
		namespace = s.orOwn(namespace)
	}
	since, _ := strconv.ParseUint(text(c.value, "resourceVersion"), 10, 64) // upstream takes what is no number for nothing
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun := since == 0 || name != ""
	synced := false
	var order []*unstructured.Unstructured
	asked := func(o *unstructured.Unstructured) bool {
		return (name == "" || o.GetName() == name) && (namespace == "" || o.GetNamespace() == namespace)
	}
	emit := func(typ watch.EventType, o *unstructured.Unstructured) {
		if version := versionOf(o); typ != watch.Deleted && version != 0 && version < since || !selector.Matches(labels.Set(o.GetLabels())) || !shows(o) {
			return
		}
		if err := send(map[string]any{"type": string(typ), field: s.told(o).Object}); err != nil {
			cancel(err)
		}
	}
	// Everywhere, so that all callers share one watch.
	err = s.Objects.Watch(ctx, kind, "", func(typ watch.EventType, o *unstructured.Unstructured) {
		if !asked(o) {
			return
		}
		if !synced {
			if begun && typ == watch.Added {
				order = append(order, o)
			}
			return
		}
		emit(typ, o)
	}, func() {
		if synced {
			return
		}
		synced = true
		if name != "" && since == 0 && len(order) == 0 && s.absent(ctx, kind, namespace, name) {
			s.tellGone(ctx, c, kind, namespace, name, func() error {
				return send(map[string]any{"type": string(watch.Deleted), field: map[string]any{"metadata": map[string]any{"name": name, "namespace": namespace}}})
			})
		}
		sort.Slice(order, func(i, j int) bool { return qualified(order[i]) < qualified(order[j]) })
		for _, o := range order {
			emit(watch.Added, o)
		}
		order = nil
	})
	if ctx.Err() != nil {
		return nil // the caller has gone, or does not take what is sent
	}
	return err
}

// absent reports that there is no such object: a watch may not have told yet of one
// that was created just now.
func (s *server) absent(ctx context.Context, kind Kind, namespace, name string) bool {
	_, err := s.Objects.Get(ctx, kind, namespace, name)
	return apierrors.IsNotFound(err)
}

// tellGone tells of an object that is not there any more, once somebody watches
// for its end: deletions take milliseconds, and a command line that first asks
// whether it is still there would wait for ever. It is told to those alone who
// could see it, or may see whatever is in the namespace.
func (s *server) tellGone(ctx context.Context, c *call, kind Kind, namespace, name string, tell func() error) {
	resource := policy.Applications
	if kind == KindApplicationSet {
		resource = policy.ApplicationSets
	}
	project := s.departed.project(kind, namespace, name, s.Now())
	if project == "" {
		project = "*"
	}
	if s.can(ctx, c, resource, policy.Get, policy.ApplicationObject(s.Namespace, project, namespace, name)) {
		if err := tell(); err != nil {
			s.Log.Debug("a watcher has gone", "name", name, "error", err.Error())
		}
	}
}

func qualified(o *unstructured.Unstructured) string { return o.GetNamespace() + "/" + o.GetName() }

// Finalizers of an Application (argo-cd pkg/apis/application/v1alpha1).
const (
	finalizerResources  = "resources-finalizer.argocd.argoproj.io"
	finalizerForeground = "resources-finalizer.argocd.argoproj.io/foreground"
	finalizerBackground = "resources-finalizer.argocd.argoproj.io/background"
)

// finalizerOf is the finalizer that a propagation policy stands for; "" for one
// that does not exist.
func finalizerOf(propagation string) string {
	switch strings.ToLower(propagation) {
	case "":
		return finalizerResources
	case "foreground":
		return finalizerForeground
	case "background":
		return finalizerBackground
	}
	return ""
}

func (s *server) deleteApplication(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil && app == nil {
		return nil, err
	}
	if err := s.must(ctx, c, policy.Applications, policy.Delete, s.objectOf(app)); err != nil {
		return nil, err
	}
	cascade, propagation := flagOr(true, c.value, "cascade"), text(c.value, "propagationPolicy")
	if !cascade && propagation != "" {
		return nil, failed(connect.CodeInvalidArgument, "cannot set propagation policy when cascading is disabled")
	}
	finalizers, changed := app.GetFinalizers(), false
	if cascade {
		wanted := finalizerOf(propagation)
		if wanted == "" {
			return nil, failed(connect.CodeInvalidArgument, "invalid propagation policy: %s", propagation)
		}
		if !slices.Contains(finalizers, wanted) && app.GetDeletionTimestamp() == nil {
			finalizers, changed = append(withoutCascade(finalizers), wanted), true
		}
	} else if kept := withoutCascade(finalizers); len(kept) < len(finalizers) {
		finalizers, changed = kept, true
	}
	if changed {
		patch := mergePatch(map[string]any{"metadata": map[string]any{"finalizers": finalizers}})
		if _, err := s.Objects.Patch(ctx, KindApplication, app.GetNamespace(), app.GetName(), mergeType, patch); err != nil {
			return nil, fmt.Errorf("error patching application with finalizers: %w", err)
		}
	}
	if err := s.Objects.Delete(ctx, KindApplication, app.GetNamespace(), app.GetName()); err != nil {
		return nil, fmt.Errorf("error deleting application: %w", err)
	}
	s.departed.note(KindApplication, app, s.Now())
	s.done(ctx, c, "delete", KindApplication, app, "deleted application")
	return nothing(), nil
}

func withoutCascade(finalizers []string) []string {
	return slices.DeleteFunc(slices.Clone(finalizers), func(f string) bool {
		return f == finalizerResources || f == finalizerForeground || f == finalizerBackground
	})
}
