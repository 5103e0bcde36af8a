package health

import (
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// keycloak judges the instances of Keycloak's operator.
var keycloak = system{group: "k8s.keycloak.org", kinds: map[string]rule{"Keycloak": first(keycloakInstance)}}

// keycloakInstance takes the oldest of the conditions that hold, ready or with
// errors; a condition without a time counts as the newest.
func keycloakInstance(live fields) (model.Health, bool) {
	conditions := live.each("status", "conditions")
	slices.SortStableFunc(conditions, func(a, b fields) int {
		x, y := a.text("lastTransitionTime"), b.text("lastTransitionTime")
		switch {
		case x == y:
			return 0
		case x == "":
			return 1
		case y == "":
			return -1
		}
		return strings.Compare(x, y)
	})
	for _, c := range conditions {
		if c.text("status") != "True" {
			continue
		}
		switch c.text("type") {
		case "Ready":
			return current("it is ready"), true
		case "HasErrors":
			return failed("HasErrors", "it has errors%s", condition{message: c.text("message")}.because()), true
		}
	}
	return model.Health{}, false
}
