package flux

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

const (
	defaultValuesKey = "values.yaml"

	// Bounds of what one HelmRelease may be composed of. A release that Helm can
	// keep has less than a megabyte.
	maxValuesFrom  = 100
	maxValuesBytes = 8 << 20
	// maxListItems bounds the lists that target paths make: a path such as
	// a[65535] makes that many items.
	maxListItems = 1 << 16
)

// valuesRef is one entry of spec.valuesFrom.
type valuesRef struct {
	need     model.Need
	key      string
	path     string // to set; "": values are merged at the root
	optional bool
	literal  bool
	field    string
}

// composition is what spec.values and spec.valuesFrom come to.
type composition struct {
	values    model.Secret   // JSON
	digest    string         // as statuses tell it
	sensitive []model.Secret // texts that came from Secrets
}

// values reads spec.values and spec.valuesFrom; they come to nothing while what
// they name is not known.
func (g *gathering) values(spec node) composition {
	inline, from := spec.At("values"), valuesFrom(spec.At("valuesFrom"), g.r.ID.Namespace)
	known := !g.bare
	for _, ref := range from {
		known = g.known(ref.need) && known
	}
	given, err := decodedValues(inline.Fields())
	if err != nil {
		inline.Invalid("cannot be written as JSON")
	}
	if !known || len(g.r.Faults) > 0 {
		return composition{}
	}
	composed, fault, field := compose(given, from, g.facts)
	if fault != nil {
		g.r.Fail(fault, field)
		return composition{}
	}
	written, err := asSecret(composed)
	if err != nil {
		inline.Invalid("cannot be written as JSON")
	}
	return composition{values: written, digest: helm.ValuesDigest(composed), sensitive: sensitive(from, g.facts)}
}

// sensitive are the texts and numbers that the references to Secrets bring. It
// is never nil: what is not in it is known to be no secret.
func sensitive(from []valuesRef, facts model.Facts) []model.Secret {
	out := []model.Secret{}
	for _, ref := range from {
		data, found, fault := ref.data(facts)
		if ref.need.Kind != "Secret" || !found || fault != nil {
			continue
		}
		if brought, fault := ref.merge(map[string]any{}, nil, data); fault == nil {
			eachScalar(brought, func(text string) { out = append(out, model.NewSecret([]byte(text))) })
		}
	}
	return out
}

// eachScalar visits the texts and numbers in a value, in the order of the keys.
func eachScalar(value any, visit func(string)) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range reader.SortedKeys(v) {
			eachScalar(v[key], visit)
		}
	case []any:
		for _, item := range v {
			eachScalar(item, visit)
		}
	case string:
		visit(v)
	case int64:
		visit(strconv.FormatInt(v, 10))
	case float64:
		visit(strconv.FormatFloat(v, 'f', -1, 64))
	}
}

func valuesFrom(list node, namespace string) []valuesRef {
	items := list.Items()
	if len(items) > maxValuesFrom {
		list.Invalid("there are more than %d entries", maxValuesFrom)
		return nil
	}
	var out []valuesRef
	for _, item := range items {
		kind, name := item.At("kind"), item.At("name")
		ref := valuesRef{
			need:     model.Need{Version: "v1", Kind: kind.Str(), Namespace: namespace, Name: name.Str()},
			key:      orElse(item.At("valuesKey").Str(), defaultValuesKey),
			path:     item.At("targetPath").Str(),
			optional: item.At("optional").Bool(),
			literal:  item.At("literal").Bool(),
			field:    item.Path,
		}
		switch {
		case ref.need.Kind != "Secret" && ref.need.Kind != "ConfigMap":
			ref.need.Kind = reader.Clip(ref.need.Kind, 63)
			item.R.Fail(ref.fault("unsupported values reference kind", "name a Secret or a ConfigMap"), kind.Path)
		case ref.need.Name == "":
			name.Invalid("names no %s", ref.need.Kind)
		default:
			out = append(out, ref)
		}
	}
	return out
}

// compose merges the references in their order, later ones over earlier ones,
// and what is inline over all; a value for a target path goes over what is
// inline before it (fluxcd/pkg chartutil, ChartValuesFromReferences). A fault
// comes with the field that it is about. inline may be changed.
func compose(inline map[string]any, from []valuesRef, facts model.Facts) (map[string]any, *model.Fault, string) {
	result, size := map[string]any{}, 0
	for _, ref := range from {
		data, found, fault := ref.data(facts)
		if size += len(data); fault == nil && size > maxValuesBytes {
			fault = ref.fault(fmt.Sprintf("the values are larger than %d bytes in all", maxValuesBytes), "put less into values")
		}
		if fault == nil && found {
			result, fault = ref.merge(result, inline, data)
		}
		if fault != nil {
			return nil, fault, ref.field
		}
	}
	return merged(result, inline), nil, ""
}

// decodedValues are inline values as upstream decodes them: numbers as floats,
// and nothing shared with the declared object.
func decodedValues(values map[string]any) (map[string]any, error) {
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(text, &out)
}

