package differ

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A place leads to a value in a decoded object: a string names a field of a
// map, an int an item of a list. It leads to a value that is there.
type place []any

// parsePointer reads a JSON pointer (RFC 6901). The empty pointer, which is the
// whole object, is refused.
func parsePointer(pointer string) ([]string, error) {
	if !strings.HasPrefix(pointer, "/") {
		return nil, fmt.Errorf("the JSON pointer %q does not begin with a slash", shown(pointer))
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, token := range tokens {
		for at := 0; at < len(token); at++ {
			if token[at] == '~' && (at+1 == len(token) || token[at+1] != '0' && token[at+1] != '1') {
				return nil, fmt.Errorf("the JSON pointer %q has a ~ that is not followed by 0 or 1", shown(pointer))
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return tokens, nil
}

// pointer writes a place as a JSON pointer.
func (p place) pointer() string {
	var b strings.Builder
	for _, step := range p {
		b.WriteByte('/')
		switch s := step.(type) {
		case string:
			b.WriteString(strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1"))
		case int:
			b.WriteString(strconv.Itoa(s))
		}
	}
	return b.String()
}

// with is the place one step further; p itself does not change.
func (p place) with(step any) place { return append(p[:len(p):len(p)], step) }

// locate follows the tokens of a JSON pointer. A negative index counts from the
// end, as upstream's patches have it.
func locate(root any, tokens []string) (place, bool) {
	at := make(place, 0, len(tokens))
	for _, token := range tokens {
		switch v := root.(type) {
		case map[string]any:
			child, ok := v[token]
			if !ok {
				return nil, false
			}
			root, at = child, append(at, token)
		case []any:
			i, err := strconv.Atoi(token)
			if err == nil && i < 0 {
				i += len(v)
			}
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			root, at = v[i], append(at, i)
		default:
			return nil, false
		}
	}
	return at, true
}

// get returns the value at a place.
func (p place) get(root any) (any, bool) {
	for _, step := range p {
		switch s := step.(type) {
		case string:
			fields, _ := root.(map[string]any)
			child, ok := fields[s]
			if !ok {
				return nil, false
			}
			root = child
		case int:
			items, _ := root.([]any)
			if s < 0 || s >= len(items) {
				return nil, false
			}
			root = items[s]
		}
	}
	return root, true
}

// set puts a value at a place; maps on the way that are missing are made, and
// an index one beyond the end appends. It does nothing where a list item on the
// way is missing, or where something else stands.
func (p place) set(root map[string]any, value any) {
	setAt(root, p, value)
}

func setAt(at any, p place, value any) any {
	if len(p) == 0 {
		return value
	}
	switch step := p[0].(type) {
	case string:
		fields, ok := at.(map[string]any)
		if at == nil {
			fields, ok = map[string]any{}, true
		}
		if !ok {
			return at
		}
		if _, list := next(p).(int); list && fields[step] == nil {
			fields[step] = []any{}
		}
		fields[step] = setAt(fields[step], p[1:], value)
		return fields
	case int:
		items, ok := at.([]any)
		switch {
		case !ok || step < 0 || step > len(items) || step == len(items) && len(p) > 1:
		case step == len(items):
			return append(slices.Clip(items), value)
		default:
			items[step] = setAt(items[step], p[1:], value)
		}
	}
	return at
}

// next is the step after the first, or nil.
func next(p place) any {
	if len(p) < 2 {
		return nil
	}
	return p[1]
}

// remove takes out the values at places, all of which are meant as the object
// was before the first of them went.
func remove(root map[string]any, places []place) {
	slices.SortFunc(places, comparePlaces)
	for i := len(places) - 1; i >= 0; i-- {
		if i+1 < len(places) && comparePlaces(places[i], places[i+1]) == 0 {
			continue
		}
		removeAt(root, places[i])
	}
}

func removeAt(at any, p place) any {
	switch step := p[0].(type) {
	case string:
		fields, _ := at.(map[string]any)
		child, ok := fields[step]
		switch {
		case !ok:
		case len(p) == 1:
			delete(fields, step)
		default:
			fields[step] = removeAt(child, p[1:])
		}
	case int:
		items, _ := at.([]any)
		switch {
		case step < 0 || step >= len(items):
		case len(p) == 1:
			return append(slices.Clone(items[:step]), items[step+1:]...)
		default:
			items[step] = removeAt(items[step], p[1:])
		}
	}
	return at
}

// comparePlaces orders places so that of two in one list the later index comes
// later, and what is inside comes after what it is in.
func comparePlaces(a, b place) int {
	for i := range min(len(a), len(b)) {
		left, leftIsIndex := a[i].(int)
		right, rightIsIndex := b[i].(int)
		switch {
		case leftIsIndex && rightIsIndex && left != right:
			return left - right
		case leftIsIndex != rightIsIndex:
			if leftIsIndex {
				return -1
			}
			return 1
		case !leftIsIndex:
			first, _ := a[i].(string)
			second, _ := b[i].(string)
			if c := strings.Compare(first, second); c != 0 {
				return c
			}
		}
	}
	return len(a) - len(b)
}

// clone copies decoded JSON.
func clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, child := range v {
			out[key] = clone(child)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = clone(child)
		}
		return out
	}
	return value
}
