package source

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// depot is a log of objects on disk, with what sources still need of it.
type depot struct {
	store *Store
	dir   string

	mu sync.Mutex // guards what follows, and what a mirror adds
	// roots are what the current trees need; the rest of the log is garbage.
	roots map[object.ID][]plumbing.Hash
	left  bool // a source used the depot and none does now

	work chan struct{} // held while the log is written or replaced; guards what follows
	log  *objects
	// recent are commits in the log, the newest last: what a fetch starts from.
	recent    []plumbing.Hash
	compacted int64 // length of the log when it held no garbage
}

const (
	maxHaves       = 16
	compactFrom    = 16 << 20 // a log shorter than this may be garbage altogether
	compactPortion = 3        // a log this many times its live length is rewritten
)

func newDepot(s *Store, dir string) *depot {
	return &depot{store: s, dir: dir, work: make(chan struct{}, 1), roots: map[object.ID][]plumbing.Hash{}}
}

// lock takes the right to write the log.
func (d *depot) lock(ctx context.Context) error {
	select {
	case d.work <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *depot) unlock() { <-d.work }

// open makes sure that there is a sound log; the lock is held.
func (d *depot) open() error {
	if d.log != nil && !d.log.damaged.Load() {
		return nil
	}
	path := filepath.Join(d.dir, "objects")
	if d.log != nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		d.log = nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	now := time.Now()
	if err := os.Chtimes(d.dir, now, now); err != nil {
		return err
	}
	log, err := openObjects(path, d.store.limits.FileBytes)
	if errors.Is(err, errDamaged) {
		if err := os.Remove(path); err != nil {
			return err
		}
		log, err = openObjects(path, d.store.limits.FileBytes)
	}
	if err != nil {
		return err
	}
	d.log, d.recent, d.compacted = log, log.commits(maxHaves), log.bytes()
	return nil
}

// write runs fetch with the right to write a sound log, and returns the log.
func (d *depot) write(ctx context.Context, fetch func() error) (*objects, error) {
	if err := d.lock(ctx); err != nil {
		return nil, err
	}
	defer d.unlock()
	if err := d.open(); err != nil {
		return nil, storageError{err}
	}
	err := fetch()
	if again := d.mend(err); again != nil {
		err = again(fetch)
	}
	if err != nil {
		return nil, err
	}
	return d.log, nil
}

// mend says whether a failed fetch can be tried again at once, and how: with a
// new log when the old one turned out damaged, and from nothing when the server
// left out what it wrongly took us to have.
func (d *depot) mend(err error) func(fetch func() error) error {
	switch {
	case errors.Is(err, errDamaged):
		return func(fetch func() error) error {
			if err := d.open(); err != nil {
				return storageError{err}
			}
			return fetch()
		}
	case errors.Is(err, errBadPack) && len(d.recent) > 0:
		return func(fetch func() error) error {
			d.recent = nil
			return fetch()
		}
	}
	return nil
}

// storageError is a failure of the local disk.
type storageError struct{ err error }

func (e storageError) Error() string {
	return "the local copy cannot be written: " + plainPathError(e.err)
}
func (e storageError) Unwrap() error { return e.err }

// plainPathError drops the path of the local copy, which is no one's concern.
func plainPathError(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// diskError marks errors of the local disk as such.
func diskError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return storageError{err}
	}
	return err
}

// use records what the current tree of a source needs, and rewrites the log in
// the background when it is mostly garbage.
func (d *depot) use(id object.ID, roots []plumbing.Hash) {
	d.mu.Lock()
	d.roots[id] = roots
	d.left = false
	d.mu.Unlock()
	select {
	case d.work <- struct{}{}:
		defer d.unlock()
	default:
		return // a fetch goes on; the next one is early enough
	}
	if d.log == nil || d.log.bytes() <= max(compactFrom, compactPortion*d.compacted) {
		return
	}
	d.store.running.Go(func() {
		if d.lock(d.store.context) != nil {
			return
		}
		defer d.unlock()
		if d.log.damaged.Load() || d.compact() != nil {
			return // the log goes on as it is; the next fetch tries again
		}
	})
}

// unuse is the opposite of use.
func (d *depot) unuse(id object.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.roots, id)
	d.left = len(d.roots) == 0
}

// abandoned reports whether sources used the mirror and none does now.
func (d *depot) abandoned() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left
}

// compact writes what the roots need into a new log. Trees that were made from
// the old one go on reading it until the last of them is gone.
func (d *depot) compact() error {
	path := filepath.Join(d.dir, "objects")
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh, err := openObjects(path+".new", d.store.limits.FileBytes)
	if err != nil {
		return err
	}
	b := fresh.begin()
	for _, h := range d.live() {
		if err := copyObject(d.store.context, d.log, b, h); err != nil {
			_ = fresh.file.Close()
			return err
		}
	}
	if err := errors.Join(b.flush(), os.Rename(path+".new", path)); err != nil {
		_ = fresh.file.Close()
		return err
	}
	d.log, d.recent, d.compacted = fresh, fresh.commits(maxHaves), fresh.bytes()
	return nil
}

// live lists the roots that this log has.
func (d *depot) live() []plumbing.Hash {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []plumbing.Hash
	for _, roots := range d.roots {
		for _, h := range roots {
			if d.log.has(h) {
				all = append(all, h)
			}
		}
	}
	return all
}

// copyObject copies an object with everything it refers to.
func copyObject(ctx context.Context, from *objects, b *batch, h plumbing.Hash) error {
	if b.has(h) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p, ok := from.place(h)
	if !ok {
		return errNoObject
	}
	for _, reference := range from.references(h, p) {
		if err := copyObject(ctx, from, b, reference); err != nil {
			return err
		}
	}
	stored, err := from.stored(p)
	if err != nil {
		return err
	}
	return b.append(h, p, stored)
}

// references lists what an object of the log refers to, submodules apart.
func (l *objects) references(h plumbing.Hash, p place) []plumbing.Hash {
	if p.typ == plumbing.BlobObject {
		return nil
	}
	_, content, err := l.read(h)
	if err != nil {
		return nil // reading the object itself fails too, and is reported there
	}
	switch p.typ {
	case plumbing.CommitObject:
		if tree, err := commitTree(content); err == nil {
			return []plumbing.Hash{tree}
		}
	case plumbing.TagObject:
		if target, err := tagTarget(content); err == nil {
			return []plumbing.Hash{target}
		}
	case plumbing.TreeObject:
		entries, err := parseTree(content)
		if err != nil {
			return nil
		}
		var all []plumbing.Hash
		for _, e := range entries {
			if e.kind != model.SubmoduleEntry {
				all = append(all, e.hash)
			}
		}
		return all
	}
	return nil
}
