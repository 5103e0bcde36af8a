package health

import "plumb.dev/plumb/internal/model"

// koperator judges the Kafka clusters of Banzai Cloud's operator.
var koperator = system{group: "kafka.banzaicloud.io", kinds: map[string]rule{"KafkaCluster": first(kafkaCluster)}}

func kafkaCluster(live fields) (model.Health, bool) {
	state := live.text("status", "state")
	if state == "ClusterRollingUpgrading" {
		return inProgress(state, "the brokers are being upgraded"), true
	}
	brokers := live.sub("status", "brokersState")
	if brokers == nil {
		return model.Health{}, false
	}
	synced := 0
	for id := range brokers {
		action := brokers.text(id, "gracefulActionState", "cruiseControlState")
		if brokers.text(id, "configurationState") == "ConfigInSync" &&
			(action == "GracefulUpscaleSucceeded" || action == "GracefulDownscaleSucceeded") {
			synced++
		}
	}
	switch {
	case synced < len(brokers):
		return failed("BrokersNotInSync", "%s in sync and at rest", of(int64(synced), int64(len(brokers)), "broker")), true
	case live.text("status", "cruiseControlTopicStatus") == "CruiseControlTopicReady" && state == "ClusterRunning":
		return current("the cluster runs, and its brokers are in sync"), true
	}
	return model.Health{}, false
}
