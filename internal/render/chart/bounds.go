package chart

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"text/template"
)

// Bounds of what the functions of a run make.
const (
	mostItems = 20_000_000 // of lists and tables, all together
	mostList  = 2_000_000  // of one
	mostPairs = 100_000_000
	mostNodes = 5_000_000 // of a value that is written as text
	deepest   = 1_000     // of such a value
	again     = 16        // texts are made of texts
)

// made counts text that was made, or is about to be.
func (r *run) made(bytes int64) error {
	r.text += bytes
	if bytes < 0 || bytes > r.limits.Bytes || r.text > again*r.limits.Bytes {
		return r.stop(fmt.Sprintf("a template makes a text of more than %d bytes", r.limits.Bytes))
	}
	return r.stopped()
}

// listed counts the items of a list that was made, or is about to be.
func (r *run) listed(items int64) error {
	r.items += items
	if items < 0 || items > mostList || r.items > mostItems {
		return r.stop(fmt.Sprintf("a template makes lists of more than %d items", mostList))
	}
	return r.stopped()
}

// measure returns about how many bytes a value has when it is written as text.
// One that contains itself, or that is very large once it is written out, ends
// the run: it must not reach what writes it.
func (r *run) measure(value reflect.Value) (int64, error) {
	m := measuring{left: mostNodes}
	bytes := m.size(value, 0)
	if m.left <= 0 || m.deep || bytes > r.limits.Bytes {
		return 0, r.stop("a template writes a value that is too large, or that contains itself")
	}
	return bytes, nil
}

type measuring struct {
	left int
	deep bool
}

func (m *measuring) size(v reflect.Value, depth int) int64 {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		if v.IsNil() {
			return 0
		}
		if depth++; depth > deepest {
			m.deep = true
			return 0
		}
		v = v.Elem()
	}
	m.left--
	if depth > deepest {
		m.deep = true
	}
	if !v.IsValid() || m.left <= 0 || m.deep {
		return 0
	}
	const scalar = 8
	switch v.Kind() {
	case reflect.String:
		return int64(v.Len())
	case reflect.Map:
		var total int64
		for entries := v.MapRange(); entries.Next(); {
			total += m.size(entries.Key(), depth+1) + m.size(entries.Value(), depth+1)
			if m.left <= 0 || m.deep {
				break
			}
		}
		return total
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return int64(v.Len())
		}
		var total int64
		for i := range v.Len() {
			total += m.size(v.Index(i), depth+1)
			if m.left <= 0 || m.deep {
				break
			}
		}
		return total
	case reflect.Struct:
		var total int64
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				total += m.size(v.Field(i), depth+1)
			}
		}
		return total
	}
	return scalar
}

