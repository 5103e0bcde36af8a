package engine

import (
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/differ"
	"plumb.dev/plumb/internal/health"
	"plumb.dev/plumb/internal/model"
)

// judgement is how a delivery's live objects are judged: the rules of its
// policy, compiled once for each declaration.
type judgement struct {
	exprs []*health.Expr   // spec.Policy.HealthExprs, in their order
	lua   *health.LuaRules // nil: nobody brought any
	rules *differ.Rules    // what counts as no difference
	// findings tell of rules that are left out.
	findings []model.Finding
	// implicit are those of rules that nobody wrote: they are always respected.
	// nil: none.
	implicit *differ.Rules
	// queries are those of rules that jq path expressions give, of a delivery that
	// is not staged. nil: none.
	queries *differ.Rules
}

// judgements compiles the rules of a delivery. They are compiled before the
// first event is judged.
func judgements(spec *model.Delivery) (judgement, *model.Fault) {
	var j judgement
	for i, he := range spec.Policy.HealthExprs {
		x, err := health.CompileExpr(he)
		if err != nil {
			f := asFault(err, "InvalidCELExpression")
			f.Origin.Declared = spec.ID
			f.Origin.Field = fmt.Sprintf("spec.healthCheckExprs[%d].%s", i, f.Origin.Field)
			return unruled(), f
		}
		j.exprs = append(j.exprs, x)
	}
	var err error
	if j.rules, err = differ.Compile(spec.Policy.Ignore, spec.Policy.Compare, marks(&spec.Ownership)); err != nil {
		return unruled(), asFault(err, "InvalidSpecError")
	}
	if queries := queried(spec); len(queries) > 0 {
		if j.queries, err = differ.Compile(queries, model.CompareRules{}); err != nil {
			return unruled(), asFault(err, "InvalidSpecError")
		}
	}
	if spec.Policy.HealthRules != nil {
		j.lua, err = health.CompileLua(spec.Policy.HealthRules)
		j.lua = j.lua.WithClock(time.Now)
		if err != nil { // the other scripts hold
			j.findings = append(j.findings, model.Finding{
				Severity: model.Warning, Reason: "HealthRuleFailed", Message: err.Error(), Origin: model.Origin{Declared: spec.ID},
			})
		}
	}
	return j, nil
}

// queried are the rules of a delivery that is not staged, as far as jq path
// expressions give them.
func queried(spec *model.Delivery) []model.IgnoreRule {
	var out []model.IgnoreRule
	for _, rule := range spec.Policy.Ignore {
		if len(rule.Queries) > 0 && !spec.Sync.Staged {
			rule.Paths, rule.Managers = nil, nil
			out = append(out, rule)
		}
	}
	return out
}

// marks are what a delivery puts on its objects besides what Git says: no
// difference, as long as nobody has asked for a sync.
func marks(owner *model.Ownership) differ.Option {
	labels := []string{WatchLabel}
	for k := range owner.Labels {
		labels = append(labels, k)
	}
	var annotations []string
	if t := owner.Tracking; t.Annotation != "" {
		annotations = append(annotations, t.Annotation, t.InstallationAnnotation)
	}
	return differ.Marks(labels, annotations)
}

// unruled judges without rules, while those of a delivery cannot be used.
func unruled() judgement {
	rules, err := differ.Compile(nil, model.CompareRules{})
	if err != nil {
		panic(err) // no rule, no error
	}
	return judgement{rules: rules}
}

// autoscaled leaves the replica counts of workloads to the autoscalers that the
// delivery itself wants for them: two writers of one field would never agree.
// The caller holds e.mu.
func (e *Engine) autoscaled(d *delivery) {
	if !d.spec.Sync.Staged {
		return
	}
	implicit := differ.AutoscaledReplicas(d.desired)
	if len(implicit) == 0 && len(d.implicit) == 0 {
		return
	}
	d.implicit = implicit
	rules, err := differ.Compile(append(append([]model.IgnoreRule{}, d.spec.Policy.Ignore...), implicit...), d.spec.Policy.Compare, marks(&d.spec.Ownership))
	if err != nil {
		return // the rules that somebody wrote have been compiled before
	}
	d.judgement.rules, d.judgement.implicit = rules, nil
	if len(implicit) > 0 {
		d.judgement.implicit, _ = differ.Compile(implicit, model.CompareRules{})
	}
}

// judgedAlike reports whether two declarations of a delivery judge health alike.
func judgedAlike(a, b *model.Delivery) bool {
	return reflect.DeepEqual(a.Policy.HealthExprs, b.Policy.HealthExprs) && sameRules(a.Policy.HealthRules, b.Policy.HealthRules) &&
		waitsAsHelm3(a) == waitsAsHelm3(b)
}

func sameRules(a, b *model.HealthRules) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Digest == b.Digest
}

// waitsAsHelm3 reports whether a delivery is a release that is waited for as Helm 3
// did.
func waitsAsHelm3(spec *model.Delivery) bool {
	return spec.Release != nil && spec.Release.WaitStrategy == model.WaitLegacy
}

// expression is the CEL judgement for an object's kind, or else for its group; nil
// when there is none (fluxcd/pkg runtime/cel, StatusReader).
func (j *judgement) expression(o *unstructured.Unstructured) *health.Expr {
	var ofGroup *health.Expr
	for _, x := range j.exprs {
		switch {
		case !x.Matches(o.GroupVersionKind().GroupKind()):
		case x.OfGroup():
			ofGroup = x
		default:
			return x
		}
	}
	return ofGroup
}

// judgeHealth judges one live object in the words of the delivery: for a staged
// one those of Argo CD, where a kind may have no health at all, and for a release
// those of the waiter that it asks for.
func (e *Engine) judgeHealth(d *delivery, o *unstructured.Unstructured) model.Health {
	if waitsAsHelm3(&d.spec) {
		return health.AsHelm3(o) // expressions belong to the other strategy
	}
	if expr := d.judgement.expression(o); expr != nil {
		return expr.Judge(o)
	}
	if !d.spec.Sync.Staged || d.spec.Release != nil {
		return health.Of(o)
	}
	h, known, err := d.judgement.lua.Assess(o)
	switch {
	case err != nil:
		return model.Health{State: model.Unknown, Reason: "HealthRuleFailed", Message: err.Error()}
	case !known:
		return model.Health{}
	}
	return h
}

// handling reads what a live object asks for, and its sync wave.
func (e *Engine) handling(spec *model.Delivery, live *unstructured.Unstructured) (model.Handling, int) {
	if spec.Release != nil {
		return releaseHandling(live), 0
	}
	handle, stage := e.opts.Words.Handling(spec.Origin.Dialect, live)
	if options := &spec.Sync.Options; spec.Sync.Staged {
		if !handle.SaysPrune {
			handle.Keep = handle.Keep || options.PruneDefault == "false"
			handle.Confirm = handle.Confirm || options.PruneDefault == "confirm"
		}
		if !handle.SaysDelete {
			handle.Orphan = handle.Orphan || options.DeleteDefault == "false"
			handle.ConfirmDelete = handle.ConfirmDelete || options.DeleteDefault == "confirm"
		}
	}
	return handle, stage.Wave
}
