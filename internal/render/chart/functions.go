package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
	goyaml "sigs.k8s.io/yaml/goyaml.v3"
)

// builtins are the functions of text/template, for the parser.
var builtins = func() map[string]any {
	names := map[string]any{}
	for _, name := range []string{
		"and", "call", "html", "index", "slice", "js", "len", "not", "or", "print", "printf", "println", "urlquery",
		"eq", "ge", "gt", "le", "lt", "ne",
	} {
		names[name] = true
	}
	return names
}()

// known are the functions that templates have, which hold no state.
var known = func() (k struct {
	funcs template.FuncMap
	names map[string]any  // those that may be named
	texts map[string]bool // those whose result is a text that was counted
}) {
	k.funcs = sprig.TxtFuncMap()
	delete(k.funcs, "env")
	delete(k.funcs, "expandenv")
	maps.Copy(k.funcs, template.FuncMap{
		"toToml": toTOML, "mustToToml": toTOMLOrError, "fromToml": fromTOML,
		"toYaml": toYAML, "mustToYaml": toYAMLOrError, "toYamlPretty": toYAMLPretty,
		"fromYaml": fromYAML, "fromYamlArray": fromYAMLArray,
		"toJson": toJSON, "mustToJson": toJSONOrError, "fromJson": fromJSON, "fromJsonArray": fromJSONArray,

		"mustToDuration":       mustToDuration,
		"durationSeconds":      measured(time.Duration.Seconds),
		"durationMilliseconds": measured(time.Duration.Milliseconds),
		"durationMicroseconds": measured(time.Duration.Microseconds),
		"durationNanoseconds":  measured(time.Duration.Nanoseconds),
		"durationMinutes":      measured(time.Duration.Minutes),
		"durationHours":        measured(time.Duration.Hours),
		"durationDays":         measured(func(d time.Duration) float64 { return d.Hours() / hoursADay }),
		"durationWeeks":        measured(func(d time.Duration) float64 { return d.Hours() / hoursADay / daysAWeek }),
		"durationRoundTo":      rounded(time.Duration.Round),
		"durationTruncateTo":   rounded(time.Duration.Truncate),

		// A map has no order, and neither have its keys and values with upstream.
		// Sorted, the same chart comes to the same manifests every time.
		"keys": keys, "values": valuesOf,
		"getHostByName": func(string) string { return "" },
		"required":      required,
		"fail":          func(text string) (string, error) { return "", &failError{text} },

		// Replaced for each run.
		"include": func(string, any) string { return "" },
		"tpl":     func(string, any) string { return "" },
		"lookup":  func(string, string, string, string) map[string]any { return map[string]any{} },
	})
	k.names = make(map[string]any, len(k.funcs))
	for name := range k.funcs {
		k.names[name] = true
	}
	k.texts = map[string]bool{}
	for _, name := range []string{
		"include", "tpl", "quote", "squote", "toYaml", "toJson", "nindent", "indent", "printf", "print", "println", "b64enc", "trunc",
		"toString", "replace", "join", "trim", "trimSuffix", "trimPrefix", "upper", "lower", "cat", "repeat", "sha256sum",
		tickName, enterName, leaveName,
	} {
		k.texts[name] = true
	}
	maps.Copy(k.funcs, template.FuncMap{tickName: nothing, enterName: nothing, leaveName: nothing, printName: nothing})
	return k
}()

func nothing() string { return "" }

// failError is what a template says with fail or required.
type failError struct{ text string }

func (e *failError) Error() string { return e.text }

// required is for values that must be there.
func required(text string, value any) (any, error) {
	if value == nil || value == "" {
		return value, &failError{text}
	}
	return value, nil
}

// orNothing swallows errors, as the functions without "must" do.
func orNothing(text string, err error) string {
	if err != nil {
		return ""
	}
	return text
}

func toYAML(value any) string { return orNothing(toYAMLOrError(value)) }

func toYAMLOrError(value any) (string, error) {
	text, err := yaml.Marshal(value)
	return strings.TrimSuffix(string(text), "\n"), err
}

func toYAMLPretty(value any) string {
	const indent = 2
	var text bytes.Buffer
	encoder := goyaml.NewEncoder(&text)
	encoder.SetIndent(indent)
	err := encoder.Encode(value)
	return orNothing(strings.TrimSuffix(text.String(), "\n"), err)
}

func toJSON(value any) string { return orNothing(toJSONOrError(value)) }

