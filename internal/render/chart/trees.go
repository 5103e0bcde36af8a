package chart

import (
	"slices"
	"text/template/parse"
)

// Names of functions that only prepared trees call: templates cannot be parsed
// that name them.
const (
	tickName  = "plumbTick"  // at the start of every turn of a loop
	enterName = "plumbEnter" // at the start of a definition that calls others, and
	leaveName = "plumbLeave" // at its end
	printName = "plumbPrint" // looks at a value that is about to be printed
)

// instrument puts calls of our functions into a tree, so that loops and
// recursion meet the bounds of a run, and that a question about one kind of
// object is seen as such. None of them prints anything.
func instrument(tree *parse.Tree) {
	if tree.Root == nil {
		return
	}
	w := walker{}
	w.list(tree.Root)
	if w.calls {
		tree.Root.Nodes = slices.Concat([]parse.Node{call(enterName)}, tree.Root.Nodes, []parse.Node{call(leaveName)})
	}
}

func call(name string) *parse.ActionNode {
	return &parse.ActionNode{NodeType: parse.NodeAction, Pipe: &parse.PipeNode{NodeType: parse.NodePipe, Cmds: []*parse.CommandNode{command(name)}}}
}

func command(name string) *parse.CommandNode {
	return &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{parse.NewIdentifier(name)}}
}

type walker struct{ calls bool }

func (w *walker) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, node := range l.Nodes {
		w.node(node)
	}
}

func (w *walker) node(node parse.Node) {
	switch n := node.(type) {
	case *parse.ActionNode:
		w.pipe(n.Pipe)
		if len(n.Pipe.Decl) == 0 && mayBeLarge(n.Pipe) {
			n.Pipe.Cmds = append(n.Pipe.Cmds, command(printName))
		}
	case *parse.IfNode:
		w.branch(&n.BranchNode)
	case *parse.WithNode:
		w.branch(&n.BranchNode)
	case *parse.RangeNode:
		w.branch(&n.BranchNode)
		n.List.Nodes = slices.Insert(n.List.Nodes, 0, parse.Node(call(tickName)))
	case *parse.TemplateNode:
		w.calls = true
		w.pipe(n.Pipe)
	}
}

func (w *walker) branch(b *parse.BranchNode) {
	w.pipe(b.Pipe)
	w.list(b.List)
	w.list(b.ElseList)
}

func (w *walker) pipe(p *parse.PipeNode) {
	if p == nil {
		return
	}
	for _, cmd := range p.Cmds {
		for _, arg := range cmd.Args {
			switch n := arg.(type) {
			case *parse.PipeNode:
				w.pipe(n)
			case *parse.ChainNode:
				if inner, ok := n.Node.(*parse.PipeNode); ok {
					w.pipe(inner)
				}
				n.Field = oneAPI(n.Field)
			case *parse.FieldNode:
				n.Ident = oneAPI(n.Ident)
			case *parse.VariableNode:
				n.Ident = oneAPI(n.Ident)
			}
		}
	}
}

// oneAPI turns ….APIVersions.Has into a question about one kind, which does not
// need the list of all.
func oneAPI(fields []string) []string {
	n := len(fields)
	if n < 2 || fields[n-2] != "APIVersions" || fields[n-1] != "Has" {
		return fields
	}
	return append(slices.Clone(fields[:n-2]), "HasAPI")
}

// mayBeLarge reports whether a printed value may be other than a text that was
// counted when it was made.
func mayBeLarge(p *parse.PipeNode) bool {
	if len(p.Cmds) == 0 {
		return false
	}
	last := p.Cmds[len(p.Cmds)-1]
	if len(last.Args) == 0 {
		return false
	}
	switch first := last.Args[0].(type) {
	case *parse.StringNode, *parse.NumberNode, *parse.BoolNode:
		return false
	case *parse.IdentifierNode:
		return !known.texts[first.Ident]
	}
	return true
}
