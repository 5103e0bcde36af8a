package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/retry"

	"plumb.dev/plumb/internal/cli/logins"
	"plumb.dev/plumb/internal/model"
)

// place is where declared objects are seen and asked for something: the cluster
// that a kubeconfig names, or a server of Plumb that somebody has signed in to.
// What commands print is the same at both, and read off the objects themselves;
// what differs is who is asked, and whose rights count.
type place interface {
	// get reads one object; of one that is not there, the error is
	// apierrors.IsNotFound.
	get(ctx context.Context, kind *declaredKind, namespace, name string) (*unstructured.Unstructured, error)
	// list reads the objects of a kind by namespace and name; namespace "" is every
	// one. Of a kind that is not served, the error is meta.IsNoMatchError.
	list(ctx context.Context, kind *declaredKind, namespace string, options metav1.ListOptions) (*unstructured.UnstructuredList, error)
	// follow tells what there is, and then what changes.
	follow(ctx context.Context, kind *declaredKind, namespace string, options metav1.ListOptions, f follower) error
	// ask asks an object for something. What is read from then on knows of it.
	ask(ctx context.Context, kind *declaredKind, namespace, name string, w wish) error

	// explain says why an object is as it is; local is a directory to compare with,
	// "" for the source.
	explain(ctx context.Context, args []string, local string) (*explanation, error)
	// traced reads which objects are to be traced back to where they come from.
	traced(args []string) ([]traced, error)
	// compare shows how the cluster differs from each delivery that is meant.
	compare(ctx context.Context, flags previewFlags, args []string, show func(comparison) error) error
	// revisions are those of a release, oldest first.
	revisions(ctx context.Context, o *unstructured.Unstructured) ([]revision, error)
	// withheld lists the deletions of a hold, one on a line; "" when there is
	// nothing to list them by.
	withheld(ctx context.Context, o *unstructured.Unstructured, h held) (string, error)
	// events hands over those that are wanted and, with watch, those to come.
	events(ctx context.Context, wanted wantedEvents, watch bool, show func([]unstructured.Unstructured) error) error
	// logs hands over the lines of the Pods of a delivery as they come.
	logs(ctx context.Context, wanted wantedLogs, show func(logLine) error) error
	// masks is what stands in objects where a secret was; "" where none is masked.
	masks() string
	// whoami is who the place takes the caller for.
	whoami(ctx context.Context) (*identity, error)
}

// place is the one that is meant, see chosen.
func (a *app) place() (place, error) {
	login, err := a.chosen()
	if err != nil {
		return nil, err
	}
	if login != nil {
		return a.servedBy(login)
	}
	c, err := a.dial()
	if err != nil {
		return nil, err
	}
	return onSite{a, c}, nil
}

// The variables that say which server is asked, and with which token.
const (
	serverVariable = "PLUMB_SERVER"
	tokenVariable  = "PLUMB_AUTH_TOKEN"
)

// chosen is the login whose server is asked; nil: the cluster of the kubeconfig
// is. A flag goes first: --plumb-server, or one that says which cluster is meant
// and as whom. Then PLUMB_SERVER, then the login in use, then the kubeconfig.
func (a *app) chosen() (*logins.Login, error) {
	cluster := a.kube.given()
	switch {
	case a.server != "" && cluster != "" && a.server != logins.Kubeconfig:
		return nil, fmt.Errorf("--plumb-server asks a server of Plumb, and --%s a cluster: give one of them", cluster)
	case a.server != "":
		return a.loginNamed(a.server)
	case cluster != "":
		return nil, nil
	case a.streams.Getenv(serverVariable) != "":
		return a.loginNamed(a.streams.Getenv(serverVariable))
	}
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err != nil {
		return nil, nil //nolint:nilerr // without a home nobody has signed in
	}
	book, err := shelf.Read()
	if err != nil || book.Current == "" {
		return nil, err
	}
	return a.loginNamed(book.Current)
}

// loginNamed is a login by its name or its server's address; nil for the name
// that means the kubeconfig. A server that nobody has signed in to can be asked
// with the token of the environment.
func (a *app) loginNamed(name string) (*logins.Login, error) {
	if name == logins.Kubeconfig {
		return nil, nil
	}
	book := &logins.Book{}
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err == nil {
		if book, err = shelf.Read(); err != nil {
			return nil, err
		}
	}
	token := a.streams.Getenv(tokenVariable)
	if known, ok := book.Find(name); ok {
		login := *known
		if token != "" {
			login = logins.Login{Name: known.Name, Server: known.Server, Trust: known.Trust, Token: token}
		}
		return &login, nil
	}
	address, err := logins.Address(name, false)
	switch {
	case err != nil:
		return nil, advise(err, "see the logins there are with: plumb context list")
	case token == "":
		return nil, advise(fmt.Errorf("nobody has signed in to %s", name), "sign in with: plumb login %s; or give a token by %s", name, tokenVariable)
	}
	return &logins.Login{Name: name, Server: address, Token: token}, nil
}

