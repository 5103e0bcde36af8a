package script

import (
	"errors"
	"fmt"

	"github.com/yuin/gopher-lua/ast"
)

// Functions that rewritten syntax calls. No script can spell these names.
const (
	joinName   = "(join)"   // a .. b
	assignName = "(assign)" // t[k] = v
	indexName  = "(index)"  // {[k] = v}
)

// maxSyntaxDepth bounds the recursion of rewriting and compiling.
const maxSyntaxDepth = 400

var errTooDeep = errors.New("the script is nested too deep")

// meterSyntax replaces what one instruction could use to allocate without limit
// by calls of metered functions. The meaning stays the same.
func meterSyntax(chunk []ast.Stmt) (metered []ast.Stmt, err error) {
	defer func() {
		if failure := recover(); failure != nil {
			if failed, ok := failure.(error); !ok || !errors.Is(failed, errTooDeep) {
				panic(failure)
			}
			metered, err = nil, errTooDeep
		}
	}()
	return (&rewriter{}).block(chunk), nil
}

type rewriter struct{ depth int }

func (r *rewriter) enter() {
	if r.depth++; r.depth > maxSyntaxDepth {
		panic(errTooDeep)
	}
}

func (r *rewriter) leave() { r.depth-- }

func (r *rewriter) block(stmts []ast.Stmt) []ast.Stmt {
	r.enter()
	defer r.leave()
	out := make([]ast.Stmt, len(stmts))
	for i, stmt := range stmts {
		out[i] = r.statement(stmt)
	}
	return out
}

func (r *rewriter) statement(stmt ast.Stmt) ast.Stmt {
	switch s := stmt.(type) {
	case *ast.AssignStmt:
		s.Lhs, s.Rhs = r.all(s.Lhs), r.all(s.Rhs)
		return assignment(s)
	case *ast.LocalAssignStmt:
		s.Exprs = r.all(s.Exprs)
	case *ast.FuncCallStmt:
		s.Expr = r.expression(s.Expr)
	case *ast.DoBlockStmt:
		s.Stmts = r.block(s.Stmts)
	case *ast.WhileStmt:
		s.Condition, s.Stmts = r.expression(s.Condition), r.block(s.Stmts)
	case *ast.RepeatStmt:
		s.Condition, s.Stmts = r.expression(s.Condition), r.block(s.Stmts)
	case *ast.IfStmt:
		s.Condition, s.Then, s.Else = r.expression(s.Condition), r.block(s.Then), r.block(s.Else)
	case *ast.NumberForStmt:
		s.Init, s.Limit = r.expression(s.Init), r.expression(s.Limit)
		if s.Step != nil {
			s.Step = r.expression(s.Step)
		}
		s.Stmts = r.block(s.Stmts)
	case *ast.GenericForStmt:
		s.Exprs, s.Stmts = r.all(s.Exprs), r.block(s.Stmts)
	case *ast.FuncDefStmt:
		if s.Name.Func != nil {
			s.Name.Func = r.expression(s.Name.Func)
		}
		if s.Name.Receiver != nil {
			s.Name.Receiver = r.expression(s.Name.Receiver)
		}
		s.Func.Stmts = r.block(s.Func.Stmts)
	case *ast.ReturnStmt:
		s.Exprs = r.all(s.Exprs)
	}
	return stmt
}

func (r *rewriter) all(exprs []ast.Expr) []ast.Expr {
	for i, expr := range exprs {
		exprs[i] = r.expression(expr)
	}
	return exprs
}

