package object

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func decodeOne(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	decoded, err := Decode([]byte(text), "test.yaml", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(decoded) != 1 {
		t.Fatalf("%d objects", len(decoded))
	}
	return decoded[0].Object
}

func pathsOf(t testing.TB, text string) Paths {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatal(err)
	}
	return Paths{tree: tree}
}

const owned = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  managedFields:
  - {manager: other, operation: Apply, apiVersion: apps/v1, fieldsV1: {"f:other": {}}}
  - {manager: us, operation: Update, apiVersion: apps/v1, fieldsV1: {"f:update": {}}}
  - {manager: us, operation: Apply, apiVersion: apps/v1, subresource: status, fieldsV1: {"f:status": {}}}
  - {manager: us, operation: Apply, apiVersion: apps/v1beta1, fieldsV1: {"f:older": {}}}
  - {manager: us, operation: Apply, apiVersion: apps/v1, fieldsV1: {"f:spec": {"f:replicas": {}}}}
`

func TestOwned(t *testing.T) {
	o := decodeOne(t, owned)
	paths, ok := Owned(o, "us")
	if !ok || paths.Digest() != pathsOf(t, `{"f:spec":{"f:replicas":{}}}`).Digest() {
		t.Errorf("got %v, %v", paths, ok)
	}
	if _, ok := Owned(o, "nobody"); ok {
		t.Error("found an entry of nobody")
	}
	o.SetAPIVersion("apps/v2")
	if _, ok := Owned(o, "us"); ok {
		t.Error("found an entry of another version")
	}
	for _, broken := range []string{"metadata: x", "metadata: {managedFields: x}", "metadata: {managedFields: [x, {manager: us, operation: Apply, apiVersion: v1, fieldsV1: x}]}"} {
		var u unstructured.Unstructured
		u.Object = map[string]any{"apiVersion": "v1", "kind": "X"}
		if strings.HasPrefix(broken, "metadata: x") {
			u.Object["metadata"] = "x"
		} else {
			u = *decodeOne(t, "apiVersion: v1\nkind: X\n"+broken)
		}
		if _, ok := Owned(&u, "us"); ok {
			t.Errorf("found an entry in %s", broken)
		}
	}
}

func TestPathsDigestLeavesOutServerFields(t *testing.T) {
	with := pathsOf(t, `{"f:metadata":{"f:labels":{"f:a":{}},"f:name":{},"f:uid":{},".":{}},"f:status":{"f:x":{}},"f:spec":{}}`)
	without := pathsOf(t, `{"f:spec":{},"f:metadata":{"f:labels":{"f:a":{}}}}`)
	if with.Digest() != without.Digest() {
		t.Error("server fields are in the digest")
	}
	if without.Digest() == pathsOf(t, `{"f:spec":{},"f:metadata":{"f:labels":{"f:b":{}}}}`).Digest() {
		t.Error("different sets have one digest")
	}
}

func TestCut(t *testing.T) {
	const live = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, resourceVersion: "7", labels: {app: web, other: x}, finalizers: [a, b]}
spec:
  replicas: 2
  paused: false
  empty: {}
  nothing: null
  selector: {matchLabels: {app: web}}
  containers:
  - {name: side, image: s}
  - name: main
    image: m
    args: [x, "y"]
    ports:
    - {containerPort: 80, protocol: TCP, name: http}
    - {containerPort: 80, protocol: UDP}
  list: [{a: 1}, {a: 2}]
  duplicates: [{name: x, v: 1}, {name: x, v: 2}]
status: {readyReplicas: 1}
`
	cases := []struct{ name, paths, want string }{
		{"scalars", `{"f:spec":{"f:replicas":{},"f:paused":{},"f:missing":{}}}`, `{"f:spec":{"f:paused":false,"f:replicas":2}}`},
		{"null is not absent", `{"f:spec":{"f:nothing":{}}}`, `{"f:spec":{"f:nothing":null}}`},
		{"server fields and status", `{"f:metadata":{"f:resourceVersion":{},"f:labels":{"f:app":{}}},"f:status":{"f:readyReplicas":{}}}`, `{"f:metadata":{"f:labels":{"f:app":"web"}}}`},
		{"atomic value", `{"f:spec":{"f:selector":{}}}`, `{"f:spec":{"f:selector":{"matchLabels":{"app":"web"}}}}`},
		{"empty map", `{"f:spec":{"f:empty":{}}}`, `{"f:spec":{"f:empty":{}}}`},
		{"presence", `{"f:spec":{"f:selector":{".":{}},"f:missing":{".":{}}}}`, `{"f:spec":{"f:selector":{".":{}}}}`},
		{"keyed items", `{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{},"f:args":{},"f:name":{}},"k:{\"name\":\"gone\"}":{".":{}}}}}`,
			`{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:args":["x","y"],"f:image":"m","f:name":"main"}}}}`},
		{"two keys", `{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{"f:name":{}}}}}}}`,
			`{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{"f:name":"http"}}}}}}`},
		{"set", `{"f:metadata":{"f:finalizers":{"v:\"a\"":{},"v:\"c\"":{}}}}`, `{"f:metadata":{"f:finalizers":{"v:\"a\"":{}}}}`},
		{"index", `{"f:spec":{"f:list":{"i:1":{"f:a":{}},"i:5":{}}}}`, `{"f:spec":{"f:list":{"i:1":{"f:a":2}}}}`},
		{"duplicates", `{"f:spec":{"f:duplicates":{"k:{\"name\":\"x\"}":{"f:v":{}}}}}`, `{"f:spec":{"f:duplicates":{"k:{\"name\":\"x\"}":[{"f:v":1},{"f:v":2}]}}}`},
		{"wrong shapes", `{"f:spec":{"f:replicas":{"f:x":{},"k:{\"a\":1}":{},"v:1":{},"i:0":{}},"x":{},"":{},"k:{":{},"i:x":{}}}`, `{"f:spec":{"f:replicas":{}}}`},
		{"nothing", `{}`, `{}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := string(pathsOf(t, c.paths).Cut(decodeOne(t, live))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestCutOfLongLists takes the indexed way, and has to agree with the short one.
func TestCutOfLongLists(t *testing.T) {
	items, set := []any{}, []any{}
	tree, values := map[string]any{}, map[string]any{}
	for i := range long * 3 {
		items = append(items, map[string]any{"name": fmt.Sprintf("n\"%d", i), "port": int64(i % 5), "value": int64(i)})
		set = append(set, int64(i))
		if i%2 == 0 {
			key, _ := Canonical(map[string]any{"name": fmt.Sprintf("n\"%d", i), "port": int64(i % 5)})
			tree["k:"+string(key)] = map[string]any{"f:value": map[string]any{}}
			values[fmt.Sprintf("v:%d", i*2)] = map[string]any{}
		}
	}
	tree[`k:{"name":"nobody","port":1}`] = map[string]any{}
	tree[`k:{"name":"n\"0"}`] = map[string]any{"f:port": map[string]any{}}
	paths := Paths{tree: map[string]any{"f:items": tree, "f:set": values}}
	got := string(paths.Cut(&unstructured.Unstructured{Object: map[string]any{"items": items, "set": set}}))
	var short strings.Builder
	short.WriteString(`{"f:items":{`)
	for i, key := range sortedKeys(tree) {
		for _, item := range items {
			o := item.(map[string]any)
			full, _ := Canonical(map[string]any{"name": o["name"], "port": o["port"]})
			switch key {
			case "k:" + string(full):
				if short.Len() > len(`{"f:items":{`) {
					short.WriteByte(',')
				}
				quoted, _ := CanonicalValue(key)
				fmt.Fprintf(&short, `%s:{"f:value":%d}`, quoted, o["value"])
			case `k:{"name":"n\"0"}`:
				if o["name"] == `n"0` {
					quoted, _ := CanonicalValue(key)
					if i > 0 {
						short.WriteByte(',')
					}
					fmt.Fprintf(&short, `%s:{"f:port":%d}`, quoted, o["port"])
				}
			}
		}
	}
	short.WriteString(`},"f:set":{`)
	first := true
	for _, key := range sortedKeys(values) {
		var n int
		if _, err := fmt.Sscanf(key, "v:%d", &n); err != nil {
			t.Fatal(err)
		}
		if n < len(set) {
			if !first {
				short.WriteByte(',')
			}
			first = false
			fmt.Fprintf(&short, `"%s":{}`, key)
		}
	}
	short.WriteString("}}")
	if got != short.String() {
		t.Errorf("got  %s\nwant %s", got, short.String())
	}
}

// TestCutOfSharedMaps: an empty map that we own stays the same when others add
// to it, since their subpaths show that it is not atomic.
func TestCutOfSharedMaps(t *testing.T) {
	before := decodeOne(t, "apiVersion: v1\nkind: Pod\nspec: {emptyDir: {}, list: []}\n")
	after := decodeOne(t, `apiVersion: v1
kind: Pod
metadata:
  managedFields:
  - {manager: other, operation: Update, apiVersion: v1, fieldsV1: {"f:spec": {"f:emptyDir": {"f:medium": {}}, "f:list": {"v:1": {}}}}}
spec: {emptyDir: {medium: Memory}, list: [1]}
`)
	paths := pathsOf(t, `{"f:spec":{"f:emptyDir":{},"f:list":{}}}`)
	if a, b := string(paths.Cut(before)), string(paths.Cut(after)); a != b {
		t.Errorf("%s became %s", a, b)
	}
	after.Object["metadata"] = map[string]any{}
	if string(paths.Cut(before)) == string(paths.Cut(after)) {
		t.Error("an atomic value changed unseen")
	}
}

func TestLeaves(t *testing.T) {
	want := decodeOne(t, `apiVersion: v1
kind: Thing
metadata: {name: a, namespace: ns, labels: {x: z}, finalizers: [f], creationTimestamp: null}
spec:
  replicas: 1
  resources: {}
  args: [a, b]
  nothing: null
  containers: [{name: c, ports: [{containerPort: 80}, {containerPort: 81}]}]
  rules: [{verbs: [get]}, {verbs: [list]}]
status: {x: 1}
`)
	expected := pathsOf(t, `{"f:metadata":{"f:labels":{"f:x":{}},"f:finalizers":{"v:\"f\"":{}}},
		"f:spec":{"f:replicas":{},"f:resources":{".":{}},"f:args":{},
		"f:containers":{"k:{\"name\":\"c\"}":{"f:name":{},"f:ports":{"k:{\"containerPort\":80}":{"f:containerPort":{}},"k:{\"containerPort\":81}":{"f:containerPort":{}}}}},
		"f:rules":{"i:0":{"f:verbs":{}},"i:1":{"f:verbs":{}}}}}`)
	leaves := Leaves(want)
	if leaves.Digest() != expected.Digest() {
		t.Errorf("got %v", leaves)
	}

	defaulted := want.DeepCopy()
	spec := defaulted.Object["spec"].(map[string]any)
	spec["resources"] = map[string]any{"limits": "x"}
	spec["strategy"] = "RollingUpdate"
	container := spec["containers"].([]any)[0].(map[string]any)
	container["imagePullPolicy"] = "Always"
	spec["containers"] = []any{map[string]any{"name": "injected"}, container}
	defaulted.SetFinalizers([]string{"other", "f"})
	defaulted.SetResourceVersion("5")
	delete(defaulted.Object, "status")
	if a, b := string(leaves.Cut(want)), string(leaves.Cut(defaulted)); a != b {
		t.Errorf("defaults show:\n%s\n%s", a, b)
	}
	for name, change := range map[string]func(){
		"scalar":         func() { spec["replicas"] = int64(2) },
		"item gone":      func() { spec["containers"] = []any{} },
		"list of values": func() { spec["args"] = []any{"a"} },
		"by index":       func() { spec["rules"].([]any)[1].(map[string]any)["verbs"] = []any{"delete"} },
		"finalizer":      func() { defaulted.SetFinalizers(nil) },
		"presence":       func() { delete(spec, "resources") },
	} {
		before := string(leaves.Cut(defaulted))
		change()
		if string(leaves.Cut(defaulted)) == before {
			t.Errorf("%s: unseen", name)
		}
	}
}

func TestLeavesFoldsStringData(t *testing.T) {
	want := decodeOne(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n")
	stored := decodeOne(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: Opaque\ndata: {a: Yg==}\n")
	if got := string(Leaves(want).Cut(stored)); got != `{"f:data":{"f:a":"Yg=="},"f:metadata":{}}` {
		t.Errorf("got %s", got)
	}
	if want.Object["stringData"] == nil {
		t.Error("the desired object was changed")
	}
}

// FuzzCut looks for panics and for output that is not JSON, whatever stands in
// the path set and in the object.
func FuzzCut(f *testing.F) {
	f.Add([]byte(`{"f:spec":{"k:{\"a\":1}":{".":{}},"v:\"x\"":{},"i:0":{}}}`), []byte(`{"spec":[{"a":1},"x"]}`))
	f.Add([]byte(`{"f:a":{"k:{\"a\":":{},"k:{}":{},"k:{\"a\":\"\\u0061\",\"b\":null}":{}}}`), []byte(`{"a":[{"a":"a"}]}`))
	f.Fuzz(func(t *testing.T, tree, object []byte) {
		var p, o map[string]any
		if json.Unmarshal(tree, &p) != nil || json.Unmarshal(object, &o) != nil {
			return
		}
		paths := Paths{tree: p}
		live := &unstructured.Unstructured{Object: o}
		cut := paths.Cut(live)
		if !json.Valid(cut) {
			t.Errorf("not JSON: %s", cut)
		}
		if again := paths.Cut(live); string(again) != string(cut) {
			t.Errorf("not deterministic: %s, %s", cut, again)
		}
		_ = paths.Digest()
	})
}
