package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// node is one entry of a directory.
type node struct {
	name string
	kind model.EntryKind
	hash plumbing.Hash // blob of a file or link; commit of a submodule that was not entered
	dir  *dir          // set for DirEntry
}

// dir is an immutable directory. Trees of successive revisions share the
// directories that did not change.
type dir struct {
	entries []node // sorted by name
	digest  [sha256.Size]byte
	files   int    // files and links below
	repo    *depot // that the files and links of this directory come from
	origin  origin
	// hidden are directories that ignore rules leave nothing of. They are kept
	// for the next build, which need not read them again.
	hidden   []node
	patterns bool // a .sourceignore file with patterns stands here or below
}

// newDir seals a directory; entries must be sorted by name.
func newDir(repo *depot, from origin, entries []node) *dir {
	d := &dir{entries: entries, repo: repo, origin: from}
	h := sha256.New()
	for i := range entries {
		e := &entries[i]
		_, _ = fmt.Fprintf(h, "%d %s\x00", e.kind, e.name)
		if e.dir == nil {
			_, _ = h.Write(e.hash[:])
			if e.kind != model.SubmoduleEntry {
				d.files++
			}
			continue
		}
		_, _ = h.Write(e.dir.digest[:])
		d.files += e.dir.files
	}
	h.Sum(d.digest[:0])
	return d
}

func (d *dir) find(name string) *node {
	i := sort.Search(len(d.entries), func(i int) bool { return d.entries[i].name >= name })
	if i < len(d.entries) && d.entries[i].name == name {
		return &d.entries[i]
	}
	return nil
}

// Tree is what a source holds at one revision. It is immutable and safe for
// concurrent use. Paths are slash separated and relative to the root, which is
// "" or "."; a path that leaves the root does not exist.
type Tree struct {
	store    *Store
	source   object.ID
	root     *dir
	revision string
	commit   model.Commit
	verified string
	inputs   string // fingerprint of everything that the tree was made of
	contents map[*depot][]*objects
	observed Observed
	archive  atomic.Pointer[model.Artifact] // what Archive returned last
	file     product
	metadata map[string]string
	chart    *model.Chart
	lent     *Tree // of another source, which this one is the same as; nil: it is nobody else's
}

// Observed is what a tree was made with, as statuses report it.
type Observed struct {
	Ignore      *string  // spec.ignore
	SparsePaths []string // spec.sparseCheckout
	Recursed    bool     // spec.recurseSubmodules
	// Includes are the included sources in the order of spec.include:
	// Revision, Digest and Path of their archives when those were built, or
	// only the revision.
	Includes []model.Artifact
	// ValuesFiles are those that a chart's values.yaml was merged from
	// (spec.valuesFiles), without the missing ones that are ignored.
	ValuesFiles []string
}

// madeOf reports whether the tree is of the store, made of the same, and can be
// read.
func (t *Tree) madeOf(s *Store, inputs string) bool {
	if t.store != s || t.inputs != inputs {
		return false
	}
	for _, logs := range t.contents {
		for _, log := range logs {
			if log.damaged.Load() {
				return false
			}
		}
	}
	return true
}

// Revision is what Flux prints for the reference: "main@sha1:…" for branches
// and tags (semver included), "refs/…@sha1:…" for names, "sha1:…" for a commit
// without a branch. For a model.GitRef.Revision it is the commit's hash, as
// Argo CD shows it. Of an OCI artifact it is "tag@sha256:…" or "sha256:…", of a
// bucket and of the index of a Helm repository "sha256:…", of a chart its
// version, of an external artifact what its status says, of a generated one
// "latest@sha256:…" or that of the source it names.
func (t *Tree) Revision() string { return t.revision }

// Digest is "sha256:…" over names, modes and contents of everything in the
// tree. Equal digests mean equal content, whatever the revision or source.
func (t *Tree) Digest() string { return dirDigest(t.root) }

// Commit describes the commit the tree was made from; the zero value for one
// that was made from something else.
func (t *Tree) Commit() model.Commit { return t.commit }

// Verified is the message of a successful signature verification, as
// source-controller writes it into the SourceVerified condition; "" when none
// was asked for.
func (t *Tree) Verified() string { return t.verified }

