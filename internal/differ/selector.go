package differ

import (
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"plumb.dev/plumb/internal/model"
)

// longestExpression bounds what users write as selector, pointer or query, in
// bytes.
const longestExpression = 16 << 10

// Selector matches objects. Every dialect fills a model.Selector with what its
// own words mean: each field is a regular expression (RE2) over the whole
// value, and an empty field matches everything. Flux hands over what users
// wrote, since that is what it means there. Argo CD's globs, exact names, and
// empty group that is the core group are translated (gate.Selector).
type Selector struct {
	fields      [5]*regexp.Regexp // group, version, kind, namespace, name; nil matches everything
	labels      labels.Selector
	annotations labels.Selector
}

// CompileSelector reads a selector. A nil one selects every object.
func CompileSelector(s *model.Selector) (*Selector, error) {
	compiled := &Selector{}
	if s == nil {
		return compiled, nil
	}
	for i, expression := range [...]string{s.Group, s.Version, s.Kind, s.Namespace, s.Name} {
		if expression == "" {
			continue
		}
		if len(expression) > longestExpression {
			return nil, fmt.Errorf("a pattern of the target is longer than %d bytes", longestExpression)
		}
		re, err := regexp.Compile("^(?:" + expression + ")$")
		if err != nil {
			return nil, fmt.Errorf("the pattern %q of the target is no regular expression", shown(expression))
		}
		compiled.fields[i] = re
	}
	for _, part := range []struct {
		text string
		into *labels.Selector
	}{{s.LabelSelector, &compiled.labels}, {s.AnnotationSelector, &compiled.annotations}} {
		if part.text == "" {
			continue
		}
		parsed, err := labels.Parse(part.text)
		if err != nil {
			return nil, fmt.Errorf("the selector %q of the target cannot be read", shown(part.text))
		}
		*part.into = parsed
	}
	return compiled, nil
}

// Selects reports whether an object is picked.
func (s *Selector) Selects(o *unstructured.Unstructured) bool {
	gvk := o.GroupVersionKind()
	for i, value := range [...]string{gvk.Group, gvk.Version, gvk.Kind, o.GetNamespace(), o.GetName()} {
		if s.fields[i] != nil && !s.fields[i].MatchString(value) {
			return false
		}
	}
	return (s.labels == nil || s.labels.Matches(labels.Set(o.GetLabels()))) &&
		(s.annotations == nil || s.annotations.Matches(labels.Set(o.GetAnnotations())))
}

// shown keeps what users wrote short in messages.
func shown(text string) string {
	const most = 200
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
