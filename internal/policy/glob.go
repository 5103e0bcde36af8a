package policy

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/glob/syntax/ast"
	"github.com/gobwas/glob/syntax/lexer"
)

// mostWays bounds the alternatives that the braces of a glob are written out
// to; one with more is matched as a regular expression, ten times as slowly.
const mostWays = 64

// way is a glob without braces: atoms that must follow one another.
type way []atom

// atom is a star, a text, or one character of a set.
type atom struct {
	star bool
	text string
	set  func(rune) bool
}

// eat is how many bytes of s the atom takes, less than zero for none.
func (a *atom) eat(s string) int {
	if a.set == nil {
		if !strings.HasPrefix(s, a.text) {
			return -1
		}
		return len(a.text)
	}
	r, size := utf8.DecodeRuneInString(s)
	if size == 0 || !a.set(r) {
		return -1
	}
	return size
}

// match walks along the atoms; after a mismatch the last star takes one
// character more. Every other atom takes a certain number of bytes wherever it
// stands, so that no other star has to be tried again.
func (w way) match(s string) bool {
	at, pos := 0, 0
	star, mark := -1, 0
	for {
		if at < len(w) && w[at].star {
			star, mark = at, pos
			at++
			continue
		}
		if at < len(w) {
			if n := w[at].eat(s[pos:]); n >= 0 {
				pos += n
				at++
				continue
			}
		} else if pos == len(s) || at > 0 && w[at-1].star {
			return true
		}
		if star < 0 || mark >= len(s) {
			return false
		}
		_, size := utf8.DecodeRuneInString(s[mark:])
		mark += size
		at, pos = star+1, mark
	}
}

// waysOf writes the braces of a well-formed glob out, false when that makes too
// many.
func waysOf(glob string) ([]way, bool) {
	tree, err := ast.Parse(lexer.NewLexer(glob))
	if err != nil {
		return nil, false
	}
	return expand(tree)
}

// joined is head and tail, with the texts that meet made one.
func joined(head, tail way) way {
	if n := len(head); n > 0 && len(tail) > 0 && head[n-1].plain() && tail[0].plain() {
		text := atom{text: head[n-1].text + tail[0].text}
		return slices.Concat(head[:n-1], way{text}, tail[1:])
	}
	return slices.Concat(head, tail)
}

func (a *atom) plain() bool { return !a.star && a.set == nil }

func expand(n *ast.Node) ([]way, bool) {
	switch n.Kind {
	case ast.KindPattern:
		ways := []way{nil}
		for _, child := range n.Children {
			tails, ok := expand(child)
			if !ok || len(ways)*len(tails) > mostWays {
				return nil, false
			}
			var longer []way
			for _, head := range ways {
				for _, tail := range tails {
					longer = append(longer, joined(head, tail))
				}
			}
			ways = longer
		}
		return ways, true
	case ast.KindAnyOf:
		var ways []way
		for _, child := range n.Children {
			more, ok := expand(child)
			if ways = append(ways, more...); !ok || len(ways) > mostWays {
				return nil, false
			}
		}
		return ways, true
	case ast.KindText:
		text, ok := n.Value.(ast.Text)
		return []way{{{text: text.Text}}}, ok
	case ast.KindAny, ast.KindSuper:
		return []way{{{star: true}}}, true
	case ast.KindSingle:
		return []way{{{set: func(rune) bool { return true }}}}, true
	case ast.KindList:
		list, ok := n.Value.(ast.List)
		return []way{{{set: func(r rune) bool { return strings.ContainsRune(list.Chars, r) != list.Not }}}}, ok
	case ast.KindRange:
		span, ok := n.Value.(ast.Range)
		return []way{{{set: func(r rune) bool { return (span.Lo <= r && r <= span.Hi) != span.Not }}}}, ok
	case ast.KindNothing:
		return []way{nil}, true
	}
	return nil, false
}
