package api

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
)

func decodeObject(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(encoded); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestFactsOfNodes(t *testing.T) {
	show := func(n *plumbv1.Node) string {
		return fmt.Sprintf("%v %v %s %d %v/%v/%v %d", n.GetInfo(), n.GetImages(), n.GetStatus(), n.GetRestarts(),
			n.GetReplicas().GetReady(), n.GetReplicas().GetDesired(), n.GetReplicas().GetUpdated(), n.GetRevision())
	}
	for _, c := range []struct{ what, object, want string }{
		{"a Pod that crashes", "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {nodeName: node-1, containers: [{name: app, image: 'app:1'}]}, status: {phase: Running, containerStatuses: [{name: app, restartCount: 7, state: {waiting: {reason: CrashLoopBackOff}}}]}}",
			"[0/1 ready 7 restarts node-1] [app:1] CrashLoopBackOff 7 0/0/0 0"},
		{"a Deployment", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3, template: {spec: {containers: [{name: app, image: 'app:1'}]}}}, status: {readyReplicas: 2, updatedReplicas: 1}}",
			"[2/3 ready] [app:1]  0 2/3/1 0"},
		{"a ReplicaSet", "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web, annotations: {deployment.kubernetes.io/revision: '4'}}, spec: {replicas: 1}, status: {replicas: 1, readyReplicas: 1}}",
			"[1/1 ready revision 4] []  0 1/1/1 4"},
		{"a Job", "{apiVersion: batch/v1, kind: Job, metadata: {name: web}, spec: {completions: 2}, status: {succeeded: 1}}", "[1/2 done] []  0 1/2/0 0"},
		{"a Service", "{apiVersion: v1, kind: Service, metadata: {name: web}}", "[] []  0 0/0/0 0"},
	} {
		n := &plumbv1.Node{}
		tellFacts(n, decodeObject(t, c.object))
		if got := show(n); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// TestDeliveredWorkloadsHaveFacts: what a watch tells of a delivered workload is on
// its node, with where people reach it, and not on that of an object that another
// delivery has.
func TestDeliveredWorkloadsHaveFacts(t *testing.T) {
	id := object.ID{Group: "apps", Kind: "Deployment", Namespace: "team", Name: "web"}
	g := &graph{facts: map[object.ID]*plumbv1.Node{}, above: map[types.UID]string{"u1": "node"}, children: map[types.UID]*child{}}
	live := decodeObject(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: team, name: web, uid: u1}, spec: {replicas: 2}, status: {readyReplicas: 1}}")
	if !g.keep(live) {
		t.Error("the viewer is not told")
	}
	if g.keep(live) {
		t.Error("the viewer is told of the same again")
	}
	n := &plumbv1.Node{Info: []string{"wave 2"}}
	g.adorn(n, &engine.KnownObject{ID: id, Links: []string{"https://web.example.org", "javascript:alert(1)"}})
	if got := fmt.Sprint(n.GetInfo(), n.GetReplicas().GetDesired(), n.GetUrls()); got != "[1/2 ready wave 2] 2 [https://web.example.org]" {
		t.Errorf("the node has %s", got)
	}
	foreign := &plumbv1.Node{}
	g.adorn(foreign, &engine.KnownObject{ID: id, Foreign: object.ID{Name: "other"}, Links: []string{"https://web.example.org"}})
	if len(foreign.GetInfo())+len(foreign.GetUrls()) > 0 {
		t.Errorf("of another delivery's object it tells %v", foreign)
	}
	g.forget(id, "u1")
	if len(g.facts) != 0 {
		t.Error("what is gone is remembered")
	}
}
