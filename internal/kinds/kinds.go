// Package kinds holds the CustomResourceDefinitions that Plumb installs, and
// decides how they meet those that a cluster already has.
//
// They are made from what upstream publishes (see gen, which also says why
// from there) and committed without descriptions. Every version has
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
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

//go:embed crds/*.yaml
var files embed.FS

// load decodes the embedded files that a pattern names. They are part of the
// program: one that cannot be decoded is a broken build. Nothing is kept, since
// they are asked for when the program starts and then no more.
func load(pattern string) []*unstructured.Unstructured {
	names, err := fs.Glob(files, "crds/"+pattern)
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
		if err := decode(text, definition); err != nil {
			panic(fmt.Sprintf("%s: %v", name, err))
		}
		definitions = append(definitions, definition)
	}
	slices.SortFunc(definitions, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return definitions
}

// decode reads a file below its header. The large ones are JSON, which is read
// ten times as fast as the YAML that it also is.
func decode(text []byte, into *unstructured.Unstructured) error {
	if _, body, _ := bytes.Cut(text, []byte("\n")); bytes.HasPrefix(body, []byte("{")) {
		return into.UnmarshalJSON(body)
	}
	return yaml.Unmarshal(text, into)
}

// CRDs returns the definitions in the order of their names. They are the
// caller's to change.
func CRDs() []*unstructured.Unstructured { return load("*.yaml") }

// For returns the definition of a kind, or nil when it is none of ours.
func For(kind schema.GroupKind) *unstructured.Unstructured {
	if kind.Group == "" || strings.ContainsAny(kind.Group, `*?[\/`) {
		return nil
	}
	for _, definition := range load(kind.Group + "_*.yaml") {
		if name, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind"); name == kind.Kind {
			return definition
		}
	}
	return nil
}

// Fields lists the paths of the fields that a kind has in any version, sorted:
// those that hold a value and no further fields, such as
// spec.source.kustomize.images[] or metadata.labels.* ([] for the items of a
// list, .* for free keys; an object whose content is free is one field).
// apiVersion, kind and metadata are left out. It is nil for a kind that is
// none of ours.
func Fields(kind schema.GroupKind) []string {
	definition := For(kind)
	if definition == nil {
		return nil
	}
	found := map[string]bool{}
	for _, version := range versionsOf(definition) {
		for name, schema := range mapAt(schemaOf(version), "properties") {
			if name != "apiVersion" && name != "kind" && name != "metadata" {
				addLeaves(asMap(schema), name, found)
			}
		}
	}
	return sorted(found)
}

func addLeaves(schema map[string]any, path string, found map[string]bool) {
	properties, items, values := mapAt(schema, "properties"), mapAt(schema, "items"), mapAt(schema, "additionalProperties")
	switch {
	case len(properties) > 0:
		for name, below := range properties {
			addLeaves(asMap(below), path+"."+name, found)
		}
	case items != nil:
		addLeaves(items, path+"[]", found)
	case values != nil:
		addLeaves(values, path+".*", found)
	default:
		found[path] = true
	}
}
