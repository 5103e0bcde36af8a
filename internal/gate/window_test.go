package gate

import (
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func window(schedule string, d time.Duration, change ...func(*model.Window)) model.Window {
	w := model.Window{Schedule: schedule, Duration: d, Origin: model.Origin{Declared: object.ID{Kind: "AppProject", Name: "p"}, Field: schedule}}
	for _, f := range change {
		f(&w)
	}
	return w
}

func deny(w *model.Window)    { w.Deny = true }
func manual(w *model.Window)  { w.Manual = true }
func overrun(w *model.Window) { w.Overrun = true }
func in(zone string) func(*model.Window) {
	return func(w *model.Window) { w.TimeZone = zone }
}

func TestWindows(t *testing.T) {
	const noon = "2025-06-11T12:00:00Z" // a Wednesday
	for _, c := range []struct {
		name      string
		windows   []model.Window
		now       string
		automatic bool
		manual    bool
		next      string // "": never
		why       string
		origin    string // schedule of the window that decided
	}{
		{"none", nil, noon, true, true, "", "", ""},
		{"allow, open", []model.Window{window("0 10 * * *", 8*time.Hour)}, noon, true, true, "2025-06-11T18:00:00Z", "allow window '0 10 * * *' for 8h0m0s is active", "0 10 * * *"},
		{"allow, closed", []model.Window{window("0 14 * * *", time.Hour)}, noon, false, false, "2025-06-11T14:00:00Z", "no allow window is active", "0 14 * * *"},
		{"allow, closed, a person may", []model.Window{window("0 14 * * *", time.Hour, manual)}, noon, false, true, "2025-06-11T14:00:00Z", "no allow window", "0 14 * * *"},
		{"all closed windows must let the person", []model.Window{window("0 14 * * *", time.Hour, manual), window("0 16 * * *", time.Hour)}, noon, false, false, "2025-06-11T14:00:00Z", "no allow window", "0 14 * * *"},
		{"one of two allows is open", []model.Window{window("0 14 * * *", time.Hour), window("0 11 * * *", 2*time.Hour)}, noon, true, true, "2025-06-11T13:00:00Z", "is active", "0 11 * * *"},
		{"deny, open", []model.Window{window("0 11 * * *", 2*time.Hour, deny)}, noon, false, false, "2025-06-11T13:00:00Z", "deny window '0 11 * * *' for 2h0m0s is active", "0 11 * * *"},
		{"deny, closed", []model.Window{window("0 14 * * *", time.Hour, deny)}, noon, true, true, "2025-06-11T14:00:00Z", "no deny window", ""},
		{"deny, a person may", []model.Window{window("0 11 * * *", 2*time.Hour, deny, manual)}, noon, false, true, "2025-06-11T13:00:00Z", "deny window", "0 11 * * *"},
		{"all open denies must let the person", []model.Window{window("0 11 * * *", 2*time.Hour, deny, manual), window("30 11 * * *", time.Hour, deny)}, noon, false, false, "2025-06-11T12:30:00Z", "deny window", "0 11 * * *"},
		{"deny beats allow", []model.Window{window("0 10 * * *", 8*time.Hour, manual), window("0 11 * * *", 2*time.Hour, deny)}, noon, false, false, "2025-06-11T13:00:00Z", "deny window", "0 11 * * *"},
		{"deny beats allow, the person is asked of the deny alone", []model.Window{window("0 10 * * *", 8*time.Hour), window("0 11 * * *", 2*time.Hour, deny, manual)}, noon, false, true, "2025-06-11T13:00:00Z", "deny window", "0 11 * * *"},
		{"deny closed, allow closed", []model.Window{window("0 14 * * *", time.Hour), window("0 16 * * *", time.Hour, deny)}, noon, false, false, "2025-06-11T14:00:00Z", "no allow window", "0 14 * * *"},
		{"open from the very beginning", []model.Window{window("0 12 * * *", time.Hour)}, noon, true, true, "2025-06-11T13:00:00Z", "is active", "0 12 * * *"},
		{"closed at the very end", []model.Window{window("0 11 * * *", time.Hour)}, noon, false, false, "2025-06-12T11:00:00Z", "no allow", "0 11 * * *"},
		{"it overlaps itself", []model.Window{window("*/30 9-11 * * *", time.Hour)}, "2025-06-11T10:10:00Z", true, true, "2025-06-11T12:30:00Z", "is active", "*/30 9-11 * * *"},
		{"windows that meet make one", []model.Window{window("0 11 * * *", 2*time.Hour), window("0 13 * * *", time.Hour)}, noon, true, true, "2025-06-11T14:00:00Z", "is active", "0 11 * * *"},
		{"days of the week", []model.Window{window("0 0 * * 6,0", 24*time.Hour, deny)}, noon, true, true, "2025-06-14T00:00:00Z", "no deny", ""},
		{"a whole weekend", []model.Window{window("0 0 * * 6,0", 24*time.Hour, deny)}, "2025-06-14T12:00:00Z", false, false, "2025-06-16T00:00:00Z", "deny", "0 0 * * 6,0"},
		{"in a time zone, summer", []model.Window{window("0 14 * * *", time.Hour, in("Europe/Amsterdam"))}, noon, true, true, "2025-06-11T13:00:00Z", "in Europe/Amsterdam is active", "0 14 * * *"},
		{"in a time zone, winter", []model.Window{window("0 13 * * *", time.Hour, in("Europe/Amsterdam"))}, "2025-01-11T12:00:00Z", true, true, "2025-01-11T13:00:00Z", "is active", "0 13 * * *"},
		{"in a time zone, the clocks change before it opens", []model.Window{window("0 13 * * *", time.Hour, in("Europe/Amsterdam"))}, "2025-03-29T20:00:00Z", false, false, "2025-03-30T11:00:00Z", "no allow", "0 13 * * *"},
		{"an unknown time zone is UTC", []model.Window{window("0 12 * * *", time.Hour, in("Mars/Olympus"))}, noon, true, true, "2025-06-11T13:00:00Z", "is active", "0 12 * * *"},
		{"a schedule that names its zone", []model.Window{window("CRON_TZ=Asia/Tokyo 0 21 * * *", time.Hour)}, noon, true, true, "2025-06-11T13:00:00Z", "is active", "CRON_TZ=Asia/Tokyo 0 21 * * *"},
		{"open for ever", []model.Window{window("* * * * *", time.Hour)}, noon, true, true, "2026-06-12T", "is active", "* * * * *"},
		{"one broken window forbids everything", []model.Window{window("* * * * *", time.Hour), window("nonsense", time.Hour, manual)}, noon, false, false, "", "invalid sync windows: cannot parse schedule 'nonsense'", "nonsense"},
		{"no duration is never open", []model.Window{window("* * * * *", 0, deny)}, noon, true, true, "?", "no deny", ""},
		{"never comes", []model.Window{window("0 0 30 2 *", time.Hour, deny)}, noon, true, true, "", "no deny", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Windows(c.windows, at(t, c.now))
			if v.Automatic != c.automatic || v.Manual != c.manual {
				t.Errorf("automatic %v, manual %v: %s", v.Automatic, v.Manual, v.Why)
			}
			next := ""
			if !v.Next.IsZero() {
				next = v.Next.Format(time.RFC3339)
			}
			switch {
			case c.next == "?": // a search without end stops somewhere after now
				if !v.Next.After(at(t, c.now)) {
					t.Errorf("next %s", next)
				}
			case c.name == "open for ever":
				if !v.Next.After(at(t, c.now)) {
					t.Errorf("next %s", next)
				}
			case next != c.next:
				t.Errorf("next %s, want %s", next, c.next)
			}
			if !strings.Contains(v.Why, c.why) || v.Origin.Field != c.origin {
				t.Errorf("why %q, origin %q", v.Why, v.Origin.Field)
			}
		})
	}
}

