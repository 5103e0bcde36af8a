package differ

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
)

func TestVeilHidesSecretsWhereverTheyWent(t *testing.T) {
	secrets := Veil{model.NewSecret([]byte("canary"))}
	want := &unstructured.Unstructured{Object: map[string]any{
		"kind": "ConfigMap",
		"data": map[string]any{"url": "https://x/?t=canary", "plain": "text", "encoded": "Y2FuYXJ5"},
		"list": []any{map[string]any{"name": "a", "value": "canary"}, map[string]any{"name": "b", "value": "open"}},
	}}
	live := &unstructured.Unstructured{Object: map[string]any{
		"kind":  "ConfigMap",
		"data":  map[string]any{"url": "https://x/?t=older", "plain": "text", "encoded": "b2xkZXI=", "extra": "canary"},
		"list":  []any{map[string]any{"name": "b", "value": "open"}, map[string]any{"name": "a", "value": "older"}},
		"other": int64(7),
	}}
	got := secrets.Over(live, want)
	for path, shown := range map[string]string{
		"data.url": "***", "data.encoded": "***", "data.extra": "***", "data.plain": "text",
	} {
		if value, _, _ := unstructured.NestedString(got.Object, strings.Split(path, ".")...); value != shown {
			t.Errorf("%s is %q, wanted %q", path, value, shown)
		}
	}
	list, _, _ := unstructured.NestedSlice(got.Object, "list")
	for _, item := range list {
		if item.(map[string]any)["value"] != "***" {
			t.Errorf("items of a list may stand in another order: %v", item)
		}
	}
	if url, _, _ := unstructured.NestedString(live.Object, "data", "url"); url == "***" {
		t.Error("the object itself was changed")
	}
}

// TestShortSecretsAreFoundWhereTheyStandAlone: "4711" is a PIN, and part of many
// an address.
func TestShortSecretsAreFoundWhereTheyStandAlone(t *testing.T) {
	secrets := Veil{model.NewSecret([]byte("4711"))}
	o := &unstructured.Unstructured{Object: map[string]any{
		"text": "4711", "number": int64(4711), "encoded": "NDcxMQ==", "list": []any{"4711"}, "map": map[string]any{"4711": "x"},
		"address": "10.47.11.1:47110", "other": "471",
	}}
	got := secrets.Over(o, o).Object
	for _, name := range []string{"text", "number", "encoded"} {
		if got[name] != "***" {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	for _, name := range []string{"address", "other"} {
		if got[name] == "***" {
			t.Errorf("%s is masked", name)
		}
	}
}
