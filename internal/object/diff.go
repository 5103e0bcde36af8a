package object

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// WithoutServerFields copies an object without what only a server writes:
// resourceVersion, uid, generation, timestamps, selfLink, managedFields and
// status.
func WithoutServerFields(o *unstructured.Unstructured) *unstructured.Unstructured {
	if o == nil {
		return nil
	}
	out := make(map[string]any, len(o.Object))
	for key, value := range o.Object {
		switch key {
		case "status":
		case "metadata":
			out[key] = userMetadata(value)
		default:
			out[key] = value
		}
	}
	return (&unstructured.Unstructured{Object: out}).DeepCopy()
}

func userMetadata(value any) any {
	fields, ok := value.(map[string]any)
	if !ok {
		return value
	}
	out := make(map[string]any, len(fields))
	for key, child := range fields {
		switch key {
		case "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation",
			"managedFields", "resourceVersion", "selfLink", "uid":
		default:
			out[key] = child
		}
	}
	return out
}

// Same reports whether two objects are the same apart from what only a server
// writes, as WithoutServerFields says.
func Same(a, b *unstructured.Unstructured) bool {
	if a == nil || b == nil {
		return a == b
	}
	first, errA := Canonical(WithoutServerFields(a).Object)
	second, errB := Canonical(WithoutServerFields(b).Object)
	return errA == nil && errB == nil && string(first) == string(second)
}

// Diff shows how an object changes, as the hunks of a unified diff over YAML
// with three lines of context, or "" when nothing changes apart from what only
// a server writes. A nil object is one that does not exist. Secret values are
// masked; where one changes, the masks of the two sides differ.
func Diff(before, after *unstructured.Unstructured) string {
	maskedBefore, maskedAfter := maskPair(WithoutServerFields(before), WithoutServerFields(after))
	from, to := asYAML(maskedBefore), asYAML(maskedAfter)
	if from == to {
		return ""
	}
	unified, err := udiff.ToUnified("before", "after", from, udiff.Lines(from, to), udiff.DefaultContextLines)
	if err != nil {
		// The edits come from the same texts, so that they always fit.
		return fmt.Sprintf("the difference cannot be shown: %v\n", err)
	}
	_, unified, _ = strings.Cut(unified, "\n") // --- before
	_, unified, _ = strings.Cut(unified, "\n") // +++ after
	return unified
}

func asYAML(o map[string]any) string {
	if o == nil {
		return ""
	}
	out, err := yaml.Marshal(o)
	if err != nil {
		return fmt.Sprintf("# cannot be written as YAML: %v\n", err)
	}
	return string(out)
}

// maskPair masks the secrets of both sides of a diff.
func maskPair(before, after *unstructured.Unstructured) (map[string]any, map[string]any) {
	for _, o := range []*unstructured.Unstructured{before, after} {
		if o != nil {
			FoldStringData(o)
		}
	}
	var from, to any
	if before != nil {
		from = before.Object
	}
	if after != nil {
		to = after.Object
	}
	if before == nil || after == nil {
		same := func(any) any { return Mask }
		maskedFrom, _ := redact(from, same).(map[string]any)
		maskedTo, _ := redact(to, same).(map[string]any)
		return maskedFrom, maskedTo
	}
	// Values are numbered by content while both sides are masked alike, and the
	// numbers turn into marks once it is known which of them stand on one side
	// at one path only.
	maskedFrom, _ := redact(from, hide).(map[string]any)
	maskedTo, _ := redact(to, hide).(map[string]any)
	left, _ := reveal(maskedFrom, maskedTo, Mask+" (before)").(map[string]any)
	right, _ := reveal(maskedTo, maskedFrom, Mask+" (after)").(map[string]any)
	return left, right
}

// hidden is a secret value on its way to its mask.
type hidden struct{ value any }

func hide(value any) any { return hidden{value} }

// reveal replaces the hidden values of one side: by the plain mask where the
// other side has the same value at the same path, or none, by changed
// otherwise.
func reveal(side, other any, changed string) any {
	switch v := side.(type) {
	case map[string]any:
		opposite, _ := other.(map[string]any)
		out := make(map[string]any, len(v))
		for key, child := range v {
			out[key] = reveal(child, opposite[key], changed)
		}
		return out
	case []any:
		opposite, _ := other.([]any)
		out := make([]any, len(v))
		for i, child := range v {
			var counterpart any
			if i < len(opposite) {
				counterpart = opposite[i]
			}
			out[i] = reveal(child, counterpart, changed)
		}
		return out
	case hidden:
		if counterpart, ok := other.(hidden); ok && !reflect.DeepEqual(v.value, counterpart.value) {
			return changed
		}
		return Mask
	}
	return side
}
