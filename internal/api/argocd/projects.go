package argocd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/policy"
)

func (s *server) listProjects(ctx context.Context, c *call) (map[string]any, error) {
	all, version, err := s.list(ctx, KindProject, s.Namespace, nil)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(all, func(o *unstructured.Unstructured) bool { return o.GetName() == project.Default }) {
		all = append(all, s.impliedProject())
	}
	all = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool {
		return !s.can(ctx, c, policy.Projects, policy.Get, o.GetName())
	})
	return map[string]any{"metadata": map[string]any{"resourceVersion": version}, "items": s.toldAll(all)}, nil
}

// askedProject is the project that a request is about. Command lines look up that of an
// Application as it is written there, which may be nothing.
func askedProject(c *call) string {
	if name := text(c.value, "name"); name != "" {
		return name
	}
	return project.Default
}

// projectAs is a project that the caller may do something with.
func (s *server) projectAs(ctx context.Context, c *call, action, name string) (*unstructured.Unstructured, error) {
	if err := s.must(ctx, c, policy.Projects, action, name); err != nil {
		return nil, err
	}
	return s.declaredProject(ctx, name)
}

// declaredProject is a project as it is declared, or as it is implied.
func (s *server) declaredProject(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	o, err := s.Objects.Get(ctx, KindProject, s.Namespace, name)
	if apierrors.IsNotFound(err) && name == project.Default {
		return s.impliedProject(), nil
	}
	return o, err
}

// storeProject writes a project, which was implied where it has no version.
func (s *server) storeProject(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if o.GetResourceVersion() == "" {
		return s.Objects.Create(ctx, KindProject, o)
	}
	return s.Objects.Update(ctx, KindProject, o)
}

// impliedProject is the default project while nobody has declared it. Argo CD
// declares it when it starts.
func (s *server) impliedProject() *unstructured.Unstructured {
	return declaredFrom(KindProject, map[string]any{
		"metadata": map[string]any{"namespace": s.Namespace, "name": project.Default},
		"spec": map[string]any{
			"sourceRepos": []any{"*"}, "destinations": []any{map[string]any{"server": "*", "namespace": "*"}},
			"clusterResourceWhitelist": []any{map[string]any{"group": "*", "kind": "*"}},
		},
	})
}

func (s *server) getProject(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.projectAs(ctx, c, policy.Get, askedProject(c))
	if err != nil {
		return nil, err
	}
	mergeTokens(o)
	return s.told(o).Object, nil
}

// detailedProject is a project with what is registered for it, and the global
// projects whose rules it has.
func (s *server) detailedProject(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.projectAs(ctx, c, policy.Get, askedProject(c))
	if err != nil {
		return nil, err
	}
	mergeTokens(o)
	globals, err := s.globalsOf(ctx, o)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"project": s.told(o).Object, "globalProjects": globals}
	var repositories, clusters []any
	found, err := s.secrets(ctx, typeRepository)
	if err != nil {
		return nil, err
	}
	for _, secret := range found {
		if content(secret)["project"] == o.GetName() {
			repositories = append(repositories, repositoryOf(secret))
		}
	}
	if found, err = s.secrets(ctx, typeCluster); err != nil {
		return nil, err
	}
	for _, secret := range found {
		if content(secret)["project"] == o.GetName() {
			clusters = append(clusters, clusterOf(secret))
		}
	}
	out["repositories"], out["clusters"] = repositories, clusters
	return out, nil
}

func (s *server) globalsOf(ctx context.Context, o *unstructured.Unstructured) ([]any, error) {
	read, _, err := project.Read(o)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, name := range read.Globals(s.settings(ctx).GlobalProjects) {
		if g, err := s.Objects.Get(ctx, KindProject, s.Namespace, name); err == nil && name != o.GetName() {
			out = append(out, s.told(g).Object)
		}
	}
	return out, nil
}

func (s *server) globalProjects(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.projectAs(ctx, c, policy.Get, askedProject(c))
	if err != nil {
		return nil, err
	}
	globals, err := s.globalsOf(ctx, o)
	if err != nil {
		return nil, err
	}
	return map[string]any{"items": globals}, nil
}

// proposedProject is a project that a caller sends.
func (s *server) proposedProject(ctx context.Context, c *call, action string) (*unstructured.Unstructured, error) {
	sent := object(c.value, "project")
	if sent == nil {
		return nil, failed(connect.CodeInvalidArgument, "missing payload 'project' in request")
	}
	o := declaredFrom(KindProject, sent)
	o.SetNamespace(s.Namespace)
	if err := s.must(ctx, c, policy.Projects, action, o.GetName()); err != nil {
		return nil, err
	}
	if err := s.unmask(ctx, c, KindProject, o); err != nil {
		return nil, err
	}
	normalizePolicies(o)
	if err := validProject(o); err != nil {
		return nil, err
	}
	return o, nil
}

