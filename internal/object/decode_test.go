package object

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestDecode(t *testing.T) {
	cases := map[string]struct {
		in   string
		want []string // kind/name:line
	}{
		"one document": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", []string{"ConfigMap/a:1"}},
		"several documents, empty ones skipped": {
			"# a comment\n---\n---\n\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n--- # next\n# only a comment\n---\nnull\n---\n\n# say\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n",
			[]string{"ConfigMap/a:5", "Secret/b:15"}},
		"windows line ends and a byte order mark": {
			"\xef\xbb\xbfapiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: a\r\n---\r\napiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: b\r\n",
			[]string{"ConfigMap/a:1", "ConfigMap/b:6"}},
		"content on the line of the marker": {"--- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n", []string{"ConfigMap/a:1"}},
		"directive and end marker": {
			"%YAML 1.1\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n...\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
			[]string{"ConfigMap/a:3", "ConfigMap/b:7"}},
		"a marker inside of a block": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    y\n   \n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
			[]string{"ConfigMap/a:1", "ConfigMap/b:10"}},
		"JSON":         {"{\"apiVersion\":\"v1\",\n\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}", []string{"ConfigMap/a:1"}},
		"JSON stream":  {"\n{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}\nnull\n\n{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"b\"}}\n", []string{"ConfigMap/a:2", "ConfigMap/b:5"}},
		"flow of YAML": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}", []string{"ConfigMap/a:1", "ConfigMap/b:3"}},
		"List": {
			"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n- apiVersion: v1\n  kind: List\n  items:\n  - apiVersion: v1\n    kind: Secret\n    metadata: {name: b}\n",
			[]string{"ConfigMap/a:4", "Secret/b:7"}},
		"empty List":                          {"apiVersion: v1\nkind: List\n", nil},
		"typed list":                          {"apiVersion: v1\nkind: ConfigMapList\nmetadata: {resourceVersion: '1'}\nitems:\n- metadata: {name: a}\n", []string{"ConfigMap/a:5"}},
		"a kind that only sounds like a list": {"apiVersion: x/v1\nkind: AllowList\nmetadata: {name: a}\nitems: [x]\n", []string{"AllowList/a:1"}},
		"aliases": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: a}\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: &n b\n  labels: {same: *n}\n",
			[]string{"ConfigMap/a:1", "Secret/b:5"}},
		"nothing": {"", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			decoded, err := Decode([]byte(c.in), "f.yaml", Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range decoded {
				got = append(got, fmt.Sprintf("%s/%s:%d", d.Object.GetKind(), d.Object.GetName(), d.Line))
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestDecodeTypes compares with the way that kubectl decodes.
func TestDecodeTypes(t *testing.T) {
	in := "apiVersion: v1\nkind: X\nspec:\n  a: yes\n  b: 010\n  c: 1.0\n  d: 1e3\n  e: 2020-01-01\n  f: ~\n  g: 9007199254740993\n  h: 0.5\n  1: one\n  true: t\n  i: !!binary aGk=\n  j: 'on'\n"
	decoded, err := Decode([]byte(in), "f.yaml", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"a": true, "b": int64(8), "c": int64(1), "d": int64(1000), "e": "2020-01-01", "f": nil,
		"g": int64(9007199254740993), "h": 0.5, "1": "one", "true": "t", "i": "hi", "j": "on"}
	if got := decoded[0].Object.Object["spec"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", got)
	}
}

func TestDecodeErrors(t *testing.T) {
	head := "apiVersion: v1\nkind: ConfigMap\n"
	cases := map[string]struct {
		in     string
		limits Limits
		want   string
	}{
		"no kind":               {"apiVersion: v1\nmetadata: {name: a}\n", Limits{}, "f.yaml:1: kind is missing"},
		"no apiVersion":         {"\n\nkind: X\n", Limits{}, "f.yaml:3: apiVersion is missing"},
		"kind of another type":  {"apiVersion: v1\nkind: 3\n", Limits{}, "f.yaml:1: kind is a number"},
		"empty kind":            {"apiVersion: v1\nkind: ''\n", Limits{}, "f.yaml:1: kind is empty"},
		"not an object":         {head + "---\n- a\n", Limits{}, "f.yaml:4: expected a Kubernetes object, found a list"},
		"plain text":            {"hello\n", Limits{}, "f.yaml:1: expected a Kubernetes object, found a string"},
		"duplicate key":         {head + "---\n" + head + "data: {}\ndata: {}\n", Limits{}, "f.yaml:7: not valid YAML: key \"data\" already set"},
		"duplicate key in JSON": {`{"apiVersion":"v1","kind":"X","a":1,"a":2}`, Limits{}, `f.yaml:1: duplicate field "a"`},
		"syntax":                {head + "---\na: b\n c: d\n", Limits{}, "f.yaml:5: not valid YAML"},
		"tab":                   {head + "data:\n\tx: y\n", Limits{}, "f.yaml:4: not valid YAML"},
		"number as name":        {head + "metadata: {name: 12}\n", Limits{}, "f.yaml:1: metadata.name is a number: put it in quotes"},
		"boolean as label":      {head + "metadata: {name: a, labels: {x: yes}}\n", Limits{}, "metadata.labels[\"x\"] is a boolean: put it in quotes"},
		"annotations as a list": {head + "metadata: {annotations: [a]}\n", Limits{}, "metadata.annotations is a list, not a mapping"},
		"metadata as text":      {head + "metadata: x\n", Limits{}, "metadata is a string, not a mapping"},
		"item of a List":        {"apiVersion: v1\nkind: List\nitems:\n- x\n", Limits{}, "f.yaml:4: item 0 of a List is a string"},
		"broken item":           {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: A\n- kind: B\n", Limits{}, "f.yaml:6: apiVersion is missing"},
		"items as text":         {"apiVersion: v1\nkind: List\nitems: x\n", Limits{}, "items of a List is a string"},
		"key that is a map":     {head + "data: {? {a: b} : c}\n", Limits{}, "invalid map key (not shown)"},
		"infinite number":       {head + "data: {a: .inf}\n", Limits{}, "JSON cannot hold"},
		"bytes":                 {head, Limits{Bytes: 10}, "f.yaml: the file has 31 bytes, more than the 10"},
		"documents":             {strings.Repeat(head+"---\n", 4), Limits{Documents: 3}, "f.yaml:10: the file has more than 3 objects"},
		"list items":            {"apiVersion: v1\nkind: List\nitems:" + strings.Repeat("\n- {apiVersion: v1, kind: A}", 4), Limits{Documents: 3}, "f.yaml:7: the file has more than 3 objects"},
		"depth":                 {head + "data: " + strings.Repeat("[", 50) + strings.Repeat("]", 50), Limits{Depth: 40}, "nested deeper than 40 levels"},
		"depth of JSON":         {`{"apiVersion":"v1","kind":"X","a":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + "}", Limits{Depth: 40}, "nested deeper than 40 levels"},
		"alias expansion":       {head + bomb(), Limits{}, "the aliases expand to more than 2000000 values"},
		"anchor in itself":      {head + "data: &a\n  x: *a\n", Limits{}, "contains itself"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			decoded, err := Decode([]byte(c.in), "f.yaml", c.limits)
			if err == nil {
				t.Fatalf("no error, decoded %d", len(decoded))
			}
			var positioned *DecodeError
			if !errors.As(err, &positioned) {
				t.Errorf("a %T", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q", err, c.want)
			}
		})
	}
}

// bomb is the billion laughs.
func bomb() string {
	var b strings.Builder
	b.WriteString("data:\n  l0: &l0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "  l%d: &l%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i-1), 9), ", "))
	}
	return b.String()
}

func TestDecodeErrorsQuoteNoValues(t *testing.T) {
	for _, in := range []string{
		"apiVersion: v1\nkind: Secret\nstringData: {a: !!int hunter2}\n",
		"apiVersion: v1\nkind: Secret\nstringData: {? {hunter2: hunter2} : c}\n",
		"apiVersion: v1\nkind: Secret\nstringData: hunter2: hunter2\n",
		"apiVersion: v1\nkind: Secret\nstringData: {a: *hunter2 }\n",
		"apiVersion: v1\nkind: Secret\nstringData: {a: !!int \"x`hunter2`\\n`hunter2\"}\n",
		"apiVersion: v1\nkind: Secret\nstringData: \"hunter2\n",
		`{"apiVersion":"v1","kind":"Secret","stringData":{"a":"hunter2`,
	} {
		_, err := Decode([]byte(in), "f.yaml", Limits{})
		if err == nil {
			t.Errorf("no error for %q", in)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes a value: %v", err)
		}
	}
}

// FuzzDecode looks for panics, for objects that break the promises of Decode,
// and for single documents that decode otherwise than kubectl would.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n- x\n"))
	f.Add([]byte(`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"A"}]}`))
	f.Add([]byte("%YAML 1.1\n---\n{apiVersion: &a v1, kind: *a}\n...\n"))
	f.Add([]byte("apiVersion: v1\nkind: X\nspec:\n  1.5: 010\n  y: !!float 3\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := Limits{Bytes: 1 << 16, Documents: 50, Depth: 30, Nodes: 10_000}
		decoded, err := Decode(data, "f.yaml", limits)
		if err != nil {
			return
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, d := range decoded {
			if d.Line < 1 || d.Line > lines {
				t.Errorf("line %d of %d", d.Line, lines)
			}
			if d.Object.GetKind() == "" || d.Object.GetAPIVersion() == "" {
				t.Errorf("an object without kind or apiVersion: %v", d.Object.Object)
			}
			if _, err := Canonical(d.Object.Object); err != nil {
				t.Errorf("no canonical form: %v", err)
			}
			d.Object.DeepCopy() // panics on types that JSON does not have
		}
		if len(decoded) == 1 && !strings.Contains(string(data), "---") && !strings.Contains(string(data), "...") {
			var plain map[string]any
			if yaml.Unmarshal(data, &plain) == nil && plain["kind"] == decoded[0].Object.GetKind() {
				want, errWant := Canonical(plain)
				got, _ := Canonical(decoded[0].Object.Object)
				if errWant == nil && string(got) != string(want) {
					t.Errorf("got %s, kubectl reads %s", got, want)
				}
			}
		}
	})
}
