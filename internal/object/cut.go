package object

import (
	"encoding/json"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Cut writes the values that an object has at the paths, and nothing else: two
// objects with the same cut at the same paths are the same to whoever owns the
// paths. The bytes are JSON shaped like the paths; what is absent is left out;
// atomic values are whole. Values that others own or that the server filled in
// do not show, with one exception that FieldsV1 leaves open: at a path without
// subpaths stands either an atomic value, or an empty map or list that others
// may add to. It is taken for the latter once managedFields has an entry with
// subpaths of it, or its value is empty; until then for the former.
func (p Paths) Cut(o *unstructured.Unstructured) []byte {
	if p.IsEmpty() {
		return []byte("{}")
	}
	c := cutter{writer: newWriter(), object: o}
	defer c.release()
	c.node(p.tree, o.Object, atRoot)
	return c.bytes()
}

type cutter struct {
	*writer
	object *unstructured.Unstructured
	path   []string // keys from the root of the paths to the node
}

// node writes what value, which is present, has at the paths of a subtree.
func (c *cutter) node(tree map[string]any, value any, at level) {
	if len(tree) == 0 {
		c.leaf(value)
		return
	}
	index := listIndex{}
	if list, ok := value.([]any); ok {
		index.items = list
	}
	base := c.push(tree)
	c.buf = append(c.buf, '{')
	start := len(c.buf)
	for i := base; i < base+len(tree); i++ {
		key := c.keys[i]
		next, ok := at.next(key)
		if !ok {
			continue
		}
		c.child(tree, key, value, &index, next, len(c.buf) > start)
	}
	c.buf = append(c.buf, '}')
	c.keys = c.keys[:base]
}

// child writes one key of a node, unless the value has nothing there.
func (c *cutter) child(tree map[string]any, key string, value any, index *listIndex, at level, comma bool) {
	if key == self {
		c.key(key, comma)
		c.buf = append(c.buf, "{}"...)
		return
	}
	subtree, _ := tree[key].(map[string]any)
	if len(key) < 2 {
		return
	}
	switch key[:2] {
	case "f:":
		fields, _ := value.(map[string]any)
		if child, ok := fields[key[2:]]; ok {
			c.key(key, comma)
			c.descend(key, subtree, child, at)
		}
	case "v:":
		if found := index.value(key[2:]); len(found) > 0 {
			c.key(key, comma)
			c.buf = append(c.buf, "{}"...)
		}
	case "k:":
		c.items(key, subtree, index.keyed(key[2:]), index.items, at, comma)
	case "i:":
		if i, err := strconv.Atoi(key[2:]); err == nil && i >= 0 && i < len(index.items) {
			c.key(key, comma)
			c.descend(key, subtree, index.items[i], at)
		}
	}
}

// items writes the items that have one key: one, unless the list has
// duplicates.
func (c *cutter) items(key string, subtree map[string]any, found []int, items []any, at level, comma bool) {
	if len(found) == 0 {
		return
	}
	c.key(key, comma)
	if len(found) == 1 {
		c.descend(key, subtree, items[found[0]], at)
		return
	}
	c.buf = append(c.buf, '[')
	for n, i := range found {
		if n > 0 {
			c.buf = append(c.buf, ',')
		}
		c.descend(key, subtree, items[i], at)
	}
	c.buf = append(c.buf, ']')
}

func (c *cutter) key(key string, comma bool) {
	if comma {
		c.buf = append(c.buf, ',')
	}
	c.string(key)
	c.buf = append(c.buf, ':')
}

func (c *cutter) descend(key string, subtree map[string]any, value any, at level) {
	c.path = append(c.path, key)
	c.node(subtree, value, at)
	c.path = c.path[:len(c.path)-1]
}

// leaf writes the value at a path without subpaths.
func (c *cutter) leaf(value any) {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 || c.shared() {
			c.buf = append(c.buf, "{}"...)
			return
		}
	case []any:
		if len(v) == 0 || c.shared() {
			c.buf = append(c.buf, "[]"...)
			return
		}
	}
	c.value(value)
}

// shared reports whether some manager owns a part of the value at the current
// path, which cannot be of an atomic value.
func (c *cutter) shared() bool {
	version := c.object.Object["apiVersion"]
	for _, item := range managedFields(c.object) {
		entry, _ := item.(map[string]any)
		if entry["apiVersion"] != version {
			continue
		}
		tree, _ := entry["fieldsV1"].(map[string]any)
		for _, key := range c.path {
			tree, _ = tree[key].(map[string]any)
		}
		for key := range tree {
			if key != self {
				return true
			}
		}
	}
	return false
}

// listIndex finds the items of a list by path keys.
type listIndex struct {
	items []any
	large map[string]map[string][]int // names of the key fields → their values → items; for long lists
	found [1]int
}

// long is the length from which a list is indexed instead of searched.
const long = 24

