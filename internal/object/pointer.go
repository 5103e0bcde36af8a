package object

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// RemovePaths removes the values that JSON pointers (RFC 6901) lead to. A
// pointer that leads nowhere is no error. Pointers are taken in order, each
// seeing what the ones before it left, and a negative index counts from the
// end, as in the remove patches that Flux makes of its ignore rules
// (fluxcd/pkg ssa/jsondiff). o is changed in place; nothing is changed when a
// pointer is malformed.
func RemovePaths(o map[string]any, pointers []string) error {
	paths := make([][]string, len(pointers))
	for i, pointer := range pointers {
		tokens, err := parsePointer(pointer)
		if err != nil {
			return err
		}
		paths[i] = tokens
	}
	for _, tokens := range paths {
		removeAt(o, tokens)
	}
	return nil
}

func parsePointer(pointer string) ([]string, error) {
	if !strings.HasPrefix(pointer, "/") {
		return nil, fmt.Errorf("JSON pointer %q does not begin with a slash", pointer)
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, token := range tokens {
		for at := 0; at < len(token); at++ {
			if token[at] == '~' && (at+1 == len(token) || (token[at+1] != '0' && token[at+1] != '1')) {
				return nil, fmt.Errorf("JSON pointer %q has a ~ that is not followed by 0 or 1", pointer)
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return tokens, nil
}

// removeAt returns value without what tokens lead to; only a list is a new
// value, since its length changes.
func removeAt(value any, tokens []string) any {
	token, last := tokens[0], len(tokens) == 1
	switch v := value.(type) {
	case map[string]any:
		child, ok := v[token]
		switch {
		case !ok:
		case last:
			delete(v, token)
		default:
			v[token] = removeAt(child, tokens[1:])
		}
	case []any:
		index, err := strconv.Atoi(token)
		if err == nil && index < 0 {
			index += len(v)
		}
		switch {
		case err != nil || index < 0 || index >= len(v):
		case last:
			return slices.Delete(slices.Clone(v), index, index+1)
		default:
			v[index] = removeAt(v[index], tokens[1:])
		}
	}
	return value
}
