package gate

import (
	"regexp"
	"strings"
	"sync"

	"github.com/gobwas/glob/syntax/ast"
	"github.com/gobwas/glob/syntax/lexer"

	"plumb.dev/plumb/internal/model"
)

const (
	// longestGlob bounds a pattern in bytes; a longer one matches nothing.
	longestGlob = 4096
	// rememberedGlobs bounds the compiled patterns that are remembered, in bytes
	// of their text and a fee for each.
	rememberedGlobs = 128 << 10
	globFee         = 64
)

// Glob reports whether a text matches a pattern as Argo CD matches names,
// namespaces, servers and repositories (argo-cd util/glob, which is
// gobwas/glob): "*" stands for any text without separators, "**" for any text,
// "?" for one character that is no separator, "[abc]", "[a-z]" and "[!a-z]" for
// one of a set, "{a,b}" for alternatives, "\" takes the next character as it
// stands. Most callers give no separators. A malformed pattern, or one of more
// than 4096 bytes, matches nothing. Matching takes time linear in the text,
// whatever the pattern.
func Glob(pattern, text string, separators ...rune) bool {
	if !strings.ContainsAny(pattern, "*?[]{}\\\x00") {
		return pattern == text
	}
	re := globs.of(pattern, string(separators))
	return re != nil && re.MatchString(text)
}

// ValidGlob reports whether a pattern can match anything at all: it is well
// formed and not too long.
func ValidGlob(pattern string) bool {
	_, ok := Pattern(pattern)
	return ok
}

// Pattern writes a glob as an unanchored regular expression (RE2), for a
// model.Selector, which anchors it. It is false for a malformed glob. The
// result is never empty, so that a glob which only the empty text matches is
// not taken for a field that matches everything.
func Pattern(glob string, separators ...rune) (string, bool) {
	if len(glob) > longestGlob {
		return "", false
	}
	tree, err := ast.Parse(lexer.NewLexer(glob))
	if err != nil {
		return "", false
	}
	t := translation{separators: "[^" + classText(string(separators)) + "]"}
	if len(separators) == 0 {
		t.separators = "."
	}
	t.out.WriteString("(?s:")
	t.node(tree)
	t.out.WriteString(")")
	return t.out.String(), true
}

// Selector picks objects as Argo CD's ignoreDifferences do: group and kind are
// globs, and an empty group is the core group; an empty namespace or name is
// any, others are taken as they stand. It is false when a glob is malformed,
// which upstream takes for a rule that matches nothing.
func Selector(group, kind, namespace, name string) (*model.Selector, bool) {
	groups, okGroup := Pattern(group)
	kinds, okKind := Pattern(kind)
	if !okGroup || !okKind {
		return nil, false
	}
	return &model.Selector{Group: groups, Kind: kinds, Namespace: regexp.QuoteMeta(namespace), Name: regexp.QuoteMeta(name)}, true
}

// translation turns the syntax tree of a glob into a regular expression.
type translation struct {
	out        strings.Builder
	separators string // regular expression of one character that is no separator
}

func (t *translation) node(n *ast.Node) {
	switch n.Kind {
	case ast.KindPattern:
		for _, child := range n.Children {
			t.node(child)
		}
	case ast.KindAnyOf:
		t.out.WriteString("(?:")
		for i, child := range n.Children {
			if i > 0 {
				t.out.WriteByte('|')
			}
			t.node(child)
		}
		t.out.WriteByte(')')
	case ast.KindText:
		if text, ok := n.Value.(ast.Text); ok {
			t.out.WriteString(regexp.QuoteMeta(text.Text))
		}
	case ast.KindAny:
		t.out.WriteString(t.separators + "*")
	case ast.KindSuper:
		t.out.WriteString(".*")
	case ast.KindSingle:
		t.out.WriteString(t.separators)
	case ast.KindList:
		if list, ok := n.Value.(ast.List); ok {
			t.class(classText(list.Chars), list.Not)
		}
	case ast.KindRange:
		if span, ok := n.Value.(ast.Range); ok {
			t.class(classText(string(span.Lo))+"-"+classText(string(span.Hi)), span.Not)
		}
	case ast.KindNothing:
	}
}

func (t *translation) class(content string, not bool) {
	t.out.WriteByte('[')
	if not {
		t.out.WriteByte('^')
	}
	t.out.WriteString(content)
	t.out.WriteByte(']')
}

// classText writes characters so that none of them means something in a
// character class.
func classText(chars string) string {
	var b strings.Builder
	for _, r := range chars {
		letter := '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if ' ' < r && r < 0x80 && !letter {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// globs remembers compiled patterns.
var globs = globCache{known: map[globKey]*regexp.Regexp{}}

type globKey struct{ pattern, separators string }

// globCache is forgotten whole when it is full: patterns come from few
// declared objects, so that it only fills when somebody means it to.
type globCache struct {
	mu    sync.Mutex
	known map[globKey]*regexp.Regexp
	size  int
}

// of compiles a pattern; nil when it is malformed.
func (c *globCache) of(pattern, separators string) *regexp.Regexp {
	if len(pattern) > longestGlob {
		return nil
	}
	key := globKey{pattern, separators}
	c.mu.Lock()
	re, ok := c.known[key]
	c.mu.Unlock()
	if ok {
		return re
	}
	if expression, valid := Pattern(pattern, []rune(separators)...); valid {
		re, _ = regexp.Compile(`\A` + expression + `\z`) // nil when RE2 finds it too large
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size += len(pattern) + globFee; c.size > rememberedGlobs {
		clear(c.known)
		c.size = len(pattern) + globFee
	}
	key.pattern = strings.Clone(pattern)
	c.known[key] = re
	return re
}
