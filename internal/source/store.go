package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/source/cloud"
	"plumb.dev/plumb/internal/source/registry"
)

// Condition reasons, in the words of source-controller
// (api/v1/condition_types.go, gitrepository_types.go and the literals of
// gitrepository_controller.go).
const (
	reasonURLInvalid              = "URLInvalid"
	reasonAuthenticationFailed    = "AuthenticationFailed"
	reasonGitOperationFailed      = "GitOperationFailed"
	reasonEmptyRepository         = "EmptyGitRepository"
	reasonVerificationModeInvalid = "InvalidVerificationMode"
	reasonGitObjectInvalid        = "InvalidGitObject"
	reasonTagSignatureInvalid     = "InvalidTagSignature"
	reasonCommitSignatureInvalid  = "InvalidCommitSignature"
	reasonIncludeNotFound         = "NotFound"
	reasonIncludeNoArtifact       = "NoArtifact"
	reasonIncludeIllegalPath      = "IllegalPath"
	reasonIncludeCopyFailure      = "CopyFailure"
	reasonSourceIgnore            = "SourceIgnoreError"
	reasonArchiveOperationFailed  = "ArchiveOperationFailed"
)

// Limits bound what a remote can make the store do. The zero value of a field
// is its default.
type Limits struct {
	RefBytes     int64         // advertised references of one look; 32 MiB
	FetchBytes   int64         // one pack as it comes over the wire; 1 GiB
	UnpackBytes  int64         // everything inflated while one pack is read; 8 GiB
	FileBytes    int64         // one file, inflated; 64 MiB
	Files        int           // files and links in one tree; 200,000
	Depth        int           // directories in one path; 100
	Submodules   int           // submodules of one tree, nested ones included; 100
	Nesting      int           // submodules within submodules; 10, as go-git
	History      int           // commits of a history whose signatures are asked for; 250,000
	Stall        time.Duration // without a byte from the remote; 30 s
	ArchiveBytes int64         // one archive that is no Git pack, unpacked; 1 GiB
	Timeout      time.Duration // of a Fetch whose source names none; 60 s, as Flux
}

func (l Limits) withDefaults() Limits {
	bytes := func(v *int64, byDefault int64) {
		if *v <= 0 {
			*v = byDefault
		}
	}
	count := func(v *int, byDefault int) {
		if *v <= 0 {
			*v = byDefault
		}
	}
	bytes(&l.RefBytes, 32<<20)
	bytes(&l.FetchBytes, 1<<30)
	bytes(&l.UnpackBytes, 8<<30)
	bytes(&l.FileBytes, 64<<20)
	bytes(&l.ArchiveBytes, 1<<30)
	l.FileBytes = min(l.FileBytes, 2<<30)
	count(&l.Files, 200_000)
	count(&l.Depth, 100)
	count(&l.Submodules, 100)
	count(&l.Nesting, 10)
	count(&l.History, 250_000)
	if l.Stall <= 0 {
		l.Stall = 30 * time.Second
	}
	if l.Timeout <= 0 {
		l.Timeout = time.Minute
	}
	return l
}

// Options configure a Store.
type Options struct {
	// Dir holds mirrors and archives. It is a cache: losing it costs time
	// only. One process uses it at a time.
	Dir string
	// UserAgent is what servers see; "plumb" when empty.
	UserAgent string
	// ArtifactURL is put before the path of an archive to make
	// model.Artifact.URL, such as
	// "http://source-controller.flux-system.svc.cluster.local."; empty: no URL.
	ArtifactURL string
	Limits      Limits
	// Tokens serves workload identities that name a service account; nil: they
	// are refused.
	Tokens cloud.Tokens
	// TrustRoot is the sigstore trusted root (JSON) for keyless signatures of
	// sources that name none; nil: those are refused.
	TrustRoot []byte
	// Clients replace those that the store makes itself.
	Clients Clients
	// Redirects lead to other addresses than those that sources name.
	Redirects Redirects
}

// Store keeps the mirrors and archives of all sources. It is safe for
// concurrent use.
type Store struct {
	options  Options
	limits   Limits
	archives *archives
	context  context.Context // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup

	content *depot // of everything that comes from no Git repository
	clients Clients
	loads   lookouts[piece]
	layers  lookouts[model.OCIArtifact]
	charts  lookouts[model.ChartArtifact]
	indexes lookouts[offer]
	buckets lookouts[[]model.BucketObject]
	dirs    directories

	mu      sync.Mutex // guards what follows
	mirrors map[string]*mirror
	users   map[object.ID]map[string]bool // mirrors that a source was last made from
}

// mirrorIdle is how long an unused mirror, or the depot of all other content, on
// disk survives a restart.
const mirrorIdle = 7 * 24 * time.Hour

