package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
)

// origin says what a directory was built from: the same origin at the same path
// makes the same directory.
type origin struct {
	git      plumbing.Hash
	included [sha256.Size]byte
	rules    [sha256.Size]byte
	whole    bool // not narrowed by sparse directories
}

// raw is a directory before ignore rules: of a commit, or of an included tree.
type raw struct {
	repo     *depot
	log      *objects
	git      plumbing.Hash // the tree object
	included *dir
	from     *Tree // that included belongs to
}

// mount replaces or adds directories below a directory of a commit.
type mount struct {
	content  *raw
	children map[string]*mount
}

// place puts content at a path.
func (m *mount) place(elements []string, content *raw) {
	at := m
	for _, e := range elements {
		if at.children == nil {
			at.children = map[string]*mount{}
		}
		next := at.children[e]
		if next == nil {
			next = &mount{}
			at.children[e] = next
		}
		at = next
	}
	at.content = content
}

func (m *mount) child(name string) *mount {
	if m == nil {
		return nil
	}
	return m.children[name]
}

// builder makes the nodes of a tree, taking over those of the tree before.
type builder struct {
	ctx    context.Context
	limits Limits
	sparse []string // path prefixes; empty: everything
	files  int
}

// build makes the root directory. before may be nil.
func (b *builder) build(root *raw, mounts *mount, spec model.Source, before *dir) (*dir, error) {
	if spec.Implied {
		return b.dir(nil, root, mounts, everything, len(b.sparse) == 0, before)
	}
	specIgnore := spec.Ignore
	anyPattern := specIgnore != nil && len(parsePatterns(*specIgnore, nil)) > 0
	guess := anyPattern || before != nil && before.patterns
	for range 2 {
		b.files = 0
		d, err := b.dir(nil, root, mounts, newRules(specIgnore, guess), len(b.sparse) == 0, before)
		if err != nil {
			return nil, err
		}
		// Whether a .sourceignore file stands anywhere is known only now.
		if right := anyPattern || d.patterns; right != guess {
			guess = right
			continue
		}
		return d, nil
	}
	return nil, errors.New("ignore rules do not settle") // unreachable: the answer does not depend on the guess
}

// item is an entry of a directory before ignore rules.
type item struct {
	node
	raw   *raw // set for directories
	mount *mount
}

// dir builds one directory.
func (b *builder) dir(at []string, from *raw, mounts *mount, outer *rules, whole bool, before *dir) (*dir, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, cause(b.ctx, err)
	}
	if len(at) > b.limits.Depth {
		return nil, fmt.Errorf("%w: directories are nested deeper than %d", errTooLarge, b.limits.Depth)
	}
	is := origin{git: from.git, rules: outer.key, whole: whole}
	if from.included != nil {
		is.included = from.included.digest
	}
	if mounts == nil && whole && before != nil && before.origin == is && before.repo == from.repo {
		return before, b.count(before.files)
	}
	items, err := b.items(at, from, mounts, whole)
	if err != nil {
		return nil, err
	}
	inner, patterns, err := b.rulesOf(at, from, items, outer)
	if err != nil {
		return nil, err
	}
	var entries, hidden []node
	for _, it := range items {
		elements := append(at[:len(at):len(at)], it.name)
		if it.raw == nil {
			if !inner.excludes(elements, it.kind == model.SubmoduleEntry) {
				entries = append(entries, it.node)
			}
			continue
		}
		child, err := b.dir(elements, it.raw, it.mount, inner, b.whole(elements, whole, it), before.below(it.name))
		if err != nil {
			return nil, err
		}
		patterns = patterns || child.patterns
		n := node{name: it.name, kind: model.DirEntry, dir: child}
		switch {
		case len(child.entries) == 0 && inner.excludes(elements, true):
			hidden = append(hidden, n)
		case len(child.entries) == 0 && len(child.hidden) == 0 && !child.origin.whole:
			// Nothing of it lies in the sparse directories.
		default:
			entries = append(entries, n)
		}
	}
	d := newDir(from.repo, is, entries)
	d.hidden, d.patterns = hidden, patterns
	own := d.files
	for i := range entries {
		if entries[i].dir != nil {
			own -= entries[i].dir.files
		}
	}
	return d, b.count(own + 1) // directories count too: they cost memory
}

// below finds the directory of a name, be it visible or not.
func (d *dir) below(name string) *dir {
	if d == nil {
		return nil
	}
	if n := d.find(name); n != nil {
		return n.dir
	}
	for i := range d.hidden {
		if d.hidden[i].name == name {
			return d.hidden[i].dir
		}
	}
	return nil
}

func (b *builder) count(files int) error {
	b.files += files
	if b.files > b.limits.Files {
		return fmt.Errorf("%w: the tree holds more than %d files", errTooLarge, b.limits.Files)
	}
	return nil
}

// whole reports whether everything in a directory lies in the sparse
// directories. Included content is not subject to them.
func (b *builder) whole(elements []string, outer bool, it item) bool {
	if outer || it.raw.included != nil {
		return true
	}
	full := strings.Join(elements, "/") + "/"
	return slices.ContainsFunc(b.sparse, func(prefix string) bool { return strings.HasPrefix(full, prefix) })
}

