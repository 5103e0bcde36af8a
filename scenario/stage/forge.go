package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A Mood is how a Git server answers for one repository.
type Mood string

// The moods of a Git server.
const (
	Well    Mood = "well"
	Stalled Mood = "stalled" // takes requests and never answers
	Broken  Mood = "broken"  // 503
	Lying   Mood = "lying"   // advertises the head, and sends no object of it
	Private Mood = "private" // wants a user and a password, see Guard
)

// A Forge is a Git server over smart HTTP, read-only, on loopback.
type Forge struct {
	dir    string
	url    string
	server *http.Server
	ended  chan struct{}

	mu    sync.Mutex
	moods map[string]Mood
	guard map[string][2]string // user and password by repository
	held  map[string]int       // requests that wait for an answer, by repository
	moved chan struct{}        // closed and replaced when one of these changes
}

// NewForge serves the bare repositories below a directory.
func NewForge(dir string) (*Forge, error) {
	backend, err := httpBackend()
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Forge{
		dir:   dir,
		url:   "http://" + listener.Addr().String(),
		ended: make(chan struct{}),
		moods: map[string]Mood{},
		guard: map[string][2]string{},
		held:  map[string]int{},
		moved: make(chan struct{}),
	}
	f.server = &http.Server{Handler: f.moody(&cgi.Handler{
		Path: backend,
		Dir:  dir,
		Env: []string{
			"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
		InheritEnv: []string{"PATH"},
	})}
	go func() {
		defer close(f.ended)
		_ = f.server.Serve(listener)
	}()
	return f, nil
}

// httpBackend finds the program that comes with git.
func httpBackend() (string, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return "", fmt.Errorf("git is needed to serve repositories: %w", err)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(path); err != nil {
		return "", errors.New("git has no git-http-backend beside it, which is needed to serve repositories")
	}
	return path, nil
}

// URL is the address of a repository.
func (f *Forge) URL(repository string) string { return f.url + "/" + repository + ".git" }

// Close ends the server with all connections.
func (f *Forge) Close() {
	_ = f.server.Close()
	<-f.ended
}

// SetMood changes how the server answers for a repository. Requests that hang
// in the old mood are answered in the new one.
func (f *Forge) SetMood(repository string, mood Mood) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moods[repository] = mood
	f.tell()
}

// tell wakes whoever waits for a change. The caller holds f.mu.
func (f *Forge) tell() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// AwaitAsked waits until somebody waits for an answer about a stalled repository.
func (f *Forge) AwaitAsked(repository string, within time.Duration) error {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		f.mu.Lock()
		held, moved := f.held[repository], f.moved
		f.mu.Unlock()
		if held > 0 {
			return nil
		}
		select {
		case <-moved:
		case <-late.C:
			return fmt.Errorf("nobody has asked for %s within %s", repository, within)
		}
	}
}

// Guard makes a repository Private.
func (f *Forge) Guard(repository, user, password string) {
	f.mu.Lock()
	f.guard[repository] = [2]string{user, password}
	f.mu.Unlock()
	f.SetMood(repository, Private)
}

func (f *Forge) moody(backend *cgi.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".git/")
		switch f.settle(r.Context(), name) {
		case Stalled: // the client has gone
			return
		case Broken:
			http.Error(w, "the server is down for maintenance", http.StatusServiceUnavailable)
			return
		case Lying:
			if r.Method == http.MethodPost {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				_, _ = io.WriteString(w, "000dpackfile\n0000")
				return
			}
		case Private:
			f.mu.Lock()
			want := f.guard[name]
			f.mu.Unlock()
			if user, password, ok := r.BasicAuth(); !ok || [2]string{user, password} != want {
				w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
		}
		handler := *backend
		if protocol := r.Header.Get("Git-Protocol"); protocol != "" {
			handler.Env = append(backend.Env[:len(backend.Env):len(backend.Env)], "GIT_PROTOCOL="+protocol)
		}
		handler.ServeHTTP(w, r)
	})
}

// hold counts the requests that wait.
func (f *Forge) hold(repository string, more int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[repository] += more
	f.tell()
}

// settle waits out a stall; Stalled means that the client gave up first.
func (f *Forge) settle(ctx context.Context, repository string) Mood {
	f.hold(repository, 1)
	defer f.hold(repository, -1)
	for {
		f.mu.Lock()
		mood, moved := f.moods[repository], f.moved
		f.mu.Unlock()
		if mood != Stalled {
			return mood
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return Stalled
		}
	}
}
