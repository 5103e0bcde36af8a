package render

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"plumb.dev/plumb/internal/model"
)

// mount is where kustomize sees the root of the tree. It stands below the root
// of its file system so that a path that climbs out of the tree is seen as such.
const mount = "/.plumb"

// errOutside is wrapped by errors about paths that leave the tree.
var errOutside = errors.New("the path leads out of the source")

// errReadOnly answers every attempt to write.
var errReadOnly = errors.New("a build may not write")

// links follows symbolic links inside of a tree.
type links struct {
	tree  Tree
	depth int // links in a row
}

// resolve returns the path that p leads to, and what stands there. A path that
// does not exist is an error that wraps fs.ErrNotExist.
func (l links) resolve(p string) (string, model.Entry, error) {
	entry, found, err := l.tree.Lookup(p)
	if err != nil {
		return "", model.Entry{}, err
	}
	if found && entry.Kind != model.LinkEntry {
		return p, entry, nil
	}
	return l.walk(p)
}

// walk resolves element by element.
func (l links) walk(p string) (string, model.Entry, error) {
	at, rest, followed := "", p, 0
	entry := model.Entry{Kind: model.DirEntry}
	for rest != "" {
		var element string
		element, rest, _ = strings.Cut(rest, "/")
		next := path.Join(at, element)
		var found bool
		var err error
		if entry, found, err = l.tree.Lookup(next); err != nil {
			return "", model.Entry{}, err
		}
		if !found {
			return "", model.Entry{}, &fs.PathError{Op: "stat", Path: p, Err: fs.ErrNotExist}
		}
		if entry.Kind != model.LinkEntry {
			at = next
			continue
		}
		if followed++; followed > l.depth {
			return "", model.Entry{}, &LimitError{Path: p, Message: fmt.Sprintf("more than %d links in a row", l.depth)}
		}
		target, err := l.tree.Link(next)
		if err != nil {
			return "", model.Entry{}, err
		}
		if path.IsAbs(target) {
			return "", model.Entry{}, fmt.Errorf("%s is a link to %s: %w", next, target, errOutside)
		}
		target = path.Join(at, target)
		if target == ".." || strings.HasPrefix(target, "../") {
			return "", model.Entry{}, fmt.Errorf("%s is a link to %s: %w", next, target, errOutside)
		}
		at, rest = "", path.Join(target, rest)
		entry = model.Entry{Kind: model.DirEntry}
	}
	return at, entry, nil
}

// treeFS lets kustomize read a tree: in memory, read only, links resolved
// inside of the tree. Files of overlay stand in front of those of the tree.
type treeFS struct {
	links
	overlay map[string][]byte
}

var _ filesys.FileSystem = treeFS{}

// inside turns a path of kustomize into one of the tree.
func inside(p string) (string, error) {
	p = path.Clean("/" + filepath.ToSlash(p))
	if p == mount {
		return "", nil
	}
	in, ok := strings.CutPrefix(p, mount+"/")
	if !ok {
		return "", &fs.PathError{Op: "open", Path: strings.TrimPrefix(p, "/"), Err: errOutside}
	}
	return in, nil
}

func outside(p string) string { return path.Join(mount, p) }

// find resolves a path of kustomize.
func (t treeFS) find(p string) (string, model.Entry, error) {
	in, err := inside(p)
	if err != nil {
		return "", model.Entry{}, err
	}
	if _, ok := t.overlay[in]; ok {
		return in, model.Entry{Name: path.Base(in), Kind: model.FileEntry}, nil
	}
	return t.resolve(in)
}

// CleanedAbs splits a path into a directory and, when it is none, a file.
func (t treeFS) CleanedAbs(p string) (filesys.ConfirmedDir, string, error) {
	in, entry, err := t.find(p)
	if err != nil {
		return "", "", err
	}
	if isDir(entry) {
		return filesys.ConfirmedDir(outside(in)), "", nil
	}
	return filesys.ConfirmedDir(outside(parent(in))), path.Base(in), nil
}

// ReadFile returns the content of a file.
func (t treeFS) ReadFile(p string) ([]byte, error) {
	in, err := inside(p)
	if err != nil {
		return nil, err
	}
	if content, ok := t.overlay[in]; ok {
		return content, nil
	}
	in, entry, err := t.resolve(in)
	if err != nil {
		return nil, err
	}
	if isDir(entry) {
		return nil, &fs.PathError{Op: "read", Path: in, Err: errors.New("is a directory")}
	}
	if content, ok := t.overlay[in]; ok {
		return content, nil
	}
	return t.tree.Read(in)
}

