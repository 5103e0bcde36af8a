package health

import "plumb.dev/plumb/internal/model"

// flink judges the deployments of Apache Flink's operator: what was last
// reconciled with success is healthy.
var flink = system{group: "flink.apache.org", kinds: map[string]rule{"FlinkDeployment": flinkDeployment}}

func flinkDeployment(live fields) model.Health {
	reconciled := live.sub("status", "reconciliationStatus")
	switch manager := live.text("status", "jobManagerDeploymentStatus"); {
	case reconciled.flag("success") || reconciled.text("state") == "DEPLOYED":
		return current("it is deployed")
	case reconciled != nil && manager == "ERROR":
		return failed("JobManagerError", "%s", or(reconciled.text("error"), "the job manager has failed"))
	default:
		return inProgress(or(camelCase(manager), "NotReported"), "it is being deployed")
	}
}
