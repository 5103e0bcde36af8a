package render

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"plumb.dev/plumb/internal/model"
)

// Tree is what a render may read: the immutable content of one revision.
// Paths are cleaned, slash separated, without a leading slash; "" is the root.
// Links are never followed: a path below a link or a file is not found.
type Tree interface {
	// Lookup says what stands at a path; false when nothing does.
	Lookup(path string) (model.Entry, bool, error)
	// List returns the entries of a directory, sorted by name.
	List(dir string) ([]model.Entry, error)
	// Read returns the content of a file. The caller must not change it.
	Read(path string) ([]byte, error)
	// Link returns the target of a symbolic link as it is stored.
	Link(path string) (string, error)
}

// Limits bound what one render may cost. A zero field means the default.
type Limits struct {
	Files     int   // files read; default 20,000
	FileBytes int64 // size of one file; default 16 MiB
	Bytes     int64 // of all files together; default 128 MiB
	Depth     int   // directories below each other, links in a row, kustomizations in a chain; default 64
	Layers    int   // kustomizations built, counting one that is used twice twice; default 2,000
	Objects   int   // in the result; default 20,000
	Nodes     int   // YAML values in one file once its aliases are expanded; default 2,000,000

	// What the Jsonnet of one directory may cost.
	JsonnetTime  time.Duration // to evaluate all of it; default 60 s
	JsonnetBytes int64         // of memory, and of one result; default 512 MiB
	JsonnetStack int           // calls in each other; default 500, as upstream's

	// What the templates of one chart may cost.
	HelmTime  time.Duration // default 60 s
	HelmBytes int64         // that they print, and of one text; default 64 MiB
}

func (l Limits) orDefaults() Limits {
	set := func(field *int, value int) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&l.Files, 20_000)
	set(&l.Depth, 64)
	set(&l.Layers, 2_000)
	set(&l.Objects, 20_000)
	set(&l.Nodes, 2_000_000)
	if l.FileBytes <= 0 {
		l.FileBytes = 16 << 20
	}
	if l.Bytes <= 0 {
		l.Bytes = 128 << 20
	}
	set(&l.JsonnetStack, 500)
	if l.HelmTime <= 0 {
		l.HelmTime = time.Minute
	}
	if l.HelmBytes <= 0 {
		l.HelmBytes = 64 << 20
	}
	if l.JsonnetTime <= 0 {
		l.JsonnetTime = time.Minute
	}
	if l.JsonnetBytes <= 0 {
		l.JsonnetBytes = 512 << 20
	}
	return l
}

// Recorder is a Tree that answers from another one and remembers every
// question. It tells no more than it records: entries carry no digest and no
// size, so that a render cannot depend on content that it did not read.
// It may be used by several goroutines.
type Recorder struct {
	ctx    context.Context
	tree   Tree
	limits Limits

	mu      sync.Mutex
	answers map[question]string // digests as in model.Read
	content map[string][]byte   // what was read, so that a second read is free
	bytes   int64
	whole   bool // a directory was read with all that is below it
	failed  error
}

// A question is a model.Read without its answer.
type question struct {
	kind model.ReadKind
	path string
}

// Record wraps tree. Reads fail once ctx is done or a limit is reached.
func Record(ctx context.Context, tree Tree, limits Limits) *Recorder {
	return &Recorder{
		ctx: ctx, tree: tree, limits: limits.orDefaults(),
		answers: map[question]string{}, content: map[string][]byte{},
	}
}

// Lookup records the type of the path, or that nothing is there.
func (r *Recorder) Lookup(path string) (model.Entry, bool, error) {
	entry, found, err := r.look(path)
	if err != nil {
		return model.Entry{}, false, err
	}
	if !found {
		r.remember(model.ReadAbsent, path, "")
		return model.Entry{}, false, nil
	}
	r.remember(model.ReadType, path, typeOf(entry))
	return model.Entry{Name: entry.Name, Kind: entry.Kind, Size: -1}, true, nil
}

// List records the names and types in a directory.
func (r *Recorder) List(dir string) ([]model.Entry, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, r.fail(err)
	}
	entries, err := r.tree.List(dir)
	if err != nil {
		return nil, r.fail(err)
	}
	r.remember(model.ReadList, dir, listDigest(entries))
	bare := make([]model.Entry, len(entries))
	for i, entry := range entries {
		bare[i] = model.Entry{Name: entry.Name, Kind: entry.Kind, Size: -1}
	}
	return bare, nil
}

