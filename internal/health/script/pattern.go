package script

import (
	"errors"
	"strings"
)

// matcher finds Lua patterns (reference manual of Lua 5.1, §5.4.1) in a text.
// Unlike the interpreter's own it counts its steps, since a pattern that tries
// again and again takes time without end.
type matcher struct {
	text, pattern string
	captures      []capture
	depth         int
	step          func() // takes a step; it does not return when there are none left
}

type capture struct{ start, length int }

// Lengths of captures that are no text.
const (
	captureOpen     = -1
	capturePosition = -2
)

const (
	maxCaptures     = 32
	maxPatternDepth = 200
)

var (
	errPattern  = errors.New("malformed pattern")
	errCapture  = errors.New("invalid pattern capture")
	errTooMany  = errors.New("too many captures")
	errTooHard  = errors.New("pattern too complex")
	errNoLetter = errors.New("malformed pattern (ends with '%')")
)

// find looks for the first match that begins at from or later. The end is -1
// when there is none.
func (m *matcher) find(from int) (start, end int) {
	pattern, anchored := strings.CutPrefix(m.pattern, "^")
	for at := from; at <= len(m.text); at++ {
		m.captures, m.depth = m.captures[:0], 0
		if end := m.match(at, pattern); end >= 0 {
			return at, end
		}
		if anchored {
			break
		}
	}
	return 0, -1
}

// match returns where a match that begins at ends, or -1.
func (m *matcher) match(at int, pattern string) int {
	m.depth++
	defer func() { m.depth-- }()
	if m.depth > maxPatternDepth {
		panic(errTooHard)
	}
	for {
		m.step()
		if pattern == "" {
			return at
		}
		switch {
		case pattern[0] == '(':
			return m.openCapture(at, pattern[1:])
		case pattern[0] == ')':
			return m.closeCapture(at, pattern[1:])
		case pattern == "$":
			if at == len(m.text) {
				return at
			}
			return -1
		case strings.HasPrefix(pattern, "%b"):
			if at = m.balanced(at, pattern[2:]); at < 0 {
				return -1
			}
			pattern = pattern[4:]
			continue
		case strings.HasPrefix(pattern, "%f"):
			class, rest := oneClass(pattern[2:])
			if class[0] != '[' {
				panic(errPattern)
			}
			before, now := byte(0), byte(0)
			if at > 0 {
				before = m.text[at-1]
			}
			if at < len(m.text) {
				now = m.text[at]
			}
			if inClass(before, class) || !inClass(now, class) {
				return -1
			}
			pattern = rest
			continue
		case len(pattern) > 1 && pattern[0] == '%' && pattern[1] >= '0' && pattern[1] <= '9':
			length := m.backReference(at, pattern[1])
			if length < 0 {
				return -1
			}
			at, pattern = at+length, pattern[2:]
			continue
		}
		class, rest := oneClass(pattern)
		if rest == "" || !strings.ContainsRune("*+-?", rune(rest[0])) {
			if at >= len(m.text) || !inClass(m.text[at], class) {
				return -1
			}
			at, pattern = at+1, rest
			continue
		}
		return m.repeat(at, class, rest[0], rest[1:])
	}
}

func (m *matcher) repeat(at int, class string, how byte, rest string) int {
	fits := func(i int) bool { m.step(); return i < len(m.text) && inClass(m.text[i], class) }
	switch how {
	case '?':
		if fits(at) {
			if end := m.match(at+1, rest); end >= 0 {
				return end
			}
		}
		return m.match(at, rest)
	case '-':
		for {
			if end := m.match(at, rest); end >= 0 {
				return end
			}
			if !fits(at) {
				return -1
			}
			at++
		}
	}
	least := at
	if how == '+' {
		least++
	}
	most := at
	for fits(most) {
		most++
	}
	for i := most; i >= least; i-- {
		if end := m.match(i, rest); end >= 0 {
			return end
		}
	}
	return -1
}

