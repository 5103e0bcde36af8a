package api

import (
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

var errNotLeading = errors.New("this replica does not lead, or is just starting; try again in a moment")

//go:embed openapi.json
var openAPI []byte

// contentPolicy lets pages load nothing but what this server serves.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// hardened adds the headers that every answer has.
func hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store") // handlers of what may be kept say so
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// Bounds of what one address may ask for. A page asks for a handful of things;
// scripts may be quicker for a while.
const (
	requestRate  = 100 // a second
	requestBurst = 400
	maxAddresses = 10000
)

// limiter bounds requests by the address that they come from.
type limiter struct {
	mu    *sync.Mutex
	known map[string]*rate.Limiter
}

func newLimiter() limiter { return limiter{mu: &sync.Mutex{}, known: map[string]*rate.Limiter{}} }

// allow reports whether an address may ask now. A customer has a network of
// addresses of IPv6, which count as one.
func (l limiter) allow(address string) bool {
	if ip, err := netip.ParseAddr(address); err == nil && ip.Unmap().Is6() {
		if network, err := ip.WithZone("").Prefix(64); err == nil {
			address = network.String()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.known[address]
	if one == nil {
		if len(l.known) >= maxAddresses {
			clear(l.known)
		}
		one = rate.NewLimiter(requestRate, requestBurst)
		l.known[address] = one
	}
	return one.Allow()
}

// Bounds of streams that go on at a time: each of them may watch a lot.
const (
	callerStreams = 64
	maxStreams    = 1024
)

// streams counts those that go on.
type streams struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by caller
}

// begin counts a stream until end; false when there are too many.
func (s *streams) begin(caller string) (end func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStreams || s.of[caller] >= callerStreams {
		return nil, false
	}
	if s.of == nil {
		s.of = map[string]int{}
	}
	s.all++
	s.of[caller]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.of[caller]--; s.of[caller] == 0 {
			delete(s.of, caller)
		}
	}, true
}

// bounded refuses who asks too much and bodies that are too large.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		if !s.limits.allow(host) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 4*requestBytes)
		next.ServeHTTP(w, r)
	})
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(openAPI)
}

// newEpoch tells this server's revisions from those of another.
func newEpoch() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
