package differ

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/object"
)

// owned lists the places in an object that some field managers own, by the
// managedFields of live: the values that FieldsV1 names, not the maps and lists
// around them, and whole list items where the managers own all there is of
// them. The object and live may be the same. A manager stands for all of its
// entries, whatever their operation or subresource, as upstream has it
// (argo-cd util/argo/managedfields).
func owned(o map[string]any, live *unstructured.Unstructured, managers []string) []place {
	var places []place
	metadata, _ := live.Object["metadata"].(map[string]any)
	entries, _ := metadata["managedFields"].([]any)
	for _, item := range entries {
		entry, _ := item.(map[string]any)
		manager, _ := entry["manager"].(string)
		if !slices.Contains(managers, manager) {
			continue
		}
		if tree, ok := entry["fieldsV1"].(map[string]any); ok {
			var w ownership
			w.node(tree, o, nil)
			places = append(places, w.places...)
		}
	}
	return slices.DeleteFunc(places, func(p place) bool { return identifies(p) })
}

// identifies reports whether a place is what says which object it is.
func identifies(p place) bool {
	if len(p) == 1 {
		return p[0] == "apiVersion" || p[0] == "kind" || p[0] == "metadata"
	}
	return len(p) == 2 && p[0] == "metadata" && (p[1] == "name" || p[1] == "namespace")
}

// ownership walks a FieldsV1 tree along an object.
type ownership struct{ places []place }

// node reports whether everything in value is owned by the tree.
func (w *ownership) node(tree map[string]any, value any, at place) bool {
	if len(tree) == 0 {
		w.places = append(w.places, at)
		return true
	}
	seen := 0
	begin := len(w.places)
	whole := true
	items, _ := value.([]any)
	index := listIndex{items: items}
	for _, key := range sortedKeys(tree) {
		if len(key) < 2 {
			continue
		}
		subtree, _ := tree[key].(map[string]any)
		for _, step := range steps(key, value, &index) {
			child, _ := place{step}.get(value)
			seen++
			whole = w.node(subtree, child, at.with(step)) && whole
		}
	}
	if _, self := tree["."]; !self || !whole || seen < size(value) || len(at) < 2 {
		return false
	}
	// The map or item is owned with all that is in it: it goes as one.
	w.places = append(w.places[:begin], at)
	return true
}

// size counts what is directly in a value.
func size(value any) int {
	switch v := value.(type) {
	case map[string]any:
		return len(v)
	case []any:
		return len(v)
	}
	return 0
}

// steps finds what a key of FieldsV1 leads to.
func steps(key string, value any, index *listIndex) []any {
	switch v := value.(type) {
	case map[string]any:
		if _, ok := v[key[2:]]; ok && key[:2] == "f:" {
			return []any{key[2:]}
		}
	case []any:
		switch key[:2] {
		case "i:":
			if i, err := strconv.Atoi(key[2:]); err == nil && i >= 0 && i < len(v) {
				return []any{i}
			}
		case "v:":
			var want any
			if json.Unmarshal([]byte(key[2:]), &want) == nil {
				return index.find(nil, map[string]any{"": want})
			}
		case "k:":
			var want map[string]any
			if json.Unmarshal([]byte(key[2:]), &want) == nil && len(want) > 0 {
				return index.find(sortedKeys(want), want)
			}
		}
	}
	return nil
}

// listIndex finds the items of a list by the values of some fields, or by
// themselves. It is made once for all the keys of one list.
type listIndex struct {
	items []any
	by    map[string]map[string][]any // names of the fields → their values → indexes
}

// find lists the indexes of items that have the values of the named fields;
// without names, of those that are the value under "".
func (x *listIndex) find(names []string, want map[string]any) []any {
	signature := strings.Join(names, "\x00")
	index, ok := x.by[signature]
	if !ok {
		index = make(map[string][]any, len(x.items))
		for i, item := range x.items {
			if id, ok := identity(names, item); ok {
				index[id] = append(index[id], i)
			}
		}
		if x.by == nil {
			x.by = map[string]map[string][]any{}
		}
		x.by[signature] = index
	}
	var looked any = want
	if len(names) == 0 {
		looked = want[""]
	}
	id, ok := identity(names, looked)
	if !ok {
		return nil
	}
	return index[id]
}

// identity writes the values of an item's fields, or the item itself.
func identity(names []string, item any) (string, bool) {
	if len(names) == 0 {
		text, err := object.CanonicalValue(item)
		return string(text), err == nil
	}
	fields, ok := item.(map[string]any)
	if !ok {
		return "", false
	}
	values := make([]any, len(names))
	for i, name := range names {
		values[i] = fields[name]
	}
	text, err := object.CanonicalValue(values)
	return string(text), err == nil
}

// sameScalar compares decoded scalars, whatever types hold their numbers.
func sameScalar(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	return reflect.DeepEqual(a, b)
}

func number(value any) (float64, bool) {
	switch v := value.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int32:
		return float64(v), true
	}
	return 0, false
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
