package engine

import (
	"testing"
	"time"
)

func TestTheFirstHealsAreImmediateThenPausesGrow(t *testing.T) {
	now := time.Now()
	en := &entry{healed: now}
	var last time.Duration
	for heals := range 12 {
		en.heals = heals
		lag := en.lag(now)
		switch {
		case heals < freeHeals && lag != 0:
			t.Fatalf("heal %d waits %s", heals, lag)
		case heals >= freeHeals && lag <= last && last < longestLag:
			t.Fatalf("heal %d waits %s, not longer than %s", heals, lag, last)
		case lag > longestLag:
			t.Fatalf("heal %d waits %s, longer than ever allowed", heals, lag)
		}
		last = lag
	}
}

func TestAQuietWhileEndsAFight(t *testing.T) {
	now := time.Now()
	en := &entry{heals: 9, healed: now.Add(-healReset - time.Second)}
	if lag := en.lag(now); lag != 0 || en.heals != 0 {
		t.Fatalf("waits %s after %d heals", lag, en.heals)
	}
}
