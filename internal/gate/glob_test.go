package gate

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	upstream "github.com/gobwas/glob"
	"github.com/gobwas/glob/syntax/ast"
	"github.com/gobwas/glob/syntax/lexer"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		separators    string
		want          bool
	}{
		{"", "", "", true},
		{"", "a", "", false},
		{"*", "", "", true},
		{"*", "anything/at all\nindeed", "", true},
		{"team-*", "team-a", "", true},
		{"team-*", "xteam-a", "", false},
		{"*-prod", "shop-prod", "", true},
		{"*-prod", "shop-prod-2", "", false},
		{"a?c", "abc", "", true},
		{"a?c", "ac", "", false},
		{"a?c", "aüc", "", true},
		{"[abc]x", "bx", "", true},
		{"[!abc]x", "bx", "", false},
		{"[!abc]x", "dx", "", true},
		{"[a-c]x", "bx", "", true},
		{"[!a-c]x", "bx", "", false},
		{"[a-zA-Z]", "b", "", false}, // malformed upstream
		{"[ab-c]", "-", "", true},
		{"{one,two*}", "twofold", "", true},
		{"{one,two*}", "three", "", false},
		{"{a,{b,c}d}e", "cde", "", true},
		{`\*`, "*", "", true},
		{`\*`, "a", "", false},
		{"a.b", "a.b", "", true},
		{"a.*", "axb", "", false},
		{"(a)+*", "(a)+b", "", true},
		{"https://github.com/*", "https://github.com/a", "/", true},
		{"https://github.com/*", "https://github.com/a/b", "/", false},
		{"https://github.com/**", "https://github.com/a/b", "/", true},
		{"https://github.com/a?b", "https://github.com/a/b", "/", false},
		{"[", "[", "", false},
		{"[a", "a", "", false},
		{"{a,b", "a", "", true},
		{strings.Repeat("*a", 2000) + "b", strings.Repeat("a", 5000), "", false}, // and at once
		{strings.Repeat("*", longestGlob+1), "a", "", false},
	} {
		if got := Glob(c.pattern, c.text, []rune(c.separators)...); got != c.want {
			t.Errorf("Glob(%.40q, %.40q, %q) = %v", c.pattern, c.text, c.separators, got)
		}
	}
}

func TestValidGlob(t *testing.T) {
	for pattern, want := range map[string]bool{"": true, "*": true, "a": true, "[a": false, "[b-a]": false, "{a": true} {
		if ValidGlob(pattern) != want {
			t.Errorf("ValidGlob(%q) = %v", pattern, !want)
		}
	}
}

func TestGlobCacheForgetsInsteadOfGrowing(t *testing.T) {
	c := globCache{known: map[globKey]*regexp.Regexp{}}
	var done sync.WaitGroup
	for worker := range 4 {
		done.Add(1)
		go func() {
			defer done.Done()
			for i := range 1500 {
				if re := c.of(fmt.Sprintf("%d-%d-*", worker, i), ""); re == nil || !re.MatchString(fmt.Sprintf("%d-%d-x", worker, i)) {
					t.Errorf("%d-%d does not match", worker, i)
				}
			}
		}()
	}
	done.Wait()
	if len(c.known) > rememberedGlobs/globFee || c.size > rememberedGlobs {
		t.Errorf("%d patterns are remembered", len(c.known))
	}
}

func TestSelector(t *testing.T) {
	s, ok := Selector("", "*", "a.b", "")
	if !ok {
		t.Fatal("refused")
	}
	matches := func(expression, text string) bool {
		return expression == "" || regexp.MustCompile("^(?:"+expression+")$").MatchString(text)
	}
	if !matches(s.Group, "") || matches(s.Group, "apps") {
		t.Errorf("the empty group is not the core group alone: %q", s.Group)
	}
	if !matches(s.Kind, "Deployment") || !matches(s.Namespace, "a.b") || matches(s.Namespace, "axb") || s.Name != "" {
		t.Errorf("selector %+v", s)
	}
	if _, ok := Selector("[", "*", "", ""); ok {
		t.Error("a malformed glob is accepted")
	}
}

