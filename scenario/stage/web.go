package stage

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// An Answer is what a Web says to a request.
type Answer struct {
	Status int
	Body   []byte
	// Token: only a request that carries it, as a bearer or as Gitea's token, is
	// answered. Empty: every one is.
	Token string
}

// A Web is an HTTP server on loopback with fixed answers, for what generators
// ask: the API of a forge, or a plugin. All of a list is on its first page.
type Web struct {
	url    string
	server *http.Server
	ended  chan struct{}

	mu      sync.Mutex
	answers map[string]Answer // by path
}

// NewWeb serves nothing yet.
func NewWeb() (*Web, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Web{url: "http://" + listener.Addr().String(), ended: make(chan struct{}), answers: map[string]Answer{}}
	w.server = &http.Server{Handler: w}
	go func() {
		defer close(w.ended)
		_ = w.server.Serve(listener)
	}()
	return w, nil
}

// URL is the address without a path.
func (w *Web) URL() string { return w.url }

// Close ends the server with all connections.
func (w *Web) Close() {
	_ = w.server.Close()
	<-w.ended
}

// Tell sets what a path is answered with from now on.
func (w *Web) Tell(path string, answer Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[path] = answer
}

// ServeHTTP answers by path.
func (w *Web) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	answer, known := w.answers[r.URL.Path]
	w.mu.Unlock()
	sent := r.Header.Get("Authorization")
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	switch {
	case !known:
		http.NotFound(out, r)
		return
	case answer.Token != "" && sent != "Bearer "+answer.Token && sent != "token "+answer.Token:
		http.Error(out, "who are you?", http.StatusUnauthorized)
		return
	}
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(answer.Status)
	if page > 1 {
		_, _ = out.Write([]byte("[]"))
		return
	}
	_, _ = out.Write(answer.Body)
}
