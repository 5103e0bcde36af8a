package health

import "plumb.dev/plumb/internal/model"

// kiali judges the instances of Kiali's operator.
var kiali = system{group: "kiali.io", kinds: map[string]rule{
	"Kiali": first(reported(
		when("Successful", "True", model.Current),
		when("Failure", "True", model.Unhealthy),
		when("Running", "", model.InProgress).with("Running"),
	)),
}}
