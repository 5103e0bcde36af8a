package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// The kinds of Cluster API.
var (
	clusterAPI = system{group: "cluster.x-k8s.io", kinds: map[string]rule{
		"Cluster": capiCluster,
		"Machine": first(word("status.phase", words{"Running": model.Current, "Failed": model.Unhealthy}), machineWaits),
		"MachineDeployment": first(paused("spec.paused"), word("status.phase", words{
			"Running": model.Current, "ScalingUp": model.InProgress, "ScalingDown": model.InProgress, "Failed": model.Unhealthy,
		})),
		"MachineHealthCheck": machineHealthCheck,
		"MachinePool": first(word("status.phase", words{
			"Running": model.Current, "Scaling": model.Current, "Failed": model.Unhealthy, "Unknown": model.Unhealthy,
		})),
	}}
	clusterAPIAddons = system{group: "addons.cluster.x-k8s.io", kinds: map[string]rule{
		"ClusterResourceSet": first(conditionBoth("ResourcesApplied")),
	}}
	clusterAPIControlPlanes = system{group: "controlplane.cluster.x-k8s.io", kinds: map[string]rule{
		"AWSManagedControlPlane": first(unreported, unobserved, controlPlaneFailure,
			reported(when("EKSControlPlaneUpdating", "True", model.InProgress)), controlPlaneReady),
	}}
)

// capiCluster outweighs the phase by a Ready that is False for more than
// information.
func capiCluster(live fields) model.Health {
	if live.flag("spec", "paused") {
		return suspended("Paused", "the cluster is paused (spec.paused)")
	}
	for _, c := range live.each("status", "conditions") {
		if c.text("type") == "Ready" && c.text("status") == "False" && c.text("severity") != "Info" {
			return failed(or(c.text("reason"), "NotReady"), "%s", or(c.text("message"), "the cluster is not ready"))
		}
	}
	return first(word("status.phase", words{"Provisioned": model.Current, "Failed": model.Unhealthy}))(live)
}

// machineWaits says why a machine does not run yet.
func machineWaits(live fields) (model.Health, bool) {
	ready, _ := live.condition("Ready")
	return inProgress(or(ready.reason, "NotRunning"), "the machine does not run yet%s", ready.because()), true
}

func machineHealthCheck(live fields) model.Health {
	healthy, ok := live.whole("status", "currentHealthy")
	if !ok {
		return inProgress("NotReported", "no machine has been checked yet")
	}
	expected := live.count(0, "status", "expectedMachines")
	if healthy != expected {
		return failed("UnhealthyMachines", "%s healthy", of(healthy, expected, "machine"))
	}
	return current("%s healthy", of(healthy, expected, "machine"))
}

func controlPlaneFailure(live fields) (model.Health, bool) {
	message := live.text("status", "failureMessage")
	return failed(or(live.text("status", "failureReason"), "Failed"), "%s", message), message != ""
}

// controlPlaneReady is healthy when Ready, and failed by any condition that is
// False as an error.
func controlPlaneReady(live fields) (model.Health, bool) {
	if !live.has("status", "conditions") {
		return model.Health{}, false
	}
	if ready, _ := live.condition("Ready"); ready.status == "True" {
		return current("the control plane is ready"), true
	}
	var errors []string
	reason := ""
	for _, c := range live.each("status", "conditions") {
		if c.text("status") == "False" && c.text("severity") == "Error" {
			errors = append(errors, or(c.text("message"), c.text("type")))
			reason = or(reason, c.text("reason"))
		}
	}
	if len(errors) > 0 {
		return failed(or(reason, "Failed"), "%s", strings.Join(errors, "; ")), true
	}
	return inProgress("NotReady", "the control plane is not ready"), true
}
