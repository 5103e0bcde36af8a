package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// fleetOf is an engine whose deliveries own objects each.
func fleetOf(deliveries, objects int) *Engine {
	e := &Engine{book: newBook()}
	for d := range deliveries {
		owner := object.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: fmt.Sprintf("Team-%d", d%50), Name: fmt.Sprintf("apps-%d", d)}
		for o := range objects {
			e.own(key{id: object.ID{Group: "apps", Kind: "Deployment", Namespace: owner.Namespace, Name: fmt.Sprintf("Web-%d-%d", d, o)}}, owner, "v1")
		}
	}
	return e
}

func TestFindObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fleetOf(100, 3)
		names := func(words string, limit int, visible func(object.ID) bool) []string {
			var out []string
			for _, o := range e.FindObjects(strings.Fields(words), limit, visible) {
				out = append(out, o.ID.Namespace+"/"+o.ID.Name)
			}
			return out
		}
		everything := func(object.ID) bool { return true }
		if got, want := names("team-7 web-7-", 10, everything), []string{"Team-7/Web-7-0", "Team-7/Web-7-1", "Team-7/Web-7-2"}; !slices.Equal(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
		if got := names("deployment", 4, everything); len(got) != 4 || !slices.IsSorted(got) {
			t.Errorf("at most four, in order: %v", got)
		}
		asked := 0
		if got := names("deployment", 4, func(owner object.ID) bool { asked++; return owner.Name == "apps-99" }); len(got) != 3 || asked > 100 {
			t.Errorf("found %v, asked %d times", got, asked)
		}
		if names("", 4, everything) != nil || names("nothing", 4, everything) != nil {
			t.Error("something is found for nothing")
		}
		// What changes hands or goes is told as it is now, though names are old.
		k := key{id: object.ID{Group: "apps", Kind: "Deployment", Namespace: "Team-7", Name: "Web-7-1"}}
		other := object.ID{Kind: "Kustomization", Name: "other"}
		e.own(k, other, "v1").health = model.Health{State: model.Unhealthy}
		delete(e.book.entries, key{id: object.ID{Group: "apps", Kind: "Deployment", Namespace: "Team-7", Name: "Web-7-2"}})
		e.book.changes++
		found := e.FindObjects([]string{"web-7-"}, 10, everything)
		if len(found) != 2 || found[1].Owner != other || found[1].Health.State != model.Unhealthy {
			t.Errorf("found %+v", found)
		}
		e.own(key{id: object.ID{Kind: "Service", Namespace: "x", Name: "brand-new"}}, other, "v1")
		time.Sleep(namesHold)
		if got := names("brand-new", 10, everything); len(got) != 1 {
			t.Errorf("what is new is found after a moment: %v", got)
		}
	})
}

// BenchmarkFindObjects searches a fleet of 5,000 deliveries with 20 objects each,
// and reports for how long the longest look at the book held up the engine.
func BenchmarkFindObjects(b *testing.B) {
	e := fleetOf(5000, 20)
	for _, words := range []string{"web-77-1", "web"} {
		b.Run(words, func(b *testing.B) {
			stop, worst := make(chan struct{}), make(chan time.Duration)
			go func() {
				longest := time.Duration(0)
				for {
					select {
					case <-stop:
						worst <- longest
						return
					default:
					}
					start := time.Now()
					e.mu.Lock()
					longest = max(longest, time.Since(start))
					e.mu.Unlock()
				}
			}()
			for b.Loop() {
				e.FindObjects([]string{words}, 20, func(object.ID) bool { return true })
			}
			close(stop)
			b.ReportMetric(float64((<-worst).Microseconds())/1000, "held-ms")
		})
	}
}
