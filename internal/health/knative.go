package health

import (
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// The kinds of Knative and of its operator, which need several conditions to
// hold together.
var (
	knativeServing  = system{group: "serving.knative.dev", kinds: map[string]rule{"Service": first(knativeService)}}
	knativeOperator = system{group: "operator.knative.dev", kinds: map[string]rule{
		"KnativeEventing": first(installation([]string{"Ready", "InstallSucceeded"}, "Ready")),
		"KnativeServing": first(installation(
			[]string{"Ready", "InstallSucceeded", "DependenciesInstalled", "DeploymentsAvailable"}, "Ready", "DeploymentsAvailable")),
	}}
)

// knativeService is unhealthy by any condition that is False, and healthy when
// its configuration, its route and itself are ready.
func knativeService(live fields) (model.Health, bool) {
	needed := []string{"ConfigurationsReady", "RoutesReady", "Ready"}
	holding, undecided := 0, false
	var open []string
	state := model.InProgress
	for _, c := range live.conditions() {
		switch {
		case c.status == "True" && slices.Contains(needed, c.kind):
			holding++
		case c.status == "False":
			state = model.Unhealthy
			open = append(open, c.kind+" is false"+c.because())
		case c.status == "Unknown":
			undecided = true
			open = append(open, c.kind+" is not known"+c.because())
		}
	}
	if holding == len(needed) && !undecided && state == model.InProgress {
		return current("configuration and routes are ready"), true
	}
	return verdict(state, "NotReady", "%s", or(strings.Join(open, "; "), "it is not ready yet")), live.has("status", "conditions")
}

// installation is in progress while a condition is not known, or one of those
// that take time is False; healthy when all that are needed hold.
func installation(needed []string, takesTime ...string) clause {
	return func(live fields) (model.Health, bool) {
		holding := 0
		var waiting, open []string
		for _, c := range live.conditions() {
			switch {
			case c.status == "True" && slices.Contains(needed, c.kind):
				holding++
			case c.status == "Unknown" || c.status == "False" && slices.Contains(takesTime, c.kind):
				waiting = append(waiting, c.said())
			case c.status == "False":
				open = append(open, c.said())
			}
		}
		switch {
		case !live.has("status", "conditions"):
			return model.Health{}, false
		case len(waiting) > 0:
			return inProgress("NotReady", "%s", strings.Join(waiting, "; ")), true
		case holding == len(needed):
			return current("it is installed and ready"), true
		}
		return failed("NotInstalled", "%s", or(strings.Join(open, "; "), "conditions are missing")), true
	}
}