func toJSONOrError(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

func toTOML(value any) string {
	text, err := toTOMLOrError(value)
	if err != nil {
		return err.Error()
	}
	return text
}

func toTOMLOrError(value any) (string, error) {
	var text bytes.Buffer
	err := toml.NewEncoder(&text).Encode(value)
	return text.String(), err
}

func fromYAML(text string) map[string]any {
	return table(text, func(b []byte, m *map[string]any) error { return yaml.Unmarshal(b, m) })
}

func fromJSON(text string) map[string]any {
	return table(text, func(b []byte, m *map[string]any) error { return json.Unmarshal(b, m) })
}

func fromTOML(text string) map[string]any {
	return table(text, func(b []byte, m *map[string]any) error { return toml.Unmarshal(b, m) })
}

// table reads a table; what is wrong with the text stands in it as Error.
func table(text string, read func([]byte, *map[string]any) error) map[string]any {
	out := map[string]any{}
	if err := read([]byte(text), &out); err != nil {
		if out == nil {
			out = map[string]any{}
		}
		out["Error"] = err.Error()
	}
	return out
}

func fromYAMLArray(text string) []any {
	return list(text, func(b []byte, l *[]any) error { return yaml.Unmarshal(b, l) })
}

func fromJSONArray(text string) []any {
	return list(text, func(b []byte, l *[]any) error { return json.Unmarshal(b, l) })
}

func list(text string, read func([]byte, *[]any) error) []any {
	out := []any{}
	if err := read([]byte(text), &out); err != nil {
		return []any{err.Error()}
	}
	return out
}

func keys(tables ...map[string]any) []string {
	all := []string{}
	for _, table := range tables {
		all = append(all, sortedKeys(table)...)
	}
	return all
}

func valuesOf(table map[string]any) []any {
	all := []any{}
	for _, key := range sortedKeys(table) {
		all = append(all, table[key])
	}
	return all
}

const (
	hoursADay = 24
	daysAWeek = 7
)

// durationOf reads what Helm takes for a duration: one, a text of one, or a
// number of seconds.
func durationOf(value any) (time.Duration, error) {
	switch v := value.(type) {
	case time.Duration:
		return v, nil
	case nil:
		return 0, errors.New("invalid duration")
	case string:
		text := strings.TrimSpace(v)
		if text == "" {
			return 0, errors.New("empty duration")
		}
		if d, err := time.ParseDuration(text); err == nil {
			return d, nil
		}
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, errors.New("could not parse duration")
		}
		return ofSeconds(seconds)
	}
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		if s := v.Int(); s > math.MaxInt64/int64(time.Second) || s < math.MinInt64/int64(time.Second) {
			return 0, fmt.Errorf("duration seconds overflow: %d", s)
		}
		return time.Duration(v.Int()) * time.Second, nil
	case v.CanUint():
		if s := v.Uint(); s > uint64(math.MaxInt64/int64(time.Second)) {
			return 0, fmt.Errorf("duration seconds overflow: %d", s)
		}
		return time.Duration(v.Uint()) * time.Second, nil //nolint:gosec // it was compared
	case v.CanFloat():
		return ofSeconds(v.Float())
	}
	return 0, fmt.Errorf("unsupported duration type %T", value)
}

