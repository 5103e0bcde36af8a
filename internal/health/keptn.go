package health

import "plumb.dev/plumb/internal/model"

// The kinds of Keptn.
var (
	keptn = system{group: "lifecycle.keptn.sh", kinds: map[string]rule{
		"KeptnAppVersion":       keptnStatus("status.status"),
		"KeptnEvaluation":       keptnStatus("status.overallStatus"),
		"KeptnTask":             keptnStatus("status.status"),
		"KeptnWorkloadInstance": keptnStatus("status.status"),
		"KeptnWorkloadVersion":  keptnStatus("status.status"),
	}}
	keptnMetrics = system{group: "metrics.keptn.sh", kinds: map[string]rule{
		"Analysis":    first(flagged("status.pass", model.Current), flagged("status.warning", model.Current), keptnFailed),
		"KeptnMetric": first(keptnMetric),
	}}
)

func keptnStatus(path string) rule {
	return first(word(path, words{"Succeeded": model.Current, "Failed": model.Unhealthy}))
}

func keptnFailed(live fields) (model.Health, bool) {
	return failed("NotPassed", "the analysis did not pass"), live.at("status", "pass") == false
}

func keptnMetric(live fields) (model.Health, bool) {
	if message := live.text("status", "errMsg"); message != "" {
		return failed("MetricFailed", "%s", message), true
	}
	return current("the metric has a value"), live.has("status", "value")
}
