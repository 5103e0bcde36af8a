package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// mirror stands for one remote: its connections, its looks, and the log of the
// objects fetched from it. That a commit is in the log proves that the remote
// once advertised it, or history that contains it, to this credential.
type mirror struct {
	store  *Store
	remote *remote
	dir    string
	active int // fetches in progress; guarded by store.mu

	mu      sync.Mutex // guards what follows
	link    link
	running *look
	queued  *look
	// roots are what the current trees need; the rest of the log is garbage.
	roots map[object.ID][]plumbing.Hash
	left  bool // a source used the mirror and no longer does
	// approved are the histories that sources had verified.
	approved map[object.ID]*approval

	work chan struct{} // held while the log is written or replaced; guards what follows
	log  *objects
	// recent are commits in the log, the newest last: what a fetch starts from.
	recent    []plumbing.Hash
	compacted int64 // length of the log when it held no garbage
}

const (
	maxHaves       = 16
	compactFrom    = 16 << 20 // a log shorter than this may be garbage altogether
	compactPortion = 3        // a log this many times its live length is rewritten
)

func newMirror(s *Store, r *remote) *mirror {
	return &mirror{
		store:  s,
		remote: r,
		dir:    s.path("mirrors", r.key[:32]),
		work:   make(chan struct{}, 1),
		roots:  map[object.ID][]plumbing.Hash{},

		approved: map[object.ID]*approval{},
	}
}

// connect returns the link, making it at first use.
func (m *mirror) connect() (link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link != nil {
		return m.link, nil
	}
	made, err := m.makeLink()
	if err != nil {
		return nil, err
	}
	m.link = made
	return made, nil
}

func (m *mirror) makeLink() (link, error) {
	s := m.store
	if m.remote.scheme == "ssh" {
		return newSSHLink(m.remote, s.path("temporary"), s.limits)
	}
	l, err := newHTTPLink(m.remote, s.options.UserAgent, s.limits)
	if err != nil {
		return nil, err
	}
	if m.remote.auth.GitHubApp != nil {
		token, err := newAppToken(m.remote, s.options.UserAgent)
		if err != nil {
			return nil, err
		}
		l.credentials = token.credentials
	}
	return l, nil
}

func (m *mirror) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link != nil {
		m.link.hangUp()
	}
}

// look is one question to the remote that several fetches wait for.
type look struct {
	context context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	waiting int
	seen    *advert
	err     error
}

func (m *mirror) newLook() *look {
	l := &look{done: make(chan struct{})}
	l.context, l.cancel = context.WithCancel(m.store.context)
	return l
}

