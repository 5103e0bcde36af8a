package rows

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func decode(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// dialects are the same delivery in either dialect.
var dialects = map[string]string{
	"flux": "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: web, namespace: team}\n",
	"argo": "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: team}\nspec: {project: shop}\n",
}

var (
	ran     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	healthy = engine.KnownObject{ID: object.ID{Kind: "Service", Namespace: "team", Name: "web"}, Wanted: true, Owned: true, Sync: model.Synced, Health: model.Health{State: model.Current}}
	broken  = engine.KnownObject{ID: object.ID{Group: "apps", Kind: "Deployment", Namespace: "team", Name: "web"}, Wanted: true, Owned: true, Sync: model.Synced, Health: model.Health{State: model.Unhealthy, Reason: "CrashLoopBackOff", Message: "it crashes"}}
	absent  = engine.KnownObject{ID: object.ID{Kind: "ConfigMap", Namespace: "team", Name: "web"}, Wanted: true, Sync: model.OutOfSync, Health: model.Health{State: model.NotFound, Reason: "NotFound"}}
	drifted = engine.KnownObject{ID: object.ID{Kind: "ConfigMap", Namespace: "team", Name: "web"}, Wanted: true, Owned: true, Sync: model.OutOfSync, Drift: "data.x"}
	hook    = engine.KnownObject{ID: object.ID{Group: "batch", Kind: "Job", Namespace: "team", Name: "migrate"}, Stage: model.Stage{Hooks: []model.SyncPhase{model.PreSync}}, Health: model.Health{State: model.Unhealthy}}
	fault   = &model.Fault{Reason: "BuildFailed", Message: "app/x.yaml: broken"}
	waiting = &model.Fault{Reason: "DependencyNotReady", Message: "db is not ready", Waiting: true}
)

// TestJudgement is what a row says of a delivery: health, sync, reason, message,
// and how many of its objects are unwell and differ.
func TestJudgement(t *testing.T) {
	for _, c := range []struct {
		what  string
		known *engine.Known
		want  string
	}{
		{"not understood yet", nil, "Unknown Unknown automatic \"\" \"\" 0/0/0"},
		{"before its first run", &engine.Known{Sync: model.SyncUnknown}, `Progressing Unknown automatic "Queued" "waiting for its first run" 0/0/0`},
		{"all is well", &engine.Known{Report: &model.Report{At: ran}, Objects: []engine.KnownObject{healthy}, Sync: model.Synced}, `Healthy Synced automatic "" "" 1/0/0`},
		{"an object is unwell", &engine.Known{Report: &model.Report{At: ran}, Objects: []engine.KnownObject{healthy, broken}, Sync: model.Synced},
			`Degraded Synced automatic "CrashLoopBackOff" "Deployment/team/web: it crashes" 2/1/0`},
		{"an object is not there", &engine.Known{Report: &model.Report{At: ran}, Objects: []engine.KnownObject{absent}, Sync: model.OutOfSync},
			`Missing OutOfSync automatic "NotFound" "ConfigMap/team/web" 1/1/1`},
		{"an object differs", &engine.Known{Report: &model.Report{At: ran}, Objects: []engine.KnownObject{drifted}, Sync: model.OutOfSync}, `Healthy OutOfSync automatic "" "" 1/0/1`},
		{"hooks are no objects of it", &engine.Known{Report: &model.Report{At: ran}, Objects: []engine.KnownObject{healthy, hook}, Sync: model.Synced}, `Healthy Synced automatic "" "" 1/0/0`},
		{"the run stopped", &engine.Known{Report: &model.Report{At: ran, Fault: fault}, Objects: []engine.KnownObject{healthy}, Sync: model.SyncUnknown},
			`Degraded Unknown automatic "BuildFailed" "app/x.yaml: broken" 1/0/0`},
		{"it may not be acted on", &engine.Known{Fault: fault, Report: &model.Report{At: ran}, Sync: model.SyncUnknown}, `Degraded Unknown automatic "BuildFailed" "app/x.yaml: broken" 0/0/0`},
		{"it waits", &engine.Known{Report: &model.Report{At: ran, Fault: waiting}, Objects: []engine.KnownObject{healthy}, Sync: model.Synced},
			`Progressing Synced automatic "DependencyNotReady" "db is not ready" 1/0/0`},
		{"it waits, and an object is unwell", &engine.Known{Report: &model.Report{At: ran, Fault: waiting}, Objects: []engine.KnownObject{broken}, Sync: model.Synced},
			`Degraded Synced automatic "DependencyNotReady" "db is not ready" 1/1/0`},
		{"a deletion is held", &engine.Known{Report: &model.Report{At: ran, Hold: &model.Hold{Token: "abc", Why: "30 of 31 would go", Total: 31}}, Objects: []engine.KnownObject{healthy}, Sync: model.OutOfSync},
			`Healthy OutOfSync automatic "PruneHeld" "30 of 31 would go" 1/0/0`},
		{"suspended from the start", &engine.Known{Delivery: model.Delivery{Suspended: true}, Sync: model.SyncUnknown}, `Suspended Unknown suspended "" "" 0/0/0`},
		{"suspended later", &engine.Known{Delivery: model.Delivery{Suspended: true}, Report: &model.Report{At: ran}, Objects: []engine.KnownObject{healthy}, Sync: model.Synced}, `Healthy Synced suspended "" "" 1/0/0`},
		{"at work", &engine.Known{Report: &model.Report{At: ran, Running: true, Message: "applying 3 objects"}, Objects: []engine.KnownObject{healthy}, Sync: model.Synced},
			`Progressing Synced automatic "Progressing" "applying 3 objects" 1/0/0`},
		{"at work, and an object is unwell", &engine.Known{Report: &model.Report{At: ran, Running: true, Message: "applying"}, Objects: []engine.KnownObject{broken}, Sync: model.Synced},
			`Degraded Synced automatic "Progressing" "applying" 1/1/0`},
		{"an operation runs", &engine.Known{Report: &model.Report{At: ran}, Operation: &model.OperationReport{Phase: model.OperationRunning}, Objects: []engine.KnownObject{healthy}, Sync: model.OutOfSync},
			`Progressing OutOfSync automatic "Progressing" "" 1/0/0`},
		{"nobody syncs by itself", &engine.Known{Delivery: model.Delivery{Sync: model.SyncPolicy{Manual: true}}, Report: &model.Report{At: ran}, Sync: model.OutOfSync}, `Healthy OutOfSync manual "" "" 0/0/0`},
	} {
		for dialect, text := range dialects {
			known := c.known
			if known == nil {
				known = &engine.Known{}
			}
			row := Delivery(Declared{Object: decode(t, text), Dialect: dialect}, known, c.known != nil)
			got := fmt.Sprintf("%s %s %s %q %q %d/%d/%d", row.Health.State, row.Sync, row.Automation, row.Reason, row.Message, row.Objects, row.Unhealthy, row.OutOfSync)
			if got != c.want {
				t.Errorf("%s (%s):\n got %s\nwant %s", c.what, dialect, got, c.want)
			}
		}
	}
}

func TestUndeclaredSaysWhy(t *testing.T) {
	for what, conditions := range map[string]string{
		"flux": dialects["flux"] + "status: {conditions: [{type: Ready, status: 'False', reason: InvalidSpec, message: 'no path'}]}\n",
		"argo": dialects["argo"] + "status: {conditions: [{type: InvalidSpecError, message: 'no path'}]}\n",
	} {
		row := Delivery(Declared{Object: decode(t, conditions), Dialect: what}, &engine.Known{}, false)
		if row.Health.State != Degraded || !strings.HasPrefix(row.Reason, "InvalidSpec") || row.Message != "no path" {
			t.Errorf("%s: %v", what, row)
		}
	}
}

func TestProject(t *testing.T) {
	for text, want := range map[string]string{
		dialects["flux"]: "", dialects["argo"]: "shop",
		"kind: Application": "default", "kind: ApplicationSet": "default",
		"kind: ApplicationSet\nspec: {template: {spec: {project: core}}}": "core",
	} {
		if got := Project(decode(t, text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestRowsHaveNoCredentials: what stands in a URL or in a condition is not shown.
func TestRowsHaveNoCredentials(t *testing.T) {
	o := decode(t, `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: web, namespace: team}
spec: {url: 'https://reader:hunter2@git.example.org/x.git', ref: {branch: main}}
status: {conditions: [{type: Ready, status: 'False', reason: Failed, message: 'cannot read https://reader:hunter2@git.example.org/x.git'}]}
`)
	row := Source(Declared{Object: o, Dialect: "flux"}, &engine.KnownSource{}, false)
	if text := row.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, "git.example.org") {
		t.Error(text)
	}
	input := &model.Input{URL: "https://reader:hunter2@git.example.org/x.git"}
	if text := Input(input).String(); strings.Contains(text, "hunter2") {
		t.Error(text)
	}
}

func TestEveryFacetIsAField(t *testing.T) {
	for _, field := range Deliveries.Facets {
		if _, ok := Deliveries.Value(nil, field); !ok {
			t.Errorf("deliveries have no field %q", field)
		}
	}
	for _, field := range Sources.Facets {
		if _, ok := Sources.Value(nil, field); !ok {
			t.Errorf("sources have no field %q", field)
		}
	}
}
