package source

import (
	"context"

	"plumb.dev/plumb/internal/model"
)

// Reach asks a Git repository what it has, and keeps nothing of the answer: it
// tells whether the repository can be read as a source says. Errors are those of
// Fetch.
func (s *Store) Reach(ctx context.Context, spec model.Source) error {
	ctx, cancel := s.deadline(ctx, &spec)
	defer cancel()
	r := &run{store: s, spec: spec}
	remote, fault := s.remote(spec.Git.URL, spec.Git.Auth)
	if fault != nil {
		return r.fault(fault)
	}
	r.remote = remote
	m := newMirror(s, remote) // of its own: nobody has to forget it
	defer m.hangUp()
	if _, err := m.ask(ctx); err != nil {
		return r.fault(err)
	}
	return nil
}
