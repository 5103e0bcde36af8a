package argocd

import (
	"context"
	"maps"
	"sync"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
)

const (
	// feedIdle is how long a feed that nobody follows goes on: scripts ask again
	// and again.
	feedIdle = time.Minute
	// maxBehind is how many events a follower may be behind, beside one for each
	// object: what changes twice meanwhile is told once.
	maxBehind = 10000
)

// errBehind ends a watch that takes what it is told too slowly.
var errBehind = failed(connect.CodeResourceExhausted, "too much has changed since the last message was taken: watch again")

// feeds are the kinds that callers follow. A watch that somebody joins begins
// anew for everybody, with all there is; a feed joins it once, remembers what
// there is, and tells newcomers.
type feeds struct {
	mu sync.Mutex
	of map[feedOf]*feed
}

// feedOf is what a feed is of.
type feedOf struct {
	cluster *cluster.Cluster
	kind    Kind
}

// join makes somebody follow a kind, until leave. begin starts the watch behind a
// feed that nobody follows yet.
func (all *feeds) join(of feedOf, begin func(cluster.Handler) (stop func())) (f *follower, leave func()) {
	all.mu.Lock()
	defer all.mu.Unlock()
	one := all.of[of]
	if one == nil {
		one = &feed{known: map[string]*unstructured.Unstructured{}, followers: map[*follower]bool{}}
		one.end = begin(one)
		if all.of == nil {
			all.of = map[feedOf]*feed{}
		}
		all.of[of] = one
	}
	f = one.add()
	return f, func() {
		one.remove(f)
		time.AfterFunc(feedIdle, func() { all.endIdle(of, one) })
	}
}

// endIdle ends a feed that nobody has followed for a while.
func (all *feeds) endIdle(of feedOf, one *feed) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.of[of] == one && one.idle(time.Now()) {
		delete(all.of, of)
		one.end()
	}
}

// feed is one watch, and all who follow it.
type feed struct {
	end func() // ends the watch

	mu        sync.Mutex
	known     map[string]*unstructured.Unstructured // never changed in place
	again     map[string]bool                       // of known: seen since the watch had to begin anew; nil unless it had
	synced    bool
	followers map[*follower]bool // true: has been told what there is
	left      time.Time          // when the last follower left
}

func (d *feed) add() *follower {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &follower{news: make(chan struct{}, 1)}
	d.followers[f] = false
	if d.synced {
		d.introduce(f)
	}
	return f
}

// introduce tells somebody what there is. The caller holds mu.
func (d *feed) introduce(f *follower) {
	d.followers[f] = true
	f.most = len(d.known) + maxBehind
	for _, o := range d.known {
		f.put(notice{watch.Added, o})
	}
	f.put(notice{})
}

func (d *feed) remove(f *follower) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.followers, f)
	d.left = time.Now()
}

func (d *feed) idle(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.followers) == 0 && now.Sub(d.left) >= feedIdle
}

// Event keeps what a watch tells, and passes on what is new.
func (d *feed) Event(typ watch.EventType, o *unstructured.Unstructured) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := qualified(o)
	was, had := d.known[key]
	if typ == watch.Deleted {
		if had {
			if o.Object["spec"] == nil { // it vanished while nobody looked
				o = was
			}
			delete(d.known, key)
			d.tell(watch.Deleted, o)
		}
		return
	}
	if d.again != nil {
		d.again[key] = true
	}
	if had && was.GetUID() == o.GetUID() && was.GetResourceVersion() == o.GetResourceVersion() {
		return
	}
	o = slim(o)
	d.known[key] = o
	switch {
	case !had:
		d.tell(watch.Added, o)
	case was.GetUID() != o.GetUID():
		d.tell(watch.Deleted, was)
		d.tell(watch.Added, o)
	default:
		d.tell(watch.Modified, o)
	}
}

// tell passes on an event to those who know what was there before. The caller
// holds mu.
func (d *feed) tell(typ watch.EventType, o *unstructured.Unstructured) {
	for f, introduced := range d.followers {
		if introduced {
			f.put(notice{typ, o})
		}
	}
}

// Synced ends the telling of what there is. What was known before the watch had
// to begin anew, and was not seen since, is gone.
func (d *feed) Synced() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.again != nil {
		for key, o := range d.known {
			if !d.again[key] {
				delete(d.known, key)
				d.tell(watch.Deleted, o)
			}
		}
		d.again = nil
	}
	d.synced = true
	for f, introduced := range maps.Clone(d.followers) {
		if !introduced {
			d.introduce(f)
		}
	}
}

// Gone leaves what was told as it is: the watch goes on by itself.
func (d *feed) Gone(error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.synced, d.again = false, map[string]bool{}
}

// slim is a copy of the outside of an object without managed fields, which nobody
// asks for here. Watched objects are shared, and never changed in place.
func slim(o *unstructured.Unstructured) *unstructured.Unstructured {
	top := maps.Clone(o.Object)
	if metadata, ok := top["metadata"].(map[string]any); ok {
		metadata = maps.Clone(metadata)
		delete(metadata, "managedFields")
		top["metadata"] = metadata
	}
	return &unstructured.Unstructured{Object: top}
}

// follower takes what a feed tells, without making it wait for a slow caller.
type follower struct {
	news chan struct{}
	most int // that may wait to be taken

	mu     sync.Mutex
	queue  []notice
	byName map[string]int // where the last event of an object stands in the queue
	behind bool           // too much waited: what was told is not whole
}

// notice is one event, or with no object the news that all was told.
type notice struct {
	typ watch.EventType
	o   *unstructured.Unstructured
}

// take hands over what waits; false when some of it is lost.
func (f *follower) take() ([]notice, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.queue
	f.queue, f.byName = nil, nil
	return out, !f.behind
}

func (f *follower) put(n notice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
	if f.behind || n.o != nil && f.merge(n) {
		return
	}
	if len(f.queue) > f.most {
		f.behind, f.queue, f.byName = true, nil, nil
		return
	}
	f.queue = append(f.queue, n)
}

// merge puts an event in the place of one of the same object that waits still,
// where that tells everything: a change of what is told anyway, and an end. The
// caller holds mu.
func (f *follower) merge(n notice) bool {
	key := qualified(n.o)
	at, waits := f.byName[key]
	if waits && f.queue[at].typ != watch.Deleted {
		switch n.typ {
		case watch.Modified:
			f.queue[at].o = n.o
			return true
		case watch.Deleted:
			f.queue[at] = n
			return true
		}
	}
	if f.byName == nil {
		f.byName = map[string]int{}
	}
	f.byName[key] = len(f.queue)
	return false
}

// follow calls each and synced for what a feed tells, until ctx ends, or the
// cluster is not the one any more that this process acts on.
func (f *follower) follow(ctx context.Context, leads func() bool, each func(watch.EventType, *unstructured.Unstructured), synced func()) error {
	clock := time.NewTicker(rechecked)
	defer clock.Stop()
	for {
		waiting, whole := f.take()
		if !whole {
			return errBehind
		}
		for _, n := range waiting {
			switch {
			case ctx.Err() != nil:
				return nil
			case n.o == nil:
				synced()
			default:
				each(n.typ, n.o)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.news:
		case <-clock.C:
			if !leads() {
				return errNotLeading
			}
		}
	}
}
