package flux

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// reader reads the fields of a declared object. A field of the wrong type is a
// fault at its path; the API server refuses most of them before, but an
// object may also come from a file.
type reader struct {
	id       object.ID
	seen     map[string]bool // paths that were asked for, as the table of fields has them
	faults   []*model.Fault
	findings []model.Finding
}

// node is one place in the object: present or not, and of any type.
type node struct {
	r     *reader
	path  string // as people write it, with indices: spec.include[0].repository
	shape string // as the table has it: spec.include[].repository
	value any
}

func read(declared *unstructured.Unstructured) (*reader, node) {
	r := &reader{id: object.Of(declared), seen: map[string]bool{}}
	return r, node{r: r, path: "spec", shape: "spec", value: declared.Object["spec"]}
}

// fault notes that the object as it stands cannot be acted on.
func (r *reader) fault(f *model.Fault) {
	if f.Origin.Declared.IsZero() {
		f.Origin = origin(r.id, f.Origin.Field)
	}
	r.faults = append(r.faults, f)
}

// firstFault is nil when the object can be acted on.
func (r *reader) firstFault() error {
	if len(r.faults) == 0 {
		return nil
	}
	return r.faults[0]
}

func (r *reader) find(severity model.Severity, reason, field, format string, args ...any) {
	r.findings = append(r.findings, model.Finding{Severity: severity, Reason: reason, Message: fmt.Sprintf(format, args...), Origin: origin(r.id, field)})
}

// invalid is the fault of a field whose value cannot be used.
func (n node) invalid(format string, args ...any) {
	n.r.fault(&model.Fault{
		Reason:  reasonInvalidSpec,
		Message: n.path + ": " + fmt.Sprintf(format, args...),
		Advice:  "correct the field",
		Origin:  model.Origin{Field: n.path},
	})
}

func (n node) present() bool { return n.value != nil }

// at is the field of a map.
func (n node) at(name string) node {
	child := node{r: n.r, path: n.path + "." + name, shape: n.shape + "." + name}
	n.r.seen[child.shape] = true
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
	message := fmt.Sprintf("must be %s, not %s", want, typeName(n.value))
	for _, f := range n.r.faults { // one complaint per place
		if f.Origin.Field == n.path {
			return
		}
	}
	n.invalid("%s", message)
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

// duration is zero and false when the field is absent or unusable. The form is
// Go's, as in upstream's metav1.Duration; zero and less cannot be waited for.
func (n node) duration() (time.Duration, bool) {
	if !n.present() {
		return 0, false
	}
	s := n.str()
	if _, text := n.value.(string); !text {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		n.invalid("%q is not a duration such as 5m or 1h30m", clip(s, 40))
	case d <= 0:
		n.invalid("%q must be more than zero", clip(s, 40))
	default:
		return d, true
	}
	return 0, false
}

// items are the elements of a list.
func (n node) items() []node {
	switch list := n.value.(type) {
	case nil:
	case []any:
		items := make([]node, len(list))
		for i, value := range list {
			items[i] = node{r: n.r, path: fmt.Sprintf("%s[%d]", n.path, i), shape: n.shape + "[]", value: value}
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

func (n node) stringMap() map[string]string {
	switch fields := n.value.(type) {
	case nil:
	case map[string]any:
		if len(fields) == 0 {
			return nil
		}
		out := make(map[string]string, len(fields))
		for _, key := range sortedKeys(fields) {
			out[key] = node{r: n.r, path: n.path + "." + key, shape: n.shape + ".*", value: fields[key]}.str()
		}
		return out
	default:
		n.mistyped("a map of strings")
	}
	return nil
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
