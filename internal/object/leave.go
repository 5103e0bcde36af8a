package object

import (
	"encoding/json"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// LeavePaths prepares an object for an apply that must not change the values at
// some JSON pointers. A value that another manager owns on the live object is
// taken out of want, which gives it up; one that only manager owns is set to
// what it is on the live object, because giving it up would delete it. Paths
// that want does not set are left alone (kustomize.toolkit.fluxcd.io
// Kustomization, spec.ignore).
func LeavePaths(want map[string]any, live *unstructured.Unstructured, pointers []string, manager string) error {
	for _, p := range pointers {
		tokens, err := parsePointer(p)
		if err != nil {
			return err
		}
		if _, ok := lookup(want, tokens); !ok {
			continue
		}
		value, exists := lookup(live.Object, tokens)
		if exists && !ownedByOthers(live, tokens, manager) {
			replace(want, tokens, value)
			continue
		}
		if err := RemovePaths(want, []string{p}); err != nil {
			return err
		}
	}
	return nil
}

// lookup walks maps by name and lists by index.
func lookup(value any, tokens []string) (any, bool) {
	for _, t := range tokens {
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[t]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(t)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// replace sets a value that lookup found.
func replace(root any, tokens []string, value any) {
	parent, ok := lookup(root, tokens[:len(tokens)-1])
	if !ok {
		return
	}
	last := tokens[len(tokens)-1]
	switch p := parent.(type) {
	case map[string]any:
		p[last] = value
	case []any:
		if i, err := strconv.Atoi(last); err == nil && i >= 0 && i < len(p) {
			p[i] = value
		}
	}
}

// ownedByOthers reports whether another manager's entry names the value, or
// something in it.
func ownedByOthers(live *unstructured.Unstructured, tokens []string, manager string) bool {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == manager || entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		var tree map[string]any
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &tree) == nil && names(tree, live.Object, tokens) {
			return true
		}
	}
	return false
}

// names walks an entry of managed fields along a JSON pointer into the object.
func names(tree map[string]any, value any, tokens []string) bool {
	if len(tokens) == 0 {
		return true
	}
	switch v := value.(type) {
	case map[string]any:
		sub, ok := tree["f:"+tokens[0]].(map[string]any)
		return ok && names(sub, v[tokens[0]], tokens[1:])
	case []any:
		i, err := strconv.Atoi(tokens[0])
		if err != nil || i < 0 || i >= len(v) {
			return false
		}
		if len(tree) == 0 {
			return true // the list is owned as a whole
		}
		for k, sub := range tree {
			m, ok := sub.(map[string]any)
			if ok && len(k) > 2 && k[:2] == "k:" && keyMatches(k[2:], v[i]) && names(m, v[i], tokens[1:]) {
				return true
			}
		}
	}
	return false
}

// keyMatches reports whether a list item has the values of an encoded key.
func keyMatches(encoded string, item any) bool {
	var want map[string]any
	m, ok := item.(map[string]any)
	if !ok || json.Unmarshal([]byte(encoded), &want) != nil {
		return false
	}
	for k, v := range want {
		a, errA := json.Marshal(v)
		b, errB := json.Marshal(m[k])
		if errA != nil || errB != nil || string(a) != string(b) {
			return false
		}
	}
	return true
}