// data is the value of the key; not found is no fault where the reference is
// optional.
func (ref valuesRef) data(facts model.Facts) ([]byte, bool, *model.Fault) {
	fact := facts[ref.need]
	switch fact.State {
	case model.Present:
	case model.Absent:
		if ref.optional {
			return nil, false, nil
		}
		return nil, false, ref.fault(fmt.Sprintf("%ss %q not found", strings.ToLower(ref.need.Kind), ref.need.Name), "create it, or mark the reference as optional")
	case model.Forbidden:
		return nil, false, ref.fault("forbidden: "+reader.Clip(fact.Message, 500), "allow Plumb to read it")
	default:
		return nil, false, ref.fault(reader.Clip(fact.Message, 500), "")
	}
	values, err := ref.values(fact.Object)
	if err != nil {
		return nil, false, ref.fault(err.Error(), "correct it")
	}
	data, found := values[ref.key]
	if !found && !ref.optional {
		return nil, false, ref.fault("key not found", "add the key, or name another one in valuesKey")
	}
	return data, found, nil
}

func (ref valuesRef) values(o *unstructured.Unstructured) (map[string][]byte, error) {
	if ref.need.Kind == "Secret" {
		return reader.SecretData(o)
	}
	return configData(o)
}

// configData is the data of a ConfigMap; upstream does not look at binaryData.
func configData(o *unstructured.Unstructured) (map[string][]byte, error) {
	out := map[string][]byte{}
	if o == nil {
		return out, nil
	}
	values, ok := o.Object["data"].(map[string]any)
	if !ok && o.Object["data"] != nil {
		return nil, fmt.Errorf("its data is not a map")
	}
	for key, value := range values {
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("the value of '%s' is not a string", reader.Clip(key, 100))
		}
		out[key] = []byte(text)
	}
	return out, nil
}

// merge adds what one reference holds. Errors of the parsers repeat what they
// could not read, so only the place of it is told.
func (ref valuesRef) merge(result, inline map[string]any, data []byte) (map[string]any, *model.Fault) {
	if ref.path == "" {
		var values map[string]any
		if err := yaml.Unmarshal(data, &values); err != nil {
			return nil, ref.fault("failed to read values data: it is no YAML mapping"+lineOf(err), "correct it, or set targetPath for a single value")
		}
		return merged(result, values), nil
	}
	result = merged(result, inline)
	if listItems(ref.path) > maxListItems || !ref.literal && listItems(string(data)) > maxListItems {
		return nil, ref.fault(fmt.Sprintf("failed to merge value: the list indexes in it add up to more than %d", maxListItems), "use smaller indexes")
	}
	if err := ref.set(result, string(data)); err != nil {
		return nil, ref.fault(fmt.Sprintf("failed to merge value at target path '%s'", reader.Clip(ref.path, 250)), "write path and value as helm --set takes them, or set literal: true")
	}
	return result, nil
}

// metacharacters of helm --set; a literal value has none. A backslash goes
// first.
var escaped = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`)

// set sets a value as helm --set does; a quoted one is a string, as with
// --set-string, and a literal one is taken as it stands (fluxcd/pkg chartutil,
// ReplacePathValue and ReplacePathLiteralValue).
func (ref valuesRef) set(into map[string]any, value string) error {
	if ref.literal {
		return strvals.ParseIntoString(ref.path+"="+escaped.Replace(value), into)
	}
	for _, quote := range []string{"'", `"`} {
		if strings.HasPrefix(value, quote) && strings.HasSuffix(value, quote) {
			return strvals.ParseIntoString(ref.path+"="+strings.Trim(value, `'"`), into)
		}
	}
	return strvals.ParseInto(ref.path+"="+value, into)
}

var listIndex = regexp.MustCompile(`\[(\d+)\]`)

// listItems is how many items the lists have that a text in the form of helm
// --set can make.
func listItems(text string) int {
	sum := 0
	for _, found := range listIndex.FindAllStringSubmatch(text, -1) {
		index, err := strconv.Atoi(found[1])
		if err != nil || index > maxListItems {
			return maxListItems + 1
		}
		if sum += index + 1; sum > maxListItems {
			return sum
		}
	}
	return sum
}

var lineNumber = regexp.MustCompile(`line \d+`)

func lineOf(err error) string {
	if line := lineNumber.FindString(err.Error()); line != "" {
		return ", " + line
	}
	return ""
}

// merged is b over a. Maps that only one of them has are shared with the
// result, as upstream has it: a target path that is set in them later is set in
// the inline values too, and so goes over them.
func merged(a, b map[string]any) map[string]any {
	out := make(map[string]any, len(a)+len(b))
	for key, value := range a {
		out[key] = value
	}
	for key, value := range b {
		over, isMap := value.(map[string]any)
		under, wasMap := out[key].(map[string]any)
		if isMap && wasMap {
			out[key] = merged(under, over)
			continue
		}
		out[key] = value
	}
	return out
}

// fault is upstream's ErrValuesReference. What a reference names may come to be
// at any time.
func (ref valuesRef) fault(why, advice string) *model.Fault {
	optional := ""
	if ref.optional {
		optional = " optional"
	}
	return &model.Fault{
		Reason:  reasonValuesError,
		Message: fmt.Sprintf("could not resolve%s %s chart values reference '%s/%s' with key '%s': %s", optional, ref.need.Kind, ref.need.Namespace, ref.need.Name, reader.Clip(ref.key, 253), why),
		Advice:  advice,
		Retry:   true,
	}
}

// asSecret is the values as JSON; nothing when there are none.
func asSecret(values map[string]any) (model.Secret, error) {
	text, err := helm.EncodeValues(values)
	if err != nil || text == nil {
		return model.Secret{}, err
	}
	return model.NewSecret(text), nil
}
