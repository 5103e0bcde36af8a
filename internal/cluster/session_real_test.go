package cluster

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/clientcmd"

	"plumb.dev/plumb/internal/controlplane"
	"plumb.dev/plumb/internal/model"
)

func cm(ns, name, data string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"labels":{"team":"red"},"name":%q,"namespace":%q},"data":{"a":%q}}`, name, ns, data)
}

func TestSessionReadsAndWrites(t *testing.T) {
	c := realSet(t, Options{}).Local()
	ns, ctx, s := newNamespace(t, c), testContext(t), c.As(noIdentity)
	kind := mustKind(t, c, "v1", "ConfigMap")

	predicted, err := s.Apply(ctx, kind, cm(ns, "x", "1"), ApplyOptions{Manager: "m", DryRun: true})
	if err != nil || predicted.GetUID() == "" {
		t.Fatal(predicted, err)
	}
	if _, err := s.Get(ctx, kind, ns, "x"); !apierrors.IsNotFound(err) {
		t.Fatalf("a prediction was stored: %v", err)
	}
	first, err := s.Apply(ctx, kind, cm(ns, "x", "1"), ApplyOptions{Manager: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if m := first.GetManagedFields(); len(m) != 1 || m[0].Manager != "m" || m[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Fatalf("%v", m)
	}
	again, err := s.Apply(ctx, kind, cm(ns, "x", "1"), ApplyOptions{Manager: "m"})
	if err != nil || again.GetResourceVersion() != first.GetResourceVersion() {
		t.Fatalf("applying the same wrote: %v", err)
	}
	patched, err := s.Background().Patch(ctx, kind, ns, "x", PatchOptions{Manager: "editor"}, []byte(`{"data":{"a":"2"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if v, _, _ := unstructured.NestedString(patched.Object, "data", "a"); v != "2" {
		t.Fatal(patched)
	}
	if _, err := s.Apply(ctx, kind, cm(ns, "x", "3"), ApplyOptions{Manager: "m"}); !slices.Equal(Conflicts(err), []Conflict{{"editor", ".data.a"}}) {
		t.Fatalf("%v %v", Conflicts(err), err)
	}
	if _, err := s.Update(ctx, kind, first, WriteOptions{Manager: "editor"}); !apierrors.IsConflict(err) {
		t.Fatalf("an update of a stale object: %v", err)
	}

	for name, opts := range map[string]DeleteOptions{"uid": {UID: "other"}, "version": {ResourceVersion: first.GetResourceVersion()}} {
		if err := s.Delete(ctx, kind, ns, "x", opts); !apierrors.IsConflict(err) {
			t.Errorf("deleted against its %s: %v", name, err)
		}
	}
	if err := s.Delete(ctx, kind, ns, "x", DeleteOptions{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, kind, ns, "x", DeleteOptions{UID: string(first.GetUID()), Propagation: metav1.DeletePropagationBackground}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, kind, ns, "x", DeleteOptions{}); !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}

func TestSubresources(t *testing.T) {
	c := realSet(t, Options{}).Local()
	ns, ctx, s := newNamespace(t, c), testContext(t), c.As(noIdentity)
	kind := mustKind(t, c, "apps/v1", "Deployment")
	if _, err := s.Apply(ctx, kind, fmt.Appendf(nil, deployment, "web", ns), ApplyOptions{Manager: "m"}); err != nil {
		t.Fatal(err)
	}
	got, err := s.ApplyNamed(ctx, kind, ns, "web", fmt.Appendf(nil, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":%q},"status":{"conditions":[{"type":"Custom","status":"True"}]}}`, ns), PatchOptions{Subresource: "status", Manager: "m", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if m := got.GetManagedFields(); !slices.ContainsFunc(m, func(e metav1.ManagedFieldsEntry) bool { return e.Subresource == "status" && e.Manager == "m" }) {
		t.Errorf("%v", m)
	}
	account := mustKind(t, c, "v1", "ServiceAccount")
	if _, err := s.Apply(ctx, account, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"robot","namespace":%q}}`, ns), ApplyOptions{Manager: "m"}); err != nil {
		t.Fatal(err)
	}
	token, err := s.Create(ctx, account, fromJSON(t, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","metadata":{"name":"robot","namespace":"`+ns+`"},"spec":{"audiences":["x"]}}`), WriteOptions{Subresource: "token"})
	if v, _, _ := unstructured.NestedString(token.Object, "status", "token"); err != nil || v == "" {
		t.Error("no token", err)
	}
}

