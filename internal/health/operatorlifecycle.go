package health

import "plumb.dev/plumb/internal/model"

// operatorLifecycle judges the subscriptions of the Operator Lifecycle Manager.
var operatorLifecycle = system{group: "operators.coreos.com", kinds: map[string]rule{"Subscription": subscription}}

// subscription is unhealthy by what failed, and in progress by what is pending.
// A manual approval that is pending is neither once a version is installed: the
// operator runs, and somebody decides when it is upgraded.
func subscription(live fields) model.Health {
	if !live.has("status", "conditions") {
		return inProgress("NotReported", "the install plan of the subscription is pending")
	}
	approval := awaitsApproval(live)
	var bad, pending *condition
	for _, c := range live.conditions() {
		switch {
		case approval && c.kind == "InstallPlanPending":
		case c.kind == "InstallPlanPending" && c.status == "True":
			pending = &c
		case c.kind == "InstallPlanMissing" && c.reason != "ReferencedInstallPlanNotFound",
			(c.kind == "CatalogSourcesUnhealthy" || c.kind == "InstallPlanFailed" || c.kind == "ResolutionFailed") && c.status == "True":
			bad = &c
		}
	}
	state := live.text("status", "state")
	switch {
	case bad != nil:
		return failed(or(bad.reason, bad.kind), "%s", bad.said())
	case state == "UpgradeFailed":
		return failed(state, "the upgrade failed")
	case pending != nil:
		return inProgress(or(pending.reason, pending.kind), "%s", pending.said())
	case state == "" || state == "UpgradeAvailable" || state == "UpgradePending" && !approval:
		return inProgress(or(state, "StateUnknown"), "the state of the subscription is %s", or(state, "not known yet"))
	case approval:
		return current("it is installed; an upgrade waits for approval")
	}
	return current("the state of the subscription is %s", state)
}

func awaitsApproval(live fields) bool {
	if live.text("spec", "installPlanApproval") != "Manual" || !live.has("status", "installedCSV") {
		return false
	}
	for _, c := range live.conditions() {
		if c.kind == "InstallPlanPending" && c.status == "True" && c.reason == "RequiresApproval" {
			return true
		}
	}
	return false
}
