package appset

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"
	"text/template/parse"

	"plumb.dev/plumb/internal/dialect/reader"
)

// renderer fills templates with parameters: Go templates with Sprig
// (docs/operator-manual/applicationset/GoTemplate.md), or the older style in
// which {{name}} is replaced by a parameter of that name. It is used by one
// goroutine, and everything it does counts against one budget.
type renderer struct {
	goTemplate bool
	options    []string
	budget     *budget
	base       *template.Template            // with all functions; of Go templates only
	known      map[string]*template.Template // by text
	strict     map[string]*template.Template // the same, with missingkey=error
	unsteady   map[string]bool               // functions that were called and give something else each time
}

func newRenderer(goTemplate bool, options []string) *renderer {
	r := &renderer{
		goTemplate: goTemplate,
		options:    options,
		budget:     newBudget(),
		known:      map[string]*template.Template{},
		strict:     map[string]*template.Template{},
		unsteady:   map[string]bool{},
	}
	if goTemplate {
		r.base = template.New("template").Funcs(r.functions())
	}
	return r
}

// maxTemplate bounds the text of one template, and what comes out of it.
const maxTemplate = 1 << 20

// replace fills one text.
func (r *renderer) replace(text string, with params) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if len(text) > maxTemplate {
		return "", fmt.Errorf("the template is longer than %d bytes", maxTemplate)
	}
	if r.goTemplate {
		return r.execute(text, with, false)
	}
	return r.substitute(text, with)
}

// errMissing is a lookup of a parameter that does not exist.
var errMissing = errors.New("there is no such parameter")

// replaceKnown fills a text only when all parameters that it names exist;
// otherwise the error is errMissing.
func (r *renderer) replaceKnown(text string, with params) (string, error) {
	if !r.goTemplate || !strings.Contains(text, "{{") {
		return r.replace(text, with)
	}
	out, err := r.execute(text, with, true)
	if err != nil && (strings.Contains(err.Error(), "map has no entry for key") || strings.Contains(err.Error(), "can't evaluate field")) {
		return "", errMissing
	}
	return out, err
}

func (r *renderer) execute(text string, with params, strict bool) (string, error) {
	parsed, err := r.parse(text, strict)
	if err != nil {
		return "", err
	}
	r.budget.begin()
	out := &boundedBuilder{}
	if err := parsed.Execute(out, map[string]any(with)); err != nil {
		return "", templateError(err)
	}
	return out.String(), nil
}

// parse reads a Go template and makes it count what it does.
func (r *renderer) parse(text string, strict bool) (*template.Template, error) {
	cache := r.known
	if strict {
		cache = r.strict
	}
	if parsed, ok := cache[text]; ok {
		return parsed, nil
	}
	clone, err := r.base.Clone()
	if err != nil {
		return nil, fmt.Errorf("the template cannot be prepared: %w", err)
	}
	clone = clone.Option(r.options...)
	if strict {
		clone = clone.Option("missingkey=error")
	}
	parsed, err := clone.Parse(text)
	if err != nil {
		return nil, templateError(err)
	}
	for _, t := range parsed.Templates() {
		if t.Tree != nil && t.Root != nil {
			meter(t.Root)
		}
	}
	cache[text] = parsed
	return parsed, nil
}

// templateError bounds what an error says; a function may quote its arguments.
func templateError(err error) error {
	var over *overBudget
	if errors.As(err, &over) {
		return over
	}
	return errors.New(strings.TrimPrefix(reader.Clip(err.Error(), 400), "template: "))
}

// meter makes a template call the counter in every body that can run more than
// once, and pass what it prints through a check of its size: printing, other
// than everything else, follows references however often they stand there.
func meter(list *parse.ListNode) {
	if list == nil {
		return
	}
	list.Nodes = append([]parse.Node{tickNode.Copy()}, list.Nodes...)
	meterNodes(list.Nodes)
}

