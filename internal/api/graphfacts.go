package api

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/pods"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
)

// workloadKinds are the delivered kinds that are followed for their facts: the
// engine knows how they are doing, and not how many Pods they have.
var workloadKinds = []schema.GroupVersionKind{
	{Group: "apps", Version: "v1", Kind: "Deployment"},
	{Group: "apps", Version: "v1", Kind: "StatefulSet"},
	{Group: "apps", Version: "v1", Kind: "DaemonSet"},
}

// tellFacts puts on a node what people want to know of an object at a glance.
func tellFacts(n *plumbv1.Node, o *unstructured.Unstructured) {
	kind := o.GroupVersionKind().GroupKind()
	if !pods.Has(kind) {
		return
	}
	n.Images = pods.Images(o)
	if kind == podKind.GroupKind() {
		p := pods.Read(o)
		n.Status, n.Restarts = p.Status, int32(p.Restarts)
		n.Info = append(n.Info, fmt.Sprintf("%d/%d ready", p.Ready, p.Of))
		if p.Restarts > 0 {
			n.Info = append(n.Info, counted(n.GetRestarts(), "restart"))
		}
		if p.Node != "" {
			n.Info = append(n.Info, p.Node)
		}
		return
	}
	if r, ok := pods.ReplicasOf(o); ok {
		n.Replicas = &plumbv1.Replicas{Desired: int32(r.Desired), Ready: int32(r.Ready), Updated: int32(r.Updated)}
		what := "ready"
		if kind.Kind == "Job" {
			what = "done"
		}
		n.Info = append(n.Info, fmt.Sprintf("%d/%d %s", r.Ready, r.Desired, what))
	}
	if n.Revision = pods.Revision(o); n.GetRevision() > 0 {
		n.Info = append(n.Info, fmt.Sprintf("revision %d", n.GetRevision()))
	}
}

// keepFacts remembers what is told of an object that may be delivered. It reports
// whether the viewer may see a difference.
func (g *graph) keepFacts(o *unstructured.Unstructured) (shown bool) {
	facts := &plumbv1.Node{}
	tellFacts(facts, o)
	id := object.Of(o)
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.facts[id]
	if was == nil && len(g.facts) >= maxNodes || was != nil && proto.Equal(was, facts) {
		return false
	}
	g.facts[id] = facts
	return g.above[o.GetUID()] != "" || g.named[id] != ""
}

// adorn puts on the node of a delivered object what is known of it at a glance.
func (g *graph) adorn(n *plumbv1.Node, o *engine.KnownObject) {
	if !o.Foreign.IsZero() {
		return
	}
	n.Urls = webLinks(o.Links)
	g.mu.Lock()
	defer g.mu.Unlock()
	if facts := g.facts[o.ID]; facts != nil {
		info := n.GetInfo()
		n.Images, n.Status, n.Restarts, n.Replicas, n.Revision = facts.Images, facts.Status, facts.Restarts, facts.Replicas, facts.Revision
		n.Info = append(append(info[:0:0], facts.GetInfo()...), info...)
	}
}
