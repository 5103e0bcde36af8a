// Package board keeps rows of what is declared ready for lists: narrowed,
// ordered, counted, cut into pages, and followed. Thousands of rows are answered
// from memory; a change costs its own row only.
package board

import (
	"cmp"
	"fmt"
	"hash/maphash"
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
	// Rank orders the values of a field that have an order other than that of their
	// text, lowest first; false for other fields. nil: there are none.
	Rank func(field, value string) (int, bool)
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
	seed  maphash.Seed

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
	return &Board[T]{shape: shape, epoch: epoch, seed: maphash.MakeSeed(), rows: map[object.ID]row[T]{}, news: make(chan struct{})}
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

// Facet counts the values of a field: in the order of their rank where the field
// has one, and else the most frequent first.
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
	sorter, err := b.sorter(q.OrderBy)
	if err != nil {
		return Page[T]{}, err
	}
	if err := b.fields(q.Where); err != nil {
		return Page[T]{}, err
	}
	match := b.matcher(q)
	counts := newCounter(&b.shape)
	b.mu.RLock()
	seq, seen := b.seq, uint64(0)
	matching := make([]T, 0, len(b.rows))
	for id, r := range b.rows {
		if !visible(r.value) {
			continue
		}
		seen ^= b.print(id)
		if !match.rest(r) {
			continue
		}
		misses := match.misses(r.value)
		if q.Facets {
			counts.add(r.value, misses, 1)
		}
		if len(misses) == 0 {
			matching = append(matching, r.value)
		}
	}
	b.mu.RUnlock()
	page := Page[T]{Revision: b.revision(seq, seen), Total: len(matching)}
	if q.Numbers {
		matching = nil
	}
	sorter(matching)
	start := min(max(q.Skip, 0), len(matching))
	end := len(matching)
	if q.Limit > 0 {
		end = min(start+q.Limit, len(matching))
	}
	page.Rows = matching[start:end]
	if q.Facets {
		page.Facets = counts.facets()
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

// sorter orders rows as asked for. What a row is ordered by is worked out once.
func (b *Board[T]) sorter(by string) (func([]T), error) {
	if by == "" {
		return func(rows []T) { slices.SortFunc(rows, b.shape.Worse) }, nil
	}
	field, down := strings.CutSuffix(by, " desc")
	var zero T
	if _, ok := b.shape.Value(zero, field); !ok {
		return nil, fmt.Errorf("there is no field %q to order by", field)
	}
	compare := b.shape.valueOrder(field)
	type keyed struct {
		key   string
		value T
	}
	return func(rows []T) {
		all := make([]keyed, len(rows))
		for i, value := range rows {
			all[i].value = value
			all[i].key, _ = b.shape.Value(value, field)
		}
		slices.SortFunc(all, func(x, y keyed) int {
			c := compare(x.key, y.key)
			if down {
				c = -c
			}
			if c == 0 {
				return b.shape.Worse(x.value, y.value)
			}
			return c
		})
		for i := range all {
			rows[i] = all[i].value
		}
	}, nil
}

// valueOrder compares the values of a field: as it ranks them, and as text.
func (s *Shape[T]) valueOrder(field string) func(a, b string) int {
	if !s.ranked(field) {
		return strings.Compare
	}
	return func(a, b string) int {
		x, _ := s.Rank(field, a)
		y, _ := s.Rank(field, b)
		return cmp.Or(cmp.Compare(x, y), strings.Compare(a, b))
	}
}

// ranked reports whether the values of a field have an order of their own.
func (s *Shape[T]) ranked(field string) bool {
	if s.Rank == nil {
		return false
	}
	_, ok := s.Rank(field, "")
	return ok
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
type counter[T any] struct {
	shape  *Shape[T]
	counts []map[string]int
	told   []*Facet // as counted; nil: it has changed since
}

func newCounter[T any](shape *Shape[T]) *counter[T] {
	c := &counter[T]{shape: shape, counts: make([]map[string]int, len(shape.Facets)), told: make([]*Facet, len(shape.Facets))}
	for i := range c.counts {
		c.counts[i] = map[string]int{}
	}
	return c
}

// add counts a row, or with -1 counts it no more.
func (c *counter[T]) add(row T, misses []string, by int) {
	for i, field := range c.shape.Facets {
		if len(misses) > 1 || len(misses) == 1 && misses[0] != field {
			continue
		}
		value, _ := c.shape.Value(row, field)
		c.told[i] = nil
		if c.counts[i][value] += by; c.counts[i][value] == 0 {
			delete(c.counts[i], value)
		}
	}
}

// facets are the counts as they are told. What has not changed since they were
// told is not sorted again.
func (c *counter[T]) facets() []Facet {
	facets := make([]Facet, len(c.counts))
	for i := range c.counts {
		if c.told[i] == nil {
			c.told[i] = c.facet(i)
		}
		facets[i] = *c.told[i]
	}
	return facets
}

// facet orders the values of a field as it ranks them, or by how often they are
// there.
func (c *counter[T]) facet(i int) *Facet {
	f := &Facet{Field: c.shape.Facets[i], Values: make([]Count, 0, len(c.counts[i]))}
	for value, n := range c.counts[i] {
		f.Values = append(f.Values, Count{value, n})
	}
	order := func(a, b Count) int { return cmp.Or(b.Rows-a.Rows, strings.Compare(a.Value, b.Value)) }
	if c.shape.ranked(f.Field) {
		compare := c.shape.valueOrder(f.Field)
		order = func(a, b Count) int { return compare(a.Value, b.Value) }
	}
	slices.SortFunc(f.Values, order)
	f.Values = slices.Clip(f.Values[:min(len(f.Values), facetValues)])
	return f
}

// revision names a state of the board, and which rows of it a viewer saw.
func (b *Board[T]) revision(seq, seen uint64) string {
	return b.epoch + "." + strconv.FormatUint(seq, 10) + "." + strconv.FormatUint(seen, 36)
}

// print stands for a row. Those of several are put together by exclusive or, in
// any order.
func (b *Board[T]) print(id object.ID) uint64 { return maphash.Comparable(b.seed, id) }

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
