package health

import (
	"math"

	"plumb.dev/plumb/internal/model"
)

// deployment is Current when the last template runs in as many replicas as
// asked for, all of them available, and Failed once the progress deadline is
// exceeded. Without a deadline the controller writes no Progressing condition
// (k8s.io/kubernetes pkg/controller/deployment/util).
func deployment(live fields) model.Health {
	want := live.count(1, "spec", "replicas")
	have := live.count(0, "status", "replicas")
	updated := live.count(0, "status", "updatedReplicas")
	ready := live.count(0, "status", "readyReplicas")
	available := live.count(0, "status", "availableReplicas")
	progressing, _ := live.condition("Progressing")
	availableCondition, _ := live.condition("Available")
	stuck := replicaFailure(live)

	switch {
	case progressing.reason == "ProgressDeadlineExceeded":
		return failed("ProgressDeadlineExceeded", "%s available%s; %s", of(available, want, "replica"), stuck,
			or(progressing.message, "the progress deadline is exceeded"))
	case live.flag("spec", "paused") && updated < want:
		return inProgress("DeploymentPaused", "%s updated; the rollout is paused (spec.paused)", of(updated, want, "replica"))
	case have < want:
		return inProgress(reasonOr(stuck, "LessReplicas"), "%s created%s", of(have, want, "replica"), stuck)
	case updated < want:
		return inProgress(reasonOr(stuck, "LessUpdated"), "%s updated%s", of(updated, want, "replica"), stuck)
	case have > want:
		return inProgress("ExtraPods", "%d old %s still to be stopped", have-want, plural(int(have-want), "replica"))
	case available < updated:
		return inProgress(reasonOr(stuck, "LessAvailable"), "%s available%s", of(available, updated, "replica"), stuck)
	case ready < want:
		return inProgress(reasonOr(stuck, "LessReady"), "%s ready%s", of(ready, want, "replica"), stuck)
	}

	deadline := live.count(math.MaxInt32, "spec", "progressDeadlineSeconds")
	settled := deadline == math.MaxInt32 || (progressing.status == "True" && progressing.reason == "NewReplicaSetAvailable")
	switch {
	case !settled:
		return inProgress("ReplicaSetNotAvailable", "the new ReplicaSet is not available yet%s", progressing.because())
	case availableCondition.status != "True":
		return inProgress("DeploymentNotAvailable", "the Deployment is not available yet%s", availableCondition.because())
	}
	if want == 0 {
		return current("scaled to zero replicas")
	}
	return current("%s available", of(available, want, "replica"))
}

// replicaFailure explains why pods cannot be made, such as a quota: a
// Deployment copies the condition from its ReplicaSets.
func replicaFailure(live fields) explanation {
	if c, ok := live.condition("ReplicaFailure"); ok && c.status == "True" {
		return explanation(or(c.because(), ": ReplicaFailure"))
	}
	return ""
}

// explanation is the end of a message that names a cause, or "".
type explanation string

func reasonOr(cause explanation, otherwise string) string {
	if cause != "" {
		return "ReplicaFailure"
	}
	return otherwise
}

// assessDeployment is Argo CD's judgement. It differs from [deployment] in that
// a paused Deployment is suspended, and that neither the condition Available
// nor a complete Progressing is asked for.
func assessDeployment(live fields) model.Health {
	if live.flag("spec", "paused") {
		return suspended("DeploymentPaused", "the Deployment is paused (spec.paused)")
	}
	if lagging(live) {
		return behind(live)
	}
	want, asked := live.whole("spec", "replicas")
	have := live.count(0, "status", "replicas")
	updated := live.count(0, "status", "updatedReplicas")
	available := live.count(0, "status", "availableReplicas")
	stuck := replicaFailure(live)
	progressing, _ := live.condition("Progressing")
	switch {
	case progressing.reason == "ProgressDeadlineExceeded":
		return failed(progressing.reason, "%s available%s; %s", of(available, want, "replica"), stuck,
			or(progressing.message, "the progress deadline is exceeded"))
	case asked && updated < want:
		return inProgress(reasonOr(stuck, "LessUpdated"), "%s updated%s", of(updated, want, "replica"), stuck)
	case have > updated:
		return inProgress("ExtraPods", "%d old %s still to be stopped", have-updated, plural(int(have-updated), "replica"))
	case available < updated:
		return inProgress(reasonOr(stuck, "LessAvailable"), "%s available%s", of(available, updated, "updated replica"), stuck)
	}
	return current("%s available", of(available, updated, "replica"))
}

// lagging reports that the controller has seen an earlier generation only; a
// status without one has seen none.
func lagging(live fields) bool {
	return live.count(0, "metadata", "generation") > live.count(0, "status", "observedGeneration")
}
