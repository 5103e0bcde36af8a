package object

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const canary = "c4n4ry"

func TestRedact(t *testing.T) {
	secret := map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata": map[string]any{"name": "s", "annotations": map[string]any{
			"kubectl.kubernetes.io/last-applied-configuration": `{"kind":"Secret","stringData":{"a":"` + canary + `"}}`}},
		"data":       map[string]any{"key": canary, "number": int64(3)},
		"stringData": map[string]any{"key": canary},
		"type":       "Opaque",
	}
	objects := map[string]map[string]any{
		"itself":         secret,
		"in a list":      {"apiVersion": "v1", "kind": "List", "items": []any{secret}},
		"in an object":   {"apiVersion": "x/v1", "kind": "Wrapper", "spec": map[string]any{"template": secret}},
		"malformed data": {"apiVersion": "v1", "kind": "Secret", "data": canary, "stringData": []any{canary}},
		"annotation of another kind": {"apiVersion": "v1", "kind": "X", "metadata": map[string]any{"annotations": map[string]any{
			lastApplied: `{"kind":"List","items":[{"kind":"Secret","data":{"a":"` + canary + `"}}]}`}}},
		"annotation that is not JSON": {"apiVersion": "v1", "kind": "X", "metadata": map[string]any{"annotations": map[string]any{lastApplied: canary}}},
		"manifest in an annotation": {"apiVersion": "v1", "kind": "X", "metadata": map[string]any{"annotations": map[string]any{
			lastApplied: `{"kind":"X","manifest":"kind: Secret\ndata: ` + canary + `"}`}}},
	}
	for name, o := range objects {
		t.Run(name, func(t *testing.T) {
			before, err := Canonical(o)
			if err != nil {
				t.Fatal(err)
			}
			redacted := Redact(&unstructured.Unstructured{Object: o})
			after, err := Canonical(redacted.Object)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(after), canary) {
				t.Errorf("the value is still there: %s", after)
			}
			if !strings.Contains(string(after), Mask) {
				t.Errorf("nothing is masked: %s", after)
			}
			if again, _ := Canonical(o); string(again) != string(before) {
				t.Error("the original was changed")
			}
		})
	}
}

func TestRedactLeavesTheRest(t *testing.T) {
	o := decodeOne(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"kind\":\"ConfigMap\"}'}}\ndata: {a: b}\n")
	before, _ := Canonical(o.Object)
	after, _ := Canonical(Redact(o).Object)
	if string(before) != string(after) {
		t.Errorf("got %s", after)
	}
	if Redact(nil) != nil {
		t.Error("nil became something")
	}
	secret := Redact(decodeOne(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\ntype: x\ndata: {a: b}\n"))
	if got, _ := Canonical(secret.Object); string(got) != `{"apiVersion":"v1","data":{"a":"***"},"kind":"Secret","metadata":{"name":"c"},"type":"x"}` {
		t.Errorf("got %s", got)
	}
}

func TestConcealHidesTheCopyOfKubectl(t *testing.T) {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": canary},
		"metadata": map[string]any{"name": "c", "annotations": map[string]any{"note": "kept", lastApplied: `{"kind":"ConfigMap","data":{"a":"` + canary + `"}}`}},
	}}
	got, err := Canonical(Conceal(o).Object)
	if err != nil || strings.Contains(string(got), canary) || !strings.Contains(string(got), `"note":"kept"`) {
		t.Errorf("got %s, %v", got, err)
	}
	if o.GetAnnotations()[lastApplied] == Mask {
		t.Error("the original was changed")
	}
}

func TestHoldsSecret(t *testing.T) {
	for text, want := range map[string]bool{
		"apiVersion: v1\nkind: Secret\n":                                          true,
		"apiVersion: v1\nkind: ConfigMap\ndata: {kind: Secret}\n":                 true, // rather once too often
		"apiVersion: x/v1\nkind: X\nspec: [{kind: Secret}]\n":                     true,
		"apiVersion: v1\nkind: Pod\nspec: {volumes: [{secret: {name: a}}]}\n":     false,
		"apiVersion: v1\nkind: ConfigMap\ndata: {a: Secret}\n":                    false,
		"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec: {data: x}\n": false,
	} {
		if got := HoldsSecret(decodeOne(t, text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestFoldStringData(t *testing.T) {
	cases := map[string]struct{ in, want string }{
		"new data":        {`{"apiVersion":"v1","kind":"Secret","stringData":{"a":"b"}}`, `{"apiVersion":"v1","data":{"a":"Yg=="},"kind":"Secret"}`},
		"stringData wins": {`{"apiVersion":"v1","kind":"Secret","data":{"a":"eA==","c":"ZA=="},"stringData":{"a":"b"}}`, `{"apiVersion":"v1","data":{"a":"Yg==","c":"ZA=="},"kind":"Secret"}`},
		"empty":           {`{"apiVersion":"v1","kind":"Secret","stringData":{}}`, `{"apiVersion":"v1","kind":"Secret"}`},
		"null":            {`{"apiVersion":"v1","kind":"Secret","stringData":null}`, `{"apiVersion":"v1","kind":"Secret"}`},
		"null data":       {`{"apiVersion":"v1","data":null,"kind":"Secret","stringData":{"a":"b"}}`, `{"apiVersion":"v1","data":{"a":"Yg=="},"kind":"Secret"}`},
		"not a string":    {`{"apiVersion":"v1","kind":"Secret","stringData":{"a":1}}`, `{"apiVersion":"v1","kind":"Secret","stringData":{"a":1}}`},
		"not a map":       {`{"apiVersion":"v1","data":"x","kind":"Secret","stringData":{"a":"b"}}`, `{"apiVersion":"v1","data":"x","kind":"Secret","stringData":{"a":"b"}}`},
		"another kind":    {`{"apiVersion":"x/v1","kind":"Secret","stringData":{"a":"b"}}`, `{"apiVersion":"x/v1","kind":"Secret","stringData":{"a":"b"}}`},
	}
	for name, c := range cases {
		o := decodeOne(t, c.in)
		FoldStringData(o)
		if got, _ := Canonical(o.Object); string(got) != c.want {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