// Metadata are the annotations of an OCI artifact, or the origin revision of a
// generated one, as status.artifact.metadata shows them; nil for others. It must
// not be changed.
func (t *Tree) Metadata() map[string]string { return t.metadata }

// OriginRevision is the revision that the content was made from, as far as
// whoever made it says so.
func (t *Tree) OriginRevision() string { return t.metadata[originRevision] }

// Chart describes the chart of a ChartSource; nil for others.
func (t *Tree) Chart() *model.Chart { return t.chart }

// Observed tells what the tree was made with.
func (t *Tree) Observed() Observed { return t.observed }

// Files is the number of files and links in the tree.
func (t *Tree) Files() int { return t.root.files }

func dirDigest(d *dir) string { return "sha256:" + hex.EncodeToString(d.digest[:]) }

// clean turns a path into its elements. ok is false when it leaves the root.
func clean(p string) (elements []string, ok bool) {
	if strings.ContainsRune(p, 0) {
		return nil, false
	}
	p = path.Clean(strings.TrimPrefix(p, "/"))
	switch {
	case p == ".":
		return nil, true
	case p == ".." || strings.HasPrefix(p, "../"):
		return nil, false
	}
	return strings.Split(p, "/"), true
}

// locate walks to a path. It follows no links.
func (t *Tree) locate(p string) (parent *dir, found *node) {
	elements, ok := clean(p)
	if !ok {
		return nil, nil
	}
	if len(elements) == 0 {
		return nil, &node{kind: model.DirEntry, dir: t.root}
	}
	at := t.root
	for i, name := range elements {
		n := at.find(name)
		if n == nil {
			return nil, nil
		}
		if i == len(elements)-1 {
			return at, n
		}
		if n.dir == nil {
			return nil, nil
		}
		at = n.dir
	}
	return nil, nil
}

// entry describes a node; within is the directory that holds it.
func (t *Tree) entry(within *dir, n *node) model.Entry {
	e := model.Entry{Name: n.name, Kind: n.kind, Size: -1}
	switch {
	case n.dir != nil:
		e.Digest = dirDigest(n.dir)
	default:
		e.Digest = "sha1:" + n.hash.String()
		if n.kind != model.SubmoduleEntry {
			e.Size = t.size(within.repo, n.hash)
		}
	}
	return e
}

// Lookup describes one path, links themselves rather than their targets. ok is
// false when the tree has no such path.
func (t *Tree) Lookup(p string) (entry model.Entry, ok bool, err error) {
	within, n := t.locate(p)
	if n == nil {
		return model.Entry{}, false, nil
	}
	return t.entry(within, n), true, nil
}

// List returns the entries of a directory, sorted by name. A submodule that
// was not entered is an empty directory, as in a checkout. The error of a path
// that is no directory wraps fs.ErrNotExist.
func (t *Tree) List(p string) ([]model.Entry, error) {
	_, n := t.locate(p)
	switch {
	case n == nil:
		return nil, t.missing(p, "no such directory")
	case n.kind == model.SubmoduleEntry:
		return nil, nil
	case n.dir == nil:
		return nil, t.missing(p, "not a directory")
	}
	entries := make([]model.Entry, len(n.dir.entries))
	for i := range n.dir.entries {
		entries[i] = t.entry(n.dir, &n.dir.entries[i])
	}
	return entries, nil
}

// Read returns the content of a file, at most Limits.FileBytes. It does not
// follow links. The error of a path that is no file wraps fs.ErrNotExist;
// damage on disk is a *model.Fault that the next Fetch mends.
func (t *Tree) Read(p string) ([]byte, error) {
	within, n := t.locate(p)
	switch {
	case n == nil:
		return nil, t.missing(p, "no such file")
	case n.kind != model.FileEntry && n.kind != model.ExecutableEntry:
		return nil, t.missing(p, "not a regular file")
	}
	return t.blob(p, within.repo, n.hash)
}

// Link returns the target of a symbolic link as it stands in the repository.
func (t *Tree) Link(p string) (string, error) {
	within, n := t.locate(p)
	switch {
	case n == nil:
		return "", t.missing(p, "no such file")
	case n.kind != model.LinkEntry:
		return "", t.missing(p, "not a symbolic link")
	}
	target, err := t.blob(p, within.repo, n.hash)
	return string(target), err
}

