// Package gitserve serves a local Git repository over smart HTTP, notices at
// once when one of its references moves, and writes a sample repository: what
// `plumb up` needs to deliver a directory on the user's own machine.
//
// Work is done by the git binary, which understands every form a repository can
// have on disk (linked work trees, alternates, reftable); it is run without a
// shell, without the user's hooks when it only reads, and trusts the one
// directory that it was told to serve.
package gitserve

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// Repository is a local repository that can be served.
type Repository struct {
	git       string // the binary
	work      string // what the user named
	directory string // its Git directory
	common    string // where references of linked work trees are kept
	bare      bool
}

// Open finds the repository of a work tree, of a directory inside one, or a
// bare repository. The error is a *model.Fault with advice: git is missing, or
// the path is no repository.
func Open(ctx context.Context, path string) (*Repository, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, &model.Fault{
			Reason:  "GitMissing",
			Message: "the git command is not installed",
			Advice:  "install git (https://git-scm.com/downloads), or give the URL of a repository instead of a directory",
			Err:     err,
		}
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	r := &Repository{git: git, work: absolute}
	if err := r.locate(ctx); err != nil {
		return nil, &model.Fault{
			Reason:  "NotARepository",
			Message: fmt.Sprintf("%s is not a Git repository", path),
			Advice:  "run git init and commit something, or name another directory",
			Err:     err,
		}
	}
	return r, nil
}

// locate asks git where things are.
func (r *Repository) locate(ctx context.Context) error {
	cmd := r.command(ctx, "rev-parse", "--is-bare-repository", "--absolute-git-dir", "--git-common-dir")
	cmd.Dir = r.work
	// Before the Git directory is known, any directory is trusted: nothing of
	// it is run by this question.
	cmd.Env = append(os.Environ(), configuration(map[string]string{"safe.directory": "*"})...)
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 3 {
		return errors.New("git rev-parse answers something else than was asked")
	}
	r.bare, r.directory, r.common = lines[0] == "true", lines[1], lines[2]
	if !filepath.IsAbs(r.common) {
		r.common = filepath.Join(r.work, r.common)
	}
	return nil
}

// Bare reports whether the repository has no work tree, so that it can be
// pushed to.
func (r *Repository) Bare() bool { return r.bare }

// Directory is the Git directory.
func (r *Repository) Directory() string { return r.directory }

func (r *Repository) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, r.git, args...) //nolint:gosec // the arguments are this package's own
}

// configuration hands git settings by its environment, above every file.
func configuration(settings map[string]string) []string {
	env := []string{"GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings))}
	i := 0
	for key, value := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, value))
		i++
	}
	return env
}

const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
	maxRequest  = 1 << 30 // of a push
	maxError    = 4 << 10 // kept of what git writes to its standard error
)

// Handler serves the repository at the root of wherever it is mounted, by the
// smart HTTP protocol: for reading, and for pushing when it is bare. It asks
// for no credentials: listen on loopback only.
func (r *Repository) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		path := strings.TrimPrefix(request.URL.Path, "/")
		switch {
		case path == "info/refs" && request.Method == http.MethodGet:
			r.advertise(w, request)
		case (path == uploadPack || path == receivePack) && request.Method == http.MethodPost:
			r.serve(w, request, path)
		default:
			http.NotFound(w, request)
		}
	})
}

// allowed reports whether a service may be used, and answers if not.
func (r *Repository) allowed(w http.ResponseWriter, service string) bool {
	switch {
	case service == uploadPack, service == receivePack && r.bare:
		return true
	case service == receivePack:
		http.Error(w, "this repository has a work tree: commit there instead of pushing", http.StatusForbidden)
	default:
		http.Error(w, "only smart clients are served", http.StatusForbidden)
	}
	return false
}

