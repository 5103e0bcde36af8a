package source

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
)

// stock is a directory that is being put together: names in memory, contents in
// a batch. Directories that are taken over as they are are not read.
type stock struct {
	ctx    context.Context
	limits Limits
	batch  *batch
	root   *folder
	files  int // files and directories that were put
}

// folder is a directory of a stock.
type folder struct{ entries map[string]*leaf }

// leaf is an entry of a folder.
type leaf struct {
	kind  model.EntryKind
	hash  plumbing.Hash
	below *folder // of a directory that was read or made; nil: it is still that of hash
}

func newFolder() *folder { return &folder{entries: map[string]*leaf{}} }

func newStock(ctx context.Context, limits Limits, b *batch) *stock {
	return &stock{ctx: ctx, limits: limits, batch: b, root: newFolder()}
}

// count bounds how much is put.
func (s *stock) count() error {
	if s.files++; s.files > s.limits.Files {
		return fmt.Errorf("%w: there are more than %d files", errTooLarge, s.limits.Files)
	}
	return s.ctx.Err()
}

// errPlace is a path that cannot be used.
type errPlace struct{ text string }

func (e errPlace) Error() string { return e.text }

// dir returns the directory at a path, making those that are not there.
func (s *stock) dir(elements []string) (*folder, error) {
	if len(elements) > s.limits.Depth {
		return nil, fmt.Errorf("%w: directories are nested deeper than %d", errTooLarge, s.limits.Depth)
	}
	at := s.root
	for i, name := range elements {
		entry := at.entries[name]
		if entry == nil {
			if err := validName(name); err != nil {
				return nil, err
			}
			if err := s.count(); err != nil {
				return nil, err
			}
			entry = &leaf{kind: model.DirEntry, below: newFolder()}
			at.entries[name] = entry
		}
		next, err := s.open(entry)
		if err != nil {
			return nil, err
		}
		if next == nil {
			return nil, errPlace{fmt.Sprintf("%q is a file, and a directory too", strings.Join(elements[:i+1], "/"))}
		}
		at = next
	}
	return at, nil
}

// open returns what a leaf holds, nil when it is no directory.
func (s *stock) open(entry *leaf) (*folder, error) {
	if entry.kind != model.DirEntry || entry.below != nil {
		return entry.below, nil
	}
	content, err := s.batch.read(entry.hash)
	if err != nil {
		return nil, err
	}
	entries, err := parseTree(content)
	if err != nil {
		return nil, err
	}
	entry.below = newFolder()
	for _, e := range entries {
		entry.below.entries[e.name] = &leaf{kind: e.kind, hash: e.hash}
	}
	return entry.below, nil
}

// find returns what stands at a path, nil when nothing does.
func (s *stock) find(elements []string) (*leaf, error) {
	at := &leaf{kind: model.DirEntry, below: s.root}
	for _, name := range elements {
		within, err := s.open(at)
		if err != nil || within == nil || within.entries[name] == nil {
			return nil, err
		}
		at = within.entries[name]
	}
	return at, nil
}

// put writes a file; one that stands there is replaced.
func (s *stock) put(elements []string, kind model.EntryKind, content []byte) error {
	h, err := s.keep(content)
	if err != nil {
		return err
	}
	return s.place(elements, kind, h)
}

// keep adds the content of a file.
func (s *stock) keep(content []byte) (plumbing.Hash, error) {
	if int64(len(content)) > s.limits.FileBytes {
		return plumbing.ZeroHash, fmt.Errorf("%w: a file of %d bytes is larger than the %d that are accepted", errTooLarge, len(content), s.limits.FileBytes)
	}
	h := plumbing.ComputeHash(plumbing.BlobObject, content)
	if s.batch.has(h) {
		return h, nil
	}
	return h, s.batch.add(plumbing.BlobObject, h, content)
}

