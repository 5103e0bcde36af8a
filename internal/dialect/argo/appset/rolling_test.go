package appset

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func in(key string, values ...string) Step {
	return Step{MatchExpressions: []MatchExpression{{Key: key, Operator: "In", Values: values}}}
}

func upTo(step Step, maxUpdate intstr.IntOrString) Step {
	step.MaxUpdate = &maxUpdate
	return step
}

// TestRollWalksThroughTheSteps is one rollout, told look by look.
func TestRollWalksThroughTheSteps(t *testing.T) {
	steps := []Step{in("env", "dev"), upTo(in("env", "prod"), intstr.FromString("50%"))}
	apps := []AppState{
		{Name: "d", Labels: map[string]string{"env": "dev"}},
		{Name: "p1", Labels: map[string]string{"env": "prod"}},
		{Name: "p2", Labels: map[string]string{"env": "prod"}},
		{Name: "other"},
	}
	for i := range apps {
		apps[i].Exists, apps[i].Sync, apps[i].Health, apps[i].Revisions = true, "OutOfSync", "Healthy", []string{"r1"}
	}
	var statuses []AppStatus
	now := noon
	look := func(want string) {
		t.Helper()
		now = now.Add(time.Second)
		rollout := Roll(steps, apps, statuses, now)
		statuses = rollout.Statuses
		var got []string
		for _, s := range statuses {
			got = append(got, fmt.Sprintf("%s:%s/%d", s.Application, s.State, s.Step))
		}
		if text := fmt.Sprintf("%s @%d", strings.Join(got, " "), rollout.Step); text != want {
			t.Fatalf("got  %s\nwant %s", text, want)
		}
	}
	app := func(name string) *AppState {
		return &apps[slices.IndexFunc(apps, func(a AppState) bool { return a.Name == name })]
	}
	done := func(name string) { app(name).Sync, app(name).Health = "Synced", "Healthy" }

	look("d:Pending/1 other:Waiting/-1 p1:Waiting/2 p2:Waiting/2 @1")
	app("d").Started = now // it began before
	look("d:Pending/1 other:Waiting/-1 p1:Waiting/2 p2:Waiting/2 @1")
	app("d").Started = now.Add(time.Second)
	look("d:Progressing/1 other:Waiting/-1 p1:Waiting/2 p2:Waiting/2 @1")
	app("d").Sync, app("d").Health = "Synced", "Progressing"
	look("d:Progressing/1 other:Waiting/-1 p1:Waiting/2 p2:Waiting/2 @1")
	done("d")
	look("d:Healthy/1 other:Waiting/-1 p1:Pending/2 p2:Waiting/2 @2")
	app("p1").Failed, app("p1").ReconciledAt = true, now.Add(time.Second)
	look("d:Healthy/1 other:Waiting/-1 p1:Progressing/2 p2:Waiting/2 @2")
	app("p1").Failed = false
	done("p1")
	look("d:Healthy/1 other:Waiting/-1 p1:Healthy/2 p2:Pending/2 @2")
	done("p2") // somebody synced it by hand
	look("d:Healthy/1 other:Waiting/-1 p1:Healthy/2 p2:Healthy/2 @0")
	app("d").Revisions, app("d").Sync = []string{"r2"}, "OutOfSync"
	app("p1").Stale = true
	look("d:Pending/1 other:Waiting/-1 p1:Waiting/2 p2:Healthy/2 @1")
	done("d")
	look("d:Healthy/1 other:Waiting/-1 p1:Waiting/2 p2:Healthy/2 @2") // p1 was not compared with its new spec yet
	app("p1").Stale, app("p1").Sync = false, "OutOfSync"
	look("d:Healthy/1 other:Waiting/-1 p1:Pending/2 p2:Healthy/2 @2")
	app("p2").Exists = false // wanted and gone
	look("d:Healthy/1 other:Waiting/-1 p1:Pending/2 @2")
	done("p1")
	look("d:Healthy/1 other:Waiting/-1 p1:Healthy/2 @2")
}

