package health

import "plumb.dev/plumb/internal/model"

// cloudNativePG judges Postgres clusters of CloudNativePG, whose phase is a
// sentence.
var cloudNativePG = system{group: "postgresql.cnpg.io", kinds: map[string]rule{"Cluster": postgresCluster}}

// postgresPhases are the phases of the operator (api/v1 cluster_types.go). What
// interrupts service counts as unhealthy, as upstream has it.
var postgresPhases = words{
	"Cluster in healthy state": model.Current,

	"Setting up primary":                         model.InProgress,
	"Creating a new replica":                     model.InProgress,
	"Upgrading cluster":                          model.InProgress,
	"Waiting for the instances to become active": model.InProgress,
	"Promoting to primary cluster":               model.InProgress,

	"Switchover in progress":                                   model.Unhealthy,
	"Failing over":                                             model.Unhealthy,
	"Upgrading Postgres major version":                         model.Unhealthy,
	"Cluster upgrade delayed":                                  model.Unhealthy,
	"Waiting for user action":                                  model.Unhealthy,
	"Primary instance is being restarted in-place":             model.Unhealthy,
	"Primary instance is being restarted without a switchover": model.Unhealthy,
	"Cluster cannot execute instance online upgrade due to missing architecture binary": model.Unhealthy,
	"Online upgrade in progress": model.Unhealthy,
	"Applying configuration":     model.Unhealthy,

	"Unable to create required cluster objects":                                        model.Paused,
	"Cluster cannot proceed to reconciliation due to an unknown plugin being required": model.Paused,
	"Cluster has incomplete or invalid image catalog":                                  model.Paused,
	"Cluster is unrecoverable and needs manual intervention":                           model.Paused,
}

func postgresCluster(live fields) model.Health {
	phase, why := live.text("status", "phase"), live.text("status", "phaseReason")
	if live.text("metadata", "annotations", "cnpg.io/reconciliationLoop") == "disabled" {
		return suspended("ReconciliationDisabled", "reconciliation is disabled by the annotation cnpg.io/reconciliationLoop")
	}
	if !live.has("status", "conditions") {
		return inProgress("NotReported", "%s", or(why, "the cluster has not been looked at yet"))
	}
	if c, ok := live.condition("cnpg.io/hibernation"); ok {
		if c.status == "True" {
			return suspended(or(c.reason, "Hibernated"), "%s", or(c.message, "the cluster hibernates"))
		}
		return failed(or(c.reason, "Hibernating"), "%s", or(c.message, "the cluster goes into hibernation"))
	}
	state, known := postgresPhases[phase]
	if !known {
		return unknown(camelCase(phase), "the cluster is in phase %q", phase)
	}
	return verdict(state, camelCase(phase), "%s%s", phase, condition{message: why}.because())
}
