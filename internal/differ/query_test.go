package differ

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/itchyny/gojq"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// sample is what the expressions of the tests run over.
const sample = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web, "example.com/injected-by": mesh}
  annotations: {a/x: "1", a/y: "2", b/z: "3"}
spec:
  replicas: 3
  ratio: 1.5
  paused: false
  nothing: null
  template:
    spec:
      initContainers:
      - {name: injected-init-container, image: mesh}
      - {name: own, image: own}
      containers:
      - name: web
        image: web:1
        env: [{name: A, value: a}, {name: MESH_X, value: x}, {name: MESH_Y, value: "y"}]
        resources: {limits: {cpu: 100m, memory: 1Gi}}
      - name: sidecar
        image: mesh
        env: []
webhooks:
- {name: one, clientConfig: {caBundle: abc}}
- {name: two, clientConfig: {}}
- {name: three}
matrix: [[1, 2, 3], [4, 5, 6]]
`

func fromYAML(t testing.TB, text string) map[string]any {
	t.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := utiljson.Unmarshal(encoded, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// picks are expressions and what they pick from the sample.
var picks = []struct {
	expression string
	want       []string
}{
	{".spec.replicas", []string{"/spec/replicas"}},
	{`.spec["replicas"]`, []string{"/spec/replicas"}},
	{".spec.missing.deeper", nil},
	{".spec.nothing", []string{"/spec/nothing"}},
	{".webhooks[]?.clientConfig.caBundle", []string{"/webhooks/0/clientConfig/caBundle"}},
	{".missing[]?.clientConfig", nil},
	{".missing[].clientConfig", nil}, // cannot iterate over null: nothing is picked
	{".spec.replicas[]?", nil},
	{`.spec.template.spec.initContainers[] | select(.name == "injected-init-container")`, []string{"/spec/template/spec/initContainers/0"}},
	{`.spec.template.spec.containers[].env[]? | select(.name | startswith("MESH_"))`, []string{"/spec/template/spec/containers/0/env/1", "/spec/template/spec/containers/0/env/2"}},
	{`.spec.template.spec.containers[] | select(.image | test("^mesh$")) | .image`, []string{"/spec/template/spec/containers/1/image"}},
	{`.spec.template.spec.containers[-1].name`, []string{"/spec/template/spec/containers/1/name"}},
	{`.spec.template.spec.containers[0].env[1:]`, []string{"/spec/template/spec/containers/0/env/1", "/spec/template/spec/containers/0/env/2"}},
	{`.spec.template.spec.containers[0].env[1:][0].value`, []string{"/spec/template/spec/containers/0/env/1/value"}},
	{`.spec.template.spec.containers[0].env[-2:-1]`, []string{"/spec/template/spec/containers/0/env/1"}},
	{`.. | .memory?`, []string{"/spec/template/spec/containers/0/resources/limits/memory"}},
	{`.. | objects | select(has("caBundle")) | .caBundle`, []string{"/webhooks/0/clientConfig/caBundle"}},
	{`.metadata.annotations | with_entries(select(.key | startswith("a/")))`, nil}, // makes a value: no path
	{`.metadata.annotations[(.metadata.annotations | keys[] | select(startswith("a/")))]`, []string{"/metadata/annotations/a~1x", "/metadata/annotations/a~1y"}},
	{`.metadata.labels["example.com/injected-by"], .spec.paused`, []string{"/metadata/labels/example.com~1injected-by", "/spec/paused"}},
	{`.spec | .replicas, .ratio`, []string{"/spec/replicas", "/spec/ratio"}},
	{`first(.webhooks[] | select(.clientConfig == {}))`, []string{"/webhooks/1"}},
	{`.webhooks[] | select(.clientConfig == null)`, []string{"/webhooks/2"}},
	{`.webhooks[] | select(.name == ("t" + "wo"))`, []string{"/webhooks/1"}},
	{`.webhooks[] | select(.name as $n | ["one", "three"] | index($n) != null)`, []string{"/webhooks/0", "/webhooks/2"}},
	{`.webhooks[] | select(.name | IN("one", "two")) | .name`, []string{"/webhooks/0/name", "/webhooks/1/name"}},
	{`.spec.template.spec.containers[] | select(.env | map(.name) | contains(["A"])) | .env`, []string{"/spec/template/spec/containers/0/env"}},
	{`.spec.template.spec.containers | map(select(.name == "web"))`, nil},
	{`.spec.template.spec | (.initContainers, .containers)[] | select(.image == "mesh").image`, []string{"/spec/template/spec/initContainers/0/image", "/spec/template/spec/containers/1/image"}},
	{`if .spec.replicas > 2 then .spec.replicas else empty end`, []string{"/spec/replicas"}},
	{`.spec.missing // .spec.replicas`, []string{"/spec/replicas"}},
	{`getpath(["spec", "replicas"])`, []string{"/spec/replicas"}},
	{`getpath(paths | select(.[-1] == "cpu"))`, []string{"/spec/template/spec/containers/0/resources/limits/cpu"}},
	{`recurse(.spec?, .template?; . != null) | .containers?[0].image`, []string{"/spec/template/spec/containers/0/image"}},
	{`def pod: .spec.template.spec; pod.containers[0].image`, []string{"/spec/template/spec/containers/0/image"}},
	{`def named($n): select(.name == $n); .webhooks[] | named("two")`, []string{"/webhooks/1"}},
	{`label $out | .webhooks[] | if .name == "two" then ., break $out else empty end`, []string{"/webhooks/1"}},
	{`.webhooks[] | select("\(.name)!" == "one!")`, []string{"/webhooks/0"}},
	{`.webhooks[] | select((.name | length) * 2 == 10)`, []string{"/webhooks/2"}},
	{`.webhooks[] | select((.name | ascii_upcase | ltrimstr("T")) == "WO")`, []string{"/webhooks/1"}},
	{`.webhooks[] | select([.name | split("")[]] | length > 3)`, []string{"/webhooks/2"}},
	{`.webhooks[] | select(.name | gsub("e"; "E") == "thrEE")`, []string{"/webhooks/2"}},
	{`.webhooks[] | select((.name | @base64) == "b25l")`, []string{"/webhooks/0"}},
	{`.webhooks[] | select((.name | @json "v=\(.)") == "v=\"one\"")`, []string{"/webhooks/0"}},
	{`.webhooks[] | select([.name] - ["one", "two"] == ["three"])`, []string{"/webhooks/2"}},
	{`.webhooks[] | select(any(.clientConfig?; . == {}))`, []string{"/webhooks/1"}},
	{`.webhooks[] | select({name} == {name: "two"})`, []string{"/webhooks/1"}},
	{`.webhooks[] | select(. as {name: $n} | $n == "two")`, []string{"/webhooks/1"}},
	{`.matrix[][1]`, []string{"/matrix/0/1", "/matrix/1/1"}},
	{`.matrix[0][.matrix[0][0]:]`, []string{"/matrix/0/1", "/matrix/0/2"}},
	{`.matrix[reduce range(3) as $i (0; . + 0)][0]`, []string{"/matrix/0/0"}},
	{`try error("x") catch .spec.replicas`, nil},
	{`(.spec.replicas, error("x"))?`, []string{"/spec/replicas"}},
	{`.spec.replicas, error("later")`, nil}, // del as a whole fails
	{`limit(1; .webhooks[])`, []string{"/webhooks/0"}},
	{`path(.spec)`, nil},
	{`empty`, nil},
	{`.spec.containers[100]`, nil},
}

func pointers(places []place) []string {
	var out []string
	for _, p := range places {
		out = append(out, p.pointer())
	}
	return out
}

func TestQueries(t *testing.T) {
	for _, c := range picks {
		q, err := compileQuery(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		o := fromYAML(t, sample)
		for range 2 { // a program is used again
			places, err := q.paths(o)
			if err != nil {
				t.Errorf("%s: %v", c.expression, err)
			}
			if got := pointers(places); !slices.Equal(got, c.want) {
				t.Errorf("%s\n got %v\nwant %v", c.expression, got, c.want)
			}
		}
	}
}

func TestQueriesThatAreRefused(t *testing.T) {
	for expression, want := range map[string]string{
		"":                        "missing query",
		".spec.":                  "it cannot be parsed",
		".spec[":                  "it cannot be parsed",
		".spec); (.metadata":      "it cannot be parsed",
		".spec = 1":               "the assignment = has no place",
		".spec |= empty":          "the assignment |= has no place",
		"select(.a += 1)":         "the assignment += has no place",
		"input":                   "the function input/0",
		"env.HOME":                "the function env/0",
		"select(now > 1)":         "the function now/0",
		"debug":                   "the function debug/0",
		`import "a" as a; .`:      "modules have no place",
		`include "a"; .`:          "modules have no place",
		"halt":                    "the function halt/0",
		"nonsense(1)":             "the function nonsense/1",
		"def f: .; f(1)":          "the function f/1",
		"$nothing":                "variable not defined",
		"def _meter: .; .":        "begins with an underscore",
		"_index(.; 1)":            "the function _index/2",
		"select(setpath([0]; 1))": "the function setpath/2",
		strings.Repeat("(", 300) + "." + strings.Repeat(")", 300):              "nested too deeply",
		strings.Repeat(".a|", 8000) + ".":                                      "it is longer than",
		`select("` + strings.Repeat(`\(.a) `, 40) + `" == .b)`:                 "a string takes in more than 16 values",
		"." + strings.Repeat("[0]", 2) + "[1" + strings.Repeat("0", 100) + "]": "a number has more than 64 digits",
	} {
		_, err := compileQuery(expression)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v", expression, err)
		}
	}
}

// Each of these would take all of the memory, or of the time, of the process
// that serves everybody.
func TestQueriesAreStopped(t *testing.T) {
	o := fromYAML(t, sample)
	text := strings.Repeat("x", 1<<20)
	o["text"], o["list"] = text, make([]any, 50_000)
	for _, expression := range []string{
		"def f: f; f",
		"def f: 1 + f; select(f)",
		"select(last(repeat(.)))",
		".spec | recurse(.spec?)",
		"select(last(path(recurse(.spec?))) == 1)",
		"select(del(recurse(.spec?)) == 1)",
		"select([repeat(1)] == 0)",
		"select(last(range(1e18)) > 0)",
		`select(reduce range(100) as $i ("x"; . + .) == "")`,
		`select(reduce range(100) as $i ("x"; "\(.)\(.)") == "")`,
		`select(reduce range(100) as $i ([1]; . + .) == [])`,
		`select(reduce range(100) as $i ([1]; [., .]) | tojson == "")`,
		`select(reduce range(100) as $i ({}; {a: ., b: .}) | [..] | length == 1)`,
		`select(reduce range(100) as $i ("x"; tojson) == "")`,
		`select(reduce range(100) as $i ("x"; @sh "\(.)\(.)") == "")`,
		`select(reduce range(100) as $i ([1]; [[., .] | .[] | .[]]) | length == 1)`,
		`select(reduce range(100) as $i ([1]; map(., .)) | length == 1)`,
		`select(reduce range(100) as $i ({a: 1}; map_values([., .])) | length == 9)`,
		`select(reduce range(200) as $i (10; . * .) == 1)`,
		`select("x" * 1e9 == "")`,
		`select(1e9 * "x" == "")`,
		`select([range(1000)] | join("` + strings.Repeat("y", 8000) + `") == "")`,
		`.text as $t | select([range(1000) | tostring] | join($t) == "")`,
		`.text as $t | select(range(1e6) | $t == ($t | ascii_upcase))`,
		`. as $d | select(first(range(1e6) | $d | tojson | select(. == "")) == "")`,
		`. as $d | select(first(range(1e6) | select($d != $d)) == 1)`,
		`.text as $t | select(first(range(1e6) | $t[1:] | select(. == "")) == "")`,
		`.list as $l | select(last(range(1e6) | first($l[])) == 1)`,
		`.list as $l | select(($l - $l) == [])`,
		`.list as $l | select($l | contains($l))`,
		`.list as $l | select($l | index($l) == 1)`,
		`.text | select([match(""; "g")] | length == 1)`,
		`.text | select(gsub(""; "yyyyyyyyyyyyyyy") == "")`,
		`.text[:60000] as $t | select($t | gsub(""; $t) == "")`,
		`select([limit(5000; repeat("x")) | [limit(5000; repeat(.))]] | flatten | length == 1)`,
		`select(reduce range(30) as $i ([1]; [.]) | walk([., .]) | length == 1)`,
		`[..] | [..] | [..] | tojson`,
		`.. as $a | .. as $b | .. as $c | .. as $d | .. as $e | empty`,
		`[paths] as $p | select([range(1e9) | $p] == 1)`,
		`.text | select(explode | length == 1)`,
		`.text | select(tonumber == 1)`,
		`select(last(try repeat(error) catch ., repeat(1)))`,
	} {
		q, err := compileQuery(expression)
		if err != nil {
			t.Errorf("%.80s: %v", expression, err)
			continue
		}
		begin := time.Now()
		_, err = q.paths(o)
		if !errors.Is(err, errTooMuch) && !errors.Is(err, errTooLarge) {
			t.Errorf("%.80s was not stopped: %v", expression, err)
		}
		// A generous bound: without a stop, each would run for hours.
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("%.80s ran for %s", expression, took)
		}
	}
}

