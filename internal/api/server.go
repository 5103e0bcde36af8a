package api

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/signin"
)

// Declarations are the declared objects, as they were last seen.
type Declarations interface {
	IDs() []object.ID
	// Declared is an object and the dialect that understands it; nil when there is
	// none.
	Declared(object.ID) (o *unstructured.Unstructured, dialect string)
	MadeBy(object.ID) (object.ID, bool)
	// Of are those of a kind, in no order; false while not all of them have been
	// seen.
	Of(schema.GroupKind) ([]*unstructured.Unstructured, bool)
	Unheard() string
}

// World is what a server shows while its process leads.
type World struct {
	Declared Declarations
	Engine   *engine.Engine
	Journal  *journal.Journal
	Local    *cluster.Cluster
}

// Options are what a server is made of.
type Options struct {
	Dialects []dialect.Dialect
	Settings dialect.Settings
	// Namespace is Plumb's own; the settings of sign-in and access are in Argo CD's
	// where that exists, and here otherwise.
	Namespace string
	// URL is where people reach the server, where the settings do not say.
	URL     string
	Version string
	// Flags are the choices of whoever runs the server, for the page of settings.
	Flags []Flag
	// Console serves the pages; nil: there are none.
	Console http.Handler
	Log     *slog.Logger
	// First is told admin's first password, once, when this process has set it;
	// nil: it lies in its Secret only.
	First func(model.Secret)
	// Limits bound attempts to sign in; the zero value is Argo CD's defaults.
	Limits signin.Limits
	// Extend adds handlers for other protocols behind the same door; nil: none.
	Extend func(mux *http.ServeMux, s *Server)
}

// Flag is one choice of whoever runs the server.
type Flag struct {
	Name, Value, Help string
	// Origin is FromFlag, the name of a variable of the environment, or "" where
	// nobody chose and the value is the default.
	Origin string
}

// Server answers people and their programs.
type Server struct {
	opts  Options
	log   *slog.Logger
	kinds map[schema.GroupKind]kindOf
	guard *access.Guard
	door  *signin.Door
	feed  *signin.Feed
	world atomic.Pointer[World]

	deliveries *board.Board[*plumbv1.Delivery]
	sources    *board.Board[*plumbv1.Source]

	mu       sync.Mutex
	dirty    map[object.ID]bool
	woken    chan struct{}
	settings settings      // what is read of the cluster besides
	fleet    chan struct{} // closed when a project or a registered cluster is another one

	replica  string // this one, as its host calls it
	versions versions

	settling sync.Mutex    // held while settings are put in force, so that older ones never come last
	open     sync.Once     // closes known
	known    chan struct{} // closed once settings are known
	started  chan struct{} // closed once people can sign in

	addresses limiter // of all requests
	callers   limiter // of those who are signed in, and of addresses of those who are not
	streams   *going
	calls     *going
	comparing *turns
	reading   *turns
	signing   *turns
	refusals  *refusals
	onlookers onlookers
	handler   http.Handler
}

// kindOf says what a declared kind is.
type kindOf struct {
	dialect.Kind
	dialect  string
	delivery bool
}

// notDeliveries are the kinds that deliver nothing and are no sources.
var notDeliveries = map[string]bool{"AppProject": true}

// deliveryKinds are the kinds that deliver.
var deliveryKinds = map[string]bool{"Kustomization": true, "HelmRelease": true, "Application": true, "ApplicationSet": true}

