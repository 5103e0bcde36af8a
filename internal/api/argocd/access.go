package argocd

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/config"
	secrets "plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// errDenied is what a caller is told who must not learn whether something exists
// (argo-cd common.PermissionDeniedAPIError).
var errDenied = failed(connect.CodePermissionDenied, "permission denied")

// can asks the policy.
func (s *server) can(ctx context.Context, c *call, resource, action, object string) bool {
	return s.Guard.Can(ctx, c.who, policy.Request{Resource: resource, Action: action, Object: object})
}

// must asks the policy, and refuses in upstream's words (util/rbac EnforceErr).
func (s *server) must(ctx context.Context, c *call, resource, action, object string) error {
	return s.mustBe(ctx, c, policy.Request{Resource: resource, Action: action, Object: object})
}

func (s *server) mustBe(ctx context.Context, c *call, r policy.Request) error {
	if s.Guard.Can(ctx, c.who, r) {
		return nil
	}
	action := r.Action
	if r.Child != "" {
		action += "/" + r.Child
	}
	words := []string{r.Resource, action, secrets.WithoutCredentials(r.Object)}
	if c.who.Subject != "" {
		words = append(words, "sub: "+c.who.Subject)
	}
	if !c.who.Issued.IsZero() {
		words = append(words, "iat: "+c.who.Issued.UTC().Format(time.RFC3339))
	}
	return failed(connect.CodePermissionDenied, "permission denied: %s", strings.Join(words, ", "))
}

// objectOf is an Application or ApplicationSet in the words of a policy.
func (s *server) objectOf(o *unstructured.Unstructured) string {
	return policy.ApplicationObject(s.Namespace, projectOf(o), s.orOwn(o.GetNamespace()), o.GetName())
}

// projectOf is the project that an Application, or the Applications of an
// ApplicationSet, are in, as it is written.
func projectOf(o *unstructured.Unstructured) string {
	if o.GetKind() == "ApplicationSet" {
		return text(o.Object, "spec", "template", "spec", "project")
	}
	return text(o.Object, "spec", "project")
}

// effectiveProject is the project that counts.
func effectiveProject(o *unstructured.Unstructured) string {
	if p := projectOf(o); p != "" {
		return p
	}
	return "default"
}

func (s *server) orOwn(namespace string) string {
	if namespace == "" {
		return s.Namespace
	}
	return namespace
}

// servesApplications reports whether Applications may be in a namespace.
func (s *server) servesApplications(ctx context.Context, namespace string) bool {
	return namespace == s.Namespace || config.Listed(s.settings(ctx).ApplicationNamespaces, namespace)
}

// serving judges the namespaces of many objects, by globs of the settings. These
// are read where one of them counts, and again while a stream goes on.
func (s *server) serving(ctx context.Context, globs func(config.Settings) []string) func(namespace string) bool {
	var listed []string
	var read time.Time
	return func(namespace string) bool {
		if namespace == s.Namespace {
			return true
		}
		if now := time.Now(); now.Sub(read) >= rechecked {
			listed, read = globs(s.settings(ctx)), now
		}
		return config.Listed(listed, namespace)
	}
}

// notPermitted refuses a namespace (util/security NamespaceNotPermittedError).
func notPermitted(namespace string) error {
	return failed(connect.CodePermissionDenied, "namespace '%s' is not permitted", namespace)
}

// nameOf is what a caller is called in operations and events.
func nameOf(who signin.Principal) string {
	if who.Name == "" {
		return who.Subject
	}
	return who.Name
}

// done keeps account of a deed, and waits until lists know what was declared.
func (s *server) done(ctx context.Context, c *call, action string, kind Kind, o *unstructured.Unstructured, detail string) {
	if (action == "create" || action == "update") && kind != KindSecret { // those are always asked for
		s.seen(ctx, kind, o)
	}
	if s.Audit != nil {
		s.Audit(ctx, Deed{Who: c.who, Action: action, Kind: kind, Namespace: s.orOwn(o.GetNamespace()), Name: o.GetName(), Detail: detail})
	}
}
