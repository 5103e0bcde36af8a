package journal_test

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"plumb.dev/plumb/internal/journal"
)

// recorded records entries with revisions from first to last, a second apart.
func recorded(j *journal.Journal, first, last int) {
	for i := first; i <= last; i++ {
		j.Record(journal.History{Delivery: someDelivery, At: time.Unix(int64(i), 5), Revision: strconv.Itoa(i)})
	}
}

// TestAfter: whoever knows a place is told of what came after it, also after the
// journal has been opened anew.
func TestAfter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	start, err := j.Newest(t.Context())
	if err != nil || start != (journal.Place{}) {
		t.Fatalf("the place of an empty journal is %+v, %v", start, err)
	}
	news := j.News()
	recorded(j, 1, 3)
	expect := func(p journal.Place, limit int, want string) {
		t.Helper()
		entries, numbers, ok, err := j.After(t.Context(), p, limit)
		got := ""
		for i, entry := range entries {
			got += entry.Revision + "#" + strconv.FormatInt(numbers[i], 10) + " "
		}
		if !ok {
			got = "not to be known"
		}
		if err != nil || got != want {
			t.Errorf("after %+v: %q, %v, want %q", p, got, err, want)
		}
	}
	expect(start, 10, "1#1 2#2 3#3 ")
	select {
	case <-news:
	default:
		t.Error("nobody was told of the news")
	}
	expect(start, 2, "not to be known") // more than is wanted
	place, err := j.Newest(t.Context())
	if err != nil || place.Number != 3 || !place.At.Equal(time.Unix(3, 5)) {
		t.Fatalf("the newest is %+v, %v", place, err)
	}
	expect(place, 10, "")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, path)
	recorded(j, 4, 4)
	expect(place, 10, "4#4 ")
	expect(journal.Place{Number: 3, At: time.Unix(9, 0)}, 10, "not to be known") // of another journal
	expect(journal.Place{Number: 99, At: time.Unix(9, 0)}, 10, "not to be known")
	recorded(j, 5, 4+journal.KeptRuns)
	expect(place, 1000, "not to be known") // it is not kept any more
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
