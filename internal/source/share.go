package source

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"plumb.dev/plumb/internal/object"
)

// Share returns the same tree for another source that reads the same: nothing is
// fetched or imported for it, and its archive is another name of the file that
// the tree's own source has.
func (s *Store) Share(t *Tree, id object.ID) *Tree {
	s.content.lend(t.source, id)
	return &Tree{
		store: t.store, source: id, root: t.root, revision: t.revision, commit: t.commit, verified: t.verified, inputs: t.inputs,
		contents: t.contents, observed: t.observed, file: t.file, metadata: t.metadata, chart: t.chart, lent: t,
	}
}

// lend makes one source use what another one uses.
func (d *depot) lend(from, to object.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if roots, ok := d.roots[from]; ok {
		d.roots[to] = roots
	}
}

// borrow gives the archive of a shared tree a name in dir. It is nil where the
// disk knows no second names of a file: then one is built.
func (s *sourceArchives) borrow(dir, from string, m *manifest) (*manifest, error) {
	final, described := filepath.Join(dir, m.File), *m
	if err := os.Remove(final); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if os.Link(filepath.Join(from, m.File), final) != nil {
		return nil, nil //nolint:nilerr // no second name, no archive: one is built
	}
	text, err := json.Marshal(&described)
	if err != nil {
		return nil, err
	}
	return &described, os.WriteFile(final+manifestSuffix, text, 0o600)
}

// lentArchive is the archive that a shared tree has in the directory of its own
// source; nil when it cannot be had.
func (a *archives) lentArchive(ctx context.Context, s *sourceArchives, t *Tree) (*manifest, error) {
	if t.lent == nil {
		return nil, nil
	}
	own := a.of(t.lent.source)
	own.mu.Lock()
	defer own.mu.Unlock()
	m, err := a.ensure(ctx, own, t.lent)
	if err != nil {
		return nil, err
	}
	return s.borrow(filepath.Join(a.dir, filepath.FromSlash(s.dir)), filepath.Join(a.dir, filepath.FromSlash(own.dir)), m)
}

// keep puts a manifest last, and removes what is more than is kept.
func (s *sourceArchives) keep(dir string, m *manifest) error {
	s.last = slices.DeleteFunc(s.last, func(old *manifest) bool { return old.File == m.File })
	s.last = append(s.last, m)
	for len(s.last) > archivesKept {
		if err := s.last[0].remove(dir); err != nil {
			return err
		}
		s.last = s.last[1:]
	}
	return nil
}
