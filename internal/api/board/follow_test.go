package board

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// removed are the names of what a delta takes away.
func removed(d Delta[shirt]) string {
	var out []string
	for _, id := range d.Removed {
		out = append(out, id.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func follow(t *testing.T, b *Board[shirt], q Query, since string) *Follower[shirt] {
	t.Helper()
	f, err := b.Follow(q, since)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// since is the first answer to somebody who comes with a revision.
func since(t *testing.T, b *Board[shirt], revision string, q Query, visible func(shirt) bool) (Delta[shirt], <-chan struct{}) {
	t.Helper()
	f := follow(t, b, q, revision)
	l := f.Look(false)
	return f.Tell(l, visible), l.News
}

func TestSince(t *testing.T) {
	b := stocked()
	start, news := since(t, b, "", Query{}, public)
	slices.SortFunc(start.Changed, shirts.Worse)
	if !start.Reset || names(start.Changed) != "anchor bear crown dove" || len(start.Removed) != 0 || start.Total != 4 {
		t.Fatalf("the first answer is %+v", start)
	}
	if again, _ := since(t, b, start.Revision, Query{}, public); !again.Empty() || again.Total != 4 {
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
	delta, _ := since(t, b, start.Revision, Query{}, public)
	if delta.Reset || names(delta.Changed) != "bear" || removed(delta) != "dove" || delta.Total != 3 {
		t.Errorf("the change is %+v", delta)
	}
	narrow, _ := since(t, b, start.Revision, Query{Where: map[string][]string{"size": {"M"}}}, public)
	if narrow.Reset || len(narrow.Changed) != 0 || removed(narrow) != "bear" || narrow.Total != 1 {
		t.Errorf("for those who look at size M the change is %+v", narrow)
	}
}

// TestSinceTellsNobodyOfWhatTheyMayNotSee: neither a change nor the end of a row
// gives away that it exists.
func TestSinceTellsNobodyOfWhatTheyMayNotSee(t *testing.T) {
	b := stocked()
	start, _ := since(t, b, "", Query{}, public)
	b.Put(id("eagle"), shirt{name: "eagle", size: "S", color: "Green", private: true})
	b.Put(id("falcon"), shirt{name: "falcon", private: true})
	b.Remove(id("falcon"))
	b.Remove(id("eagle"))
	if delta, _ := since(t, b, start.Revision, Query{}, public); !delta.Empty() {
		t.Errorf("told of %+v", delta)
	}
	seen := follow(t, b, Query{}, "")
	seen.Tell(seen.Look(false), everybody)
	b.Put(id("falcon"), shirt{name: "falcon", private: true})
	seen.Tell(seen.Look(false), everybody)
	b.Remove(id("falcon"))
	if delta := seen.Tell(seen.Look(false), everybody); removed(delta) != "falcon" {
		t.Errorf("who may see it is told of %+v", delta)
	}
	b.Put(id("bear"), shirt{name: "bear", private: true}) // goes to another project
	if delta, _ := since(t, b, start.Revision, Query{}, public); removed(delta) != "bear" || len(delta.Changed) != 0 {
		t.Errorf("what is hidden from now on: %+v", delta)
	}
}

func TestSinceBeginsAnew(t *testing.T) {
	b := stocked()
	start, _ := since(t, b, "", Query{}, everybody)
	behind := follow(t, b, Query{}, start.Revision)
	behind.Tell(behind.Look(false), everybody)
	for i := range kept + 1 {
		b.Put(id("anchor"), shirt{name: "anchor", size: fmt.Sprint(i)})
	}
	for what, revision := range map[string]string{
		"too old": start.Revision, "another board": "two.1.0", "from the future": "one.99999999.0", "nonsense": "x", "no number": "one.x.0", "no print": "one.1.-",
	} {
		if delta, _ := since(t, b, revision, Query{}, everybody); !delta.Reset || len(delta.Changed) != 5 {
			t.Errorf("%s (%s): %d rows, reset %v", what, revision, len(delta.Changed), delta.Reset)
		}
	}
	if delta := behind.Tell(behind.Look(false), everybody); !delta.Reset || len(delta.Changed) != 5 || delta.Total != 5 {
		t.Errorf("who has fallen behind: %d rows of %d, reset %v", len(delta.Changed), delta.Total, delta.Reset)
	}
	last := listed(t, b, everybody)
	b.Put(id("anchor"), shirt{name: "anchor", size: "XL"})
	if delta, _ := since(t, b, last, Query{}, everybody); delta.Reset || names(delta.Changed) != "anchor" {
		t.Errorf("the last change: %+v", delta)
	}
	if len(b.log) > kept {
		t.Errorf("the log has %d entries", len(b.log))
	}
}

// listed is the revision of a list.
func listed(t *testing.T, b *Board[shirt], visible func(shirt) bool) string {
	t.Helper()
	page, err := b.List(Query{Search: "bear", Limit: 1}, visible)
	if err != nil {
		t.Fatal(err)
	}
	return page.Revision
}

// TestSinceSeesWhatRightsDo: rows do not change when somebody is granted a right
// to them or loses it, between a list and its stream or while a stream is
// interrupted. Who goes on from there has everything told anew.
func TestSinceSeesWhatRightsDo(t *testing.T) {
	b := stocked()
	b.Put(id("eagle"), shirt{name: "eagle", size: "S", color: "Green", private: true})
	for what, c := range map[string]struct {
		before, after func(shirt) bool
		want          string
	}{
		"granted": {public, everybody, "anchor bear crown dove eagle"},
		"lost":    {everybody, public, "anchor bear crown dove"},
	} {
		revision := listed(t, b, c.before)
		b.Put(id("bear"), shirt{name: "bear", size: what})
		delta, _ := since(t, b, revision, Query{}, c.after)
		slices.SortFunc(delta.Changed, shirts.Worse)
		if !delta.Reset || names(delta.Changed) != c.want {
			t.Errorf("%s: told of %+v, want %s", what, delta, c.want)
		}
		if same, _ := since(t, b, revision, Query{}, c.before); same.Reset || names(same.Changed) != "bear" {
			t.Errorf("%s, to somebody else: told of %+v", what, same)
		}
	}
}

func TestFollowRefusesFieldsThatThereAreNot(t *testing.T) {
	if _, err := stocked().Follow(Query{Where: map[string][]string{"weight": {"1"}}}, ""); err == nil {
		t.Error("it follows a field that there is not")
	}
}

// TestFollowerCountsWhatListCounts: whatever happens, the numbers that are kept
// by what changed are those of a list that looks at everything, and so is the
// tally.
func TestFollowerCountsWhatListCounts(t *testing.T) {
	b := stocked()
	q := Query{Facets: true, Where: map[string][]string{"color": {"Blue", "Red"}}}
	f := follow(t, b, q, "")
	tally := map[string]int{}
	f.Tally = func(row *shirt, by int) {
		if row == nil {
			clear(tally)
			return
		}
		if tally[row.size] += by; tally[row.size] == 0 {
			delete(tally, row.size)
		}
	}
	have := map[string]bool{}
	for step, do := range []func(){
		func() {},
		func() { b.Put(id("bear"), shirt{"bear", "L", "Blue", false}) },
		func() { b.Put(id("bear"), shirt{"bear", "L", "Green", false}) },
		func() {
			b.Put(id("bear"), shirt{"bear", "S", "Red", true})
			b.Put(id("fox"), shirt{"fox", "S", "Red", false})
		},
		func() { b.Remove(id("fox")); b.Put(id("fox"), shirt{"fox", "M", "Blue", false}) },
		func() { b.Remove(id("crown")); b.Remove(id("eagle")) },
		func() { b.Put(id("gone"), shirt{"gone", "S", "Blue", false}); b.Remove(id("gone")) },
	} {
		do()
		delta := f.Tell(f.Look(step == 4), public)
		page, err := b.List(q, public)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(delta.Facets) != fmt.Sprint(page.Facets) || delta.Total != page.Total {
			t.Errorf("step %d: %d %v, want %d %v", step, delta.Total, delta.Facets, page.Total, page.Facets)
		}
		if delta.Reset != (step == 0) {
			t.Errorf("step %d: reset %v", step, delta.Reset)
		}
		for _, s := range delta.Changed {
			have[s.name] = true
		}
		for _, id := range delta.Removed {
			delete(have, id.Name)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(have)), " "); got != names(page.Rows) {
			t.Errorf("step %d: the viewer has %q, want %q", step, got, names(page.Rows))
		}
		sizes := map[string]int{}
		for _, s := range page.Rows {
			sizes[s.size]++
		}
		if !maps.Equal(tally, sizes) {
			t.Errorf("step %d: the tally is %v, want %v", step, tally, sizes)
		}
	}
}

// TestFollowerFindsWhatMayBeSeenNow: a right that comes or goes without a change
// of any row is found by a whole look, and by no other.
func TestFollowerFindsWhatMayBeSeenNow(t *testing.T) {
	b := stocked()
	f := follow(t, b, Query{}, "")
	f.Tell(f.Look(true), everybody)
	if delta := f.Tell(f.Look(true), everybody); !delta.Empty() {
		t.Errorf("nothing is different, and the answer is %+v", delta)
	}
	if delta := f.Tell(f.Look(true), public); !delta.Reset || len(delta.Changed) != 4 || delta.Total != 4 {
		t.Errorf("a right is gone: %+v", delta)
	}
	b.Put(id("eagle"), shirt{name: "eagle", private: true})
	if delta := f.Tell(f.Look(true), everybody); !delta.Reset || len(delta.Changed) != 5 || delta.Total != 5 {
		t.Errorf("a right is back: %+v", delta)
	}
}
