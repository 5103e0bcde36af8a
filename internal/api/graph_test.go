package api

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
)

// viewerOf looks at a delivery with one Deployment, whose UID is known.
func viewerOf(t testing.TB) (*graph, *engine.Known) {
	t.Helper()
	s := matrixServer(t)
	g := newGraph(s, &World{}, rowsID("Application", "argocd", "web"))
	g.health = func(o *unstructured.Unstructured) *plumbv1.Health {
		phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
		return &plumbv1.Health{State: phase}
	}
	known := &engine.Known{Objects: []engine.KnownObject{
		{ID: object.ID{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}, Version: "v1", UID: "deployment", Wanted: true},
		{ID: rowsID("Application", "argocd", "db"), Version: "v1alpha1", UID: "app", Wanted: true},
	}}
	g.look(known)
	return g, known
}

func asAdmin(s *Server) context.Context {
	return context.WithValue(context.Background(), callerKey{}, s.guard.Caller(callers[0].who))
}

// madeBy is an object that a controller has made, as large as they are.
func madeBy(kind, uid, owner, phase string) *unstructured.Unstructured {
	version, above := "v1", "ReplicaSet"
	if kind == "ReplicaSet" {
		version, above = "apps/v1", "Deployment"
	}
	text, _ := json.Marshal(map[string]any{
		"apiVersion": version, "kind": kind,
		"metadata": map[string]any{
			"name": uid, "namespace": "shop", "uid": uid, "resourceVersion": "1", "labels": map[string]string{"app": "web", "pod-template-hash": "0123456789"},
			"annotations":     map[string]string{"big": strings.Repeat("an annotation ", 100)},
			"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": above, "name": owner, "uid": owner, "controller": true}},
			"managedFields":   []any{map[string]any{"manager": "kubelet", "fieldsV1": map[string]any{"f:status": strings.Repeat("f", 2000)}}},
		},
		"spec": map[string]any{"nodeName": "node-1", "containers": []any{map[string]any{
			"name": "web", "image": "ghcr.io/example/web:1.2.3", "env": []any{map[string]any{"name": "TOKEN", "value": "canary-7777"}}, "args": strings.Fields(strings.Repeat("--flag=value ", 40)),
		}}},
		"status": map[string]any{"phase": phase, "message": strings.Repeat("a message ", 100), "containerStatuses": []any{
			map[string]any{"name": "web", "ready": true, "restartCount": 3, "imageID": strings.Repeat("i", 500)},
		}},
	})
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(text); err != nil {
		panic(err)
	}
	return o
}

func (g *graph) isWoken() bool {
	select {
	case <-g.looks.woken:
		return true
	default:
		return false
	}
}

