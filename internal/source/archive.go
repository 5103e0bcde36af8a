package source

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Modes in archives (fluxcd/pkg artifact/storage).
const (
	archiveFileMode       = 0o600
	archiveExecutableMode = 0o700
	archiveDirMode        = 0o750
)

// An archive is a gzip file of many members, each of them a run of tar records.
// Where runs begin is decided by the paths, so that a commit that touches one
// file makes one new member and takes over all others from the archive before.
// One run holds about eight directories, or 64 files of a large one. Readers
// see one stream (RFC 1952, section 2.2).
const (
	directoriesPerRun = 8
	filesPerRun       = 64
	archivesKept      = 2 // per source, as source-controller keeps by default
	archiveSuffix     = ".tar.gz"
	manifestSuffix    = ".json"
)

// archives keeps the archives of all sources on disk.
type archives struct {
	dir string
	url string

	mu      sync.Mutex
	sources map[object.ID]*sourceArchives
}

func newArchives(dir, url string) *archives {
	return &archives{dir: dir, url: strings.TrimSuffix(url, "/"), sources: map[object.ID]*sourceArchives{}}
}

// sourceArchives are those of one source; one is built at a time.
type sourceArchives struct {
	dir   string // below archives.dir
	mu    sync.Mutex
	ready bool
	last  []*manifest // the newest last
}

// manifest describes one archive. It stands beside it.
type manifest struct {
	File    string    `json:"file"`
	Tree    string    `json:"tree"`   // Tree.Digest
	Digest  string    `json:"digest"` // hexadecimal SHA-256 of the file
	Size    int64     `json:"size"`
	Updated time.Time `json:"updated"`
	// Members are the runs, by the digest of what they hold.
	Members map[string]span `json:"members"`
}

// product says what the file is like that is served for a tree. The zero value
// of all but the name is an archive of the tree.
type product struct {
	name string
	top  string        // directory that the tree stands in, as in a packaged chart
	raw  plumbing.Hash // the file itself, as it was fetched; zero: an archive is built
}

// span is a part of an archive.
type span struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

func (a *archives) of(id object.ID) *sourceArchives {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sources[id]
	if s == nil {
		s = &sourceArchives{dir: archiveDir(id)}
		a.sources[id] = s
	}
	return s
}

func (a *archives) forget(id object.ID) error {
	s := a.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	a.mu.Lock()
	delete(a.sources, id)
	a.mu.Unlock()
	return os.RemoveAll(filepath.Join(a.dir, filepath.FromSlash(s.dir)))
}

// retain removes what an earlier process left of all sources but these and those
// that have been asked for since.
func (a *archives) retain(ids []object.ID) error {
	kept := map[string]bool{}
	for _, id := range ids {
		kept[archiveDir(id)] = true
	}
	found, err := filepath.Glob(filepath.Join(a.dir, "*", "*", "*"))
	if err != nil {
		return err
	}
	var failed []error
	for _, at := range found {
		if name, err := filepath.Rel(a.dir, at); err == nil && !kept[filepath.ToSlash(name)] {
			failed = append(failed, a.removeUnasked(filepath.ToSlash(name)))
		}
	}
	return errors.Join(failed...)
}

// removeUnasked removes a directory that no source has asked for in this process.
// Whoever asks for it meanwhile waits.
func (a *archives) removeUnasked(dir string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sources {
		if s.dir == dir {
			return nil
		}
	}
	return os.RemoveAll(filepath.Join(a.dir, filepath.FromSlash(dir)))
}

// archiveDir is the directory of a source, below that of all.
func archiveDir(id object.ID) string {
	return path.Join(strings.ToLower(id.Kind), id.Namespace, id.Name)
}

// Archive builds the file of the tree as source-controller serves it and returns
// its description: a tar.gz (links left out, times zero, fixed modes), for a
// chart one that Helm installs (<name>-<version>.tgz), for the index of a Helm
// repository the index (index-<digest>.yaml), for an OCI layer that is copied
// the layer. The bytes depend on nothing but the tree: they are the same after a
// restart. An archive that is on disk already is not built again, and keeps its
// time.
func (t *Tree) Archive(ctx context.Context) (model.Artifact, error) {
	a := t.store.archives
	s := a.of(t.source)
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := a.ensure(ctx, s, t)
	if err != nil {
		var fault *model.Fault
		if errors.As(err, &fault) {
			return model.Artifact{}, fault
		}
		return model.Artifact{}, &model.Fault{
			Reason:  reasonArchiveOperationFailed,
			Message: "unable to archive artifact to storage: " + plainPathError(err),
			Advice:  "make room on, or repair, the volume that holds the controller's data",
			Object:  t.source,
			Retry:   true,
			Err:     err,
		}
	}
	artifact := model.Artifact{
		Revision: t.revision,
		Digest:   "sha256:" + m.Digest,
		Path:     path.Join(s.dir, m.File),
		Size:     m.Size,
		Updated:  m.Updated,
		Metadata: maps.Clone(t.metadata),
	}
	if a.url != "" {
		artifact.URL = a.url + "/" + artifact.Path
	}
	t.archive.Store(&artifact)
	return artifact, nil
}

