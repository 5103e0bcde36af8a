package health

import "plumb.dev/plumb/internal/model"

// confluent judges the kinds of Confluent's operator.
var confluent = system{group: "platform.confluent.io", kinds: map[string]rule{
	"Connect":        confluentService,
	"Connector":      first(confluentConnector),
	"ControlCenter":  confluentService,
	"Kafka":          confluentService,
	"KsqlDB":         confluentService,
	"SchemaRegistry": confluentService,
	"Zookeeper":      confluentService,
}}

var confluentService = first(word("status.phase", words{"RUNNING": model.Current, "PROVISIONING": model.InProgress}))

func confluentConnector(live fields) (model.Health, bool) {
	broken, counted := live.whole("status", "failedTasksCount")
	switch state := live.text("status", "state"); {
	case state == "CREATED" && live.text("status", "connectorState") == "RUNNING" && !counted:
		return current("the connector runs"), true
	case state == "ERROR":
		message := "the connector is in error"
		if conditions := live.conditions(); len(conditions) > 0 {
			message = conditions[0].said()
		}
		return failed("Error", "%s", message), true
	case live.has("status", "state") && broken > 0:
		return failed("TasksFailed", "%d %s failed", broken, plural(int(broken), "task")), true
	}
	return model.Health{}, false
}