// New makes a server. It answers nothing but its own health before Lead.
func New(opts Options) *Server {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opts: opts, log: opts.Log, kinds: map[schema.GroupKind]kindOf{}, dirty: map[object.ID]bool{}, woken: make(chan struct{}, 1), fleet: make(chan struct{}),
		feed: signin.NewFeed(), known: make(chan struct{}), started: make(chan struct{}),
		addresses: newLimiter(addressRate, addressBurst), callers: newLimiter(requestRate, requestBurst),
		comparing: newTurns(comparisons, callerComparisons, waitingComparisons), reading: newTurns(readings, callerReadings, waitingReadings),
		streams: newGoing(maxStreams, callerStreams), calls: newGoing(maxCalls, callerCalls),
		signing: newTurns(signIns, addressSignIns, waitingSignIns),
	}
	s.refusals = newRefusals(s.keepRefusal)
	for _, d := range opts.Dialects {
		for _, k := range d.Kinds() {
			if k.Handled {
				s.kinds[k.GroupKind] = kindOf{Kind: k, dialect: d.Name(), delivery: deliveryKinds[k.GroupKind.Kind]}
			}
		}
	}
	if name, err := os.Hostname(); err == nil {
		s.replica = name
	}
	epoch := newEpoch()
	s.deliveries, s.sources = board.New(epoch, rows.Deliveries), board.New(epoch, rows.Sources)
	s.guard = access.New(access.Options{
		Reviewer: reviewer{s}, Control: s.control(),
		Plural: s.plural,
	})
	s.door = signin.New(signin.Options{
		Settings: promptly{s.feed}, Writer: secretWriter{s}, Projects: projectTokens{s}, Reviewer: reviewer{s},
		Namespace: s.control(), URL: opts.URL, Limits: opts.Limits, Log: s.log,
		SignedIn: s.signedInThere,
	})
	s.handler = s.handlers()
	return s
}

// plural is the resource of a declared kind.
func (s *Server) plural(gk schema.GroupKind) string { return s.kinds[gk].Plural }

// control is the namespace of the settings of sign-in and access.
func (s *Server) control() string {
	if s.opts.Settings.ArgoNamespace != "" {
		return s.opts.Settings.ArgoNamespace
	}
	return defaultControl
}

// defaultControl is where Argo CD's own objects live.
const defaultControl = "argocd"

// Guard, Door, World and the rest of what handlers of other protocols need.

// Control is the namespace of Argo CD's own objects.
func (s *Server) Control() string { return s.control() }

// Guard decides who may do what.
func (s *Server) Guard() *access.Guard { return s.guard }

// Door tells who is calling.
func (s *Server) Door() *signin.Door { return s.door }

// World is what is shown; nil while this process does not lead.
func (s *Server) World() *World { return s.world.Load() }

// Started is closed once people can sign in.
func (s *Server) Started() <-chan struct{} { return s.started }

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// handlers puts every service behind what stands around all of them.
func (s *Server) handlers() http.Handler {
	mux := http.NewServeMux()
	options := []connect.HandlerOption{
		connect.WithInterceptors(s.gatekeeper()), connect.WithReadMaxBytes(requestBytes), connect.WithSendMaxBytes(answerBytes),
	}
	mux.Handle(plumbv1connect.NewDeliveryServiceHandler(deliveryService{s}, options...))
	mux.Handle(plumbv1connect.NewFleetServiceHandler(fleetService{s}, options...))
	mux.Handle(plumbv1connect.NewSessionServiceHandler(sessionService{s}, options...))
	mux.Handle(plumbv1connect.NewDeclarationServiceHandler(declarationService{s}, options...))
	mux.HandleFunc("GET /openapi.json", serveOpenAPI)
	if s.opts.Extend != nil {
		s.opts.Extend(mux, s)
	}
	if s.opts.Console != nil {
		mux.Handle("/", s.opts.Console)
	}
	front := http.NewServeMux()
	front.Handle("/auth/", s.forStrangers(s.door.Handler())) // which guards itself: command lines sign out with the cookie alone
	front.Handle("/", s.door.RefuseForgery(typed(s.door.Identify(exchanged(s.metered(mux))))))
	return s.bounded(hurried(hardened(front)))
}

// Bounds of requests and answers.
const (
	requestBytes = 1 << 20
	answerBytes  = 32 << 20
	callTime     = 30 * time.Second
	streamTime   = 30 * time.Minute // then the client asks again, with a fresh look at who it is
)

// leads is the world, or why there is none.
func (s *Server) leads() (*World, error) {
	if w := s.world.Load(); w != nil {
		return w, nil
	}
	return nil, connect.NewError(connect.CodeUnavailable, errNotLeading)
}

// within bounds a call.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTime)
}