func meterNodes(nodes []parse.Node) {
	for _, node := range nodes {
		switch n := node.(type) {
		case *parse.ActionNode:
			if len(n.Pipe.Decl) == 0 {
				n.Pipe.Cmds = append(n.Pipe.Cmds, printCommand.Copy().(*parse.CommandNode))
			}
		case *parse.IfNode:
			meterBranch(&n.BranchNode)
		case *parse.WithNode:
			meterBranch(&n.BranchNode)
		case *parse.RangeNode:
			meter(n.List)
			if n.ElseList != nil {
				meterNodes(n.ElseList.Nodes)
			}
		}
	}
}

func meterBranch(n *parse.BranchNode) {
	if n.List != nil {
		meterNodes(n.List.Nodes)
	}
	if n.ElseList != nil {
		meterNodes(n.ElseList.Nodes)
	}
}

// The functions that meter adds. A template that names them only counts more.
const (
	tickName  = "plumbTick"
	printName = "plumbPrint"
)

var tickNode, printCommand = meterNodesOf()

func meterNodesOf() (parse.Node, *parse.CommandNode) {
	stub := func() string { return "" }
	tree, err := parse.Parse("meter", "{{"+tickName+"}}{{0 | "+printName+"}}", "", "", map[string]any{tickName: stub, printName: stub})
	if err != nil {
		panic(err)
	}
	nodes := tree["meter"].Root.Nodes
	return nodes[0], nodes[1].(*parse.ActionNode).Pipe.Cmds[1]
}

// boundedBuilder collects output up to maxTemplate.
type boundedBuilder struct{ strings.Builder }

func (b *boundedBuilder) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxTemplate {
		return 0, &overBudget{fmt.Sprintf("the template makes more than %d bytes", maxTemplate)}
	}
	return b.Builder.Write(p)
}

// templated is upstream's own test: braces count only within one line.
var templated = regexp.MustCompile(`.*{{.*}}.*`)

// substitute replaces {{name}} by parameters that are strings, once; what has
// no parameter stays as it is.
func (r *renderer) substitute(text string, with params) (string, error) {
	if !templated.MatchString(text) {
		return text, nil
	}
	out := &boundedBuilder{}
	write := func(s string) error {
		_, err := out.Write([]byte(s))
		return err
	}
	rest := text
	for {
		before, after, found := strings.Cut(rest, "{{")
		if err := write(before); err != nil {
			return "", err
		}
		if !found {
			return out.String(), nil
		}
		tag, next, closed := strings.Cut(after, "}}")
		if !closed {
			return "", errors.New("{{ is never closed by }}")
		}
		piece, ok := with[strings.TrimSpace(tag)].(string)
		if !ok || strings.TrimSpace(tag) == "" {
			piece = "{{" + tag + "}}"
		}
		if err := write(piece); err != nil {
			return "", err
		}
		rest = next
	}
}

// tree fills every string of a tree, keys included; nulls in maps go, as they
// do upstream. The error names the place.
func (r *renderer) tree(path string, value any, with params) (any, error) {
	switch v := value.(type) {
	case string:
		out, err := r.replace(v, with)
		if err != nil {
			return nil, &placed{path, err}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range reader.SortedKeys(v) {
			if v[key] == nil {
				continue
			}
			at := path + "." + reader.Clip(key, 100)
			filled, err := r.tree(at, v[key], with)
			if err != nil {
				return nil, err
			}
			name, err := r.replace(key, with)
			if err != nil {
				return nil, &placed{at, err}
			}
			out[name] = filled
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			filled, err := r.tree(fmt.Sprintf("%s[%d]", path, i), item, with)
			if err != nil {
				return nil, err
			}
			out[i] = filled
		}
		return out, nil
	}
	return value, nil
}

// placed is an error with the field that it is about.
type placed struct {
	path string
	err  error
}

func (p *placed) Error() string { return p.path + ": " + p.err.Error() }
func (p *placed) Unwrap() error { return p.err }
