package status

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/golden"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func application(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	return golden.AsServed(t, map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
		"metadata": map[string]any{"name": "large", "namespace": "argocd", "creationTimestamp": "2026-01-01T11:00:00Z"},
		"spec": map[string]any{
			"source":      map[string]any{"repoURL": "https://git.example.com/apps.git", "path": "large"},
			"destination": map[string]any{"server": "https://kubernetes.default.svc", "namespace": "large"},
		},
	})
}

// TestProjectingTwiceIsQuiet makes reports of every shape, one after the other
// on one object: each of them, told twice, must be no news the second time, also
// when it was looked at later.
func TestProjectingTwiceIsQuiet(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		o := application(t)
		for step := range 6 {
			report := randomReport(random, noon.Add(time.Duration(step)*time.Minute))
			edits := Project(report, o, Options{})
			o = apply(t, o, edits)
			later := *report
			later.At = later.At.Add(30 * time.Second)
			again := Project(&later, o, Options{})
			if again.Status != nil || again.Fields != nil || again.Annotations != nil || again.Finalizers != nil || len(again.Events) > 0 {
				t.Fatalf("seed %d, step %d: the same report is news:\n%s\nafter\n%s", seed, step, dump(again), dump(o.Object))
			}
		}
	}
}

func dump(value any) string {
	content, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func randomReport(random *rand.Rand, at time.Time) *model.Report {
	pick := func(n int) bool { return random.IntN(n) == 0 }
	phases := []model.Phase{model.PhaseResolve, model.PhaseRender, model.PhaseGate, model.PhaseApply, model.PhaseSettle, model.PhaseDone}
	states := []model.Healthiness{model.Current, model.InProgress, model.Unhealthy, model.Terminating, model.NotFound, model.Unknown, model.Paused}
	report := &model.Report{At: at, Phase: phases[random.IntN(len(phases))], Compared: !pick(3), Running: pick(4), Sync: []model.SyncState{model.Synced, model.OutOfSync}[random.IntN(2)]}
	if pick(3) {
		report.Fault = &model.Fault{Reason: []string{"BuildFailed", conditionInvalidSpec, "DependencyNotReady"}[random.IntN(3)], Message: fmt.Sprint("fault ", random.IntN(3)), Waiting: pick(2)}
	}
	report.Inputs = []model.InputReport{{Revision: fmt.Sprint("r", random.IntN(3)), Kind: "Directory"}}
	for i := range random.IntN(4) {
		r := model.Resource{ID: object.ID{Kind: "ConfigMap", Namespace: "large", Name: fmt.Sprint("c", i)}, Version: "v1", Sync: report.Sync, Prune: pick(5)}
		if pick(2) {
			r.Health = &model.Health{State: states[random.IntN(len(states))], Message: "why"}
		}
		if pick(4) {
			r.Stage.Hooks = []model.SyncPhase{[]model.SyncPhase{model.PreSync, model.PostDelete, model.PreDelete}[random.IntN(3)]}
		}
		report.Resources = append(report.Resources, r)
	}
	for i := range random.IntN(3) {
		report.Findings = append(report.Findings, model.Finding{Severity: model.Warning, Reason: "NotActedOn", Message: fmt.Sprint("finding ", i)})
	}
	if pick(4) {
		report.Hold = &model.Hold{Token: "t", Deletes: []object.ID{{Kind: "ConfigMap", Name: "x"}}, Total: 1}
	}
	if !pick(3) {
		ends := []model.OperationPhase{model.OperationRunning, model.OperationSucceeded, model.OperationFailed}
		op := &model.OperationReport{Phase: ends[random.IntN(3)], Started: at.Add(-5 * time.Second), Revisions: []string{report.Inputs[0].Revision}, Retries: random.IntN(2)}
		op.Operation.Automated, op.Operation.DryRun = pick(2), pick(4)
		if op.Phase.Completed() {
			op.Finished = at.Add(-time.Second)
		}
		op.Results = []model.SyncResult{{Object: object.ID{Kind: "ConfigMap", Namespace: "large", Name: "c0"}, Code: model.ResultSynced, Phase: model.Sync}}
		report.Operation = op
	}
	return report
}

// TestLargeApplicationsFit has 3,000 objects with long names and messages, whose
// first sync created each of them.
func TestLargeApplicationsFit(t *testing.T) {
	for _, c := range []struct {
		name    string
		count   int
		message int // bytes of each object's health message
		result  string
		bad     bool
		want    []string
		all     bool // every resource is listed
	}{
		{name: "nothing to cut", count: 500, message: 20, result: "configmap/x created", all: true},
		{name: "results of what did not change go first", count: 2000, message: 200, result: "x unchanged", want: []string{"results of unchanged resources"}, all: true},
		{name: "then messages", count: 3000, message: 300, result: "configmap/x unchanged", want: []string{"health messages of 3000 resources", "results of unchanged resources"}, all: true},
		{name: "and results of what was synced", count: 3000, message: 300, result: "configmap/x created", want: []string{"health messages", "results of resources that were synced"}, all: true},
		{name: "resources that are fine at last", count: 9000, message: 10, result: "configmap/x created", want: []string{"health of", " resources"}},
		{name: "and bad ones, when they are too many", count: 9000, message: 10, result: "configmap/x failed", bad: true, want: []string{" resources"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := largeReport(c.count, c.message, c.result, c.bad)
			o := application(t)
			edits := Project(report, o, Options{})
			written := apply(t, o, edits)
			if n := size(written.Object); n >= 1<<20 {
				t.Fatalf("the object has %d bytes", n)
			}
			told := conditionOf(written, ConditionWarning)
			for _, part := range c.want {
				if !strings.Contains(told, part) {
					t.Errorf("the condition %q does not tell of %q", told, part)
				}
			}
			if (told == "") != (len(c.want) == 0) || told != "" && !strings.Contains(told, "in the journal") {
				t.Errorf("the condition says %q", told)
			}
			listed, _, err := unstructured.NestedSlice(written.Object, "status", "resources")
			if err != nil {
				t.Fatal(err)
			}
			if (len(listed) == c.count) != c.all {
				t.Errorf("%d of %d resources are listed", len(listed), c.count)
			}
			if !c.bad && !slices.ContainsFunc(lines(any(listed)), func(line map[string]any) bool { return line["name"] == nameOf(0) && line["status"] == "OutOfSync" }) {
				t.Error("the one that is not in sync is not listed")
			}
			if again := Project(report, written, Options{}); again.Status != nil || len(again.Events) > 0 {
				t.Error("the same report twice is news")
			}
		})
	}
}

func nameOf(i int) string { return fmt.Sprintf("a-config-map-with-a-rather-long-name-%05d", i) }

func largeReport(count, message int, result string, bad bool) *model.Report {
	report := &model.Report{At: noon, Phase: model.PhaseDone, Compared: true, Sync: model.OutOfSync, Inputs: []model.InputReport{{Revision: "abc", Kind: "Directory"}}}
	op := &model.OperationReport{Operation: model.Operation{Automated: true}, Phase: model.OperationSucceeded, Started: noon.Add(-time.Minute), Finished: noon, Revisions: []string{"abc"}}
	code := model.ResultSynced
	if strings.Contains(result, "failed") {
		code = model.ResultFailed
	}
	for i := range count {
		id := object.ID{Group: "example.com", Kind: "Configuration", Namespace: "a-namespace", Name: nameOf(i)}
		r := model.Resource{ID: id, Version: "v1", Sync: model.Synced, Health: &model.Health{State: model.Current, Message: strings.Repeat("m", message)}}
		if bad || i == 0 {
			r.Sync, r.Health.State = model.OutOfSync, model.Unhealthy
		}
		report.Resources = append(report.Resources, r)
		op.Results = append(op.Results, model.SyncResult{Object: id, Version: "v1", Code: code, Message: result, HookPhase: model.OperationSucceeded, Phase: model.Sync})
	}
	report.Operation = op
	return report
}

// TestHistoryGivesWay has sources so large that ten copies of them do not fit.
func TestHistoryGivesWay(t *testing.T) {
	o := application(t)
	if err := unstructured.SetNestedField(o.Object, strings.Repeat("v", 100<<10), "spec", "source", "helm", "values"); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		at := noon.Add(time.Duration(i) * time.Hour)
		o = apply(t, o, Project(&model.Report{
			At: at, Phase: model.PhaseDone, Compared: true, Sync: model.Synced, Inputs: []model.InputReport{{Revision: fmt.Sprint(i)}},
			Operation: &model.OperationReport{Operation: model.Operation{Automated: true}, Phase: model.OperationSucceeded, Started: at, Finished: at, Revisions: []string{fmt.Sprint(i)}},
		}, o, Options{}))
		if n := size(o.Object); n >= 1<<20 {
			t.Fatalf("after %d syncs the object has %d bytes", i+1, n)
		}
	}
	history, _, err := unstructured.NestedSlice(o.Object, "status", "history")
	if err != nil {
		t.Fatal(err)
	}
	last, _ := history[len(history)-1].(map[string]any)
	if len(history) < 2 || len(history) >= defaultHistory || last["id"] != int64(11) {
		t.Errorf("%d entries, the last is %v", len(history), last["id"])
	}
	if told := conditionOf(o, ConditionWarning); !strings.Contains(told, "older entries of the history") {
		t.Errorf("the condition says %q", told)
	}
}

