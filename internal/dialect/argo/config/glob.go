package config

import (
	"regexp"
	"strings"
)

// maxGlob bounds a pattern; longer ones match nothing.
const maxGlob = 4096

// Glob reports whether a glob of Argo CD matches: "*" crosses every character,
// "?" is one character, "[a-c]" and "[!a-c]" are classes, "{a,b}" alternatives,
// and "\" takes the next character as it is (util/glob, without separators).
// A pattern that cannot be read matches nothing.
func Glob(pattern, text string) bool {
	if pattern == text {
		return true
	}
	expr, ok := compileGlob(pattern)
	return ok && expr.MatchString(text)
}

// Listed reports whether one of the patterns matches: globs, or regular
// expressions between slashes (util/glob MatchStringInList, REGEXP).
func Listed(patterns []string, text string) bool {
	for _, pattern := range patterns {
		if len(pattern) > 2 && len(pattern) < maxGlob && pattern[0] == '/' && pattern[len(pattern)-1] == '/' {
			if expr, err := regexp.Compile(pattern[1 : len(pattern)-1]); err == nil && expr.MatchString(text) {
				return true
			}
			continue
		}
		if Glob(pattern, text) {
			return true
		}
	}
	return false
}

// Pattern is the glob as the regular expression of a model.Selector's field.
// The empty glob matches the empty text only, which an empty field would not
// say. Unreadable globs match nothing.
func Pattern(glob string) string {
	expr, ok := globExpression(glob)
	switch {
	case !ok:
		return `[^\s\S]`
	case expr == "":
		return "()"
	}
	return expr
}

func compileGlob(pattern string) (*regexp.Regexp, bool) {
	text, ok := globExpression(pattern)
	if !ok {
		return nil, false
	}
	expr, err := regexp.Compile(`^(?:` + text + `)$`)
	return expr, err == nil
}

// globExpression translates; false for what cannot be read.
func globExpression(pattern string) (string, bool) {
	if len(pattern) > maxGlob {
		return "", false
	}
	var out strings.Builder
	depth := 0
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '*':
			out.WriteString(`[\s\S]*`)
		case r == '?':
			out.WriteString(`[\s\S]`)
		case r == '\\':
			if i++; i == len(runes) {
				return "", false
			}
			out.WriteString(regexp.QuoteMeta(string(runes[i])))
		case r == '[':
			class, next, ok := globClass(runes, i)
			if !ok {
				return "", false
			}
			out.WriteString(class)
			i = next
		case r == '{':
			depth++
			out.WriteString("(?:")
		case r == '}' && depth > 0:
			depth--
			out.WriteByte(')')
		case r == ',' && depth > 0:
			out.WriteByte('|')
		default:
			out.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	if depth > 0 {
		return "", false
	}
	if _, err := regexp.Compile(out.String()); err != nil {
		return "", false
	}
	return out.String(), true
}

// globClass translates the class that begins at i and returns where it ends.
func globClass(runes []rune, i int) (string, int, bool) {
	var out strings.Builder
	out.WriteByte('[')
	at := i + 1
	if at < len(runes) && (runes[at] == '!' || runes[at] == '^') {
		out.WriteByte('^')
		at++
	}
	first := at
	for ; at < len(runes); at++ {
		r := runes[at]
		switch {
		case r == ']' && at > first:
			out.WriteByte(']')
			return out.String(), at, true
		case r == '-' && at > first:
			out.WriteByte('-')
		default:
			out.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return "", 0, false
}
