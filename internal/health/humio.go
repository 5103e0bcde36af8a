package health

import "plumb.dev/plumb/internal/model"

// humio judges the kinds of the operator for Humio (LogScale).
var humio = system{group: "core.humio.com", kinds: map[string]rule{
	"HumioAction":      humioPart,
	"HumioAlert":       humioPart,
	"HumioIngestToken": humioPart,
	"HumioParser":      humioPart,
	"HumioRepository":  humioPart,
	"HumioView":        humioPart,
	"HumioCluster": first(word("status.state", words{
		"Running":     model.Current,
		"Restarting":  model.InProgress,
		"Upgrading":   model.InProgress,
		"Pending":     model.InProgress,
		"ConfigError": model.Unhealthy,
		"Unknown":     model.Unknown,
	})),
}}

var humioPart = first(word("status.state", words{
	"Exists": model.Current, "NotFound": model.NotFound, "ConfigError": model.Unhealthy, "Unknown": model.Unknown,
}))