func conditionOf(o *unstructured.Unstructured, kind string) string {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range lines(any(list)) {
		if c["type"] == kind {
			return text(c, "message")
		}
	}
	return ""
}

func TestManyFindingsAreBounded(t *testing.T) {
	report := &model.Report{At: noon, Phase: model.PhaseDone, Compared: true, Sync: model.Synced}
	for i := range 500 {
		report.Findings = append(report.Findings, model.Finding{Severity: model.Warning, Reason: "NotActedOn", Message: fmt.Sprintf("%03d %s", i, strings.Repeat("x", 10<<10))})
	}
	o := apply(t, application(t), Project(report, application(t), Options{}))
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	if len(list) != maxOfOneType {
		t.Fatalf("%d conditions", len(list))
	}
	said := ""
	for _, c := range lines(any(list)) {
		said += text(c, "message")
	}
	if !strings.Contains(said, fmt.Sprintf("and %d more like these", 500-maxOfOneType+1)) || len(said) > maxOfOneType*maxMessage {
		t.Errorf("%d bytes are said", len(said))
	}
}

func TestHealthWords(t *testing.T) {
	want := map[model.Healthiness]string{
		model.Current: "Healthy", model.InProgress: "Progressing", model.Unhealthy: "Degraded", model.Terminating: "Progressing",
		model.NotFound: "Missing", model.Unknown: "Unknown", model.Paused: "Suspended", "": "Unknown",
	}
	for state, word := range want {
		if got := healthWord(state); got != word {
			t.Errorf("%q is %q, want %q", state, got, word)
		}
	}
}

