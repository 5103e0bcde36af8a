package argocd

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/api/argocd/wire"
	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// Objects reads and writes what is declared. Errors are those of Kubernetes
// (apierrors). Objects that are returned belong to the caller.
type Objects interface {
	Get(ctx context.Context, kind Kind, namespace, name string) (*unstructured.Unstructured, error)
	// List lists a namespace, or everything with "". It also returns the version
	// of the list.
	List(ctx context.Context, kind Kind, namespace string, selector labels.Selector) ([]*unstructured.Unstructured, string, error)
	Create(ctx context.Context, kind Kind, o *unstructured.Unstructured) (*unstructured.Unstructured, error)
	// Update is refused as a conflict where the object has another version than o.
	Update(ctx context.Context, kind Kind, o *unstructured.Unstructured) (*unstructured.Unstructured, error)
	Patch(ctx context.Context, kind Kind, namespace, name string, patch types.PatchType, body []byte) (*unstructured.Unstructured, error)
	Delete(ctx context.Context, kind Kind, namespace, name string) error
	// Watch calls each for all there is (Added), and for every change after that,
	// until ctx ends. synced is called once, in between. Objects are shared: read
	// only. "" is every namespace.
	Watch(ctx context.Context, kind Kind, namespace string, each func(watch.EventType, *unstructured.Unstructured), synced func()) error
}

// Kind is a kind of object that this room handles.
type Kind struct{ Group, Version, Kind string }

// The kinds.
var (
	KindApplication    = Kind{"argoproj.io", "v1alpha1", "Application"}
	KindApplicationSet = Kind{"argoproj.io", "v1alpha1", "ApplicationSet"}
	KindProject        = Kind{"argoproj.io", "v1alpha1", "AppProject"}
	KindSecret         = Kind{"", "v1", "Secret"}
	KindConfigMap      = Kind{"", "v1", "ConfigMap"}
	KindEvent          = Kind{"", "v1", "Event"}
)

// Ref names one object of a delivery. An empty Version is any.
type Ref struct{ Group, Version, Kind, Namespace, Name string }

// Managed is one object of a delivery, beside how it is wanted. Nil is one that
// is not there. Nothing in it is secret.
type Managed struct {
	Ref       Ref
	Desired   *unstructured.Unstructured // nil: it is to be pruned
	Live      *unstructured.Unstructured
	Predicted *unstructured.Unstructured // what Live would be after a sync
	Hook      bool
	Modified  bool
}

// Action is something that can be done with an object, such as restarting it.
type Action struct {
	Name, DisplayName, Icon string
	Disabled                bool
}

// Revision tells of a commit.
type Revision struct {
	Author, Message, Signature string
	Date                       time.Time
	Tags                       []string
}

// Chart tells of a version of a chart.
type Chart struct {
	Description, Home string
	Maintainers       []string
}

// LogOptions say what is wanted of a log.
type LogOptions struct {
	Container    string // "": the one there is, or the default one
	Follow       bool
	Previous     bool
	SinceSeconds int64     // 0: all
	SinceTime    time.Time // zero: all
	TailLines    int64     // 0: all
}

// LogLine is one line of a log.
type LogLine struct {
	At   time.Time
	Text string
}

