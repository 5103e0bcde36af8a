package policy

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"plumb.dev/plumb/internal/gate"
)

const (
	// longestPattern bounds a pattern in bytes.
	longestPattern = 4096
	// largestProgram bounds a regular expression after its counted repetitions
	// are written out, in nodes of its syntax tree.
	largestProgram = 5000
)

// pattern is one column of a rule, ready to be matched.
type pattern struct {
	shape shape
	text  string   // for exactly and within
	parts []string // for pieces: what stands between the stars
	// overlap: the beginning and the end may share characters, as in gobwas/glob,
	// which takes "shop/*/api" to match "shop/api". It is so for denies: they
	// deny what they did.
	overlap bool
	ways    []way // for alternatives: any of them
	re      *regexp.Regexp
}

type shape uint8

const (
	anything shape = iota
	exactly        // text
	within         // text, somewhere
	pieces         // parts in this order; the first at the beginning, the last at the end
	alternatives
	expression
)

func (p *pattern) match(s string) bool {
	switch p.shape {
	case anything:
		return true
	case exactly:
		return s == p.text
	case within:
		return strings.Contains(s, p.text)
	case pieces:
		if p.overlap && len(p.parts) == 2 {
			return strings.HasPrefix(s, p.parts[0]) && strings.HasSuffix(s, p.parts[1])
		}
		return inOrder(p.parts, s)
	case alternatives:
		return slices.ContainsFunc(p.ways, func(w way) bool { return w.match(s) })
	case expression:
		return p.re.MatchString(s)
	}
	return false
}

// realm is the first part of an object, with its slash: the project or the
// namespace; the whole object where it has no slash.
func realm(object string) string {
	if at := strings.IndexByte(object, '/'); at >= 0 {
		return object[:at+1]
	}
	return object
}

// realms are the realms of everything that the pattern matches, none where it
// may match in any.
func (p *pattern) realms() []string {
	switch p.shape {
	case exactly:
		return []string{realm(p.text)}
	case pieces:
		if strings.Contains(p.parts[0], "/") {
			return []string{realm(p.parts[0])}
		}
	case alternatives:
		var all []string
		for _, w := range p.ways {
			if len(w) == 0 || !strings.Contains(w[0].text, "/") {
				return nil
			}
			if in := realm(w[0].text); !slices.Contains(all, in) {
				all = append(all, in)
			}
		}
		return all
	case anything, within, expression:
	}
	return nil
}

// inOrder reports whether parts, with anything between them, are s. There are
// at least two parts; the first and the last may be empty.
func inOrder(parts []string, s string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return true
}

var (
	errTooLong  = fmt.Errorf("is longer than %d bytes", longestPattern)
	errTooLarge = errors.New("repeats too much")
	errNoGlob   = errors.New("is not a well-formed glob")
)

// compileGlob reads a glob as Argo CD matches the columns of a rule: no
// separators, so that a star crosses slashes.
func compileGlob(text string) (*pattern, error) {
	if len(text) > longestPattern {
		return nil, errTooLong
	}
	if !utf8.ValidString(text) {
		return nil, errNoGlob
	}
	if !strings.ContainsAny(text, "?[]{}\\\x00") {
		return starsOnly(text), nil
	}
	written, ok := gate.Pattern(text)
	if !ok {
		return nil, errNoGlob
	}
	if ways, ok := waysOf(text); ok {
		return &pattern{shape: alternatives, ways: ways}, nil
	}
	re, err := regexp.Compile(`\A` + written + `\z`)
	if err != nil {
		return nil, errTooLarge
	}
	return &pattern{shape: expression, re: re}, nil
}

func starsOnly(text string) *pattern {
	if !strings.Contains(text, "*") {
		return &pattern{shape: exactly, text: text}
	}
	if strings.Trim(text, "*") == "" {
		return &pattern{shape: anything}
	}
	return &pattern{shape: pieces, parts: strings.Split(text, "*")}
}

// compileRegex reads a regular expression as Argo CD's mode regex does: it may
// match anywhere (casbin's RegexMatch).
func compileRegex(text string) (*pattern, error) {
	if len(text) > longestPattern {
		return nil, errTooLong
	}
	if regexp.QuoteMeta(text) == text {
		return &pattern{shape: within, text: text}, nil
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("is not a regular expression (%s)", err.Error())
	}
	if programSize(tree) > largestProgram {
		return nil, errTooLarge
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, errTooLarge
	}
	return &pattern{shape: expression, re: re}, nil
}

// programSize estimates how large an expression becomes, without growing it.
func programSize(tree *syntax.Regexp) int {
	size := 1 + len(tree.Rune)/8
	for _, sub := range tree.Sub {
		if size += programSize(sub); size > largestProgram {
			return size
		}
	}
	if tree.Op == syntax.OpRepeat {
		size *= max(tree.Min, tree.Max, 1)
	}
	return size
}
