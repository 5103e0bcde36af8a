package health

import "plumb.dev/plumb/internal/model"

// replicaSet is Current when as many replicas as asked for are labelled, ready
// and available. A ReplicaFailure is in progress, since quotas can grow.
func replicaSet(live fields) model.Health {
	want := live.count(1, "spec", "replicas")
	have := live.count(0, "status", "replicas")
	if stuck := replicaFailure(live); stuck != "" {
		return inProgress("ReplicaFailure", "%s created%s", of(have, want, "replica"), stuck)
	}
	labelled := live.count(0, "status", "fullyLabeledReplicas")
	available := live.count(0, "status", "availableReplicas")
	ready := live.count(0, "status", "readyReplicas")
	switch {
	case labelled < want:
		return inProgress("LessLabelled", "%s created with the labels of the template", of(labelled, want, "replica"))
	case available < want:
		return inProgress("LessAvailable", "%s available", of(available, want, "replica"))
	case ready < want:
		return inProgress("LessReady", "%s ready", of(ready, want, "replica"))
	case have > want:
		return inProgress("ExtraPods", "%d %s still to be stopped", have-want, plural(int(have-want), "replica"))
	}
	return current("%s available", of(available, want, "replica"))
}

// assessReplicaSet is Argo CD's judgement. It differs from [replicaSet] in that
// pods that cannot be made are a failure at once.
func assessReplicaSet(live fields) model.Health {
	if lagging(live) {
		return behind(live)
	}
	want, asked := live.whole("spec", "replicas")
	available := live.count(0, "status", "availableReplicas")
	if c, ok := live.condition("ReplicaFailure"); ok && c.status == "True" {
		return failed(or(c.reason, "ReplicaFailure"), "%s", c.said())
	}
	if asked && available < want {
		return inProgress("LessAvailable", "%s available", of(available, want, "replica"))
	}
	return current("%s available", of(available, want, "replica"))
}
