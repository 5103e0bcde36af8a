package health

import "plumb.dev/plumb/internal/model"

// cronJob is always Current: its Jobs come and go by the clock.
func cronJob(live fields) model.Health {
	switch last := live.text("status", "lastScheduleTime"); {
	case live.flag("spec", "suspend"):
		return current("the CronJob is suspended (spec.suspend)")
	case last == "":
		return current("not yet run, schedule %q", live.text("spec", "schedule"))
	default:
		return current("last run at %s, schedule %q", last, live.text("spec", "schedule"))
	}
}