// Read records the content and the mode of a file. A path that is no file is
// an error that wraps fs.ErrNotExist or fs.ErrInvalid.
func (r *Recorder) Read(path string) ([]byte, error) {
	r.mu.Lock()
	known, ok := r.content[path]
	r.mu.Unlock()
	if ok {
		return known, nil
	}
	entry, err := r.mustBe(path, model.FileEntry, model.ExecutableEntry)
	if err != nil {
		return nil, err
	}
	if err := r.admit(path, max(entry.Size, 0)); err != nil {
		return nil, err
	}
	content, err := r.tree.Read(path)
	if err != nil {
		return nil, r.fail(err)
	}
	if entry.Size < 0 {
		if err := r.admit(path, int64(len(content))); err != nil {
			return nil, err
		}
	}
	r.remember(model.ReadFile, path, fileDigest(entry))
	r.mu.Lock()
	r.content[path] = content
	r.mu.Unlock()
	return content, nil
}

// Link records the target of a link.
func (r *Recorder) Link(path string) (string, error) {
	entry, err := r.mustBe(path, model.LinkEntry)
	if err != nil {
		return "", err
	}
	target, err := r.tree.Link(path)
	if err != nil {
		return "", r.fail(err)
	}
	r.remember(model.ReadFile, path, fileDigest(entry))
	return target, nil
}

// Whole records everything below a directory, for which the digest that it
// returns stands. It reports false, and records nothing, where the tree has no
// digests of directories.
func (r *Recorder) Whole(dir string) (digest string, known bool, err error) {
	entry, found, err := r.look(dir)
	if err != nil || !found || entry.Digest == "" || !isDir(entry) {
		return "", false, err
	}
	r.remember(model.ReadTree, dir, entry.Digest)
	r.mu.Lock()
	r.whole = true
	r.mu.Unlock()
	return entry.Digest, true, nil
}

// unrecorded answers as the recorder does, of what Whole has recorded already.
type unrecorded struct{ *Recorder }

// Lookup implements Tree.
func (u unrecorded) Lookup(path string) (model.Entry, bool, error) { return u.look(path) }

// List implements Tree.
func (u unrecorded) List(dir string) ([]model.Entry, error) {
	if err := u.ctx.Err(); err != nil {
		return nil, u.fail(err)
	}
	entries, err := u.tree.List(dir)
	if err != nil {
		return nil, u.fail(err)
	}
	return entries, nil
}

// Read implements Tree.
func (u unrecorded) Read(path string) ([]byte, error) {
	entry, found, err := u.look(path)
	if err != nil {
		return nil, err
	}
	if !found || isDir(entry) {
		return nil, notThere("read", path)
	}
	if err := u.admit(path, max(entry.Size, 0)); err != nil {
		return nil, err
	}
	content, err := u.tree.Read(path)
	if err != nil {
		return nil, u.fail(err)
	}
	return content, nil
}

// Link implements Tree.
func (u unrecorded) Link(path string) (string, error) { return u.tree.Link(path) }

// Trace returns what has been recorded so far, sorted, without the questions
// that another answer settles: a file that was read has that type and stands
// in directories, the list of a directory says what is in it and of what type,
// and one that was read as a whole has no more to tell.
func (r *Recorder) Trace() model.Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	settled := map[question]bool{}
	for q := range r.answers {
		if q.kind == model.ReadAbsent {
			continue
		}
		if q.kind != model.ReadType {
			settled[question{model.ReadType, q.path}] = true
		}
		for dir := q.path; dir != ""; {
			dir = parent(dir)
			above := question{model.ReadType, dir}
			if settled[above] {
				break
			}
			settled[above] = true
		}
	}
	trace := make(model.Trace, 0, len(r.answers))
	for q, digest := range r.answers {
		if !settled[q] && !r.listed(q) && !r.within(q) {
			trace = append(trace, model.Read{Kind: q.kind, Path: q.path, Digest: digest})
		}
	}
	slices.SortFunc(trace, func(a, b model.Read) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return int(a.Kind) - int(b.Kind)
	})
	return trace
}

// within reports whether everything below a directory above a question was
// read.
func (r *Recorder) within(q question) bool {
	if !r.whole {
		return false
	}
	for dir := q.path; dir != ""; {
		dir = parent(dir)
		if isReserved(q.path) && !isReserved(dir) {
			return false // a mount is no part of what it stands in
		}
		if _, ok := r.answers[question{model.ReadTree, dir}]; ok {
			return true
		}
	}
	return false
}

// listed reports whether the list of a directory answers a question about one
// of its entries.
func (r *Recorder) listed(q question) bool {
	if q.path == "" || q.kind != model.ReadAbsent && q.kind != model.ReadType {
		return false
	}
	_, ok := r.answers[question{model.ReadList, parent(q.path)}]
	return ok
}

