package health

import (
	"fmt"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// flagger judges canaries by their phase.
var flagger = system{group: "flagger.app", kinds: map[string]rule{"Canary": flaggerCanary}}

func flaggerCanary(live fields) model.Health {
	phase := live.text("status", "phase")
	state, known := words{
		"Initialized": model.Current,
		"Succeeded":   model.Current,
		"Progressing": model.InProgress,
		"Promoting":   model.InProgress,
		"Finalising":  model.InProgress,
		"Failed":      model.Unhealthy,
	}[phase]
	if !known {
		state = model.Unknown
	}
	parts := []string{"the canary is " + or(phase, "in no phase yet")}
	if weight, ok := number(live.at("status", "canaryWeight")); ok && weight > 0 {
		parts = append(parts, fmt.Sprintf("it takes %d%% of the traffic", weight))
	}
	for _, c := range live.conditions() {
		parts = append(parts, c.said())
	}
	return verdict(state, phase, "%s", strings.Join(parts, "; "))
}
