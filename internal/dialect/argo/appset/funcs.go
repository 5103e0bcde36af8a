package appset

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/gosimple/unidecode"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/reader"
)

// What templates may use. Sizes are in bytes; a step is a call, a turn of a
// loop, or a value that is looked at.
const (
	maxSteps    = 500_000    // of one template
	maxAllSteps = 20_000_000 // of all templates of a set
	maxValue    = 4 << 20    // of one value, with everything in it
	maxNodes    = 100_000    // in one value
	maxValueDig = 200        // levels in one value
	maxCostly   = 100        // calls of functions that make keys or hashes, weighted
)

// overBudget says which bound a template has passed.
type overBudget struct{ message string }

func (e *overBudget) Error() string { return e.message }

// budget counts what templates do. Upstream has none: a template there can
// stop the controller for everybody.
type budget struct {
	steps, allSteps, costly int
}

func newBudget() *budget {
	return &budget{allSteps: maxAllSteps, costly: maxCostly}
}

func (b *budget) begin() { b.steps = maxSteps }

// spend panics when nothing is left; text/template makes an error of it.
func (b *budget) spend(steps int) {
	b.steps -= steps
	b.allSteps -= steps
	if b.steps < 0 {
		panic(&overBudget{"the template takes too many steps"})
	}
	if b.allSteps < 0 {
		panic(&overBudget{"the templates of this set take too many steps"})
	}
}

func (b *budget) spendCostly(weight int) {
	b.costly -= weight
	if b.costly < 0 {
		panic(&overBudget{"the templates of this set make too many keys and hashes"})
	}
}

// weigh looks at a value with all that it holds, as often as it holds it.
func (b *budget) weigh(value reflect.Value) {
	w := weight{}
	w.add(value, 0)
	b.spend(1 + w.nodes)
}

type weight struct{ nodes, bytes int }

func (w *weight) add(v reflect.Value, depth int) {
	w.nodes++
	if depth > maxValueDig {
		panic(&overBudget{"a value in the template is nested too deep, or holds itself"})
	}
	if w.nodes > maxNodes || w.bytes > maxValue {
		panic(&overBudget{"a value in the template is too large"})
	}
	if !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		w.bytes += v.Len()
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			w.add(v.Elem(), depth+1)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			w.bytes += v.Len()
			return
		}
		for i := range v.Len() {
			w.add(v.Index(i), depth+1)
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			w.add(entries.Key(), depth+1)
			w.add(entries.Value(), depth+1)
		}
	}
	if w.bytes > maxValue {
		panic(&overBudget{"a value in the template is too large"})
	}
}

// withheld are functions of Sprig that tell of the machine (utils.go, init).
var withheld = []string{"env", "expandenv", "getHostByName"}

// unsteady are functions whose result differs from call to call. They are
// offered as upstream does, and reported.
var unsteady = []string{
	"now", "ago", "randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes", "randInt", "shuffle", "uuidv4",
	"genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey",
	"bcrypt", "htpasswd", "encryptAES",
}

// costly are functions that take milliseconds and more.
var costly = map[string]int{
	"genPrivateKey": 10, "genCA": 10, "genCAWithKey": 5, "genSelfSignedCert": 10, "genSelfSignedCertWithKey": 5,
	"genSignedCert": 10, "genSignedCertWithKey": 5, "bcrypt": 1, "htpasswd": 1, "derivePassword": 1,
}

// growing are functions whose result can be much larger than their arguments,
// with a bound of its size in bytes or elements.
var growing = map[string]func(args []reflect.Value) int{
	"repeat":                 func(a []reflect.Value) int { return product(integer(a, 0), length(a, 1)) },
	"until":                  func(a []reflect.Value) int { return product(16, integer(a, 0)) },
	"untilStep":              func(a []reflect.Value) int { return product(16, steps(integer(a, 0), integer(a, 1), integer(a, 2))) },
	"seq":                    seqSize,
	"indent":                 func(a []reflect.Value) int { return product(integer(a, 0)+1, lines(a, 1)) },
	"nindent":                func(a []reflect.Value) int { return product(integer(a, 0)+1, lines(a, 1)) },
	"replace":                func(a []reflect.Value) int { return product(length(a, 1)+1, length(a, 2)+1) },
	"wrapWith":               func(a []reflect.Value) int { return product(length(a, 1)+1, length(a, 2)+1) },
	"regexReplaceAll":        func(a []reflect.Value) int { return product(length(a, 1)+1, length(a, 2)+1) },
	"regexReplaceAllLiteral": func(a []reflect.Value) int { return product(length(a, 1)+1, length(a, 2)+1) },
	"randAlphaNum":           func(a []reflect.Value) int { return integer(a, 0) },
	"randAlpha":              func(a []reflect.Value) int { return integer(a, 0) },
	"randAscii":              func(a []reflect.Value) int { return integer(a, 0) },
	"randNumeric":            func(a []reflect.Value) int { return integer(a, 0) },
	"randBytes":              func(a []reflect.Value) int { return integer(a, 0) },
	"join":                   func(a []reflect.Value) int { return product(length(a, 0)+1, elements(a, 1)) },
	"printf":                 printfSize,
}

