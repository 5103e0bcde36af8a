package health

import "plumb.dev/plumb/internal/model"

// podDisruptionBudget is Current once the controller has seen it, which the
// generic checks tell. Whether disruptions are allowed now is no matter of its
// health.
func podDisruptionBudget(live fields) model.Health {
	if c, ok := live.condition("DisruptionAllowed"); ok && c.reason == "SyncFailed" {
		return current("the budget cannot be computed: %s", or(c.message, c.reason))
	}
	return current("%d %s allowed, %s healthy", live.count(0, "status", "disruptionsAllowed"),
		plural(int(live.count(0, "status", "disruptionsAllowed")), "disruption"),
		of(live.count(0, "status", "currentHealthy"), live.count(0, "status", "expectedPods"), "pod"))
}

// assessPodDisruptionBudget is Argo CD's judgement: unlike in
// [podDisruptionBudget], a budget that cannot be computed is a failure. That too
// few pods are healthy for a disruption is none.
func assessPodDisruptionBudget(live fields) model.Health {
	return first(
		reported(when("", "False", model.Unhealthy).without("InsufficientPods")),
		reported(when("", "", model.Current)),
	)(live)
}
