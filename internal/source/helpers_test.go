package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"plumb.dev/plumb/internal/gitserve"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// repository is a work tree that the git binary commits to.
type repository struct {
	t   testing.TB
	dir string
	day int
}

func newRepository(t testing.TB) *repository {
	t.Helper()
	r := &repository{t: t, dir: t.TempDir()}
	r.git("init", "--quiet")
	r.git("symbolic-ref", "HEAD", "refs/heads/main")
	return r
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	r.day++
	when := fmt.Sprintf("2026-01-01T00:%02d:%02dZ", r.day/60%60, r.day%60)
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(),
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE="+when,
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_COMMITTER_DATE="+when,
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull, "GIT_ALLOW_PROTOCOL=file:http")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repository) write(path, content string) {
	r.t.Helper()
	full := filepath.Join(r.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// commit writes the given files ("path", "content", …) and commits everything.
func (r *repository) commit(files ...string) string {
	r.t.Helper()
	for i := 0; i < len(files); i += 2 {
		r.write(files[i], files[i+1])
	}
	r.git("add", "--all")
	r.git("commit", "--quiet", "--allow-empty", "--message", fmt.Sprintf("change %d\n\nmore", r.day))
	return r.git("rev-parse", "HEAD")
}

// server serves a repository and counts requests.
type server struct {
	url   string
	looks atomic.Int64
	pulls atomic.Int64
	// intercept may answer a request itself.
	intercept atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
	sent      atomic.Int64 // bytes of packs
}

func (s *server) onRequest(f func(http.ResponseWriter, *http.Request) bool) { s.intercept.Store(&f) }

type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c countingWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

func (s *server) handler(t testing.TB, dir string) http.Handler {
	t.Helper()
	served, err := gitserve.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	inner := served.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			s.looks.Add(1)
		} else {
			s.pulls.Add(1)
			w = countingWriter{w, &s.sent}
		}
		if f := s.intercept.Load(); f != nil && (*f)(w, r) {
			return
		}
		inner.ServeHTTP(w, r)
	})
}

func serve(t testing.TB, dir string) *server {
	t.Helper()
	s := &server{}
	h := httptest.NewServer(s.handler(t, dir))
	t.Cleanup(h.Close)
	s.url = h.URL
	return s
}

func openStore(t testing.TB, dir string, limits Limits) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, Limits: limits, ArtifactURL: "http://source.example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// git describes a source; branch main unless change says otherwise.
func gitSource(url string, change ...func(*model.Source)) model.Source {
	spec := model.Source{
		ID:  object.ID{Group: "source.toolkit.fluxcd.io", Kind: "GitRepository", Namespace: "apps", Name: "shop"},
		Git: &model.GitSource{URL: url, Ref: model.GitRef{Branch: "main"}},
	}
	for _, c := range change {
		c(&spec)
	}
	return spec
}

func mustFetch(t testing.TB, s *Store, spec model.Source, last *Tree) *Tree {
	t.Helper()
	tree, err := s.Fetch(context.Background(), spec, nil, last)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	return tree
}

// mustFail expects a fault of the given reason whose text contains all parts.
func mustFail(t testing.TB, err error, reason string, parts ...string) {
	t.Helper()
	fault := faultOf(t, err)
	if fault.Reason != reason {
		t.Fatalf("want reason %s, got %s: %s", reason, fault.Reason, fault.Message)
	}
	for _, p := range parts {
		if !strings.Contains(fault.Error(), p) {
			t.Fatalf("want %q in %q", p, fault.Error())
		}
	}
}

func faultOf(t testing.TB, err error) *model.Fault {
	t.Helper()
	var fault *model.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("want a fault, got %v", err)
	}
	return fault
}

// listing shows the whole tree, one path per line: type letter and path.
func listing(t testing.TB, tree *Tree) string {
	t.Helper()
	var b strings.Builder
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := tree.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			p := strings.TrimPrefix(dir+"/"+e.Name, "/")
			fmt.Fprintf(&b, "%c %s\n", " fxlds"[e.Kind], p)
			if e.Kind == model.DirEntry {
				walk(p)
			}
		}
	}
	walk("")
	return b.String()
}

func read(t testing.TB, tree *Tree, path string) string {
	t.Helper()
	content, err := tree.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
