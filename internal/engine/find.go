package engine

import (
	"slices"
	"strings"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// OwnedObject is an object together with the delivery that owns it.
type OwnedObject struct {
	ID, Owner object.ID
	Health    model.Health
}

// FindObjects lists objects of deliveries that visible lets through, and in
// whose namespace, kind or name every word occurs; at most limit of them, in
// order. Words are in lower case. What was created or deleted within the last
// second may not be known of.
func (e *Engine) FindObjects(words []string, limit int, visible func(owner object.ID) bool) []OwnedObject {
	if len(words) == 0 {
		return nil
	}
	judged := map[object.ID]bool{}
	var shown []OwnedObject
	look := func(keys []key) {
		for _, o := range e.owners(keys) {
			seen, known := judged[o.Owner]
			if !known {
				seen = visible(o.Owner)
				judged[o.Owner] = seen
			}
			if seen && len(shown) < limit {
				shown = append(shown, o)
			}
		}
	}
	batch := make([]key, 0, findBatch)
	for _, n := range e.called() {
		if slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(n.text, word) }) {
			continue
		}
		if batch = append(batch, n.key); len(batch) == findBatch {
			look(batch)
			batch = batch[:0]
		}
		if len(shown) == limit {
			return shown
		}
	}
	look(batch)
	return shown
}

const (
	// findBatch is how many objects are looked up in the book at a time.
	findBatch = 256
	// namesHold is how long the names of all objects are searched without a look at
	// the book. There may be a hundred thousand, and everybody waits for the book.
	namesHold = time.Second
)

// names are what all objects that deliveries own were called at one moment, in
// order.
type names struct {
	at      time.Time
	changes uint64 // of the book, then
	all     []entryName
}

type entryName struct {
	key  key
	text string // in lower case
}

// called are the names as they were a moment ago. What is returned does not
// change.
func (e *Engine) called() []entryName {
	now := time.Now()
	e.mu.Lock()
	if known := e.book.names; known != nil && (known.changes == e.book.changes || now.Sub(known.at) < namesHold) {
		e.mu.Unlock()
		return known.all
	}
	room := len(e.book.entries)
	e.mu.Unlock()
	fresh := &names{at: now, all: make([]entryName, 0, room+room/8)} // made while nobody waits
	e.mu.Lock()
	fresh.changes = e.book.changes
	for k := range e.book.entries {
		fresh.all = append(fresh.all, entryName{key: k})
	}
	e.mu.Unlock()
	for i := range fresh.all {
		id := &fresh.all[i].key.id
		fresh.all[i].text = strings.ToLower(id.Namespace + " " + id.Kind + " " + id.Name)
	}
	slices.SortFunc(fresh.all, func(a, b entryName) int { return a.key.id.Compare(b.key.id) })
	e.mu.Lock()
	defer e.mu.Unlock()
	if known := e.book.names; known == nil || known.changes < fresh.changes {
		e.book.names = fresh
	}
	return fresh.all
}

// owners looks up whose objects are, and how they are. What nobody owns is left
// out.
func (e *Engine) owners(keys []key) []OwnedObject {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := make([]OwnedObject, 0, len(keys))
	for _, k := range keys {
		if en := e.book.entries[k]; en != nil && !en.owner.IsZero() {
			found = append(found, OwnedObject{ID: k.id, Owner: en.owner, Health: en.health})
		}
	}
	return found
}
