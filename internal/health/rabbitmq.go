package health

import "plumb.dev/plumb/internal/model"

// rabbitMQ judges the kinds of RabbitMQ's operators.
var rabbitMQ = system{group: "rabbitmq.com", kinds: map[string]rule{
	"Binding":    rabbitTopology,
	"Exchange":   rabbitTopology,
	"Permission": rabbitTopology,
	"Policy":     rabbitTopology,
	"Queue":      rabbitTopology,
	"Shovel":     rabbitTopology,
	"User":       rabbitTopology,
	"Vhost":      rabbitTopology,
	"RabbitmqCluster": first(ranked(
		when("ReconcileSuccess", "False", model.Unhealthy),
		when("ClusterAvailable", "Unknown", model.InProgress),
		when("AllReplicasReady", "Unknown", model.InProgress),
		when("ClusterAvailable", "False", model.InProgress),
		when("AllReplicasReady", "False", model.InProgress),
	), rabbitAvailable),
}}

// rabbitTopology is known only by the two answers that the operator gives.
var rabbitTopology = first(reported(
	when("Ready", "True", model.Current).with("SuccessfulCreateOrUpdate"),
	when("Ready", "False", model.Unhealthy).with("FailedCreateOrUpdate"),
), otherwise(model.Unknown, "the operator has not said whether it exists"))

func rabbitAvailable(live fields) (model.Health, bool) {
	available, _ := live.condition("ClusterAvailable")
	ready, _ := live.condition("AllReplicasReady")
	return current("all replicas are ready"), available.status == "True" && ready.status == "True"
}
