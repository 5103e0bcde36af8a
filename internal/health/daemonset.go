package health

import "plumb.dev/plumb/internal/model"

// daemonSet is Current when every node that should run the pod runs the last
// template of it, available and ready. Until its controller has written a
// generation, nothing is known.
func daemonSet(live fields) model.Health {
	if _, ok := live.whole("metadata", "generation"); !ok {
		return inProgress("NoGeneration", "the object has no generation yet")
	}
	if _, ok := live.whole("status", "observedGeneration"); !ok {
		return inProgress("NoObservedGeneration", "the controller of DaemonSet has not looked at it yet")
	}
	want, ok := live.whole("status", "desiredNumberScheduled")
	if !ok {
		return inProgress("NoDesiredNumber", "it is not known yet how many nodes should run the pod")
	}
	scheduled := live.count(0, "status", "currentNumberScheduled")
	updated := live.count(0, "status", "updatedNumberScheduled")
	available := live.count(0, "status", "numberAvailable")
	ready := live.count(0, "status", "numberReady")
	switch {
	case scheduled < want:
		return inProgress("LessCurrent", "scheduled on %s", of(scheduled, want, "node"))
	case updated < want:
		return inProgress("LessUpdated", "updated on %s", of(updated, want, "node"))
	case available < want:
		return inProgress("LessAvailable", "available on %s", of(available, want, "node"))
	case ready < want:
		return inProgress("LessReady", "ready on %s", of(ready, want, "node"))
	}
	return current("available on %s", of(available, want, "node"))
}

// assessDaemonSet is Argo CD's judgement. It differs from [daemonSet] in that
// a DaemonSet with the strategy OnDelete is healthy whatever its pods do.
func assessDaemonSet(live fields) model.Health {
	want := live.count(0, "status", "desiredNumberScheduled")
	updated := live.count(0, "status", "updatedNumberScheduled")
	available := live.count(0, "status", "numberAvailable")
	switch {
	case lagging(live):
		return behind(live)
	case live.text("spec", "updateStrategy", "type") == "OnDelete":
		return current("updated on %s; pods are updated when they are deleted (strategy OnDelete)", of(updated, want, "node"))
	case updated < want:
		return inProgress("LessUpdated", "updated on %s", of(updated, want, "node"))
	case available < want:
		return inProgress("LessAvailable", "available on %s", of(available, want, "node"))
	}
	return current("available on %s", of(available, want, "node"))
}
