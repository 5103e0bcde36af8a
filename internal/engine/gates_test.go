package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func TestAnAdditiveExpressionDoesNotStandAlone(t *testing.T) {
	e, _ := bookOf(t)
	d, other := declare(e, "web"), declare(e, "base")
	r := &run{e: e, d: d, spec: d.spec}
	for name, c := range map[string]struct {
		dep   model.Dependency
		ready bool
	}{
		"no expression": {model.Dependency{On: other.spec.ID}, false},
		"alone":         {model.Dependency{On: other.spec.ID, ReadyExpr: "true"}, true},
		"additive":      {model.Dependency{On: other.spec.ID, ReadyExpr: "true", Additive: true}, false},
	} {
		e.mu.Lock()
		ready, why := e.ready(r, &c.dep)
		e.mu.Unlock()
		if ready != c.ready {
			t.Errorf("%s: %v %s", name, ready, why)
		}
	}
}

func TestAPatientWaitGoesOnUntilItsEnd(t *testing.T) {
	e, _ := bookOf(t)
	d := declare(e, "web", thing)
	d.desired = []model.Desired{{ID: thing, Version: "v1"}}
	e.mu.Lock()
	e.own(key{id: thing}, d.spec.ID, "v1").health = model.Health{State: model.Unhealthy, Reason: "Failed", Message: "it has failed"}
	e.mu.Unlock()
	wait := func(patient bool, timeout time.Duration) (running bool, err error) {
		d.health = nil
		r := &run{e: e, d: d, spec: d.spec, seen: map[object.ID]observed{}, report: &model.Report{Delivery: d.spec.ID}}
		r.spec.Policy.Wait, r.spec.Policy.Patient, r.spec.Policy.Timeout = true, patient, timeout
		err = r.settle(context.Background())
		return r.report.Running, err
	}
	var fault *model.Fault
	if _, err := wait(false, time.Hour); !errors.As(err, &fault) || fault.Reason != "HealthCheckFailed" {
		t.Errorf("what has failed is waited for: %v", err)
	}
	if running, err := wait(true, time.Hour); err != nil || !running {
		t.Errorf("what has failed is not waited for: %v", err)
	}
	if _, err := wait(true, 0); !errors.As(err, &fault) || fault.Reason != "HealthCheckFailed" {
		t.Errorf("it is waited for after the timeout: %v", err)
	}
}

// TestAKindIsJudgedByItsOwnExpressions: those of its group are for the others,
// wherever they stand.
func TestAKindIsJudgedByItsOwnExpressions(t *testing.T) {
	of := func(kind, state string) model.HealthExpr {
		return model.HealthExpr{APIVersion: "example.org/v1", Kind: kind, Current: "false", Failed: state}
	}
	judged := func(kind string, exprs ...model.HealthExpr) model.Healthiness {
		j, fault := judgements(&model.Delivery{Policy: model.Policy{HealthExprs: exprs}})
		if fault != nil {
			t.Fatal(fault)
		}
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.org/v1", "kind": kind}}
		if x := j.expression(o); x != nil {
			return x.Judge(o).State
		}
		return ""
	}
	group, thing := of("", "true"), of("Thing", "false")
	for _, exprs := range [][]model.HealthExpr{{group, thing}, {thing, group}} {
		if got := judged("Thing", exprs...); got != model.InProgress {
			t.Errorf("its own: %s", got)
		}
		if got := judged("Other", exprs...); got != model.Unhealthy {
			t.Errorf("that of the group: %s", got)
		}
	}
	if got := judged("Other", thing); got != "" {
		t.Errorf("that of another kind: %s", got)
	}
}
