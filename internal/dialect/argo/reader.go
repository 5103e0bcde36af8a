package argo

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// reader reads the fields of a declared object. A field of the wrong type is a
// fault at its path; the API server refuses most of them before, but an object
// may also come from a file.
type reader struct {
	id       object.ID
	faults   []*model.Fault
	findings []model.Finding
}

// node is one place in the object: present or not, and of any type.
type node struct {
	r     *reader
	path  string // as people write it: spec.sources[0].path
	value any
}

func (r *reader) root(name string, value any) node { return node{r: r, path: name, value: value} }

func (r *reader) origin(field string) model.Origin {
	return model.Origin{Dialect: config.DialectName, Declared: r.id, Field: field}
}

// fail notes that the object as it stands cannot be acted on. The fault is
// told at a field of this object, whoever found it.
func (r *reader) fail(f *model.Fault, field string) {
	if f == nil {
		return
	}
	told := *f
	told.Origin = r.origin(field)
	r.faults = append(r.faults, &told)
}

// first is the first fault, nil when the object can be acted on.
func (r *reader) first() *model.Fault {
	if len(r.faults) == 0 {
		return nil
	}
	return r.faults[0]
}

func (r *reader) find(severity model.Severity, reason, field, format string, args ...any) {
	r.findings = append(r.findings, model.Finding{Severity: severity, Reason: reason, Message: fmt.Sprintf(format, args...), Origin: r.origin(field)})
}

// invalid is the fault of a field whose value cannot be used.
func (n node) invalid(format string, args ...any) {
	n.r.fail(&model.Fault{Reason: reasonInvalidSpec, Message: n.path + ": " + fmt.Sprintf(format, args...), Advice: "correct the field"}, n.path)
}

func (n node) present() bool { return n.value != nil }

// at is the field of a map.
func (n node) at(name string) node {
	child := node{r: n.r, path: n.path + "." + name}
	switch fields := n.value.(type) {
	case nil:
	case map[string]any:
		child.value = fields[name]
	default:
		n.mistyped("a map")
	}
	return child
}

func (n node) mistyped(want string) {
	for _, f := range n.r.faults { // one complaint per place
		if f.Origin.Field == n.path {
			return
		}
	}
	n.invalid("must be %s, not %s", want, typeName(n.value))
}

func (n node) str() string {
	switch s := n.value.(type) {
	case nil:
	case string:
		return s
	default:
		n.mistyped("a string")
	}
	return ""
}

func (n node) bool() bool {
	switch b := n.value.(type) {
	case nil:
	case bool:
		return b
	default:
		n.mistyped("true or false")
	}
	return false
}

// integer is fallback when the field is absent.
func (n node) integer(fallback int64) int64 {
	switch i := n.value.(type) {
	case nil:
	case int64:
		return i
	case int:
		return int64(i)
	case float64:
		if i == math.Trunc(i) && math.Abs(i) < 1<<53 {
			return int64(i)
		}
		n.mistyped("a whole number")
	default:
		n.mistyped("a number")
	}
	return fallback
}

// count is an integer or a text that is one.
func (n node) count() int64 {
	text, ok := n.value.(string)
	if !ok {
		return n.integer(0)
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		n.invalid("expected integer value for count. Received: %s", clip(text, 40))
	}
	return value
}

func (n node) items() []node {
	switch list := n.value.(type) {
	case nil:
	case []any:
		items := make([]node, len(list))
		for i, value := range list {
			items[i] = node{r: n.r, path: fmt.Sprintf("%s[%d]", n.path, i), value: value}
		}
		return items
	default:
		n.mistyped("a list")
	}
	return nil
}

func (n node) strings() []string {
	var out []string
	for _, item := range n.items() {
		out = append(out, item.str())
	}
	return out
}

func (n node) fields() map[string]any {
	switch fields := n.value.(type) {
	case nil:
	case map[string]any:
		return fields
	default:
		n.mistyped("a map")
	}
	return nil
}

func (n node) stringMap() map[string]string {
	fields := n.fields()
	if len(fields) == 0 {
		return nil
	}
	out := make(map[string]string, len(fields))
	for _, key := range sortedKeys(fields) {
		out[key] = n.at(key).str()
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func typeName(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	}
	return "a number"
}

// clip bounds what a message repeats of what others wrote, at a character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const more = "..."
	return strings.ToValidUTF8(s[:max(0, limit-len(more))], "") + more
}
