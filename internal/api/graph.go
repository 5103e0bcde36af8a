package api

import (
	"cmp"
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

	"plumb.dev/plumb/internal/api/access"
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
	g := newGraph(s.Server, w, id)
	defer g.looks.leave()
	sent := map[string]*plumbv1.Node{}
	for first := true; ; first = false {
		known, ok := w.Engine.Known(id)
		if !ok {
			return connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", id))
		}
		g.follow(ctx, &known)
		g.look(&known)
		nodes := g.nodes(ctx, &known)
		if message := delta(sent, nodes, first); message != nil {
			message.Note = g.noted()
			if err := out.Send(message); err != nil {
				return err
			}
		}
		sent = nodes
		if !g.await(ctx) {
			return nil
		}
	}
}

// await waits until something may look different; false when the caller has
// gone.
func (g *graph) await(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-g.looks.woken:
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
	server *Server
	world  *World
	id     object.ID
	looks  *onlooker
	health func(*unstructured.Unstructured) *plumbv1.Health // of a child, in the words of the delivery

	mu       sync.Mutex
	children map[types.UID]*child        // that have a controller
	facts    map[object.ID]*plumbv1.Node // what is told of other objects that have Pods; nothing else is set
	above    map[types.UID]string        // nodes by the UID of their object, as they were sent last
	named    map[object.ID]string        // nodes of delivered objects whose UID is not known
	watched  map[string]bool             // namespaces whose children are followed
	note     string
}

// child is what a graph shows of an object that the cluster made, and nothing
// else of it: a viewer of a large namespace would hold all of its Pods.
type child struct {
	kind  schema.GroupKind
	owner types.UID
	by    object.ID     // the owner by its name
	idle  bool          // an old ReplicaSet that runs nothing
	node  *plumbv1.Node // its parent is found when the graph is put together
}

func newGraph(s *Server, w *World, id object.ID) *graph {
	g := &graph{
		server: s, world: w, id: id, looks: s.onlookers.join(),
		children: map[types.UID]*child{}, facts: map[object.ID]*plumbv1.Node{}, above: map[types.UID]string{}, named: map[object.ID]string{}, watched: map[string]bool{},
	}
	g.health = func(o *unstructured.Unstructured) *plumbv1.Health { return rows.HealthOf(w.Engine.HealthOf(id, o)) }
	g.looks.look(id)
	return g
}

func (g *graph) noted() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.note
}

