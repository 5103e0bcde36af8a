package engine

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func TestWhatWasDecryptedIsHiddenWhereverItWent(t *testing.T) {
	deployment := func(name string) object.ID {
		return object.ID{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: name}
	}
	pod := func(namespace string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "spec": map[string]any{"nodeName": "canary"}}}
		o.SetName("a-1")
		o.SetNamespace(namespace)
		yes := true
		o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "a", UID: "u", Controller: &yes}})
		return o
	}
	dropped := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": "canary"}}}
	dropped.SetName("dropped")
	dropped.SetNamespace("shop")
	wants := []model.Desired{{ID: deployment("open")}, {ID: deployment("sealed"), Secret: true}}
	encrypted := []model.Input{{Render: model.Render{Decryption: &model.Decryption{}}}}
	id := object.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "shop", Name: "shop"}
	for name, c := range map[string]struct {
		desired []model.Desired
		inputs  []model.Input
		live    *unstructured.Unstructured
		above   object.ID
		hidden  bool
	}{
		"below what was decrypted":             {wants, encrypted, pod("shop"), deployment("sealed"), true},
		"below what was not":                   {wants, encrypted, pod("shop"), deployment("open"), false},
		"below who knows what":                 {wants, nil, pod("shop"), object.ID{}, true},
		"elsewhere":                            {wants, nil, pod("other"), object.ID{}, false},
		"not wanted any more":                  {wants, encrypted, dropped, object.ID{}, true},
		"not wanted any more, never encrypted": {wants, nil, dropped, object.ID{}, false},
		"not evaluated yet":                    {nil, encrypted, pod("shop"), deployment("open"), true},
		"not evaluated yet, nothing is secret": {nil, nil, pod("shop"), deployment("open"), false},
	} {
		e := &Engine{book: newBook()}
		e.book.deliveries[id] = &delivery{spec: model.Delivery{ID: id, Inputs: c.inputs}, desired: c.desired}
		shown := e.MaskBelow(id, c.live, c.above)
		text, err := object.Canonical(shown.Object)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := object.Canonical(c.live.Object)
		if hidden := string(text) != string(want); hidden != c.hidden {
			t.Errorf("%s: got %s", name, text)
		}
	}
}
