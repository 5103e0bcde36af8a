package health

import "plumb.dev/plumb/internal/model"

// karmada judges Karmada's bindings by what the member clusters say of them.
var karmada = system{group: "work.karmada.io", kinds: map[string]rule{
	"ClusterResourceBinding": first(unscheduledBinding(true), memberClusters),
	"ResourceBinding":        first(unscheduledBinding(false), memberClusters),
}}

// unscheduledBinding decides until every cluster that the binding names has
// reported. A binding that names none at all passes where it may.
func unscheduledBinding(mustName bool) clause {
	return func(live fields) (model.Health, bool) {
		clusters, answers := live.each("spec", "clusters"), live.each("status", "aggregatedStatus")
		open := mustName && len(clusters) == 0 ||
			live.has("spec", "clusters") && (len(clusters) == 0 || len(clusters) != len(answers)) || len(answers) == 0
		return inProgress("NotReported", "%s reported", of(int64(len(answers)), int64(len(clusters)), "cluster")), open
	}
}

func memberClusters(live fields) (model.Health, bool) {
	answers := live.each("status", "aggregatedStatus")
	for _, answer := range answers {
		if said := answer.text("health"); said == "Unhealthy" || said == "Unknown" && !answer.flag("applied") {
			return failed(said, "it is not well on cluster %s", answer.text("clusterName")), true
		}
	}
	return current("it is well on %d %s", len(answers), plural(len(answers), "cluster")), true
}
