package project

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestTheTableIsWhatIsRead writes every field of the table into a project: none
// is unknown, and one beside it is.
func TestTheTableIsWhatIsRead(t *testing.T) {
	unknown := func(path string) (found []string) {
		_, findings, _ := Read(&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": Group + "/v1alpha1", "kind": Kind, "metadata": map[string]any{"name": "x"},
			"spec": nested(strings.Split(strings.TrimPrefix(path, "spec."), ".")),
		}})
		for _, finding := range findings {
			if finding.Reason == "UnknownField" {
				found = append(found, finding.Origin.Field)
			}
		}
		return found
	}
	for _, field := range Fields() {
		if found := unknown(field.Path); len(found) > 0 {
			t.Errorf("%s: %v is not read", field.Path, found)
		}
		if strings.HasSuffix(field.Path, "[]") {
			continue // of a list of texts
		}
		if found := unknown(field.Path + "s"); len(found) != 1 {
			t.Errorf("%ss is read as %v", field.Path, found)
		}
	}
}

// nested is a value for the field that the elements of a path lead to.
func nested(elements []string) any {
	if len(elements) == 0 {
		return "x"
	}
	name, isList := strings.CutSuffix(elements[0], "[]")
	value := nested(elements[1:])
	if isList {
		value = []any{value}
	}
	return map[string]any{name: value}
}