func (r *rewriter) expression(expr ast.Expr) ast.Expr {
	r.enter()
	defer r.leave()
	switch e := expr.(type) {
	case *ast.StringConcatOpExpr:
		return r.join(e)
	case *ast.AttrGetExpr:
		e.Object, e.Key = r.expression(e.Object), r.expression(e.Key)
	case *ast.TableExpr:
		for _, field := range e.Fields {
			r.field(field)
		}
	case *ast.FuncCallExpr:
		if e.Func != nil {
			e.Func = r.expression(e.Func)
		}
		if e.Receiver != nil {
			e.Receiver = r.expression(e.Receiver)
		}
		e.Args = r.all(e.Args)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = r.expression(e.Lhs), r.expression(e.Rhs)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = r.expression(e.Lhs), r.expression(e.Rhs)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = r.expression(e.Lhs), r.expression(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		e.Expr = r.expression(e.Expr)
	case *ast.UnaryNotOpExpr:
		e.Expr = r.expression(e.Expr)
	case *ast.UnaryLenOpExpr:
		e.Expr = r.expression(e.Expr)
	case *ast.FunctionExpr:
		e.Stmts = r.block(e.Stmts)
	}
	return expr
}

// join makes one call of a chain of concatenations, which leans to the right.
func (r *rewriter) join(e *ast.StringConcatOpExpr) ast.Expr {
	parts := []ast.Expr{}
	var rest ast.Expr = e
	for {
		concat, ok := rest.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		parts = append(parts, single(r.expression(concat.Lhs)))
		rest = concat.Rhs
	}
	parts = append(parts, single(r.expression(rest)))
	return call(e, joinName, parts...)
}

func (r *rewriter) field(field *ast.Field) {
	field.Value = r.expression(field.Value)
	if field.Key == nil {
		return
	}
	field.Key = r.expression(field.Key)
	if _, named := field.Key.(*ast.StringExpr); !named {
		field.Key = call(field.Value, indexName, single(field.Key))
	}
}

// assignment meters assignments to computed indexes. Lua evaluates all of an
// assignment before it assigns, which hidden locals keep.
func assignment(s *ast.AssignStmt) ast.Stmt {
	computed := false
	for _, target := range s.Lhs {
		computed = computed || isComputed(target)
	}
	switch {
	case !computed:
		return s
	case len(s.Lhs) == 1 && len(s.Rhs) == 1:
		target := s.Lhs[0].(*ast.AttrGetExpr)
		return callStatement(s, call(s, assignName, single(target.Object), single(target.Key), single(s.Rhs[0])))
	}
	values := &ast.LocalAssignStmt{Exprs: s.Rhs}
	block := &ast.DoBlockStmt{}
	var assigns []ast.Stmt
	for i, target := range s.Lhs {
		value := local("(value %d)", i)
		values.Names = append(values.Names, value.Value)
		get, ok := target.(*ast.AttrGetExpr)
		if !ok {
			assign := &ast.AssignStmt{Lhs: []ast.Expr{target}, Rhs: []ast.Expr{value}}
			place(assign, s)
			assigns = append(assigns, assign)
			continue
		}
		object, key := local("(object %d)", i), local("(key %d)", i)
		evaluated := &ast.LocalAssignStmt{
			Names: []string{object.Value, key.Value},
			Exprs: []ast.Expr{single(get.Object), single(get.Key)},
		}
		place(evaluated, s)
		block.Stmts = append(block.Stmts, evaluated)
		assigns = append(assigns, callStatement(s, call(s, assignName, object, key, value)))
	}
	place(values, s)
	block.Stmts = append(append(block.Stmts, values), assigns...)
	for _, stmt := range block.Stmts {
		reposition(stmt, s)
	}
	place(block, s)
	return block
}

// isComputed reports whether a target of an assignment is an index other than a
// plain name.
func isComputed(target ast.Expr) bool {
	get, ok := target.(*ast.AttrGetExpr)
	if !ok {
		return false
	}
	_, named := get.Key.(*ast.StringExpr)
	return !named
}

func local(format string, i int) *ast.IdentExpr {
	return &ast.IdentExpr{Value: fmt.Sprintf(format, i)}
}

// single cuts what may be several values to one, as an operand is.
func single(expr ast.Expr) ast.Expr {
	switch e := expr.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
	return expr
}

func call(at ast.PositionHolder, name string, args ...ast.Expr) *ast.FuncCallExpr {
	function := &ast.IdentExpr{Value: name}
	place(function, at)
	for _, arg := range args {
		if arg.Line() == 0 {
			place(arg, at)
		}
	}
	made := &ast.FuncCallExpr{Func: function, Args: args, AdjustRet: true}
	place(made, at)
	return made
}

func callStatement(at ast.PositionHolder, made *ast.FuncCallExpr) ast.Stmt {
	made.AdjustRet = false
	stmt := &ast.FuncCallStmt{Expr: made}
	place(stmt, at)
	return stmt
}

func place(node, at ast.PositionHolder) {
	node.SetLine(at.Line())
	node.SetLastLine(max(at.LastLine(), at.Line()))
}

// reposition gives the locals that stand in made assignments a line.
func reposition(stmt ast.Stmt, at ast.PositionHolder) {
	if assign, ok := stmt.(*ast.AssignStmt); ok {
		for _, expr := range assign.Rhs {
			if expr.Line() == 0 {
				place(expr, at)
			}
		}
	}
}
