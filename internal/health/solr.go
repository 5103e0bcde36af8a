package health

import "plumb.dev/plumb/internal/model"

// solr judges clouds of Apache Solr: healthy when every node is ready.
var solr = system{group: "solr.apache.org", kinds: map[string]rule{"SolrCloud": first(solrCloud)}}

func solrCloud(live fields) (model.Health, bool) {
	nodes := live.each("status", "solrNodes")
	ready := 0
	for _, node := range nodes {
		if node.flag("ready") {
			ready++
		}
	}
	share := of(int64(ready), int64(len(nodes)), "node")
	if ready < len(nodes) {
		return inProgress("NodesNotReady", "%s ready", share), true
	}
	return current("%s ready", share), live.has("status", "solrNodes")
}
