package health

import (
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// openTelemetry judges collectors by the replicas that their operator counts.
var openTelemetry = system{group: "opentelemetry.io", kinds: map[string]rule{"OpenTelemetryCollector": first(unreported, collector)}}

func collector(live fields) (model.Health, bool) {
	mode, said := live.text("spec", "mode"), live.text("status", "scale", "statusReplicas")
	if said == "" {
		return current("the collector runs beside other pods"), mode == "sidecar"
	}
	left, right, _ := strings.Cut(said, "/")
	ready, err := strconv.ParseInt(left, 10, 32)
	if err != nil {
		return inProgress("NotReported", "it is not clear how many replicas are ready: %q", said), true
	}
	total, err := strconv.ParseInt(right, 10, 32)
	switch {
	case err != nil:
		return inProgress("NotReported", "it is not clear how many replicas are ready: %q", said), true
	case ready == 0 && total == 0 && mode == "daemonset":
		return current("no node takes the collector"), true
	case ready == 0:
		return failed("NotReady", "none of %d replicas is ready", total), true
	case ready < total:
		return inProgress("LessReady", "%s ready", of(ready, total, "replica")), true
	}
	return current("%s ready", of(ready, total, "replica")), true
}
