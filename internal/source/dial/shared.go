package dial

import (
	"context"
	"sync"
	"time"
)

// Shared lets callers that ask the same question at the same time wait for one
// answer. The zero value is ready for use.
type Shared[T any] struct {
	mu     sync.Mutex
	flight *flight[T]
}

// flight is one question under way.
type flight[T any] struct {
	started time.Time
	waiting int // callers; guarded by the mutex of Shared
	cancel  context.CancelFunc
	done    chan struct{}
	value   T
	err     error
}

// Ask returns the answer of work, or that of a call of it under way, if it
// began at notBefore or later. Its context ends when nobody waits any more, not
// when the caller that happened to come first gives up; it has the values of
// that caller's context.
func (s *Shared[T]) Ask(ctx context.Context, notBefore time.Time, work func(context.Context) (T, error)) (T, error) {
	for {
		f := s.join(ctx, work)
		select {
		case <-f.done:
			if !f.started.Before(notBefore) {
				return f.value, f.err
			}
		case <-ctx.Done():
			s.leave(f)
			var none T
			return none, context.Cause(ctx)
		}
	}
}

func (s *Shared[T]) join(ctx context.Context, work func(context.Context) (T, error)) *flight[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil {
		f := &flight[T]{started: time.Now(), done: make(chan struct{})}
		ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
		s.flight = f
		go func() {
			f.value, f.err = work(ctx)
			s.end(f)
		}()
	}
	s.flight.waiting++
	return s.flight
}

// end answers everybody who waits.
func (s *Shared[T]) end(f *flight[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.cancel()
	close(f.done)
	if s.flight == f {
		s.flight = nil
	}
}

// leave gives up waiting. Whoever comes after the last has left starts anew.
func (s *Shared[T]) leave(f *flight[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	f.cancel()
	if s.flight == f {
		s.flight = nil
	}
}