// Deliveries tells what becomes of declared Applications. Errors that people can
// act on are *model.Fault. Nothing that is returned holds a secret, or belongs to
// anybody but the caller.
type Deliveries interface {
	// Tree is the ApplicationTree: nodes, orphanedNodes, hosts.
	Tree(ctx context.Context, app *unstructured.Unstructured) (map[string]any, error)
	// WatchTree hands over the tree whenever it may have changed, until ctx ends.
	// It is shared: read only.
	WatchTree(ctx context.Context, app *unstructured.Unstructured, each func(map[string]any) error) error
	// Managed compares what is wanted and what is there.
	Managed(ctx context.Context, app *unstructured.Unstructured) ([]Managed, error)
	// Manifests renders an Application as it stands in app, which may differ from
	// what is declared.
	Manifests(ctx context.Context, app *unstructured.Unstructured) ([]*unstructured.Unstructured, error)
	// Predict is what the cluster would make of an object if it were applied.
	Predict(ctx context.Context, app, desired *unstructured.Unstructured) (*unstructured.Unstructured, error)

	// Live reads, Patch changes and Delete removes one object of an Application.
	Live(ctx context.Context, app *unstructured.Unstructured, ref Ref) (*unstructured.Unstructured, error)
	Patch(ctx context.Context, app *unstructured.Unstructured, ref Ref, patch types.PatchType, body []byte) (*unstructured.Unstructured, error)
	Delete(ctx context.Context, app *unstructured.Unstructured, ref Ref, how Deletion) error
	// Events are those of one object of an Application, newest last.
	Events(ctx context.Context, app *unstructured.Unstructured, ref Ref, uid string) ([]*unstructured.Unstructured, error)

	Actions(ctx context.Context, app *unstructured.Unstructured, ref Ref) ([]Action, error)
	Act(ctx context.Context, app *unstructured.Unstructured, ref Ref, action string, parameters map[string]string) error

	// Logs calls each for every line of a Pod's log until it ends, or ctx does.
	Logs(ctx context.Context, app *unstructured.Unstructured, namespace, pod string, opts LogOptions, each func(LogLine) error) error

	Revision(ctx context.Context, app *unstructured.Unstructured, source map[string]any, revision string) (Revision, error)
	Chart(ctx context.Context, app *unstructured.Unstructured, source map[string]any, revision string) (Chart, error)

	// Validate compiles an Application that is about to be declared, and finds what
	// is wrong with its sources; nil when nothing is.
	Validate(ctx context.Context, app *unstructured.Unstructured) error
	// Generate are the Applications that an ApplicationSet makes, declared or not.
	Generate(ctx context.Context, set *unstructured.Unstructured) ([]*unstructured.Unstructured, error)
	// Reach tries to read a repository with the credentials in a Secret of it;
	// ErrNotLooked where that cannot be told.
	Reach(ctx context.Context, secret *unstructured.Unstructured) error
	// Cluster tells of a cluster that Applications are delivered to: whether it
	// can be reached, and its version; ErrNotLooked where that cannot be told.
	Cluster(ctx context.Context, server string) (version string, err error)
}

// Deletion says how an object is deleted.
type Deletion struct{ Orphan, Force bool }

// Guard decides who may do what.
type Guard interface {
	Can(ctx context.Context, who signin.Principal, r policy.Request) bool
	// Policy is the one in force: another pointer is another policy.
	Policy() *policy.Policy
}

// Door signs people in (internal/signin).
type Door interface {
	// Authenticate finds out whose credential a request carries, as it is now.
	Authenticate(ctx context.Context, r *http.Request) (signin.Principal, error)
	Login(ctx context.Context, name, password string) (model.Secret, error)
	Logout(ctx context.Context, r *http.Request) error
	SetSession(w http.ResponseWriter, r *http.Request, token model.Secret) error
	Ways(ctx context.Context) (signin.Ways, error)
	Accounts(ctx context.Context) ([]signin.Account, error)
	CreateToken(ctx context.Context, account, id string, lifetime time.Duration) (model.Secret, signin.IssuedToken, error)
	DeleteToken(ctx context.Context, account, id string) error
	UpdatePassword(ctx context.Context, caller signin.Principal, account, current, next string) error
	ProjectToken(ctx context.Context, project, role, id string, lifetime time.Duration) (model.Secret, signin.IssuedToken, error)
}

// Deed is something that was done, for whoever keeps account.
type Deed struct {
	Who    signin.Principal
	Action string // such as "sync"
	Kind   Kind
	// Namespace and Name are those of the declared object.
	Namespace, Name string
	Refused         bool   // it was tried, and not allowed
	Detail          string // a sentence without its subject, such as "initiated sync to main (0a1b2c3)"
}

