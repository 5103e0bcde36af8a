package health

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
)

func thing(version, kind string, with map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "one"}}}
	for key, value := range with {
		o.Object[key] = value
	}
	o.SetAPIVersion(version)
	o.SetKind(kind)
	return o
}

func says(status string) string { return `return {status = "` + status + `", message = obj.kind}` }

func TestLuaRules(t *testing.T) {
	deleted := map[string]any{"metadata": map[string]any{"name": "one", "deletionTimestamp": "2024-03-01T00:00:00Z"}}
	cronJob := map[string]any{"spec": map[string]any{"suspend": true}}
	for name, c := range map[string]struct {
		scripts map[string]string
		open    []string
		object  *unstructured.Unstructured
		want    model.Health
		unknown bool // the kind has no health
		fails   string
	}{
		"a kind": {
			scripts: map[string]string{"sea.example.org/Boat": says("Healthy")}, object: thing("sea.example.org/v2", "Boat", nil),
			want: model.Health{State: model.Current, Reason: "Healthy", Message: "Boat"}},
		"a kind of the core group": {
			scripts: map[string]string{"Service": says("Suspended")}, object: thing("v1", "Service", nil),
			want: model.Health{State: model.Paused, Reason: "Suspended", Message: "Service"}},
		"a kind of the core group with its slash": {
			scripts: map[string]string{"/Service": says("Missing")}, object: thing("v1", "Service", nil),
			want: model.Health{State: model.NotFound, Reason: "Missing", Message: "Service"}},
		"another group": {
			scripts: map[string]string{"sea.example.org/Boat": says("Healthy")}, object: thing("lake.example.org/v1", "Boat", nil), unknown: true},
		"a script goes before the built-in rule": {
			scripts: map[string]string{"batch/CronJob": says("Degraded")}, object: thing("batch/v1", "CronJob", cronJob),
			want: model.Health{State: model.Unhealthy, Reason: "Degraded", Message: "CronJob"}},
		"an empty script is none": {
			scripts: map[string]string{"batch/CronJob": ""}, object: thing("batch/v1", "CronJob", cronJob),
			want: model.Health{State: model.Current, Reason: "Current", Message: "the CronJob is suspended (spec.suspend)"}},
		"a wildcard": {
			scripts: map[string]string{"*.example.org/*": says("Progressing")}, object: thing("sea.example.org/v1", "Boat", nil),
			want: model.Health{State: model.InProgress, Reason: "Progressing", Message: "Boat"}},
		"the kind goes before wildcards": {
			scripts: map[string]string{"*": says("Degraded"), "sea.example.org/Boat": says("Healthy")}, object: thing("sea.example.org/v1", "Boat", nil),
			want: model.Health{State: model.Current, Reason: "Healthy", Message: "Boat"}},
		"the wildcard that says most": {
			scripts: map[string]string{"*": says("Degraded"), "*/Boat": says("Missing"), "sea.*/*": says("Healthy"), "sea.*/Bo?t": says("Unknown")}, object: thing("sea.example.org/v1", "Boat", nil),
			want: model.Health{State: model.Unknown, Reason: "Unknown", Message: "Boat"}},
		"a wildcard goes before the built-in rule": {
			scripts: map[string]string{"*": says("Suspended")}, object: thing("batch/v1", "CronJob", cronJob),
			want: model.Health{State: model.Paused, Reason: "Suspended", Message: "CronJob"}},
		"deletion goes before scripts": {
			scripts: map[string]string{"sea.example.org/Boat": says("Healthy")}, object: thing("sea.example.org/v1", "Boat", deleted),
			want: model.Health{State: model.InProgress, Reason: "Terminating", Message: "Pending deletion"}},
		"a script that says nothing": {
			scripts: map[string]string{"batch/CronJob": "return nil"}, object: thing("batch/v1", "CronJob", cronJob), unknown: true},
		"a status that does not exist": {
			scripts: map[string]string{"sea.example.org/Boat": says("Splendid")}, object: thing("sea.example.org/v1", "Boat", nil),
			want: model.Health{State: model.Unknown, Reason: "InvalidHealthStatus", Message: "Lua returned an invalid health status"}},
		"no status": {
			scripts: map[string]string{"sea.example.org/Boat": `return {message = "x"}`}, object: thing("sea.example.org/v1", "Boat", nil),
			want: model.Health{State: model.Unknown, Reason: "InvalidHealthStatus", Message: "Lua returned an invalid health status"}},
		"a script that fails": {
			scripts: map[string]string{"sea.example.org/Boat": `return obj.status.phase`}, object: thing("sea.example.org/v1", "Boat", nil),
			want:  model.Health{State: model.Unknown, Reason: "HealthScriptFailed", Message: "<string>:1: attempt to index a non-table object(nil) with key 'phase'"},
			fails: "non-table object"},
		"libraries are closed": {
			scripts: map[string]string{"sea.example.org/Boat": `return {status = string.upper("x")}`}, object: thing("sea.example.org/v1", "Boat", nil),
			want:  model.Health{State: model.Unknown, Reason: "HealthScriptFailed", Message: "<string>:1: attempt to index a non-table object(nil) with key 'upper'"},
			fails: "non-table object"},
		"libraries are open": {
			scripts: map[string]string{"sea.example.org/Boat": `return {status = "Healthy", message = string.upper("x")}`}, open: []string{"sea.example.org/Boat"},
			object: thing("sea.example.org/v1", "Boat", nil),
			want:   model.Health{State: model.Current, Reason: "Healthy", Message: "X"}},
		"no script": {object: thing("sea.example.org/v1", "Boat", nil), unknown: true},
		"nothing": {
			scripts: map[string]string{"*": says("Healthy")}, object: nil,
			want: model.Health{State: model.NotFound, Reason: "NotFound", Message: "the object does not exist"}},
	} {
		t.Run(name, func(t *testing.T) {
			open := map[string]bool{}
			for _, key := range c.open {
				open[key] = true
			}
			rules, err := CompileLua(&model.HealthRules{Scripts: c.scripts, OpenLibs: open})
			if err != nil {
				t.Fatal(err)
			}
			got, known, err := rules.Assess(c.object)
			if got != c.want || known == c.unknown {
				t.Errorf("got %+v, known %v; want %+v", got, known, c.want)
			}
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("error %v, want %q", err, c.fails)
			}
		})
	}
}

