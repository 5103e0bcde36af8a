package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// airlock judges the kinds of Airlock's microgateway: policies by what their
// ancestors say, everything else is configuration.
var airlock = system{group: "microgateway.airlock.com", kinds: map[string]rule{"*": airlockKind}}

func airlockKind(live fields) model.Health {
	if !strings.HasSuffix(live.text("kind"), "Policy") {
		return current("it is configuration, and has no status")
	}
	return first(ancestors(true))(live)
}
