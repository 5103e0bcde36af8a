package health

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
)

// Bounds on what a user's expression may cost.
const (
	maxExpression = 16 << 10  // bytes; some ten times the longest seen in use
	maxNesting    = 100       // levels
	maxCost       = 1_000_000 // CEL cost units for one evaluation, the per-call limit of the API server
)

// invalidCEL is the condition reason of Flux for an expression that does not
// compile (fluxcd/pkg apis/meta).
const invalidCEL = "InvalidCELExpression"

// Expr judges the objects of one kind by a user's expressions.
type Expr struct {
	kind                        schema.GroupKind
	inProgress, failed, current cel.Program
}

// CompileExpr compiles the expressions for one kind
// (kustomize.toolkit.fluxcd.io spec.healthCheckExprs). As in Flux they are
// parsed but not type-checked, since every kind has other fields. An error is a
// *model.Fault with Origin.Field set to the field below the entry: "current",
// "failed" or "inProgress".
func CompileExpr(e model.HealthExpr) (*Expr, error) {
	if e.Current == "" {
		return nil, celFault("current", "the expression current is not set", "say by spec.healthCheckExprs[].current when an object is healthy", nil)
	}
	version, err := schema.ParseGroupVersion(e.APIVersion)
	if err != nil {
		return nil, celFault("apiVersion", fmt.Sprintf("apiVersion %q is not of the form group/version", e.APIVersion), "", err)
	}
	compiled := &Expr{kind: schema.GroupKind{Group: version.Group, Kind: e.Kind}}
	for _, part := range []struct {
		field, text string
		program     *cel.Program
	}{
		{"inProgress", e.InProgress, &compiled.inProgress},
		{"failed", e.Failed, &compiled.failed},
		{"current", e.Current, &compiled.current},
	} {
		if part.text == "" {
			continue
		}
		program, err := parse(part.text)
		if err != nil {
			return nil, celFault(part.field, fmt.Sprintf("the expression %s is not valid CEL: %v", part.field, err), "", err)
		}
		*part.program = program
	}
	return compiled, nil
}

// Matches reports whether the expressions are for objects of a kind. Without a
// kind they are for the whole group.
func (e *Expr) Matches(kind schema.GroupKind) bool {
	return e.kind.Group == kind.Group && (e.kind.Kind == "" || e.kind.Kind == kind.Kind)
}

// OfGroup reports whether the expressions are for every kind of a group.
func (e *Expr) OfGroup() bool { return e.kind.Kind == "" }

// Judge evaluates the expressions in the order of Flux's RFC 0009: an
// observedGeneration that is behind, then inProgress, failed and current; when
// none holds, the object is in progress. An expression that cannot be evaluated,
// as over a field that is not there yet, leaves the health Unknown. An object
// being deleted is Terminating whatever the expressions say.
func (e *Expr) Judge(o *unstructured.Unstructured) model.Health {
	if o == nil || o.Object == nil {
		return Of(o)
	}
	live := fields(o.Object)
	if live.text("metadata", "deletionTimestamp") != "" {
		return terminating(live)
	}
	if health, behind := generationBehind(live, o.GetKind()); behind {
		return health
	}
	for _, part := range []struct {
		name    string
		program cel.Program
		health  model.Health
	}{
		{"inProgress", e.inProgress, inProgress("InProgress", "the health check expression inProgress holds%s", tellingCondition(live))},
		{"failed", e.failed, failed("Failed", "the health check expression failed holds%s", tellingCondition(live))},
		{"current", e.current, current("the health check expression current holds")},
	} {
		if part.program == nil {
			continue
		}
		holds, err := evaluate(part.program, o.Object)
		if err != nil {
			return model.Health{State: model.Unknown, Reason: "CELEvaluationFailed",
				Message: fmt.Sprintf("the health check expression %s cannot be evaluated: %s", part.name, evaluationError(err, o))}
		}
		if holds {
			return part.health
		}
	}
	return inProgress("InProgress", "no health check expression holds yet%s", tellingCondition(live))
}

// tellingCondition adds what the object says of itself, since an expression
// says only that it holds.
func tellingCondition(live fields) string {
	for _, kind := range []string{"Stalled", "Failed", "Reconciling"} {
		if c, ok := live.condition(kind); ok && c.status == "True" {
			return c.because()
		}
	}
	for _, kind := range []string{"Ready", "Synced", "Available"} {
		if c, ok := live.condition(kind); ok && c.status != "True" {
			return c.because()
		}
	}
	return ""
}