// Next is right when the verdict is the same until then, and another from then
// on: every minute of a fortnight is looked at.
func TestNextIsWhenTheVerdictChanges(t *testing.T) {
	sets := [][]model.Window{
		{window("0 22 * * *", 3*time.Hour, deny), window("0 9 * * 1-5", 8*time.Hour, manual)},
		{window("*/20 8-10 * * *", 15*time.Minute, in("America/New_York")), window("30 8 * * *", time.Hour, deny, manual, in("Asia/Kolkata"))},
		{window("15 1 * * *", 90*time.Minute, in("Europe/Amsterdam"), deny)},
	}
	for i, windows := range sets {
		begin := at(t, "2025-03-24T00:00:00Z") // the clocks change in Europe on the 30th
		expected := Windows(windows, begin)
		until := expected.Next
		changes := 0
		for m := range 14 * 24 * 60 {
			now := begin.Add(time.Duration(m) * time.Minute)
			got := Windows(windows, now)
			same := got.Automatic == expected.Automatic && got.Manual == expected.Manual
			if now.Before(until) {
				if !same {
					t.Fatalf("set %d: the verdict changed at %s, before %s", i, now, until)
				}
				continue
			}
			if same {
				t.Fatalf("set %d: the verdict did not change at %s", i, until)
			}
			expected, until = got, got.Next
			changes++
		}
		if changes < 14 {
			t.Errorf("set %d: only %d changes seen", i, changes)
		}
	}
}

