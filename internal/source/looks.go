package source

import (
	"context"
	"sync"
)

// lookout shares answers to one question between those who ask it.
type lookout[T any] struct {
	store *Store
	ask   func(ctx context.Context) (T, error)

	mu      sync.Mutex
	running *question[T]
	queued  *question[T]
}

// question is asked once for all that wait for it.
type question[T any] struct {
	context context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	waiting int
	answer  T
	err     error
}

func (l *lookout[T]) newQuestion() *question[T] {
	q := &question[T]{done: make(chan struct{})}
	q.context, q.cancel = context.WithCancel(l.store.context)
	return q
}

// look returns an answer to a question that was asked after look was called:
// whoever comes while one is under way waits for the next, together with all
// others who came.
func (l *lookout[T]) look(ctx context.Context) (T, error) {
	l.mu.Lock()
	mine := l.queued
	switch {
	case l.running == nil:
		mine = l.newQuestion()
		l.start(mine)
	case mine == nil:
		mine = l.newQuestion()
		l.queued = mine
	}
	return l.wait(ctx, mine)
}

// join is look for what cannot change: an answer under way is as good.
func (l *lookout[T]) join(ctx context.Context) (T, error) {
	l.mu.Lock()
	mine := l.running
	if mine == nil {
		mine = l.newQuestion()
		l.start(mine)
	}
	return l.wait(ctx, mine)
}

// wait waits for the answer. A question that nobody waits for any more is
// dropped. l.mu is held, and released.
func (l *lookout[T]) wait(ctx context.Context, mine *question[T]) (T, error) {
	mine.waiting++
	l.mu.Unlock()
	select {
	case <-mine.done:
		return mine.answer, mine.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	mine.waiting--
	if mine.waiting == 0 {
		mine.cancel()
		switch mine {
		case l.queued:
			l.queued = nil
		case l.running:
			l.running = nil // whoever comes now must not share its end
			l.next()
		}
	}
	var none T
	return none, context.Cause(ctx)
}

// start asks; l.mu is held.
func (l *lookout[T]) start(q *question[T]) {
	l.running = q
	l.store.running.Go(func() {
		q.answer, q.err = l.ask(q.context)
		q.cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		close(q.done)
		if l.running == q {
			l.running = nil
			l.next()
		}
	})
}

// next asks what is queued; l.mu is held.
func (l *lookout[T]) next() {
	if q := l.queued; q != nil {
		l.queued = nil
		l.start(q)
	}
}

// lookouts are those of many questions, each known by a key while somebody asks
// it.
type lookouts[T any] struct {
	mu  sync.Mutex
	all map[string]*shared[T]
}

type shared[T any] struct {
	lookout[T]
	users int
}

// of returns the lookout of a key and what has to be called when it is not used
// any more. ask is the question if the lookout is new.
func (l *lookouts[T]) of(s *Store, key string, ask func(ctx context.Context) (T, error)) (*lookout[T], func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.all[key]
	if one == nil {
		one = &shared[T]{lookout: lookout[T]{store: s, ask: ask}}
		if l.all == nil {
			l.all = map[string]*shared[T]{}
		}
		l.all[key] = one
	}
	one.users++
	return &one.lookout, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.all, key)
		}
	}
}

// look asks the question of a key as lookout.look does.
func (l *lookouts[T]) look(ctx context.Context, s *Store, key string, ask func(ctx context.Context) (T, error)) (T, error) {
	at, leave := l.of(s, key, ask)
	defer leave()
	return at.look(ctx)
}

// join asks the question of a key as lookout.join does.
func (l *lookouts[T]) join(ctx context.Context, s *Store, key string, ask func(ctx context.Context) (T, error)) (T, error) {
	at, leave := l.of(s, key, ask)
	defer leave()
	return at.join(ctx)
}
