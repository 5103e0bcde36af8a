// Package board keeps rows of what is declared ready for lists: narrowed,
// ordered, counted, cut into pages, and followed. Thousands of rows are answered
// from memory; a change costs its own row only.
package board

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/labels"

	"plumb.dev/plumb/internal/object"
)

// Shape says how rows of one type are read.
type Shape[T any] struct {
	// Facets are the fields that lists are narrowed and counted by.
	Facets []string
	// Value is what a row has in a field, as text that orders as the field does;
	// false when there is no such field.
	Value func(row T, field string) (string, bool)
	// Text is what words are looked for in.
	Text func(row T) string
	// Labels are those of the declared object.
	Labels func(row T) map[string]string
	// Worse orders rows without an order of their own: below 0 where a comes
	// first.
	Worse func(a, b T) int
}

// Board holds the rows of one type. Its methods may be called from any
// goroutine; rows are never changed in place.
type Board[T any] struct {
	shape Shape[T]
	epoch string // of this board: revisions of another are of no use here

	mu   sync.RWMutex
	rows map[object.ID]row[T]
	seq  uint64      // counts changes
	log  []change[T] // the last ones, oldest first
	news chan struct{}
}

type row[T any] struct {
	value T
	text  string // in lower case
}

type change[T any] struct {
	seq uint64
	id  object.ID
	was row[T] // before; only where had
	had bool
}

// kept bounds the log: who is further behind is sent everything.
const kept = 4 << 10

// New makes an empty board. epoch tells it from earlier ones of this process
// and others.
func New[T any](epoch string, shape Shape[T]) *Board[T] {
	return &Board[T]{shape: shape, epoch: epoch, rows: map[object.ID]row[T]{}, news: make(chan struct{})}
}

// Put sets the row of an object. It must differ from the one that is there.
func (b *Board[T]) Put(id object.ID, value T) {
	text := strings.ToLower(b.shape.Text(value))
	b.mu.Lock()
	defer b.mu.Unlock()
	was, had := b.rows[id]
	b.rows[id] = row[T]{value, text}
	b.note(id, was, had)
}

// Remove takes the row of an object away, if there is one.
func (b *Board[T]) Remove(id object.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, ok := b.rows[id]
	if !ok {
		return
	}
	delete(b.rows, id)
	b.note(id, was, true)
}

// Get is the row of an object; false when there is none.
func (b *Board[T]) Get(id object.ID) (T, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	r, ok := b.rows[id]
	return r.value, ok
}

// note remembers a change and wakes whoever follows. The caller holds b.mu.
func (b *Board[T]) note(id object.ID, was row[T], had bool) {
	b.seq++
	if len(b.log) == kept {
		b.log = slices.Delete(b.log, 0, kept/4)
	}
	b.log = append(b.log, change[T]{seq: b.seq, id: id, was: was, had: had})
	close(b.news)
	b.news = make(chan struct{})
}

// Query is what a list is asked for.
type Query struct {
	Search   string
	Where    map[string][]string
	Selector labels.Selector // nil: every row
	OrderBy  string          // a field, and " desc"; "": the worst first
	Limit    int             // rows of the page; 0: all
	Skip     int
	Facets   bool
	Numbers  bool // of the answer, without rows
}

// Page is an answer.
type Page[T any] struct {
	Rows     []T
	Total    int // rows that the query lets through
	Facets   []Facet
	Revision string
}

// Facet counts the values of a field.
type Facet struct {
	Field  string
	Values []Count
}

// Count is how many rows have a value.
type Count struct {
	Value string
	Rows  int
}

// facetValues bounds the values of a facet that are told.
const facetValues = 200

// List answers a query with the rows that visible lets through.
func (b *Board[T]) List(q Query, visible func(T) bool) (Page[T], error) {
	order, err := b.order(q.OrderBy)
	if err != nil {
		return Page[T]{}, err
	}
	if err := b.fields(q.Where); err != nil {
		return Page[T]{}, err
	}
	match := b.matcher(q)
	counter := newCounter(b.shape.Facets)
	b.mu.RLock()
	page := Page[T]{Revision: b.revision(b.seq)}
	matching := make([]T, 0, len(b.rows))
	for _, r := range b.rows {
		if !visible(r.value) || !match.rest(r) {
			continue
		}
		misses := match.misses(r.value)
		if q.Facets {
			counter.add(misses, func(field string) string { v, _ := b.shape.Value(r.value, field); return v })
		}
		if len(misses) == 0 {
			matching = append(matching, r.value)
		}
	}
	b.mu.RUnlock()
	page.Total = len(matching)
	if q.Numbers {
		matching = nil
	}
	slices.SortFunc(matching, order)
	start := min(max(q.Skip, 0), len(matching))
	end := len(matching)
	if q.Limit > 0 {
		end = min(start+q.Limit, len(matching))
	}
	page.Rows = matching[start:end]
	if q.Facets {
		page.Facets = counter.facets()
	}
	return page, nil
}

// fields refuses fields that there are not.
func (b *Board[T]) fields(where map[string][]string) error {
	for field := range where {
		if !slices.Contains(b.shape.Facets, field) {
			return fmt.Errorf("there is no field %q to narrow by; there are %s", field, strings.Join(b.shape.Facets, ", "))
		}
	}
	return nil
}

