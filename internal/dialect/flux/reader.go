package flux

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/object"
)

// node is one place in a declared object.
type node = reader.Node

// read begins at the spec.
func read(declared *unstructured.Unstructured) (*reader.Reader, node) {
	r := reader.New(Name, reasonInvalidSpec, object.Of(declared))
	return r, r.Root("spec", declared.Object["spec"])
}
