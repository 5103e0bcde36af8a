package health

import "plumb.dev/plumb/internal/model"

// The kinds of Elastic Cloud on Kubernetes, which give their health as a colour.
var (
	elasticBeats    = system{group: "beat.k8s.elastic.co", kinds: map[string]rule{"Beat": beat}}
	elasticLogstash = system{group: "logstash.k8s.elastic.co", kinds: map[string]rule{"Logstash": first(word("status.health", colours))}}
	elasticSearch   = system{group: "elasticsearch.k8s.elastic.co", kinds: map[string]rule{"Elasticsearch": elasticsearch}}
)

var colours = words{"green": model.Current, "yellow": model.InProgress, "red": model.Unhealthy}

func beat(live fields) model.Health {
	said, expected := live.text("status", "health"), live.has("status", "expectedNodes")
	state, known := colours[said]
	switch {
	case known:
		return verdict(state, camelCase(said), "its health is %s; %s available", said,
			of(live.count(0, "status", "availableNodes"), live.count(0, "status", "expectedNodes"), "instance"))
	case said == "" && expected:
		return inProgress("NotReported", "it is being deployed")
	}
	return unknown("UnknownHealth", "its health is %s", or(said, "not known"))
}

// elasticsearch is judged once all nodes of its sets are there: first by the
// phase, then by the colour.
func elasticsearch(live fields) model.Health {
	available, counted := live.whole("status", "availableNodes")
	var want int64
	for _, set := range live.each("spec", "nodeSets") {
		want += set.count(0, "count")
	}
	phase, colour := live.text("status", "phase"), live.text("status", "health")
	switch {
	case counted && available < want:
		return inProgress("LessAvailable", "%s available", of(available, want, "node"))
	case !counted || available > want || !live.has("status", "phase") || !live.has("status", "health"):
	case phase == "Ready":
		if state, known := colours[colour]; known {
			return verdict(state, camelCase(colour), "its health is %s; look at the state of indices, replicas and shards if it stays so", colour)
		}
	case phase == "ApplyingChanges" || phase == "MigratingData":
		return inProgress(phase, "it is in phase %s", phase)
	case phase == "Invalid":
		return failed(phase, "its specification is invalid")
	}
	return unknown("UnknownHealth", "its health is not known")
}
