package source

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/object"
)

// mirror stands for one remote: its connections, its looks, and the log of the
// objects fetched from it. That a commit is in the log proves that the remote
// once advertised it, or history that contains it, to this credential.
type mirror struct {
	*depot
	lookout[*advert]
	remote *remote
	active int // fetches in progress; guarded by store.mu

	link link // guarded by depot.mu, as what follows
	// approved are the histories that sources had verified.
	approved map[object.ID]*approval
}

func newMirror(s *Store, r *remote) *mirror {
	m := &mirror{
		depot:    newDepot(s, s.path("mirrors", r.key[:32])),
		remote:   r,
		approved: map[object.ID]*approval{},
	}
	m.lookout = lookout[*advert]{store: s, ask: m.ask}
	return m
}

// connect returns the link, making it at first use.
func (m *mirror) connect() (link, error) {
	m.depot.mu.Lock()
	defer m.depot.mu.Unlock()
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
	s := m.depot.store
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
	m.depot.mu.Lock()
	defer m.depot.mu.Unlock()
	if m.link != nil {
		m.link.hangUp()
	}
}

// ask looks at the remote.
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
	request, shallow, err := w.encode(seen, m.depot.store.options.UserAgent)
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
	pack, err := receive(in, m.depot.store.path("temporary"))
	if err != nil {
		return diskError(err)
	}
	defer pack.close()
	return m.unpack(ctx, pack, choose)
}

// unpack adds an object of a pack to the log.
func (m *mirror) unpack(ctx context.Context, pack *spool, choose choice) error {
	u, err := openPackIndex(ctx, pack, m.log, m.depot.store.limits)
	if err != nil {
		return err
	}
	h, err := choose(u)
	if err != nil {
		return err
	}
	b, err := m.log.extend(func(b *batch) error { return u.keep(b, h, plumbing.AnyObject, 0) })
	if err != nil {
		return err
	}
	m.remember(b)
	return nil
}

// errNotReachable is a commit that no reference leads to.
type errNotReachable struct{ hash plumbing.Hash }

func (e errNotReachable) Error() string {
	return fmt.Sprintf("unable to resolve commit object for '%s': object not found", e.hash)
}

func (m *mirror) remember(b *batch) {
	for h, p := range b.added {
		if p.typ == plumbing.CommitObject {
			m.recent = append(m.recent, h)
		}
	}
	m.recent = m.recent[max(0, len(m.recent)-maxHaves):]
}

// unuse is the opposite of use.
func (m *mirror) unuse(id object.ID) {
	m.depot.unuse(id)
	m.depot.mu.Lock()
	defer m.depot.mu.Unlock()
	delete(m.approved, id)
}

// drop ends the mirror: nobody uses it any more. Trees stay readable.
func (m *mirror) drop() error {
	m.hangUp()
	return os.RemoveAll(m.dir)
}
