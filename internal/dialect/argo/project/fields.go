package project

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	nodes "plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// reader reads the fields of a declared object, and keeps what is wrong with
// them: the first fault decides, every finding is told.
type reader struct {
	id       object.ID
	fault    *model.Fault
	findings []model.Finding
}

// node is one place in the object: present or not, and of any type.
type node struct {
	r     *reader
	path  string // as people write it: spec.roles[0].name
	value any
}

func readerOf(o *unstructured.Unstructured) *reader { return &reader{id: object.Of(o)} }

func (r *reader) origin(field string) model.Origin {
	return model.Origin{Dialect: dialectName, Declared: r.id, Field: field}
}

// fail notes that the object as it stands cannot be judged by.
func (r *reader) fail(field, format string, args ...any) {
	if r.fault != nil {
		return
	}
	r.fault = &model.Fault{
		Reason:  reasonInvalidSpec,
		Message: fmt.Sprintf("project '%s': %s: %s", r.id.Name, field, fmt.Sprintf(format, args...)),
		Advice:  "correct the field of the AppProject",
		Origin:  r.origin(field),
		Object:  r.id,
	}
}

// refuse is a finding in the words in which upstream's API refuses the project.
// Upstream's controller goes on with such a project, and so do we.
func (r *reader) refuse(field, format string, args ...any) {
	r.find(model.Refused, "InvalidProject", field, format, args...)
}

func (r *reader) find(severity model.Severity, reason, field, format string, args ...any) {
	r.findings = append(r.findings, model.Finding{
		Severity: severity, Reason: reason, Message: nodes.Clip(fmt.Sprintf(format, args...), maxText), Origin: r.origin(field),
	})
}

// maxText bounds what a message repeats of what others wrote, in bytes.
const maxText = 1000

// at is the field of a map.
func (n node) at(name string) node {
	child := node{r: n.r, path: n.path + "." + name}
	if fields, ok := n.value.(map[string]any); ok {
		child.value = fields[name]
	}
	return child
}

// fields checks that the node is a map, and reports fields that nothing reads.
func (n node) fields(known ...string) bool {
	if n.value == nil {
		return false
	}
	fields, ok := n.value.(map[string]any)
	if !ok {
		n.r.fail(n.path, "must be a map")
		return false
	}
	for _, name := range nodes.SortedKeys(fields) {
		if !slices.Contains(known, name) {
			n.r.find(model.Warning, "UnknownField", n.path+"."+name, "the field is not known and not acted on")
		}
	}
	return true
}

func (n node) str() string {
	if n.value == nil {
		return ""
	}
	s, ok := n.value.(string)
	if !ok {
		n.r.fail(n.path, "must be a string")
	}
	return s
}

func (n node) bool() bool {
	if n.value == nil {
		return false
	}
	b, ok := n.value.(bool)
	if !ok {
		n.r.fail(n.path, "must be true or false")
	}
	return b
}

func (n node) int() int64 {
	switch v := n.value.(type) {
	case nil:
	case int64:
		return v
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
		n.r.fail(n.path, "must be a whole number")
	default:
		n.r.fail(n.path, "must be a number")
	}
	return 0
}

// items are the elements of a list; nulls among them are left out, as upstream
// does with its lists of pointers.
func (n node) items() []node {
	if n.value == nil {
		return nil
	}
	list, ok := n.value.([]any)
	if !ok {
		n.r.fail(n.path, "must be a list")
		return nil
	}
	items := make([]node, 0, len(list))
	for i, value := range list {
		if value != nil {
			items = append(items, node{r: n.r, path: fmt.Sprintf("%s[%d]", n.path, i), value: value})
		}
	}
	return items
}

func (n node) strings() []string {
	var out []string
	for _, item := range n.items() {
		out = append(out, item.str())
	}
	return out
}
