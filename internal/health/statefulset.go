package health

import "plumb.dev/plumb/internal/model"

// statefulSet is Current when all replicas are ready and of the revision that
// the strategy asks for: with a partition only those above it, with OnDelete
// any. Its controller writes no conditions, so that it never fails by itself.
func statefulSet(live fields) model.Health {
	if live.text("spec", "updateStrategy", "type") == "OnDelete" {
		return current("pods are updated when they are deleted (strategy OnDelete)")
	}
	want := live.count(1, "spec", "replicas")
	have := live.count(0, "status", "replicas")
	ready := live.count(0, "status", "readyReplicas")
	updated := live.count(0, "status", "updatedReplicas")
	switch {
	case have < want:
		return inProgress("LessReplicas", "%s created", of(have, want, "replica"))
	case ready < want:
		return inProgress("LessReady", "%s ready", of(ready, want, "replica"))
	case have > want:
		return inProgress("ExtraPods", "%d %s still to be stopped", have-want, plural(int(have-want), "replica"))
	}
	if partition, ok := live.whole("spec", "updateStrategy", "rollingUpdate", "partition"); ok {
		if updated < want-partition {
			return inProgress("PartitionRollout", "%s above partition %d updated", of(updated, want-partition, "replica"), partition)
		}
		return current("%s ready, those above partition %d updated", of(ready, want, "replica"), partition)
	}
	if now := live.count(0, "status", "currentReplicas"); now < want {
		return inProgress("LessCurrent", "%s of the current revision", of(now, want, "replica"))
	}
	if live.text("status", "currentRevision") != live.text("status", "updateRevision") {
		return inProgress("RevisionMismatch", "%s updated to revision %s", of(updated, want, "replica"), live.text("status", "updateRevision"))
	}
	return current("%s ready", of(ready, want, "replica"))
}

// assessStatefulSet is Argo CD's judgement. It differs from [statefulSet] in
// that replicas are waited for under OnDelete too, and that with a
// rollingUpdate in the specification only the partition is looked at.
func assessStatefulSet(live fields) model.Health {
	if live.count(0, "status", "observedGeneration") == 0 || lagging(live) {
		return behind(live)
	}
	want, asked := live.whole("spec", "replicas")
	ready := live.count(0, "status", "readyReplicas")
	updated := live.count(0, "status", "updatedReplicas")
	strategy := live.text("spec", "updateStrategy", "type")
	rolling := live.sub("spec", "updateStrategy", "rollingUpdate")
	partition, partitioned := rolling.whole("partition")
	switch {
	case asked && ready < want:
		return inProgress("LessReady", "%s ready", of(ready, want, "replica"))
	case strategy == "RollingUpdate" && asked && partitioned && updated < want-partition:
		return inProgress("PartitionRollout", "%s above partition %d updated", of(updated, want-partition, "replica"), partition)
	case strategy == "RollingUpdate" && rolling != nil:
		return current("%s ready, those above partition %d updated", of(ready, want, "replica"), partition)
	case strategy == "OnDelete":
		return current("%s ready; pods are updated when they are deleted (strategy OnDelete)", of(ready, want, "replica"))
	case live.text("status", "updateRevision") != live.text("status", "currentRevision"):
		return inProgress("RevisionMismatch", "%s updated to revision %s", of(updated, want, "replica"), live.text("status", "updateRevision"))
	}
	return current("%s ready", of(ready, want, "replica"))
}
