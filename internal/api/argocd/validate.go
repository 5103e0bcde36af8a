package argocd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/model"
	secrets "plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// validate judges an Application before it is written, and fills in what people
// may leave out (argo-cd server/application validateAndNormalizeApp). sources
// says whether what it reads is looked at as well.
func (s *server) validate(ctx context.Context, c *call, app *unstructured.Unstructured, bounds *project.Project, sources bool) error {
	if app.GetName() == "" {
		return failed(connect.CodeInvalidArgument, "resource name may not be empty")
	}
	if name, twice := namedTwice(objects(app.Object, "spec", "sources")); twice {
		return failed(connect.CodeInvalidArgument, "application %s has duplicate source name: %s", app.GetName(), name)
	}
	bounds, err := s.moved(ctx, c, app, bounds)
	if err != nil {
		return err
	}
	to, err := s.destination(ctx, app)
	if err != nil {
		return failed(connect.CodeInvalidArgument, "application destination spec for %s is invalid: %s", app.GetName(), err.Error())
	}
	if problems := permitted(app, bounds, to); len(problems) > 0 {
		return failed(connect.CodeInvalidArgument, "application spec for %s is invalid: %s", app.GetName(), conditions(problems))
	}
	if problem := managedBy(app); problem != "" {
		return failed(connect.CodeInvalidArgument, "application spec for %s is invalid: %s", app.GetName(), conditions([]string{problem}))
	}
	normalize(app)
	if !sources {
		return nil
	}
	if err := s.Deliveries.Validate(ctx, app); err != nil {
		var fault *model.Fault
		if errors.As(err, &fault) && !fault.Retry {
			return failed(connect.CodeInvalidArgument, "application spec for %s is invalid: %s", app.GetName(), conditions([]string{err.Error()}))
		}
		return fmt.Errorf("error validating the repo: %w", err)
	}
	return nil
}

// conditions are problems as upstream prints them.
func conditions(problems []string) string {
	out := make([]string, len(problems))
	for i, p := range problems {
		out[i] = "InvalidSpecError: " + p
	}
	return strings.Join(out, ";")
}

func namedTwice(sources []map[string]any) (string, bool) {
	seen := map[string]bool{}
	for _, source := range sources {
		name := text(source, "name")
		if name != "" && seen[name] {
			return name, true
		}
		seen[name] = true
	}
	return "", false
}

// moved is the project that an Application is to be judged by. Moving it to
// another one needs the right to create it there, and to change it here.
func (s *server) moved(ctx context.Context, c *call, app *unstructured.Unstructured, bounds *project.Project) (*project.Project, error) {
	now, err := s.Objects.Get(ctx, KindApplication, s.orOwn(app.GetNamespace()), app.GetName())
	if apierrors.IsNotFound(err) {
		return bounds, nil
	}
	if err != nil {
		return nil, fmt.Errorf("error getting application by name: %w", err)
	}
	if effectiveProject(now) == effectiveProject(app) {
		return bounds, nil
	}
	if err := s.must(ctx, c, policy.Applications, policy.Create, s.objectOf(app)); err != nil {
		return nil, err
	}
	if err := s.must(ctx, c, policy.Applications, policy.Update, s.objectOf(now)); err != nil {
		return nil, err
	}
	return s.projectFor(ctx, app)
}

// permitted is what a project has against an Application (util/argo
// ValidatePermissions).
func permitted(app *unstructured.Unstructured, bounds *project.Project, to project.Place) []string {
	many := len(objects(app.Object, "spec", "sources")) > 0
	sources := sourcesOf(app)
	if len(sources) == 0 {
		return []string{"spec.source.repoURL and either spec.source.path or spec.source.chart are required"}
	}
	var problems []string
	for _, source := range sources {
		if problem := incomplete(source, many, object(app.Object, "spec", "sourceHydrator") != nil); problem != "" {
			return []string{problem}
		}
		if bounds.CheckSource(text(source, "repoURL")) != nil {
			problems = append(problems, fmt.Sprintf("application repo %s is not permitted in project '%s'", secrets.WithoutCredentials(text(source, "repoURL")), bounds.Name))
		}
	}
	if bounds.CheckDestination(to) != nil {
		server := to.Server
		if text(app.Object, "spec", "destination", "name") != "" {
			server = to.Name
		}
		problems = append(problems, fmt.Sprintf("application destination server '%s' and namespace '%s' do not match any of the allowed destinations in project '%s'", server, to.Namespace, bounds.Name))
	}
	return problems
}

// incomplete says what a source lacks (validateSourcePermissions); "" for
// nothing.
func incomplete(source map[string]any, many, hydrated bool) string {
	repo, path, chart, ref := text(source, "repoURL"), text(source, "path"), text(source, "chart"), text(source, "ref")
	switch {
	case many && repo == "":
		return fmt.Sprintf("spec.source.repoURL is required for %v", source)
	case repo == "" || path == "" && chart == "" && ref == "" && !hydrated && !strings.HasPrefix(repo, "oci://"):
		if !many {
			return "spec.source.repoURL and either spec.source.path or spec.source.chart are required"
		}
	}
	if chart != "" && text(source, "targetRevision") == "" {
		return "spec.source.targetRevision is required if the manifest source is a helm chart"
	}
	return ""
}

// annotationManagedBy names another server that shows the Application
// (AnnotationKeyManagedByURL).
const annotationManagedBy = "argocd.argoproj.io/managed-by-url"

func managedBy(app *unstructured.Unstructured) string {
	address, there := app.GetAnnotations()[annotationManagedBy]
	if !there || address == "" {
		return ""
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "invalid managed-by URL: URL must be an http or https address with a host"
	}
	return ""
}

// normalize fills in what people may leave out, and takes off what is empty
// (util/argo NormalizeApplicationSpec).
func normalize(app *unstructured.Unstructured) {
	spec := object(app.Object, "spec")
	if spec == nil {
		return
	}
	if text(spec, "project") == "" {
		spec["project"] = "default"
	}
	if len(object(spec, "syncPolicy")) == 0 {
		delete(spec, "syncPolicy")
	}
	for _, source := range sourcesIn(spec) {
		for _, tool := range []string{"kustomize", "helm", "directory"} {
			if hollow(object(source, tool)) {
				delete(source, tool)
			}
		}
	}
}

// hollow reports whether there is nothing in a value but zeros.
func hollow(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		for _, inner := range v {
			if !hollow(inner) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	case string:
		return v == ""
	case bool:
		return !v
	case int64:
		return v == 0
	}
	return value == nil
}