// TestRollWaitsForAllToSeeACommit has the second step see a commit first.
func TestRollWaitsForAllToSeeACommit(t *testing.T) {
	steps := []Step{in("env", "dev"), in("env", "prod")}
	apps := []AppState{{Name: "d", Labels: map[string]string{"env": "dev"}}, {Name: "p", Labels: map[string]string{"env": "prod"}}}
	for i := range apps {
		apps[i].Exists, apps[i].Sync, apps[i].Health = true, "Synced", "Healthy"
		apps[i].Revisions, apps[i].Sources = []string{"r1"}, []string{"repo"}
	}
	var statuses []AppStatus
	state := func(name string) RollState {
		statuses = Roll(steps, apps, statuses, noon).Statuses
		return statuses[slices.IndexFunc(statuses, func(s AppStatus) bool { return s.Application == name })].State
	}
	if got := state("p"); got != Healthy {
		t.Fatalf("got %s", got)
	}
	apps[1].Sync, apps[1].Revisions = "OutOfSync", []string{"r2"}
	if got := state("p"); got != Waiting {
		t.Fatalf("the second step is %s although the first has not seen the commit", got)
	}
	apps[0].Paused = true
	if got := state("p"); got != Pending {
		t.Fatalf("the second step is %s although nobody looks at the first", got)
	}
	apps[0].Paused, statuses[1].State = false, Waiting
	apps[0].Revisions = []string{"r2"}
	if got := state("p"); got != Pending {
		t.Fatalf("the second step is %s although the first has seen the commit", got)
	}
}

