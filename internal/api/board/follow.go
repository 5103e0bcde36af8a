package board

import (
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/object"
)

// Delta is what changed of a query's answer.
type Delta[T any] struct {
	Reset    bool // Changed is all there is
	Changed  []T
	Removed  []object.ID // that the answer had before, and has no more
	Revision string
	Total    int     // rows that the query lets through
	Facets   []Facet // where the query asks for them
}

// Empty reports whether nothing changed.
func (d *Delta[T]) Empty() bool { return !d.Reset && len(d.Changed) == 0 && len(d.Removed) == 0 }

// Follower follows a query for one viewer. It remembers numbers, not rows: a
// change costs the rows that changed, however many there are. It is used from
// one goroutine.
type Follower[T any] struct {
	// Tally, where set, is told of each row that comes into the answer (1) and goes
	// out of it (-1), and before a row is counted anew, of everything (nil row, 0):
	// what was counted is to be forgotten.
	Tally func(row *T, by int)

	board *Board[T]
	query Query
	match matcher[T]
	since string // what the first look goes on from
	begun bool

	seq     uint64
	total   int
	seen    uint64 // print of the rows that the viewer sees, in the answer or not
	counter *counter[T]
}

// Follow begins to follow a query after a revision. One that is too old, of
// another board or "" is answered with everything.
func (b *Board[T]) Follow(q Query, since string) (*Follower[T], error) {
	if err := b.fields(q.Where); err != nil {
		return nil, err
	}
	return &Follower[T]{board: b, query: q, match: b.matcher(q), since: since}, nil
}

// Look is what is to be judged for the next answer: a moment of the board.
type Look[T any] struct {
	// News is closed at the first change after this moment.
	News <-chan struct{}

	whole   bool
	lost    bool   // where it went on from is not known any more
	saw     uint64 // print of what the viewer saw there; only of a first look
	seq     uint64
	rows    []named[T] // all; only of a whole look
	changes []net[T]
}

type named[T any] struct {
	id object.ID
	row[T]
}

// net is what became of one row between two moments.
type net[T any] struct {
	id       object.ID
	was, now row[T]
	had, has bool
}

// Each hands over every row that is to be judged.
func (l *Look[T]) Each(each func(T)) {
	for i := range l.rows {
		each(l.rows[i].value)
	}
	for i := range l.changes {
		if c := &l.changes[i]; c.had {
			each(c.was.value)
		}
		if c := &l.changes[i]; c.has && !l.whole {
			each(c.now.value)
		}
	}
}

// Look takes what changed since the last answer; whole takes every row besides,
// to find what the viewer may see now and might not before, or the other way
// round. The first look is whole.
func (f *Follower[T]) Look(whole bool) *Look[T] {
	b := f.board
	b.mu.RLock()
	defer b.mu.RUnlock()
	from, saw, known := b.position(f.since)
	if f.begun {
		from, known = b.after(f.seq)
	}
	l := &Look[T]{News: b.news, whole: whole || !f.begun || !known, lost: !known, saw: saw, seq: b.seq}
	if known {
		l.changes = b.netSince(from)
	}
	if l.whole {
		l.rows = make([]named[T], 0, len(b.rows))
		for id, r := range b.rows {
			l.rows = append(l.rows, named[T]{id, r})
		}
	}
	return l
}

// Tell answers with what the viewer sees of a look.
func (f *Follower[T]) Tell(l *Look[T], visible func(T) bool) Delta[T] {
	delta := Delta[T]{Reset: l.lost}
	if !l.lost {
		for i := range l.changes {
			f.change(&delta, &l.changes[i], visible)
		}
	}
	if l.whole {
		before := f.seen
		if !f.begun {
			before = l.saw ^ f.turned(l, visible)
		}
		f.recount(l.rows, visible)
		if f.seen != before {
			delta.Reset = true // the viewer may see something else now
		}
	}
	if delta.Reset {
		delta.Changed, delta.Removed = nil, nil
		for i := range l.rows {
			if r := l.rows[i].row; visible(r.value) && f.match.all(r) {
				delta.Changed = append(delta.Changed, r.value)
			}
		}
	}
	f.seq, f.begun = l.seq, true
	delta.Revision, delta.Total = f.board.revision(l.seq, f.seen), f.total
	if f.query.Facets {
		delta.Facets = f.counter.facets()
	}
	return delta
}

