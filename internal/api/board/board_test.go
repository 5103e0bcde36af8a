package board

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"plumb.dev/plumb/internal/object"
)

// shirt is a row of the tests.
type shirt struct {
	name, size, color string
	private           bool
}

var shirts = Shape[shirt]{
	Facets: []string{"size", "color"},
	Value: func(s shirt, field string) (string, bool) {
		v, ok := map[string]string{"size": s.size, "color": s.color, "name": s.name}[field]
		return v, ok
	},
	Text:   func(s shirt) string { return s.name + "\n" + s.color },
	Labels: func(s shirt) map[string]string { return map[string]string{"size": s.size} },
	Worse:  func(a, b shirt) int { return strings.Compare(a.name, b.name) },
}

func id(name string) object.ID { return object.ID{Kind: "Shirt", Name: name} }

func everybody(shirt) bool { return true }

func public(s shirt) bool { return !s.private }

func stocked() *Board[shirt] {
	b := New("one", shirts)
	for _, s := range []shirt{
		{"anchor", "S", "Blue", false}, {"bear", "M", "Blue", false}, {"crown", "M", "Red", false}, {"dove", "L", "Red", false}, {"eagle", "L", "Green", true},
	} {
		b.Put(id(s.name), s)
	}
	return b
}

func names(list []shirt) string {
	var out []string
	for _, s := range list {
		out = append(out, s.name)
	}
	return strings.Join(out, " ")
}

func TestList(t *testing.T) {
	large, err := labels.Parse("size in (L)")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what    string
		query   Query
		visible func(shirt) bool
		want    string
		total   int
	}{
		{"everything, in the shape's order", Query{}, everybody, "anchor bear crown dove eagle", 5},
		{"only what the caller may see", Query{}, public, "anchor bear crown dove", 4},
		{"words, in any case, all of them", Query{Search: "BLUE ear"}, everybody, "bear", 1},
		{"words that only a hidden row has", Query{Search: "green"}, public, "", 0},
		{"any value of a field", Query{Where: map[string][]string{"size": {"S", "L"}}}, public, "anchor dove", 2},
		{"every field", Query{Where: map[string][]string{"size": {"M", "L"}, "color": {"Red"}}}, public, "crown dove", 2},
		{"no values are no condition", Query{Where: map[string][]string{"size": nil}}, public, "anchor bear crown dove", 4},
		{"labels", Query{Selector: large}, public, "dove", 1},
		{"an order", Query{OrderBy: "color"}, public, "anchor bear crown dove", 4},
		{"the other way round; equals in the shape's order", Query{OrderBy: "color desc"}, public, "crown dove anchor bear", 4},
		{"the first page", Query{Limit: 2}, public, "anchor bear", 4},
		{"the second", Query{Limit: 2, Skip: 2}, public, "crown dove", 4},
		{"numbers alone", Query{Numbers: true}, public, "", 4},
		{"behind the last", Query{Limit: 2, Skip: 9}, public, "", 4},
		{"before the first", Query{Limit: 1, Skip: -3}, public, "anchor", 4},
	} {
		page, err := stocked().List(c.query, c.visible)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if got := names(page.Rows); got != c.want || page.Total != c.total {
			t.Errorf("%s: %q of %d, want %q of %d", c.what, got, page.Total, c.want, c.total)
		}
	}
}

