package render

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"plumb.dev/plumb/internal/model"
)

// Directory is a local directory as a Tree, for builds that no source stands
// behind. Nothing outside of root can be read: paths are opened relative to it
// by the operating system, which refuses links that lead out. A .git directory
// is left out. What has been looked at once is taken to stay as it is.
// Files larger than the default of Limits.FileBytes are an error when read.
func Directory(dir string) (*DirectoryTree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &DirectoryTree{root: root, digests: map[string]string{}}, nil
}

// DirectoryTree is a Tree of a local directory. Close it after use.
type DirectoryTree struct {
	root *os.Root

	mu      sync.Mutex
	digests map[string]string
}

var _ Tree = (*DirectoryTree)(nil)

// Close releases the directory.
func (d *DirectoryTree) Close() error { return d.root.Close() }

// Lookup implements Tree. The digest of a directory is not computed.
func (d *DirectoryTree) Lookup(p string) (model.Entry, bool, error) {
	if p == "" {
		return model.Entry{Kind: model.DirEntry, Size: -1}, true, nil
	}
	if hidden(p) {
		return model.Entry{}, false, nil
	}
	linked, err := d.throughLink(p)
	if err != nil || linked {
		return model.Entry{}, false, err
	}
	info, err := d.root.Lstat(native(p))
	switch {
	case errors.Is(err, fs.ErrNotExist), isNotDirectory(err):
		return model.Entry{}, false, nil
	case err != nil:
		return model.Entry{}, false, err
	}
	entry, ok := entryOf(path.Base(p), info.Mode(), info.Size())
	if !ok {
		return model.Entry{}, false, nil
	}
	if entry.Kind == model.DirEntry {
		return entry, true, nil
	}
	entry.Digest, err = d.digest(p, entry.Kind)
	return entry, err == nil, err
}

// List implements Tree.
func (d *DirectoryTree) List(dir string) ([]model.Entry, error) {
	name := native(dir)
	if dir == "" {
		name = "."
	}
	opened, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	infos, err := opened.Readdir(-1)
	if err != nil {
		return nil, err
	}
	var entries []model.Entry
	for _, info := range infos {
		if dir == "" && info.Name() == ".git" {
			continue
		}
		if entry, ok := entryOf(info.Name(), info.Mode(), info.Size()); ok {
			entries = append(entries, entry)
		}
	}
	slices.SortFunc(entries, func(a, b model.Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// Read implements Tree.
func (d *DirectoryTree) Read(p string) ([]byte, error) {
	file, err := d.root.Open(native(p))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	most := Limits{}.orDefaults().FileBytes
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > most {
		return nil, &LimitError{Path: p, Message: fmt.Sprintf("the file has more than the %d bytes that are read", most)}
	}
	return content, nil
}

// Link implements Tree.
func (d *DirectoryTree) Link(p string) (string, error) {
	target, err := d.root.Readlink(native(p))
	return filepath.ToSlash(target), err
}

// throughLink reports whether a directory on the way to p is a link.
func (d *DirectoryTree) throughLink(p string) (bool, error) {
	for i, c := range p {
		if c != '/' {
			continue
		}
		info, err := d.root.Lstat(native(p[:i]))
		if errors.Is(err, fs.ErrNotExist) || isNotDirectory(err) {
			return true, nil
		}
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return err == nil, err
		}
	}
	return false, nil
}

func (d *DirectoryTree) digest(p string, kind model.EntryKind) (string, error) {
	d.mu.Lock()
	known, ok := d.digests[p]
	d.mu.Unlock()
	if ok {
		return known, nil
	}
	sum := sha256.New()
	if kind == model.LinkEntry {
		target, err := d.Link(p)
		if err != nil {
			return "", err
		}
		_, _ = io.WriteString(sum, target)
	} else {
		file, err := d.root.Open(native(p))
		if err != nil {
			return "", err
		}
		_, err = io.Copy(sum, file)
		_ = file.Close()
		if err != nil {
			return "", err
		}
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	d.mu.Lock()
	d.digests[p] = digest
	d.mu.Unlock()
	return digest, nil
}

// entryOf is false for what no tree holds: devices, sockets, pipes.
func entryOf(name string, mode fs.FileMode, size int64) (model.Entry, bool) {
	entry := model.Entry{Name: name, Size: size}
	switch {
	case mode.IsDir():
		entry.Kind, entry.Size = model.DirEntry, -1
	case mode&fs.ModeSymlink != 0:
		entry.Kind = model.LinkEntry
	case mode.IsRegular() && mode&0o111 != 0:
		entry.Kind = model.ExecutableEntry
	case mode.IsRegular():
		entry.Kind = model.FileEntry
	default:
		return model.Entry{}, false
	}
	return entry, true
}

func native(p string) string { return filepath.FromSlash(p) }

// hidden reports whether a path of the root is hidden from builds.
func hidden(p string) bool { return p == ".git" || strings.HasPrefix(p, ".git/") }

func isNotDirectory(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
