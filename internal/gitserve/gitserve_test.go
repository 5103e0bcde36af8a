package gitserve

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := tryGit(dir, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryGit(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(environment(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// workTree has one commit on main.
func workTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "init", "--quiet")
	git(t, dir, "symbolic-ref", "HEAD", "refs/heads/main")
	write(t, filepath.Join(dir, "a.yaml"), "a: 1\n")
	git(t, dir, "add", "--all")
	git(t, dir, "commit", "--quiet", "--message", "one")
	return dir
}

func serve(t *testing.T, dir string) string {
	t.Helper()
	r, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(r.Handler())
	t.Cleanup(h.Close)
	return h.URL
}

func TestCloneFetchAndNoPushToAWorkTree(t *testing.T) {
	dir := workTree(t)
	url := serve(t, dir)
	clone := filepath.Join(t.TempDir(), "clone")
	for _, protocol := range []string{"0", "2"} {
		git(t, t.TempDir(), "-c", "protocol.version="+protocol, "clone", "--quiet", url, clone+protocol)
	}
	write(t, filepath.Join(dir, "a.yaml"), "a: 2\n")
	git(t, dir, "commit", "--quiet", "--all", "--message", "two")
	git(t, clone+"2", "pull", "--quiet")
	if git(t, clone+"2", "rev-parse", "HEAD") != git(t, dir, "rev-parse", "HEAD") {
		t.Error("the clone did not follow")
	}
	if out, err := tryGit(clone+"2", "push", "origin", "HEAD:refs/heads/x"); err == nil || !strings.Contains(out, "403") {
		t.Errorf("pushed to a work tree: %s", out)
	}
}

func TestPushToABareRepository(t *testing.T) {
	bare := t.TempDir()
	git(t, bare, "init", "--quiet", "--bare")
	url := serve(t, bare)
	dir := workTree(t)
	git(t, dir, "push", "--quiet", url, "main")
	if git(t, bare, "rev-parse", "refs/heads/main") != git(t, dir, "rev-parse", "HEAD") {
		t.Error("the push did not arrive")
	}
}

func TestReadingRunsNoHooks(t *testing.T) {
	dir := workTree(t)
	mark := filepath.Join(t.TempDir(), "ran")
	hook := "#!/bin/sh\ntouch " + mark + "\n"
	for _, name := range []string{"post-checkout", "reference-transaction", "pre-receive", "update"} {
		if err := os.WriteFile(filepath.Join(dir, ".git/hooks", name), []byte(hook), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	git(t, t.TempDir(), "clone", "--quiet", serve(t, dir), "clone")
	if _, err := os.Stat(mark); !os.IsNotExist(err) {
		t.Error("a hook ran")
	}
}

func TestOnlyTheProtocolIsServed(t *testing.T) {
	url := serve(t, workTree(t))
	for path, want := range map[string]int{
		"/":                                     404,
		"/HEAD":                                 404,
		"/config":                               404,
		"/../../etc/passwd":                     404,
		"/info/refs":                            403,
		"/info/refs?service=git-receive-pack":   403,
		"/info/refs?service=git-upload-archive": 403,
		"/info/refs?service=git-upload-pack":    200,
	} {
		response, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, want)
		}
	}
	response, err := http.Post(url+"/git-upload-pack", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("status %d", response.StatusCode)
	}
}

func TestOpenExplains(t *testing.T) {
	var fault *model.Fault
	_, err := Open(t.Context(), t.TempDir())
	if !errors.As(err, &fault) || fault.Reason != "NotARepository" || fault.Advice == "" {
		t.Errorf("error %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	_, err = Open(t.Context(), ".")
	if !errors.As(err, &fault) || fault.Reason != "GitMissing" || !strings.Contains(fault.Advice, "install git") {
		t.Errorf("error %v", err)
	}
}

// state is every reference and what is checked out.
func state(t *testing.T, dir string) string {
	t.Helper()
	head, err := tryGit(dir, "symbolic-ref", "HEAD")
	if err != nil {
		t.Error(err)
	}
	return head + "\n" + git(t, dir, "for-each-ref")
}

// watched tells what the references were at each call.
func watched(t *testing.T, dir string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	begun, done := make(chan struct{}), make(chan error, 1)
	calls := make(chan string, 1000)
	go func() {
		done <- watch(ctx, dir, func() { close(begun) }, func() { calls <- state(t, dir) })
	}()
	select {
	case <-begun:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return calls
}

// expectCall waits for a call that finds the references as they are now.
func expectCall(t *testing.T, dir string, calls <-chan string, what string) {
	t.Helper()
	want := state(t, dir)
	timeout := time.After(20 * time.Second)
	for {
		select {
		case got := <-calls:
			if got == want {
				return
			}
		case <-timeout:
			t.Fatalf("%s was not noticed", what)
		}
	}
}

func TestWatchNoticesEveryWayAReferenceMoves(t *testing.T) {
	dir := workTree(t)
	linked := filepath.Join(t.TempDir(), "linked")
	git(t, dir, "worktree", "add", "--quiet", "-b", "side", linked)
	calls := watched(t, dir)
	for _, c := range []struct {
		what string
		do   func()
	}{
		{"a commit", func() { git(t, dir, "commit", "--quiet", "--allow-empty", "--message", "x") }},
		{"a branch in a new directory", func() { git(t, dir, "branch", "team/new/feature") }},
		{"a commit on it", func() { git(t, dir, "update-ref", "refs/heads/team/new/feature", "HEAD~1") }},
		{"a tag after pack-refs", func() { git(t, dir, "pack-refs", "--all"); git(t, dir, "tag", "v1") }},
		{"a checkout", func() { git(t, dir, "checkout", "--quiet", "team/new/feature") }},
		{"a commit in a linked work tree", func() { git(t, linked, "commit", "--quiet", "--allow-empty", "--message", "y") }},
		{"a deleted branch that is packed", func() { git(t, dir, "branch", "--quiet", "-D", "main") }},
	} {
		c.do()
		expectCall(t, dir, calls, c.what)
	}
}

func TestWatchOfALinkedWorkTreeAndABareRepository(t *testing.T) {
	dir := workTree(t)
	linked := filepath.Join(t.TempDir(), "linked")
	git(t, dir, "worktree", "add", "--quiet", "-b", "side", linked)
	calls := watched(t, linked)
	git(t, linked, "commit", "--quiet", "--allow-empty", "--message", "y")
	expectCall(t, linked, calls, "a commit in the linked work tree")

	bare := filepath.Join(t.TempDir(), "bare.git")
	git(t, t.TempDir(), "clone", "--quiet", "--bare", dir, bare)
	calls = watched(t, bare)
	git(t, dir, "commit", "--quiet", "--allow-empty", "--message", "z")
	git(t, dir, "push", "--quiet", bare, "main")
	expectCall(t, bare, calls, "a push")
}

func TestSample(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sample")
	if err := WriteSample(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if branch := git(t, dir, "symbolic-ref", "--short", "HEAD"); branch != "main" {
		t.Errorf("branch %s", branch)
	}
	if status := git(t, dir, "status", "--porcelain"); status != "" {
		t.Errorf("not everything is committed: %s", status)
	}
	files := git(t, dir, "ls-files")
	for _, f := range []string{"README.md", "base/deployment.yaml", "base/service.yaml", "overlays/local/kustomization.yaml"} {
		if !strings.Contains(files, f) {
			t.Errorf("%s is missing in %s", f, files)
		}
	}
	var fault *model.Fault
	err := WriteSample(t.Context(), dir)
	if !errors.As(err, &fault) || fault.Reason != "DirectoryNotEmpty" {
		t.Errorf("error %v", err)
	}
}