// IsDir reports whether the path is a directory.
func (t treeFS) IsDir(p string) bool {
	_, entry, err := t.find(p)
	return err == nil && isDir(entry)
}

// Exists reports whether something stands at the path.
func (t treeFS) Exists(p string) bool {
	_, _, err := t.find(p)
	return err == nil
}

// ReadDir returns the names in a directory.
func (t treeFS) ReadDir(p string) ([]string, error) {
	in, _, err := t.find(p)
	if err != nil {
		return nil, err
	}
	entries, err := t.tree.List(in)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name
	}
	return names, nil
}

// Open returns a reader of a file.
func (t treeFS) Open(p string) (filesys.File, error) {
	content, err := t.ReadFile(p)
	if err != nil {
		return nil, err
	}
	return &openFile{Reader: strings.NewReader(string(content)), name: path.Base(p)}, nil
}

// Glob matches the names of one directory, which is all that the kustomize
// command uses it for.
func (t treeFS) Glob(pattern string) ([]string, error) {
	dir, last := path.Split(pattern)
	if _, err := path.Match(pattern, ""); err != nil || strings.ContainsAny(dir, "*?[") {
		return nil, path.ErrBadPattern
	}
	names, err := t.ReadDir(dir)
	if err != nil {
		return nil, nil //nolint:nilerr // as filepath.Glob: what cannot be read does not match
	}
	var matches []string
	for _, name := range names {
		if ok, _ := path.Match(last, name); ok {
			matches = append(matches, path.Join(dir, name))
		}
	}
	return matches, nil
}

// Walk visits everything below a path, without following links.
func (t treeFS) Walk(p string, visit filepath.WalkFunc) error {
	in, entry, err := t.find(p)
	if err != nil {
		return visit(p, nil, err)
	}
	entry.Name = path.Base(p)
	err = t.walkFrom(in, entry, visit, t.depth)
	if errors.Is(err, filepath.SkipDir) || errors.Is(err, filepath.SkipAll) {
		return nil
	}
	return err
}

func (t treeFS) walkFrom(in string, entry model.Entry, visit filepath.WalkFunc, depth int) error {
	if depth < 0 {
		return &LimitError{Path: in, Message: fmt.Sprintf("directories are nested deeper than %d", t.depth)}
	}
	if err := visit(outside(in), fileInfo{entry}, nil); err != nil || !isDir(entry) {
		return err
	}
	children, err := t.tree.List(in)
	if err != nil {
		return visit(outside(in), fileInfo{entry}, err)
	}
	for _, child := range children {
		err := t.walkFrom(path.Join(in, child.Name), child, visit, depth-1)
		if errors.Is(err, filepath.SkipDir) {
			if !isDir(child) {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Create fails.
func (t treeFS) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir fails.
func (t treeFS) Mkdir(string) error { return errReadOnly }

// MkdirAll fails.
func (t treeFS) MkdirAll(string) error { return errReadOnly }

// RemoveAll fails.
func (t treeFS) RemoveAll(string) error { return errReadOnly }

// WriteFile fails.
func (t treeFS) WriteFile(string, []byte) error { return errReadOnly }

// A submodule whose content was not fetched is an empty directory, as in a
// checkout.
func isDir(entry model.Entry) bool {
	return entry.Kind == model.DirEntry || entry.Kind == model.SubmoduleEntry
}

type openFile struct {
	io.Reader
	name string
}

func (f *openFile) Close() error              { return nil }
func (f *openFile) Write([]byte) (int, error) { return 0, errReadOnly }
func (f *openFile) Stat() (fs.FileInfo, error) {
	return fileInfo{model.Entry{Name: f.name, Kind: model.FileEntry}}, nil
}

// fileInfo tells the type of an entry, and nothing that a trace does not hold.
type fileInfo struct{ entry model.Entry }

func (i fileInfo) Name() string       { return i.entry.Name }
func (i fileInfo) Size() int64        { return 0 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return isDir(i.entry) }
func (i fileInfo) Sys() any           { return nil }

func (i fileInfo) Mode() fs.FileMode {
	switch i.entry.Kind {
	case model.DirEntry, model.SubmoduleEntry:
		return fs.ModeDir | 0o755
	case model.LinkEntry:
		return fs.ModeSymlink | 0o777
	case model.ExecutableEntry:
		return 0o755
	}
	return 0o644
}
