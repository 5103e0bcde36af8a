package cluster

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func acquire(t *testing.T, l *limiter, background bool) func() {
	t.Helper()
	release, err := l.acquire(t.Context(), background)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func TestLimiterBoundsEachClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(8, 2)
		var mu sync.Mutex
		var inFlight, most [2]int
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				class := i % 2
				release := acquire(t, l, class == 1)
				mu.Lock()
				inFlight[class]++
				most[class] = max(most[class], inFlight[class])
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				inFlight[class]--
				mu.Unlock()
				release()
			})
		}
		wg.Wait()
		if most != [2]int{8, 2} {
			t.Fatalf("at most %v in flight", most)
		}
		if l.foreground.taken != 0 || l.background.taken != 0 || l.patient != 0 {
			t.Fatalf("%+v", l)
		}
	})
}

func TestBackgroundYieldsToForeground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2, 2)
		one, two := acquire(t, l, false), acquire(t, l, false)
		admitted := make(chan func(), 1)
		go func() { admitted <- acquire(t, l, true) }()
		synctest.Wait()
		if len(admitted) > 0 {
			t.Fatal("background went while the foreground is busy")
		}
		// A foreground write that waits comes first.
		foreground := make(chan func(), 1)
		go func() { foreground <- acquire(t, l, false) }()
		synctest.Wait()
		one()
		synctest.Wait()
		if len(foreground) != 1 || len(admitted) != 0 {
			t.Fatalf("%d foreground, %d background", len(foreground), len(admitted))
		}
		two()
		synctest.Wait()
		if len(admitted) != 1 {
			t.Fatal("background still waits while half of the foreground is idle")
		}
	})
}

func TestBackgroundNeverHoldsForegroundBack(t *testing.T) {
	l := newLimiter(2, 2)
	defer acquire(t, l, true)()
	defer acquire(t, l, true)()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		if _, err := l.acquire(ctx, false); err != nil {
			t.Fatal("foreground waits for background")
		}
	}
}

func TestPatientBackgroundPassesOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, 4)
		defer acquire(t, l, false)() // unbroken load
		began := time.Now()
		admitted := make(chan func(), 4)
		for range 4 {
			go func() { admitted <- acquire(t, l, true) }()
		}
		first := <-admitted
		if since := time.Since(began); since != patience {
			t.Fatalf("after %s", since)
		}
		time.Sleep(time.Minute)
		if len(admitted) != 0 {
			t.Fatal("two at a time")
		}
		first()
		second := <-admitted
		second()
		(<-admitted)()
		(<-admitted)()
	})
}

func TestLimiterForgetsWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, 1)
		release := acquire(t, l, false)
		ctx, cancel := context.WithCancel(t.Context())
		for _, background := range []bool{false, true} {
			go func() {
				if _, err := l.acquire(ctx, background); err == nil {
					t.Error("admitted")
				}
			}()
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		release()
		if len(l.foreground.queue)+len(l.background.queue)+l.foreground.taken+l.background.taken != 0 {
			t.Fatalf("%+v", l)
		}
		acquire(t, l, false)()
	})
}
