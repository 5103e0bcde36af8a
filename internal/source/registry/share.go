package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"plumb.dev/plumb/internal/model"
)

// share lets those who want the same at the same time share one errand, for
// what never changes. It goes on when the first of them has gone, up to a limit.
func share[T any](ctx context.Context, group *singleflight.Group, key string, limit time.Duration, run func(context.Context) (T, error)) (T, error) {
	answer := group.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		return run(ctx)
	})
	select {
	case landed := <-answer:
		one, _ := landed.Val.(T)
		return one, own(landed.Err)
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// own gives every caller a fault of its own: whoever gets one completes it.
func own(err error) error {
	var fault *model.Fault
	if errors.As(err, &fault) {
		mine := *fault
		return &mine
	}
	return err
}

// looks let those who ask what changes share one question. A question answers
// only those who asked before it left: whoever is told that something new is
// there must not be answered with what was.
type looks struct {
	mu     sync.Mutex
	leaves map[string]*question // the next to leave; nil while one is out that nobody waits behind
}

type question struct {
	ask      func() (any, error)
	answered chan struct{} // closed when answer and err are set
	answer   any
	err      error
}

// gather is how long a question waits for others who want to ask it. Deliveries
// that wake together ask within it; nobody notices it beside a round trip.
const gather = 5 * time.Millisecond

// look asks, or joins those who are about to ask.
func look[T any](ctx context.Context, l *looks, key string, limit time.Duration, run func(context.Context) (T, error)) (T, error) {
	one := l.join(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		return run(ctx)
	})
	select {
	case <-one.answered:
		answer, _ := one.answer.(T)
		return answer, own(one.err)
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func (l *looks) join(key string, ask func() (any, error)) *question {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, going := l.leaves[key]
	if one != nil {
		return one
	}
	one = &question{ask: ask, answered: make(chan struct{})}
	if l.leaves == nil {
		l.leaves = map[string]*question{}
	}
	l.leaves[key] = one
	if !going {
		time.AfterFunc(gather, func() { l.run(key) })
	}
	return one
}

// run sends one question after the other, until nobody asks.
func (l *looks) run(key string) {
	for {
		l.mu.Lock()
		one := l.leaves[key]
		if one == nil {
			delete(l.leaves, key)
			l.mu.Unlock()
			return
		}
		l.leaves[key] = nil
		l.mu.Unlock()
		one.answer, one.err = one.ask()
		close(one.answered)
	}
}
