package health

import "plumb.dev/plumb/internal/model"

// The clusters of Percona's operators. Without a status nothing is known, as
// upstream has it.
var (
	perconaMongo = system{group: "psmdb.percona.com", kinds: map[string]rule{
		"PerconaServerMongoDB": perconaCluster(words{
			"initializing": model.InProgress, "ready": model.Current, "error": model.Unhealthy,
			"stopping": model.InProgress, "paused": model.Paused,
		}),
	}}
	perconaXtraDB = system{group: "pxc.percona.com", kinds: map[string]rule{
		"PerconaXtraDBCluster": perconaCluster(words{
			"initializing": model.InProgress, "ready": model.Current, "error": model.Unhealthy,
			"stopping": model.Unhealthy, "paused": model.Unknown,
		}),
	}}
)

func perconaCluster(meaning words) rule {
	return func(live fields) model.Health {
		said := live.text("status", "state")
		state, known := meaning[said]
		if !known {
			return unknown("NotReported", "the state of the cluster is %s", or(said, "not known"))
		}
		message := "it is " + said + ", " + of(live.count(0, "status", "ready"), live.count(0, "status", "size"), "node") + " ready"
		for _, line := range live.texts("status", "message") {
			message += "; " + line
		}
		return verdict(state, camelCase(said), "%s", message)
	}
}
