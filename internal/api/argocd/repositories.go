package argocd

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/policy"
)

// repositoryKind says which repositories a call is about: those that are read, or
// those that a hydrator writes to.
type repositoryKind struct{ secret, prefix, resource, what string }

var (
	reading = repositoryKind{typeRepository, "repo", policy.Repositories, "repository"}
	writing = repositoryKind{typeWriting, "repo-write", policy.WriteRepositories, "write repository"}
)

// repositoryOf is a repository without its credentials.
func repositoryOf(o *unstructured.Unstructured) map[string]any {
	out := fieldsOf(o)
	out["repo"] = repository.Printable(content(o)["url"])
	if flag(out, "insecureIgnoreHostKey") {
		out["insecure"] = true
	}
	delete(out, "insecureIgnoreHostKey")
	if text(out, "type") == "" {
		out["type"] = "git"
		if repository.InRegistry(text(out, "repo")) {
			out["type"] = "oci"
		}
	}
	return out
}

// scoped is a repository or a cluster in the words of a policy.
func scoped(o map[string]any, address string) string {
	return policy.ScopedObject(text(o, "project"), text(o, address))
}

// scopedSecret is the repository of a Secret in the words of a policy.
func scopedSecret(o *unstructured.Unstructured) string {
	values := content(o)
	return policy.ScopedObject(values["project"], values["url"])
}

// sameRepository reports whether a Secret is about an address, as it stands there
// or as it is shown.
func sameRepository(stored, asked string) bool {
	return repository.Same(stored, asked) || repository.Same(repository.Printable(stored), asked)
}

func (s *server) listRepositories(k repositoryKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		all, err := s.secrets(ctx, k.secret)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool {
			return !s.can(ctx, c, k.resource, policy.Get, scopedSecret(o))
		})
		out := make([]any, len(all))
		ctx, stop := context.WithTimeout(ctx, lookTime)
		defer stop()
		each(all, func(i int, o *unstructured.Unstructured) {
			one := repositoryOf(o)
			one["connectionState"] = s.connection(ctx, o, flag(c.value, "forceRefresh"))
			out[i] = one
		})
		sortByText(out, "project", "repo")
		return map[string]any{"items": out}, nil
	}
}

// lookers bounds how many repositories and clusters are looked at at a time.
const lookers = 8

// each does something with all objects, a few at a time.
func each(all []*unstructured.Unstructured, do func(int, *unstructured.Unstructured)) {
	var running sync.WaitGroup
	limit := make(chan struct{}, lookers)
	for i, o := range all {
		running.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			do(i, o)
		})
	}
	running.Wait()
}

// lookTime is how long a list waits to hear whether its repositories can be read.
// Of those that have not answered by then it is not known.
const lookTime = 15 * time.Second

// stateLife is how long it is known whether something can be reached.
const stateLife = 3 * time.Minute

// states remember whether repositories and clusters could be reached.
type states struct {
	mu    sync.Mutex
	known map[string]state
}

// ErrNotLooked is for a Deliveries that does not know whether something can be
// reached.
var ErrNotLooked = errors.New("it has not been tried")

type state struct {
	unknown bool
	err     string
	extra   string
	at      time.Time
}

// maxStates bounds what is remembered.
const maxStates = 10000

func (k *states) get(key string, now time.Time) (state, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.known[key]
	return found, ok && now.Sub(found.at) < stateLife
}

func (k *states) put(key string, found state) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) >= maxStates {
		k.known = map[string]state{}
	}
	k.known[key] = found
}

// connection tells whether a repository can be read with what its Secret holds.
func (s *server) connection(ctx context.Context, o *unstructured.Unstructured, again bool) map[string]any {
	key := string(o.GetUID()) + "/" + o.GetResourceVersion()
	found, known := s.reached.get(key, s.Now())
	if !known || again {
		found = state{at: s.Now()}
		switch err := s.Deliveries.Reach(ctx, o); {
		case errors.Is(err, ErrNotLooked):
			found.unknown = true
		case err != nil:
			found.err = "Unable to connect to repository: " + err.Error()
		}
		if ctx.Err() != nil {
			return state{at: s.Now(), unknown: true}.told()
		}
		s.reached.put(key, found)
	}
	return found.told()
}

func (f state) told() map[string]any {
	out := map[string]any{"status": "Successful", "message": f.err, "attemptedAt": f.at.UTC().Format(time.RFC3339)}
	switch {
	case f.unknown:
		out["status"] = "Unknown"
	case f.err != "":
		out["status"] = "Failed"
	}
	return out
}

// findRepository is the repository of an address. Of several projects, the one
// that is asked for; without that, there must be one only.
func (s *server) findRepository(ctx context.Context, k repositoryKind, url, project string) (*unstructured.Unstructured, error) {
	all, err := s.secrets(ctx, k.secret)
	if err != nil {
		return nil, err
	}
	var found []*unstructured.Unstructured
	for _, o := range all {
		values := content(o)
		if sameRepository(values["url"], url) && (project == "" || values["project"] == project) {
			found = append(found, o)
		}
	}
	switch {
	case len(found) == 0:
		return nil, nil
	case len(found) > 1:
		for _, o := range found {
			if content(o)["project"] == "" {
				return o, nil
			}
		}
		return nil, failed(connect.CodeInvalidArgument, "repository %q is registered for several projects: say which one", repository.Printable(url))
	}
	return found[0], nil
}

