package api

import (
	"sync"

	"plumb.dev/plumb/internal/object"
)

// onlookers are those who look at certain declared objects, and are woken when
// one of them may look different.
type onlookers struct {
	mu sync.Mutex
	of map[object.ID]map[*onlooker]bool
}

// onlooker is one of them. Its channel holds a token once there is something to
// look at.
type onlooker struct {
	all   *onlookers
	woken chan struct{}
	at    map[object.ID]bool // guarded by all.mu
}

// join begins to look at nothing yet.
func (o *onlookers) join() *onlooker { return &onlooker{all: o, woken: make(chan struct{}, 1)} }

// look says what is looked at from now on, instead of what was before.
func (l *onlooker) look(ids ...object.ID) {
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	was := l.at
	l.at = make(map[object.ID]bool, len(ids))
	if l.all.of == nil {
		l.all.of = map[object.ID]map[*onlooker]bool{}
	}
	for _, id := range ids {
		l.at[id] = true
		if l.all.of[id] == nil {
			l.all.of[id] = map[*onlooker]bool{}
		}
		l.all.of[id][l] = true
	}
	for id := range was {
		if l.at[id] {
			continue
		}
		if delete(l.all.of[id], l); len(l.all.of[id]) == 0 {
			delete(l.all.of, id)
		}
	}
}

// leave ends it.
func (l *onlooker) leave() { l.look() }

// wake tells the onlooker that there is something to look at.
func (l *onlooker) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// wake tells those who look at an object, or at every one of its kind.
func (o *onlookers) wake(id object.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for l := range o.of[id] {
		l.wake()
	}
	for l := range o.of[everyOne(id)] {
		l.wake()
	}
}

// everyOne stands for all objects of the kind of one.
func everyOne(id object.ID) object.ID { return object.ID{Group: id.Group, Kind: id.Kind} }
