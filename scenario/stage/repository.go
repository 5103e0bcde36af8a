package stage

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Repository is a work tree with a bare repository that a Forge serves.
type Repository struct {
	name string
	work string
	bare string
}

// mainBranch is where commits go unless a story says otherwise.
const mainBranch = "main"

// NewRepository makes an empty repository that the forge serves under a name.
func (f *Forge) NewRepository(name, work string) (*Repository, error) {
	r := &Repository{name: name, work: work, bare: filepath.Join(f.dir, name+".git")}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	for _, step := range [][]string{
		{"init", "-q", "--bare", "-b", mainBranch, r.bare},
		{"-C", r.bare, "config", "uploadpack.allowAnySHA1InWant", "true"},
		{"-C", r.bare, "config", "uploadpack.allowFilter", "true"},
		{"-C", r.bare, "config", "receive.denyDeleteCurrent", "ignore"},
		{"init", "-q", "-b", mainBranch, work},
		{"-C", work, "remote", "add", "origin", r.bare},
	} {
		if _, err := git(work, step...); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Name is the name that the forge serves it under.
func (r *Repository) Name() string { return r.name }

// Dir is the work tree.
func (r *Repository) Dir() string { return r.work }

// Head is the commit of the work tree.
func (r *Repository) Head() (string, error) { return r.Git("rev-parse", "HEAD") }

// Commit commits everything in the work tree and pushes the branch; it returns
// the commit.
func (r *Repository) Commit(message string) (string, error) {
	if _, err := r.Git("add", "-A"); err != nil {
		return "", err
	}
	if _, err := r.Git("commit", "-q", "--allow-empty", "-m", message); err != nil {
		return "", err
	}
	if _, err := r.Git("push", "-q", "--force", "origin", "HEAD"); err != nil {
		return "", err
	}
	return r.Head()
}

// Git runs git in the work tree and returns what it prints, trimmed.
func (r *Repository) Git(args ...string) (string, error) { return git(r.work, args...) }

// git runs git with an identity and without the user's configuration.
func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Jane Doe", "GIT_AUTHOR_EMAIL=jane@example.com",
		"GIT_COMMITTER_NAME=Jane Doe", "GIT_COMMITTER_EMAIL=jane@example.com")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// Lay copies the files below from into the work tree, each passed through edit.
func (r *Repository) Lay(from string, edit func([]byte) []byte) error {
	return filepath.WalkDir(from, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, at)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		to := filepath.Join(r.work, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, edit(text), 0o644)
	})
}

// Empty removes every file from the work tree.
func (r *Repository) Empty() error {
	entries, err := os.ReadDir(r.work)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == ".git" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(r.work, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