// Open prepares the directory and returns a store. Nothing is read from a
// mirror before a source asks for it.
func Open(o Options) (*Store, error) {
	if o.Dir == "" {
		return nil, errors.New("source store: no directory given")
	}
	if o.UserAgent == "" {
		o.UserAgent = "plumb"
	}
	if !o.Redirects.Logins.IsZero() {
		if _, _, err := registry.Login(o.Redirects.Logins, "", ""); err != nil {
			return nil, fmt.Errorf("source store: %w", err)
		}
	}
	for _, sub := range []string{"mirrors", "archives", "temporary"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("source store: %w", err)
		}
	}
	s := &Store{
		options: o,
		limits:  o.Limits.withDefaults(),
		mirrors: map[string]*mirror{},
		users:   map[object.ID]map[string]bool{},
	}
	s.content = newDepot(s, s.path("content"))
	s.clients = o.Clients.withDefaults(&o, s.path("temporary"))
	s.archives = newArchives(filepath.Join(o.Dir, "archives"), o.ArtifactURL)
	s.context, s.cancel = context.WithCancel(context.Background())
	if err := s.sweep(); err != nil {
		s.cancel()
		return nil, fmt.Errorf("source store: %w", err)
	}
	return s, nil
}

// sweep removes what an earlier process left behind.
func (s *Store) sweep() error {
	leftovers, err := os.ReadDir(s.path("temporary"))
	if err != nil {
		return err
	}
	for _, e := range leftovers {
		if err := os.RemoveAll(s.path("temporary", e.Name())); err != nil {
			return err
		}
	}
	mirrors, err := os.ReadDir(s.path("mirrors"))
	if err != nil {
		return err
	}
	depots := []string{s.content.dir}
	for _, e := range mirrors {
		depots = append(depots, s.path("mirrors", e.Name()))
	}
	for _, dir := range depots {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < mirrorIdle {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) path(elements ...string) string {
	return filepath.Join(append([]string{s.options.Dir}, elements...)...)
}

// Close ends looks and background work and waits for them. Trees stay
// readable.
func (s *Store) Close() error {
	s.cancel()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mirrors {
		m.hangUp()
	}
	return nil
}

// Fetch looks at the remote and returns the tree that spec asks for. included
// holds the current trees of the sources in spec.Include. last is what was
// returned before, or nil; the same tree is returned when nothing moved.
//
// Errors are *model.Fault with the condition reasons of source-controller;
// last stays valid. The deadline is spec.Timeout or that of ctx, whichever
// ends first.
func (s *Store) Fetch(ctx context.Context, spec model.Source, included map[object.ID]*Tree, last *Tree) (*Tree, error) {
	return s.fetch(ctx, spec, included, last, "")
}

// Recall returns the tree of a revision that was fetched before, as a status
// reports it, without asking the remote. It serves after a restart while the
// remote cannot be reached. The fault says so when the revision is not at
// hand, or when the source asks for something that revision cannot answer.
func (s *Store) Recall(ctx context.Context, spec model.Source, included map[object.ID]*Tree, revision string) (*Tree, error) {
	return s.fetch(ctx, spec, included, nil, revision)
}

// Forget drops everything kept for a source that no longer exists: its
// archives and the mirrors that no other source uses. Its trees stay readable.
func (s *Store) Forget(id object.ID) error {
	s.settle(id, nil)
	s.content.unuse(id)
	return s.archives.forget(id)
}

// Retain removes the archives that an earlier process left of sources which are not
// among these and have not been fetched since. Mirrors and content that nobody
// needs are removed by the next Open, when they have not been used for a week.
func (s *Store) Retain(sources []object.ID) error { return s.archives.retain(sources) }

// remote checks what a source says about its repository. What is known is not
// checked again: decrypting an SSH key is slow on purpose.
func (s *Store) remote(repository string, auth model.GitAuth) (*remote, *model.Fault) {
	repository, auth, err := s.options.Redirects.git(repository, auth)
	if err != nil {
		return nil, &model.Fault{Reason: reasonURLInvalid, Message: err.Error(), Err: err}
	}
	r, fault := newRemote(repository, auth)
	if fault != nil {
		return nil, fault
	}
	s.mu.Lock()
	m := s.mirrors[r.key]
	s.mu.Unlock()
	if m != nil {
		return m.remote, nil
	}
	if fault := r.validate(); fault != nil {
		return nil, fault
	}
	return r, nil
}

// acquire returns the mirror of a remote, which may be new, and keeps it until
// release.
func (s *Store) acquire(r *remote) *mirror {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mirrors[r.key]
	if m == nil {
		m = newMirror(s, r)
		s.mirrors[r.key] = m
	}
	m.active++
	return m
}

func (s *Store) release(m *mirror) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.active--
	s.dropUnused(m.remote.key)
}

// settle records which mirrors a source is made from and drops those that no
// source uses any more.
func (s *Store) settle(id object.ID, keys map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.users[id]
	if len(keys) == 0 {
		delete(s.users, id)
	} else {
		s.users[id] = keys
	}
	for key := range before {
		if keys[key] {
			continue
		}
		if m := s.mirrors[key]; m != nil {
			m.unuse(id)
			s.dropUnused(key)
		}
	}
}

// dropUnused drops a mirror that once served a source and serves none now. One
// that never did is kept: its source may be failing for a while. s.mu is held.
func (s *Store) dropUnused(key string) {
	m := s.mirrors[key]
	if m == nil || m.active > 0 || !m.abandoned() {
		return
	}
	for _, keys := range s.users {
		if keys[key] {
			return
		}
	}
	delete(s.mirrors, key)
	if err := m.drop(); err != nil {
		// What stays on disk is removed when the store is next opened.
		return
	}
}
