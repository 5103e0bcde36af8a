package gate

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // time zones are the same everywhere, also where the system has none

	"github.com/robfig/cron/v3"

	"plumb.dev/plumb/internal/model"
)

const (
	// longestSchedule bounds a cron expression in bytes.
	longestSchedule = 512
	// longestZone bounds the name of a time zone in bytes.
	longestZone = 128
	// mostSchedules bounds how many schedules and zones are remembered.
	mostSchedules = 1024
	// searchSteps bounds the search for the moment in which a verdict changes:
	// how many beginnings and ends of windows are looked at.
	searchSteps = 1000
	// horizon is how far that search goes.
	horizon = 366 * 24 * time.Hour
)

// Verdict says whether syncs may begin now.
type Verdict struct {
	Automatic bool         // the engine may begin one by itself
	Manual    bool         // a person may
	Why       string       // what forbids it, or lets it happen; "" when there are no windows
	Origin    model.Origin // of the window that decided
	Next      time.Time    // when the verdict may become another; zero: never
}

// Windows judges a moment by the sync windows of a delivery (argo-cd
// SyncWindows.CanSync, docs/user-guide/sync_windows.md):
//
//   - without windows everything may sync;
//   - an active deny window forbids it, whatever else is active;
//   - an active allow window permits it;
//   - where there are allow windows and none is active, it is forbidden;
//   - a person may sync in spite of it when all windows that forbid it say so
//     (manualSync).
//
// A window is active from its beginning until its duration has passed, in the
// wall clock of its time zone; an unknown zone is UTC, as upstream has it. A
// window whose schedule cannot be read forbids everything.
func Windows(windows []model.Window, now time.Time) Verdict {
	if len(windows) == 0 {
		return Verdict{Automatic: true, Manual: true}
	}
	timetable, err := read(windows)
	if err != nil {
		return Verdict{Why: "invalid sync windows: " + err.Message, Origin: err.Origin}
	}
	verdict := timetable.judge(now)
	looking := search{steps: searchSteps}
	verdict.Next = looking.change(timetable, now, verdict)
	return verdict
}

// MayGoOn reports whether a sync that began at a moment may still go on
// (SyncWindows.CanSync with the start of an operation). It may when one could
// begin now. Otherwise it may when it could begin back then, and all the
// windows that forbid it now have syncOverrun: the active deny windows, or else
// the allow windows that have closed.
func MayGoOn(windows []model.Window, now, started time.Time, manual bool) bool {
	if len(windows) == 0 {
		return true
	}
	timetable, err := read(windows)
	if err != nil {
		return false
	}
	verdict := timetable.judge(now)
	if verdict.permits(manual) {
		return true
	}
	if started.IsZero() {
		return false
	}
	_, forbidding := timetable.deciding(now)
	for _, w := range forbidding {
		if !w.Overrun {
			return false
		}
	}
	before := timetable.judge(started)
	return before.permits(manual)
}

func (v Verdict) permits(manual bool) bool { return v.Automatic || manual && v.Manual }

// CheckWindow finds what is wrong with a window: a schedule that is no cron
// expression of five fields, or one that never comes. An unknown time zone is
// no fault, since upstream takes it for UTC; see KnownZone.
func CheckWindow(w model.Window) *model.Fault {
	refuse := func(message string) *model.Fault {
		return &model.Fault{
			Reason: "InvalidSpecError", Message: message, Origin: w.Origin,
			Advice: "write the schedule as five cron fields: minute, hour, day of month, month, day of week",
		}
	}
	schedule, err := schedules.of(w.Schedule)
	if err != nil {
		return refuse(fmt.Sprintf("cannot parse schedule '%s': %v", shown(w.Schedule), err))
	}
	if schedule.Next(anyYear).IsZero() {
		return refuse(fmt.Sprintf("schedule '%s' never comes", shown(w.Schedule)))
	}
	return nil
}

// anyYear is where CheckWindow begins to look: in the five years that the
// search covers every date there is comes at least once.
var anyYear = time.Date(2023, time.January, 1, 0, 0, 0, 0, time.UTC)

// KnownZone reports whether a time zone has a meaning; "" is UTC.
func KnownZone(name string) bool { return zones.of(name) != nil }

// timetable is a set of windows that can be judged.
type timetable []slot

type slot struct {
	model.Window
	schedule cron.Schedule
	zone     *time.Location
}

func read(windows []model.Window) (timetable, *model.Fault) {
	t := make(timetable, len(windows))
	for i, w := range windows {
		schedule, err := schedules.of(w.Schedule)
		if err != nil {
			return nil, CheckWindow(w)
		}
		zone := zones.of(w.TimeZone)
		if zone == nil {
			zone = time.UTC
		}
		t[i] = slot{Window: w, schedule: schedule, zone: zone}
	}
	return t, nil
}

// judge is the verdict of a moment, without Next.
func (t timetable) judge(now time.Time) Verdict {
	permitting, forbidding := t.deciding(now)
	switch {
	case len(forbidding) == 0 && permitting == nil:
		return Verdict{Automatic: true, Manual: true, Why: "no deny window is active"}
	case len(forbidding) == 0:
		return Verdict{Automatic: true, Manual: true, Why: "allow window " + permitting.String() + " is active", Origin: permitting.Origin}
	}
	v := Verdict{Manual: true, Origin: forbidding[0].Origin}
	for _, w := range forbidding {
		v.Manual = v.Manual && w.Manual
	}
	if forbidding[0].Deny {
		v.Why = "deny window " + forbidding[0].String() + " is active"
	} else {
		v.Why = "no allow window is active: the first is " + forbidding[0].String()
	}
	return v
}

