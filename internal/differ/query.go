package differ

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/itchyny/gojq"
)

const (
	// work bounds one run of a query: instructions, and values that its
	// functions walk over. It stands for upstream's second (argo-cd
	// normalizers, DefaultJQExecutionTimeout), without a clock: the same
	// object always gives the same answer.
	work = 3_000_000
	// largest bounds every value that a query makes, in bytes of strings and
	// sixteen for each value.
	largest = 4 << 20
	// mostPaths bounds what one query picks.
	mostPaths = 50_000
)

// errTooMuch stops a query that does more than work.
var errTooMuch = errors.New("it takes too long: it was stopped")

// query is a compiled jq path expression. Runs that overlap each take a program
// of their own from the pool, since a program counts its work.
type query struct {
	text     string
	programs sync.Pool
}

// program is code with the count of what its current run has done.
type program struct {
	code *gojq.Code
	spent
}

// compileQuery reads a jq path expression. The language is jq as gojq has it,
// without what a path expression has no use for: assignments, modules, input,
// dates, the environment; see language.go.
func compileQuery(text string) (*query, error) {
	if len(text) > longestExpression {
		return nil, fmt.Errorf("it is longer than %d bytes", longestExpression)
	}
	q := &query{text: text}
	first, err := q.program()
	if err != nil {
		return nil, err
	}
	q.programs.Put(first)
	return q, nil
}

func (q *query) program() (p *program, err error) {
	defer func() {
		if recover() != nil {
			p, err = nil, errors.New("it cannot be compiled")
		}
	}()
	tree, err := measured(q.text)
	if err != nil {
		return nil, err
	}
	p = &program{}
	p.code, err = gojq.Compile(tree, p.meters()...)
	return p, err
}

// paths lists the places that the query picks in an object. An error of the
// expression, as over an object that lacks what it takes for granted, picks
// nothing, as upstream has it (the patch is then not applied); only a query
// that is stopped for its work, or that picks the object as a whole, is an
// error here.
func (q *query) paths(o map[string]any) (places []place, err error) {
	p, _ := q.programs.Get().(*program)
	if p == nil {
		if p, err = q.program(); err != nil {
			return nil, err
		}
	}
	defer func() {
		if recover() != nil {
			places, err = nil, errors.New("it failed")
			return
		}
		q.programs.Put(p)
	}()
	p.spent.done = 0
	runs := p.code.RunWithContext(&p.spent, plain(o))
	for {
		result, ok := runs.Next()
		if !ok {
			return places, nil
		}
		if failed, ok := result.(error); ok {
			for _, limit := range []error{errTooMuch, errTooLarge} {
				if errors.Is(failed, limit) {
					return nil, limit
				}
			}
			return nil, nil
		}
		steps, ok := result.([]any)
		if !ok {
			return nil, nil
		}
		if len(steps) == 0 {
			return nil, errors.New("it picks the whole object")
		}
		if !p.add(len(steps)) {
			return nil, errTooMuch
		}
		places = resolve(o, nil, steps, places)
		if len(places) > mostPaths {
			return nil, fmt.Errorf("it picks more than %d values", mostPaths)
		}
	}
}

// resolve turns a path of jq, with negative indexes and slices, into the places
// it leads to.
func resolve(value any, at place, steps []any, into []place) []place {
	if len(steps) == 0 {
		return append(into, at)
	}
	switch step := steps[0].(type) {
	case string:
		if fields, ok := value.(map[string]any); ok {
			if child, ok := fields[step]; ok {
				return resolve(child, at.with(step), steps[1:], into)
			}
		}
	case map[string]any:
		items, ok := value.([]any)
		if !ok {
			return into
		}
		from, to := bounds(step, len(items))
		if len(steps) == 1 {
			for i := from; i < to; i++ {
				into = append(into, at.with(i))
			}
			return into
		}
		if i, ok := gojq.ToInt(steps[1]); ok { // relative to the slice
			if i < 0 {
				i += to - from
			}
			if i >= 0 && i < to-from {
				return resolve(items[from+i], at.with(from+i), steps[2:], into)
			}
		}
	default:
		items, list := value.([]any)
		i, ok := gojq.ToInt(step)
		if i < 0 {
			i += len(items)
		}
		if list && ok && i >= 0 && i < len(items) {
			return resolve(items[i], at.with(i), steps[1:], into)
		}
	}
	return into
}

func bounds(slice map[string]any, length int) (from, to int) {
	to = length
	if i, ok := gojq.ToInt(slice["start"]); ok {
		from = i
	}
	if i, ok := gojq.ToInt(slice["end"]); ok {
		to = i
	}
	if from < 0 {
		from += length
	}
	if to < 0 {
		to += length
	}
	from = min(max(from, 0), length)
	return from, max(min(to, length), from)
}

