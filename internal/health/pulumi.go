package health

import "plumb.dev/plumb/internal/model"

// pulumi judges the stacks of Pulumi's operator.
var pulumi = system{group: "pulumi.com", kinds: map[string]rule{
	"Stack": first(neverObserved, reported(
		when("Stalled", "True", model.Unhealthy),
		when("Reconciling", "True", model.InProgress),
		when("Ready", "True", model.Current),
	)),
}}
