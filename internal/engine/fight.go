package engine

import (
	"fmt"
	"time"

	"plumb.dev/plumb/internal/model"
)

// An object is healed at once. When the same object drifts again and again,
// somebody else keeps writing it: heals back off, and the report names who.
const (
	freeHeals  = 3                // in a row, without a pause
	healReset  = 10 * time.Minute // without drift: the row is over
	longestLag = 5 * time.Minute
)

// lag is how long the next heal of an object waits; 0 when it need not. The
// caller holds e.mu.
func (en *entry) lag(now time.Time) time.Duration {
	if en.heals < freeHeals {
		return 0
	}
	if now.Sub(en.healed) > healReset {
		en.heals = 0
		return 0
	}
	return max(0, backoff(en.heals-freeHeals, time.Second, longestLag)-now.Sub(en.healed))
}

// backingOff reports whether the next heal of an object has to wait. The
// caller holds e.mu.
func (e *Engine) backingOff(en *entry) bool { return en.lag(time.Now()) > 0 }

// nextHeal is how long until the first of the delivery's objects that back
// off may be healed; 0 when none does. The caller holds e.mu.
func (d *delivery) nextHeal(e *Engine) time.Duration {
	var first time.Duration
	now := time.Now()
	for k := range e.book.owned[d.spec.ID] {
		en := e.book.entries[k]
		if en.drift == "" {
			continue
		}
		if lag := en.lag(now); lag > 0 && (first == 0 || lag < first) {
			first = lag
		}
	}
	return first
}

// fights reports the objects that somebody keeps changing. The caller holds
// e.mu.
func (e *Engine) fights(d *delivery) []model.Finding {
	var out []model.Finding
	now := time.Now()
	for k := range e.book.owned[d.spec.ID] {
		en := e.book.entries[k]
		if en.heals < freeHeals || now.Sub(en.healed) > healReset {
			continue
		}
		who := en.culprit
		if who == "" {
			who = "somebody"
		}
		out = append(out, model.Finding{
			Severity: model.Warning,
			Reason:   "DriftFight",
			Message:  fmt.Sprintf("%s keeps changing %s; Plumb puts it back with growing pauses", who, k.id),
			Origin:   model.Origin{Declared: d.spec.ID},
		})
	}
	return out
}