// The scenarios are those of upstream's documentation, "Sync Overrun".
func TestMayGoOn(t *testing.T) {
	const started, now = "2025-06-11T10:30:00Z", "2025-06-11T12:00:00Z"
	allow := func(change ...func(*model.Window)) model.Window { return window("0 10 * * *", time.Hour, change...) } // open when it started
	stop := func(change ...func(*model.Window)) model.Window {
		return window("30 11 * * *", time.Hour, append(change, deny)...)
	}
	open := func(change ...func(*model.Window)) model.Window { return window("0 10 * * *", 3*time.Hour, change...) }
	for _, c := range []struct {
		name    string
		windows []model.Window
		manual  bool
		started string
		want    bool
	}{
		{"no windows", nil, false, started, true},
		{"nothing, then deny with overrun", []model.Window{stop(overrun)}, false, started, true},
		{"nothing, then deny without", []model.Window{stop()}, false, started, false},
		{"allow with, then deny with", []model.Window{open(overrun), stop(overrun)}, false, started, true},
		{"allow with, then deny without", []model.Window{open(overrun), stop()}, false, started, false},
		{"allow without, then deny with", []model.Window{open(), stop(overrun)}, false, started, true},
		{"allow without, then deny without", []model.Window{open(), stop()}, false, started, false},
		{"allow with ends", []model.Window{allow(overrun)}, false, started, true},
		{"allow without ends", []model.Window{allow()}, false, started, false},
		{"allows with end", []model.Window{allow(overrun), window("15 10 * * *", time.Hour, overrun)}, false, started, true},
		{"allows end, one without", []model.Window{allow(overrun), window("15 10 * * *", time.Hour)}, false, started, false},
		{"one of two denies without", []model.Window{stop(overrun), window("45 11 * * *", time.Hour, deny)}, false, started, false},
		{"it began when it was forbidden", []model.Window{allow(overrun)}, false, "2025-06-11T09:00:00Z", false},
		{"it began at an unknown time", []model.Window{allow(overrun)}, false, "", false},
		{"a person's sync began when only a person could", []model.Window{window("0 11 * * *", 30*time.Minute, overrun, manual)}, true, started, true},
		{"a person may begin one now", []model.Window{stop(manual)}, true, "", true},
		{"broken", []model.Window{window("x", time.Hour)}, true, started, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var began time.Time
			if c.started != "" {
				began = at(t, c.started)
			}
			if got := MayGoOn(c.windows, at(t, now), began, c.manual); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestCheckWindow(t *testing.T) {
	for schedule, want := range map[string]string{
		"0 22 * * *":                             "",
		"*/5 0-6 1,15 jan-mar mon":               "",
		"0 0 29 2 *":                             "",
		"CRON_TZ=Europe/Paris 0 1 * * *":         "",
		"":                                       "cannot parse schedule ''",
		"* * * *":                                "cannot parse schedule",
		"* * * * * *":                            "cannot parse schedule",
		"@daily":                                 "cannot parse schedule",
		"61 * * * *":                             "cannot parse schedule",
		"*/0 * * * *":                            "cannot parse schedule",
		"0 0 30 2 *":                             "never comes",
		"TZ=":                                    "its time zone is not followed by a schedule",
		"TZ=../../../etc/passwd 0 0 * * *":       "cannot parse schedule",
		strings.Repeat("1,", 4000) + "1 * * * *": "it is too long",
	} {
		fault := CheckWindow(window(schedule, time.Hour))
		switch {
		case want == "" && fault != nil:
			t.Errorf("%q: %v", schedule, fault)
		case want != "" && (fault == nil || !strings.Contains(fault.Message, want)):
			t.Errorf("%q: %v", schedule, fault)
		case fault != nil && (fault.Origin.Field != schedule || len(fault.Message) > 300):
			t.Errorf("%q: %+v", schedule, fault)
		}
	}
	if !KnownZone("") || !KnownZone("Europe/Amsterdam") || KnownZone("Mars/Olympus") || KnownZone("UTC * * * * *") || KnownZone(strings.Repeat("x", 9999)) {
		t.Error("zones are not told apart")
	}
}

// FuzzWindows looks for schedules and zones that panic, or take their time.
func FuzzWindows(f *testing.F) {
	f.Add("0 22 * * *", int64(time.Hour), "UTC", int64(1750000000))
	f.Add("TZ=", int64(-1), "", int64(0))
	f.Add("CRON_TZ=Local * * * * ?", int64(1<<62), "Local", int64(-1))
	f.Add("*/9223372036854775807 1-59/3 * feb *", int64(1), "../UTC", int64(1))
	f.Fuzz(func(t *testing.T, schedule string, duration int64, zone string, unix int64) {
		w := model.Window{Schedule: schedule, Duration: time.Duration(duration), TimeZone: zone, Deny: unix%2 == 0}
		now := time.Unix(unix%(1<<33), 0)
		v := Windows([]model.Window{w}, now)
		if !v.Next.IsZero() && !v.Next.After(now) {
			t.Errorf("next %s is not after %s", v.Next, now)
		}
		MayGoOn([]model.Window{w}, now, now.Add(-time.Hour), true)
		_ = CheckWindow(w)
	})
}

func BenchmarkWindows(b *testing.B) {
	windows := []model.Window{window("0 22 * * *", 3*time.Hour, deny), window("0 9 * * 1-5", 8*time.Hour, manual)}
	now := time.Date(2025, 6, 11, 12, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		Windows(windows, now)
	}
}
