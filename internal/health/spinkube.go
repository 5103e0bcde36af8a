package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// spinKube judges the applications of SpinKube.
var spinKube = system{group: "core.spinkube.dev", kinds: map[string]rule{"SpinApp": first(unreported, spinApp)}}

// spinApp that is not available is unhealthy even while it makes progress, as
// upstream has it.
func spinApp(live fields) (model.Health, bool) {
	progressing, _ := live.condition("Progressing")
	available, _ := live.condition("Available")
	ready, want := live.count(0, "status", "readyReplicas"), live.count(1, "spec", "replicas")
	said := strings.ToLower(progressing.message)
	switch {
	case progressing.status == "False" && (progressing.reason == "ProgressDeadlineExceeded" ||
		strings.Contains(said, "timeout") || strings.Contains(said, "failed")):
		return failed(or(progressing.reason, "Failed"), "%s", or(progressing.message, "the deployment has failed")), true
	case available.status != "True":
		return failed(or(available.reason, "NotAvailable"), "%s", or(available.message, "the application is not available")), true
	case ready < want:
		return inProgress("LessReady", "%s ready", of(ready, want, "replica")), true
	case progressing.status == "True":
		return inProgress(or(progressing.reason, "Progressing"), "%s", or(progressing.message, "the rollout goes on")), true
	}
	return current("%s ready", of(ready, want, "replica")), true
}
