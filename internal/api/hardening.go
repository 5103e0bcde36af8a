package api

import (
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"mime"
	"net/http"
	"strings"
	"sync"
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

// bounded refuses addresses that ask more than the server could bear, and bodies
// that are too large.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.addresses.allow(network(addressOf(r))) {
			tooMany(w, r, "too many requests")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 4*requestBytes)
		next.ServeHTTP(w, r)
	})
}

// typed refuses what a page of another site can have a browser send without
// asking first: a form, or a text that only looks like JSON. What changes
// something says that it is JSON, or speaks one of the protocols of calls, which
// check the rest themselves (argo-cd, server: --api-content-types).
func typed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			next.ServeHTTP(w, r)
			return
		case http.MethodPut, http.MethodPatch, http.MethodDelete: // of which browsers ask first
			if r.ContentLength == 0 {
				next.ServeHTTP(w, r)
				return
			}
		}
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/json" && kind != "application/proto" && !strings.HasPrefix(kind, "application/connect+") && !strings.HasPrefix(kind, "application/grpc") {
			w.Header().Set("Accept-Post", "application/json")
			http.Error(w, "the content type must be application/json", http.StatusUnsupportedMediaType)
			return
		}
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
