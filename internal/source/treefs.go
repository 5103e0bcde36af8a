package source

import (
	"io"
	"io/fs"

	"plumb.dev/plumb/internal/model"
)

// treeFS shows the names of a tree to what looks for patterns. Links and
// contents are not part of it.
type treeFS struct{ tree *Tree }

// Open implements fs.FS; what it returns cannot be read.
func (t treeFS) Open(name string) (fs.File, error) {
	info, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	return nameOnly{info}, nil
}

// Stat implements fs.StatFS.
func (t treeFS) Stat(name string) (fs.FileInfo, error) {
	_, n := t.tree.locate(name)
	if !fs.ValidPath(name) || n == nil || n.kind == model.LinkEntry {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return infoOf(n), nil
}

// ReadDir implements fs.ReadDirFS.
func (t treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	_, n := t.tree.locate(name)
	if !fs.ValidPath(name) || n == nil || n.dir == nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var all []fs.DirEntry
	for i := range n.dir.entries {
		if e := &n.dir.entries[i]; e.kind != model.LinkEntry {
			all = append(all, fs.FileInfoToDirEntry(infoOf(e)))
		}
	}
	return all, nil
}

func infoOf(n *node) fileInfo {
	name := n.name
	if name == "" {
		name = "."
	}
	return fileInfo{name: name, dir: n.kind == model.DirEntry || n.kind == model.SubmoduleEntry}
}

// nameOnly is a file of which no more than the name is known.
type nameOnly struct{ info fs.FileInfo }

func (f nameOnly) Stat() (fs.FileInfo, error) { return f.info, nil }
func (nameOnly) Read([]byte) (int, error)     { return 0, io.EOF }
func (nameOnly) Close() error                 { return nil }