func TestAQueryMustNotPickEverything(t *testing.T) {
	for _, expression := range []string{".", "..", ".spec, ."} {
		q, err := compileQuery(expression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.paths(fromYAML(t, sample)); err == nil || !strings.Contains(err.Error(), "whole object") {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

func TestQueriesAreSafeForConcurrentUse(t *testing.T) {
	q, err := compileQuery(`.. | objects | select(.name == "web")`)
	if err != nil {
		t.Fatal(err)
	}
	o := fromYAML(t, sample)
	var done sync.WaitGroup
	for range 8 {
		done.Add(1)
		go func() {
			defer done.Done()
			for range 20 {
				if places, err := q.paths(o); err != nil || len(places) != 2 {
					t.Errorf("%v %v", pointers(places), err)
				}
			}
		}()
	}
	done.Wait()
}

// reference evaluates an expression as upstream does, within a time.
func reference(expression string, o map[string]any) (paths []string, ok bool) {
	defer func() {
		if recover() != nil {
			paths, ok = nil, false
		}
	}()
	tree, err := gojq.Parse("path(" + expression + ")")
	if err != nil {
		return nil, false
	}
	code, err := gojq.Compile(tree)
	if err != nil {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	runs := code.RunWithContext(ctx, plain(o))
	var places []place
	for range 1000 {
		result, more := runs.Next()
		if !more {
			return pointers(places), true
		}
		if err, failed := result.(error); failed {
			// An operator that happens to return an operand, as null + . does,
			// passes for a path with us.
			return nil, !errors.Is(err, context.DeadlineExceeded) && !strings.ContainsAny(expression, "+-/")
		}
		steps, _ := result.([]any)
		if len(steps) == 0 {
			return nil, false
		}
		places = resolve(o, nil, steps, places)
	}
	return nil, false
}

// FuzzQuery holds the measured expression against the same without measures:
// both pick the same, or the measured one is refused or stopped.
func FuzzQuery(f *testing.F) {
	for _, c := range picks {
		f.Add(c.expression)
	}
	f.Add(`.webhooks[] | select(.name > "a" and .name <= "t" or (.name | not))`)
	f.Add(`.spec | to_entries[] | .value`)
	f.Add(`..|select(type=="string")`)
	f.Add(`.matrix | .[range(0;2)] | .[1,2]`)
	f.Add(`.webhooks[.webhooks | length - 1]`)
	f.Add(`.a."b"."c\("d")"[.e]?`)
	f.Fuzz(func(t *testing.T, expression string) {
		if len(expression) > 200 || strings.Contains(expression, "range") && strings.ContainsAny(expression, "eE9") || strings.Contains(expression, "*") {
			return // the reference has no bounds
		}
		for _, unbounded := range []string{"def", "repeat", "recurse", "until", "while", "reduce", "foreach", "limit", "input", "now", "env", "implode", "import", "include", "#"} {
			if strings.Contains(expression, unbounded) {
				return
			}
		}
		q, err := compileQuery(expression)
		if err != nil {
			return
		}
		o := fromYAML(t, sample)
		before := fmt.Sprint(o)
		places, err := q.paths(o)
		if fmt.Sprint(o) != before {
			t.Fatalf("%q changed the object", expression)
		}
		if err != nil {
			return
		}
		if want, ok := reference(expression, o); ok && !slices.Equal(pointers(places), want) {
			t.Errorf("%q\n got %v\nwant %v", expression, pointers(places), want)
		}
	})
}

// FuzzPointer removes what a pointer leads to, and finds nothing there
// afterwards that was not there before.
func FuzzPointer(f *testing.F) {
	for _, seed := range []string{"/spec/replicas", "/webhooks/1", "/webhooks/-1", "/metadata/annotations/a~1x", "//", "/a~", "", "/webhooks/01", "/matrix/0/9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := parsePointer(text)
		if err != nil {
			return
		}
		o := fromYAML(t, sample)
		at, ok := locate(o, tokens)
		if !ok {
			return
		}
		value, there := at.get(o)
		if !there {
			t.Fatalf("%q leads to %v, where nothing is", text, at)
		}
		if again, err := parsePointer(at.pointer()); err != nil {
			t.Fatalf("%q was written as %q: %v", text, at.pointer(), err)
		} else if back, ok := locate(o, again); !ok || comparePlaces(at, back) != 0 {
			t.Fatalf("%q was written as %q", text, at.pointer())
		}
		size0 := count(o)
		remove(o, []place{at})
		if count(o) != size0-count(value) {
			t.Fatalf("%q removed something else", text)
		}
	})
}

func count(value any) int {
	n := 1
	switch v := value.(type) {
	case map[string]any:
		for _, child := range v {
			n += count(child)
		}
	case []any:
		for _, child := range v {
			n += count(child)
		}
	}
	return n
}

func TestHeft(t *testing.T) {
	for _, c := range []struct {
		value any
		want  int
	}{{nil, 16}, {"abc", 19}, {[]any{"a", map[string]any{"bc": 1.0}}, 16 + 17 + 16 + 2 + 16}, {json.Number("12"), 18}} {
		if got := heft(c.value, largest); got != c.want {
			t.Errorf("%v: %d", c.value, got)
		}
	}
	var nested any = "x"
	for range 100 {
		nested = []any{nested, nested}
	}
	if got := heft(nested, 1000); got <= 1000 || got > 10_000 {
		t.Errorf("a value of many shared parts weighs %d", got)
	}
}

func BenchmarkQuery(b *testing.B) {
	q, err := compileQuery(`.spec.template.spec.containers[] | select(.name == "sidecar") | .image`)
	if err != nil {
		b.Fatal(err)
	}
	o := fromYAML(b, sample)
	b.ReportAllocs()
	for b.Loop() {
		if places, err := q.paths(o); err != nil || len(places) != 1 {
			b.Fatal(places, err)
		}
	}
}

func BenchmarkCompileQuery(b *testing.B) {
	for b.Loop() {
		if _, err := compileQuery(`.spec.template.spec.containers[] | select(.name == "sidecar") | .image`); err != nil {
			b.Fatal(err)
		}
	}
}

// TestEveryFunctionCompiles calls each function and operator that is allowed,
// so that none is promised that gojq, or the prelude, does not have.
func TestEveryFunctionCompiles(t *testing.T) {
	for signature := range functions {
		name, arguments, _ := strings.Cut(signature, "/")
		call := name
		if n := int(arguments[0] - '0'); n > 0 {
			call += "(" + strings.Repeat(`"a"; `, n-1) + `"a")`
		}
		if _, err := compileQuery("select(" + call + " == .b)"); err != nil {
			t.Errorf("%s: %v", signature, err)
		}
	}
	for operator := range operators {
		if _, err := compileQuery("select((.a " + operator.String() + " .b) == 1)"); err != nil {
			t.Errorf("%s: %v", operator, err)
		}
	}
}