// Options are what a server is made of.
type Options struct {
	// Identify finds out who calls, so that signin.Caller tells it; nil: something
	// in front of the handler does.
	Identify func(http.Handler) http.Handler
	// Caller tells who calls; nil: signin.Caller.
	Caller     func(context.Context) (signin.Principal, error)
	Door       Door
	Guard      Guard
	Objects    Objects
	Declared   Declarations // nil: every list is asked of the API server
	Deliveries Deliveries
	// Shown is a declared object without what nobody may see; sealed: it was
	// decrypted on its way here, and whatever it says may be secret. The object is
	// not changed, and comes back itself where nothing is hidden. nil: all is shown.
	Shown func(o *unstructured.Unstructured) (shown *unstructured.Unstructured, sealed bool)
	Audit func(context.Context, Deed) // nil: nobody keeps account
	// Begin counts a call that goes on for somebody, until end; false when too many
	// do. nil: they are not counted.
	Begin func(who signin.Principal) (end func(), ok bool)

	// Namespace is that of Argo CD's own objects.
	Namespace string
	// ApplicationNamespaces are globs of namespaces where Applications and
	// ApplicationSets may be, besides those that the settings name.
	ApplicationNamespaces []string
	// RootPath is put before every path (--rootpath); "" for none.
	RootPath string
	// Version is Plumb's own.
	Version string
	Log     *slog.Logger     // nil: nothing is logged
	Now     func() time.Time // nil: time.Now
}

// server answers the calls.
type server struct {
	Options
	calls    map[string]handler // by service and name
	tasks    map[string]*wire.Method
	reached  states
	departed departed
}

// handler answers one call: one of the two is set.
type handler struct {
	unary  func(context.Context, *call) (map[string]any, error)
	stream func(context.Context, *call, func(map[string]any) error) error
	// may is asked again while a stream goes on; nil: each message is judged.
	may func(context.Context, *call) error
	// open calls are answered to those who are not signed in as well.
	open bool
}

// call is a request.
type call struct {
	message   // what was sent
	who       signin.Principal
	signedIn  bool
	request   *http.Request
	response  http.ResponseWriter // nil for gRPC
	procedure string
}

// New makes the handler. It answers paths of services
// (/application.ApplicationService/…), /api/v1/… and /api/version; everything
// else is not found. The error is a mistake in the program.
func New(opts Options) (http.Handler, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Caller == nil {
		opts.Caller = signin.Caller
	}
	schema, err := wire.Known()
	if err != nil {
		return nil, err
	}
	s := &server{Options: opts, tasks: map[string]*wire.Method{}}
	s.calls = s.noting(s.handlers())
	for _, m := range schema.Methods() {
		key := m.Service + "/" + m.Name
		s.tasks[key] = m
		if _, ok := s.calls[key]; !ok {
			return nil, fmt.Errorf("nothing answers %s", key)
		}
	}
	mux := http.NewServeMux()
	s.serve(mux)
	s.gateway(mux)
	var h http.Handler = mux
	if opts.Identify != nil {
		h = opts.Identify(h)
	}
	if opts.RootPath != "" {
		h = http.StripPrefix("/"+trimSlashes(opts.RootPath), h)
	}
	return h, nil
}

// Paths are where the handler has to be mounted.
func Paths() ([]string, error) {
	schema, err := wire.Known()
	if err != nil {
		return nil, err
	}
	paths := []string{"/api/v1/", "/api/version"}
	seen := map[string]bool{}
	for _, m := range schema.Methods() {
		if !seen[m.Service] {
			seen[m.Service] = true
			paths = append(paths, "/"+m.Service+"/")
		}
	}
	return paths, nil
}

// settings reads argocd-cm and argocd-cmd-params-cm. What cannot be read is as
// if it were not there; its own findings tell of it.
func (s *server) settings(ctx context.Context) config.Settings {
	facts := model.Facts{}
	for _, need := range config.Needs(s.Namespace) {
		o, err := s.Objects.Get(ctx, KindConfigMap, need.Namespace, need.Name)
		facts[need] = model.Fact{State: model.Absent}
		if err == nil {
			facts[need] = model.Fact{State: model.Present, Object: o}
		}
	}
	read, _ := config.Read(facts, s.Namespace)
	read.ApplicationNamespaces = slices.Concat(read.ApplicationNamespaces, s.Options.ApplicationNamespaces)
	read.ApplicationSets.Namespaces = slices.Concat(read.ApplicationSets.Namespaces, s.Options.ApplicationNamespaces)
	return read
}