// deciding finds the windows that decide about a moment: those that forbid it,
// or an allow window that permits it. Without either it is permitted.
func (t timetable) deciding(now time.Time) (permitting *slot, forbidding []*slot) {
	var closed []*slot
	for i := range t {
		w := &t[i]
		switch open := w.active(now); {
		case open && w.Deny:
			forbidding = append(forbidding, w)
		case open && permitting == nil:
			permitting = w
		case !open && !w.Deny:
			closed = append(closed, w)
		}
	}
	switch {
	case len(forbidding) > 0:
		return nil, forbidding
	case permitting != nil:
		return permitting, nil
	}
	return nil, closed
}

// String is how people read a window.
func (s *slot) String() string {
	text := fmt.Sprintf("'%s' for %s", shown(s.Schedule), s.Duration)
	if s.TimeZone != "" && s.zone != time.UTC {
		text += " in " + shown(s.TimeZone)
	}
	return text
}

// wall reads the clock on the wall of the window's zone, written as UTC, as
// schedules are read.
func (s *slot) wall(now time.Time) time.Time {
	_, offset := now.In(s.zone).Zone()
	return now.UTC().Add(time.Duration(offset) * time.Second)
}

// active reports whether the window is open: the first beginning after
// now-duration is not in the future.
func (s *slot) active(now time.Time) bool {
	wall := s.wall(now)
	begins := s.schedule.Next(wall.Add(-s.Duration))
	return !begins.IsZero() && !begins.After(wall)
}

// search looks for the moment in which a verdict changes, a bounded number of
// steps far.
type search struct{ steps int }

func (s *search) step() bool {
	s.steps--
	return s.steps >= 0
}

// change finds the moment after now in which the verdict is another. When the
// search ends before that, it is the last moment it saw: the verdict may be
// another afterwards.
func (s *search) change(t timetable, now time.Time, verdict Verdict) time.Time {
	at := now
	for s.step() {
		var next time.Time
		for i := range t {
			if b := s.boundary(&t[i], at); !b.IsZero() && b.After(at) && (next.IsZero() || b.Before(next)) {
				next = b
			}
		}
		if next.IsZero() {
			return time.Time{}
		}
		at = next
		if v := t.judge(at); v.Automatic != verdict.Automatic || v.Manual != verdict.Manual || at.Sub(now) > horizon {
			break
		}
	}
	return at.UTC()
}

// boundary is the next moment in which a window opens or closes, or in which
// the clocks of its zone change; zero when none comes.
func (s *search) boundary(w *slot, now time.Time) time.Time {
	s.steps--
	wall := w.wall(now)
	at := w.schedule.Next(wall)
	if begins := w.schedule.Next(wall.Add(-w.Duration)); !begins.IsZero() && !begins.After(wall) {
		at = s.closes(w, begins)
	}
	_, changes := now.In(w.zone).ZoneBounds()
	if at.IsZero() {
		return changes
	}
	next := now.Add(at.Sub(wall))
	if !changes.IsZero() && changes.Before(next) {
		return changes
	}
	return next
}

// closes follows a window from one beginning to the next while they overlap.
// When the search ends before that, it looks again where it stopped.
func (s *search) closes(w *slot, begins time.Time) time.Time {
	ends := begins.Add(w.Duration)
	for s.step() {
		begins = w.schedule.Next(begins)
		if begins.IsZero() || begins.After(ends) {
			break
		}
		ends = begins.Add(w.Duration)
	}
	return ends
}

// shown keeps what others wrote short in messages.
func shown(text string) string {
	const most = 100
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

// five reads the five fields that upstream reads, without "@daily" and the
// like.
var five = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

var (
	schedules = remembered[cron.Schedule]{make: func(text string) (cron.Schedule, error) {
		if len(text) > longestSchedule {
			return nil, errors.New("it is too long")
		}
		if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
			if zone, _, ok := strings.Cut(text, " "); !ok || len(zone) > longestZone { // the parser takes a space for granted
				return nil, errors.New("its time zone is not followed by a schedule")
			}
		}
		return five.Parse(text)
	}}
	zones = zoneTable{remembered[*time.Location]{make: func(name string) (*time.Location, error) {
		if len(name) > longestZone || strings.ContainsAny(name, " \t\r\n") {
			return nil, errors.New("it is no time zone")
		}
		// The parser of schedules looks the zone up, and keeps it.
		parsed, err := five.Parse("CRON_TZ=" + name + " * * * * *")
		if err != nil {
			return nil, err
		}
		schedule, ok := parsed.(*cron.SpecSchedule)
		if !ok {
			return nil, errors.New("it has no time zone")
		}
		return schedule.Location, nil
	}}}
)

// zoneTable finds time zones by name.
type zoneTable struct {
	remembered[*time.Location]
}

// of is nil for a name without meaning.
func (z *zoneTable) of(name string) *time.Location {
	if name == "" {
		return time.UTC
	}
	zone, err := z.remembered.of(name)
	if err != nil {
		return nil
	}
	return zone
}

// remembered keeps what was made of a text. It is forgotten whole when it is
// full.
type remembered[T any] struct {
	make  func(string) (T, error)
	mu    sync.Mutex
	known map[string]made[T]
}

type made[T any] struct {
	value T
	err   error
}

func (r *remembered[T]) of(text string) (T, error) {
	if len(text) > longestSchedule {
		return r.make(text) // which refuses it
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.known[text]
	if !ok {
		known.value, known.err = r.make(text)
		if r.known == nil || len(r.known) >= mostSchedules {
			r.known = map[string]made[T]{}
		}
		r.known[strings.Clone(text)] = known
	}
	return known.value, known.err
}
