package object

import (
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Paths is a set of field paths in the form that the API server writes into
// managedFields (FieldsV1): a tree whose keys are
//
//	f:name        a field
//	k:{"a":"b"}   the items of an associative list with these keys
//	v:"x"         an item of a set
//	i:0           an item of a list by its index
//	.             the parent itself
//
// and where an empty subtree is a path as well. Server metadata and status are
// left out whenever it is used. The zero value is the empty set. It shares the
// tree of the object that it was taken from, which must not be changed.
type Paths struct {
	tree map[string]any
}

// self is the key that stands for the parent.
const self = "."

// Owned returns what a manager owns of an object by server-side apply: the
// fields of its managedFields entry with operation Apply, without subresource,
// in the API version of the object. It is false when there is no such entry,
// as after a create, replace or client-side apply, from an aggregated API that
// keeps no managed fields, or when the object was applied in another version.
func Owned(o *unstructured.Unstructured, manager string) (Paths, bool) {
	version, _ := o.Object["apiVersion"].(string)
	for _, item := range managedFields(o) {
		entry, ok := item.(map[string]any)
		if !ok || entry["manager"] != manager || entry["operation"] != "Apply" || entry["apiVersion"] != version {
			continue
		}
		if subresource, _ := entry["subresource"].(string); subresource != "" {
			continue
		}
		if tree, ok := entry["fieldsV1"].(map[string]any); ok {
			return Paths{tree: tree}, true
		}
	}
	return Paths{}, false
}

func managedFields(o *unstructured.Unstructured) []any {
	metadata, _ := o.Object["metadata"].(map[string]any)
	entries, _ := metadata["managedFields"].([]any)
	return entries
}

// Leaves returns the paths of the values that a desired object names, for a
// server that keeps no Apply entry for it. Without the schema of the kind the
// shape of lists is judged by their content: items that are told apart by one
// of the usual key fields are found by it, other objects by their index, and
// lists of scalars are one value, apart from finalizers. Where the object asks
// for an empty map or list, only its presence counts: the server fills in
// defaults. Nulls ask for nothing. stringData of a Secret is folded into data.
func Leaves(want *unstructured.Unstructured) Paths {
	if IsSecret(want) && want.Object["stringData"] != nil {
		want = want.DeepCopy()
		FoldStringData(want)
	}
	tree := make(map[string]any, len(want.Object))
	for key, value := range want.Object {
		if key != "apiVersion" && key != "kind" && value != nil {
			tree["f:"+key] = leaves(value)
		}
	}
	if metadata, ok := want.Object["metadata"].(map[string]any); ok {
		if finalizers, ok := metadata["finalizers"].([]any); ok {
			set := map[string]any{}
			for _, finalizer := range finalizers {
				if key, err := CanonicalValue(finalizer); err == nil {
					set["v:"+string(key)] = map[string]any{}
				}
			}
			below, _ := tree["f:metadata"].(map[string]any)
			below["f:finalizers"] = set
		}
	}
	return Paths{tree: tree}
}

func leaves(value any) map[string]any {
	tree := map[string]any{}
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			if child != nil {
				tree["f:"+key] = leaves(child)
			}
		}
		if len(tree) == 0 {
			tree[self] = map[string]any{}
		}
	case []any:
		if len(v) == 0 {
			tree[self] = map[string]any{}
			break
		}
		if !allMaps(v) {
			break
		}
		field := keyField(v)
		for i, item := range v {
			key := "i:" + strconv.Itoa(i)
			if field != "" {
				fields, _ := item.(map[string]any)
				encoded, err := Canonical(map[string]any{field: fields[field]})
				if err != nil {
					return map[string]any{} // the list is one value
				}
				key = "k:" + string(encoded)
			}
			tree[key] = leaves(item)
		}
	}
	return tree
}

func allMaps(list []any) bool {
	for _, item := range list {
		if _, ok := item.(map[string]any); !ok {
			return false
		}
	}
	return true
}

// usualKeys are the merge keys of the built-in kinds (k8s.io/api, tags
// patchMergeKey and listMapKey), the most telling first.
var usualKeys = []string{"name", "containerPort", "port", "mountPath", "devicePath", "uid", "ip", "topologyKey", "type", "key"}

// keyField is the first of the usual keys that has a different scalar in every
// item, or "".
func keyField(list []any) string {
	for _, field := range usualKeys {
		seen := make(map[any]bool, len(list))
		for _, item := range list {
			fields, _ := item.(map[string]any)
			switch value := fields[field].(type) {
			case string, int64:
				seen[value] = true
			}
		}
		if len(seen) == len(list) {
			return field
		}
	}
	return ""
}

// IsEmpty reports whether the set has no path.
func (p Paths) IsEmpty() bool { return len(p.tree) == 0 }

// Digest identifies the set: equal sets have equal digests.
func (p Paths) Digest() string {
	w := newWriter()
	defer w.release()
	w.tree(p.tree, atRoot)
	return Digest(w.buf)
}

// level says how far a walk through the paths of an object is from its root,
// as far as it matters for leaving out what only the server writes.
type level uint8

const (
	atRoot level = iota
	inMetadata
	elsewhere
)

// serverMetadata are the fields that a server keeps for itself, and those that
// identify the object, which cannot change while its uid stays.
var serverMetadata = []string{
	"f:creationTimestamp", "f:deletionGracePeriodSeconds", "f:deletionTimestamp", "f:generateName", "f:generation",
	"f:managedFields", "f:name", "f:namespace", "f:resourceVersion", "f:selfLink", "f:uid",
}

// next is the level of a child, or false when the child is left out.
func (l level) next(key string) (level, bool) {
	switch l {
	case atRoot:
		switch key {
		case "f:metadata":
			return inMetadata, true
		case "f:status", "f:apiVersion", "f:kind", self:
			return elsewhere, false
		}
	case inMetadata:
		if slices.Contains(serverMetadata, key) || key == self {
			return elsewhere, false
		}
	}
	return elsewhere, true
}

// tree writes a set of paths in canonical form.
func (w *writer) tree(tree map[string]any, at level) {
	base := w.push(tree)
	w.buf = append(w.buf, '{')
	first := true
	for i := base; i < base+len(tree); i++ {
		key := w.keys[i]
		next, ok := at.next(key)
		if !ok {
			continue
		}
		if !first {
			w.buf = append(w.buf, ',')
		}
		first = false
		w.string(key)
		w.buf = append(w.buf, ':')
		child, _ := tree[key].(map[string]any)
		w.tree(child, next)
	}
	w.buf = append(w.buf, '}')
	w.keys = w.keys[:base]
}