// TestRollLimits compares maxUpdate with upstream's rounding.
func TestRollLimits(t *testing.T) {
	for _, c := range []struct {
		maxUpdate *intstr.IntOrString
		apps      int
		want      int
	}{
		{nil, 7, 7},
		{ptr(intstr.FromInt32(0)), 7, 0},
		{ptr(intstr.FromInt32(3)), 7, 3},
		{ptr(intstr.FromString("10%")), 7, 1},
		{ptr(intstr.FromString("50%")), 7, 3},
		{ptr(intstr.FromString("0%")), 7, 0},
		{ptr(intstr.FromString("100%")), 7, 7},
		{ptr(intstr.FromString("many")), 7, 1},
	} {
		step := in("a", "b")
		step.MaxUpdate = c.maxUpdate
		var apps []AppState
		for i := range c.apps {
			apps = append(apps, AppState{Name: fmt.Sprint(i), Labels: map[string]string{"a": "b"}, Exists: true, Sync: "OutOfSync"})
		}
		rollout := Roll([]Step{step}, apps, nil, noon)
		moving := 0
		for _, s := range rollout.Statuses {
			if s.State == Pending {
				moving++
			}
		}
		if moving != c.want {
			t.Errorf("maxUpdate %v: %d of %d move, want %d", c.maxUpdate, moving, c.apps, c.want)
		}
		if bad := c.maxUpdate != nil && c.maxUpdate.StrVal == "many"; bad != (rollout.Problem != "") {
			t.Errorf("maxUpdate %v: problem %q", c.maxUpdate, rollout.Problem)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// TestRollProblems names what is wrong with steps.
func TestRollProblems(t *testing.T) {
	apps := []AppState{{Name: "a", Labels: map[string]string{"env": "dev"}, Exists: true}}
	for _, c := range []struct {
		steps []Step
		want  string
	}{
		{[]Step{in("env", "dev")}, ""},
		{[]Step{in("env", "dev"), in("env", "prod")}, "no Application is selected by steps 2"},
		{[]Step{in("env", "dev"), {MatchExpressions: []MatchExpression{{Key: "tier", Operator: "NotIn", Values: []string{"x"}}}}}, "Application a is selected by steps 1, 2 (1 such Applications)"},
		{[]Step{{MatchExpressions: []MatchExpression{{Key: "env", Operator: "Exists"}}}}, `step 1 has the operator "Exists": only In and NotIn exist`},
	} {
		if got := Roll(c.steps, apps, nil, noon).Problem; got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// simulated is an Application with what a cluster would do to it.
type simulated struct {
	name, env               string
	revision, spec          int // wanted
	syncedRev, syncedSpec   int
	opRev, opSpec           int
	opRunning               bool
	status                  AppState
	comparedRev, comparedOf int
}

type simulation struct {
	steps []Step
	apps  []*simulated
	saved *unstructured.Unstructured // the set, as persisted
	now   time.Time
}

func newSimulation(r *rand.Rand) *simulation {
	s := &simulation{now: noon}
	envs := []string{"dev", "qa", "prod"}
	for _, env := range envs[:1+r.IntN(3)] {
		step := in("env", env)
		switch r.IntN(4) {
		case 0:
			step = upTo(step, intstr.FromInt32(1+r.Int32N(3)))
		case 1:
			step = upTo(step, intstr.FromString(fmt.Sprintf("%d%%", 1+r.IntN(100))))
		}
		s.steps = append(s.steps, step)
	}
	for i := range 1 + r.IntN(8) {
		s.apps = append(s.apps, &simulated{name: fmt.Sprintf("app-%d", i), env: envs[r.IntN(3)], comparedOf: -1, opSpec: -1, syncedRev: -1, syncedSpec: -1})
	}
	s.saved = &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kindSet, "metadata": map[string]any{"name": "s", "namespace": "argocd"},
		"spec": map[string]any{"strategy": map[string]any{"type": "RollingSync", "rollingSync": map[string]any{"steps": []any{map[string]any{}}}}},
	}}
	return s
}

func (a *simulated) state() AppState {
	out := a.status
	out.Name, out.Labels, out.Exists = a.name, map[string]string{"env": a.env}, true
	out.Stale = a.comparedOf >= 0 && a.comparedOf != a.spec
	out.Elsewhere = a.opSpec >= 0 && a.opSpec != a.spec
	return out
}

// reconcile compares, and begins an operation when it is the turn.
func (s *simulation) reconcile(a *simulated) {
	a.comparedOf, a.comparedRev = a.spec, a.revision
	a.status.Revisions = []string{fmt.Sprint(a.revision)}
	a.status.Sync = "OutOfSync"
	if a.syncedRev == a.revision && a.syncedSpec == a.spec {
		a.status.Sync = "Synced"
	}
	a.status.ReconciledAt = s.now.Truncate(time.Second)
	if allowed, _ := Turn(s.saved, a.name); allowed && a.status.Sync == "OutOfSync" && !a.opRunning {
		a.opRunning, a.opRev, a.opSpec = true, a.revision, a.spec
		a.status.Started = s.now.Truncate(time.Second)
	}
}

func (s *simulation) finish(a *simulated) {
	if !a.opRunning {
		return
	}
	a.opRunning = false
	a.syncedRev, a.syncedSpec = a.opRev, a.opSpec
	a.status.Health = "Progressing"
	s.reconcile(a)
}

// roll looks once, and checks what must always hold.
func (s *simulation) roll(t *testing.T) {
	t.Helper()
	before := readStatuses(s.saved)
	var states []AppState
	for _, a := range s.apps {
		states = append(states, a.state())
	}
	rollout := Roll(s.steps, states, before, s.now)
	s.check(t, before, rollout)
	s.saved.Object["status"] = map[string]any{"applicationStatus": writeStatuses(rollout.Statuses)}
	// A crash after the write, or before it: the same question again.
	if again := Roll(s.steps, states, readStatuses(s.saved), s.now); !reflect.DeepEqual(writeStatuses(again.Statuses), writeStatuses(rollout.Statuses)) {
		t.Fatalf("asked twice, the answer differs:\n%v\n%v", rollout.Statuses, again.Statuses)
	}
	if lost := Roll(s.steps, states, before, s.now); !reflect.DeepEqual(lost, rollout) {
		t.Fatalf("the result is no function of what is persisted")
	}
}

func (s *simulation) check(t *testing.T, before []AppStatus, rollout Rollout) {
	t.Helper()
	for step := 1; step <= len(s.steps); step++ {
		total, moving, began := 0, 0, 0
		complete := true
		for _, status := range rollout.Statuses {
			if status.Step > 0 && status.Step < step && status.State != Healthy {
				complete = false
			}
			if status.Step != step {
				continue
			}
			total++
			if status.State == Pending || status.State == Progressing {
				moving++
			}
			i := slices.IndexFunc(before, func(b AppStatus) bool { return b.Application == status.Application })
			if status.State == Pending && (i < 0 || before[i].State != Pending) {
				began++
			}
		}
		limit := (&roll{steps: s.steps}).limit(step, total)
		if began > 0 && moving > limit {
			t.Fatalf("step %d: %d begin and %d move, at most %d may", step, began, moving, limit)
		}
		if began > 0 && !complete {
			t.Fatalf("step %d begins before earlier ones are complete: %v", step, rollout.Statuses)
		}
	}
	for _, status := range rollout.Statuses {
		a := s.apps[slices.IndexFunc(s.apps, func(a *simulated) bool { return a.name == status.Application })].state()
		if status.State == Healthy && (a.Stale || a.Sync == "OutOfSync") {
			t.Fatalf("%s counts as complete and has changes: %+v", status.Application, a)
		}
		if status.Step < 1 && status.State == Pending {
			t.Fatalf("%s is in no step and has its turn", status.Application)
		}
	}
}

// TestRollHoldsUnderAnyEvents plays random events, with a restart at every
// look, and then lets everything settle.
func TestRollHoldsUnderAnyEvents(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := newSimulation(r)
		for range 120 {
			a := s.apps[r.IntN(len(s.apps))]
			switch r.IntN(10) {
			case 0:
				a.revision++
			case 1:
				a.spec++
			case 2, 3:
				s.reconcile(a)
			case 4:
				s.finish(a)
			case 5:
				a.status.Health = []string{"Healthy", "Progressing", "Degraded"}[r.IntN(3)]
			case 6:
				s.now = s.now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
			case 7:
				if len(s.apps) > 1 {
					s.apps = slices.DeleteFunc(s.apps, func(x *simulated) bool { return x == a })
				}
			default:
				s.roll(t)
			}
		}
		for range 20 * len(s.apps) {
			for _, a := range s.apps {
				s.reconcile(a)
				s.finish(a)
				a.status.Health = "Healthy"
			}
			s.roll(t)
		}
		for _, status := range readStatuses(s.saved) {
			if status.Step > 0 && status.State != Healthy {
				t.Fatalf("seed %d: %s ends %s (%s)", seed, status.Application, status.State, status.Message)
			}
		}
	}
}

// TestTurn asks as the Application does.
func TestTurn(t *testing.T) {
	set := func(kind string, entries ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"name": "s"},
			"spec":     map[string]any{"strategy": map[string]any{"type": kind, "rollingSync": map[string]any{"steps": []any{map[string]any{}}}}},
			"status":   map[string]any{"applicationStatus": entries},
		}}
	}
	entry := func(state, step string) map[string]any {
		return map[string]any{"application": "a", "status": state, "step": step}
	}
	for _, c := range []struct {
		set  *unstructured.Unstructured
		want string
	}{
		{set("AllAtOnce"), ""},
		{set("RollingSync"), "does not know it yet"},
		{set("RollingSync", entry("Pending", "1")), ""},
		{set("RollingSync", entry("Waiting", "2")), "wait for its turn in step 2"},
		{set("RollingSync", entry("Waiting", "-1")), "by hand"},
		{set("RollingSync", entry("Progressing", "1")), "has begun"},
		{set("RollingSync", entry("Healthy", "1")), "has completed"},
	} {
		allowed, why := Turn(c.set, "a")
		if allowed != (c.want == "") || !strings.Contains(why, c.want) || allowed && why != "" {
			t.Errorf("got %t %q, want %q", allowed, why, c.want)
		}
	}
}

// TestStateOf reads an Application as Argo CD writes it.
func TestStateOf(t *testing.T) {
	app := objectsIn(t, []byte(`
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: a, labels: {env: dev}}
spec: {source: {repoURL: x, path: p, helm: {}}, destination: {server: s}}
status:
  reconciledAt: '2026-01-01T12:00:00Z'
  health: {status: Healthy}
  sync:
    status: Synced
    revision: abc
    comparedTo: {source: {repoURL: x, path: p}, destination: {server: s}}
  operationState: {startedAt: '2026-01-01T11:00:00Z', syncResult: {source: {repoURL: x, path: old}}}
  conditions: [{type: InvalidSpecError}]
`))[0]
	want := AppState{
		Name: "a", Labels: map[string]string{"env": "dev"}, Exists: true, Revisions: []string{"abc"}, Sync: "Synced", Health: "Healthy",
		Sources: []string{"x <nil> <nil>"}, ReconciledAt: noon, Started: noon.Add(-time.Hour), Failed: true, Elsewhere: true,
	}
	if got := StateOf(app); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	_ = unstructured.SetNestedField(app.Object, "other", "spec", "source", "path")
	if !StateOf(app).Stale {
		t.Error("a comparison with another path is not stale")
	}
}