// place puts a file whose content the batch has.
func (s *stock) place(elements []string, kind model.EntryKind, h plumbing.Hash) error {
	if len(elements) == 0 {
		return errPlace{"a file cannot stand in place of the whole tree"}
	}
	last := len(elements) - 1
	within, err := s.dir(elements[:last])
	if err != nil {
		return err
	}
	name := elements[last]
	if err := validName(name); err != nil {
		return err
	}
	if was := within.entries[name]; was != nil && was.kind == model.DirEntry {
		return errPlace{fmt.Sprintf("%q is a directory, and a file too", strings.Join(elements, "/"))}
	}
	if err := s.count(); err != nil {
		return err
	}
	within.entries[name] = &leaf{kind: kind, hash: h}
	return nil
}

// graft puts a piece in place of whatever stands at a path.
func (s *stock) graft(elements []string, p piece) error {
	if err := s.batch.take(s.ctx, p); err != nil {
		return err
	}
	entry := &leaf{kind: model.DirEntry, hash: p.root}
	if len(elements) == 0 {
		root, err := s.open(entry)
		s.root = root
		return err
	}
	within, err := s.dir(elements[:len(elements)-1])
	if err != nil {
		return err
	}
	within.entries[elements[len(elements)-1]] = entry
	return nil
}

// copy puts what a tree has in a directory, but for what keep refuses; nil
// refuses nothing. Links are left out, as they are not in the archives that
// source-controller hands from one object to the next. below are the elements
// from d to where the copy stands.
func (s *stock) copy(to []string, t *Tree, d *dir, below []string, keep func(elements []string, isDir bool) bool) error {
	if _, err := s.dir(to); err != nil {
		return err
	}
	for i := range d.entries {
		e := &d.entries[i]
		inner := append(below[:len(below):len(below)], e.name)
		isDir := e.kind == model.DirEntry || e.kind == model.SubmoduleEntry
		if e.kind == model.LinkEntry || keep != nil && !keep(inner, isDir) {
			continue
		}
		at := append(to[:len(to):len(to)], e.name)
		var err error
		switch {
		case e.dir != nil:
			err = s.copy(at, t, e.dir, inner, keep)
		case isDir:
			_, err = s.dir(at)
		default:
			err = s.copyFile(at, t, d, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyFile puts a file of a tree.
func (s *stock) copyFile(to []string, t *Tree, within *dir, n *node) error {
	if !s.batch.has(n.hash) {
		content, err := t.blob(n.name, within.repo, n.hash)
		if err != nil {
			return err
		}
		if _, err := s.keep(content); err != nil {
			return err
		}
	}
	return s.place(to, n.kind, n.hash)
}

// read returns the content of a file. The error wraps fs.ErrNotExist when there
// is none.
func (s *stock) read(elements []string) ([]byte, error) {
	entry, err := s.find(elements)
	if err != nil {
		return nil, err
	}
	if entry == nil || entry.kind != model.FileEntry && entry.kind != model.ExecutableEntry {
		return nil, &fs.PathError{Op: "read", Path: strings.Join(elements, "/"), Err: fs.ErrNotExist}
	}
	return s.batch.read(entry.hash)
}

// write adds the directories and returns the root.
func (s *stock) write() (plumbing.Hash, error) { return s.writeFolder(s.root) }

func (s *stock) writeFolder(f *folder) (plumbing.Hash, error) {
	entries := make([]treeEntry, 0, len(f.entries))
	for _, name := range slices.Sorted(maps.Keys(f.entries)) {
		entry := f.entries[name]
		if entry.below != nil {
			h, err := s.writeFolder(entry.below)
			if err != nil {
				return plumbing.ZeroHash, err
			}
			entry.hash = h
		}
		entries = append(entries, treeEntry{name: name, kind: entry.kind, hash: entry.hash})
	}
	content := encodeTree(entries)
	h := plumbing.ComputeHash(plumbing.TreeObject, content)
	if s.batch.has(h) {
		return h, nil
	}
	return h, s.batch.add(plumbing.TreeObject, h, content)
}
