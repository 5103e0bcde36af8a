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
		owned   *entry // of what is not wanted any more
	}{
		"below what was decrypted":              {wants, encrypted, pod("shop"), deployment("sealed"), true, nil},
		"below what was not":                    {wants, encrypted, pod("shop"), deployment("open"), false, nil},
		"below who knows what":                  {wants, nil, pod("shop"), object.ID{}, true, nil},
		"elsewhere":                             {wants, nil, pod("other"), object.ID{}, false, nil},
		"not wanted any more":                   {wants, encrypted, dropped, object.ID{}, true, nil},
		"not wanted any more, never encrypted":  {wants, nil, dropped, object.ID{}, false, nil},
		"not evaluated yet":                     {nil, encrypted, pod("shop"), deployment("open"), true, nil},
		"not evaluated yet, nothing is secret":  {nil, nil, pod("shop"), deployment("open"), false, nil},
		"dropped with the decryption":           {wants, nil, dropped, object.ID{}, true, &entry{base: model.Baseline{UID: "u", Sealed: true}}},
		"dropped, and never encrypted":          {wants, nil, dropped, object.ID{}, false, &entry{base: model.Baseline{UID: "u"}}},
		"dropped, and nothing is known of it":   {wants, nil, dropped, object.ID{}, true, &entry{}},
		"below what was dropped":                {wants[:1], nil, pod("shop"), deployment("sealed"), true, &entry{base: model.Baseline{UID: "u", Sealed: true}}},
		"below who knows what was dropped":      {wants[:1], nil, pod("shop"), object.ID{}, true, &entry{base: model.Baseline{UID: "u", Sealed: true}}},
		"below what was dropped, not evaluated": {nil, nil, pod("shop"), deployment("sealed"), true, &entry{base: model.Baseline{UID: "u", Sealed: true}}},
	} {
		e := &Engine{book: newBook()}
		e.book.deliveries[id] = &delivery{spec: model.Delivery{ID: id, Inputs: c.inputs}, desired: c.desired}
		if c.owned != nil {
			of := object.Of(c.live)
			if c.live.GetKind() == "Pod" {
				of = deployment("sealed")
			}
			c.owned.owner = id
			e.book.entries[key{id: of}] = c.owned
			e.book.owned[id] = map[key]string{{id: of}: "v1"}
		}
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

func TestWantsThatEndAreRemembered(t *testing.T) {
	e := &Engine{book: newBook()}
	id := object.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "shop", Name: "shop"}
	sealed, open := object.ID{Kind: "ConfigMap", Namespace: "shop", Name: "sealed"}, object.ID{Kind: "ConfigMap", Namespace: "shop", Name: "open"}
	d := &delivery{spec: model.Delivery{ID: id}, desired: []model.Desired{{ID: sealed, Secret: true}, {ID: open}}}
	e.book.deliveries[id] = d
	for _, object := range []object.ID{sealed, open} {
		e.book.entries[key{id: object}] = &entry{owner: id, base: model.Baseline{UID: "u"}}
	}
	e.want(d, nil)
	if !e.sealedBefore(d, sealed) || e.sealedBefore(d, open) {
		t.Error("what was secret when it was wanted is told from what was not")
	}
}

// TestShortSecretsAreMasked: a PIN is looked for, and what is everywhere is not.
func TestShortSecretsAreMasked(t *testing.T) {
	fact := model.Fact{State: model.Present, Object: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"pin": "NDcxMQ==", "on": "dHJ1ZQ==", "one": "MQ==", "long": "Y2FuYXJ5"},
	}}}
	d := &delivery{
		spec:  model.Delivery{Inputs: []model.Input{{Render: model.Render{Helm: model.HelmOptions{Sensitive: []model.Secret{model.NewSecret([]byte("0815")), model.NewSecret([]byte("a"))}}}}}},
		facts: model.Facts{model.Need{Version: "v1", Kind: "Secret", Namespace: "a", Name: "b"}: fact},
	}
	values := map[string]any{"pin": "4711", "number": int64(815), "helm": "0815", "on": true, "one": int64(1), "text": "a canary sings", "letter": "a"}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "values": values}}
	got, _, _ := unstructured.NestedMap(d.masked(o, nil, d.veil()).Object, "values")
	for name, hidden := range map[string]bool{"pin": true, "helm": true, "text": true, "number": false, "on": false, "one": false, "letter": false} {
		if (got[name] == object.Mask) != hidden {
			t.Errorf("%s is shown as %v", name, got[name])
		}
	}
	secret := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"one": "MQ=="}, "stringData": map[string]any{"digit": "7"}}}
	for _, part := range []string{"data", "stringData"} {
		shown, _, _ := unstructured.NestedStringMap(d.masked(secret, nil, nil).Object, part)
		for key, value := range shown {
			if value != object.Mask {
				t.Errorf("%s of a Secret is shown as %q", key, value)
			}
		}
	}
}
