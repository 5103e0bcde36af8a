package health

import "plumb.dev/plumb/internal/model"

// openFaaS judges functions: one that is ready and scaled to nothing sleeps.
var openFaaS = system{group: "openfaas.com", kinds: map[string]rule{"Function": openFaaSFunction}}

func openFaaSFunction(live fields) model.Health {
	health := first(reported(
		when("Ready", "False", model.Unhealthy), when("Stalled", "True", model.Unhealthy), when("Ready", "True", model.Current),
	))(live)
	if health.State == model.Current && live.count(0, "status", "replicas") <= 0 {
		return suspended("NoReplicas", "the function is scaled to zero replicas")
	}
	return health
}