// look returns what the remote advertises. The question is asked after look
// was called: whoever comes while one is under way waits for the next, together
// with all others who came.
func (m *mirror) look(ctx context.Context) (*advert, error) {
	m.mu.Lock()
	var mine *look
	switch {
	case m.running == nil:
		mine = m.newLook()
		m.start(mine)
	case m.queued == nil:
		mine = m.newLook()
		m.queued = mine
	default:
		mine = m.queued
	}
	mine.waiting++
	m.mu.Unlock()

	select {
	case <-mine.done:
		return mine.seen, mine.err
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mine.waiting--
	if mine.waiting == 0 {
		mine.cancel()
		if m.queued == mine {
			m.queued = nil
		}
	}
	return nil, context.Cause(ctx)
}

// start runs a look; m.mu is held.
func (m *mirror) start(l *look) {
	m.running = l
	m.store.running.Go(func() {
		l.seen, l.err = m.ask(l.context)
		l.cancel()
		m.mu.Lock()
		defer m.mu.Unlock()
		close(l.done)
		m.running = nil
		if next := m.queued; next != nil {
			m.queued = nil
			m.start(next)
		}
	})
}

func (m *mirror) ask(ctx context.Context) (*advert, error) {
	l, err := m.connect()
	if err != nil {
		return nil, errSetup{err}
	}
	return l.look(ctx)
}

// errSetup is a failure before the remote was asked: of keys or certificates.
type errSetup struct{ err error }

func (e errSetup) Error() string { return e.err.Error() }
func (e errSetup) Unwrap() error { return e.err }

// lock takes the right to write the log.
func (m *mirror) lock(ctx context.Context) error {
	select {
	case m.work <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *mirror) unlock() { <-m.work }

// open makes sure that there is a sound log; the lock is held.
func (m *mirror) open() error {
	if m.log != nil && !m.log.damaged.Load() {
		return nil
	}
	path := filepath.Join(m.dir, "objects")
	if m.log != nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		m.log = nil
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	now := time.Now()
	if err := os.Chtimes(m.dir, now, now); err != nil {
		return err
	}
	log, err := openObjects(path, m.store.limits.FileBytes)
	if errors.Is(err, errDamaged) {
		if err := os.Remove(path); err != nil {
			return err
		}
		log, err = openObjects(path, m.store.limits.FileBytes)
	}
	if err != nil {
		return err
	}
	m.log, m.recent, m.compacted = log, log.commits(maxHaves), log.bytes()
	return nil
}

// commits lists the last commits of a log, the newest last.
func (l *objects) commits(n int) []plumbing.Hash {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var all []plumbing.Hash
	for h, p := range l.index {
		if p.typ == plumbing.CommitObject {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b plumbing.Hash) int {
		return int(min(1, max(-1, l.index[a].offset-l.index[b].offset)))
	})
	return all[max(0, len(all)-n):]
}

// obtain makes sure that the log has an object that the remote advertised, and
// returns the log.
func (m *mirror) obtain(ctx context.Context, seen *advert, h plumbing.Hash) (*objects, error) {
	return m.hold(ctx, h, func() error {
		if seen == nil || !seen.advertised(h) {
			return fmt.Errorf("%s is not at hand", h)
		}
		return m.pull(ctx, seen, want{objects: []plumbing.Hash{h}, haves: m.recent, depth: 1}, only(h))
	})
}

// prove makes sure that the log has a commit that is part of the history of
// the given tips. Unless it is advertised itself, that takes the whole history:
// a server's word alone is not enough, since many hand out commits that no
// reference of the repository reaches.
func (m *mirror) prove(ctx context.Context, seen *advert, h plumbing.Hash, tips []plumbing.Hash) (*objects, error) {
	return m.hold(ctx, h, func() error {
		if seen == nil {
			return fmt.Errorf("%s is not at hand", h)
		}
		if slices.Contains(tips, h) {
			return m.pull(ctx, seen, want{objects: []plumbing.Hash{h}, haves: m.recent, depth: 1}, only(h))
		}
		return m.pull(ctx, seen, want{objects: tips}, within(h, tips))
	})
}

// hold returns the log once it has an object, fetching it when it has not.
func (m *mirror) hold(ctx context.Context, h plumbing.Hash, fetch func() error) (*objects, error) {
	return m.write(ctx, func() error {
		if m.log.has(h) {
			return nil
		}
		return fetch()
	})
}

// write runs fetch with the right to write a sound log, and returns the log.
func (m *mirror) write(ctx context.Context, fetch func() error) (*objects, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.unlock()
	if err := m.open(); err != nil {
		return nil, storageError{err}
	}
	err := fetch()
	if again := m.mend(err); again != nil {
		err = again(fetch)
	}
	if err != nil {
		return nil, err
	}
	return m.log, nil
}

// mend says whether a failed fetch can be tried again at once, and how: with a
// new log when the old one turned out damaged, and from nothing when the server
// left out what it wrongly took us to have.
func (m *mirror) mend(err error) func(fetch func() error) error {
	switch {
	case errors.Is(err, errDamaged):
		return func(fetch func() error) error {
			if err := m.open(); err != nil {
				return storageError{err}
			}
			return fetch()
		}
	case errors.Is(err, errBadPack) && len(m.recent) > 0:
		return func(fetch func() error) error {
			m.recent = nil
			return fetch()
		}
	}
	return nil
}

// storageError is a failure of the local disk.
type storageError struct{ err error }

func (e storageError) Error() string {
	return "the local copy cannot be written: " + plainPathError(e.err)
}
func (e storageError) Unwrap() error { return e.err }

// plainPathError drops the path of the local copy, which is no one's concern.
func plainPathError(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// A choice picks the object of a pack that is kept.
type choice func(u *unpacker) (plumbing.Hash, error)

func only(h plumbing.Hash) choice {
	return func(*unpacker) (plumbing.Hash, error) { return h, nil }
}

// within demands that the commit is part of the history of the tips.
func within(h plumbing.Hash, tips []plumbing.Hash) choice {
	return func(u *unpacker) (plumbing.Hash, error) {
		found, err := u.reachable(h, tips)
		if err == nil && !found {
			err = errNotReachable{h}
		}
		return h, err
	}
}

// pull fetches a pack and keeps an object of it, with all it refers to. The
// lock is held.
func (m *mirror) pull(ctx context.Context, seen *advert, w want, choose choice) error {
	l, err := m.connect()
	if err != nil {
		return errSetup{err}
	}
	request, shallow, err := w.encode(seen, m.store.options.UserAgent)
	if err != nil {
		return err
	}
	body, err := l.pull(ctx, seen, request)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	in, err := openPack(body, seen, shallow)
	if err != nil {
		return err
	}
	pack, err := receive(in, m.store.path("temporary"))
	if err != nil {
		return diskError(err)
	}
	defer pack.close()
	return m.unpack(ctx, pack, choose)
}

// unpack adds an object of a pack to the log.
func (m *mirror) unpack(ctx context.Context, pack *spool, choose choice) error {
	u, err := openPackIndex(ctx, pack, m.log, m.store.limits)
	if err != nil {
		return err
	}
	h, err := choose(u)
	if err != nil {
		return err
	}
	b := m.log.begin()
	err = u.keep(b, h, plumbing.AnyObject, 0)
	if err == nil {
		err = b.flush()
	}
	if err != nil {
		b.abort()
		return diskError(err)
	}
	m.remember(b)
	return nil
}

// errNotReachable is a commit that no reference leads to.
type errNotReachable struct{ hash plumbing.Hash }

func (e errNotReachable) Error() string {
	return fmt.Sprintf("unable to resolve commit object for '%s': object not found", e.hash)
}

// diskError marks errors of the local disk as such.
func diskError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return storageError{err}
	}
	return err
}

func (m *mirror) remember(b *batch) {
	for h, p := range b.added {
		if p.typ == plumbing.CommitObject {
			m.recent = append(m.recent, h)
		}
	}
	m.recent = m.recent[max(0, len(m.recent)-maxHaves):]
}

// use records what the current tree of a source needs, and rewrites the log in
// the background when it is mostly garbage.
func (m *mirror) use(id object.ID, roots []plumbing.Hash) {
	m.mu.Lock()
	m.roots[id] = roots
	m.left = false
	m.mu.Unlock()
	select {
	case m.work <- struct{}{}:
		defer m.unlock()
	default:
		return // a fetch goes on; the next one is early enough
	}
	if m.log == nil || m.log.bytes() <= max(compactFrom, compactPortion*m.compacted) {
		return
	}
	m.store.running.Go(func() {
		if m.lock(m.store.context) != nil {
			return
		}
		defer m.unlock()
		if m.log.damaged.Load() || m.compact() != nil {
			return // the log goes on as it is; the next fetch tries again
		}
	})
}

// unuse is the opposite of use.
func (m *mirror) unuse(id object.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.roots, id)
	delete(m.approved, id)
	m.left = len(m.roots) == 0
}

