package health

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/health/script"
	"plumb.dev/plumb/internal/model"
)

// LuaRules are the health scripts of users, compiled. They are safe for
// concurrent use, and nil ones are none at all.
type LuaRules struct {
	exact     map[string]*luaRule // by "group/Kind", or "Kind" in the core group
	wildcards []wildcardRule      // most specific first
	clock     func() time.Time
}

// luaRule is a compiled script, or why it does not compile.
type luaRule struct {
	program *script.Program
	mistake error
}

type wildcardRule struct {
	key     string
	matches *regexp.Regexp
	rule    *luaRule
}

// invalidLua is the condition reason of a script that does not compile.
const invalidLua = "InvalidHealthScript"

// CompileLua compiles the scripts that users brought. Keys are "group/Kind", or
// "Kind" alone in the core group; a key with one of *?[{ is a glob over the
// whole of it, where a star also matches slashes and dots (Argo CD, "Wildcard
// Support for Custom Health Checks"). Empty scripts are none.
//
// A script or a key that is not valid makes a *model.Fault in the (joined)
// error, and its kinds unhealthy-unknown; the rules are returned nevertheless
// and hold all others. Rules of nil are nil.
func CompileLua(rules *model.HealthRules) (*LuaRules, error) {
	if rules == nil {
		return nil, nil
	}
	compiled := &LuaRules{exact: map[string]*luaRule{}}
	var mistakes []error
	keys := make([]string, 0, len(rules.Scripts))
	for key, source := range rules.Scripts {
		if source != "" {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	for _, key := range keys {
		rule := &luaRule{}
		rule.program, rule.mistake = script.Compile(rules.Scripts[key], rules.OpenLibs[key])
		if rule.mistake != nil {
			mistakes = append(mistakes, luaFault(key, rule.mistake))
		}
		if !strings.ContainsAny(key, "*?[{") {
			compiled.exact[strings.TrimPrefix(key, "/")] = rule
			continue
		}
		matches, err := globExpression(key)
		if err != nil {
			mistakes = append(mistakes, luaFault(key, err))
			continue
		}
		compiled.wildcards = append(compiled.wildcards, wildcardRule{key, matches, rule})
	}
	// Upstream takes any of several wildcards that match; here it is always the
	// one that says most.
	slices.SortStableFunc(compiled.wildcards, func(a, b wildcardRule) int { return literal(b.key) - literal(a.key) })
	return compiled, errors.Join(mistakes...)
}

func luaFault(key string, err error) *model.Fault {
	return &model.Fault{
		Reason:  invalidLua,
		Message: fmt.Sprintf("the health script for %q is not valid: %v", key, err),
		Advice:  "correct resource.customizations.health in argocd-cm; until then the health of these kinds is Unknown",
		Err:     err,
	}
}

// WithClock returns rules whose scripts may ask for the time (os.time, os.date)
// and are stopped after one second, as upstream does. Without a clock asking for
// the time is an error, and only a script's instructions are limited. This room
// has no clock of its own.
func (r *LuaRules) WithClock(now func() time.Time) *LuaRules {
	if r == nil {
		return nil
	}
	timed := *r
	timed.clock = now
	return &timed
}

// Assess judges an object as Argo CD does where users bring rules: an object
// that is being deleted is in progress; then the script of its kind decides;
// then the first wildcard that matches; then [Assess]. A script that returns
// nothing makes its kind one without health (known is false). A script that
// fails makes health Unknown with the error's message, and returns the error
// too; a status that does not exist makes it Unknown.
//
// Scripts see the values of a Secret's data masked.
func (r *LuaRules) Assess(o *unstructured.Unstructured) (health model.Health, known bool, err error) {
	if o == nil || o.Object == nil || r == nil || beingDeleted(o) {
		health, known = Assess(o)
		return health, known, nil
	}
	rule := r.ruleFor(o)
	if rule == nil {
		health, known = Assess(o)
		return health, known, nil
	}
	return rule.judge(o, r.clock)
}

// judge runs a script on an object.
func (rule *luaRule) judge(o *unstructured.Unstructured, clock func() time.Time) (health model.Health, known bool, err error) {
	if rule.mistake != nil {
		return unknown("HealthScriptFailed", "%s", rule.mistake), true, rule.mistake
	}
	answer, err := rule.program.Run(withoutSecrets(o), clock)
	if err != nil {
		return unknown("HealthScriptFailed", "%s", err), true, err
	}
	if answer.Silent {
		return model.Health{}, false, nil
	}
	state, ok := argoStates[answer.Status]
	if !ok {
		return unknown("InvalidHealthStatus", "Lua returned an invalid health status"), true, nil
	}
	return model.Health{State: state, Reason: answer.Status, Message: answer.Message}, true, nil
}

func (r *LuaRules) ruleFor(o *unstructured.Unstructured) *luaRule {
	kind := o.GroupVersionKind()
	key := kind.Kind
	if kind.Group != "" {
		key = kind.Group + "/" + kind.Kind
	}
	if rule, ok := r.exact[key]; ok {
		return rule
	}
	for _, wildcard := range r.wildcards {
		if wildcard.matches.MatchString(key) {
			return wildcard.rule
		}
	}
	return nil
}

// argoStates are Argo CD's words for the states of health.
var argoStates = map[string]model.Healthiness{
	"Healthy":     model.Current,
	"Progressing": model.InProgress,
	"Degraded":    model.Unhealthy,
	"Suspended":   model.Paused,
	"Missing":     model.NotFound,
	"Unknown":     model.Unknown,
}

// withoutSecrets is the object as scripts may see it.
func withoutSecrets(o *unstructured.Unstructured) map[string]any {
	if kind := o.GroupVersionKind(); kind.Group != "" || kind.Kind != "Secret" {
		return o.Object
	}
	masked := make(map[string]any, len(o.Object))
	for key, value := range o.Object {
		masked[key] = value
	}
	for _, part := range []string{"data", "stringData"} {
		values, ok := masked[part].(map[string]any)
		if !ok {
			delete(masked, part)
			continue
		}
		hidden := make(map[string]any, len(values))
		for key := range values {
			hidden[key] = "++++++++"
		}
		masked[part] = hidden
	}
	if annotations, found, _ := unstructured.NestedMap(masked, "metadata", "annotations"); found {
		// kubectl apply repeats the whole object here.
		delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
		metadata := map[string]any{}
		for key, value := range o.Object["metadata"].(map[string]any) {
			metadata[key] = value
		}
		metadata["annotations"] = annotations
		masked["metadata"] = metadata
	}
	return masked
}

// literal counts what a glob says outright.
func literal(glob string) int {
	return len(glob) - strings.Count(glob, "*") - strings.Count(glob, "?")
}

// globExpression translates a glob: * and ** any text, ? any character, [ab],
// [a-z] and [!a] classes, {a,b} alternatives, and \ takes the next as it is.
func globExpression(glob string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`^(?s:`)
	braces := 0
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; {
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteByte('.')
		case c == '{':
			braces++
			b.WriteString("(?:")
		case c == '}' && braces > 0:
			braces--
			b.WriteByte(')')
		case c == ',' && braces > 0:
			b.WriteByte('|')
		case c == '[':
			end := strings.IndexByte(glob[i:], ']')
			if end < 0 {
				return nil, fmt.Errorf("the bracket at position %d is not closed", i+1)
			}
			class := glob[i+1 : i+end]
			class, not := strings.CutPrefix(class, "!")
			b.WriteByte('[')
			if not {
				b.WriteByte('^')
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`).Replace(class))
			b.WriteByte(']')
			i += end
		case c == '\\' && i+1 < len(glob):
			i++
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	if braces > 0 {
		return nil, errors.New("a brace is not closed")
	}
	b.WriteString(`)$`)
	return regexp.Compile(b.String())
}
