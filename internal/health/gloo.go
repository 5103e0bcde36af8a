package health

import (
	"maps"
	"slices"

	"plumb.dev/plumb/internal/model"
)

// The kinds of Solo's Gloo, which carry one status, or one for each namespace
// of a controller.
var (
	gloo = system{group: "gloo.solo.io", kinds: shared(glooKind, "Proxy", "Settings", "Upstream", "UpstreamGroup")}

	glooGateway = system{group: "gateway.solo.io", kinds: shared(glooKind,
		"Gateway", "MatchableHttpGateway", "RouteOption", "RouteTable", "VirtualHostOption", "VirtualService")}
)

// glooStates are the states by name; older controllers write their numbers.
var (
	glooStates  = words{"Pending": model.Paused, "Accepted": model.Current, "Rejected": model.Unhealthy, "Warning": model.Unhealthy}
	glooNumbers = []string{"Pending", "Accepted", "Rejected", "Warning"}
)

func glooKind(live fields) model.Health {
	statuses := live.sub("status", "statuses")
	for _, namespace := range slices.Sorted(maps.Keys(statuses)) {
		if health, decided := glooStatus(statuses.sub(namespace)); decided {
			return health
		}
	}
	if health, decided := glooStatus(live.sub("status")); decided {
		return health
	}
	return inProgress("NotReported", "it has not been validated yet")
}

func glooStatus(status fields) (model.Health, bool) {
	name := status.text("state")
	if n, ok := status.whole("state"); ok && n >= 0 && n < int64(len(glooNumbers)) {
		name = glooNumbers[n]
	}
	state, known := glooStates[name]
	return verdict(state, name, "%s", or(status.text("reason"), "it is "+name)), known
}
