package health

import "plumb.dev/plumb/internal/model"

// victoriaMetrics judges the kinds of VictoriaMetrics' operator, all of which
// have one status.
var victoriaMetrics = system{group: "operator.victoriametrics.com", kinds: map[string]rule{
	"*": first(unreported, unobserved, victoriaStatus),
}}

func victoriaStatus(live fields) (model.Health, bool) {
	said := live.text("status", "updateStatus")
	state, known := words{
		"operational": model.Current, "expanding": model.InProgress, "paused": model.Paused, "failed": model.Unhealthy,
	}[said]
	return verdict(state, camelCase(said), "%s", or(live.text("status", "reason"), "it is "+said)), known
}