// repositoryFor is a repository that the caller may do something with; one that
// is not there is refused in the same words.
func (s *server) repositoryFor(ctx context.Context, c *call, k repositoryKind, action string) (*unstructured.Unstructured, error) {
	o, err := s.findRepository(ctx, k, text(c.value, "repo"), text(c.value, "appProject"))
	if err != nil {
		return nil, err
	}
	if o == nil {
		if s.can(ctx, c, k.resource, action, policy.ScopedObject(text(c.value, "appProject"), text(c.value, "repo"))) {
			return nil, failed(connect.CodeNotFound, "repo '%s' not found", repository.Printable(text(c.value, "repo")))
		}
		return nil, errDenied
	}
	return o, s.must(ctx, c, k.resource, action, scopedSecret(o))
}

func (s *server) getRepository(k repositoryKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		o, err := s.repositoryFor(ctx, c, k, policy.Get)
		if err != nil {
			return nil, err
		}
		out := repositoryOf(o)
		out["connectionState"] = s.connection(ctx, o, flag(c.value, "forceRefresh"))
		return out, nil
	}
}

// proposedRepository is the Secret of a repository that a caller sends.
func (s *server) proposedRepository(k repositoryKind, sent map[string]any) *unstructured.Unstructured {
	url, project := text(sent, "repo"), text(sent, "project")
	o := s.newSecret(k.secret, secretName(k.prefix, url, project))
	values := valuesOf(sent)
	values["url"] = url
	setContent(o, values)
	return o
}

func (s *server) createRepository(k repositoryKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		sent := object(c.value, "repo")
		url := text(sent, "repo")
		if url == "" {
			return nil, failed(connect.CodeInvalidArgument, "missing payload in request")
		}
		if flag(c.value, "credsOnly") {
			return nil, failed(connect.CodeInvalidArgument, "credentials are created by the service of credentials (argocd repocreds add)")
		}
		if err := s.must(ctx, c, k.resource, policy.Create, scoped(sent, "repo")); err != nil {
			return nil, err
		}
		proposed := s.proposedRepository(k, sent)
		if err := s.Deliveries.Reach(ctx, proposed); err != nil && !errors.Is(err, ErrNotLooked) {
			return nil, failed(connect.CodeInvalidArgument, "error testing repository connectivity: %s", err.Error())
		}
		existing, err := s.findExact(ctx, k, url, text(sent, "project"))
		if err != nil {
			return nil, err
		}
		if existing != nil {
			return s.reuse(ctx, c, existing, sent, k.resource, k.what, scoped(sent, "repo"), repositoryOf)
		}
		created, err := s.Objects.Create(ctx, KindSecret, proposed)
		if err != nil {
			return nil, err
		}
		s.done(ctx, c, "create", KindSecret, created, "added repository "+repository.Printable(url))
		return repositoryOf(created), nil
	}
}

// findExact is the repository of an address in a project, or in none.
func (s *server) findExact(ctx context.Context, k repositoryKind, url, project string) (*unstructured.Unstructured, error) {
	all, err := s.secrets(ctx, k.secret)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if values := content(o); sameRepository(values["url"], url) && values["project"] == project {
			return o, nil
		}
	}
	return nil, nil
}

func (s *server) updateRepository(k repositoryKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		sent := object(c.value, "repo")
		o, err := s.findRepository(ctx, k, text(sent, "repo"), text(sent, "project"))
		if err != nil {
			return nil, err
		}
		if o == nil {
			return nil, errDenied
		}
		for _, on := range []string{scopedSecret(o), scoped(sent, "repo")} {
			if err := s.must(ctx, c, k.resource, policy.Update, on); err != nil {
				return nil, err
			}
		}
		setContent(o, valuesOf(sent))
		updated, err := s.Objects.Update(ctx, KindSecret, o)
		if err != nil {
			return nil, err
		}
		s.done(ctx, c, "update", KindSecret, updated, "updated repository")
		return repositoryOf(updated), nil
	}
}

func (s *server) deleteRepository(k repositoryKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		o, err := s.repositoryFor(ctx, c, k, policy.Delete)
		if err != nil {
			return nil, err
		}
		if err := s.forget(ctx, o); err != nil {
			return nil, err
		}
		s.done(ctx, c, "delete", KindSecret, o, "removed repository")
		return nothing(), nil
	}
}

// validateRepository tries to read a repository with credentials of the caller.
func (s *server) validateRepository(k repositoryKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		if err := s.must(ctx, c, k.resource, policy.Create, scoped(c.value, "repo")); err != nil {
			return nil, err
		}
		sent := map[string]any{}
		for name, value := range c.value {
			sent[name] = value
		}
		for from, to := range map[string]string{"sshPrivateKey": "sshPrivateKey", "enableOci": "enableOCI", "insecureOciForceHttp": "insecureOCIForceHttp"} {
			if value, ok := c.value[from]; ok {
				sent[to] = value
			}
		}
		if err := s.Deliveries.Reach(ctx, s.proposedRepository(k, sent)); err != nil && !errors.Is(err, ErrNotLooked) {
			return nil, failed(connect.CodeInvalidArgument, "error testing repository connectivity: %s", err.Error())
		}
		return nothing(), nil
	}
}

// looked refuses what looks into repositories for forms of a web interface: the
// command line does not ask for it.
func (s *server) looked(what string) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		url := text(c.value, "repo")
		if url == "" {
			url = text(c.value, "source", "repoURL")
		}
		if err := s.must(ctx, c, policy.Repositories, policy.Get, policy.ScopedObject(text(c.value, "appProject"), url)); err != nil {
			return nil, err
		}
		return nil, failed(connect.CodeUnimplemented, "Plumb does not list %s of a repository", what)
	}
}
