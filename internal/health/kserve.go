package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// kServe judges inference services of KServe.
var kServe = system{group: "serving.kserve.io", kinds: map[string]rule{"InferenceService": first(inferenceService)}}

// inferenceService is unhealthy only when its model cannot be taken over;
// conditions that are open mean work in progress.
func inferenceService(live fields) (model.Health, bool) {
	if !live.has("status", "conditions") {
		return model.Health{}, false
	}
	transition := live.text("status", "modelStatus", "transitionStatus")
	var open []string
	for _, c := range live.conditions() {
		switch {
		case c.kind == "Stopped" && c.status == "True":
			return suspended("Stopped", "the service is stopped"), true
		case c.kind != "Stopped" && (c.status == "False" || c.status == "Unknown"):
			open = append(open, c.said())
		}
	}
	explained := condition{message: strings.Join(open, "; ")}.because()
	switch {
	case live.has("status", "modelStatus") && transition != "UpToDate" && transition != "InProgress":
		return failed(or(transition, "TransitionFailed"), "the model is %s%s", or(transition, "in an unknown state"), explained), true
	case transition == "InProgress" || len(open) > 0:
		return inProgress("NotReady", "the service is not ready yet%s", explained), true
	}
	return current("the service is ready"), true
}
