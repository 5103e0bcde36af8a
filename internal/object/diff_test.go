package object

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestDiff(t *testing.T) {
	parse := func(text string) *unstructured.Unstructured {
		if text == "" {
			return nil
		}
		return decodeOne(t, text)
	}
	cases := map[string]struct{ before, after, want string }{
		"changed value": {
			"apiVersion: v1\nkind: X\nmetadata: {name: a}\nspec: {a: 1, b: 2}\n",
			"apiVersion: v1\nkind: X\nmetadata: {name: a}\nspec: {a: 1, b: 3}\n",
			"@@ -4,4 +4,4 @@\n   name: a\n spec:\n   a: 1\n-  b: 2\n+  b: 3\n"},
		"only server fields": {
			"apiVersion: v1\nkind: X\nmetadata: {name: a, resourceVersion: '1', uid: u, generation: 1, managedFields: []}\nstatus: {a: 1}\n",
			"apiVersion: v1\nkind: X\nmetadata: {name: a, resourceVersion: '2', creationTimestamp: null}\nstatus: {a: 2}\n",
			""},
		"created": {"", "apiVersion: v1\nkind: X\n", "@@ -0,0 +1,2 @@\n+apiVersion: v1\n+kind: X\n"},
		"deleted": {"apiVersion: v1\nkind: X\n", "", "@@ -1,2 +0,0 @@\n-apiVersion: v1\n-kind: X\n"},
		"secrets": {
			"apiVersion: v1\nkind: Secret\ndata: {changed: YQ==, gone: Yg==, same: Yw==}\n",
			"apiVersion: v1\nkind: Secret\ndata: {changed: ZA==, same: Yw==}\nstringData: {new: e}\n",
			"@@ -1,6 +1,6 @@\n apiVersion: v1\n data:\n-  changed: '*** (before)'\n-  gone: '***'\n+  changed: '*** (after)'\n+  new: '***'\n   same: '***'\n kind: Secret\n"},
		"stringData that is stored already": {
			"apiVersion: v1\nkind: Secret\ndata: {a: Yg==}\n",
			"apiVersion: v1\nkind: Secret\nstringData: {a: b}\n",
			""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Diff(parse(c.before), parse(c.after)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestDiffShowsNoSecret(t *testing.T) {
	wrap := func(value string) *unstructured.Unstructured {
		secret := map[string]any{"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"a": canary + value},
			"metadata": map[string]any{"annotations": map[string]any{lastApplied: `{"kind":"Secret","data":{"a":"` + canary + value + `"}}`}}}
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{secret}}}
	}
	for _, pair := range [][2]*unstructured.Unstructured{{wrap("1"), wrap("2")}, {wrap("1"), nil}, {nil, wrap("2")}} {
		got := Diff(pair[0], pair[1])
		if strings.Contains(got, canary) {
			t.Errorf("a secret shows:\n%s", got)
		}
		if got == "" {
			t.Error("the change does not show")
		}
	}
}

func TestSame(t *testing.T) {
	a := decodeOne(t, "apiVersion: v1\nkind: X\nmetadata: {name: a, resourceVersion: '1'}\nspec: {n: 1}\nstatus: {a: 1}\n")
	b := decodeOne(t, "apiVersion: v1\nkind: X\nmetadata: {name: a, uid: u}\nspec: {n: 1}\n")
	if !Same(a, b) || !Same(nil, nil) {
		t.Error("the same objects differ")
	}
	b.SetLabels(map[string]string{"x": "y"})
	if Same(a, b) || Same(a, nil) || Same(nil, b) {
		t.Error("different objects are the same")
	}
	if a.GetResourceVersion() != "1" {
		t.Error("an argument was changed")
	}
}
