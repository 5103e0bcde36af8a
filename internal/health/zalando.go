package health

import "plumb.dev/plumb/internal/model"

// zalando judges the clusters of Zalando's Postgres operator.
var zalando = system{
	group: "acid.zalan.do",
	kinds: map[string]rule{"postgresql": first(wordElse("status.PostgresClusterStatus", words{
		"Running": model.Current, "Creating": model.InProgress, "Updating": model.InProgress,
	}, model.Unhealthy))},
}