// order compares rows as asked for.
func (b *Board[T]) order(by string) (func(a, b T) int, error) {
	if by == "" {
		return b.shape.Worse, nil
	}
	field, down := strings.CutSuffix(by, " desc")
	var zero T
	if _, ok := b.shape.Value(zero, field); !ok {
		return nil, fmt.Errorf("there is no field %q to order by", field)
	}
	return func(x, y T) int {
		one, _ := b.shape.Value(x, field)
		other, _ := b.shape.Value(y, field)
		c := strings.Compare(one, other)
		if down {
			c = -c
		}
		if c == 0 {
			return b.shape.Worse(x, y)
		}
		return c
	}, nil
}

// matcher is a query made ready.
type matcher[T any] struct {
	shape    *Shape[T]
	words    []string
	where    map[string][]string
	selector labels.Selector
}

func (b *Board[T]) matcher(q Query) matcher[T] {
	return matcher[T]{shape: &b.shape, words: strings.Fields(strings.ToLower(q.Search)), where: q.Where, selector: q.Selector}
}

// rest judges everything but the fields.
func (m matcher[T]) rest(r row[T]) bool {
	for _, word := range m.words {
		if !strings.Contains(r.text, word) {
			return false
		}
	}
	return m.selector == nil || m.selector.Matches(labels.Set(m.shape.Labels(r.value)))
}

// misses are the fields in which a row has none of the values that are wanted.
func (m matcher[T]) misses(value T) []string {
	var missed []string
	for field, wanted := range m.where {
		if has, _ := m.shape.Value(value, field); len(wanted) > 0 && !slices.Contains(wanted, has) {
			missed = append(missed, field)
		}
	}
	return missed
}

// counter counts values of fields. A row counts for a field when nothing but
// that field itself keeps it out: so that other values can be chosen too.
type counter struct {
	fields []string
	counts []map[string]int
}

func newCounter(fields []string) *counter {
	c := &counter{fields: fields, counts: make([]map[string]int, len(fields))}
	for i := range c.counts {
		c.counts[i] = map[string]int{}
	}
	return c
}

func (c *counter) add(misses []string, value func(string) string) {
	for i, field := range c.fields {
		if len(misses) == 0 || len(misses) == 1 && misses[0] == field {
			c.counts[i][value(field)]++
		}
	}
}

func (c *counter) facets() []Facet {
	facets := make([]Facet, len(c.fields))
	for i, field := range c.fields {
		f := Facet{Field: field}
		for value, n := range c.counts[i] {
			f.Values = append(f.Values, Count{value, n})
		}
		slices.SortFunc(f.Values, func(a, b Count) int {
			if a.Rows != b.Rows {
				return b.Rows - a.Rows
			}
			return strings.Compare(a.Value, b.Value)
		})
		if len(f.Values) > facetValues {
			f.Values = f.Values[:facetValues]
		}
		facets[i] = f
	}
	return facets
}

// revision names a state of the board.
func (b *Board[T]) revision(seq uint64) string {
	return b.epoch + "." + strconv.FormatUint(seq, 10)
}

// Delta is what changed of a query's answer.
type Delta[T any] struct {
	Reset    bool // Changed is all there is
	Changed  []T
	Removed  []object.ID // that the answer had at the revision, and has no more
	Revision string
}

// Since tells what changed of a query's answer after a revision, and gives a
// channel that is closed at the next change. A revision that is too old, of
// another board or "" is answered with everything.
func (b *Board[T]) Since(revision string, q Query, visible func(T) bool) (Delta[T], <-chan struct{}) {
	match := b.matcher(q)
	b.mu.RLock()
	defer b.mu.RUnlock()
	delta := Delta[T]{Revision: b.revision(b.seq)}
	passes := func(r row[T]) bool { return visible(r.value) && match.rest(r) && len(match.misses(r.value)) == 0 }
	from, ok := b.position(revision)
	if !ok {
		delta.Reset = true
		for _, r := range b.rows {
			if passes(r) {
				delta.Changed = append(delta.Changed, r.value)
			}
		}
		return delta, b.news
	}
	done := map[object.ID]bool{}
	for _, c := range b.log[from:] {
		if done[c.id] {
			continue
		}
		done[c.id] = true
		// The first change of a row says how it was when the revision was told.
		if r, ok := b.rows[c.id]; ok && passes(r) {
			delta.Changed = append(delta.Changed, r.value)
		} else if c.had && passes(c.was) {
			delta.Removed = append(delta.Removed, c.id)
		}
	}
	return delta, b.news
}

// position is where in the log a revision stands. The caller holds b.mu.
func (b *Board[T]) position(revision string) (int, bool) {
	epoch, text, found := strings.Cut(revision, ".")
	seq, err := strconv.ParseUint(text, 10, 64)
	if !found || err != nil || epoch != b.epoch || seq > b.seq {
		return 0, false
	}
	if seq == b.seq {
		return len(b.log), true
	}
	if len(b.log) == 0 || seq+1 < b.log[0].seq {
		return 0, false
	}
	return int(seq + 1 - b.log[0].seq), true
}

// Each hands over every row, in no order. each must not call the board.
func (b *Board[T]) Each(each func(T)) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, r := range b.rows {
		each(r.value)
	}
}

// News is closed at the next change.
func (b *Board[T]) News() <-chan struct{} {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.news
}
