package health

import "plumb.dev/plumb/internal/model"

// The kinds of OpenKruise.
var (
	openKruise = system{group: "apps.kruise.io", kinds: map[string]rule{
		"AdvancedCronJob": advancedCronJob,
		"BroadcastJob":    broadcastJob,
		"CloneSet":        first(unreported, neverObserved, cloneSet),
		"DaemonSet":       first(unreported, neverObserved, kruiseDaemonSet),
		"StatefulSet":     first(unreported, neverObserved, kruiseStatefulSet),
	}}
	openKruiseGame = system{group: "game.kruise.io", kinds: map[string]rule{
		"GameServer":    gameServer,
		"GameServerSet": first(unreported, neverObserved, gameServerSet),
	}}
	openKruiseRollouts = system{group: "rollouts.kruise.io", kinds: map[string]rule{"Rollout": kruiseRollout}}
)

// needsHand is the health of a workload whose partition is reached: somebody
// has to lower it.
func needsHand(partition int64) model.Health {
	return suspended("Partitioned", "the partition of %d is reached; somebody has to go on", partition)
}

func advancedCronJob(live fields) model.Health {
	ran := live.text("status", "lastScheduleTime") != ""
	running := live.each("status", "active")
	switch {
	case !ran && live.flag("spec", "paused"):
		return suspended("Paused", "it is paused (spec.paused)")
	case len(running) > 0:
		return inProgress("JobsActive", "%d %s running", len(running), plural(len(running), "job"))
	case !ran:
		return failed("NeverRun", "it has never run")
	}
	return current("it has run")
}

func broadcastJob(live fields) model.Health {
	desired, succeeded := live.count(-1, "status", "desired"), live.count(-1, "status", "succeeded")
	switch phase := live.text("status", "phase"); {
	case phase == "completed" && desired == succeeded:
		return current("it is complete")
	case phase == "failed" && live.count(1, "status", "failed") != 0:
		return failed("JobFailed", "%d %s failed", live.count(1, "status", "failed"), plural(int(live.count(1, "status", "failed")), "pod"))
	case phase == "paused" && live.flag("spec", "paused"):
		return suspended("Paused", "it is paused (spec.paused)")
	}
	return inProgress("JobRunning", "it is still running")
}

// touched reports whether a workload has been changed since it was made:
// partitions count only then.
func touched(live fields) bool { return live.count(0, "metadata", "generation") > 1 }

func cloneSet(live fields) (model.Health, bool) {
	updated, known := live.whole("status", "updatedAvailableReplicas")
	partition, absent := live.count(0, "spec", "updateStrategy", "partition"), !live.has("spec", "updateStrategy", "partition")
	switch {
	case live.flag("spec", "updateStrategy", "paused") || !known:
		return suspended("Paused", "the rollout is paused"), true
	case (partition != 0 || absent) && touched(live):
		return needsHand(partition), live.count(0, "status", "updatedReplicas") >= live.count(0, "status", "expectedUpdatedReplicas")
	}
	return allUpdated(updated, live.count(0, "status", "replicas")), true
}

func kruiseStatefulSet(live fields) (model.Health, bool) {
	updated, known := live.whole("status", "updatedAvailableReplicas")
	rolling := live.sub("spec", "updateStrategy", "rollingUpdate")
	partition, absent := rolling.count(0, "partition"), !rolling.has("partition")
	replicas := live.count(0, "status", "replicas")
	switch {
	case rolling.flag("paused") || !known:
		return suspended("Paused", "the rollout is paused"), true
	case (partition != 0 || absent) && touched(live):
		return needsHand(partition), live.count(0, "status", "updatedReplicas") > replicas-partition
	}
	return allUpdated(updated, replicas), true
}

func allUpdated(updated, replicas int64) model.Health {
	if updated != replicas {
		return failed("NotAvailable", "%s updated and available", of(updated, replicas, "replica"))
	}
	return current("%s updated and available", of(updated, replicas, "replica"))
}

func kruiseDaemonSet(live fields) (model.Health, bool) {
	updated, known := live.whole("status", "updatedNumberScheduled")
	rolling := live.sub("spec", "updateStrategy", "rollingUpdate")
	partition, desired := rolling.count(0, "partition"), live.count(0, "status", "desiredNumberScheduled")
	switch {
	case rolling.flag("paused") || !known:
		return suspended("Paused", "the rollout is paused"), true
	case partition != 0 && touched(live):
		return needsHand(partition), updated > desired-partition
	case updated == desired && live.count(-1, "status", "numberAvailable") == desired:
		return current("updated and available on %s", of(updated, desired, "node")), true
	case updated == desired && live.count(-1, "status", "numberUnavailable") == desired:
		return failed("NotAvailable", "available on none of %d %s", desired, plural(int(desired), "node")), true
	}
	return model.Health{}, false
}

func gameServer(live fields) model.Health {
	if !live.has("status") {
		return unknown("NotReported", "its controller has not reported how it is doing")
	}
	now, wanted := live.text("status", "currentState"), live.text("status", "desiredState")
	if now != wanted {
		return inProgress("StateChange", "it changes from %s to %s", or(now, "an unknown state"), or(wanted, "an unknown state"))
	}
	for _, c := range live.conditionsAt("status", "podStatus", "conditions") {
		if c.kind == "KruisePodReady" && c.status != "True" {
			return failed(or(c.reason, "PodNotReady"), "its pod is not ready%s", c.because())
		}
	}
	if now == "Ready" {
		return current("it is ready")
	}
	return unknown(camelCase(now), "it is in state %s", or(now, "none"))
}

func gameServerSet(live fields) (model.Health, bool) {
	rolling := live.sub("spec", "updateStrategy", "rollingUpdate")
	partition, replicas := rolling.count(0, "partition"), live.count(0, "status", "replicas")
	switch {
	case rolling.flag("paused"):
		return suspended("Paused", "the rollout is paused"), true
	case partition != 0 && live.count(0, "status", "updatedReplicas") >= replicas-partition:
		return needsHand(partition), true
	case live.count(0, "status", "updatedReadyReplicas") == replicas:
		return current("%s updated and ready", of(replicas, replicas, "replica")), true
	}
	return inProgress("NotReady", "%s ready", of(live.count(0, "status", "readyReplicas"), replicas, "replica")), true
}

func kruiseRollout(live fields) model.Health {
	if health, behind := neverObserved(live); behind {
		return health
	}
	step, phase := live.text("status", "canaryStatus", "currentStepState"), live.text("status", "phase")
	switch {
	case step == "StepPaused" && phase == "Progressing":
		return suspended("StepPaused", "a step of the rollout is paused; somebody has to go on")
	case step == "Completed" && phase == "Healthy":
		return current("the rollout is complete")
	case step == "StepPaused" && (phase == "Terminating" || phase == "Disabled"):
		return failed(phase, "the rollout is %s with a step paused", phase)
	}
	return inProgress(or(camelCase(step), "Progressing"), "the rollout goes on")
}