func TestHydratedSource(t *testing.T) {
	o := application(t)
	o.Object["spec"] = map[string]any{
		"destination": map[string]any{"name": "in-cluster"},
		"sourceHydrator": map[string]any{
			"drySource":  map[string]any{"repoURL": "https://git.example.com/a.git", "path": "dry", "targetRevision": "main"},
			"syncSource": map[string]any{"path": "wet", "targetBranch": "env/prod"},
		},
	}
	want := map[string]any{"repoURL": "https://git.example.com/a.git", "path": "wet", "targetRevision": "env/prod"}
	if got := sourceOf(o); !sameJSON(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestRefusedWhileDeleted(t *testing.T) {
	o := application(t)
	o.Object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T12:00:00Z"
	edits := Refuse(&model.Fault{Reason: "InvalidSpecError", Message: "no such cluster"}, nil, o, Options{})
	written := apply(t, o, edits)
	if got := conditionOf(written, conditionDeletion); got != "no such cluster" {
		t.Errorf("DeletionError says %q", got)
	}
	if edits.Finalizers != nil {
		t.Errorf("finalizers are touched: %v", edits.Finalizers)
	}
}

func TestOperationID(t *testing.T) {
	o := application(t)
	if id := OperationID(o); id != "" {
		t.Errorf("nothing is asked for: %q", id)
	}
	o.Object["operation"] = map[string]any{"sync": map[string]any{"revision": "main", "prune": true}}
	first := OperationID(o)
	o.Object["operation"] = map[string]any{"sync": map[string]any{"prune": true, "revision": "main"}}
	if OperationID(o) != first || first == "" {
		t.Error("the order of fields counts")
	}
	o.Object["operation"] = map[string]any{"sync": map[string]any{"prune": true, "revision": "v2"}}
	if OperationID(o) == first {
		t.Error("another revision is the same request")
	}
}

// Command lines that wait for a rollback go on until the Application was looked at
// after its end, though it may have found nothing to do.
func TestOperationWithNothingToDoIsALook(t *testing.T) {
	o := application(t)
	edits := Project(&model.Report{At: noon, Compared: true, Sync: model.Synced}, o, Options{})
	o = apply(t, o, edits)
	for after, want := range map[time.Duration]string{-time.Minute: "2026-01-01T12:00:00Z", time.Minute: "2026-01-01T12:01:00Z", 0: "2026-01-01T12:00:00Z"} {
		op := &model.OperationReport{Phase: model.OperationSucceeded, Message: "successfully synced", Started: noon.Add(after), Finished: noon.Add(after)}
		told := Project(&model.Report{At: noon.Add(-time.Hour), Operation: op}, o, Options{})
		if got := told.Status["reconciledAt"]; got != want {
			t.Errorf("an operation that ended %s later: looked at %v, want %s", after, got, want)
		}
	}
	running := &model.OperationReport{Phase: model.OperationRunning, Started: noon.Add(time.Minute)}
	if got := Project(&model.Report{At: noon.Add(time.Minute), Operation: running}, o, Options{}).Status["reconciledAt"]; got != "2026-01-01T12:00:00Z" {
		t.Errorf("one that goes on: %v", got)
	}
}