// Failed returns the first error that was not an answer of the tree: its
// storage failed, or the context ended. What was rendered from such answers is
// worth nothing.
func (r *Recorder) Failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *Recorder) look(path string) (model.Entry, bool, error) {
	if err := r.ctx.Err(); err != nil {
		return model.Entry{}, false, r.fail(err)
	}
	entry, found, err := r.tree.Lookup(path)
	if err != nil {
		return model.Entry{}, false, r.fail(err)
	}
	return entry, found, nil
}

// mustBe looks a path up and records the answer where it ends the matter.
func (r *Recorder) mustBe(path string, kinds ...model.EntryKind) (model.Entry, error) {
	entry, found, err := r.look(path)
	switch {
	case err != nil:
		return model.Entry{}, err
	case !found:
		r.remember(model.ReadAbsent, path, "")
		return model.Entry{}, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	case !slices.Contains(kinds, entry.Kind):
		r.remember(model.ReadType, path, typeOf(entry))
		return model.Entry{}, &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	return entry, nil
}

// admit counts a file that is about to be read.
func (r *Recorder) admit(path string, size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += size
	switch {
	case size > r.limits.FileBytes:
		return &LimitError{Path: path, Message: fmt.Sprintf("the file has %d bytes, more than the %d that are read", size, r.limits.FileBytes)}
	case r.bytes > r.limits.Bytes:
		return &LimitError{Path: path, Message: fmt.Sprintf("the files that this build reads have more than %d bytes together", r.limits.Bytes)}
	case len(r.content) >= r.limits.Files:
		return &LimitError{Path: path, Message: fmt.Sprintf("this build reads more than %d files", r.limits.Files)}
	}
	return nil
}

func (r *Recorder) remember(kind model.ReadKind, path, digest string) {
	r.mu.Lock()
	r.answers[question{kind, path}] = digest
	r.mu.Unlock()
}

func (r *Recorder) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
	return err
}

// LimitError says which bound of Limits was reached, and where.
type LimitError struct {
	Path    string
	Message string
}

// Error is path: message.
func (e *LimitError) Error() string { return e.Path + ": " + e.Message }

// Holds reports whether a tree gives the same answers as are in the trace, so
// that a render of it would have the same result. Its cost grows with the
// trace, not with the tree. An error means that the tree could not answer.
func Holds(tree Tree, trace model.Trace) (bool, error) {
	for _, read := range trace {
		digest, err := ask(tree, question{read.Kind, read.Path})
		if err != nil {
			return false, err
		}
		if digest != read.Digest {
			return false, nil
		}
	}
	return true, nil
}

// present is the answer to a question for absence that found something; it is
// no digest, and neither is missing, the answer where nothing stands.
const (
	present = "present"
	missing = "missing"
)

func ask(tree Tree, q question) (string, error) {
	entry, found, err := tree.Lookup(q.path)
	if err != nil {
		return "", err
	}
	switch {
	case q.kind == model.ReadAbsent && !found:
		return "", nil
	case q.kind == model.ReadAbsent:
		return present, nil
	case !found:
		return missing, nil
	}
	switch q.kind {
	case model.ReadFile:
		return fileDigest(entry), nil
	case model.ReadType:
		return typeOf(entry), nil
	case model.ReadTree:
		return entry.Digest, nil
	case model.ReadList:
		if entry.Kind != model.DirEntry && entry.Kind != model.SubmoduleEntry {
			return typeOf(entry), nil
		}
		entries, err := tree.List(q.path)
		if err != nil {
			return "", err
		}
		return listDigest(entries), nil
	}
	return "", fmt.Errorf("a trace holds an unknown kind of read %d", q.kind)
}

func typeOf(entry model.Entry) string {
	switch entry.Kind {
	case model.FileEntry, model.ExecutableEntry:
		return "file"
	case model.LinkEntry:
		return "link"
	}
	return "directory"
}

func fileDigest(entry model.Entry) string {
	switch entry.Kind {
	case model.FileEntry:
		return "file:" + entry.Digest
	case model.ExecutableEntry:
		return "executable:" + entry.Digest
	case model.LinkEntry:
		return "link:" + entry.Digest
	}
	return typeOf(entry)
}

func listDigest(entries []model.Entry) string {
	sum := sha256.New()
	for _, entry := range entries {
		_, _ = fmt.Fprintf(sum, "%s\x00%s\n", entry.Name, typeOf(entry))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// parent is the directory that holds a path; that of "" is "".
func parent(p string) string {
	dir := path.Dir(p)
	if dir == "." || dir == "/" {
		return ""
	}
	return dir
}

func isNotExist(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid)
}
