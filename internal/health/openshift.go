package health

import "plumb.dev/plumb/internal/model"

// The kinds of OpenShift.
var (
	openShiftApps   = system{group: "apps.openshift.io", kinds: map[string]rule{"DeploymentConfig": deploymentConfig}}
	openShiftRoutes = system{group: "route.openshift.io", kinds: map[string]rule{"Route": openShiftRoute}}

	openShiftOperators = system{group: "operator.openshift.io", kinds: map[string]rule{
		"IngressController": first(reported(
			when("Degraded", "True", model.Unhealthy),
			when("DeploymentReplicasAllAvailable", "False", model.InProgress),
			when("Progressing", "True", model.InProgress),
			when("Available", "True", model.Current),
		)),
	}}
	openShiftStorage = system{group: "ocs.openshift.io", kinds: map[string]rule{
		"StorageCluster": first(ranked(
			when("Degraded", "True", model.Unhealthy),
			when("Progressing", "True", model.InProgress),
			when("Available", "True", model.Current),
		), otherwise(model.Unknown, "no condition tells how the storage cluster is doing")),
	}}
)

// deploymentConfig is healthy when it is available and its last replication
// controller has been rolled out; with one of both it is on its way.
func deploymentConfig(live fields) model.Health {
	replicas, counted := live.whole("status", "replicas")
	if !counted || !live.has("status", "conditions") {
		return inProgress("NotReported", "the replication controller waits for its pods")
	}
	available, _ := live.condition("Available")
	progressing, _ := live.condition("Progressing")
	isAvailable := available.status == "True"
	isRolledOut := progressing.status == "True" && progressing.reason == "NewReplicationControllerAvailable"
	switch {
	case isAvailable && isRolledOut || replicas == 0:
		return current("the replication controller is rolled out")
	case isAvailable || isRolledOut:
		return inProgress(or(progressing.reason, "Progressing"), "the replication controller waits for its pods%s", progressing.because())
	}
	return failed(or(available.reason, "NotAvailable"), "it is not available%s", available.because())
}

// openShiftRoute is healthy when every router has admitted it.
func openShiftRoute(live fields) model.Health {
	routers := live.each("status", "ingress")
	if !live.has("status", "ingress") {
		return inProgress("NotAdmitted", "no router has admitted the route yet")
	}
	admitted := 0
	var refused *condition
	for _, router := range routers {
		for _, c := range router.conditionsAt("conditions") {
			switch {
			case c.kind == "Admitted" && c.status == "True":
				admitted++
			case c.kind == "Admitted" && c.status == "False":
				refused = &c
			}
		}
	}
	switch {
	case admitted == len(routers):
		return current("every router has admitted the route")
	case refused != nil:
		return failed(or(refused.reason, "NotAdmitted"), "a router does not admit the route%s", refused.because())
	}
	return inProgress("NotAdmitted", "%d of %d routers have admitted the route", admitted, len(routers))
}
