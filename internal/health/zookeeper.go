package health

import "plumb.dev/plumb/internal/model"

// zooKeeper judges the ensembles of Pravega's operator.
var zooKeeper = system{group: "zookeeper.pravega.io", kinds: map[string]rule{"ZookeeperCluster": zooKeeperCluster}}

func zooKeeperCluster(live fields) model.Health {
	ready, replicas := live.count(0, "status", "readyReplicas"), live.count(0, "status", "replicas")
	if ready == 0 || ready != replicas {
		return inProgress("NotReady", "%s in the ensemble", of(ready, replicas, "node"))
	}
	return current("%s in the ensemble", of(ready, replicas, "node"))
}
