package engine

import (
	"container/heap"
	"sync"

	"plumb.dev/plumb/internal/object"
)

// urgency orders the queue. A lower value runs first.
type urgency uint8

const (
	urgent  urgency = iota // drift, deletions of declared objects
	changed                // a commit or a person changed what is wanted
	routine                // everything else: first looks, retries, edges
)

// queue hands out deliveries, most urgent first, oldest first within one
// urgency, each at most once at a time.
type queue struct {
	mu      sync.Mutex
	ready   *sync.Cond
	heap    entries
	waiting map[object.ID]*queued
	running map[object.ID]bool
	again   map[object.ID]urgency // asked for while running
	seq     uint64
	closed  bool
	rest    chan struct{} // closed while nothing waits and nothing runs
}

type queued struct {
	id    object.ID
	how   urgency
	seq   uint64
	index int
}

func newQueue() *queue {
	q := &queue{waiting: map[object.ID]*queued{}, running: map[object.ID]bool{}, again: map[object.ID]urgency{}}
	q.ready, q.rest = sync.NewCond(&q.mu), make(chan struct{})
	close(q.rest)
	return q
}

// add asks for a run. A delivery that runs now runs again afterwards.
func (q *queue) add(id object.ID, how urgency) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running[id] {
		if was, ok := q.again[id]; !ok || how < was {
			q.again[id] = how
		}
		return
	}
	if len(q.heap) == 0 && len(q.running) == 0 {
		q.rest = make(chan struct{})
	}
	q.push(id, how)
}

func (q *queue) push(id object.ID, how urgency) {
	if e, ok := q.waiting[id]; ok {
		if how < e.how {
			e.how = how
			heap.Fix(&q.heap, e.index)
		}
		return
	}
	q.seq++
	e := &queued{id: id, how: how, seq: q.seq}
	q.waiting[id] = e
	heap.Push(&q.heap, e)
	q.ready.Signal()
}

// next waits for the delivery to run now; false when the queue is closed.
func (q *queue) next() (object.ID, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.heap) == 0 && !q.closed {
		q.ready.Wait()
	}
	if q.closed {
		return object.ID{}, false
	}
	e := heap.Pop(&q.heap).(*queued)
	delete(q.waiting, e.id)
	q.running[e.id] = true
	return e.id, true
}

// done ends the run of a delivery.
func (q *queue) done(id object.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.running, id)
	if how, ok := q.again[id]; ok {
		delete(q.again, id)
		q.push(id, how)
	}
	if len(q.heap) == 0 && len(q.running) == 0 {
		close(q.rest)
	}
}

// atRest is closed once nothing waits and nothing runs.
func (q *queue) atRest() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.rest
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

// depth is the number of deliveries that wait.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.heap)
}

type entries []*queued

func (h entries) Len() int { return len(h) }

func (h entries) Less(i, j int) bool {
	if h[i].how != h[j].how {
		return h[i].how < h[j].how
	}
	return h[i].seq < h[j].seq
}

func (h entries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is heap.Interface.
func (h *entries) Push(x any) {
	e := x.(*queued)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop is heap.Interface.
func (h *entries) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
