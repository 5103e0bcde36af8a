package argocd

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// text, number, flag, object, items and texts are values at a path; zero where
// there is none of that type.

func at(o map[string]any, path ...string) any {
	var value any = o
	for _, name := range path {
		m, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = m[name]
	}
	return value
}

func text(o map[string]any, path ...string) string {
	s, _ := at(o, path...).(string)
	return s
}

func number(o map[string]any, path ...string) int64 {
	n, _ := at(o, path...).(int64)
	return n
}

func flag(o map[string]any, path ...string) bool {
	b, _ := at(o, path...).(bool)
	return b
}

// flagOr is a flag that has a value of its own where it is not there.
func flagOr(otherwise bool, o map[string]any, path ...string) bool {
	if b, ok := at(o, path...).(bool); ok {
		return b
	}
	return otherwise
}

func object(o map[string]any, path ...string) map[string]any {
	m, _ := at(o, path...).(map[string]any)
	return m
}

func items(o map[string]any, path ...string) []any {
	l, _ := at(o, path...).([]any)
	return l
}

func objects(o map[string]any, path ...string) []map[string]any {
	var out []map[string]any
	for _, item := range items(o, path...) {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func texts(o map[string]any, path ...string) []string {
	var out []string
	for _, item := range items(o, path...) {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func anys(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}

// listed are objects as the items of a list.
func listed(in []*unstructured.Unstructured) []any {
	out := make([]any, len(in))
	for i, o := range in {
		out[i] = o.Object
	}
	return out
}

// declaredFrom is an object of a message, with its kind.
func declaredFrom(kind Kind, value map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(value)}
	if kind.Group == "" {
		o.SetAPIVersion(kind.Version)
	} else {
		o.SetAPIVersion(kind.Group + "/" + kind.Version)
	}
	o.SetKind(kind.Kind)
	return o
}

// nothing is an answer without content.
func nothing() map[string]any { return map[string]any{} }
