package health

import (
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// fields reads a live object that anyone may have written: what is missing or
// of another type reads as absent.
type fields map[string]any

func (f fields) at(path ...string) any {
	value, found, err := unstructured.NestedFieldNoCopy(f, path...)
	if err != nil || !found {
		return nil
	}
	return value
}

func (f fields) text(path ...string) string {
	text, _ := f.at(path...).(string)
	return text
}

func (f fields) flag(path ...string) bool {
	flag, _ := f.at(path...).(bool)
	return flag
}

func (f fields) sub(path ...string) fields {
	sub, _ := f.at(path...).(map[string]any)
	return sub
}

// whole reads a whole number, and whether there is one.
func (f fields) whole(path ...string) (int64, bool) {
	switch n := f.at(path...).(type) {
	case int64:
		return n, true
	case int:
		return int64(n), true
	case int32:
		return int64(n), true
	case float64:
		return int64(n), n == float64(int64(n))
	}
	return 0, false
}

// count reads a whole number, or absent when there is none.
func (f fields) count(absent int64, path ...string) int64 {
	if n, ok := f.whole(path...); ok {
		return n
	}
	return absent
}

// each reads a list of objects.
func (f fields) each(path ...string) []fields {
	list, _ := f.at(path...).([]any)
	out := make([]fields, 0, len(list))
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			out = append(out, object)
		}
	}
	return out
}

func (f fields) texts(path ...string) []string {
	list, _ := f.at(path...).([]any)
	var out []string
	for _, item := range list {
		if text, ok := item.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

// has reports whether a field is there and not null.
func (f fields) has(path ...string) bool { return f.at(path...) != nil }

// condition is an entry of status.conditions.
type condition struct{ kind, status, reason, message string }

func (f fields) conditions() []condition { return f.conditionsAt("status", "conditions") }

// conditionsAt reads a list of conditions anywhere in the object.
func (f fields) conditionsAt(path ...string) []condition {
	list := f.each(path...)
	out := make([]condition, len(list))
	for i, c := range list {
		out[i] = condition{c.text("type"), c.text("status"), c.text("reason"), c.text("message")}
	}
	return out
}

// condition finds a condition by its type.
func (f fields) condition(kind string) (condition, bool) {
	for _, c := range f.conditions() {
		if c.kind == kind {
			return c, true
		}
	}
	return condition{}, false
}

// because is the end of a message that a condition explains, or "".
func (c condition) because() string {
	switch {
	case c.reason != "" && c.message != "":
		return ": " + c.reason + ": " + c.message
	case c.message != "":
		return ": " + c.message
	case c.reason != "":
		return ": " + c.reason
	}
	return ""
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// of is a share such as "1 of 3 replicas".
func of(have, want int64, noun string) string {
	return strconv.FormatInt(have, 10) + " of " + strconv.FormatInt(want, 10) + " " + plural(int(want), noun)
}
