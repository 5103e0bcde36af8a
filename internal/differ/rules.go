package differ

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
)

const (
	// mostRules bounds the rules of one delivery.
	mostRules = 2000
	// WatchLabel is the label that Plumb puts on what it watches; it never
	// counts as a difference.
	WatchLabel = "plumb.dev/managed"
)

// Rules say what is left to others, and what else counts as no difference.
// They are safe for concurrent use. A nil *Rules leaves nothing to others.
type Rules struct {
	rules       []rule
	compare     model.CompareRules
	known       map[string][]knownField // "group/Kind" → fields
	labels      map[string]bool         // that never count
	annotations map[string]bool
}

// rule is one compiled model.IgnoreRule.
type rule struct {
	model.IgnoreRule
	target   *Selector
	pointers [][]string
	queries  []*query
}

// Option adds to what Compile is told.
type Option func(*Rules)

// Marks names labels and annotations by which the engine or a dialect marks
// objects as its own: they never count as differences.
func Marks(labels, annotations []string) Option {
	return func(r *Rules) {
		for _, name := range labels {
			r.labels[name] = true
		}
		for _, name := range annotations {
			r.annotations[name] = true
		}
	}
}

// Compile reads rules. An error is a *model.Fault that names the expression
// and, in its Origin, the rule. A type of compare.KnownTypes that has no
// meaning is passed over, as upstream does; see KnownType.
func Compile(rules []model.IgnoreRule, compare model.CompareRules, options ...Option) (*Rules, error) {
	if len(rules) > mostRules {
		return nil, &model.Fault{Reason: reason, Message: fmt.Sprintf("there are more than %d rules about ignored differences", mostRules), Origin: rules[mostRules].Origin}
	}
	r := &Rules{
		compare:     compare,
		known:       knownFields(compare.KnownTypes),
		labels:      map[string]bool{WatchLabel: true},
		annotations: map[string]bool{"kubectl.kubernetes.io/last-applied-configuration": true},
	}
	for _, option := range options {
		option(r)
	}
	for i := range rules {
		compiled, err := compileRule(&rules[i])
		if err != nil {
			return nil, err
		}
		r.rules = append(r.rules, compiled)
	}
	return r, nil
}

// reason is upstream's word for a comparison that could not be made.
const reason = "ComparisonError"

func compileRule(from *model.IgnoreRule) (rule, error) {
	refuse := func(about string, err error) error {
		return &model.Fault{Reason: reason, Message: about + ": " + err.Error(), Origin: from.Origin, Advice: "correct the rule about ignored differences", Err: err}
	}
	out := rule{IgnoreRule: *from}
	target, err := CompileSelector(from.Target)
	if err != nil {
		return rule{}, refuse("an ignored difference cannot be understood", err)
	}
	out.target = target
	for _, pointer := range from.Paths {
		tokens, err := parsePointer(pointer)
		if err == nil && len(pointer) > longestExpression {
			err = fmt.Errorf("it is longer than %d bytes", longestExpression)
		}
		if err != nil {
			return rule{}, refuse(fmt.Sprintf("the JSON pointer %q of an ignored difference cannot be used", shown(pointer)), err)
		}
		out.pointers = append(out.pointers, tokens)
	}
	for _, text := range from.Queries {
		q, err := compileQuery(text)
		if err != nil {
			return rule{}, refuse(fmt.Sprintf("the jq path expression %q of an ignored difference cannot be used", shown(text)), err)
		}
		out.queries = append(out.queries, q)
	}
	return out, nil
}

// Any reports whether a rule concerns an object. It costs nothing but the
// match of selectors.
func (r *Rules) Any(o *unstructured.Unstructured) bool {
	if r == nil {
		return false
	}
	for i := range r.rules {
		if r.rules[i].target.Selects(o) {
			return true
		}
	}
	return false
}

// Whole reports whether a rule leaves an object to others altogether.
func (r *Rules) Whole(o *unstructured.Unstructured) bool {
	if r == nil {
		return false
	}
	for i := range r.rules {
		if r.rules[i].IgnoreRule.Whole && r.rules[i].target.Selects(o) {
			return true
		}
	}
	return false
}

// Strip takes out of an object what the rules leave to others: what JSON
// pointers and jq path expressions lead to, and what the named field managers
// own by the object's own managedFields. o is changed in place, so hand in a
// copy. What leads nowhere is no error (argo-cd util/argo/normalizers); an
// error is a *model.Fault of a query that was stopped.
func (r *Rules) Strip(o *unstructured.Unstructured) (changed bool, err error) {
	return r.StripBeside(o, o)
}

// StripBeside is Strip for an object that has no managedFields of its own, such
// as a wanted one: those of live say what belongs to the field managers.
func (r *Rules) StripBeside(o, live *unstructured.Unstructured) (changed bool, err error) {
	places, err := r.strip(o, live)
	return len(places) > 0, err
}

// strip returns the places that were removed, each as the object was then.
func (r *Rules) strip(o, live *unstructured.Unstructured) ([]place, error) {
	if r == nil {
		return nil, nil
	}
	var removed []place
	var matching []*rule
	for i := range r.rules {
		if r.rules[i].target.Selects(o) {
			matching = append(matching, &r.rules[i])
		}
	}
	// Fields of managers go first: list items are found by keys that another
	// rule may take away.
	for _, rule := range matching {
		if len(rule.Managers) > 0 && live != nil {
			places := owned(o.Object, live, rule.Managers)
			removed = append(removed, places...)
			remove(o.Object, places)
		}
	}
	for _, rule := range matching {
		places, err := rule.strip(o.Object)
		removed = append(removed, places...)
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// strip applies the pointers and queries of one rule: each sees what the one
// before has left, as upstream's patches do.
func (r *rule) strip(o map[string]any) (removed []place, err error) {
	for _, tokens := range r.pointers {
		if at, ok := locate(o, tokens); ok {
			removeAt(o, at)
			removed = append(removed, at)
		}
	}
	for _, q := range r.queries {
		places, err := q.paths(o)
		if err != nil {
			return removed, r.stopped(q, err)
		}
		removed = append(removed, places...)
		remove(o, places)
	}
	return removed, nil
}

func (r *rule) stopped(q *query, err error) error {
	return &model.Fault{
		Reason: reason, Origin: r.Origin, Err: err,
		Message: fmt.Sprintf("the jq path expression %q of an ignored difference was given up: %v", shown(q.text), err),
		Advice:  "make the expression simpler, or name fewer objects",
	}
}

// marks are the labels or annotations that never count.
func (r *Rules) marks(annotations bool) map[string]bool {
	switch {
	case r == nil && annotations:
		return defaults.annotations
	case r == nil:
		return defaults.labels
	case annotations:
		return r.annotations
	}
	return r.labels
}

// defaults are the rules of those who have none.
var defaults = func() *Rules {
	r, err := Compile(nil, model.CompareRules{})
	if err != nil {
		panic(err) // there is nothing in it that can fail
	}
	return r
}()

// KnownTypes lists the type names that resource.customizations.knownTypeFields
// may use.
func KnownTypes() []string { return slices.Sorted(maps.Keys(knownTypes())) }

// KnownType reports whether a type name has a meaning.
func KnownType(name string) bool { return knownTypes()[name] != nil }
