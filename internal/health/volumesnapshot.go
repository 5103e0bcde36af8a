package health

import "plumb.dev/plumb/internal/model"

// volumeSnapshot judges snapshots of volumes: usable, or with an error.
var volumeSnapshot = system{group: "snapshot.storage.k8s.io", kinds: shared(
	first(flagged("status.readyToUse", model.Current), snapshotError), "VolumeSnapshot", "VolumeSnapshotContent")}

func snapshotError(live fields) (model.Health, bool) {
	return failed("SnapshotFailed", "%s", or(live.text("status", "error", "message"), "the snapshot has failed")),
		live.has("status", "error")
}
