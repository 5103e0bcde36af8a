package generate

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"plumb.dev/plumb/internal/model"
)

// flights lets those who ask the same at the same time share one errand. It
// goes on as long as somebody waits for it.
type flights struct {
	mu    sync.Mutex
	going map[[sha256.Size]byte]*flight
}

type flight struct {
	cancel  context.CancelFunc
	waiting int
	landed  chan struct{} // closed when answer and err are set
	answer  model.Answer
	err     error
}

type errandFunc func(context.Context) (model.Answer, error)

func (f *flights) join(ctx context.Context, key [sha256.Size]byte, limit time.Duration, run errandFunc) (model.Answer, error) {
	one := f.board(ctx, key, limit, run)
	select {
	case <-one.landed:
		return one.answer, one.err
	case <-ctx.Done():
		f.leave(key, one)
		return model.Answer{}, ctx.Err()
	}
}

func (f *flights) board(ctx context.Context, key [sha256.Size]byte, limit time.Duration, run errandFunc) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.going[key]; one != nil {
		one.waiting++
		return one
	}
	// The errand outlives the one who asked first if others wait for it too.
	errandContext, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit,
		errSlow{fmt.Sprintf("the answer takes longer than %s", limit)})
	one := &flight{cancel: cancel, waiting: 1, landed: make(chan struct{})}
	if f.going == nil {
		f.going = map[[sha256.Size]byte]*flight{}
	}
	f.going[key] = one
	go func() {
		defer cancel()
		one.answer, one.err = run(errandContext)
		f.mu.Lock()
		if f.going[key] == one {
			delete(f.going, key)
		}
		f.mu.Unlock()
		close(one.landed)
	}()
	return one
}

func (f *flights) leave(key [sha256.Size]byte, one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one.waiting--
	if one.waiting > 0 {
		return
	}
	one.cancel()
	if f.going[key] == one { // whoever comes now must not get what is being given up
		delete(f.going, key)
	}
}
