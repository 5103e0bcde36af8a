package health

import "plumb.dev/plumb/internal/model"

// datadog judges external metrics: healthy unless their controller says that
// one is wrong.
var datadog = system{group: "datadoghq.com", kinds: map[string]rule{
	"DatadogMetric": first(
		ranked(when("Error", "True", model.Unhealthy), when("Valid", "False", model.Unhealthy)),
		otherwise(model.Current, "nothing is wrong with the metric"),
	),
}}
