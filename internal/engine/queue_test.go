package engine

import (
	"testing"

	"plumb.dev/plumb/internal/object"
)

func named(n string) object.ID { return object.ID{Kind: "Delivery", Name: n} }

func take(t *testing.T, q *queue, want string) {
	t.Helper()
	id, ok := q.next()
	if !ok || id.Name != want {
		t.Fatalf("next is %q (%v), want %q", id.Name, ok, want)
	}
}

func TestUrgentRunsFirstAndOldestFirstWithinAnUrgency(t *testing.T) {
	q := newQueue()
	q.add(named("a"), routine)
	q.add(named("b"), changed)
	q.add(named("c"), routine)
	q.add(named("d"), urgent)
	for _, want := range []string{"d", "b", "a", "c"} {
		take(t, q, want)
	}
}

func TestAskingAgainRaisesTheUrgencyAndNeverRunsTwice(t *testing.T) {
	q := newQueue()
	q.add(named("a"), routine)
	q.add(named("b"), routine)
	q.add(named("b"), urgent)
	take(t, q, "b")
	take(t, q, "a")
	if n := q.depth(); n != 0 {
		t.Fatalf("%d deliveries still wait", n)
	}
}

func TestADeliveryThatRunsRunsAgainAfterwards(t *testing.T) {
	q := newQueue()
	q.add(named("a"), routine)
	take(t, q, "a")
	q.add(named("a"), routine)
	q.add(named("a"), urgent)
	if n := q.depth(); n != 0 {
		t.Fatalf("it waits while it runs: %d", n)
	}
	q.done(named("a"))
	q.add(named("b"), changed)
	take(t, q, "a")
	q.done(named("a"))
	take(t, q, "b")
	q.done(named("b"))
	if n := q.depth(); n != 0 {
		t.Fatalf("it ran more often than asked: %d", n)
	}
}

func TestCloseWakesWhoeverWaits(t *testing.T) {
	q := newQueue()
	done := make(chan bool)
	go func() {
		_, ok := q.next()
		done <- ok
	}()
	q.close()
	if <-done {
		t.Fatal("a closed queue handed something out")
	}
}

func TestAQueueIsAtRestWhenNothingWaitsAndNothingRuns(t *testing.T) {
	rests := func(q *queue) bool {
		select {
		case <-q.atRest():
			return true
		default:
			return false
		}
	}
	q, id := newQueue(), object.ID{Kind: "Kustomization", Name: "apps"}
	if !rests(q) {
		t.Fatal("a new queue is at rest")
	}
	q.add(id, routine)
	before := q.atRest()
	if rests(q) {
		t.Fatal("one waits")
	}
	q.next()
	q.add(id, routine)
	q.done(id)
	if rests(q) {
		t.Fatal("it was asked for while it ran")
	}
	q.next()
	if rests(q) {
		t.Fatal("one runs")
	}
	q.done(id)
	if !rests(q) {
		t.Fatal("nothing is left")
	}
	select {
	case <-before:
	default:
		t.Fatal("who waited since the first was not told")
	}
}