// look makes sure that the viewer is woken by what the graph shows of rows: its
// own, and those of the deliveries among its objects.
func (g *graph) look(k *engine.Known) {
	ids := []object.ID{g.id}
	for i := range k.Objects {
		if id := k.Objects[i].ID; g.server.kinds[id.GroupKind()].delivery {
			ids = append(ids, id)
		}
	}
	g.looks.look(ids...)
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
		for _, gvk := range slices.Concat(childKinds, workloadKinds) {
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
	case err != nil && slices.Contains(workloadKinds, gvk): // they are shown without facts
		return
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

// keep remembers what is shown of a child. It reports whether the viewer may see
// a difference: most of a namespace belongs to others.
func (g *graph) keep(o *unstructured.Unstructured) (shown bool) {
	owner := metav1.GetControllerOf(o)
	if owner == nil || slices.Contains(workloadKinds, o.GroupVersionKind()) {
		return g.keepFacts(o)
	}
	gv, _ := schema.ParseGroupVersion(owner.APIVersion)
	c := &child{
		kind: o.GroupVersionKind().GroupKind(), owner: owner.UID, idle: idle(o), node: g.child(o),
		by: object.ID{Group: gv.Group, Kind: owner.Kind, Namespace: o.GetNamespace(), Name: owner.Name},
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	uid := o.GetUID()
	shown = g.above[uid] != "" || g.above[c.owner] != "" || g.named[c.by] != ""
	if was := g.children[uid]; was == nil && len(g.children) >= 2*maxNodes {
		if !shown || !g.evict() {
			return false
		}
	} else if was != nil && was.same(c) {
		return false
	}
	g.children[uid] = c
	return shown
}

// same reports whether nothing that is shown of a child has changed.
func (c *child) same(other *child) bool {
	return c.owner == other.owner && c.by == other.by && c.idle == other.idle && proto.Equal(bare(c.node), bare(other.node))
}

// bare is a node without its place in the graph.
func bare(n *plumbv1.Node) *plumbv1.Node {
	if len(n.GetParents()) == 0 {
		return n
	}
	return below(n, nil)
}

// below copies a node to another place in the graph: the one that is there may be
// on its way to the viewer.
func below(n *plumbv1.Node, parents []string) *plumbv1.Node {
	out := proto.CloneOf(n)
	out.Parents = parents
	return out
}

// evict makes room for a child that is shown by forgetting one that is not. The
// caller holds g.mu.
func (g *graph) evict() bool {
	for uid, c := range g.children {
		if g.above[uid] == "" && g.above[c.owner] == "" {
			delete(g.children, uid)
			return true
		}
	}
	return false
}

// forget drops a child that is gone, and reports whether it was shown.
func (g *graph) forget(id object.ID, uid types.UID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.children, uid)
	delete(g.facts, id)
	return g.above[uid] != ""
}

// graphWatch follows children.
type graphWatch struct{ g *graph }

// Event keeps what was told, and wakes the viewer if it is about what is shown.
func (w graphWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	var seen bool
	if typ == watch.Deleted {
		seen = w.g.forget(object.Of(o), o.GetUID())
	} else {
		seen = w.g.keep(o)
	}
	if seen {
		w.g.looks.wake()
	}
}

// Synced wakes the viewer.
func (w graphWatch) Synced() { w.g.looks.wake() }

// Gone leaves the graph as it was last seen.
func (w graphWatch) Gone(error) {}

// nodes are the graph as it is now, by ID.
func (g *graph) nodes(ctx context.Context, k *engine.Known) map[string]*plumbv1.Node {
	row, _ := g.server.deliveries.Get(g.id)
	caller := g.server.guard.Caller(callerOf(ctx).Principal) // under the policy as it is now
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
		n := g.delivered(ctx, caller, o, root.GetId())
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
		for uid, c := range g.children {
			if c.kind != gvk.GroupKind() || len(out) == maxNodes {
				continue
			}
			parent := cmp.Or(above[c.owner], named[c.by])
			if parent == "" || c.idle {
				continue
			}
			if !slices.Equal(c.node.GetParents(), []string{parent}) {
				c.node = below(c.node, []string{parent})
			}
			out[c.node.GetId()] = c.node
			above[uid] = c.node.GetId()
		}
	}
	g.above, g.named = above, named
	return out
}

// idle reports whether a child is an old ReplicaSet that runs nothing.
func idle(o *unstructured.Unstructured) bool {
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
func (g *graph) delivered(ctx context.Context, caller *access.Caller, o *engine.KnownObject, parent string) *plumbv1.Node {
	n := &plumbv1.Node{
		Id: nodeID(o.ID), Object: rows.Ref(o.ID, o.Version), Parents: []string{parent}, Delivered: true, Sync: string(o.Sync),
		Health: rows.HealthOf(o.Health), Prune: !o.Wanted, Hook: resourceOf(o).GetHook(), Delivery: g.server.kinds[o.ID.GroupKind()].delivery,
		Logs: parents[o.ID.GroupKind()] && o.Foreign.IsZero(),
	}
	if n.GetDelivery() {
		row, ok := g.server.deliveries.Get(o.ID)
		if ok && caller.May(ctx, policy.Get, g.server.target(row.GetRef())).Allowed {
			n.Health = row.GetHealth()
		}
	}
	if o.Stage.Wave != 0 {
		n.Info = append(n.Info, "wave "+strconv.Itoa(o.Stage.Wave))
	}
	g.adorn(n, o)
	return n
}

// child is the node of what the cluster made, without its parent.
func (g *graph) child(o *unstructured.Unstructured) *plumbv1.Node {
	id := object.Of(o)
	n := &plumbv1.Node{
		Id: nodeID(id), Object: rows.Ref(id, o.GroupVersionKind().Version), Created: rows.At(o.GetCreationTimestamp().Time),
		Health: g.health(o), Logs: true,
	}
	tellFacts(n, o)
	return n
}
