package api

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestTurnsAreFair: one who asks a lot has their own bound, and another who comes
// later does not wait behind all that they asked.
func TestTurnsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		places := newTurns(3, 2, 10)
		take := func(who string) func() {
			t.Helper()
			give, err := places.take(t.Context(), who)
			if err != nil {
				t.Fatal(who, err)
			}
			return give
		}
		one, two := take("greedy"), take("greedy")
		var mu sync.Mutex
		var served []string
		serve := func(who string) {
			give, err := places.take(t.Context(), who)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			served = append(served, who)
			mu.Unlock()
			give()
		}
		for range 4 {
			go serve("greedy")
			synctest.Wait()
		}
		if len(served) > 0 {
			t.Fatal("one caller has more places than it may")
		}
		three := take("other") // at once: the third place is nobody's
		go serve("late")
		synctest.Wait()
		three() // greedy still has two
		synctest.Wait()
		if !slices.Equal(served, []string{"late"}) {
			t.Fatalf("served: %v, want the late one before the rest of the greedy", served)
		}
		one()
		two()
		synctest.Wait()
		if len(served) != 5 || places.free != 3 || len(places.has)+len(places.waiting)+len(places.order) > 0 {
			t.Errorf("served %v; left: %+v", served, places)
		}
	})
}

func TestTurnsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		places := newTurns(1, 1, 1)
		give, err := places.take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gave := make(chan error, 1)
		go func() { _, err := places.take(ctx, "a"); gave <- err }()
		synctest.Wait()
		if _, err := places.take(t.Context(), "a"); !errors.Is(err, errNoTurn) {
			t.Errorf("a second call waits, where one may: %v", err)
		}
		cancel()
		if err := <-gave; !errors.Is(err, errNoTurn) {
			t.Errorf("the one who left got %v", err)
		}
		give()
		give() // again is nothing
		if again, err := places.take(t.Context(), "b"); err != nil || places.free != 0 {
			t.Errorf("free: %d, %v", places.free, err)
		} else {
			again()
		}
		if places.free != 1 || len(places.waiting) > 0 {
			t.Errorf("left: %+v", places)
		}
	})
}
