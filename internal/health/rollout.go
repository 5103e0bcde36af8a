package health

import (
	"strconv"

	"plumb.dev/plumb/internal/model"
)

// argoRollout judges an Argo Rollout. Newer controllers write their own
// judgement into status.phase; of older ones it is derived as that controller
// does it: what failed, what is paused, then how far the replicas are.
func argoRollout(live fields) model.Health {
	if rolloutBehind(live) {
		return behind(live)
	}
	if phase := live.text("status", "phase"); phase != "" {
		return rolloutPhase(phase, live.text("status", "message"))
	}
	return first(
		reported(
			when("InvalidSpec", "", model.Unhealthy),
			when("Progressing", "", model.Unhealthy).with("RolloutAborted", "ProgressDeadlineExceeded"),
		),
		rolloutPaused,
		rolloutReplicas,
		rolloutStrategy,
	)(live)
}

func rolloutPhase(phase, message string) model.Health {
	state, ok := argoStates[phase]
	switch {
	case phase == "Paused":
		state = model.Paused
	case !ok:
		return unknown("InvalidHealthStatus", "the rollout is in phase %q, which does not exist", phase)
	}
	return verdict(state, phase, "%s", or(message, "the rollout is "+phase))
}

// rolloutBehind compares generations. The controller once wrote hashes where
// the generation belongs; what is no number, or a larger one, counts as seen.
func rolloutBehind(live fields) bool {
	if !live.has("status") {
		return true
	}
	generation, _ := live.whole("metadata", "generation")
	if seen, ok := number(live.at("status", "observedGeneration")); ok && seen < generation {
		return true
	}
	if !live.has("spec", "workloadRef") || !live.has("metadata", "annotations") {
		return false
	}
	wanted, has := number(live.at("metadata", "annotations", "rollout.argoproj.io/workload-generation"))
	seen, said := number(live.at("status", "workloadObservedGeneration"))
	return has != said || wanted != seen
}

// number reads a whole number that may be written as text.
func number(value any) (int64, bool) {
	if text, ok := value.(string); ok {
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	}
	return fields{"n": value}.whole("n")
}

func rolloutPaused(live fields) (model.Health, bool) {
	pauses := live.each("status", "pauseConditions")
	if len(pauses) == 0 && !live.flag("spec", "paused") {
		return model.Health{}, false
	}
	reason := "Paused"
	if len(pauses) > 0 {
		reason = or(pauses[0].text("reason"), reason)
	}
	return suspended(reason, "the rollout is paused"), true
}

func rolloutReplicas(live fields) (model.Health, bool) {
	want := live.count(1, "spec", "replicas")
	updated := live.count(0, "status", "updatedReplicas")
	available := live.count(0, "status", "availableReplicas")
	switch {
	case live.text("status", "currentPodHash") == "":
		return inProgress("NotReported", "the rollout has not been reconciled yet"), true
	case updated < want:
		return inProgress("LessUpdated", "%s updated", of(updated, want, "replica")), true
	case available < updated:
		return inProgress("LessAvailable", "%s available", of(available, updated, "updated replica")), true
	}
	return model.Health{}, false
}

func rolloutStrategy(live fields) (model.Health, bool) {
	hash := live.text("status", "currentPodHash")
	stable := or(live.text("status", "stableRS"), live.text("status", "canary", "stableRS"))
	strategy := live.sub("spec", "strategy")
	switch {
	case strategy.has("blueGreen") && live.text("status", "blueGreen", "activeSelector") != hash:
		return inProgress("CutoverPending", "the active service still points at the old pods"), true
	case strategy.has("blueGreen") && stable != "" && stable != hash:
		return inProgress("AnalysisPending", "the analysis is not complete yet"), true
	case strategy.has("blueGreen"):
	case strategy.has("canary") && live.count(0, "status", "replicas") > live.count(0, "status", "updatedReplicas"):
		return inProgress("ExtraPods", "old replicas are still to be stopped"), true
	case strategy.has("canary") && stable != hash:
		return inProgress("StepsPending", "the steps of the rollout are not complete yet"), true
	}
	return current("the rollout is complete"), true
}
