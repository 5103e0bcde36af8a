package health

import (
	"slices"

	"plumb.dev/plumb/internal/model"
)

// atlas judges database schemas and migrations of Atlas. What is not ready is
// unhealthy unless the operator says that it is at it: as the reason for a
// migration, as the message for a schema.
var atlas = system{group: "db.atlasgo.io", kinds: map[string]rule{
	"AtlasMigration": first(conditionReadyUnless(func(c condition) bool { return c.reason == "Reconciling" })),
	"AtlasSchema": first(conditionReadyUnless(func(c condition) bool {
		return slices.Contains([]string{"Reconciling", "GettingDevDB"}, c.message)
	})),
}}

func conditionReadyUnless(busy func(condition) bool) clause {
	return func(live fields) (model.Health, bool) {
		ready, ok := live.condition("Ready")
		switch {
		case !ok:
			return model.Health{}, false
		case ready.status == "True":
			return current("%s", ready.said()), true
		case busy(ready):
			return inProgress(or(ready.reason, "Reconciling"), "%s", ready.said()), true
		}
		return failed(or(ready.reason, "NotReady"), "%s", ready.said()), true
	}
}
