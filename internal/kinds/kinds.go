// Package kinds holds the CustomResourceDefinitions that Plumb installs, and
// decides how they meet those that a cluster already has.
//
// They are made from upstream's published API modules (see gen, which also
// says why from there) and committed without descriptions. Every version has
// the union of the fields of all versions, so that an object may be written in
// one version and read in another without losing a field.
//
//	go generate ./internal/kinds
//
// makes them, and the tables of docs/compatibility.md and docs/reference, anew.
package kinds

//go:generate go -C gen run .
//go:generate go run ./pages ../../docs

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

//go:embed crds/*.yaml
var files embed.FS

// load decodes the embedded files once. They are part of the program: one that
// cannot be decoded is a broken build.
var load = sync.OnceValue(func() []*unstructured.Unstructured {
	names, err := fs.Glob(files, "crds/*.yaml")
	if err != nil {
		panic(err)
	}
	definitions := make([]*unstructured.Unstructured, 0, len(names))
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(err)
		}
		definition := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, definition); err != nil {
			panic(fmt.Sprintf("%s: %v", name, err))
		}
		definitions = append(definitions, definition)
	}
	slices.SortFunc(definitions, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return definitions
})

// CRDs returns the definitions in the order of their names. They are the
// caller's to change.
func CRDs() []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, definition := range load() {
		out = append(out, definition.DeepCopy())
	}
	return out
}

// For returns the definition of a kind, or nil when it is none of ours.
func For(kind schema.GroupKind) *unstructured.Unstructured {
	for _, definition := range load() {
		group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
		name, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
		if group == kind.Group && name == kind.Kind {
			return definition.DeepCopy()
		}
	}
	return nil
}
