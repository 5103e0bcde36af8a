package health

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func decode(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	decoded, err := object.Decode([]byte(text), "test.yaml", object.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return decoded[0].Object
}

// sealed is the example of Flux's documentation.
var sealed = model.HealthExpr{
	APIVersion: "bitnami.com/v1alpha1", Kind: "SealedSecret",
	Current: "status.conditions.filter(e, e.type == 'Synced').all(e, e.status == 'True')",
	Failed:  "status.conditions.filter(e, e.type == 'Synced').all(e, e.status == 'False')",
}

func TestJudge(t *testing.T) {
	thing := func(rest string) string {
		return "apiVersion: x/v1\nkind: Thing\nmetadata: {name: a, generation: 2}\n" + rest
	}
	cases := map[string]struct {
		expr    model.HealthExpr
		object  string
		state   model.Healthiness
		message string
	}{
		"current":            {sealed, thing("status: {conditions: [{type: Synced, status: 'True'}]}"), model.Current, "current holds"},
		"failed":             {sealed, thing("status: {conditions: [{type: Synced, status: 'False', reason: Unsealable, message: no key}]}"), model.Unhealthy, "failed holds: Unsealable: no key"},
		"none holds":         {sealed, thing("status: {conditions: [{type: Synced, status: Unknown}]}"), model.InProgress, "no health check expression holds yet"},
		"generation behind":  {sealed, thing("status: {observedGeneration: 1, conditions: [{type: Synced, status: 'True'}]}"), model.InProgress, "generation 2, observed 1"},
		"no status yet":      {sealed, thing(""), model.Unknown, "no such attribute"},
		"missing field":      {sealed, thing("status: {}"), model.Unknown, "no such key: conditions"},
		"deleted":            {sealed, "apiVersion: x/v1\nkind: Thing\nmetadata: {name: a, deletionTimestamp: '2026-01-01T00:00:00Z'}", model.Terminating, "being deleted"},
		"in progress first":  {model.HealthExpr{InProgress: "status.phase == 'A'", Failed: "true", Current: "true"}, thing("status: {phase: A}"), model.InProgress, "inProgress holds"},
		"failed before":      {model.HealthExpr{InProgress: "false", Failed: "true", Current: "true"}, thing("status: {}"), model.Unhealthy, "failed holds"},
		"optional":           {model.HealthExpr{Current: "has(status.phase) && status.?phase.orValue('') == 'Ok'"}, thing("status: {phase: Ok}"), model.Current, "current holds"},
		"numbers":            {model.HealthExpr{Current: "status.ready >= 1.5 && status.ready == spec.want"}, thing("spec: {want: 2}\nstatus: {ready: 2}"), model.Current, "current holds"},
		"libraries":          {model.HealthExpr{Current: "sets.contains(status.l, ['a']) && 'A'.lowerAscii() == 'a' && base64.encode(b'x') == 'eA=='"}, thing("status: {l: [a, b]}"), model.Current, "current holds"},
		"not a boolean":      {model.HealthExpr{Current: "status.phase"}, thing("status: {phase: A}"), model.Unknown, "gives a string, not a boolean"},
		"fields of any name": {model.HealthExpr{Current: "data.x == 'y1'"}, thing("data: {x: y1}"), model.Current, "current holds"},
		"too costly":         {model.HealthExpr{Current: costly("status.l", 4)}, thing("status: {l: [" + strings.Repeat("1,", 60) + "1]}"), model.Unknown, "cost"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			expr, err := CompileExpr(c.expr)
			if err != nil {
				t.Fatal(err)
			}
			got := expr.Judge(decode(t, c.object))
			if got.State != c.state || !strings.Contains(got.Message, c.message) || got.Reason == "" {
				t.Errorf("got %+v, want %s %q", got, c.state, c.message)
			}
			if strings.Contains(got.Message, "\n") {
				t.Errorf("more than one line: %q", got.Message)
			}
		})
	}
	expr, err := CompileExpr(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if got := expr.Judge(nil); got.State != model.NotFound {
		t.Errorf("nothing: %+v", got)
	}
}

// costly nests loops over a list.
func costly(list string, depth int) string {
	if depth == 0 {
		return "true"
	}
	return list + ".all(v" + string(rune('a'+depth)) + ", " + costly(list, depth-1) + ")"
}

func TestJudgeShowsNoSecret(t *testing.T) {
	expr, err := CompileExpr(model.HealthExpr{Current: "int(data.a) > 3"})
	if err != nil {
		t.Fatal(err)
	}
	got := expr.Judge(decode(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: hunter2}\n"))
	if got.State != model.Unknown || strings.Contains(got.Message, "hunter2") {
		t.Errorf("got %+v", got)
	}
}

func TestMatches(t *testing.T) {
	kind := schema.GroupKind{Group: "bitnami.com", Kind: "SealedSecret"}
	for _, c := range []struct {
		version, kind string
		want          bool
	}{
		{"bitnami.com/v1alpha1", "SealedSecret", true},
		{"bitnami.com/v9", "SealedSecret", true},
		{"bitnami.com/v1alpha1", "", true},
		{"bitnami.com/v1alpha1", "Other", false},
		{"example.com/v1", "SealedSecret", false},
		{"v1", "", false},
	} {
		expr, err := CompileExpr(model.HealthExpr{APIVersion: c.version, Kind: c.kind, Current: "true"})
		if err != nil {
			t.Fatal(err)
		}
		if got := expr.Matches(kind); got != c.want {
			t.Errorf("%s %s: %v", c.version, c.kind, got)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	cases := map[string]struct {
		expr           model.HealthExpr
		field, message string
	}{
		"no current":     {model.HealthExpr{Failed: "true"}, "current", "is not set"},
		"current":        {model.HealthExpr{Current: "a b"}, "current", "the expression current is not valid CEL"},
		"failed":         {model.HealthExpr{Current: "true", Failed: "("}, "failed", "the expression failed is not valid CEL"},
		"inProgress":     {model.HealthExpr{Current: "true", InProgress: "'"}, "inProgress", "the expression inProgress is not valid CEL"},
		"apiVersion":     {model.HealthExpr{Current: "true", APIVersion: "a/b/c"}, "apiVersion", "group/version"},
		"too long":       {model.HealthExpr{Current: strings.Repeat("1+", maxExpression) + "1"}, "current", "more than the"},
		"nested too far": {model.HealthExpr{Current: strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000)}, "current", "recursion"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := CompileExpr(c.expr)
			checkFault(t, err, c.field, c.message)
		})
	}
	for name, c := range map[string]struct{ expr, message string }{
		"syntax":        {"dep.status.", "not valid CEL"},
		"unknown names": {"other.status == 'x'", "undeclared reference to 'other'"},
		"not a boolean": {"'a'", "gives a string, not a boolean"},
		"nothing":       {"", "not valid CEL"},
		"too long":      {strings.Repeat(" ", maxExpression+1), "more than the"},
	} {
		t.Run("ready "+name, func(t *testing.T) {
			_, err := CompileReady(c.expr)
			checkFault(t, err, "readyExpr", c.message)
		})
	}
}

func checkFault(t *testing.T, err error, field, message string) {
	t.Helper()
	var fault *model.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("got %v", err)
	}
	if fault.Reason != "InvalidCELExpression" || fault.Origin.Field != field || !strings.Contains(fault.Message, message) || fault.Retry {
		t.Errorf("got %q of %s: %s", fault.Reason, fault.Origin.Field, fault.Message)
	}
	if strings.Contains(fault.Message, "\n") {
		t.Errorf("more than one line: %q", fault.Message)
	}
}

func TestReady(t *testing.T) {
	self := decode(t, "apiVersion: x/v1\nkind: K\nmetadata: {name: self, labels: {version: '1'}}\nspec: {count: 3}\n").Object
	dep := decode(t, "apiVersion: x/v1\nkind: K\nmetadata: {name: dep, labels: {version: '1'}}\nstatus: {count: 3, conditions: [{type: Ready, status: 'True'}]}\n").Object
	for expr, want := range map[string]bool{
		"dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')": true,
		"dep.metadata.labels['version'] == self.metadata.labels['version']":             true,
		"dep.status.count == self.spec.count":                                           true,
		"dep.status.count > self.spec.count":                                            false,
		"has(self.status)":                                                              false,
		"dep.metadata.name == self.metadata.name":                                       false,
	} {
		ready, err := CompileReady(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got, err := ready.Eval(self, dep); err != nil || got != want {
			t.Errorf("%s: %v, %v", expr, got, err)
		}
	}
	ready, err := CompileReady("self.status.phase == 'x'")
	if err != nil {
		t.Fatal(err)
	}
	_, err = ready.Eval(self, dep)
	var fault *model.Fault
	if !errors.As(err, &fault) || !fault.Retry || !strings.Contains(fault.Message, "no such key: status") || fault.Advice == "" {
		t.Errorf("got %v", err)
	}
}

func BenchmarkOf(b *testing.B) {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"generation": int64(1)}, "spec": map[string]any{"replicas": int64(1)},
		"status": map[string]any{"observedGeneration": int64(1), "replicas": int64(1), "updatedReplicas": int64(1), "readyReplicas": int64(1),
			"availableReplicas": int64(1), "conditions": []any{
				map[string]any{"type": "Available", "status": "True"},
				map[string]any{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}}}}}
	b.ReportAllocs()
	for b.Loop() {
		if Of(o).State != model.Current {
			b.Fatal("not current")
		}
	}
}
