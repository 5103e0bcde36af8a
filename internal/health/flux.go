package health

import "plumb.dev/plumb/internal/model"

// flux judges Flux's own kinds, which carry the conditions that kstatus knows.
// Their definitions give a new object an observed generation of -1, so that it
// is not mistaken for a kind that says nothing of itself; an object without any
// status is judged alike. Static kinds (Alert, Provider, OCI HelmRepository)
// have no status ever.
func flux(live fields) model.Health {
	if _, ok := live.condition("Ready"); ok {
		return readyCondition(live)
	}
	switch {
	case live.text("kind") == "HelmRepository" && live.text("spec", "type") == "oci":
		return current("an OCI HelmRepository has no state")
	case live.flag("spec", "suspend"):
		return inProgress("Suspended", "it is suspended and has never been reconciled")
	}
	return inProgress("NotReconciled", "it has not been reconciled yet")
}