// turned is the print of the rows that changes have brought to the viewer, or have
// taken away.
func (f *Follower[T]) turned(l *Look[T], visible func(T) bool) uint64 {
	turned := uint64(0)
	for i := range l.changes {
		if c := &l.changes[i]; (c.had && visible(c.was.value)) != (c.has && visible(c.now.value)) {
			turned ^= f.board.print(c.id)
		}
	}
	return turned
}

// change tells of one row, and counts it where what was before has been counted.
func (f *Follower[T]) change(delta *Delta[T], c *net[T], visible func(T) bool) {
	was := c.had && visible(c.was.value)
	is := c.has && visible(c.now.value)
	wasIn, isIn := was && f.match.all(c.was), is && f.match.all(c.now)
	switch {
	case isIn:
		delta.Changed = append(delta.Changed, c.now.value)
	case wasIn:
		delta.Removed = append(delta.Removed, c.id)
	}
	if !f.begun {
		return
	}
	if was {
		f.count(c.id, c.was, -1)
	}
	if is {
		f.count(c.id, c.now, 1)
	}
}

// recount counts every row anew.
func (f *Follower[T]) recount(rows []named[T], visible func(T) bool) {
	f.counter, f.total, f.seen = newCounter(&f.board.shape), 0, 0
	if f.Tally != nil {
		f.Tally(nil, 0)
	}
	for i := range rows {
		if visible(rows[i].value) {
			f.count(rows[i].id, rows[i].row, 1)
		}
	}
}

// count counts a row that the viewer sees.
func (f *Follower[T]) count(id object.ID, r row[T], by int) {
	f.seen ^= f.board.print(id)
	if !f.match.rest(r) {
		return
	}
	misses := f.match.misses(r.value)
	if f.query.Facets {
		f.counter.add(r.value, misses, by)
	}
	if len(misses) > 0 {
		return
	}
	f.total += by
	if f.Tally != nil {
		f.Tally(&r.value, by)
	}
}

// all judges a row by all of a query.
func (m matcher[T]) all(r row[T]) bool { return m.rest(r) && len(m.misses(r.value)) == 0 }

// netSince is what became of each row since a place in the log. The caller holds
// b.mu.
func (b *Board[T]) netSince(from int) []net[T] {
	if from == len(b.log) {
		return nil
	}
	done := make(map[object.ID]bool, len(b.log)-from)
	changes := make([]net[T], 0, len(b.log)-from)
	for _, c := range b.log[from:] {
		if done[c.id] {
			continue
		}
		done[c.id] = true
		// The first change of a row says how it was before all of them.
		now, has := b.rows[c.id]
		if c.had || has {
			changes = append(changes, net[T]{id: c.id, was: c.was, had: c.had, now: now, has: has})
		}
	}
	return changes
}

// position is where in the log a revision stands, and the print of what its viewer
// saw there. The caller holds b.mu.
func (b *Board[T]) position(revision string) (from int, saw uint64, known bool) {
	parts := strings.Split(revision, ".")
	if len(parts) != 3 || parts[0] != b.epoch {
		return 0, 0, false
	}
	seq, err := strconv.ParseUint(parts[1], 10, 64)
	saw, sawErr := strconv.ParseUint(parts[2], 36, 64)
	if err != nil || sawErr != nil {
		return 0, 0, false
	}
	from, known = b.after(seq)
	return from, saw, known
}

// after is where in the log the first change after the one numbered seq stands;
// false where that is not known any more. The caller holds b.mu.
func (b *Board[T]) after(seq uint64) (int, bool) {
	switch {
	case seq > b.seq:
		return 0, false
	case seq == b.seq:
		return len(b.log), true
	case len(b.log) == 0, seq+1 < b.log[0].seq:
		return 0, false
	}
	return int(seq + 1 - b.log[0].seq), true
}