// abandoned reports whether sources used the mirror and none does now.
func (m *mirror) abandoned() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left
}

// compact writes what the roots need into a new log. Trees that were made from
// the old one go on reading it until the last of them is gone.
func (m *mirror) compact() error {
	path := filepath.Join(m.dir, "objects")
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh, err := openObjects(path+".new", m.store.limits.FileBytes)
	if err != nil {
		return err
	}
	b := fresh.begin()
	for _, h := range m.live() {
		if err := copyObject(m.store.context, m.log, b, h); err != nil {
			_ = fresh.file.Close()
			return err
		}
	}
	if err := errors.Join(b.flush(), os.Rename(path+".new", path)); err != nil {
		_ = fresh.file.Close()
		return err
	}
	m.log, m.recent, m.compacted = fresh, fresh.commits(maxHaves), fresh.bytes()
	return nil
}

// live lists the roots that this log has.
func (m *mirror) live() []plumbing.Hash {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []plumbing.Hash
	for _, roots := range m.roots {
		for _, h := range roots {
			if m.log.has(h) {
				all = append(all, h)
			}
		}
	}
	return all
}

// copyObject copies an object with everything it refers to.
func copyObject(ctx context.Context, from *objects, b *batch, h plumbing.Hash) error {
	if b.has(h) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p, ok := from.place(h)
	if !ok {
		return errNoObject
	}
	for _, reference := range from.references(h, p) {
		if err := copyObject(ctx, from, b, reference); err != nil {
			return err
		}
	}
	stored, err := from.stored(p)
	if err != nil {
		return err
	}
	return b.append(h, p, stored)
}

// references lists what an object of the log refers to, submodules apart.
func (l *objects) references(h plumbing.Hash, p place) []plumbing.Hash {
	if p.typ == plumbing.BlobObject {
		return nil
	}
	_, content, err := l.read(h)
	if err != nil {
		return nil // reading the object itself fails too, and is reported there
	}
	switch p.typ {
	case plumbing.CommitObject:
		if tree, err := commitTree(content); err == nil {
			return []plumbing.Hash{tree}
		}
	case plumbing.TagObject:
		if target, err := tagTarget(content); err == nil {
			return []plumbing.Hash{target}
		}
	case plumbing.TreeObject:
		entries, err := parseTree(content)
		if err != nil {
			return nil
		}
		var all []plumbing.Hash
		for _, e := range entries {
			if e.kind != model.SubmoduleEntry {
				all = append(all, e.hash)
			}
		}
		return all
	}
	return nil
}

// drop ends the mirror: nobody uses it any more. Trees stay readable.
func (m *mirror) drop() error {
	m.hangUp()
	return os.RemoveAll(m.dir)
}
