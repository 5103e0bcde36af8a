package health

import "plumb.dev/plumb/internal/model"

// configConnector judges the kinds of Google's Config Connector, all of which
// carry reasons of one set.
var configConnector = system{
	group: "*.cnrm.cloud.google.com",
	kinds: map[string]rule{
		"ConfigConnector":        first(unobserved, connectorHealthy, connectorReasons),
		"ConfigConnectorContext": first(unobserved, connectorHealthy, connectorReasons),
		"*":                      first(unobserved, connectorReasons),
	},
}

var connectorReasons = reported(
	when("", "True", model.Current).with("UpToDate"),
	when("", "", model.Unhealthy).with("UpdateFailed", "DependencyNotFound"),
	when("", "", model.Paused).with("DependencyNotReady"),
)

// connectorHealthy reads status.healthy, which only the operator's own kinds have.
func connectorHealthy(live fields) (model.Health, bool) {
	switch live.at("status", "healthy") {
	case true:
		return current("%s is healthy", live.text("kind")), true
	case nil:
		return model.Health{}, false
	}
	return failed("NotHealthy", "%s is not healthy", live.text("kind")), true
}
