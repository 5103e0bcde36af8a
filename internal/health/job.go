package health

import (
	"strconv"

	"plumb.dev/plumb/internal/model"
)

// job is Current when it is complete or suspended, and Failed when it failed.
// Unlike in kstatus, a running job is in progress: Flux waits for jobs to
// complete (fluxcd/pkg runtime/statusreaders).
func job(live fields) model.Health {
	if live.flag("spec", "suspend") {
		return current("the Job is suspended (spec.suspend)")
	}
	parallelism := live.count(1, "spec", "parallelism")
	completions := live.count(parallelism, "spec", "completions")
	succeeded := live.count(0, "status", "succeeded")
	failures := live.count(0, "status", "failed")
	for _, c := range live.conditions() {
		switch {
		case c.kind == "Complete" && c.status == "True":
			return current("complete, %s succeeded", of(succeeded, completions, "pod"))
		case c.kind == "Failed" && c.status == "True":
			return failed(or(c.reason, "JobFailed"), "%s succeeded, %d failed: %s",
				of(succeeded, completions, "pod"), failures, or(c.message, "the Job has failed"))
		}
	}
	if live.text("status", "startTime") == "" {
		return inProgress("JobNotStarted", "the Job has not started yet")
	}
	message := of(succeeded, completions, "pod") + " succeeded, " + strconv.FormatInt(live.count(0, "status", "active"), 10) + " running"
	if failures > 0 {
		message += ", " + strconv.FormatInt(failures, 10) + " failed"
	}
	return inProgress("JobInProgress", "%s", message)
}

// assessJob is Argo CD's judgement: unlike in [job], a Job that is suspended is
// suspended. Upstream takes a Job that was suspended and runs again for
// complete; here it is complete when it says so.
func assessJob(live fields) model.Health {
	health := first(ranked(
		when("Failed", "True", model.Unhealthy),
		when("Complete", "True", model.Current),
		when("Suspended", "True", model.Paused),
	))(live)
	if health.Reason == "NotReported" {
		succeeded, running := live.count(0, "status", "succeeded"), live.count(0, "status", "active")
		return inProgress("JobInProgress", "%d %s succeeded, %d running", succeeded, plural(int(succeeded), "pod"), running)
	}
	return health
}