// all measures values together. Texts, of which there are most, cost nothing.
func (r *run) all(values []any) (int64, error) {
	var total int64
	for _, value := range values {
		size, err := r.one(value)
		if err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}

func (r *run) one(value any) (int64, error) {
	switch v := value.(type) {
	case nil, bool, int, int64, float64:
		const scalar = 24
		return scalar, nil
	case string:
		return int64(len(v)), nil
	}
	return r.measure(reflect.ValueOf(value))
}

// bound replaces the functions that can make much of little, or that walk
// through whatever they are given.
func (r *run) bound(funcs template.FuncMap) {
	r.boundText(funcs)
	r.boundWriters(funcs)
	r.boundLists(funcs)
}

// textOf is a function of sprig, by its type.
func textOf[F any](name string) F {
	f, ok := known.funcs[name].(F)
	if !ok {
		panic("sprig's " + name + " has another type than " + fmt.Sprintf("%T", f))
	}
	return f
}

// The functions of sprig that are called most, by their types.
var sprigs = struct {
	indent, nindent func(int, string) string
	replace         func(string, string, string) string
	repeat          func(int, string) string
	quote, squote   func(...any) string
	cat             func(...any) string
	toString        func(any) string
	join            func(string, any) string
}{
	textOf[func(int, string) string]("indent"), textOf[func(int, string) string]("nindent"),
	textOf[func(string, string, string) string]("replace"), textOf[func(int, string) string]("repeat"),
	textOf[func(...any) string]("quote"), textOf[func(...any) string]("squote"), textOf[func(...any) string]("cat"),
	textOf[func(any) string]("toString"), textOf[func(string, any) string]("join"),
}

// boundText is about functions from text to text.
func (r *run) boundText(funcs template.FuncMap) {
	indented := func(f func(int, string) string) func(int, string) (string, error) {
		return func(spaces int, text string) (string, error) {
			lines := int64(strings.Count(text, "\n") + 1)
			if err := r.made(product(lines, int64(spaces)) + int64(len(text)) + 1); err != nil {
				return "", err
			}
			return f(spaces, text), nil
		}
	}
	funcs["indent"], funcs["nindent"] = indented(sprigs.indent), indented(sprigs.nindent)
	funcs["repeat"] = func(count int, text string) (string, error) {
		if err := r.made(product(int64(count), int64(len(text)))); err != nil {
			return "", err
		}
		return sprigs.repeat(count, text), nil
	}
	funcs["replace"] = func(old, with, text string) (string, error) {
		if err := r.made(product(int64(strings.Count(text, old)), int64(len(with))) + int64(len(text))); err != nil {
			return "", err
		}
		return sprigs.replace(old, with, text), nil
	}
	// A separator between each word, at worst.
	r.before(funcs, func(args []any) error {
		separator, _ := args[1].(string)
		text, _ := args[2].(string)
		return r.made(product(int64(len(separator)+1), int64(len(text))))
	}, "wrapWith")
	// What replaces may repeat what was found.
	r.before(funcs, func(args []any) error {
		text, _ := args[1].(string)
		with, _ := args[2].(string)
		size := product(int64(len(text)), int64(1+len(dollars.FindAllString(with, -1))))
		if matches := int64(len(text) + 1); product(matches, int64(len(with))) > r.limits.Bytes {
			return r.stop("a template replaces too much by too long a text")
		}
		return r.made(size)
	}, "regexReplaceAll", "mustRegexReplaceAll", "regexReplaceAllLiteral", "mustRegexReplaceAllLiteral")
	r.before(funcs, func(args []any) error { return r.made(whole(args[0])) },
		"randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes")
	r.before(funcs, func([]any) error { return r.stopped() }, "derivePassword", "buildCustomCert")
}

// boundWriters is about functions that write any value as text.
func (r *run) boundWriters(funcs template.FuncMap) {
	many := func(f func(...any) string) func(...any) (string, error) {
		return func(values ...any) (string, error) {
			size, err := r.all(values)
			if err == nil {
				err = r.made(size)
			}
			if err != nil {
				return "", err
			}
			return f(values...), nil
		}
	}
	for name, f := range map[string]func(...any) string{
		"quote": sprigs.quote, "squote": sprigs.squote, "cat": sprigs.cat,
		"print": fmt.Sprint, "println": fmt.Sprintln, "html": template.HTMLEscaper, "js": template.JSEscaper, "urlquery": template.URLQueryEscaper,
	} {
		funcs[name] = many(f)
	}
	funcs["printf"] = func(format string, values ...any) (string, error) {
		size, err := r.all(values)
		if err == nil {
			err = r.made(size + int64(len(format)))
		}
		if err != nil {
			return "", err
		}
		text := fmt.Sprintf(format, values...)
		if len(text) > len(format)+int(size) { // widths
			err = r.made(int64(len(text)))
		}
		return text, err
	}
	funcs["toString"] = func(value any) (string, error) {
		size, err := r.one(value)
		if err == nil {
			err = r.made(size)
		}
		if err != nil {
			return "", err
		}
		return sprigs.toString(value), nil
	}
	funcs["join"] = func(separator string, values any) (string, error) {
		size, err := r.one(values)
		if err == nil {
			if v := reflect.ValueOf(values); v.IsValid() && v.Kind() == reflect.Slice {
				size += product(int64(v.Len()), int64(len(separator)))
			}
			err = r.made(size)
		}
		if err != nil {
			return "", err
		}
		return sprigs.join(separator, values), nil
	}
	for name, f := range map[string]func(any) string{"toYaml": toYAML, "toJson": toJSON, "toYamlPretty": toYAMLPretty, "toToml": toTOML} {
		funcs[name] = func(value any) (string, error) {
			size, err := r.one(value)
			if err == nil {
				err = r.made(size)
			}
			if err != nil {
				return "", err
			}
			return f(value), nil
		}
	}
	// Names of pairs repeat at every level, so that what is written is counted too.
	r.before(funcs, func(args []any) error {
		size, err := r.all(args)
		if err == nil {
			err = r.made(size)
		}
		return err
	}, "mustToYaml", "mustToJson", "mustToToml", "toPrettyJson", "toRawJson", "mustToPrettyJson", "mustToRawJson",
		"deepCopy", "mustDeepCopy", "toStrings", "merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite", "toDecimal", "trunc", "deepEqual")
}

// boundLists is about functions that make lists and tables.
func (r *run) boundLists(funcs template.FuncMap) {
	step := func(args ...any) error {
		const from, to, by = 0, 1, 2
		n := []int64{0, 0, 1}
		switch len(args) {
		case 1:
			n[to] = whole(args[0])
		case 2:
			n[from], n[to] = whole(args[0]), whole(args[1])
		case 3:
			n[from], n[to], n[by] = whole(args[0]), whole(args[1]), whole(args[2])
		}
		if n[by] == 0 {
			return r.stopped()
		}
		return r.listed(int64(min(math.Abs(float64(n[to])-float64(n[from]))/math.Abs(float64(n[by])), mostList+1)))
	}
	r.before(funcs, func(args []any) error { return step(args...) }, "until", "untilStep")
	r.before(funcs, func(args []any) error {
		numbers, _ := args[0].([]int)
		var values []any
		for _, n := range numbers {
			values = append(values, n)
		}
		if len(values) == 3 { // seq has the step between the ends
			values[1], values[2] = values[2], values[1]
		}
		return step(values...)
	}, "seq")
	for _, name := range []string{
		"list", "tuple", "dict", "append", "push", "mustAppend", "mustPush", "prepend", "mustPrepend", "concat", "splitList", "split",
		"splitn", "regexFindAll", "mustRegexFindAll", "regexSplit", "mustRegexSplit", "chunk", "mustChunk", "reverse", "mustReverse",
		"sortAlpha", "compact", "mustCompact", "rest", "mustRest", "initial", "mustInitial", "pick", "omit", "keys", "values", "pluck",
	} {
		r.after(funcs, name)
	}
	// They compare everything with everything.
	r.before(funcs, func(args []any) error {
		n := lengthOf(args[0])
		if len(args) > 1 {
			n = max(n, lengthOf(args[1]))
		}
		if product(n, n) > mostPairs {
			return r.stop("a template compares too many items with each other")
		}
		return r.listed(n)
	}, "uniq", "mustUniq", "without", "mustWithout", "has", "mustHas")
}

// whole is the number that an argument of type int holds.
func whole(value any) int64 {
	n, _ := value.(int)
	return int64(n)
}

func lengthOf(value any) int64 {
	v := reflect.ValueOf(value)
	if v.IsValid() && (v.Kind() == reflect.Slice || v.Kind() == reflect.Map || v.Kind() == reflect.String) {
		return int64(v.Len())
	}
	return 0
}

// before looks at the arguments of functions before they are called; variadic
// ones come as one list.
func (r *run) before(funcs template.FuncMap, look func(args []any) error, names ...string) {
	for _, name := range names {
		f, ok := known.funcs[name]
		if !ok {
			continue
		}
		funcs[name] = wrapped(reflect.ValueOf(f), func(args []reflect.Value) error {
			values := make([]any, len(args))
			for i, arg := range args {
				values[i] = arg.Interface()
			}
			return look(values)
		})
	}
}

// after counts what a function made.
func (r *run) after(funcs template.FuncMap, name string) {
	f := reflect.ValueOf(known.funcs[name])
	funcs[name] = reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
		var out []reflect.Value
		if f.Type().IsVariadic() {
			out = f.CallSlice(args)
		} else {
			out = f.Call(args)
		}
		result := out[0]
		if result.Kind() == reflect.Interface {
			result = result.Elem()
		}
		if result.IsValid() && (result.Kind() == reflect.Slice || result.Kind() == reflect.Map) {
			if err := r.listed(int64(result.Len())); err != nil {
				panic(err) // as in wrapped
			}
		}
		return out
	}).Interface()
}

// product is a×b, or more than any limit; what is negative counts as nothing.
func product(a, b int64) int64 {
	switch {
	case a <= 0 || b <= 0:
		return 0
	case a > math.MaxInt64/b:
		return math.MaxInt64 / 2
	}
	return a * b
}
