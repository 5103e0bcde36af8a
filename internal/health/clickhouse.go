package health

import "plumb.dev/plumb/internal/model"

// The kinds of Altinity's operator for ClickHouse.
var (
	clickHouse       = system{group: "clickhouse.altinity.com", kinds: shared(clickHouseInstallation, "ClickHouseInstallation")}
	clickHouseKeeper = system{group: "clickhouse-keeper.altinity.com", kinds: shared(clickHouseInstallation, "ClickHouseKeeperInstallation")}
)

var clickHouseInstallation = first(wordElse("status.status", words{
	"Completed": model.Current, "InProgress": model.InProgress,
}, model.Unhealthy))
