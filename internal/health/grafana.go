package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// The kinds of Grafana's operator, and of one for its organisations.
var (
	grafana = system{group: "grafana.integreatly.org", kinds: map[string]rule{
		"Grafana":           grafanaInstance,
		"GrafanaDashboard":  first(anyFalse),
		"GrafanaDatasource": grafanaDatasource,
		"GrafanaFolder":     first(anyFalse),
	}}
	grafanaOrganisations = system{group: "grafana-org-operator.kubitus-project.gitlab.io", kinds: map[string]rule{"*": readyBoth}}
)

func grafanaInstance(live fields) model.Health {
	stage, said := live.text("status", "stage"), live.text("status", "stageStatus")
	switch {
	case said == "":
		return inProgress("NotReported", "no stage has been reported yet")
	case said == "failed":
		return failed("StageFailed", "stage %s failed%s", stage, condition{message: live.text("status", "lastMessage")}.because())
	case stage == "complete" && said == "success":
		return current("it is complete")
	}
	return inProgress(camelCase(stage), "it is at stage %s", stage)
}

func grafanaDatasource(live fields) model.Health {
	switch {
	case !live.has("status") || live.at("status", "uid") == "":
		return inProgress("NotReported", "it is not made yet")
	case live.flag("status", "NoMatchingInstances"):
		return failed("NoMatchingInstances", "no Grafana instance matches")
	}
	return current("it is made")
}

// anyFalse is unhealthy by the first condition that is False, whatever its type,
// and healthy when one at least is True.
func anyFalse(live fields) (model.Health, bool) {
	var good []string
	for _, c := range live.conditions() {
		switch c.status {
		case "False":
			return failed(or(c.reason, c.kind), "%s", c.said()), true
		case "True":
			good = append(good, c.said())
		}
	}
	return current("%s", strings.Join(good, "; ")), len(good) > 0
}
