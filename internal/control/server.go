package control

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// server answers for artifacts, metrics and health. Addresses that are equal
// share one listener.
type server struct {
	artifacts, metrics, health string // addresses as bound; "" when off
	advertised                 string
	ready                      atomic.Bool
	handler                    atomic.Pointer[http.Handler] // of artifacts
	api                        string
	hooks                      atomic.Pointer[http.Handler] // of webhooks
	running                    []*http.Server
}

// Bounds of requests from anyone who can reach the server.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = time.Minute // for the header and the whole of the body
	idleTimeout   = 2 * time.Minute
	headerBytes   = 16 << 10
	// A client of HTTP/2 that says nothing is asked whether it is still there, and
	// one that takes nothing is left.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
	stuckWrite  = time.Minute
)

// newServer is a server that nobody can keep waiting: not for the header, not for
// the body, and not between requests. The time to read ends with the body, so that
// answers take as long as they like.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes,
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: stuckWrite},
	}
}

// listen binds every address before anything else begins, so that a port that
// is taken is an error at once.
func listen(opts Options, m *metrics) (*server, error) {
	s := &server{advertised: opts.StorageAdvertised}
	muxes := map[string]*http.ServeMux{}
	bound := map[string]string{}
	mux := func(addr string) (*http.ServeMux, string, error) {
		if mx, ok := muxes[addr]; ok && !strings.HasSuffix(addr, ":0") {
			return mx, bound[addr], nil
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, "", fmt.Errorf("listen on %s: %w", addr, err)
		}
		mx := http.NewServeMux()
		srv := newServer(mx)
		bind := l.Addr().String()
		if addr == opts.APIAddr {
			l = speaking(srv, l, opts.APITLS)
		}
		s.running = append(s.running, srv)
		go func() { _ = srv.Serve(l) }()
		muxes[addr], bound[addr] = mx, bind
		return mx, bind, nil
	}
	storage := opts.StorageAddr
	if storage == "" {
		storage = "127.0.0.1:0"
	}
	mx, addr, err := mux(storage)
	if err != nil {
		return nil, err
	}
	s.artifacts = addr
	mx.HandleFunc("/", s.artifact)
	if opts.APIAddr != "" {
		if mx, s.api, err = mux(opts.APIAddr); err != nil {
			s.close()
			return nil, err
		}
		mx.HandleFunc("/api/webhook", s.webhook)
		if opts.APIHandler != nil {
			mx.Handle("/", opts.APIHandler)
		}
	}
	if opts.MetricsAddr != "" {
		if mx, s.metrics, err = mux(opts.MetricsAddr); err != nil {
			s.close()
			return nil, err
		}
		mx.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
		if opts.Pprof {
			mx.HandleFunc("/debug/pprof/", pprof.Index)
			mx.HandleFunc("/debug/pprof/profile", pprof.Profile)
			mx.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
			mx.HandleFunc("/debug/pprof/trace", pprof.Trace)
		}
	}
	if opts.HealthAddr != "" {
		if mx, s.health, err = mux(opts.HealthAddr); err != nil {
			s.close()
			return nil, err
		}
		mx.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
		mx.HandleFunc("/readyz", s.readyz)
	}
	return s, nil
}

// speaking lets a server speak HTTP/2 as gRPC wants it, by TLS or, with no
// configuration of it, in the clear.
func speaking(srv *http.Server, l net.Listener, config *tls.Config) net.Listener {
	srv.Protocols = &http.Protocols{}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(config == nil)
	if config == nil {
		return l
	}
	srv.TLSConfig = config
	return tls.NewListener(l, config)
}

// artifactURL is what consumers put before the path of an artifact.
func (s *server) artifactURL() string {
	if s.advertised != "" {
		return "http://" + s.advertised
	}
	return "http://" + s.artifacts
}

func (s *server) serveArtifacts(h http.Handler) { s.handler.Store(&h) }

func (s *server) artifact(w http.ResponseWriter, r *http.Request) {
	h := s.handler.Load()
	if h == nil {
		http.Error(w, "not leading", http.StatusServiceUnavailable)
		return
	}
	(*h).ServeHTTP(w, r)
}

func (s *server) serveWebhooks(h http.Handler) { s.hooks.Store(&h) }

func (s *server) webhook(w http.ResponseWriter, r *http.Request) {
	h := s.hooks.Load()
	if h == nil {
		http.Error(w, "not leading", http.StatusServiceUnavailable)
		return
	}
	(*h).ServeHTTP(w, r)
}

func (s *server) readyz(w http.ResponseWriter, _ *http.Request) {
	if !s.ready.Load() {
		http.Error(w, "not ready: waiting for the lease, for the kinds, or for an upstream controller to stop", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

func (s *server) close() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	for _, srv := range s.running {
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
	}
}
