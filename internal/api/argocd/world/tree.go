package world

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// below are the kinds that the cluster makes of what is delivered, from the top.
var below = []schema.GroupVersionKind{
	{Group: "batch", Version: "v1", Kind: "Job"}, {Group: "apps", Version: "v1", Kind: "ReplicaSet"}, {Version: "v1", Kind: "Pod"},
}

// makes are the kinds of which the cluster makes such.
var makes = map[schema.GroupKind]bool{
	{Group: "apps", Kind: "Deployment"}: true, {Group: "apps", Kind: "StatefulSet"}: true, {Group: "apps", Kind: "DaemonSet"}: true,
	{Group: "apps", Kind: "ReplicaSet"}: true, {Group: "batch", Kind: "Job"}: true, {Group: "batch", Kind: "CronJob"}: true,
	{Kind: "ReplicationController"}: true, {Group: "argoproj.io", Kind: "Rollout"}: true,
}

// Bounds of a tree.
const (
	maxNodes      = 5000
	maxNamespaces = 50
)

// Tree is what an Application owns, down to Pods.
func (w *world) Tree(ctx context.Context, app *unstructured.Unstructured) (map[string]any, error) {
	e, known, err := w.known(app)
	if err != nil {
		return nil, err
	}
	session, err := e.Session(idOf(app))
	if err != nil {
		return nil, err
	}
	id := idOf(app)
	t := &tree{refs: map[types.UID]map[string]any{}, judge: func(o *unstructured.Unstructured) model.Health { return e.HealthOf(id, o) }}
	var namespaces []string
	for i := range known.Objects {
		o := &known.Objects[i]
		t.own(o)
		if ns := o.ID.Namespace; makes[o.ID.GroupKind()] && o.UID != "" && ns != "" && !slices.Contains(namespaces, ns) && len(namespaces) < maxNamespaces {
			namespaces = append(namespaces, ns)
		}
	}
	for _, ns := range namespaces {
		for _, gvk := range below {
			kind, err := session.Cluster().Resolve(ctx, gvk)
			if err != nil {
				return nil, err
			}
			_, err = session.List(ctx, kind, cluster.ListOptions{Namespace: ns}, func(o *unstructured.Unstructured) error {
				t.child(o)
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("list %s in %s: %w", gvk.Kind, ns, err)
			}
		}
	}
	return map[string]any{"nodes": t.nodes}, nil
}

// tree is being put together.
type tree struct {
	judge func(*unstructured.Unstructured) model.Health
	nodes []any
	refs  map[types.UID]map[string]any // of what is in it
}

// own adds an object that the Application delivers.
func (t *tree) own(o *engine.KnownObject) {
	if !o.Wanted && !o.Owned {
		return
	}
	node := map[string]any{"group": o.ID.Group, "version": o.Version, "kind": o.ID.Kind, "namespace": o.ID.Namespace, "name": o.ID.Name, "uid": o.UID}
	if o.UID != "" {
		t.refs[types.UID(o.UID)] = refOf(node)
	}
	if health := healthOf(o.Health); health != nil {
		node["health"] = health
	}
	if len(o.Links) > 0 {
		links := make([]any, len(o.Links))
		for i, l := range o.Links {
			links[i] = l
		}
		node["networkingInfo"] = map[string]any{"externalURLs": links}
	}
	t.nodes = append(t.nodes, node)
}

func refOf(node map[string]any) map[string]any {
	ref := map[string]any{}
	for _, field := range []string{"group", "version", "kind", "namespace", "name", "uid"} {
		ref[field] = node[field]
	}
	return ref
}

// child adds what the cluster made of something in the tree.
func (t *tree) child(o *unstructured.Unstructured) {
	owner := metav1.GetControllerOf(o)
	if owner == nil || t.refs[owner.UID] == nil || t.refs[o.GetUID()] != nil || len(t.nodes) >= maxNodes {
		return
	}
	gvk := o.GroupVersionKind()
	node := map[string]any{
		"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind, "namespace": o.GetNamespace(), "name": o.GetName(), "uid": string(o.GetUID()),
		"parentRefs": []any{t.refs[owner.UID]}, "resourceVersion": o.GetResourceVersion(),
		"createdAt": o.GetCreationTimestamp().UTC().Format(time.RFC3339),
	}
	t.refs[o.GetUID()] = refOf(node)
	if health := healthOf(t.judge(o)); health != nil {
		node["health"] = health
	}
	if gvk.Kind == "Pod" {
		node["images"], node["info"] = images(o), podInfo(o)
	}
	if gvk.Kind == "ReplicaSet" {
		node["info"] = revisionInfo(o)
	}
	t.nodes = append(t.nodes, node)
}

// healthOf is health in Argo CD's words; nil for none.
func healthOf(h model.Health) map[string]any {
	word := map[model.Healthiness]string{
		model.Current: "Healthy", model.Paused: "Suspended", model.InProgress: "Progressing", model.Terminating: "Progressing",
		model.NotFound: "Missing", model.Unhealthy: "Degraded", model.Unknown: "Unknown",
	}[h.State]
	if word == "" {
		return nil
	}
	out := map[string]any{"status": word}
	if h.Message != "" {
		out["message"] = h.Message
	}
	return out
}

func images(pod *unstructured.Unstructured) []any {
	var out []any
	for _, list := range []string{"initContainers", "containers"} {
		items, _, _ := unstructured.NestedSlice(pod.Object, "spec", list)
		for _, item := range items {
			if c, ok := item.(map[string]any); ok && c["image"] != nil && !slices.Contains(out, c["image"]) {
				out = append(out, c["image"])
			}
		}
	}
	return out
}

// podInfo is what a table of Pods shows (controller/cache populatePodInfo, in
// short).
func podInfo(pod *unstructured.Unstructured) []any {
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	statuses, _, _ := unstructured.NestedSlice(pod.Object, "status", "containerStatuses")
	containers, _, _ := unstructured.NestedSlice(pod.Object, "spec", "containers")
	ready, restarts := 0, int64(0)
	for _, item := range statuses {
		c, _ := item.(map[string]any)
		if c["ready"] == true {
			ready++
		}
		n, _ := c["restartCount"].(int64)
		restarts += n
		if reason, _, _ := unstructured.NestedString(c, "state", "waiting", "reason"); reason != "" {
			phase = reason
		}
	}
	if pod.GetDeletionTimestamp() != nil {
		phase = "Terminating"
	}
	var out []any
	add := func(name, value string) {
		if value != "" {
			out = append(out, map[string]any{"name": name, "value": value})
		}
	}
	add("Status Reason", phase)
	node, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName")
	add("Node", node)
	add("Containers", fmt.Sprintf("%d/%d", ready, len(containers)))
	if restarts > 0 {
		add("Restart Count", fmt.Sprint(restarts))
	}
	return out
}

func revisionInfo(rs *unstructured.Unstructured) []any {
	revision := rs.GetAnnotations()["deployment.kubernetes.io/revision"]
	if revision == "" {
		return nil
	}
	return []any{map[string]any{"name": "Revision", "value": "Rev:" + strings.TrimSpace(revision)}}
}

// looks is how often a tree is looked at for somebody who watches it.
const looks = 2 * time.Second

// WatchTree hands over the tree whenever it is another one. It looks every two
// seconds, for as long as somebody watches; whoever watches the same one shares the
// look.
func (w *world) WatchTree(ctx context.Context, app *unstructured.Unstructured, each func(map[string]any) error) error {
	clock := time.NewTicker(looks)
	defer clock.Stop()
	shared, leave := w.watched.join(idOf(app))
	defer leave()
	var sent map[string]any
	for {
		now, err := shared.look(ctx, func() (map[string]any, error) { return w.Tree(ctx, app) })
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !reflect.DeepEqual(now, sent):
			if err := each(now); err != nil {
				return err
			}
			sent = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-clock.C:
		}
	}
}

// watched are the trees that somebody watches.
type watched struct {
	mu sync.Mutex
	of map[object.ID]*sharedTree
}

// sharedTree is one of them, as it was when somebody last looked.
type sharedTree struct {
	watchers int // watched.mu guards it

	mu   sync.Mutex
	at   time.Time
	tree map[string]any
}

func (w *watched) join(id object.ID) (t *sharedTree, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t = w.of[id]; t == nil {
		t = &sharedTree{}
		if w.of == nil {
			w.of = map[object.ID]*sharedTree{}
		}
		w.of[id] = t
	}
	t.watchers++
	return t, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if t.watchers--; t.watchers == 0 {
			delete(w.of, id)
		}
	}
}

// look is the tree, not older than half of what lies between two looks. Who comes
// while somebody looks waits for what they see.
func (t *sharedTree) look(ctx context.Context, do func() (map[string]any, error)) (map[string]any, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if t.tree != nil && time.Since(t.at) < looks/2 {
		return t.tree, nil
	}
	tree, err := do()
	if err == nil {
		t.at, t.tree = time.Now(), tree
	}
	return tree, err
}
