package api

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// turns hands out a bounded number of places. Those who wait for one are served
// in turn, whoever asked more often: who asks a lot waits for their own calls,
// and others do not.
type turns struct {
	most  int // places that one caller may have
	waits int // calls of one caller that may wait

	mu      sync.Mutex
	free    int
	has     map[string]int
	waiting map[string][]chan struct{} // by caller, the oldest first
	order   []string                   // callers who wait; the first is next
}

func newTurns(places, most, waits int) *turns {
	return &turns{free: places, most: most, waits: waits, has: map[string]int{}, waiting: map[string][]chan struct{}{}}
}

// errNoTurn ends a call that could not begin.
var errNoTurn = errors.New("too many such calls go on: try again in a moment")

// take waits for a place until ctx ends, and returns how it is handed back. Who
// waits for too many already is refused.
func (t *turns) take(ctx context.Context, who string) (give func(), err error) {
	ready := t.ask(who)
	if ready == nil {
		return nil, errNoTurn
	}
	select {
	case <-ready:
	case <-ctx.Done():
		if !t.leave(who, ready) {
			t.give(who) // it came at that very moment
		}
		return nil, errNoTurn
	}
	return sync.OnceFunc(func() { t.give(who) }), nil
}

// ask stands in line. The channel is closed once there is a place; nil: the
// caller has too many in the line.
func (t *turns) ask(who string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	ready := make(chan struct{})
	if len(t.waiting[who]) == 0 {
		t.order = append(t.order, who)
	}
	t.waiting[who] = append(t.waiting[who], ready)
	t.serve()
	if len(t.waiting[who]) > t.waits {
		t.strike(who, ready)
		return nil
	}
	return ready
}

// leave goes out of the line; false when a place was given meanwhile.
func (t *turns) leave(who string, ready chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.strike(who, ready)
}

// give hands a place back.
func (t *turns) give(who string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	if t.has[who]--; t.has[who] == 0 {
		delete(t.has, who)
	}
	t.serve()
}

// serve gives the places that are free to those whose turn it is. The caller
// holds t.mu.
func (t *turns) serve() {
	for i := 0; t.free > 0 && i < len(t.order); {
		who := t.order[i]
		if t.has[who] >= t.most {
			i++
			continue
		}
		ready := t.waiting[who][0]
		t.strike(who, ready)
		if at := slices.Index(t.order, who); at >= 0 { // to the end of the line
			t.order = append(slices.Delete(t.order, at, at+1), who)
		}
		t.free--
		t.has[who]++
		close(ready)
	}
}

// strike takes a call out of the line; false when it is not in it. The caller
// holds t.mu.
func (t *turns) strike(who string, ready chan struct{}) bool {
	at := slices.Index(t.waiting[who], ready)
	if at < 0 {
		return false
	}
	if t.waiting[who] = slices.Delete(t.waiting[who], at, at+1); len(t.waiting[who]) == 0 {
		delete(t.waiting, who)
		t.order = slices.DeleteFunc(t.order, func(name string) bool { return name == who })
	}
	return true
}
