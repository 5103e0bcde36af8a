package differ

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/itchyny/gojq"
)

// The expressions come from whoever may write a declared object, and run in the
// one process that serves everybody. Counting instructions is not enough: a
// single one can double a value, and forty of them fill any memory. So the
// syntax tree is rewritten before it is compiled: whatever makes a value, and
// whatever takes time by the size of a value, is measured on its way in and out
// (query.go, meters). What has no place in a path expression is refused.

// prelude defines the measured forms. A name that begins with an underscore
// stands in for the function, or the operator, of the name without it.
const prelude = `
def _add2($r; $l): _both($l; $r) | $l + $r | _meter;
def _sub2($r; $l): _pair($l; $r) | $l - $r;
def _mul2($r; $l): _both($l; $r) | _times($l; $r) | $l * $r | _meter;
def _div2($r; $l): _both($l; $r) | $l / $r | _meter;
def _eq2($r; $l): _both($l; $r) | $l == $r;
def _ne2($r; $l): _both($l; $r) | $l != $r;
def _gt2($r; $l): _both($l; $r) | $l > $r;
def _lt2($r; $l): _both($l; $r) | $l < $r;
def _ge2($r; $l): _both($l; $r) | $l >= $r;
def _le2($r; $l): _both($l; $r) | $l <= $r;
def _contains($x): . as $v | _pair($v; $x) | contains($x);
def _inside($x): . as $v | _pair($v; $x) | inside($x);
def _indices($x): . as $v | _pair($v; $x) | indices($x);
def _index($x): . as $v | _pair($v; $x) | index($x);
def _rindex($x): . as $v | _pair($v; $x) | rindex($x);
def _join($x): . as $v | _both($v; $x) | _times($v; $x) | join($x) | _meter;
def _split($x): . as $v | _both($v; $x) | split($x) | _meter;
def _tonumber: _short | tonumber;
def _explode: _short | explode;
def _test($re): _meter | test($re | _short);
def _test($re; $flags): _meter | test($re | _short; $flags);
def _match($re): _short | match($re | _short);
def _match($re; $flags): _short | match($re | _short; $flags);
def _capture($re): _short | capture($re | _short) | _meter;
def _capture($re; $flags): _short | capture($re | _short; $flags) | _meter;
def _scan($re): _short | scan($re | _short) | _meter;
def _scan($re; $flags): _short | scan($re | _short; $flags) | _meter;
def _split($re; $flags): _brief | split($re | _short; $flags) | _meter;
def _splits($re): _brief | splits($re | _short);
def _splits($re; $flags): _brief | splits($re | _short; $flags);
def _sub($re; str): _brief | sub($re | _short; str | _brief) | _meter;
def _sub($re; str; $flags): _brief | sub($re | _short; str | _brief; $flags) | _meter;
def _gsub($re; str): _brief | gsub($re | _short; str | _brief) | _meter;
def _gsub($re; str; $flags): _brief | gsub($re | _short; str | _brief; $flags) | _meter;
def _IN(s): _meter | IN(s | _meter);
def _IN(src; s): IN(src | _meter; s | _meter);
def _path(f): path(f) | _meter;
def _del(f): _meter | delpaths([path(f) | _meter]) | _meter;
def _add(f): [f | _meter] | _meter | add | _meter;
`

