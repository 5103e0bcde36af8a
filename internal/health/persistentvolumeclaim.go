package health

import "plumb.dev/plumb/internal/model"

// persistentVolumeClaim is Current when bound, and Failed when its volume is
// lost, which nothing mends (kstatus goes on waiting).
func persistentVolumeClaim(live fields) model.Health {
	switch phase := live.text("status", "phase"); phase {
	case "Bound":
		return current("bound to volume %s", or(live.text("spec", "volumeName"), "(unnamed)"))
	case "Lost":
		return failed("Lost", "volume %s, which the claim was bound to, is gone", or(live.text("spec", "volumeName"), "(unnamed)"))
	default:
		message := "the claim is not bound to a volume yet"
		if class, ok := live.at("spec", "storageClassName").(string); ok {
			message += " (storage class \"" + class + "\")"
		}
		return inProgress("NotBound", "%s", message)
	}
}

// assessPersistentVolumeClaim is Argo CD's judgement: like
// [persistentVolumeClaim], but a phase that does not exist is unknown.
func assessPersistentVolumeClaim(live fields) model.Health {
	switch phase := live.text("status", "phase"); phase {
	case "Bound", "Lost", "Pending":
		return persistentVolumeClaim(live)
	default:
		return unknown("UnknownPhase", "the claim is in phase %s", or(phase, "none"))
	}
}
