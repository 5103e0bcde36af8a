package board

import (
	"fmt"
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
	Rank: func(field, value string) (int, bool) {
		return strings.Index("SML", value), field == "size"
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
		{"the order of a field's own", Query{OrderBy: "size"}, public, "anchor bear crown dove", 4},
		{"that the other way round", Query{OrderBy: "size desc"}, public, "dove bear crown anchor", 4},
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
	if want := "[{size [{S 1} {M 2} {L 1}]} {color [{Blue 1} {Red 1}]}]"; got != want {
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
