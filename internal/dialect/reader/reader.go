// Package reader reads the fields of declared objects for every dialect: typed,
// each by its path, with a fault where a field cannot be used. What becomes of a
// field is a row of the dialect's Table, which reports those that are not acted
// on.
package reader

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Reader reads one declared object. A field of the wrong type is a fault at its
// path; the API server refuses most of them before, but an object may also come
// from a file.
type Reader struct {
	ID       object.ID
	Dialect  string
	Reason   string          // of the fault of a field that cannot be used
	Seen     map[string]bool // paths that were asked for, as the table of fields has them
	Faults   []*model.Fault
	Findings []model.Finding
}

// New reads the object of a dialect that calls unusable fields by this reason.
func New(dialect, reason string, id object.ID) *Reader {
	return &Reader{ID: id, Dialect: dialect, Reason: reason, Seen: map[string]bool{}}
}

// Node is one place in the object: present or not, and of any type.
type Node struct {
	R     *Reader
	Path  string // as people write it, with indices: spec.include[0].repository
	Shape string // as the table has it: spec.include[].repository
	Value any
}

// Root is a top-level field of the object, or another value that is read as if
// it were one.
func (r *Reader) Root(name string, value any) Node {
	return Node{R: r, Path: name, Shape: name, Value: value}
}

// Origin is the place of a field of the object.
func (r *Reader) Origin(field string) model.Origin {
	return model.Origin{Dialect: r.Dialect, Declared: r.ID, Field: field}
}

// Fault notes that the object as it stands cannot be acted on; the fault names
// the field.
func (r *Reader) Fault(f *model.Fault) { r.Fail(f, f.Origin.Field) }

// Fail notes that the object as it stands cannot be acted on. The fault is told
// at a field of this object, whoever found it; nil is none.
func (r *Reader) Fail(f *model.Fault, field string) {
	if f == nil {
		return
	}
	told := *f
	told.Origin = r.Origin(field)
	r.Faults = append(r.Faults, &told)
}

// First is the first fault, nil when the object can be acted on.
func (r *Reader) First() *model.Fault {
	if len(r.Faults) == 0 {
		return nil
	}
	return r.Faults[0]
}

// Err is First as an error.
func (r *Reader) Err() error {
	if first := r.First(); first != nil {
		return first
	}
	return nil
}

// Find notes something that the user should know about a field.
func (r *Reader) Find(severity model.Severity, reason, field, format string, args ...any) {
	r.Findings = append(r.Findings, model.Finding{Severity: severity, Reason: reason, Message: fmt.Sprintf(format, args...), Origin: r.Origin(field)})
}

// Invalid is the fault of a field whose value cannot be used.
func (n Node) Invalid(format string, args ...any) {
	n.R.Fail(&model.Fault{Reason: n.R.Reason, Message: n.Path + ": " + fmt.Sprintf(format, args...), Advice: "correct the field"}, n.Path)
}

// Mistyped is the fault of a field that is of another type than the one wanted,
// told once.
func (n Node) Mistyped(want string) {
	for _, f := range n.R.Faults {
		if f.Origin.Field == n.Path {
			return
		}
	}
	n.Invalid("must be %s, not %s", want, TypeName(n.Value))
}

// Present reports whether the field is there and not null.
func (n Node) Present() bool { return n.Value != nil }

// At is the field of a map.
func (n Node) At(name string) Node {
	child := Node{R: n.R, Path: n.Path + "." + name, Shape: n.Shape + "." + name}
	n.R.Seen[child.Shape] = true
	child.Value = n.Fields()[name]
	return child
}

// Str is "" when the field is absent or no string.
func (n Node) Str() string {
	switch s := n.Value.(type) {
	case nil:
	case string:
		return s
	default:
		n.Mistyped("a string")
	}
	return ""
}

// Bool is false when the field is absent or neither true nor false.
func (n Node) Bool() bool {
	switch b := n.Value.(type) {
	case nil:
	case bool:
		return b
	default:
		n.Mistyped("true or false")
	}
	return false
}

// Int is fallback when the field is absent or no whole number.
func (n Node) Int(fallback int64) int64 {
	switch i := n.Value.(type) {
	case nil:
	case int64:
		return i
	case int:
		return int64(i)
	case float64:
		if i == math.Trunc(i) && math.Abs(i) < 1<<53 {
			return int64(i)
		}
		n.Mistyped("a whole number")
	default:
		n.Mistyped("a number")
	}
	return fallback
}

// Duration is zero and false when the field is absent or unusable. The form is
// Go's, as in metav1.Duration; zero and less cannot be waited for.
func (n Node) Duration() (time.Duration, bool) {
	s, text := n.Value.(string)
	if !text {
		n.Str() // complains of another type
		return 0, false
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		n.Invalid("%q is not a duration such as 5m or 1h30m", Clip(s, 40))
	case d <= 0:
		n.Invalid("%q must be more than zero", Clip(s, 40))
	default:
		return d, true
	}
	return 0, false
}

// Items are the elements of a list.
func (n Node) Items() []Node {
	switch list := n.Value.(type) {
	case nil:
	case []any:
		items := make([]Node, len(list))
		for i, value := range list {
			items[i] = Node{R: n.R, Path: fmt.Sprintf("%s[%d]", n.Path, i), Shape: n.Shape + "[]", Value: value}
		}
		return items
	default:
		n.Mistyped("a list")
	}
	return nil
}

// Strings are the elements of a list of strings.
func (n Node) Strings() []string {
	var out []string
	for _, item := range n.Items() {
		out = append(out, item.Str())
	}
	return out
}

// Fields are the fields of a map, nil when the field is absent or no map.
func (n Node) Fields() map[string]any {
	switch fields := n.Value.(type) {
	case nil:
	case map[string]any:
		return fields
	default:
		n.Mistyped("a map")
	}
	return nil
}

// StringMap is a map with free keys, nil when it is empty.
func (n Node) StringMap() map[string]string {
	fields := n.Fields()
	if len(fields) == 0 {
		return nil
	}
	out := make(map[string]string, len(fields))
	for _, key := range SortedKeys(fields) {
		out[key] = Node{R: n.R, Path: n.Path + "." + key, Shape: n.Shape + ".*", Value: fields[key]}.Str()
	}
	return out
}

// SortedKeys are the keys of a map in order.
func SortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// TypeName is what people call the type of a decoded value.
func TypeName(value any) string {
	switch value.(type) {
	case nil:
		return "null"
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

// Clip bounds what a message repeats of what others wrote, in bytes, at a
// character.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const more = "..."
	return strings.ToValidUTF8(s[:max(0, limit-len(more))], "") + more
}

// Selector is what a patch is for; nil when none is given.
func (n Node) Selector() *model.Selector {
	if !n.Present() {
		return nil
	}
	return &model.Selector{
		Group:              n.At("group").Str(),
		Version:            n.At("version").Str(),
		Kind:               n.At("kind").Str(),
		Namespace:          n.At("namespace").Str(),
		Name:               n.At("name").Str(),
		LabelSelector:      n.At("labelSelector").Str(),
		AnnotationSelector: n.At("annotationSelector").Str(),
	}
}
