package health

import "plumb.dev/plumb/internal/model"

// spot judges deployments of Spot's operator, whose conditions are those of a
// Rollout.
var spot = system{group: "spot.io", kinds: map[string]rule{
	"SpotDeployment": first(reported(
		when("InvalidSpec", "", model.Unhealthy),
		when("Progressing", "", model.Unhealthy).with("RolloutAborted", "ProgressDeadlineExceeded"),
		when("Paused", "True", model.Paused),
	), word("status.phase", words{"Progressing": model.InProgress}), spotComplete),
}}

func spotComplete(live fields) (model.Health, bool) {
	return current("the rollout is complete"), live.has("status", "conditions")
}