// value finds the items that equal a scalar written as JSON.
func (x *listIndex) value(encoded string) []int {
	if len(x.items) >= long {
		return x.lookup("", nil, []string{encoded})
	}
	var all []int
	for i, item := range x.items {
		if equalsJSON(item, true, encoded) {
			all = x.add(all, i)
		}
	}
	return all
}

// keyed finds the items that have the key fields of a JSON object.
func (x *listIndex) keyed(encoded string) []int {
	var room [4]keyValue
	fields, ok := parseKey(encoded, room[:0])
	if !ok {
		return nil
	}
	if len(x.items) >= long {
		names, values := make([]string, len(fields)), make([]string, len(fields))
		for i, field := range fields {
			names[i], values[i] = field.name, field.value
		}
		return x.lookup(strings.Join(names, "\x00")+"\x00", names, values)
	}
	var all []int
items:
	for i, item := range x.items {
		object, ok := item.(map[string]any)
		if !ok {
			continue
		}
		for _, field := range fields {
			value, ok := object[field.name]
			if !equalsJSON(value, ok, field.value) {
				continue items
			}
		}
		all = x.add(all, i)
	}
	return all
}

// add appends without allocating for the first item, as nearly all keys are
// unique.
func (x *listIndex) add(all []int, i int) []int {
	if all == nil {
		x.found[0] = i
		return x.found[:]
	}
	return append(all[:len(all):len(all)], i)
}

// lookup finds items by an index over all of them. Without names, the items
// themselves are compared.
func (x *listIndex) lookup(signature string, names, values []string) []int {
	index, ok := x.large[signature]
	if !ok {
		index = make(map[string][]int, len(x.items))
		for i, item := range x.items {
			if key, ok := itemKey(item, names); ok {
				index[key] = append(index[key], i)
			}
		}
		if x.large == nil {
			x.large = map[string]map[string][]int{}
		}
		x.large[signature] = index
	}
	w := newWriter()
	defer w.release()
	for _, value := range values {
		var decoded any
		if err := json.Unmarshal([]byte(value), &decoded); err != nil {
			return nil
		}
		w.value(decoded)
		w.buf = append(w.buf, ',')
	}
	return index[string(w.buf)]
}

// itemKey writes the values of an item's key fields, or the item itself.
func itemKey(item any, names []string) (string, bool) {
	w := newWriter()
	defer w.release()
	if names == nil {
		w.value(item)
		w.buf = append(w.buf, ',')
		return string(w.buf), true
	}
	object, ok := item.(map[string]any)
	if !ok {
		return "", false
	}
	for _, name := range names {
		w.value(object[name])
		w.buf = append(w.buf, ',')
	}
	return string(w.buf), true
}

// keyValue is one field of an associative key, with its value as JSON text.
type keyValue struct{ name, value string }

// parseKey reads the flat JSON object of scalars that follows "k:".
func parseKey(s string, into []keyValue) ([]keyValue, bool) {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return nil, false
	}
	s = s[1 : len(s)-1]
	for len(s) > 0 {
		n := scalarLength(s)
		if n == 0 || n >= len(s) || s[0] != '"' || s[n] != ':' {
			return nil, false
		}
		name, ok := unquote(s[:n])
		if !ok {
			return nil, false
		}
		s = s[n+1:]
		n = scalarLength(s)
		if n == 0 {
			return nil, false
		}
		into = append(into, keyValue{name: name, value: s[:n]})
		s = s[n:]
		if len(s) > 0 {
			if s[0] != ',' || len(s) == 1 {
				return nil, false
			}
			s = s[1:]
		}
	}
	return into, len(into) > 0
}

// scalarLength is the length of the JSON scalar at the start of s, or 0.
func scalarLength(s string) int {
	if s == "" {
		return 0
	}
	if s[0] != '"' {
		if end := strings.IndexAny(s, ",}"); end >= 0 {
			return end
		}
		return len(s)
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

func unquote(s string) (string, bool) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' && strings.IndexByte(s, '\\') < 0 {
		return s[1 : len(s)-1], true
	}
	var out string
	err := json.Unmarshal([]byte(s), &out)
	return out, err == nil
}

// equalsJSON compares a decoded scalar with the JSON text of another. A field
// that is not there equals null.
func equalsJSON(value any, present bool, encoded string) bool {
	if encoded == "" {
		return false
	}
	if !present {
		return encoded == "null"
	}
	switch v := value.(type) {
	case string:
		if encoded[0] != '"' {
			return false
		}
		text, ok := unquote(encoded)
		return ok && text == v
	case int64:
		var room [20]byte
		if string(strconv.AppendInt(room[:0], v, 10)) == encoded {
			return true
		}
		other, err := strconv.ParseFloat(encoded, 64)
		return err == nil && other == float64(v)
	case float64:
		other, err := strconv.ParseFloat(encoded, 64)
		return err == nil && other == v
	case bool:
		return strconv.FormatBool(v) == encoded
	case nil:
		return encoded == "null"
	}
	return false
}