func TestListRefusesFieldsThatThereAreNot(t *testing.T) {
	for _, q := range []Query{{OrderBy: "weight"}, {Where: map[string][]string{"weight": {"1"}}}, {Where: map[string][]string{"name": {"dove"}}}} {
		if _, err := stocked().List(q, everybody); err == nil || !strings.Contains(err.Error(), "there is no field") {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// TestFacets: a field counts what the other fields let through, so that another
// value of it can be chosen; what the caller may not see is not counted.
func TestFacets(t *testing.T) {
	page, err := stocked().List(Query{Facets: true, Where: map[string][]string{"size": {"M"}}}, public)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(page.Facets)
	if want := "[{size [{M 2} {L 1} {S 1}]} {color [{Blue 1} {Red 1}]}]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFacetsAreBounded(t *testing.T) {
	b := New("one", shirts)
	for i := range facetValues + 10 {
		b.Put(id(fmt.Sprint(i)), shirt{name: fmt.Sprint(i), color: fmt.Sprint(i)})
	}
	page, err := b.List(Query{Facets: true, Limit: 1}, everybody)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(page.Facets[1].Values); n != facetValues {
		t.Errorf("%d values", n)
	}
}

// removed are the names of what a delta takes away.
func removed(d Delta[shirt]) string {
	var out []string
	for _, id := range d.Removed {
		out = append(out, id.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestSince(t *testing.T) {
	b := stocked()
	start, news := b.Since("", Query{}, public)
	slices.SortFunc(start.Changed, shirts.Worse)
	if !start.Reset || names(start.Changed) != "anchor bear crown dove" || len(start.Removed) != 0 {
		t.Fatalf("the first answer is %+v", start)
	}
	if again, _ := b.Since(start.Revision, Query{}, public); again.Reset || len(again.Changed)+len(again.Removed) != 0 {
		t.Errorf("nothing has changed, and the answer is %+v", again)
	}
	b.Put(id("bear"), shirt{name: "bear", size: "S", color: "Blue"})
	b.Remove(id("dove"))
	b.Remove(id("nothing"))
	select {
	case <-news:
	default:
		t.Error("nobody was told of the change")
	}
	delta, _ := b.Since(start.Revision, Query{}, public)
	if delta.Reset || names(delta.Changed) != "bear" || removed(delta) != "dove" {
		t.Errorf("the change is %+v", delta)
	}
	narrow, _ := b.Since(start.Revision, Query{Where: map[string][]string{"size": {"M"}}}, public)
	if narrow.Reset || len(narrow.Changed) != 0 || removed(narrow) != "bear" {
		t.Errorf("for those who look at size M the change is %+v", narrow)
	}
}

// TestSinceTellsNobodyOfWhatTheyMayNotSee: neither a change nor the end of a row
// gives away that it exists.
func TestSinceTellsNobodyOfWhatTheyMayNotSee(t *testing.T) {
	b := stocked()
	start, _ := b.Since("", Query{}, public)
	b.Put(id("eagle"), shirt{name: "eagle", size: "S", color: "Green", private: true})
	b.Put(id("falcon"), shirt{name: "falcon", private: true})
	b.Remove(id("falcon"))
	b.Remove(id("eagle"))
	if delta, _ := b.Since(start.Revision, Query{}, public); len(delta.Changed)+len(delta.Removed) != 0 {
		t.Errorf("told of %+v", delta)
	}
	if delta, _ := b.Since(start.Revision, Query{}, everybody); removed(delta) != "eagle" {
		t.Errorf("who may see it is told of %+v", delta)
	}
	b.Put(id("bear"), shirt{name: "bear", private: true}) // goes to another project
	if delta, _ := b.Since(start.Revision, Query{}, public); removed(delta) != "bear" || len(delta.Changed) != 0 {
		t.Errorf("what is hidden from now on: %+v", delta)
	}
}

func TestSinceBeginsAnew(t *testing.T) {
	b := stocked()
	start, _ := b.Since("", Query{}, everybody)
	for i := range kept + 1 {
		b.Put(id("anchor"), shirt{name: "anchor", size: fmt.Sprint(i)})
	}
	for what, revision := range map[string]string{
		"too old": start.Revision, "another board": "two.1", "from the future": "one.99999999", "nonsense": "x", "no number": "one.x",
	} {
		if delta, _ := b.Since(revision, Query{}, everybody); !delta.Reset || len(delta.Changed) != 5 {
			t.Errorf("%s (%s): %d rows, reset %v", what, revision, len(delta.Changed), delta.Reset)
		}
	}
	last := b.revision(b.seq - 1)
	if delta, _ := b.Since(last, Query{}, everybody); delta.Reset || names(delta.Changed) != "anchor" {
		t.Errorf("the last change: %+v", delta)
	}
	if len(b.log) > kept {
		t.Errorf("the log has %d entries", len(b.log))
	}
}
