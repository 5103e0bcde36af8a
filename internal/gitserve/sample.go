package gitserve

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"plumb.dev/plumb/internal/model"
)

//go:embed all:sample
var sample embed.FS

// WriteSample writes a small repository to play with into dir, committed on
// branch main: a kustomize base with a Deployment, a Service and a ConfigMap,
// an overlay over it, and a README that says what to try. dir must not exist or
// be empty.
func WriteSample(ctx context.Context, dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return &model.Fault{
			Reason:  "DirectoryNotEmpty",
			Message: fmt.Sprintf("%s is not empty", dir),
			Advice:  "name a directory that does not exist yet",
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the user's own files, made as the user makes them
		return err
	}
	if err := copySample(dir); err != nil {
		return err
	}
	return commitSample(ctx, dir)
}

func copySample(dir string) error {
	return fs.WalkDir(sample, "sample", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(strings.TrimPrefix(path, "sample"), "/")))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755) //nolint:gosec // see WriteSample
		}
		content, err := sample.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o644) //nolint:gosec // see WriteSample
	})
}

// commitSample makes the repository. The identity is the user's, or Plumb's
// where the user has none.
func commitSample(ctx context.Context, dir string) error {
	git, err := exec.LookPath("git")
	if err != nil {
		return &model.Fault{
			Reason:  "GitMissing",
			Message: "the git command is not installed",
			Advice:  "install git (https://git-scm.com/downloads)",
			Err:     err,
		}
	}
	run := func(extra []string, args ...string) error {
		cmd := exec.CommandContext(ctx, git, args...) //nolint:gosec // the arguments are this package's own
		cmd.Dir = dir
		cmd.Env = append(environment(), extra...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	if err := run(nil, "init", "--quiet"); err != nil {
		return err
	}
	if err := run(nil, "symbolic-ref", "HEAD", "refs/heads/main"); err != nil {
		return err
	}
	if err := run(nil, "add", "--all"); err != nil {
		return err
	}
	var identity []string
	if run(nil, "var", "GIT_COMMITTER_IDENT") != nil || run(nil, "config", "user.email") != nil {
		for _, who := range []string{"AUTHOR", "COMMITTER"} {
			identity = append(identity, "GIT_"+who+"_NAME=Plumb", "GIT_"+who+"_EMAIL=plumb@localhost")
		}
	}
	err = run(append(identity, configuration(map[string]string{"commit.gpgsign": "false", "core.hooksPath": os.DevNull})...),
		"commit", "--quiet", "--message", "Deliver a small application")
	return errors.Join(err)
}