// inSparse reports whether a file lies in the sparse directories, or a
// directory may hold some that do. As in go-git, they are prefixes of paths.
func (b *builder) inSparse(elements []string, isDir bool) bool {
	full := strings.Join(elements, "/")
	return slices.ContainsFunc(b.sparse, func(prefix string) bool {
		return strings.HasPrefix(full, prefix) || isDir && (strings.HasPrefix(full+"/", prefix) || strings.HasPrefix(prefix, full+"/"))
	})
}

// items lists a directory with what is mounted in it, sorted by name.
func (b *builder) items(at []string, from *raw, mounts *mount, whole bool) ([]item, error) {
	items, err := from.items()
	if err != nil {
		return nil, err
	}
	if !whole {
		items = slices.DeleteFunc(items, func(it item) bool {
			return !b.inSparse(append(at[:len(at):len(at)], it.name), it.raw != nil)
		})
	}
	if mounts != nil {
		items = overlay(items, mounts, from)
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(items); i++ {
		if items[i].name == items[i-1].name {
			return nil, fmt.Errorf("a directory of the repository has two entries of the name %q", items[i].name)
		}
	}
	if len(items) > b.limits.Files {
		return nil, fmt.Errorf("%w: the tree holds more than %d files", errTooLarge, b.limits.Files)
	}
	return items, nil
}

// overlay replaces or adds the mounted entries.
func overlay(items []item, mounts *mount, from *raw) []item {
	for i := range items {
		if m := mounts.child(items[i].name); m != nil && (m.content != nil || items[i].raw != nil) {
			if m.content != nil {
				items[i].node = node{name: items[i].name, kind: model.DirEntry}
				items[i].raw = m.content
			}
			items[i].mount = m
		}
	}
	for name, m := range mounts.children {
		if slices.ContainsFunc(items, func(it item) bool { return it.name == name }) {
			continue
		}
		content := m.content
		if content == nil {
			content = &raw{repo: from.repo, log: from.log} // a directory on the way to a mount
		}
		items = append(items, item{node: node{name: name, kind: model.DirEntry}, raw: content, mount: m})
	}
	return items
}

// items lists the entries of a commit's directory or of an included one.
func (r *raw) items() ([]item, error) {
	if r.included != nil {
		return r.includedItems(), nil
	}
	if r.git.IsZero() {
		return nil, nil
	}
	typ, content, err := r.log.read(r.git)
	if err != nil {
		return nil, err
	}
	if typ != plumbing.TreeObject {
		return nil, fmt.Errorf("the repository names a %s where a directory belongs", typ)
	}
	entries, err := parseTree(content)
	if err != nil {
		return nil, err
	}
	items := make([]item, len(entries))
	for i, e := range entries {
		items[i].node = node{name: e.name, kind: e.kind, hash: e.hash}
		if e.kind == model.DirEntry {
			items[i].hash = plumbing.ZeroHash
			items[i].raw = &raw{repo: r.repo, log: r.log, git: e.hash}
		}
	}
	return items, nil
}

// includedItems lists a directory of another tree. Links are left out, as they
// are not in the archive that source-controller includes from.
func (r *raw) includedItems() []item {
	items := make([]item, 0, len(r.included.entries))
	for _, e := range r.included.entries {
		if e.kind == model.LinkEntry {
			continue
		}
		it := item{node: node{name: e.name, kind: e.kind, hash: e.hash}}
		if e.dir != nil {
			it.raw = &raw{repo: e.dir.repo, included: e.dir, from: r.from}
		}
		items = append(items, it)
	}
	return items
}

// rulesOf adds the patterns of a directory's own .sourceignore file.
func (b *builder) rulesOf(at []string, from *raw, items []item, outer *rules) (inner *rules, added bool, err error) {
	if outer.closed {
		return outer, false, nil
	}
	i, found := slices.BinarySearchFunc(items, ignoreFile, func(it item, name string) int { return strings.Compare(it.name, name) })
	if !found || items[i].kind != model.FileEntry && items[i].kind != model.ExecutableEntry {
		return outer, false, nil
	}
	where := strings.Join(append(at[:len(at):len(at)], ignoreFile), "/")
	content, err := from.read(where, items[i].hash)
	if err != nil {
		return nil, false, err
	}
	if len(content) > maxIgnoreFile {
		return nil, false, errIgnore{where + " is too large"}
	}
	patterns := parsePatterns(string(content), slices.Clone(at))
	if len(patterns) == 0 {
		return outer, false, nil
	}
	inner = outer.with(patterns, strings.Join(at, "/"), string(content))
	if len(inner.weak) > maxPatterns {
		return nil, false, errIgnore{"too many patterns are in force at " + where}
	}
	return inner, true, nil
}

// errIgnore is a .sourceignore file that is not accepted.
type errIgnore struct{ text string }

func (e errIgnore) Error() string {
	return "failed to load source ignore patterns from repository: " + e.text
}

// read returns the content of a file that stands in the directory.
func (r *raw) read(where string, h plumbing.Hash) ([]byte, error) {
	if r.included != nil {
		return r.from.blob(where, r.repo, h)
	}
	_, content, err := r.log.read(h)
	return content, err
}