// notServed says that a server of Plumb cannot be asked for something.
func notServed(what, instead string) error {
	if instead == "" {
		instead = "with a kubeconfig it is: --plumb-server " + logins.Kubeconfig
	}
	return advise(fmt.Errorf("%s is not possible through a server of Plumb", what), "%s", instead)
}

// onSite is the cluster that a kubeconfig names.
type onSite struct {
	app *app
	*cluster
}

func (p onSite) follow(ctx context.Context, kind *declaredKind, namespace string, options metav1.ListOptions, f follower) error {
	resource, _, err := p.resource(kind.group)
	if err != nil {
		return err
	}
	return follow(ctx, resource.Namespace(namespace), options, f)
}

// ask writes what the wish is on the object as it is, again when it has changed
// meanwhile.
func (p onSite) ask(ctx context.Context, kind *declaredKind, namespace, name string, w wish) error {
	resource, _, err := p.resource(kind.group)
	if err != nil {
		return err
	}
	objects := resource.Namespace(namespace)
	by := sync.OnceValue(func() string { return p.username(ctx) })
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		o, err := objects.Get(ctx, name, getOptions)
		if err != nil {
			return err
		}
		patch, err := w.patch(o, by)
		if err != nil {
			return refused(kind, o, err)
		}
		return patchOnce(ctx, objects, name, patch)
	})
}

func (p onSite) explain(ctx context.Context, args []string, local string) (*explanation, error) {
	targets, err := p.targets(args, p.app.namespaceFor)
	if err != nil {
		return nil, err
	}
	t := targets[0]
	e, err := p.app.explain(ctx, p.cluster, t, local)
	if err == nil && e.Health == string(model.NotFound) && e.Owner == "" && t.namespace != "" && !p.app.kube.chosen && strings.Count(args[0], "/") < 2 {
		e.advise("if it is in another namespace than " + t.namespace + ", name that with -n")
	}
	return e, err
}

func (p onSite) compare(ctx context.Context, flags previewFlags, args []string, show func(comparison) error) error {
	return p.app.eachDerived(ctx, flags, args, func(d *derivation) error {
		differences, err := d.compare(ctx)
		if err != nil {
			return err
		}
		return show(comparison{id: d.delivery.ID, differences: differences, remark: func() {
			p.app.sayWithheld(d)
			p.app.sayHooks(d)
		}})
	})
}

func (p onSite) revisions(ctx context.Context, o *unstructured.Unstructured) ([]revision, error) {
	records, err := p.releaseRecords(ctx, o)
	if apierrors.IsForbidden(err) {
		p.app.say.warning("Helm's records may not be read (%v): this is what the status tells", err)
	} else if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return toldRevisions(o), nil
	}
	return recordedRevisions(records), nil
}

func (onSite) masks() string { return "" }

func (p onSite) whoami(ctx context.Context) (*identity, error) {
	user, err := p.user(ctx)
	if err != nil {
		return nil, err
	}
	groups, _, _ := unstructured.NestedStringSlice(user.Object, "status", "userInfo", "groups")
	return &identity{
		Server: p.config.Host, Name: text(user, "status", "userInfo", "username"), Groups: groups, By: "kubeconfig",
	}, nil
}

// errGone says that an object that is being waited for was deleted.
var errGone = errors.New("it was deleted meanwhile")

// awaitDeclared waits until a declared object satisfies a condition and returns
// it as it then was. When ctx ends first, the error says what was last seen.
func awaitDeclared(ctx context.Context, p place, kind *declaredKind, namespace, name string, until func(*unstructured.Unstructured) (done bool, err error)) (*unstructured.Unstructured, error) {
	return awaitOne(ctx, func(f follower) error { return p.follow(ctx, kind, namespace, named(name), f) }, until)
}

// named selects the object of a name.
func named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
}

// lastLook is the end of a wait, with what was seen of the object until then.
type lastLook struct {
	cause           error
	status, message string // of its readiness
}

func (l *lastLook) Error() string {
	return fmt.Sprintf("%v; last seen: Ready %s: %s", l.cause, l.status, l.message)
}

func (l *lastLook) Unwrap() error { return l.cause }

// awaitOne follows one object until it satisfies a condition.
func awaitOne(ctx context.Context, follow func(follower) error, until func(*unstructured.Unstructured) (done bool, err error)) (*unstructured.Unstructured, error) {
	var last *unstructured.Unstructured
	look := func(o *unstructured.Unstructured) (bool, error) {
		last = o
		return until(o)
	}
	err := follow(follower{
		initial: func(items []unstructured.Unstructured) (bool, error) {
			if len(items) == 0 {
				return false, nil
			}
			return look(&items[0])
		},
		change: func(kind watch.EventType, o *unstructured.Unstructured) (bool, error) {
			if kind == watch.Deleted {
				return false, errGone
			}
			return look(o)
		},
	})
	if err != nil && ctx.Err() != nil && last != nil {
		if status, message := readiness(last); message != "" {
			return last, &lastLook{cause: ctx.Err(), status: status, message: message}
		}
	}
	return last, err
}
