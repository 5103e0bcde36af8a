package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"

	"plumb.dev/plumb/internal/model"
)

// treeEntry is one entry of a Git tree object.
type treeEntry struct {
	name string
	kind model.EntryKind
	hash plumbing.Hash
}

// kinds are the modes that Git writes, and the group-writable one that it wrote
// long ago.
var kinds = map[string]model.EntryKind{
	"40000":  model.DirEntry,
	"100644": model.FileEntry,
	"100664": model.FileEntry,
	"100755": model.ExecutableEntry,
	"120000": model.LinkEntry,
	"160000": model.SubmoduleEntry,
}

// parseTree decodes a tree object. Names that could not stand in a checkout are
// refused, as Git refuses them.
func parseTree(content []byte) ([]treeEntry, error) {
	var entries []treeEntry
	for len(content) > 0 {
		space := bytes.IndexByte(content, ' ')
		zero := bytes.IndexByte(content, 0)
		if space < 0 || zero < space || len(content) < zero+21 {
			return nil, errors.New("a directory of the repository is malformed")
		}
		e := treeEntry{name: string(content[space+1 : zero])}
		mode := strings.TrimLeft(string(content[:space]), "0")
		kind, known := kinds[mode]
		if !known {
			return nil, fmt.Errorf("a directory of the repository has an entry %q of unknown mode %q", e.name, mode)
		}
		e.kind = kind
		copy(e.hash[:], content[zero+1:])
		if err := validName(e.name); err != nil {
			return nil, err
		}
		entries = append(entries, e)
		content = content[zero+21:]
	}
	return entries, nil
}

// encodeTree is the opposite of parseTree.
func encodeTree(entries []treeEntry) []byte {
	// Git orders a directory as if its name ended with a slash.
	sortKey := func(e treeEntry) string {
		if e.kind == model.DirEntry {
			return e.name + "/"
		}
		return e.name
	}
	slices.SortFunc(entries, func(a, b treeEntry) int { return strings.Compare(sortKey(a), sortKey(b)) })
	var content []byte
	for _, e := range entries {
		content = fmt.Appendf(content, "%s %s\x00", modes[e.kind], e.name)
		content = append(content, e.hash[:]...)
	}
	return content
}

// modes are what Git writes today.
var modes = map[model.EntryKind]string{
	model.DirEntry: "40000", model.FileEntry: "100644", model.ExecutableEntry: "100755",
	model.LinkEntry: "120000", model.SubmoduleEntry: "160000",
}

const maxName = 4096

func validName(name string) error {
	bad := name == "" || name == "." || name == ".." || strings.Contains(name, "/") ||
		strings.EqualFold(name, ".git") || len(name) > maxName
	if bad {
		if len(name) > 100 {
			name = name[:100] + "…"
		}
		return fmt.Errorf("the repository has an entry of the forbidden name %q", name)
	}
	return nil
}

// commitTree finds the directory of a commit object.
func commitTree(content []byte) (plumbing.Hash, error) {
	return headerHash(content, "tree")
}

// tagTarget finds what a tag object points at.
func tagTarget(content []byte) (plumbing.Hash, error) {
	return headerHash(content, "object")
}

// headerHash reads the hash of the first header line, which Git requires there.
func headerHash(content []byte, name string) (plumbing.Hash, error) {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	value, ok := strings.CutPrefix(string(line), name+" ")
	if !ok || !plumbing.IsHash(value) {
		return plumbing.ZeroHash, errors.New("a commit or tag of the repository is malformed")
	}
	return plumbing.NewHash(value), nil
}

// commitParents lists the parents of a commit object.
func commitParents(content []byte) []plumbing.Hash {
	var parents []plumbing.Hash
	for {
		line, rest, more := bytes.Cut(content, []byte("\n"))
		if len(line) == 0 || !more {
			return parents
		}
		if value, ok := strings.CutPrefix(string(line), "parent "); ok && plumbing.IsHash(value) {
			parents = append(parents, plumbing.NewHash(value))
		}
		content = rest
	}
}

// describeCommit reads author, time and subject of a commit object.
func describeCommit(h plumbing.Hash, content []byte) (model.Commit, *gitobject.Commit, error) {
	encoded := &plumbing.MemoryObject{}
	encoded.SetType(plumbing.CommitObject)
	if _, err := encoded.Write(content); err != nil {
		return model.Commit{}, nil, err
	}
	var c gitobject.Commit
	if err := c.Decode(encoded); err != nil && !errors.Is(err, io.EOF) {
		return model.Commit{}, nil, fmt.Errorf("commit %s is malformed", h)
	}
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	return model.Commit{
		Hash:    h.String(),
		Author:  fmt.Sprintf("%s <%s>", c.Author.Name, c.Author.Email),
		Message: subject,
		When:    c.Committer.When,
	}, &c, nil
}
