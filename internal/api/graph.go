package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// A graph is what a delivery delivered, down to Pods. What it delivered is known
// to the engine. What the cluster makes of that is watched for as long as
// somebody looks, in the namespaces that it concerns, if the delivery's own
// identity may list it.

// childKinds are what the cluster makes of what is delivered, from the top.
var childKinds = []schema.GroupVersionKind{
	{Group: "batch", Version: "v1", Kind: "Job"},
	{Group: "apps", Version: "v1", Kind: "ReplicaSet"},
	{Version: "v1", Kind: "Pod"},
}

// parents are the kinds of which the cluster makes such children.
var parents = map[schema.GroupKind]bool{
	{Group: "apps", Kind: "Deployment"}: true, {Group: "apps", Kind: "StatefulSet"}: true, {Group: "apps", Kind: "DaemonSet"}: true,
	{Group: "apps", Kind: "ReplicaSet"}: true, {Group: "batch", Kind: "Job"}: true, {Group: "batch", Kind: "CronJob"}: true,
	{Kind: "ReplicationController"}: true, {Group: "argoproj.io", Kind: "Rollout"}: true,
}

// Bounds of a graph.
const (
	maxNodes      = 5000
	maxNamespaces = 50
	graphPause    = 150 * time.Millisecond
)

// WatchGraph sends the graph, and then what changes of it.
func (s deliveryService) WatchGraph(ctx context.Context, m *plumbv1.WatchGraphRequest, out *connect.ServerStream[plumbv1.WatchGraphResponse]) error {
	w, err := s.leads()
	if err != nil {
		return err
	}
	id := rows.ID(m.GetRef())
	g := &graph{server: s.Server, world: w, id: id, changed: make(chan struct{}, 1), children: map[types.UID]*unstructured.Unstructured{}, watched: map[string]bool{}}
	sent := map[string]*plumbv1.Node{}
	for first := true; ; first = false {
		news := s.deliveries.News()
		known, ok := w.Engine.Known(id)
		if !ok {
			return connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", id))
		}
		g.follow(ctx, &known)
		nodes := g.nodes(ctx, &known)
		if message := delta(sent, nodes, first); message != nil {
			message.Note = g.noted()
			if err := out.Send(message); err != nil {
				return err
			}
		}
		sent = nodes
		if !g.await(ctx, news) {
			return nil
		}
	}
}

// await waits until something may look different; false when the caller has
// gone.
func (g *graph) await(ctx context.Context, news <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-news:
	case <-g.changed:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(graphPause):
		return true
	}
}

// delta is what a new graph changes; nil when it is nothing.
func delta(was, now map[string]*plumbv1.Node, first bool) *plumbv1.WatchGraphResponse {
	out := &plumbv1.WatchGraphResponse{Reset_: first}
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if before, ok := was[id]; !ok || !proto.Equal(before, now[id]) {
			out.Changed = append(out.Changed, now[id])
		}
	}
	for id := range was {
		if now[id] == nil {
			out.Removed = append(out.Removed, id)
		}
	}
	slices.Sort(out.Removed)
	if !first && len(out.Changed) == 0 && len(out.Removed) == 0 {
		return nil
	}
	return out
}

// graph is what one viewer looks at.
type graph struct {
	server  *Server
	world   *World
	id      object.ID
	changed chan struct{}

	mu       sync.Mutex
	children map[types.UID]*unstructured.Unstructured // that have a controller
	watched  map[string]bool                          // namespaces whose children are followed
	note     string
}

func (g *graph) noted() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.note
}

// follow begins to watch the children in the namespaces of what is delivered.
func (g *graph) follow(ctx context.Context, k *engine.Known) {
	for i := range k.Objects {
		o := &k.Objects[i]
		ns := o.ID.Namespace
		if !parents[o.ID.GroupKind()] || !o.Foreign.IsZero() || ns == "" || g.watched[ns] || len(g.watched) == maxNamespaces {
			continue
		}
		g.watched[ns] = true
		session, err := g.world.Engine.Session(g.id)
		if err != nil {
			g.tell("what runs cannot be looked at: " + err.Error())
			return
		}
		for _, gvk := range childKinds {
			g.followKind(ctx, session, gvk, ns)
		}
	}
}