func (r *Repository) advertise(w http.ResponseWriter, request *http.Request) {
	service := request.URL.Query().Get("service")
	if !r.allowed(w, service) {
		return
	}
	out, err := r.run(request, service, nil, "--advertise-refs")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-"+service+"-advertisement")
	if request.Header.Get("Git-Protocol") == "" || !strings.Contains(request.Header.Get("Git-Protocol"), "version=2") {
		line := "# service=" + service + "\n"
		_, _ = fmt.Fprintf(w, "%04x%s0000", len(line)+4, line)
	}
	_, _ = w.Write(out) // the client went away: nobody is left to tell
}

// run executes a service to its end and returns its output.
func (r *Repository) run(request *http.Request, service string, in io.Reader, extra ...string) ([]byte, error) {
	cmd := r.service(request, service, extra...)
	cmd.Stdin = in
	out, err := cmd.Output()
	if err != nil {
		return nil, describe(service, err)
	}
	return out, nil
}

// describe quotes what git wrote.
func describe(service string, err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%s: %s", service, bytes.TrimSpace(exit.Stderr[:min(len(exit.Stderr), maxError)]))
	}
	return fmt.Errorf("%s: %w", service, err)
}

// service prepares a run of git for one request.
func (r *Repository) service(request *http.Request, service string, extra ...string) *exec.Cmd {
	args := append([]string{strings.TrimPrefix(service, "git-"), "--stateless-rpc"}, extra...)
	cmd := r.command(request.Context(), append(args, r.directory)...)
	settings := map[string]string{
		"safe.directory":                      "*", // the one directory below was named by the user
		"uploadpack.allowReachableSHA1InWant": "true",
	}
	if service == uploadPack {
		settings["core.hooksPath"] = os.DevNull
	}
	cmd.Env = append(environment(), configuration(settings)...)
	if protocol := request.Header.Get("Git-Protocol"); validProtocol(protocol) {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+protocol)
	}
	return cmd
}

// validProtocol keeps anything but key=value pairs out of the environment.
func validProtocol(p string) bool {
	return p != "" && len(p) < 100 && strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789=:") == ""
}

// environment is the user's, without what would point git elsewhere.
func environment() []string {
	var env []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PROTOCOL":
			continue
		}
		if strings.HasPrefix(name, "GIT_CONFIG") {
			continue
		}
		env = append(env, pair)
	}
	return env
}

// serve streams one exchange.
func (r *Repository) serve(w http.ResponseWriter, request *http.Request, service string) {
	if !r.allowed(w, service) {
		return
	}
	if request.Header.Get("Content-Type") != "application/x-"+service+"-request" {
		http.Error(w, "unexpected content type", http.StatusUnsupportedMediaType)
		return
	}
	in, err := body(w, request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-"+service+"-result")
	out := &startedWriter{w: w}
	cmd := r.service(request, service)
	cmd.Stdin, cmd.Stdout = in, out
	said := &tail{}
	cmd.Stderr = said
	if err := cmd.Run(); err != nil && !out.started {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		http.Error(w, fmt.Sprintf("%s: %s", service, strings.TrimSpace(said.String())), http.StatusInternalServerError)
	}
}

// body is what the client sends, inflated and bounded.
func body(w http.ResponseWriter, request *http.Request) (io.Reader, error) {
	bounded := http.MaxBytesReader(w, request.Body, maxRequest)
	switch request.Header.Get("Content-Encoding") {
	case "":
		return bounded, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(bounded)
		if err != nil {
			return nil, errors.New("the request does not inflate")
		}
		return io.LimitReader(z, maxRequest), nil
	}
	return nil, errors.New("unknown content encoding")
}

// startedWriter remembers whether an answer has begun, and sends it as it comes.
type startedWriter struct {
	w       http.ResponseWriter
	started bool
}

func (s *startedWriter) Write(p []byte) (int, error) {
	s.started = true
	n, err := s.w.Write(p)
	if f, ok := s.w.(http.Flusher); ok && err == nil {
		f.Flush()
	}
	return n, err
}

// tail keeps the first bytes that are written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if room := maxError - t.Len(); room > 0 {
		t.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}