// functions are those that an expression may call, by name and number of
// arguments. How one is called says what is measured.
var functions = func() map[string]form {
	all := map[string]form{}
	for form, names := range map[form]string{
		// Those that decide, walk and select: each step is counted already.
		asItIs: `empty/0 error/0 error/1 not/0 select/1 recurse/0 recurse/1 recurse/2 first/0 first/1 last/0 last/1
			nth/1 nth/2 limit/2 skip/2 until/2 while/2 repeat/1 range/1 range/2 range/3 any/0 any/1 any/2 all/0 all/1
			all/2 isempty/1 in/1 has/1 type/0 arrays/0 objects/0 iterables/0 booleans/0 numbers/0 strings/0 nulls/0
			values/0 scalars/0 getpath/1 floor/0 ceil/0 round/0 sqrt/0 fabs/0 abs/0 infinite/0 nan/0 isnan/0
			isinfinite/0 isnormal/0 true/0 false/0 null/0 toboolean/0`,
		// Those whose time and result go by the size of their input.
		inAndOut: `length/0 utf8bytelength/0 keys/0 to_entries/0 from_entries/0 with_entries/1 map/1 map_values/1 add/0
			flatten/0 flatten/1 reverse/0 sort/0 sort_by/1 group_by/1 unique/0 unique_by/1 min/0 max/0 min_by/1 max_by/1
			tojson/0 fromjson/0 tostring/0 implode/0 ascii_downcase/0 ascii_upcase/0 startswith/1 endswith/1 ltrimstr/1
			rtrimstr/1 trimstr/1 ltrim/0 rtrim/0 trim/0 walk/1 delpaths/1 bsearch/1`,
		// Those whose input is measured, and whose results are counted.
		onlyIn: `paths/0 paths/1`,
		// Those that the prelude defines anew.
		anew: `contains/1 inside/1 indices/1 index/1 rindex/1 join/1 split/1 split/2 tonumber/0 explode/0 test/1 test/2
			match/1 match/2 capture/1 capture/2 scan/1 scan/2 splits/1 splits/2 sub/2 sub/3 gsub/2 gsub/3 IN/1 IN/2 add/1 path/1 del/1`,
	} {
		for _, name := range strings.Fields(names) {
			all[name] = form
		}
	}
	return all
}()

// form is how a function is measured.
type form uint8

const (
	asItIs form = iota + 1
	inAndOut
	onlyIn
	anew
)

// operators are replaced by functions of the prelude, unless they compare with
// a constant.
var operators = map[gojq.Operator]string{
	gojq.OpAdd: "_add2", gojq.OpSub: "_sub2", gojq.OpMul: "_mul2", gojq.OpDiv: "_div2",
	gojq.OpEq: "_eq2", gojq.OpNe: "_ne2", gojq.OpGt: "_gt2", gojq.OpLt: "_lt2", gojq.OpGe: "_ge2", gojq.OpLe: "_le2",
}

const (
	// deepest bounds the nesting of an expression.
	deepest = 200
	// mostInterpolations bounds the values put into one string.
	mostInterpolations = 16
)

// measured parses a path expression and returns the query that lists the paths
// it picks, with everything that needs it measured.
func measured(text string) (*gojq.Query, error) {
	tree, err := gojq.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("it cannot be parsed as jq: %w", err)
	}
	r := rewriter{used: map[string]bool{}}
	r.query(tree, 0)
	if r.err != nil {
		return nil, r.err
	}
	whole := &gojq.Query{Term: call("path", tree)}
	for _, f := range definitions() {
		if r.used[f.Name] {
			whole.FuncDefs = append(whole.FuncDefs, f)
		}
	}
	return whole, nil
}

// definitions are those of the prelude. None calls another.
var definitions = sync.OnceValue(func() []*gojq.FuncDef {
	parsed, err := gojq.Parse(prelude + ".")
	if err != nil {
		panic(err) // it is a constant, and the tests run all of it
	}
	return parsed.FuncDefs
})

// rewriter walks a syntax tree and changes it in place.
type rewriter struct {
	err    error
	used   map[string]bool // names of the prelude
	locals []string        // functions and parameters that the expression defines: name/arguments
}

func (r *rewriter) refuse(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *rewriter) query(q *gojq.Query, depth int) {
	if q == nil || r.err != nil {
		return
	}
	if depth > deepest {
		r.err = errors.New("it is nested too deeply")
		return
	}
	if q.Meta != nil || len(q.Imports) > 0 {
		r.err = errors.New("modules have no place in a path expression")
		return
	}
	known := len(r.locals)
	defer func() { r.locals = r.locals[:known] }()
	for _, f := range q.FuncDefs {
		r.definition(f, depth)
	}
	r.term(q.Term, depth+1)
	for _, p := range q.Patterns {
		r.pattern(p, depth+1)
	}
	r.query(q.Left, depth+1)
	r.query(q.Right, depth+1)
	if q.Left != nil && q.Right != nil {
		r.operation(q)
	}
}

// definition makes a function known to what follows, and to itself.
func (r *rewriter) definition(f *gojq.FuncDef, depth int) {
	if strings.HasPrefix(f.Name, "_") {
		r.refuse("the function %s cannot be defined: its name begins with an underscore", shown(f.Name))
		return
	}
	r.locals = append(r.locals, signature(f.Name, len(f.Args)))
	known := len(r.locals)
	for _, parameter := range f.Args {
		if !strings.HasPrefix(parameter, "$") {
			r.locals = append(r.locals, signature(parameter, 0))
			continue
		}
		r.locals = append(r.locals, signature(parameter[1:], 0))
	}
	r.query(f.Body, depth+1)
	r.locals = r.locals[:known]
}