// followKind watches one kind in one namespace, once the delivery's identity has
// shown that it may list it.
func (g *graph) followKind(ctx context.Context, session *cluster.Session, gvk schema.GroupVersionKind, namespace string) {
	kind, err := session.Cluster().Resolve(ctx, gvk)
	if err == nil {
		_, err = session.List(ctx, kind, cluster.ListOptions{Namespace: namespace}, func(o *unstructured.Unstructured) error {
			g.keep(o)
			return nil
		})
	}
	switch {
	case apierrors.IsForbidden(err):
		g.tell(fmt.Sprintf("%s in %s are not shown: the delivery's service account may not list them", gvk.Kind, namespace))
		return
	case err != nil:
		g.tell(fmt.Sprintf("%s in %s cannot be listed now", gvk.Kind, namespace))
		return
	}
	session.Cluster().Watch(ctx, cluster.WatchSpec{GVK: gvk, Namespace: namespace}, graphWatch{g})
}

func (g *graph) tell(note string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.note = note
}

// keep remembers a child, without what nobody looks at.
func (g *graph) keep(o *unstructured.Unstructured) {
	if metav1.GetControllerOf(o) == nil {
		return
	}
	slim := &unstructured.Unstructured{Object: map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind()}}
	for _, part := range []string{"metadata", "status", "spec"} {
		if value, ok := o.Object[part]; ok {
			slim.Object[part] = value
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.children) < 2*maxNodes {
		g.children[o.GetUID()] = slim
	}
}

// graphWatch follows children.
type graphWatch struct{ g *graph }

// Event keeps what was told and wakes the viewer.
func (w graphWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	if typ == watch.Deleted {
		w.g.mu.Lock()
		delete(w.g.children, o.GetUID())
		w.g.mu.Unlock()
	} else {
		w.g.keep(o)
	}
	w.wake()
}

// Synced wakes the viewer.
func (w graphWatch) Synced() { w.wake() }

// Gone leaves the graph as it was last seen.
func (w graphWatch) Gone(error) { w.wake() }

func (w graphWatch) wake() {
	select {
	case w.g.changed <- struct{}{}:
	default:
	}
}

