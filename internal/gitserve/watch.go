package gitserve

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// Watch calls onChange whenever a reference of the repository at path may have
// moved: after a commit, checkout, push, fetch or pack-refs, in a work tree, a
// linked work tree or a bare repository. Calls do not overlap; changes that
// come during a call lead to one more. It returns when ctx ends, or with the
// error that made watching impossible.
func Watch(ctx context.Context, path string, onChange func()) error {
	return watch(ctx, path, func() {}, onChange)
}

// watch tells when it has begun.
func watch(ctx context.Context, path string, begun, onChange func()) error {
	r, err := Open(ctx, path)
	if err != nil {
		return err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	if err := r.watchDirectories(w); err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range changed {
			onChange()
		}
	}()
	defer func() {
		close(changed)
		<-done
	}()
	begun()
	return r.events(ctx, w, changed)
}

// watchDirectories covers HEAD and packed-refs by their directories, because
// git replaces files by renaming, and every directory of references.
func (r *Repository) watchDirectories(w *fsnotify.Watcher) error {
	for _, dir := range []string{r.directory, r.common} {
		if err := w.Add(dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{filepath.Join(r.common, "refs"), filepath.Join(r.directory, "refs"), filepath.Join(r.common, "reftable")} {
		if err := addBelow(w, dir); err != nil {
			return err
		}
	}
	return nil
}

// addBelow watches a directory and those below it.
func addBelow(w *fsnotify.Watcher, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // came and went, or a form of repository without it
		case err != nil:
			return err
		case d.IsDir():
			if err := w.Add(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

func (r *Repository) events(ctx context.Context, w *fsnotify.Watcher, changed chan<- struct{}) error {
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // a call is due already
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err, open := <-w.Errors:
			if !open {
				return nil
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
			// Events were lost: everything may have moved.
			if err := r.watchDirectories(w); err != nil {
				return err
			}
			tell()
		case event, open := <-w.Events:
			if !open {
				return nil
			}
			if event.Has(fsnotify.Create) {
				if info, err := os.Stat(event.Name); err == nil && info.IsDir() && r.holdsReferences(event.Name) {
					if err := addBelow(w, event.Name); err != nil {
						return err
					}
					tell() // a reference may have been written before the watch
				}
			}
			if r.relevant(event) {
				tell()
			}
		}
	}
}

// holdsReferences reports whether a directory is one of references.
func (r *Repository) holdsReferences(path string) bool {
	for _, root := range []string{filepath.Join(r.common, "refs"), filepath.Join(r.directory, "refs"), filepath.Join(r.common, "reftable")} {
		if path == root || strings.HasPrefix(path, root+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// relevant reports whether an event can mean that a reference moved.
func (r *Repository) relevant(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod || strings.HasSuffix(event.Name, ".lock") {
		return false
	}
	dir, name := filepath.Split(event.Name)
	dir = filepath.Clean(dir)
	if dir == filepath.Clean(r.directory) || dir == filepath.Clean(r.common) {
		return name == "HEAD" || name == "packed-refs"
	}
	return r.holdsReferences(dir)
}
