package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/generate"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
	"plumb.dev/plumb/internal/source"
	"plumb.dev/plumb/internal/source/cloud"
)

// Options are the choices of whoever runs the controller.
type Options struct {
	Config   *rest.Config // the cluster with the declared objects
	Dialects []dialect.Dialect
	Settings dialect.Settings
	Log      *slog.Logger

	// DataDir keeps mirrors, archives and the journal. It is a cache: losing it
	// costs time only. Empty: a temporary directory.
	DataDir string
	// Namespace holds Plumb's own Secret and Lease; default "plumb-system". It
	// is created when it does not exist.
	Namespace string
	// LeaderElect waits for the Lease before anything is written.
	LeaderElect bool
	// InstallKinds applies the custom resource definitions first.
	InstallKinds bool
	// StorageAddr is where artifacts are served, such as "127.0.0.1:0";
	// StorageAdvertised is what consumers are told instead, such as
	// "source-controller.flux-system.svc.cluster.local.".
	StorageAddr, StorageAdvertised string
	// APIAddr answers webhooks at /api/webhook, and APIHandler everywhere else;
	// empty: off. APITLS: only by TLS.
	APIAddr    string
	APIHandler http.Handler // nil: nothing but webhooks
	APITLS     *tls.Config
	// MetricsAddr serves /metrics, HealthAddr /healthz and /readyz; empty: off.
	MetricsAddr, HealthAddr string
	// Redirects lead to other addresses than those that sources name.
	Redirects source.Redirects
	// Pprof adds /debug/pprof to MetricsAddr.
	Pprof bool
	// Guard bounds unapproved deletions; the zero value is the engine's default.
	Guard plan.Guard
	// Workers is the number of deliveries worked on at a time; 0: the default.
	Workers int
	// Intercept sees every call to an API server; for fault injection.
	Intercept cluster.Intercept
	// Ready is called once everything is watched.
	Ready func(*Running)
	// Noticed is told that a declared object looks different to people, or is
	// gone. It must return at once; nil: nobody follows.
	Noticed func(object.ID)
	// Console serves whoever leads: it is handed what is known as soon as
	// declared objects are followed, and serves until the context ends. nil:
	// nobody is served.
	Console func(context.Context, *World)
}

// Running is a controller at work.
type Running struct {
	ArtifactAddr string
	MetricsAddr  string
	HealthAddr   string
	APIAddr      string

	engine *engine.Engine
}

// DefaultNamespace holds what belongs to Plumb itself.
const DefaultNamespace = "plumb-system"

// ErrLeaseLost ends Run when another replica took over: nothing may be written
// any more, and the caller starts anew or exits.
var ErrLeaseLost = errors.New("the lease was lost to another replica")