// built is the description of the archive, if Archive was called.
func (t *Tree) built() (model.Artifact, bool) {
	if a := t.archive.Load(); a != nil {
		return *a, true
	}
	return model.Artifact{}, false
}

// ensure finds or builds the archive of a tree.
func (a *archives) ensure(ctx context.Context, s *sourceArchives, t *Tree) (*manifest, error) {
	dir := filepath.Join(a.dir, filepath.FromSlash(s.dir))
	if !s.ready {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		last, err := loadManifests(dir)
		if err != nil {
			return nil, err
		}
		s.last, s.ready = last, true
	}
	file, tree := t.file.name, t.Digest()
	for _, m := range s.last {
		if m.File == file && m.Tree == tree && m.intact(dir) {
			return m, nil
		}
	}
	m, err := a.lentArchive(ctx, s, t)
	if m == nil && err == nil {
		m, err = writeArchive(ctx, dir, file, t, s.last)
	}
	if err != nil {
		return nil, err
	}
	return m, s.keep(dir, m)
}

// loadManifests reads what an earlier process left, the newest last, and removes
// what is not whole.
func loadManifests(dir string) ([]*manifest, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*manifest
	known := map[string]bool{}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), manifestSuffix)
		if !ok {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		m := &manifest{}
		if json.Unmarshal(content, m) != nil || m.File != name || !m.intact(dir) {
			continue
		}
		known[name], known[f.Name()] = true, true
		all = append(all, m)
	}
	for _, f := range files {
		if !known[f.Name()] {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(all, func(a, b *manifest) int {
		return cmp.Or(a.Updated.Compare(b.Updated), strings.Compare(a.File, b.File))
	})
	return all, nil
}

// intact reports whether the file is what the manifest says.
func (m *manifest) intact(dir string) bool {
	f, err := os.Open(filepath.Join(dir, m.File))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return err == nil && n == m.Size && hex.EncodeToString(h.Sum(nil)) == m.Digest
}

func (m *manifest) remove(dir string) error {
	for _, name := range []string{m.File, m.File + manifestSuffix} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// tarRecord is one entry of an archive.
type tarRecord struct {
	path string
	kind model.EntryKind
	repo *depot
	hash plumbing.Hash
}

// runs cuts the tree, in the order of filepath.Walk, into runs of records.
func (t *Tree) runs() [][]tarRecord {
	var all [][]tarRecord
	current := []tarRecord{{path: cmp.Or(t.file.top, "."), kind: model.DirEntry}}
	var walk func(at string, d *dir)
	walk = func(at string, d *dir) {
		for i := range d.entries {
			e := &d.entries[i]
			r := tarRecord{path: path.Join(at, e.name), kind: e.kind, repo: d.repo, hash: e.hash}
			switch e.kind {
			case model.LinkEntry:
				continue
			case model.SubmoduleEntry:
				r.kind = model.DirEntry // an empty directory, as in a checkout
			}
			if r.startsRun() {
				all = append(all, current)
				current = nil
			}
			current = append(current, r)
			if e.dir != nil {
				walk(r.path, e.dir)
			}
		}
	}
	walk(t.file.top, t.root)
	return append(all, current)
}

func (r tarRecord) startsRun() bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r.path))
	if r.kind == model.DirEntry {
		return h.Sum32()%directoriesPerRun == 0
	}
	return h.Sum32()%filesPerRun == 0
}