// FuzzGlob holds the regular expressions against a plain walk over the same
// syntax tree, and against the matcher that upstream uses where that is right:
// it panics on some texts, takes "a*a" to match "a", and "?" and "[!b]" to match
// the empty text.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{
		{"team-*", "team-a"}, {"[!a-c]?", "dx"}, {"{a,b*}c", "bxc"}, {`\{a`, "{a"}, {"*a*b", "xaxb"}, {"[^]", "^"}, {"[]-a]", "b"}, {"a**b", "a/b"},
		{"[\\]]", "]"}, {"[&&a]", "&"}, {"[a~~b]", "~"}, {"[[:alpha:]]", "a"}, {"}{", "}"}, {"a,b", "a,b"}, {"{,a}", ""}, {"a0*0", "a0"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 24 || len(text) > 24 || !utf8.ValidString(text) {
			return
		}
		tree, err := ast.Parse(lexer.NewLexer(pattern))
		for _, separators := range [][]rune{nil, {'/'}} {
			got := Glob(pattern, text, separators...)
			if err != nil {
				if got && pattern != text {
					t.Errorf("%q matches %q, but is malformed: %v", pattern, text, err)
				}
				continue
			}
			runes := []rune(text)
			if want := walk(tree, runes, separators, map[int]bool{0: true})[len(runes)]; want != got {
				t.Errorf("Glob(%q, %q, %q) = %v, a walk says %v", pattern, text, string(separators), got, want)
			}
			if strings.ContainsAny(pattern, "*{") || text == "" {
				continue
			}
			g, err := upstream.Compile(pattern, separators...)
			if err != nil {
				t.Fatalf("upstream cannot compile %q: %v", pattern, err)
			}
			if want, answered := answer(g, text); answered && want != got {
				t.Errorf("Glob(%q, %q, %q) = %v, upstream says %v", pattern, text, string(separators), got, want)
			}
		}
	})
}

// walk returns where in the text a node may end that begins at one of some
// places.
func walk(n *ast.Node, text, separators []rune, from map[int]bool) map[int]bool {
	one := func(fits func(rune) bool) map[int]bool {
		to := map[int]bool{}
		for i := range from {
			if i < len(text) && fits(text[i]) {
				to[i+1] = true
			}
		}
		return to
	}
	many := func(fits func(rune) bool) map[int]bool {
		to := map[int]bool{}
		for i := range from {
			to[i] = true
			for ; i < len(text) && fits(text[i]); i++ {
				to[i+1] = true
			}
		}
		return to
	}
	within := func(r rune) bool { return !slices.Contains(separators, r) }
	switch n.Kind {
	case ast.KindPattern:
		for _, child := range n.Children {
			from = walk(child, text, separators, from)
		}
		return from
	case ast.KindAnyOf:
		to := map[int]bool{}
		for _, child := range n.Children {
			maps.Copy(to, walk(child, text, separators, from))
		}
		return to
	case ast.KindText:
		for _, want := range n.Value.(ast.Text).Text {
			from = one(func(r rune) bool { return r == want })
		}
		return from
	case ast.KindAny:
		return many(within)
	case ast.KindSuper:
		return many(func(rune) bool { return true })
	case ast.KindSingle:
		return one(within)
	case ast.KindList:
		list := n.Value.(ast.List)
		return one(func(r rune) bool { return strings.ContainsRune(list.Chars, r) != list.Not })
	case ast.KindRange:
		span := n.Value.(ast.Range)
		return one(func(r rune) bool { return (span.Lo <= r && r <= span.Hi) != span.Not })
	}
	return from
}

// answer asks upstream's matcher, which panics on some texts.
func answer(g upstream.Glob, text string) (matches, answered bool) {
	defer func() { answered = recover() == nil }()
	return g.Match(text), true
}

func BenchmarkGlob(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Glob("team-*-prod", "team-shop-prod")
	}
}