// plain copies decoded JSON into the types that gojq takes.
func plain(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, child := range v {
			out[key] = plain(child)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = plain(child)
		}
		return out
	case int64:
		return int(v)
	case int32:
		return int(v)
	case nil, bool, string, int, float64:
		return v
	}
	return fmt.Sprint(value)
}

// spent counts the work of one run. It is the context of the run: gojq asks it
// once for every instruction whether to go on.
type spent struct{ done int }

var _ context.Context = (*spent)(nil)

// stopped is what Done returns from the moment on when the work is used up.
var stopped = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (s *spent) Deadline() (time.Time, bool) { return time.Time{}, false }
func (s *spent) Value(any) any               { return nil }

func (s *spent) Done() <-chan struct{} {
	s.done++
	if s.done > work {
		return stopped
	}
	return nil
}

func (s *spent) Err() error {
	if s.done > work {
		return errTooMuch
	}
	return nil
}

// add charges work; false when it is used up.
func (s *spent) add(n int) bool {
	s.done += min(max(n, 0), work+1)
	return s.done <= work
}

// meters are the functions that measured expressions call: each lets its input
// through, charges for its size, and fails where it is too large.
func (s *spent) meters() []gojq.CompilerOption {
	return []gojq.CompilerOption{
		// _meter: before and after what takes time by the size of a value.
		gojq.WithFunction("_meter", 0, 0, func(v any, _ []any) any {
			if _, err := s.weigh(v); err != nil {
				return err
			}
			return v
		}),
		// _pair(a; b): before what compares each of a with each of b.
		gojq.WithFunction("_pair", 2, 2, func(v any, args []any) any {
			a, err := s.weigh(args[0])
			if err != nil {
				return err
			}
			b, err := s.weigh(args[1])
			if err != nil {
				return err
			}
			if !s.add((a / 16) * (b / 16)) {
				return errTooMuch
			}
			return v
		}),
		// _both(a; b): before what looks at a and b once.
		gojq.WithFunction("_both", 2, 2, func(v any, args []any) any {
			for _, arg := range args {
				if _, err := s.weigh(arg); err != nil {
					return err
				}
			}
			return v
		}),
		// _times(a; b): before what repeats a as many times as b says, or b
		// between the items of a.
		gojq.WithFunction("_times", 2, 2, func(v any, args []any) any {
			for i, arg := range args {
				text, ok := arg.(string)
				if !ok {
					continue
				}
				times, ok := gojq.ToFloat64(args[1-i])
				if list, isList := args[1-i].([]any); isList {
					times, ok = float64(len(list)), true
				}
				if ok && times*float64(len(text)+1) > largest {
					return errTooLarge
				}
			}
			return v
		}),
		// _short: before what makes a value for every character.
		gojq.WithFunction("_short", 0, 0, func(v any, _ []any) any { return s.text(v, 64<<10, 16) }),
		// _brief: before what builds a text anew for every part of it.
		gojq.WithFunction("_brief", 0, 0, func(v any, _ []any) any { return s.text(v, 8<<10, 64) }),
	}
}

// text charges for every byte of a string, unless it is too long.
func (s *spent) text(v any, longest, fee int) any {
	text, ok := v.(string)
	switch {
	case ok && len(text) > longest:
		return errTooLarge
	case ok && !s.add(fee*len(text)):
		return errTooMuch
	}
	return v
}

var errTooLarge = errors.New("it makes a value that is too large")

// weigh measures a value as the tree that it stands for, and charges for the
// walk.
func (s *spent) weigh(v any) (int, error) {
	weight := heft(v, largest)
	if weight > largest {
		return 0, errTooLarge
	}
	if !s.add(weight / 32) {
		return 0, errTooMuch
	}
	return weight, nil
}

// heft is the weight of a value, or something above the limit: sixteen for each
// value, and its bytes.
func heft(value any, limit int) int {
	weight := 16
	switch v := value.(type) {
	case string:
		weight += len(v)
	case json.Number:
		if weight += len(v); len(v) > 1024 {
			return limit + 1
		}
	case *big.Int:
		if weight += v.BitLen() / 8; v.BitLen() > 4096 {
			return limit + 1
		}
	case []any:
		for _, child := range v {
			if weight > limit {
				break
			}
			weight += heft(child, limit-weight)
		}
	case map[string]any:
		for key, child := range v {
			if weight > limit {
				break
			}
			weight += len(key) + heft(child, limit-weight)
		}
	}
	return weight
}
