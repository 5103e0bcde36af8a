package health

import (
	"math"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// spark judges the applications of the operator for Apache Spark.
var spark = system{group: "sparkoperator.k8s.io", kinds: map[string]rule{
	"SparkApplication": first(sparkRunning, word("status.applicationState.state", words{
		"":                  model.InProgress,
		"SUBMITTED":         model.InProgress,
		"PENDING_RERUN":     model.InProgress,
		"SUCCEEDING":        model.InProgress,
		"UNKNOWN":           model.InProgress,
		"COMPLETED":         model.Current,
		"FAILED":            model.Unhealthy,
		"SUBMISSION_FAILED": model.Unhealthy,
		"FAILING":           model.Unhealthy,
		"INVALIDATING":      model.NotFound,
	})),
}}

// sparkRunning is healthy with as many executors as asked for, whether that is
// a number or a range that they are scaled in.
func sparkRunning(live fields) (model.Health, bool) {
	if live.text("status", "applicationState", "state") != "RUNNING" || !live.has("status", "executorState") {
		return model.Health{}, false
	}
	var running int64
	for _, state := range live.sub("status", "executorState") {
		if state == "RUNNING" {
			running++
		}
	}
	if instances, fixed := live.whole("spec", "executor", "instances"); fixed && running == instances {
		return current("%s running", of(running, instances, "executor")), true
	}
	least, most := executors(live)
	return current("%d %s running", running, plural(int(running), "executor")), running >= least && running <= most
}

// executors is the range of executors that an application may have.
func executors(live fields) (least, most int64) {
	settings := live.sub("spec", "sparkConf")
	dynamic := live.sub("spec", "dynamicAllocation")
	if dynamic.flag("enabled") {
		return dynamic.count(0, "minExecutors"), dynamic.count(math.MaxInt64, "maxExecutors")
	}
	for _, prefix := range []string{"spark.streaming.dynamicAllocation.", "spark.dynamicAllocation."} {
		if !strings.EqualFold(settings.text(prefix+"enabled"), "true") {
			continue
		}
		most = math.MaxInt64
		if n, ok := number(settings.at(prefix + "maxExecutors")); ok {
			most = n
		}
		least, _ = number(settings.at(prefix + "minExecutors"))
		return least, most
	}
	if dynamic == nil && !live.has("spec", "executor", "instances") {
		return 1, math.MaxInt64
	}
	return math.MaxInt64, 0 // a fixed number, which is not reached
}
