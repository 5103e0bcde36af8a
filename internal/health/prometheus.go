package health

import "plumb.dev/plumb/internal/model"

// prometheus judges the instances of Prometheus' operator: pods that are not
// ready yet are no failure.
var prometheus = system{group: "monitoring.coreos.com", kinds: map[string]rule{
	"Prometheus": first(reported(
		when("Available", "True", model.Current),
		when("Available", "!True", model.InProgress).with("SomePodsNotReady"),
		when("Available", "!True", model.Unhealthy),
	)),
}}
