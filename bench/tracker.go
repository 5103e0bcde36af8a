package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A tracker knows the last state of watched objects, and tells when a goal
// over some of them is reached.
type tracker struct {
	mu      sync.Mutex
	objects map[string]*seen
	goals   map[*goal]bool
}

// A goal is what has to hold for each of some objects, at any time after it was
// set.
type goal struct {
	holds   func(*seen) bool // nil object: it does not exist
	pending map[string]bool
	reached chan struct{}
	at      time.Time // of the last object
}

func newTracker() *tracker {
	return &tracker{objects: map[string]*seen{}, goals: map[*goal]bool{}}
}

// handle takes an event.
func (t *tracker) handle(deleted bool, object *seen) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	name := object.Metadata.Name
	if deleted {
		delete(t.objects, name)
	} else {
		t.objects[name] = object
	}
	for g := range t.goals {
		if g.pending[name] && !deleted && g.holds(object) {
			t.tick(g, name, now)
		}
	}
}

// tick takes an object off a goal. The caller holds the lock.
func (t *tracker) tick(g *goal, name string, now time.Time) {
	delete(g.pending, name)
	if len(g.pending) == 0 {
		g.at = now
		delete(t.goals, g)
		close(g.reached)
	}
}

// last is the last state of an object, or nil.
func (t *tracker) last(name string) *seen {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.objects[name]
}

// want sets a goal.
func (t *tracker) want(names []string, holds func(*seen) bool) *goal {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := &goal{holds: holds, pending: map[string]bool{}, reached: make(chan struct{})}
	for _, name := range names {
		g.pending[name] = true
	}
	t.goals[g] = true
	now := time.Now()
	for _, name := range names {
		if object := t.objects[name]; object != nil && holds(object) {
			t.tick(g, name, now)
		}
	}
	return g
}

// goalLimit is how long any goal may take before the run is given up.
const goalLimit = 30 * time.Minute

// wait waits for the goal and returns when it was reached.
func (t *tracker) wait(ctx context.Context, g *goal) (time.Time, error) {
	limit := time.NewTimer(goalLimit)
	defer limit.Stop()
	select {
	case <-g.reached:
		return g.at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	case <-limit.C:
		t.mu.Lock()
		defer t.mu.Unlock()
		var example string
		for example = range g.pending {
			break
		}
		return time.Time{}, fmt.Errorf("after %s a goal is not reached for %d objects, %s among them", goalLimit, len(g.pending), example)
	}
}

// at returns the goal of an application that has applied a commit.
func atCommit(commit string) func(*seen) bool {
	return func(o *seen) bool {
		revision := o.Status.LastAppliedRevision + o.Status.Sync.Revision
		return o.ready() && len(revision) >= len(commit) && revision[len(revision)-len(commit):] == commit
	}
}

// valued returns the goal of a marker with a value.
func valued(value string) func(*seen) bool {
	return func(o *seen) bool { return o.Data.Value == value }
}
