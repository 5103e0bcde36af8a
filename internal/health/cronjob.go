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

// assessCronJob is Argo CD's judgement: unlike in [cronJob], a last run that did
// not succeed is a failure, once one ever has and none is running.
func assessCronJob(live fields) model.Health {
	last, succeeded := live.text("status", "lastScheduleTime"), live.text("status", "lastSuccessfulTime")
	switch {
	case live.flag("spec", "suspend"):
		return current("the CronJob is suspended (spec.suspend)")
	case !live.has("status"):
		return inProgress("NotReported", "the CronJob has not been looked at yet")
	case last == "":
		return current("not yet run, schedule %q", live.text("spec", "schedule"))
	case succeeded == "":
		return current("last run at %s, no run has succeeded yet", last)
	case len(live.each("status", "active")) > 0:
		return current("running since %s", last)
	case succeeded < last: // RFC 3339 sorts as text
		return failed("LastRunFailed", "the run of %s did not succeed; the last success was at %s", last, succeeded)
	}
	return current("last run at %s with success", last)
}
