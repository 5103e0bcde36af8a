package cluster

import (
	"context"
	"sync"
	"time"
)

// patience is how long a background write waits behind foreground ones before
// it may go alone, so that statuses still move under unbroken load.
const patience = 2 * time.Second

// limiter bounds the writes in flight. Foreground writes have slots of their
// own and are served in order of arrival. Background writes use a few other
// slots, and only while no foreground write waits and at most half of the
// foreground's slots are taken; under unbroken load one at a time passes after
// it was patient.
type limiter struct {
	mu         sync.Mutex
	foreground lane
	background lane
	patient    int // background writes that were let through by patience
}

type lane struct {
	slots, taken int
	queue        []*ticket // oldest first
}

type ticket struct {
	admitted chan struct{} // closed when a slot is held
	overdue  bool          // was patient
	waited   bool          // let through by patience
}

func newLimiter(foreground, background int) *limiter {
	return &limiter{foreground: lane{slots: foreground}, background: lane{slots: background}}
}

// acquire waits for a slot and returns the function that gives it back.
func (l *limiter) acquire(ctx context.Context, background bool) (func(), error) {
	l.mu.Lock()
	lane := &l.foreground
	if background {
		lane = &l.background
	}
	t := &ticket{admitted: make(chan struct{})}
	lane.queue = append(lane.queue, t)
	l.admit()
	l.mu.Unlock()

	release := func() { l.release(lane, t) }
	select {
	case <-t.admitted: // the common case costs no timer
		return release, nil
	default:
	}
	var overdue <-chan time.Time
	if background {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		overdue = timer.C
	}
	for {
		select {
		case <-t.admitted:
			return release, nil
		case <-overdue:
			l.mu.Lock()
			t.overdue = true
			l.admit()
			l.mu.Unlock()
		case <-ctx.Done():
			if l.leave(lane, t) {
				return nil, ctx.Err()
			}
			return release, nil
		}
	}
}

// leave takes a ticket out of its queue, unless it was admitted meanwhile.
func (l *limiter) leave(lane *lane, t *ticket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, q := range lane.queue {
		if q == t {
			lane.queue = append(lane.queue[:i], lane.queue[i+1:]...)
			l.admit() // background may have waited for this foreground write
			return true
		}
	}
	return false
}

func (l *limiter) release(lane *lane, t *ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane.taken--
	if t.waited {
		l.patient--
	}
	l.admit()
}

// admit lets in whoever may go now. The caller holds the lock.
func (l *limiter) admit() {
	fg, bg := &l.foreground, &l.background
	for len(fg.queue) > 0 && fg.taken < fg.slots {
		fg.next()
	}
	for len(bg.queue) > 0 && bg.taken < bg.slots {
		calm := len(fg.queue) == 0 && fg.taken <= fg.slots/2
		if !calm {
			if !bg.queue[0].overdue || l.patient > 0 {
				return
			}
			bg.queue[0].waited = true
			l.patient++
		}
		bg.next()
	}
}

func (l *lane) next() {
	t := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.taken++
	close(t.admitted)
}