func signature(name string, arguments int) string { return name + "/" + strconv.Itoa(arguments) }

// operation replaces an operator by the function that measures.
func (r *rewriter) operation(q *gojq.Query) {
	switch q.Op {
	case gojq.OpPipe, gojq.OpComma, gojq.OpAnd, gojq.OpOr, gojq.OpAlt, gojq.OpMod:
		return
	case gojq.OpEq, gojq.OpNe, gojq.OpGt, gojq.OpLt, gojq.OpGe, gojq.OpLe:
		if constant(q.Left) || constant(q.Right) {
			return
		}
	case gojq.OpAssign, gojq.OpModify, gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateMul, gojq.OpUpdateDiv, gojq.OpUpdateMod, gojq.OpUpdateAlt:
		r.refuse("the assignment %s has no place in a path expression", q.Op)
		return
	}
	name, ok := operators[q.Op]
	if !ok {
		return // 'term as $x | …' and the like, which have patterns instead
	}
	r.used[name] = true
	*q = gojq.Query{FuncDefs: q.FuncDefs, Term: call(name, q.Right, q.Left)}
}

// constant reports whether a query is a scalar that is written out.
func constant(q *gojq.Query) bool {
	if q == nil || q.Term == nil || len(q.FuncDefs) > 0 || len(q.Term.SuffixList) > 0 {
		return false
	}
	switch q.Term.Type {
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber:
		return true
	case gojq.TermTypeString:
		return q.Term.Str != nil && q.Term.Str.Queries == nil
	}
	return false
}

func (r *rewriter) term(t *gojq.Term, depth int) {
	if t == nil || r.err != nil {
		return
	}
	if depth > deepest {
		r.err = errors.New("it is nested too deeply")
		return
	}
	for _, suffix := range t.SuffixList {
		r.subscript(suffix.Index, depth+1)
	}
	r.bare(t, depth)
	r.walked(t)
}

// bare walks a term without its suffixes.
func (r *rewriter) bare(t *gojq.Term, depth int) {
	switch t.Type {
	case gojq.TermTypeIndex:
		r.index(t, depth)
	case gojq.TermTypeRecurse:
		r.wrap(t, true, false)
	case gojq.TermTypeFunc:
		r.function(t, depth)
	case gojq.TermTypeObject:
		for _, entry := range t.Object.KeyVals {
			r.text(entry.KeyString, depth+1)
			r.query(entry.KeyQuery, depth+1)
			r.query(entry.Val, depth+1)
		}
		r.wrap(t, false, true)
	case gojq.TermTypeArray:
		r.query(t.Array.Query, depth+1)
		r.wrap(t, false, true)
	case gojq.TermTypeUnary:
		r.term(t.Unary.Term, depth+1)
	case gojq.TermTypeFormat:
		r.text(t.Str, depth+1)
		r.wrap(t, true, true)
	case gojq.TermTypeString:
		if t.Str.Queries != nil {
			r.text(t.Str, depth+1)
			r.wrap(t, false, true)
		}
	case gojq.TermTypeNumber:
		if len(t.Number) > 64 {
			r.refuse("a number has more than 64 digits")
		}
	default:
		r.compound(t, depth)
	}
}

// walked measures what a term walks over, or indexes by more than a name: the
// term up to the first such suffix. What the later ones see is a part of it.
func (r *rewriter) walked(t *gojq.Term) {
	for i, suffix := range t.SuffixList {
		if suffix.Iter || dynamic(suffix.Index) {
			before := *t
			before.SuffixList = t.SuffixList[:i]
			*t = gojq.Term{Type: gojq.TermTypeQuery, Query: pipe(&gojq.Query{Term: &before}, call("_meter")), SuffixList: t.SuffixList[i:]}
			return
		}
	}
}