// runKey names what a run holds.
func runKey(run []tarRecord) string {
	h := sha256.New()
	for _, r := range run {
		_, _ = fmt.Fprintf(h, "%d %s\x00", r.kind, r.path)
		if r.kind != model.DirEntry {
			_, _ = h.Write(r.hash[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// archiveWriter counts and hashes what goes into an archive.
type archiveWriter struct {
	file io.Writer
	hash io.Writer
	n    int64
}

func (w *archiveWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	_, _ = w.hash.Write(p[:n])
	w.n += int64(n)
	return n, err
}

// writeArchive builds an archive beside its place and moves it there.
func writeArchive(ctx context.Context, dir, name string, t *Tree, earlier []*manifest) (m *manifest, err error) {
	f, err := os.CreateTemp(dir, "building")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	h := sha256.New()
	w := &archiveWriter{file: f, hash: h}
	m = &manifest{File: name, Tree: t.Digest(), Members: map[string]span{}, Updated: time.Now().UTC()}
	if err := fillArchive(ctx, w, m, t, newReuse(dir, earlier)); err != nil {
		return nil, err
	}
	m.Digest, m.Size = hex.EncodeToString(h.Sum(nil)), w.n
	if err := f.Close(); err != nil {
		return nil, err
	}
	described, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	final := filepath.Join(dir, name)
	if err := os.Rename(f.Name(), final); err != nil {
		return nil, err
	}
	return m, os.WriteFile(final+manifestSuffix, described, 0o600)
}

// fillArchive writes the members.
func fillArchive(ctx context.Context, w *archiveWriter, m *manifest, t *Tree, before *reuse) error {
	defer before.close()
	if !t.file.raw.IsZero() {
		content, err := t.blob(t.file.name, t.store.content, t.file.raw)
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}
	compressor, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	for _, run := range t.runs() {
		if err := ctx.Err(); err != nil {
			return err
		}
		key, start := runKey(run), w.n
		if taken, err := before.copy(w, key); err != nil {
			return err
		} else if !taken {
			compressor.Reset(w)
			if err := errors.Join(t.writeRun(compressor, run), compressor.Close()); err != nil {
				return err
			}
		}
		m.Members[key] = span{Offset: start, Length: w.n - start}
	}
	compressor.Reset(w)
	_, err = compressor.Write(make([]byte, 1024)) // two empty blocks end a tar file
	return errors.Join(err, compressor.Close())
}

// writeRun writes tar records without an end of file.
func (t *Tree) writeRun(out io.Writer, run []tarRecord) error {
	w := tar.NewWriter(out)
	for _, r := range run {
		if r.kind == model.DirEntry {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: r.path, Mode: archiveDirMode}); err != nil {
				return err
			}
			continue
		}
		content, err := t.blob(r.path, r.repo, r.hash)
		if err != nil {
			return err
		}
		mode := int64(archiveFileMode)
		if r.kind == model.ExecutableEntry {
			mode = archiveExecutableMode
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: r.path, Mode: mode, Size: int64(len(content))}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return w.Flush()
}

// reuse gives out members of earlier archives.
type reuse struct {
	members map[string]span
	from    map[string]*manifest
	dir     string
	open    map[*manifest]*os.File
}

func newReuse(dir string, earlier []*manifest) *reuse {
	r := &reuse{members: map[string]span{}, from: map[string]*manifest{}, dir: dir, open: map[*manifest]*os.File{}}
	for _, m := range earlier {
		maps.Copy(r.members, m.Members)
		for key := range m.Members {
			r.from[key] = m
		}
	}
	return r
}

// copy writes a member if an earlier archive has it.
func (r *reuse) copy(w *archiveWriter, key string) (bool, error) {
	at, ok := r.members[key]
	if !ok {
		return false, nil
	}
	f := r.file(r.from[key])
	if f == nil {
		return false, nil // gone or damaged: the member is built again
	}
	content := make([]byte, at.Length)
	if _, err := f.ReadAt(content, at.Offset); err != nil {
		return false, err
	}
	_, err := w.Write(content)
	return err == nil, err
}

// file opens an earlier archive, once, if it is still what it was.
func (r *reuse) file(m *manifest) *os.File {
	if f, known := r.open[m]; known {
		return f
	}
	r.open[m] = nil
	if m.intact(r.dir) {
		if f, err := os.Open(filepath.Join(r.dir, m.File)); err == nil {
			r.open[m] = f
		}
	}
	return r.open[m]
}

func (r *reuse) close() {
	for _, f := range r.open {
		if f != nil {
			_ = f.Close()
		}
	}
}

var (
	archiveName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+:-]*\.(tar\.gz|tgz|yaml)$`)
	objectName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	// latestNames stand for the archive that was written last.
	latestNames = map[string]bool{"latest" + archiveSuffix: true, "index.yaml": true}
)

// Handler serves archives at /<kind>/<namespace>/<name>/<file>, and the newest
// as latest.tar.gz, or index.yaml for that of a Helm repository, below the root
// it is mounted at. Only archives that were built for a source are served; there
// are no listings.
func (s *Store) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		f, name, ok := s.archives.open(strings.TrimPrefix(r.URL.Path, "/"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", contentType(name))
		http.ServeContent(w, r, name, info.ModTime(), f)
	})
}

func contentType(name string) string {
	if strings.HasSuffix(name, ".yaml") {
		return "application/yaml"
	}
	return "application/gzip"
}

// open finds an archive by the path of its URL.
func (a *archives) open(p string) (*os.File, string, bool) {
	parts := strings.Split(p, "/")
	if len(parts) != 4 || !archiveName.MatchString(parts[3]) {
		return nil, "", false
	}
	for _, part := range parts[:3] {
		if !objectName.MatchString(part) {
			return nil, "", false
		}
	}
	dir, name := filepath.Join(a.dir, parts[0], parts[1], parts[2]), parts[3]
	if latestNames[name] {
		name = newest(dir)
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil || name == "" {
		return nil, "", false
	}
	return f, name, true
}

// newest is the archive in a directory that was written last.
func newest(dir string) string {
	files, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	var name string
	var when time.Time
	for _, f := range files {
		info, err := f.Info()
		if err != nil || !archiveName.MatchString(f.Name()) {
			continue
		}
		if info.ModTime().After(when) {
			name, when = f.Name(), info.ModTime()
		}
	}
	return name
}