// Ready decides by an expression whether a dependency is ready.
type Ready struct{ program cel.Program }

// CompileReady compiles a readyExpr of a Kustomization's dependsOn: a boolean
// over self, the dependant, and dep, the dependency. As in Flux it is
// type-checked. An error is a *model.Fault with Origin.Field "readyExpr".
func CompileReady(expr string) (*Ready, error) {
	env, err := dependencyEnv()
	if err != nil {
		return nil, celFault("readyExpr", "CEL is not available", "", err)
	}
	if err := bounded(expr); err != nil {
		return nil, celFault("readyExpr", err.Error(), "", err)
	}
	ast, issues := env.Compile(expr)
	if issues != nil && issues.Err() != nil {
		return nil, celFault("readyExpr", "the expression readyExpr is not valid CEL: "+oneLine(issues.Err()), "", issues.Err())
	}
	if ast.OutputType() != cel.BoolType {
		return nil, celFault("readyExpr", fmt.Sprintf("the expression readyExpr gives a %s, not a boolean", ast.OutputType()), "compare the value with what it should be", nil)
	}
	program, err := toProgram(env, ast)
	if err != nil {
		return nil, celFault("readyExpr", "the expression readyExpr cannot be used: "+oneLine(err), "", err)
	}
	return &Ready{program: program}, nil
}

// Eval evaluates the expression over the two objects. It fails when a field is
// not there, as before the first status, or the evaluation costs too much.
func (r *Ready) Eval(self, dep map[string]any) (bool, error) {
	holds, err := evaluate(r.program, map[string]any{"self": self, "dep": dep})
	if err != nil {
		return false, &model.Fault{
			Reason:  "DependencyNotReady",
			Message: "the expression readyExpr cannot be evaluated: " + oneLine(err),
			Advice:  "guard fields that may be absent with has()",
			Origin:  model.Origin{Field: "readyExpr"},
			Retry:   true,
			Err:     err,
		}
	}
	return holds, nil
}

// environment is what expressions may use: the libraries and options that Flux
// gives them (fluxcd/pkg runtime/cel).
func environment(variables ...cel.EnvOption) (*cel.Env, error) {
	return cel.NewEnv(append([]cel.EnvOption{
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.ParserRecursionLimit(maxNesting),
		cel.ParserExpressionSizeLimit(maxExpression),
		ext.Strings(),
		ext.Sets(),
		ext.Encoders(),
	}, variables...)...)
}

var (
	objectEnv     = sync.OnceValues(func() (*cel.Env, error) { return environment() })
	dependencyEnv = sync.OnceValues(func() (*cel.Env, error) {
		document := cel.ObjectType("google.protobuf.Struct")
		return environment(cel.Variable("self", document), cel.Variable("dep", document))
	})
)

func parse(expr string) (cel.Program, error) {
	env, err := objectEnv()
	if err != nil {
		return nil, err
	}
	if err := bounded(expr); err != nil {
		return nil, err
	}
	ast, issues := env.Parse(expr)
	if issues != nil && issues.Err() != nil {
		return nil, errors.New(oneLine(issues.Err()))
	}
	return toProgram(env, ast)
}

func toProgram(env *cel.Env, ast *cel.Ast) (cel.Program, error) {
	return env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
}

func bounded(expr string) error {
	if len(expr) > maxExpression {
		return fmt.Errorf("the expression has %d bytes, more than the %d that are taken", len(expr), maxExpression)
	}
	return nil
}

func evaluate(program cel.Program, over map[string]any) (bool, error) {
	value, _, err := program.Eval(over)
	if err != nil {
		return false, err
	}
	holds, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("it gives a %s, not a boolean", value.Type().TypeName())
	}
	return bool(holds), nil
}

// evaluationError is the text of an error, unless it may repeat a value of a
// Secret.
func evaluationError(err error, o *unstructured.Unstructured) string {
	if o.GetKind() == "Secret" {
		return "the reason is not shown for a Secret"
	}
	return oneLine(err)
}

// oneLine takes the messages of CEL without the lines that draw the place.
func oneLine(err error) string {
	var kept []string
	for _, line := range strings.Split(err.Error(), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "|") {
			continue
		}
		kept = append(kept, strings.TrimPrefix(line, "ERROR: <input>:"))
	}
	return strings.Join(kept, "; ")
}

func celFault(field, message, advice string, cause error) error {
	return &model.Fault{
		Reason:  invalidCEL,
		Message: message,
		Advice:  advice,
		Origin:  model.Origin{Field: field},
		Err:     cause,
	}
}