func ofSeconds(seconds float64) (time.Duration, error) {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return 0, errors.New("invalid duration seconds")
	}
	if most := float64(math.MaxInt64) / float64(time.Second); math.Abs(seconds) > most {
		return 0, errors.New("duration seconds overflow")
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

func mustToDuration(value any) (time.Duration, error) { return durationOf(value) }

func measured[T int64 | float64](in func(time.Duration) T) func(any) T {
	return func(value any) T {
		d, err := durationOf(value)
		if err != nil {
			return 0
		}
		return in(d)
	}
}

func rounded(to func(d, unit time.Duration) time.Duration) func(value, unit any) time.Duration {
	return func(value, unit any) time.Duration {
		d, err := durationOf(value)
		if err != nil {
			return 0
		}
		step, err := durationOf(unit)
		if err != nil {
			return d
		}
		return to(d, step)
	}
}

// snippet is a text for tpl that has been parsed.
type snippet struct {
	trees map[string]*parse.Tree
	err   error
}

// functions are those that know of the run. t is what includes are looked up in.
func (r *run) functions(t *template.Template) template.FuncMap {
	funcs := template.FuncMap{
		"include": r.include(t),
		"tpl":     r.tpl(t),
		"lookup":  r.lookup,
		tickName: func() (string, error) {
			return "", r.stopped()
		},
		enterName: func() (string, error) {
			r.depth++
			return "", r.tooDeep()
		},
		leaveName: func() string {
			r.depth--
			return ""
		},
		printName: func(value reflect.Value) (reflect.Value, error) {
			_, err := r.measure(value)
			return value, err
		},
	}
	r.bound(funcs)
	r.pin(funcs)
	return funcs
}

func (r *run) tooDeep() error {
	if r.depth > r.limits.Depth {
		return r.stop(fmt.Sprintf("templates call each other more than %d deep: look for one that calls itself without end", r.limits.Depth))
	}
	return r.stopped()
}

// mostIncluded is how often Helm lets a template include itself.
const mostIncluded = 1000

func (r *run) include(t *template.Template) func(string, any) (string, error) {
	return func(name string, data any) (string, error) {
		if r.included[name] > mostIncluded {
			return "", fmt.Errorf("rendering template has a nested reference name: %s: unable to execute template", name)
		}
		r.included[name]++
		r.depth++
		defer func() {
			r.included[name]--
			r.depth--
		}()
		if err := r.tooDeep(); err != nil {
			return "", err
		}
		out := &printer{run: r}
		err := t.ExecuteTemplate(out, name, data)
		return out.String(), err
	}
}

// tpl renders a text. What it defines is known inside of it only.
func (r *run) tpl(parent *template.Template) func(string, any) (string, error) {
	return func(text string, data any) (string, error) {
		if !strings.Contains(text, "{{") {
			return strings.ReplaceAll(text, noValue, ""), r.stopped()
		}
		r.depth++
		defer func() { r.depth-- }()
		if err := r.tooDeep(); err != nil {
			return "", err
		}
		parsed, ok := r.snippets[text]
		if !ok {
			parsed.trees, parsed.err = parseText(parent.Name(), text)
			r.snippets[text] = parsed
		}
		if parsed.err != nil {
			return "", errors.New("cannot parse the text that is given to tpl")
		}
		t, err := r.extended(parent, parsed.trees)
		if err != nil {
			return "", err
		}
		out := &printer{run: r}
		if err := t.Execute(out, data); err != nil {
			return "", fmt.Errorf("error during tpl function execution: %w", err)
		}
		return strings.ReplaceAll(out.String(), noValue, ""), nil
	}
}

// extended is a template for a text: with definitions in it, parent is copied
// so that they do not get into it.
func (r *run) extended(parent *template.Template, trees map[string]*parse.Tree) (*template.Template, error) {
	if main, ok := trees[parent.Name()]; ok && len(trees) == 1 {
		t := parent.New(parent.Name())
		t.Tree = main
		return t, nil
	}
	clone, err := parent.Clone()
	if err != nil {
		return nil, err
	}
	clone.Option("missingkey=zero").Funcs(template.FuncMap{"include": r.include(clone), "tpl": r.tpl(clone)})
	t := clone.New(parent.Name())
	for _, name := range sortedKeys(trees) {
		if _, err := t.AddParseTree(name, trees[name]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// lookup asks the target.
func (r *run) lookup(apiVersion, kind, namespace, name string) (map[string]any, error) {
	if r.target.Lookup == nil {
		return map[string]any{}, nil
	}
	if err := r.stopped(); err != nil {
		return nil, err
	}
	found, err := r.target.Lookup(apiVersion, kind, namespace, name)
	if err != nil {
		return nil, r.fail(err)
	}
	if found == nil {
		found = map[string]any{}
	}
	return found, nil
}

// unsteady are the functions whose result differs each time.
var unsteady = []string{
	"now", "ago", "randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randInt", "randBytes", "shuffle", "uuidv4",
	"bcrypt", "htpasswd", "encryptAES", "genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert",
	"genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey",
}

// dated are those that take the time of the clock where their argument at the
// index is no time.
var dated = map[string]int{"date": 1, "dateInZone": 1, "date_in_zone": 1, "htmlDate": 0, "htmlDateInZone": 0}

// pin wraps the functions of clock and randomness, so that their use is seen.
func (r *run) pin(funcs template.FuncMap) {
	current := func(name string) reflect.Value {
		if f, ok := funcs[name]; ok {
			return reflect.ValueOf(f)
		}
		return reflect.ValueOf(known.funcs[name])
	}
	for _, name := range unsteady {
		funcs[name] = wrapped(current(name), func([]reflect.Value) error {
			r.pinned = true
			return r.stopped()
		})
	}
	for name, at := range dated {
		funcs[name] = wrapped(current(name), func(args []reflect.Value) error {
			switch args[at].Interface().(type) {
			case time.Time, *time.Time, int64, int, int32:
			default:
				r.pinned = true
			}
			return nil
		})
	}
}

// wrapped calls before with the arguments; an error of it is one of the call.
func wrapped(f reflect.Value, before func(args []reflect.Value) error) any {
	return reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
		if err := before(args); err != nil {
			panic(err) // a function of a template that panics has failed with that error
		}
		if f.Type().IsVariadic() {
			return f.CallSlice(args)
		}
		return f.Call(args)
	}).Interface()
}

var dollars = regexp.MustCompile(`\$`)
