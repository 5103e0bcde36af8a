// Package workloop runs the loop that everything driven by watches has in
// common: a queue of things to attend to, workers, and retries.
package workloop

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

const (
	// A conflict with another writer is the usual reason for a retry, and gone
	// with the next watch event.
	firstRetry   = 20 * time.Millisecond
	longestRetry = 5 * time.Second
)

// Attend brings one thing up to date. It may ask to be called again after a
// while; 0 for not until something changes.
type Attend[T comparable] func(ctx context.Context, item T) (again time.Duration, err error)

// Loop attends to what is added.
type Loop[T comparable] struct {
	name   string
	attend Attend[T]
	queue  workqueue.TypedRateLimitingInterface[T]
}

// New makes a loop. The name is for logs.
func New[T comparable](name string, attend Attend[T]) *Loop[T] {
	return &Loop[T]{
		name:   name,
		attend: attend,
		queue:  workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[T](firstRetry, longestRetry)),
	}
}

// Add asks for attention, at once or after a while.
func (l *Loop[T]) Add(item T, after time.Duration) { l.queue.AddAfter(item, after) }

// Run works until the context ends.
func (l *Loop[T]) Run(ctx context.Context, workers int) {
	stop := context.AfterFunc(ctx, l.queue.ShutDown)
	defer stop()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for l.work(ctx) {
			}
		})
	}
	group.Wait()
}

func (l *Loop[T]) work(ctx context.Context) bool {
	item, quit := l.queue.Get()
	if quit {
		return false
	}
	defer l.queue.Done(item)
	again, err := l.attend(ctx, item)
	if err != nil {
		if ctx.Err() == nil {
			klog.V(2).InfoS("Retrying", "loop", l.name, "item", item, "err", err)
			l.queue.AddRateLimited(item)
		}
		return true
	}
	l.queue.Forget(item)
	if again > 0 {
		l.queue.AddAfter(item, again)
	}
	return true
}
