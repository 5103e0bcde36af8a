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
	"time"

	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
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

// Bounds of streams that go on at a time, by what they weigh: a graph holds the
// Pods of whole namespaces, and counts for several others. And of all calls of
// those who are let in, each of which may hold an answer that is read slowly.
const (
	callerStreams = 64
	maxStreams    = 1024
	graphWeight   = 4

	callerCalls = callerStreams + 64
	maxCalls    = maxStreams + 1024
)

// weightOf is for how many streams one of a call counts.
func weightOf(procedure string) int {
	if procedure == plumbv1connect.DeliveryServiceWatchGraphProcedure {
		return graphWeight
	}
	return 1
}

// going counts what goes on at a time: most of all, and each of one caller.
type going struct {
	most, each int

	mu  sync.Mutex
	all int
	of  map[string]int // by caller
}

func newGoing(most, each int) *going { return &going{most: most, each: each, of: map[string]int{}} }

// begin counts one until end; false when there are too many.
func (s *going) begin(caller string, weight int) (end func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all+weight > s.most || s.of[caller]+weight > s.each {
		return nil, false
	}
	s.all += weight
	s.of[caller] += weight
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all -= weight
		if s.of[caller] -= weight; s.of[caller] == 0 {
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

// Bounds of writing an answer over HTTP/1: how long no more of it than a piece may
// take. HTTP/2 has such a bound of its own.
const (
	stuckWrite = 30 * time.Second
	writePiece = 64 << 10 // bytes
)

// unstuck writes an answer in pieces, each of which must go out in time: whoever
// takes nothing must not hold what the answer is made of, or a place in a line.
type unstuck struct {
	http.ResponseWriter
	control *http.ResponseController
}

// hurried lets answers over HTTP/1 go out in time.
func hurried(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			next.ServeHTTP(w, r)
			return
		}
		u := unstuck{w, http.NewResponseController(w)}
		defer func() { _ = u.control.SetWriteDeadline(time.Time{}) }() // the next answer has a time of its own
		next.ServeHTTP(u, r)
	})
}

// soon gives the next piece its time. What is no connection has none.
func (u unstuck) soon() { _ = u.control.SetWriteDeadline(time.Now().Add(stuckWrite)) }

// Write writes p piece by piece.
func (u unstuck) Write(p []byte) (written int, err error) {
	for {
		u.soon()
		n, err := u.ResponseWriter.Write(p[:min(len(p), writePiece)])
		if written, p = written+n, p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// Flush sends what has been written.
func (u unstuck) Flush() {
	u.soon()
	_ = u.control.Flush() // what cannot be sent is told by the next write
}

// Unwrap is for http.ResponseController.
func (u unstuck) Unwrap() http.ResponseWriter { return u.ResponseWriter }

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