func TestScriptsThatDoNotCompile(t *testing.T) {
	rules, err := CompileLua(&model.HealthRules{Scripts: map[string]string{
		"sea.example.org/Boat": "if then", "sea.example.org/Ship": says("Healthy"), "[sea/*": says("Healthy"), "{sea,/*": says("Healthy"),
	}})
	var fault *model.Fault
	if !errors.As(err, &fault) || fault.Reason != invalidLua || fault.Advice == "" {
		t.Fatalf("got %v", err)
	}
	for _, key := range []string{`"sea.example.org/Boat"`, `"[sea/*"`, `"{sea,/*"`} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("the error does not name %s: %v", key, err)
		}
	}
	if got, known, err := rules.Assess(thing("sea.example.org/v1", "Boat", nil)); got.State != model.Unknown || !known || err == nil {
		t.Errorf("got %+v, %v, %v", got, known, err)
	}
	if got, _, _ := rules.Assess(thing("sea.example.org/v1", "Ship", nil)); got.State != model.Current {
		t.Errorf("a script is lost by the mistake of another: %+v", got)
	}
}

func TestNoLuaRules(t *testing.T) {
	rules, err := CompileLua(nil)
	if rules != nil || err != nil {
		t.Fatalf("got %v, %v", rules, err)
	}
	got, known, err := rules.WithClock(time.Now).Assess(thing("v1", "Service", nil))
	if got.State != model.Current || !known || err != nil {
		t.Errorf("got %+v, %v, %v", got, known, err)
	}
}

func TestScriptsMayAskForTheTime(t *testing.T) {
	rules, err := CompileLua(&model.HealthRules{Scripts: map[string]string{
		"sea.example.org/Boat": `return {status = "Healthy", message = os.date("!%Y-%m-%d", os.time())}`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	boat := thing("sea.example.org/v1", "Boat", nil)
	at := func() time.Time { return time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC) }
	if got, _, err := rules.WithClock(at).Assess(boat); got.Message != "2024-03-01" || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, _, err := rules.Assess(boat); got.State != model.Unknown || err == nil {
		t.Errorf("without a clock: got %+v, %v", got, err)
	}
}

func TestScriptsDoNotSeeSecrets(t *testing.T) {
	rules, err := CompileLua(&model.HealthRules{Scripts: map[string]string{"Secret": `
		local all = ""
		local function walk(t) for k, v in pairs(t) do if type(v) == "table" then walk(v) else all = all .. tostring(k) .. "=" .. tostring(v) .. ";" end end end
		walk(obj)
		return {status = "Healthy", message = all}`}})
	if err != nil {
		t.Fatal(err)
	}
	secret := thing("v1", "Secret", map[string]any{
		"metadata": map[string]any{"name": "one", "annotations": map[string]any{
			"kubectl.kubernetes.io/last-applied-configuration": `{"data":{"password":"canary"}}`, "kept": "yes"}},
		"data": map[string]any{"password": "canary"}, "stringData": map[string]any{"token": "canary"}, "type": "Opaque",
	})
	got, _, err := rules.Assess(secret)
	if err != nil || strings.Contains(got.Message, "canary") {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, part := range []string{"password=++++++++", "token=++++++++", "kept=yes", "name=one", "type=Opaque"} {
		if !strings.Contains(got.Message, part) {
			t.Errorf("%s is missing in %s", part, got.Message)
		}
	}
	if text, _, _ := unstructured.NestedString(secret.Object, "data", "password"); text != "canary" ||
		len(secret.GetAnnotations()) != 2 {
		t.Error("the object itself was changed")
	}
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		glob, key string
		want      bool
	}{
		{"*.example.org/*", "sea.example.org/Boat", true},
		{"*.example.org/*", "example.org/Boat", false},
		{"*", "apps/Deployment", true},
		{"*/B*", "sea.example.org/Boat", true},
		{"sea.example.org/B??t", "sea.example.org/Boat", true},
		{"sea.example.org/B?t", "sea.example.org/Boat", false},
		{"sea/[A-C]oat", "sea/Boat", true},
		{"sea/[!A-C]oat", "sea/Boat", false},
		{"sea/{Ship,B*}", "sea/Boat", true},
		{"sea/{Ship,Raft}", "sea/Boat", false},
		{"sea+/*", "sea+/Boat", true},
		{"sea.x/*", "seasx/Boat", false},
		{`sea/\*`, "sea/*", true},
		{`sea/\*`, "sea/Boat", false},
	} {
		expression, err := globExpression(c.glob)
		if err != nil || expression.MatchString(c.key) != c.want {
			t.Errorf("%s, %s: want %v (%v)", c.glob, c.key, c.want, err)
		}
	}
}