// TestAGraphShowsWhatTheClusterMade down to Pods, and is woken by what it shows
// and by nothing else.
func TestAGraphShowsWhatTheClusterMade(t *testing.T) {
	g, known := viewerOf(t)
	w := graphWatch{g}
	now := func() map[string]*plumbv1.Node { return g.nodes(asAdmin(g.server), known) }
	now()
	w.Event(watch.Added, madeBy("Pod", "web-1-a", "web-1", "Pending")) // before what made it
	w.Event(watch.Added, madeBy("ReplicaSet", "others-1", "others", ""))
	w.Event(watch.Added, madeBy("Pod", "others-1-a", "others-1", "Running"))
	if g.isWoken() || len(now()) != 3 {
		t.Fatalf("what others have wakes it: %v", now())
	}
	w.Event(watch.Added, madeBy("ReplicaSet", "web-1", "deployment", ""))
	first := now()
	pod := first["/Pod/shop/web-1-a"]
	if !g.isWoken() || len(first) != 5 || pod == nil || first["apps/ReplicaSet/shop/web-1"] == nil {
		t.Fatalf("what it has: %v", first)
	}
	if got := strings.Join(strings.Fields(prototext.Format(pod)), " "); !strings.Contains(got, `parents: "apps/ReplicaSet/shop/web-1"`) || !strings.Contains(got, `"3 restarts"`) || !strings.Contains(got, "web:1.2.3") || !strings.Contains(got, "Pending") {
		t.Errorf("the Pod is %s", got)
	}
	for _, c := range []struct {
		name  string
		do    func()
		wakes bool
	}{
		{"the same again", func() { w.Event(watch.Modified, madeBy("Pod", "web-1-a", "web-1", "Pending")) }, false},
		{"another's Pod", func() { w.Event(watch.Modified, madeBy("Pod", "others-1-a", "others-1", "Failed")) }, false},
		{"another's Pod goes", func() { w.Event(watch.Deleted, madeBy("Pod", "others-1-a", "others-1", "Failed")) }, false},
		{"another delivery", func() { g.server.onlookers.wake(rowsID("Kustomization", "team", "apps")) }, false},
		{"a delivery among them", func() { g.server.onlookers.wake(rowsID("Application", "argocd", "db")) }, true},
		{"the delivery", func() { g.server.onlookers.wake(g.id) }, true},
		{"a Pod that has changed", func() { w.Event(watch.Modified, madeBy("Pod", "web-1-a", "web-1", "Running")) }, true},
		{"a new Pod", func() { w.Event(watch.Added, madeBy("Pod", "web-1-b", "web-1", "Pending")) }, true},
	} {
		g.isWoken()
		if c.do(); g.isWoken() != c.wakes {
			t.Errorf("%s wakes it: %v", c.name, !c.wakes)
		}
		now()
	}
	if pod.GetHealth().GetState() != "Pending" || now()["/Pod/shop/web-1-a"].GetHealth().GetState() != "Running" {
		t.Error("a node that was sent has changed, or one that has changed is not sent")
	}
	w.Event(watch.Deleted, madeBy("Pod", "web-1-a", "web-1", "Running"))
	if !g.isWoken() || now()["/Pod/shop/web-1-a"] != nil {
		t.Error("a Pod that is gone is shown")
	}
	g.looks.leave()
	g.server.onlookers.wake(g.id)
	if g.isWoken() || len(g.server.onlookers.of) > 0 {
		t.Errorf("who has gone is woken: %v", g.server.onlookers.of)
	}
}

// TestAGraphKeepsNothingElse: not what a Pod is given, and not more of others than
// its bound, behind which its own still find a place.
func TestAGraphKeepsNothingElse(t *testing.T) {
	g, known := viewerOf(t)
	g.nodes(asAdmin(g.server), known)
	for i := range 2*maxNodes + 10 {
		uid := fmt.Sprint("others-", i)
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{
			"name": uid, "namespace": "shop", "uid": uid,
			"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "x", "controller": true}},
		}}}
		g.keep(o)
	}
	g.keep(madeBy("ReplicaSet", "web-1", "deployment", ""))
	g.nodes(asAdmin(g.server), known)
	g.keep(madeBy("Pod", "web-1-a", "web-1", "Running"))
	if n := len(g.children); n > 2*maxNodes {
		t.Errorf("%d children are kept", n)
	}
	if g.nodes(asAdmin(g.server), known)["/Pod/shop/web-1-a"] == nil {
		t.Error("what others have keeps out its own")
	}
	for _, c := range g.children {
		if text := fmt.Sprintf("%+v %s", c, prototext.Format(c.node)); strings.Contains(text, "canary") || strings.Contains(text, "annotation") {
			t.Fatalf("a child keeps %s", text)
		}
	}
}

// BenchmarkViewer reports what one viewer of a delivery holds, beside the objects
// that are watched, with 500 Pods of its own and 1,500 of others in its namespace.
func BenchmarkViewer(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		g, known := viewerOf(b)
		g.keep(madeBy("ReplicaSet", "web-1", "deployment", ""))
		g.nodes(asAdmin(g.server), known)
		before := heap()
		for i := range 2000 {
			owner := "web-1"
			if i%4 != 0 {
				owner = "others"
			}
			g.keep(madeBy("Pod", fmt.Sprint("pod-", i), owner, "Running"))
		}
		sent := g.nodes(asAdmin(g.server), known)
		b.ReportMetric(float64(heap()-before)/(1<<10), "KiB/viewer")
		start := time.Now()
		g.nodes(asAdmin(g.server), known)
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/look")
		runtime.KeepAlive(sent)
		runtime.KeepAlive(g)
	}
}