func (t *Tree) missing(p, why string) error {
	return &fs.PathError{Op: "read", Path: p, Err: fmt.Errorf("%s in %s at %s: %w", why, t.source, t.revision, fs.ErrNotExist)}
}

// blob reads an object from the first log that holds it.
func (t *Tree) blob(p string, repo *depot, h plumbing.Hash) ([]byte, error) {
	last := errNoObject
	for _, log := range t.contents[repo] {
		_, content, err := log.read(h)
		if err == nil {
			return content, nil
		}
		if !errors.Is(err, errNoObject) {
			last = err
		}
	}
	return nil, &model.Fault{
		Reason:  reasonGitOperationFailed,
		Message: fmt.Sprintf("the local copy of %s is damaged: %s cannot be read", t.source, p),
		Advice:  "it is fetched again with the next look at the repository",
		Retry:   true,
		Err:     last,
	}
}

func (t *Tree) size(repo *depot, h plumbing.Hash) int64 {
	for _, log := range t.contents[repo] {
		if size, ok := log.size(h); ok {
			return size
		}
	}
	return -1
}

// maxChanges bounds the answer of Changes; beyond it a full comparison by the
// reader is no more work.
const maxChanges = 50_000

// Changes lists the paths that differ between since and t, sorted by path. ok
// is false when the two cannot be compared cheaply: since is nil, comes from
// another store, or more than 50,000 paths differ. The cost is proportional to
// the difference.
func (t *Tree) Changes(since *Tree) (changes []model.PathChange, ok bool) {
	if since == nil || since.store != t.store {
		return nil, false
	}
	c := comparison{}
	c.dirs("", since.root, t.root)
	if c.overflow {
		return nil, false
	}
	sort.Slice(c.changes, func(i, j int) bool {
		a, b := c.changes[i], c.changes[j]
		if a.Path != b.Path {
			return a.Path < b.Path
		}
		return a.Kind < b.Kind
	})
	return c.changes, true
}

type comparison struct {
	changes  []model.PathChange
	overflow bool
}

func (c *comparison) add(p string, kind model.PathChangeKind) {
	if len(c.changes) >= maxChanges {
		c.overflow = true
		return
	}
	c.changes = append(c.changes, model.PathChange{Path: p, Kind: kind})
}

// dirs compares two directories, descending only where digests differ.
func (c *comparison) dirs(at string, before, after *dir) {
	if before == after || before.digest == after.digest || c.overflow {
		return
	}
	listed := false
	i, j := 0, 0
	for i < len(before.entries) || j < len(after.entries) {
		switch {
		case j == len(after.entries) || i < len(before.entries) && before.entries[i].name < after.entries[j].name:
			c.whole(at, &before.entries[i], model.PathRemoved)
			listed = true
			i++
		case i == len(before.entries) || after.entries[j].name < before.entries[i].name:
			c.whole(at, &after.entries[j], model.PathAdded)
			listed = true
			j++
		default:
			listed = c.same(at, &before.entries[i], &after.entries[j]) || listed
			i++
			j++
		}
	}
	if listed {
		c.add(at, model.PathListed)
	}
}

// same compares two entries of one name and reports whether the type differs.
func (c *comparison) same(at string, before, after *node) (typeDiffers bool) {
	switch {
	case before.dir != nil && after.dir != nil:
		if before.dir.digest == after.dir.digest {
			return false
		}
		c.dirs(path.Join(at, before.name), before.dir, after.dir)
		return false
	case before.dir != nil || after.dir != nil:
		c.whole(at, before, model.PathRemoved)
		c.whole(at, after, model.PathAdded)
		return true
	case before.kind != after.kind || before.hash != after.hash:
		c.add(path.Join(at, before.name), model.PathChanged)
	}
	return before.kind != after.kind
}

// whole reports an entry and everything below it.
func (c *comparison) whole(at string, n *node, kind model.PathChangeKind) {
	p := path.Join(at, n.name)
	c.add(p, kind)
	if n.dir == nil {
		return
	}
	for i := range n.dir.entries {
		if c.overflow {
			return
		}
		c.whole(p, &n.dir.entries[i], kind)
	}
}
