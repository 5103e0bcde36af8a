package health

import "plumb.dev/plumb/internal/model"

// gardener judges Gardener's clusters by the label that sums them up.
var gardener = system{group: "core.gardener.cloud", kinds: map[string]rule{"Shoot": shoot}}

func shoot(live fields) model.Health {
	said := live.text("metadata", "labels", "shoot.gardener.cloud/status")
	state, known := words{
		"healthy": model.Current, "progressing": model.InProgress, "unhealthy": model.Unhealthy, "unknown": model.Unknown,
	}[said]
	if !known {
		return inProgress("NotReported", "the cluster has not been judged yet")
	}
	return verdict(state, camelCase(said), "the cluster is %s", said)
}