func (m *matcher) openCapture(at int, pattern string) int {
	if len(m.captures) >= maxCaptures {
		panic(errTooMany)
	}
	length := captureOpen
	if strings.HasPrefix(pattern, ")") {
		length, pattern = capturePosition, pattern[1:]
	}
	level := len(m.captures)
	m.captures = append(m.captures, capture{at, length})
	end := m.match(at, pattern)
	if end < 0 {
		m.captures = m.captures[:level]
	}
	return end
}

func (m *matcher) closeCapture(at int, pattern string) int {
	for level := len(m.captures) - 1; level >= 0; level-- {
		if m.captures[level].length != captureOpen {
			continue
		}
		m.captures[level].length = at - m.captures[level].start
		end := m.match(at, pattern)
		if end < 0 {
			m.captures[level].length = captureOpen
		}
		return end
	}
	panic(errCapture)
}

func (m *matcher) balanced(at int, pair string) int {
	if len(pair) < 2 {
		panic(errPattern)
	}
	if at >= len(m.text) || m.text[at] != pair[0] {
		return -1
	}
	open := 1
	for i := at + 1; i < len(m.text); i++ {
		m.step()
		switch m.text[i] {
		case pair[1]:
			if open--; open == 0 {
				return i + 1
			}
		case pair[0]:
			open++
		}
	}
	return -1
}

// backReference returns the length of an earlier capture that is repeated here,
// or -1.
func (m *matcher) backReference(at int, digit byte) int {
	index := int(digit - '1')
	if index < 0 || index >= len(m.captures) || m.captures[index].length < 0 {
		panic(errCapture)
	}
	c := m.captures[index]
	if strings.HasPrefix(m.text[at:], m.text[c.start:c.start+c.length]) {
		return c.length
	}
	return -1
}

// oneClass splits a pattern after its first single-character class.
func oneClass(pattern string) (class, rest string) {
	if pattern == "" {
		panic(errPattern)
	}
	switch pattern[0] {
	case '%':
		if len(pattern) < 2 {
			panic(errNoLetter)
		}
		return pattern[:2], pattern[2:]
	case '[':
		i := 1
		if i < len(pattern) && pattern[i] == '^' {
			i++
		}
		for first := true; ; first = false {
			if i >= len(pattern) {
				panic(errPattern)
			}
			if pattern[i] == ']' && !first {
				return pattern[:i+1], pattern[i+1:]
			}
			if pattern[i] == '%' {
				i++
			}
			i++
		}
	}
	return pattern[:1], pattern[1:]
}

func inClass(c byte, class string) bool {
	switch class[0] {
	case '.':
		return true
	case '%':
		return inNamed(c, class[1])
	case '[':
		return inSet(c, class[1:len(class)-1])
	}
	return c == class[0]
}

func inSet(c byte, set string) bool {
	set, not := strings.CutPrefix(set, "^")
	for i := 0; i < len(set); i++ {
		switch {
		case set[i] == '%' && i+1 < len(set):
			i++
			if inNamed(c, set[i]) {
				return !not
			}
		case i+2 < len(set) && set[i+1] == '-':
			if set[i] <= c && c <= set[i+2] {
				return !not
			}
			i += 2
		case set[i] == c:
			return !not
		}
	}
	return not
}

func inNamed(c, name byte) bool {
	lower := name | 0x20
	var is bool
	switch lower {
	case 'a':
		is = letter(c)
	case 'd':
		is = digit(c)
	case 'l':
		is = c >= 'a' && c <= 'z'
	case 's':
		is = c == ' ' || c >= '\t' && c <= '\r'
	case 'u':
		is = c >= 'A' && c <= 'Z'
	case 'w':
		is = letter(c) || digit(c)
	case 'x':
		is = digit(c) || c|0x20 >= 'a' && c|0x20 <= 'f'
	case 'p':
		is = c > ' ' && c < 0x7f && !letter(c) && !digit(c)
	case 'c':
		is = c < ' ' || c == 0x7f
	case 'z':
		is = c == 0
	default:
		return c == name
	}
	return is == (name == lower)
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }
