package health

import "plumb.dev/plumb/internal/model"

// sap judges the services of SAP's service operator: healthy unless a condition
// tells of a failure or is about an earlier specification.
var sap = system{group: "services.cloud.sap.com", kinds: shared(first(unreported, sapService), "ServiceBinding", "ServiceInstance")}

func sapService(live fields) (model.Health, bool) {
	generation, numbered := live.whole("metadata", "generation")
	for _, c := range live.each("status", "conditions") {
		if seen, ok := c.whole("observedGeneration"); ok && numbered && seen != generation {
			return behind(live), true
		}
		kind, status := c.text("type"), c.text("status")
		if kind == "Succeeded" && status == "False" || kind == "Failed" && status == "True" {
			return failed(or(c.text("reason"), "Failed"), "%s", or(c.text("message"), "it has failed")), true
		}
	}
	return current("it is ready to use"), live.has("status", "conditions")
}