func init() {
	for _, name := range []string{"regexReplaceAll", "regexReplaceAllLiteral"} {
		title := strings.ToUpper(name[:1]) + name[1:]
		growing["must"+title] = growing[name]
	}
}

// product saturates, and takes what is negative as nothing.
func product(a, b int) int {
	a, b = max(a, 0), max(b, 0)
	if b != 0 && a > maxValue/b {
		return maxValue + 1
	}
	return a * b
}

func argument(args []reflect.Value, i int) reflect.Value {
	if i >= len(args) {
		return reflect.Value{}
	}
	v := args[i]
	for v.IsValid() && v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

func integer(args []reflect.Value, i int) int {
	v := argument(args, i)
	switch {
	case !v.IsValid():
		return 0
	case v.CanInt():
		return clampInt(v.Int())
	case v.CanUint():
		return clampInt(int64(min(v.Uint(), 1<<40)))
	case v.CanFloat():
		return clampInt(int64(max(min(v.Float(), 1<<40), -1<<40)))
	case v.Kind() == reflect.String:
		var n int64
		if _, err := fmt.Sscan(v.String(), &n); err == nil {
			return clampInt(n)
		}
	}
	return 0
}

func clampInt(n int64) int { return int(max(min(n, 1<<40), -1<<40)) }

func length(args []reflect.Value, i int) int {
	v := argument(args, i)
	if v.IsValid() && v.Kind() == reflect.String {
		return v.Len()
	}
	return 0
}

func lines(args []reflect.Value, i int) int {
	v := argument(args, i)
	if v.IsValid() && v.Kind() == reflect.String {
		return 1 + strings.Count(v.String(), "\n")
	}
	return 0
}

func elements(args []reflect.Value, i int) int {
	v := argument(args, i)
	if v.IsValid() && (v.Kind() == reflect.Slice || v.Kind() == reflect.Array) {
		return v.Len()
	}
	return 1
}

func steps(from, to, by int) int {
	if by == 0 {
		return 0
	}
	return max((to-from)/by, (from-to)/by, 0)
}

func seqSize(args []reflect.Value) int {
	var n []int
	for i := range args {
		v := argument(args, i)
		if v.IsValid() && v.Kind() == reflect.Slice { // the variadic rest
			for j := range v.Len() {
				n = append(n, integer([]reflect.Value{v.Index(j)}, 0))
			}
			continue
		}
		n = append(n, integer(args, i))
	}
	switch len(n) {
	case 1:
		return product(16, steps(1, n[0], 1)+steps(n[0], 1, 1))
	case 2:
		return product(16, steps(n[0], n[1], 1)+steps(n[1], n[0], 1))
	case 3:
		return product(16, steps(n[0], n[2], n[1]))
	}
	return 0
}

var widths = regexp.MustCompile(`[0-9]+|\*`)

// printfSize bounds what widths and precisions add: fmt takes up to a million
// for each.
func printfSize(args []reflect.Value) int {
	format := argument(args, 0)
	if !format.IsValid() || format.Kind() != reflect.String {
		return 0
	}
	size := 0
	for _, width := range widths.FindAllString(format.String(), -1) {
		n := 1_000_000
		if width != "*" && len(width) < 7 {
			n = 0
			for _, digit := range width {
				n = n*10 + int(digit-'0')
			}
		}
		if size += n; size > maxValue {
			break
		}
	}
	return size
}

// functions are Sprig's, upstream's own, and those of text/template that print,
// all of them counted.
func (r *renderer) functions() template.FuncMap {
	all := sprig.GenericFuncMap()
	for _, name := range withheld {
		delete(all, name)
	}
	maps.Copy(all, map[string]any{
		"normalize":     normalize,
		"slugify":       slugify,
		"toYaml":        toYAML,
		"fromYaml":      fromYAML,
		"fromYamlArray": fromYAMLArray,
		"print":         fmt.Sprint,
		"printf":        fmt.Sprintf,
		"println":       fmt.Sprintln,
		"html":          template.HTMLEscaper,
		"js":            template.JSEscaper,
		"urlquery":      template.URLQueryEscaper,
	})
	out := make(template.FuncMap, len(all)+2)
	for name, f := range all {
		out[name] = r.counted(name, f)
	}
	out[tickName] = func() string { r.budget.spend(1); return "" }
	out[printName] = func(value any) any { r.budget.weigh(reflect.ValueOf(value)); return value }
	return out
}

// counted wraps a function: its arguments and results are weighed, and what
// it might make is bounded before it is called.
func (r *renderer) counted(name string, f any) any {
	fn := reflect.ValueOf(f)
	size, steady, price := growing[name], !slices.Contains(unsteady, name), costly[name]
	return reflect.MakeFunc(fn.Type(), func(args []reflect.Value) []reflect.Value {
		for _, arg := range args {
			r.budget.weigh(arg)
		}
		if size != nil {
			if n := size(args); n > maxValue {
				panic(&overBudget{fmt.Sprintf("%s would make more than %d bytes", name, maxValue)})
			}
		}
		if price > 0 {
			r.budget.spendCostly(price)
		}
		if !steady {
			r.unsteady[name] = true
		}
		var results []reflect.Value
		if fn.Type().IsVariadic() {
			results = fn.CallSlice(args)
		} else {
			results = fn.Call(args)
		}
		for _, result := range results {
			r.budget.weigh(result)
		}
		return results
	}).Interface()
}

var notInNames = regexp.MustCompile(`[^-a-z0-9.]`)

// maxName is the length of a DNS subdomain.
const maxName = 253

// normalize makes a name of any text: lower case, with hyphens for what a
// name cannot hold (utils.SanitizeName).
func normalize(name string) string {
	name = notInNames.ReplaceAllString(strings.ToLower(name), "-")
	if len(name) > maxName {
		name = name[:maxName]
	}
	return strings.Trim(name, "-.")
}

// slugify takes [maximum length [smart truncation]] text (utils.SlugifyName).
func slugify(args ...any) (string, error) {
	limit, smart := 50, true
	if len(args) == 0 || len(args) > 3 {
		return "", errors.New("slugify takes a text, and before it a length and whether words are kept whole")
	}
	text, ok := args[len(args)-1].(string)
	if !ok {
		return "", fmt.Errorf("slugify takes a string, not %s", reader.TypeName(args[len(args)-1]))
	}
	if len(args) > 1 {
		if limit, ok = args[0].(int); !ok || limit < 0 {
			return "", errors.New("the length of slugify must be a whole number")
		}
	}
	if len(args) > 2 {
		if smart, ok = args[1].(bool); !ok {
			return "", errors.New("the truncation of slugify must be true or false")
		}
	}
	return slug(normalize(text), limit, smart), nil
}

var (
	slugRunes = strings.NewReplacer(`"`, "", "'", "", "’", "", "‒", "-", "–", "-", "—", "-", "―", "-", "&", "and", "@", "at")
	notInSlug = regexp.MustCompile(`[^a-zA-Z0-9-_]`)
	manyDash  = regexp.MustCompile(`-+`)
)

// slug is a text as it may stand in a URL (github.com/gosimple/slug in
// English, whose settings are global to a process and so are not used here).
// With smart it ends at a word.
func slug(text string, limit int, smart bool) string {
	text = slugRunes.Replace(strings.TrimSpace(text))
	text = strings.ToLower(unidecode.Unidecode(text))
	if !smart && len(text) >= limit {
		text = text[:limit]
	}
	text = notInSlug.ReplaceAllString(text, "-")
	text = strings.Trim(manyDash.ReplaceAllString(text, "-"), "-_")
	if !smart || limit == 0 || len(text) <= limit {
		return text
	}
	if cut := strings.LastIndexByte(text[:limit+1], '-'); cut >= 0 {
		return text[:cut]
	}
	return text[:limit]
}

// branchSlug is a branch as pull requests have it: at most 50 characters, with
// hyphens for underscores, so that 13 more fit into a DNS label.
func branchSlug(branch string) string {
	return slug(strings.ReplaceAll(strings.TrimSpace(branch), "_", "-"), 50, true)
}

func toYAML(value any) (string, error) {
	text, err := yaml.Marshal(value)
	return strings.TrimSuffix(string(text), "\n"), err
}

func fromYAML(text string) (map[string]any, error) {
	out := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		return nil, err
	}
	return out, nil
}

func fromYAMLArray(text string) ([]any, error) {
	out := []any{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		return nil, err
	}
	return out, nil
}
