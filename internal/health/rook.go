package health

import (
	"maps"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// The kinds of Rook, and of the object buckets that it provides.
var (
	rookCassandra = system{group: "cassandra.rook.io", kinds: map[string]rule{"Cluster": cassandraCluster}}
	rookCeph      = system{group: "ceph.rook.io", kinds: map[string]rule{
		"CephCluster":     cephCluster,
		"CephObjectStore": first(word("status.phase", words{"Ready": model.Current, "Failure": model.Unhealthy})),
	}}
	objectBuckets = system{group: "objectbucket.io", kinds: map[string]rule{
		"ObjectBucketClaim": first(word("status.phase", words{"Bound": model.Current, "Failed": model.Unhealthy})),
	}}
)

func cassandraCluster(live fields) model.Health {
	racks := live.sub("status", "racks")
	if racks == nil {
		return inProgress("NotReported", "no rack is known yet")
	}
	for _, name := range slices.Sorted(maps.Keys(racks)) {
		members, known := racks.whole(name, "members")
		ready, readyKnown := racks.whole(name, "readyMembers")
		if known && readyKnown && members != ready {
			return inProgress("MembersNotReady", "rack %s: %s ready", name, of(ready, members, "member"))
		}
	}
	return current("all members of all racks are ready")
}

// cephCluster is unhealthy by Ceph's own health, warnings included; where that
// is good, the state of its deployment counts.
func cephCluster(live fields) model.Health {
	health, state := live.text("status", "ceph", "health"), live.text("status", "state")
	var details []string
	found := live.sub("status", "ceph", "details")
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if message := found.text(name, "message"); message != "" {
			details = append(details, message)
		}
	}
	switch {
	case health == "HEALTH_ERR" || health == "HEALTH_WARN":
		return failed(camelCase(health), "%s%s", health, condition{message: strings.Join(details, "; ")}.because())
	case health != "HEALTH_OK":
		return inProgress("NotReported", "%s", or(live.text("status", "message"), "the health of the cluster is not known yet"))
	case state == "Error":
		return failed(state, "%s", or(live.text("status", "message"), "the cluster is in state Error"))
	case state != "" && state != "Created" && state != "Connected":
		return inProgress(camelCase(state), "the cluster is in state %s", state)
	}
	return current("Ceph is healthy")
}