// normalizePolicies writes rules as the controller would (NormalizePolicies).
func normalizePolicies(o *unstructured.Unstructured) {
	for _, role := range objects(o.Object, "spec", "roles") {
		rules := items(role, "policies")
		for i, rule := range rules {
			line, ok := rule.(string)
			if !ok {
				continue
			}
			parts := strings.Split(line, ",")
			for j := range parts {
				parts[j] = strings.TrimSpace(parts[j])
			}
			rules[i] = strings.Join(parts, ", ")
		}
	}
}

// validProject refuses what upstream's API refuses.
func validProject(o *unstructured.Unstructured) error {
	_, findings, err := project.Read(o)
	if err != nil {
		return failed(connect.CodeInvalidArgument, "error validating project: %s", err.Error())
	}
	for _, f := range findings {
		if f.Severity == model.Refused {
			return failed(connect.CodeInvalidArgument, "error validating project: %s: %s", f.Origin.Field, f.Message)
		}
	}
	return nil
}

func (s *server) createProject(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.proposedProject(ctx, c, policy.Create)
	if err != nil {
		return nil, err
	}
	created, err := s.Objects.Create(ctx, KindProject, withoutServerFields(o))
	if err == nil {
		s.done(ctx, c, "create", KindProject, created, "created project")
		return s.told(created).Object, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	existing, err := s.Objects.Get(ctx, KindProject, s.Namespace, o.GetName())
	if err != nil {
		return nil, failed(connect.CodeInternal, "unable to check existing project details: %v", err)
	}
	if !flag(c.value, "upsert") {
		if different := differing("v1alpha1.AppProjectSpec", existing, o); len(different) > 0 {
			return nil, failed(connect.CodeInvalidArgument, "existing project spec is different; use upsert flag to force update; difference in keys %q", strings.Join(different, ","))
		}
		return s.told(existing).Object, nil
	}
	if err := s.must(ctx, c, policy.Projects, policy.Update, o.GetName()); err != nil {
		return nil, err
	}
	existing.Object["spec"] = o.Object["spec"]
	updated, err := s.Objects.Update(ctx, KindProject, existing)
	if err != nil {
		return nil, err
	}
	s.done(ctx, c, "update", KindProject, updated, "updated project")
	return s.told(updated).Object, nil
}

// differing are the fields of the specs of two objects that differ.
func differing(specType string, a, b *unstructured.Unstructured) []string {
	left, right := typed(specType, object(a.Object, "spec")), typed(specType, object(b.Object, "spec"))
	keys := map[string]bool{}
	for k := range left {
		keys[k] = true
	}
	for k := range right {
		keys[k] = true
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !equal(left[k], right[k]) {
			out = append(out, k)
		}
	}
	return out
}

func (s *server) updateProject(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.proposedProject(ctx, c, policy.Update)
	if err != nil {
		return nil, err
	}
	mergeTokens(o)
	before, err := s.declaredProject(ctx, o.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.mayWiden(ctx, c, before, o); err != nil {
		return nil, err
	}
	if err := s.strands(ctx, before, o); err != nil {
		return nil, err
	}
	next := before.DeepCopy()
	next.Object["spec"] = o.Object["spec"]
	if status := o.Object["status"]; status != nil {
		next.Object["status"] = status
	}
	next.SetLabels(o.GetLabels())
	next.SetAnnotations(o.GetAnnotations())
	next.SetFinalizers(o.GetFinalizers())
	if version := o.GetResourceVersion(); version != "" { // somebody else's change is not undone
		next.SetResourceVersion(version)
	}
	updated, err := s.storeProject(ctx, next)
	if err != nil {
		return nil, err
	}
	s.done(ctx, c, "update", KindProject, updated, "updated project")
	return s.told(updated).Object, nil
}

// mayWiden asks whether the caller may use the clusters and repositories that are
// new to a project, or whose kinds change.
func (s *server) mayWiden(ctx context.Context, c *call, before, after *unstructured.Unstructured) error {
	had, has := destinationClusters(before), destinationClusters(after)
	for _, cluster := range has {
		if !slices.Contains(had, cluster) {
			if err := s.must(ctx, c, policy.Clusters, policy.Update, cluster); err != nil {
				return err
			}
		}
	}
	old := texts(before.Object, "spec", "sourceRepos")
	for _, repo := range texts(after.Object, "spec", "sourceRepos") {
		if !slices.Contains(old, repo) {
			if err := s.must(ctx, c, policy.Repositories, policy.Update, repo); err != nil {
				return err
			}
		}
	}
	different := differing("v1alpha1.AppProjectSpec", before, after)
	for _, field := range []string{"clusterResourceWhitelist", "clusterResourceBlacklist", "namespaceResourceWhitelist", "namespaceResourceBlacklist"} {
		if !slices.Contains(different, field) {
			continue
		}
		for _, cluster := range has {
			if err := s.must(ctx, c, policy.Clusters, policy.Update, cluster); err != nil {
				return err
			}
		}
	}
	return nil
}

func destinationClusters(o *unstructured.Unstructured) []string {
	var out []string
	for _, d := range objects(o.Object, "spec", "destinations") {
		if server := text(d, "server"); !slices.Contains(out, server) {
			out = append(out, server)
		}
	}
	return out
}

// strands refuses a change of a project that would forbid what Applications do
// now.
func (s *server) strands(ctx context.Context, before, after *unstructured.Unstructured) error {
	was, _, err := project.Read(before)
	if err != nil {
		return nil //nolint:nilerr // a project that could not be read permitted nothing: nothing is taken away
	}
	will, _, err := project.Read(after)
	if err != nil {
		return failed(connect.CodeInvalidArgument, "error validating project: %s", err.Error())
	}
	apps, err := s.applicationsOf(ctx, after.GetName())
	if err != nil {
		return err
	}
	sources, destinations := 0, 0
	for _, app := range apps {
		for _, source := range sourcesOf(app) {
			if repo := text(source, "repoURL"); was.CheckSource(repo) == nil && will.CheckSource(repo) != nil {
				sources++
				break
			}
		}
		if to, err := s.destination(ctx, app); err == nil && was.CheckDestination(to) == nil && will.CheckDestination(to) != nil {
			destinations++
		}
	}
	var parts []string
	if sources > 0 {
		parts = append(parts, fmt.Sprintf("%d applications source became invalid", sources))
	}
	if destinations > 0 {
		parts = append(parts, fmt.Sprintf("%d applications destination became invalid", destinations))
	}
	if len(parts) > 0 {
		return failed(connect.CodeInvalidArgument, "as a result of project update %s", strings.Join(parts, " and "))
	}
	return nil
}

// applicationsOf are the Applications of a project, in every namespace.
func (s *server) applicationsOf(ctx context.Context, name string) ([]*unstructured.Unstructured, error) {
	all, _, err := s.list(ctx, KindApplication, "", nil)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(app *unstructured.Unstructured) bool { return effectiveProject(app) != name }), nil
}

func (s *server) deleteProject(ctx context.Context, c *call) (map[string]any, error) {
	name := text(c.value, "name")
	if name == "default" {
		return nil, failed(connect.CodeInvalidArgument, "name '%s' is reserved and cannot be deleted", name)
	}
	o, err := s.projectAs(ctx, c, policy.Delete, name)
	if err != nil {
		return nil, err
	}
	apps, err := s.applicationsOf(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(apps) > 0 {
		return nil, failed(connect.CodeInvalidArgument, "project is referenced by %d applications", len(apps))
	}
	if err := s.Objects.Delete(ctx, KindProject, s.Namespace, name); err != nil {
		return nil, err
	}
	s.done(ctx, c, "delete", KindProject, o, "deleted project")
	return nothing(), nil
}

func (s *server) projectEvents(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.projectAs(ctx, c, policy.Get, askedProject(c))
	if err != nil {
		return nil, err
	}
	return s.eventsOf(ctx, o)
}

// projectWindows are the sync windows of a project that are open now.
func (s *server) projectWindows(ctx context.Context, c *call) (map[string]any, error) {
	o, err := s.projectAs(ctx, c, policy.Get, askedProject(c))
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, w := range objects(o.Object, "spec", "syncWindows") {
		if s.openWindow(o, w) {
			out = append(out, w)
		}
	}
	return map[string]any{"windows": out}, nil
}

// openWindow reports whether one window of a project is open now: it is read as
// the only one, for whatever it is about.
func (s *server) openWindow(o *unstructured.Unstructured, w map[string]any) bool {
	alone := o.DeepCopy()
	one := maps.Clone(w)
	one["applications"], one["namespaces"], one["clusters"] = []any{"*"}, []any{"*"}, []any{"*"}
	if err := unstructured.SetNestedSlice(alone.Object, []any{one}, "spec", "syncWindows"); err != nil {
		return false
	}
	read, _, err := project.Read(alone)
	if err != nil {
		return false
	}
	windows := read.Windows("any", project.Place{Server: "any", Name: "any", Namespace: "any"})
	return len(windows) == 1 && s.active(windows[0])
}

func (s *server) projectLinks(ctx context.Context, c *call) (map[string]any, error) {
	if _, err := s.projectAs(ctx, c, policy.Get, askedProject(c)); err != nil {
		return nil, err
	}
	return map[string]any{"items": []any{}}, nil
}

func sortByText(in []any, fields ...string) {
	key := func(i int) string {
		m, _ := in[i].(map[string]any)
		parts := make([]string, len(fields))
		for j, f := range fields {
			parts[j] = text(m, f)
		}
		return strings.Join(parts, "/")
	}
	sort.SliceStable(in, func(i, j int) bool { return key(i) < key(j) })
}