// nodes are the graph as it is now, by ID.
func (g *graph) nodes(ctx context.Context, k *engine.Known) map[string]*plumbv1.Node {
	row, _ := g.server.deliveries.Get(g.id)
	root := &plumbv1.Node{Id: nodeID(g.id), Object: row.GetRef(), Sync: row.GetSync(), Health: row.GetHealth(), Created: row.GetCreated(), Delivery: true}
	out := map[string]*plumbv1.Node{root.GetId(): root}
	above := map[types.UID]string{} // objects that children may belong to
	named := map[object.ID]string{}
	for i := range k.Objects {
		o := &k.Objects[i]
		if len(out) == maxNodes {
			g.tell(fmt.Sprintf("only the first %d objects are shown", maxNodes))
			break
		}
		n := g.delivered(ctx, o, root.GetId())
		out[n.GetId()] = n
		switch {
		case !o.Foreign.IsZero(): // what hangs below it is its owner's
		case o.UID != "":
			above[types.UID(o.UID)] = n.GetId()
		default:
			named[o.ID] = n.GetId()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, gvk := range childKinds {
		for uid, child := range g.children {
			if child.GroupVersionKind().GroupKind() != gvk.GroupKind() || len(out) == maxNodes {
				continue
			}
			owner := metav1.GetControllerOf(child)
			parent := above[owner.UID]
			if parent == "" {
				gv, _ := schema.ParseGroupVersion(owner.APIVersion)
				parent = named[object.ID{Group: gv.Group, Kind: owner.Kind, Namespace: child.GetNamespace(), Name: owner.Name}]
			}
			if parent == "" || g.idle(child) {
				continue
			}
			n := g.child(child, parent)
			out[n.GetId()] = n
			above[uid] = n.GetId()
		}
	}
	return out
}

// idle reports whether a child is an old ReplicaSet that runs nothing.
func (g *graph) idle(o *unstructured.Unstructured) bool {
	if o.GetKind() != "ReplicaSet" {
		return false
	}
	wanted, found, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
	has, _, _ := unstructured.NestedInt64(o.Object, "status", "replicas")
	return found && wanted == 0 && has == 0
}

func nodeID(id object.ID) string {
	return id.Group + "/" + id.Kind + "/" + id.Namespace + "/" + id.Name
}

// delivered is the node of an object of the delivery.
func (g *graph) delivered(ctx context.Context, o *engine.KnownObject, parent string) *plumbv1.Node {
	n := &plumbv1.Node{
		Id: nodeID(o.ID), Object: rows.Ref(o.ID, o.Version), Parents: []string{parent}, Delivered: true, Sync: string(o.Sync),
		Health: rows.HealthOf(o.Health), Prune: !o.Wanted, Hook: resourceOf(o).GetHook(), Delivery: g.server.kinds[o.ID.GroupKind()].delivery,
		Logs: parents[o.ID.GroupKind()] && o.Foreign.IsZero(),
	}
	if n.GetDelivery() {
		row, ok := g.server.deliveries.Get(o.ID)
		if ok && callerOf(ctx).May(ctx, policy.Get, g.server.target(row.GetRef())).Allowed {
			n.Health = row.GetHealth()
		}
	}
	if o.Stage.Wave != 0 {
		n.Info = append(n.Info, "wave "+strconv.Itoa(o.Stage.Wave))
	}
	return n
}

// child is the node of what the cluster made.
func (g *graph) child(o *unstructured.Unstructured, parent string) *plumbv1.Node {
	id := object.Of(o)
	n := &plumbv1.Node{
		Id: nodeID(id), Object: rows.Ref(id, o.GroupVersionKind().Version), Parents: []string{parent}, Created: rows.At(o.GetCreationTimestamp().Time),
		Health: rows.HealthOf(g.world.Engine.HealthOf(g.id, o)), Logs: true,
	}
	switch id.Kind {
	case "Pod":
		n.Info, n.Images = podFacts(o)
	case "ReplicaSet":
		ready, _, _ := unstructured.NestedInt64(o.Object, "status", "readyReplicas")
		wanted, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
		n.Info = append(n.Info, fmt.Sprintf("%d/%d ready", ready, wanted))
		if revision := o.GetAnnotations()["deployment.kubernetes.io/revision"]; revision != "" {
			n.Info = append(n.Info, "revision "+revision)
		}
	}
	return n
}

// podFacts are what people want to know of a Pod at a glance.
func podFacts(o *unstructured.Unstructured) (facts, images []string) {
	statuses, _, _ := unstructured.NestedSlice(o.Object, "status", "containerStatuses")
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "containers")
	ready, restarts := 0, int64(0)
	for _, item := range statuses {
		if c, ok := item.(map[string]any); ok {
			if is, _ := c["ready"].(bool); is {
				ready++
			}
			n, _ := c["restartCount"].(int64)
			restarts += n
		}
	}
	facts = append(facts, fmt.Sprintf("%d/%d ready", ready, len(containers)))
	if restarts > 0 {
		facts = append(facts, fmt.Sprintf("%d restarts", restarts))
	}
	if node, _, _ := unstructured.NestedString(o.Object, "spec", "nodeName"); node != "" {
		facts = append(facts, node)
	}
	for _, item := range containers {
		if c, ok := item.(map[string]any); ok {
			if image, _ := c["image"].(string); image != "" {
				images = append(images, image)
			}
		}
	}
	return facts, images
}
