package health

import "plumb.dev/plumb/internal/model"

// nmState judges the network configuration of nodes.
var nmState = system{group: "nmstate.io", kinds: map[string]rule{
	"NodeNetworkConfigurationPolicy": first(reported(
		when("Available", "True", model.Current),
		when("Degraded", "True", model.Unhealthy),
		when("Progressing", "True", model.InProgress),
		when("Ignored", "True", model.Paused),
	)),
}}