func TestListInPages(t *testing.T) {
	c := realSet(t, Options{}).Local()
	ns, ctx, s := newNamespace(t, c), testContext(t), c.As(noIdentity)
	kind := mustKind(t, c, "v1", "ConfigMap")
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("c%d", i)
		want = append(want, name)
		if _, err := s.Apply(ctx, kind, cm(ns, name, "1"), ApplyOptions{Manager: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, meta := range []bool{false, true} {
		var got []string
		rv, err := s.List(ctx, kind, ListOptions{Namespace: ns, LabelSelector: "team=red", MetadataOnly: meta, PageSize: 3}, func(o *unstructured.Unstructured) error {
			got = append(got, o.GetName())
			_, data := o.Object["data"]
			if o.GetKind() != "ConfigMap" || o.GetAPIVersion() != "v1" || data == meta || (len(o.GetManagedFields()) == 0) != meta {
				t.Errorf("metadata %t: %v", meta, o)
			}
			return nil
		})
		sort.Strings(got)
		if err != nil || rv == "" || !slices.Equal(got, want) {
			t.Errorf("metadata %t: %v %v", meta, got, err)
		}
	}
}

func TestSessionsActAsTheirIdentity(t *testing.T) {
	c := realSet(t, Options{}).Local()
	ns, ctx := newNamespace(t, c), testContext(t)
	kind := mustKind(t, c, "v1", "ConfigMap")
	who := c.As(model.Identity{Namespace: ns, ServiceAccount: "deployer"})
	if _, err := who.Apply(ctx, kind, cm(ns, "x", "1"), ApplyOptions{Manager: "m"}); !apierrors.IsForbidden(err) {
		t.Fatalf("without permission: %v", err)
	}
	self := c.As(noIdentity)
	for _, text := range []string{
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"d","namespace":"NS"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","create","patch"]}]}`,
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"d","namespace":"NS"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"d"},"subjects":[{"kind":"ServiceAccount","name":"deployer","namespace":"NS"}]}`,
	} {
		text = strings.ReplaceAll(text, "NS", ns)
		k := mustKind(t, c, "rbac.authorization.k8s.io/v1", fromJSON(t, text).GetKind())
		if _, err := self.Apply(ctx, k, []byte(text), ApplyOptions{Manager: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	// The authorizer learns of the role by a watch of its own.
	for {
		_, err := who.Apply(ctx, kind, cm(ns, "x", "1"), ApplyOptions{Manager: "m"})
		if err == nil {
			break
		}
		if !apierrors.IsForbidden(err) || ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if err := who.Delete(ctx, kind, ns, "x", DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("it may do more: %v", err)
	}
}

func TestWatchOnARealServer(t *testing.T) {
	c := realSet(t, Options{}).Local()
	ns, ctx, s := newNamespace(t, c), testContext(t), c.As(noIdentity)
	kind := mustKind(t, c, "v1", "ConfigMap")
	apply := func(name, data string) {
		t.Helper()
		if _, err := s.Apply(ctx, kind, cm(ns, name, data), ApplyOptions{Manager: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	apply("before", "1")
	full, meta := newRecorder(), newRecorder()
	meta.note = func(_ watch.EventType, o *unstructured.Unstructured) string {
		_, data := o.Object["data"]
		return fmt.Sprintf("%s data=%t managed=%d", o.GetKind(), data, len(o.GetManagedFields()))
	}
	spec := WatchSpec{GVK: kind.GVK, Namespace: ns, LabelSelector: "team=red"}
	defer c.Watch(ctx, spec, full)()
	spec.MetadataOnly = true
	defer c.Watch(ctx, spec, meta)()
	full.await(t, "SYNCED", 1)
	meta.await(t, "SYNCED", 1)
	apply("after", "1")
	apply("after", "2")
	if err := s.Delete(ctx, kind, ns, "before", DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// Leaving the selection is leaving.
	if _, err := s.Patch(ctx, kind, ns, "after", PatchOptions{Type: types.MergePatchType}, []byte(`{"metadata":{"labels":{"team":null}}}`)); err != nil {
		t.Fatal(err)
	}
	full.await(t, "DELETED after", 1)
	meta.await(t, "DELETED after", 1)
	want := []string{"ADDED before", "SYNCED", "ADDED after", "MODIFIED after", "DELETED before", "DELETED after"}
	if got := full.all(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for i, l := range meta.all() {
		if l != "SYNCED" {
			want[i] += " ConfigMap data=false managed=0"
		}
	}
	if got := meta.all(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if c.watches.streams[spec].paged {
		t.Error("the list was not streamed")
	}
}

const gadgetCRD = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"gadgets.GROUP"},"spec":{"group":"GROUP","scope":"Namespaced","names":{"kind":"Gadget","plural":"gadgets","singular":"gadget"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"size":{"type":"integer","x-kubernetes-validations":[{"rule":"self == oldSelf","message":"size is immutable"}]}}}}}}}]}}`

// TestCRDFromFirstSightToLast installs a kind that somebody waits for and
// watches, uses it at once, and removes it again.
func TestCRDFromFirstSightToLast(t *testing.T) {
	c := realSet(t, Options{}).Local()
	ns, ctx, s := newNamespace(t, c), testContext(t), c.As(noIdentity)
	group := ns + ".example.com"
	gadget := gvk(group+"/v1", "Gadget")
	if _, err := c.Resolve(ctx, gadget); err == nil {
		t.Fatal("it is served already")
	}
	served := make(chan struct{})
	defer c.OnKind(gadget.GroupKind(), func() { close(served) })()
	r := newRecorder()
	defer c.Watch(ctx, WatchSpec{GVK: gadget}, r)()
	r.await(t, "GONE no matches for kind", 1)

	crd := mustKind(t, c, "apiextensions.k8s.io/v1", "CustomResourceDefinition")
	text := []byte(strings.ReplaceAll(gadgetCRD, "GROUP", group))
	began := time.Now()
	if _, err := s.Apply(ctx, crd, text, ApplyOptions{Manager: "m"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-served:
		t.Logf("served %s after the CRD was applied", time.Since(began))
	case <-ctx.Done():
		t.Fatal("nobody was woken")
	}
	kind := mustKind(t, c, group+"/v1", "Gadget")
	one := fmt.Appendf(nil, `{"apiVersion":"%s/v1","kind":"Gadget","metadata":{"name":"one","namespace":%q},"spec":{"size":1}}`, group, ns)
	if _, err := s.Apply(ctx, kind, one, ApplyOptions{Manager: "m"}); err != nil {
		t.Fatalf("a kind that was announced cannot be used: %v", err)
	}
	r.await(t, "ADDED one", 1)

	_, err := s.Apply(ctx, kind, []byte(strings.Replace(string(one), `"size":1`, `"size":2`, 1)), ApplyOptions{Manager: "m"})
	if !IsImmutable(err) {
		t.Errorf("not immutable: %v", err)
	}
	_, err = s.Apply(ctx, kind, []byte(strings.Replace(string(one), `"size":1`, `"siez":1`, 1)), ApplyOptions{Manager: "m"})
	if f := Explain(err, "apply", idOf(fromJSON(t, string(one))), noOrigin); err == nil || !strings.Contains(f.Advice, "Gadget has no field spec.siez") {
		t.Errorf("%v %v", err, f)
	}

	if err := s.Delete(ctx, crd, "", "gadgets."+group, DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.await(t, "DELETED one", 1)
	r.await(t, "GONE no matches for kind", 2)
	if _, err := c.Resolve(ctx, gadget); err == nil {
		t.Error("it is still resolved")
	}
}

// TestServerThatRestarts stops and starts a control plane of its own.
func TestServerThatRestarts(t *testing.T) {
	dir := t.TempDir()
	none := 0
	start := func() *controlplane.Cluster {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		cp, err := controlplane.Start(ctx, controlplane.Options{DataDir: dir, Nodes: &none})
		if err != nil {
			t.Fatal(err)
		}
		return cp
	}
	stop := func(cp *controlplane.Cluster) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := cp.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	cp := start()
	cfg, err := clientcmd.BuildConfigFromFlags("", cp.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	c := set.Local()
	ns, ctx, s := newNamespace(t, c), testContext(t), c.As(noIdentity)
	kind := mustKind(t, c, "v1", "ConfigMap")
	if _, err := s.Apply(ctx, kind, cm(ns, "x", "1"), ApplyOptions{Manager: "m"}); err != nil {
		t.Fatal(err)
	}
	r := &stallRecorder{newRecorder()}
	defer c.Watch(ctx, WatchSpec{GVK: kind.GVK, Namespace: ns, LabelSelector: "team=red"}, r)()
	r.await(t, "SYNCED", 1)

	stop(cp)
	r.await(t, "STALLED true", 1)
	cp = start()
	defer stop(cp)
	if cp.Server != cfg.Host {
		t.Fatalf("the port was taken meanwhile: %s, before %s", cp.Server, cfg.Host)
	}
	r.await(t, "STALLED false", 1)
	if _, err := s.Apply(ctx, kind, cm(ns, "x", "2"), ApplyOptions{Manager: "m"}); err != nil {
		t.Fatal(err)
	}
	r.await(t, "MODIFIED x", 1)
	want := []string{"ADDED x", "SYNCED", "STALLED true", "STALLED false", "MODIFIED x"}
	// The server may take the stream up and say only then that it forgot the version.
	if got := slices.Compact(r.all()); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if _, err := c.Resolve(ctx, gvk("apps/v1", "Deployment")); err != nil {
		t.Error(err)
	}
}