// compound walks the terms that hold queries and make nothing by themselves.
func (r *rewriter) compound(t *gojq.Term, depth int) {
	if t.If != nil {
		r.query(t.If.Cond, depth+1)
		r.query(t.If.Then, depth+1)
		for _, elif := range t.If.Elif {
			r.query(elif.Cond, depth+1)
			r.query(elif.Then, depth+1)
		}
		r.query(t.If.Else, depth+1)
	}
	if t.Try != nil {
		r.query(t.Try.Body, depth+1)
		r.query(t.Try.Catch, depth+1)
	}
	if t.Reduce != nil {
		r.query(t.Reduce.Query, depth+1)
		r.patterns(t.Reduce.Patterns, depth+1)
		r.query(t.Reduce.Start, depth+1)
		r.query(t.Reduce.Update, depth+1)
	}
	if t.Foreach != nil {
		r.query(t.Foreach.Query, depth+1)
		r.patterns(t.Foreach.Patterns, depth+1)
		r.query(t.Foreach.Start, depth+1)
		r.query(t.Foreach.Update, depth+1)
		r.query(t.Foreach.Extract, depth+1)
	}
	if t.Label != nil {
		r.query(t.Label.Body, depth+1)
	}
	r.query(t.Query, depth+1)
}

// function checks that a function may be called, and measures it.
func (r *rewriter) function(t *gojq.Term, depth int) {
	for _, arg := range t.Func.Args {
		r.query(arg, depth+1)
	}
	if strings.HasPrefix(t.Func.Name, "$") {
		return
	}
	name := signature(t.Func.Name, len(t.Func.Args))
	for _, local := range r.locals {
		if local == name {
			return
		}
	}
	switch functions[name] {
	case asItIs:
	case inAndOut:
		for i, arg := range t.Func.Args {
			t.Func.Args[i] = pipe(arg, call("_meter"))
		}
		r.wrap(t, true, true)
	case onlyIn:
		r.wrap(t, true, false)
	case anew:
		t.Func.Name = "_" + t.Func.Name
		r.used[t.Func.Name] = true
	default:
		r.refuse("the function %s has no place in a path expression", shown(name))
	}
}

// dynamic reports whether a subscript may cost more than a look-up.
func dynamic(x *gojq.Index) bool {
	if x == nil || x.Name != "" || x.Str != nil && x.Str.Queries == nil {
		return false
	}
	return x.IsSlice || !constant(x.Start)
}

// index measures a subscript of the input.
func (r *rewriter) index(t *gojq.Term, depth int) {
	r.subscript(t.Index, depth+1)
	if dynamic(t.Index) {
		r.wrap(t, true, false)
	}
}

func (r *rewriter) subscript(x *gojq.Index, depth int) {
	if x == nil {
		return
	}
	r.text(x.Str, depth)
	r.query(x.Start, depth)
	r.query(x.End, depth)
	if !x.IsSlice && x.Start != nil && !constant(x.Start) {
		x.Start = pipe(x.Start, call("_meter"))
	}
}

func (r *rewriter) text(s *gojq.String, depth int) {
	if s == nil {
		return
	}
	if len(s.Queries) > 2*mostInterpolations {
		r.refuse("a string takes in more than %d values", mostInterpolations)
		return
	}
	for i, q := range s.Queries {
		if constant(q) {
			continue
		}
		r.query(q, depth+1)
		s.Queries[i] = &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeQuery, Query: pipe(q, call("_meter"))}}
	}
}

func (r *rewriter) patterns(list []*gojq.Pattern, depth int) {
	for _, p := range list {
		r.pattern(p, depth)
	}
}

func (r *rewriter) pattern(p *gojq.Pattern, depth int) {
	if p == nil || r.err != nil {
		return
	}
	if depth > deepest {
		r.err = errors.New("it is nested too deeply")
		return
	}
	r.patterns(p.Array, depth+1)
	for _, entry := range p.Object {
		r.text(entry.KeyString, depth+1)
		r.query(entry.KeyQuery, depth+1)
		r.pattern(entry.Val, depth+1)
	}
}

// wrap puts meters around a term; its suffixes stay outside.
func (r *rewriter) wrap(t *gojq.Term, in, out bool) {
	inner := *t
	inner.SuffixList = nil
	q := &gojq.Query{Term: &inner}
	if in {
		q = pipe(&gojq.Query{Term: call("_meter")}, &inner)
	}
	if out {
		q = pipe(q, call("_meter"))
	}
	*t = gojq.Term{Type: gojq.TermTypeQuery, Query: q, SuffixList: t.SuffixList}
}

func pipe(left *gojq.Query, right *gojq.Term) *gojq.Query {
	return &gojq.Query{Left: left, Op: gojq.OpPipe, Right: &gojq.Query{Term: right}}
}

func call(name string, args ...*gojq.Query) *gojq.Term {
	return &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: name, Args: args}}
}
