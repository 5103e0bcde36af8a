package api

import (
	"context"
	"time"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
)

// A stream of rows goes on from the revision of a list, or of a message before
// it was interrupted. What a viewer may see is looked at anew for each change,
// and as a whole when the policy is another one and every so often, since the
// cluster's own RBAC changes without a word.

// gathered is how long changes are gathered before they are sent.
const gathered = 100 * time.Millisecond

// targetOf is a delivery for the guard.
func targetOf(d *plumbv1.Delivery) access.Target {
	return access.Target{ID: rows.ID(d.GetRef()), Project: d.GetProject()}
}

// sourceTarget is a source for the guard.
func sourceTarget(row *plumbv1.Source) access.Target { return access.Target{ID: rows.ID(row.GetRef())} }

// visibleDeliveries judges rows for a caller.
func (s *Server) visibleDeliveries(ctx context.Context, caller *access.Caller) func(*plumbv1.Delivery) bool {
	return visible(ctx, caller, s.deliveries.Each, targetOf)
}

// visibleSources judges rows for a caller.
func (s *Server) visibleSources(ctx context.Context, caller *access.Caller) func(*plumbv1.Source) bool {
	return visible(ctx, caller, s.sources.Each, sourceTarget)
}

// visible judges the rows that each hands over, for a caller.
func visible[T any](ctx context.Context, caller *access.Caller, each func(func(T)), target func(T) access.Target) func(T) bool {
	var all []access.Target
	if caller.Reviewed() {
		each(func(row T) { all = append(all, target(row)) })
	}
	caller.Prepare(ctx, all)
	return func(row T) bool { return caller.Sees(target(row)) }
}

// followed is one stream of rows.
type followed[T any] struct {
	server *Server
	rows   *board.Follower[T]
	target func(T) access.Target
	send   func(board.Delta[T], *access.Caller) error
	// besides wake the stream for what is no row; nil: nothing does.
	besides func() [2]<-chan struct{}
	each    bool // send judges by itself whether there is something to tell
}

// run sends what changes, until the caller has had enough. send is called once
// at the beginning, and then for what is not empty.
func (f *followed[T]) run(ctx context.Context) error {
	caller := callerOf(ctx)
	inForce, audited := f.server.guard.Policy(), time.Time{}
	for first := true; ; first = false {
		var others [2]<-chan struct{}
		if f.besides != nil {
			others = f.besides() // taken before the look, so that nothing is missed
		}
		now := f.server.guard.Policy()
		whole := now != inForce || time.Since(audited) >= rechecked
		if whole {
			inForce, audited = now, time.Now()
		}
		if !first {
			caller = f.server.guard.Caller(caller.Principal)
		}
		look := f.rows.Look(whole)
		delta := f.rows.Tell(look, visible(ctx, caller, look.Each, f.target))
		if first || f.each || !delta.Empty() {
			if err := f.send(delta, caller); err != nil {
				return err
			}
		}
		audit := time.NewTimer(rechecked)
		select {
		case <-ctx.Done():
			audit.Stop()
			return nil
		case <-look.News:
		case <-others[0]:
		case <-others[1]:
		case <-audit.C:
		}
		audit.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gathered):
		}
	}
}

// fleetNews is closed when a project or a registered cluster is another one.
func (s *Server) fleetNews() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fleet
}

// fleetChanged tells that a project or a registered cluster is another one.
func (s *Server) fleetChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.fleet)
	s.fleet = make(chan struct{})
}