// Run delivers until the context ends.
func Run(ctx context.Context, opts Options) error {
	if opts.Namespace == "" {
		opts.Namespace = DefaultNamespace
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	dir, cleanup, err := dataDir(opts.DataDir)
	if err != nil {
		return err
	}
	defer cleanup()

	metrics := newMetrics()
	server, err := listen(opts, metrics)
	if err != nil {
		return err
	}
	defer server.close()

	key, err := ensureKey(ctx, opts)
	if err != nil {
		return err
	}
	clusters, err := cluster.NewSet(opts.Config, cluster.Options{UserAgent: "plumb", DigestKey: key, Intercept: opts.Intercept, Meter: metrics})
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	defer clusters.Close()

	work := func(ctx context.Context) error {
		up := watchUpstream(ctx, clusters.Local(), opts.Dialects, opts.Settings, opts.Log)
		for {
			mine := opts
			if mine.Dialects = up.free(ctx); ctx.Err() != nil {
				return nil //nolint:nilerr // told to stop while waiting
			}
			err := deliver(ctx, mine, dir, key, clusters, server, metrics, up)
			if !errors.Is(err, errUpstreamMoved) {
				return err
			}
		}
	}
	if !opts.LeaderElect {
		return work(ctx)
	}
	server.ready.Store(true) // a replica that waits for the lease is as ready as it can be
	return lead(ctx, opts, clusters.Local().Config(), work)
}

// deliver is the work of the one replica that leads, on the dialects of which
// no upstream controller is alive.
func deliver(ctx context.Context, opts Options, dir string, key []byte, clusters *cluster.Set, server *server, metrics *metrics, up *upstream) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if opts.InstallKinds {
		if err := InstallKinds(ctx, clusters.Local(), opts.Log); err != nil {
			return err
		}
	}
	store, err := source.Open(source.Options{
		Dir: filepath.Join(dir, "sources"), UserAgent: "plumb", ArtifactURL: server.artifactURL(), Tokens: clusters.Local(),
		Redirects: opts.Redirects,
	})
	if err != nil {
		return fmt.Errorf("open the source store in %s: %w", dir, err)
	}
	defer func() { _ = store.Close() }()
	log := opts.Log
	books, err := journal.Open(ctx, filepath.Join(dir, "journal.db"), journal.OnError(func(err error) {
		if err != nil {
			log.Error("the journal cannot be written; deliveries go on", "error", err)
		} else {
			log.Info("the journal can be written again")
		}
	}))
	if err != nil {
		return fmt.Errorf("open the journal in %s: %w", dir, err)
	}
	defer func() { _ = books.Close() }()
	if n := books.Notice(); n != "" {
		log.Warn(n)
	}

	declared := newDeclarations(ctx, clusters.Local(), opts.Dialects, opts.Settings, log)
	declared.writer = newWriter(declared, log)
	eng := engine.New(ctx, engine.Options{
		Clusters: clusters, Sources: store, Journal: books, Reporter: declared.writer, Declared: declared,
		Noticed: opts.Noticed, Words: words{declared}, Asker: generate.New(generate.Options{}),
		Clouds: cloud.New(cloud.Options{Tokens: clusters.Local()}), Meter: metrics, Log: log, Key: key, Workers: opts.Workers, Guard: opts.Guard,
		Withhold: func(o *unstructured.Unstructured) bool {
			for _, d := range opts.Dialects {
				if d.Replaces(o) {
					return true
				}
			}
			return false
		},
	})
	declared.engine, declared.noticed = eng, opts.Noticed
	defer metrics.leading(eng, declared)()
	if err := eng.Load(ctx); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	server.serveArtifacts(store.Handler())
	if opts.APIAddr != "" {
		declared.webhookSecrets() // watched from now on
		server.serveWebhooks(&webhooks{engine: eng, secrets: declared.webhookSecrets, log: log})
	}

	var work sync.WaitGroup
	work.Go(eng.Run)
	work.Go(func() { declared.writer.run(ctx) })
	work.Go(func() { declared.writer.makers.run(ctx) })
	declared.follow(ctx)
	if opts.Console != nil {
		world := &World{Engine: eng, Journal: books, Local: clusters.Local(), declared: declared}
		work.Go(func() { opts.Console(ctx, world) })
	}
	server.ready.Store(true)
	if opts.Ready != nil {
		opts.Ready(&Running{ArtifactAddr: server.artifacts, MetricsAddr: server.metrics, HealthAddr: server.health, APIAddr: server.api, engine: eng})
	}
	var back error
	select {
	case <-ctx.Done():
	case back = <-up.moved(ctx, opts.Dialects):
	}
	server.ready.Store(false)
	stop()
	work.Wait()
	return back
}

// dataDir makes sure that there is a directory for caches.
func dataDir(dir string) (string, func(), error) {
	if dir == "" {
		temp, err := os.MkdirTemp("", "plumb-")
		if err != nil {
			return "", nil, fmt.Errorf("make a temporary data directory: %w", err)
		}
		return temp, func() { _ = os.RemoveAll(temp) }, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make the data directory: %w", err)
	}
	return dir, func() {}, nil
}

// shutdownGrace is how long servers may finish what they answer.
const shutdownGrace = 2 * time.Second
