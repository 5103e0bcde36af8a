package appset

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plumb.dev/plumb/internal/dialect/reader"
)

// params are the parameters of one Application. With Go templates they are a
// tree; in the older style their names have dots and their values are strings.
// "values", labels and annotations are map[string]string, as upstream, which
// functions and missingkey=zero can tell from other maps.
type params map[string]any

// maxParams bounds how many sets of parameters one generator makes.
const maxParams = 20_000

// addValues adds spec.generators[].*.values. They may use the parameters that
// there were before, not each other.
func (r *renderer) addValues(path string, values map[string]string, to params) error {
	if len(values) == 0 {
		return nil
	}
	filled := make(map[string]string, len(values))
	for _, key := range reader.SortedKeys(values) {
		value, err := r.replace(values[key], to)
		if err != nil {
			return &placed{path + ".values." + reader.Clip(key, 100), err}
		}
		filled[key] = value
	}
	r.setValues(filled, to)
	return nil
}

func (r *renderer) setValues(values map[string]string, to params) {
	if r.goTemplate {
		to["values"] = values
		return
	}
	for key, value := range values {
		to["values."+key] = value
	}
}

// flatten names every leaf by its path with dots.
func flatten(tree map[string]any) map[string]any {
	out := map[string]any{}
	flattenInto(out, "", tree)
	return out
}

func flattenInto(out map[string]any, prefix string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			flattenInto(out, join(prefix, key), item)
		}
	case map[string]string:
		for key, item := range v {
			out[join(prefix, key)] = item
		}
	case []any:
		for i, item := range v {
			flattenInto(out, join(prefix, strconv.Itoa(i)), item)
		}
	default:
		out[prefix] = v
	}
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// flatStrings is flatten with every value as text.
func flatStrings(tree map[string]any) map[string]string {
	flat := flatten(tree)
	out := make(map[string]string, len(flat))
	for key, value := range flat {
		out[key] = fmt.Sprint(value)
	}
	return out
}

// asText has every parameter as text, as the older style combines them.
func asText(in params) params {
	out := make(params, len(in))
	for key, value := range in {
		out[key] = fmt.Sprint(value)
	}
	return out
}

// combine joins the parameters of two generators of a matrix. In the older
// style the same name must mean the same; with Go templates the first wins and
// maps are merged (generators/matrix.go).
func (r *renderer) combine(first, second params) (params, error) {
	if r.goTemplate {
		out := params{}
		mergeOver(out, second)
		mergeOver(out, first)
		return out, nil
	}
	out := asText(first)
	for key, value := range asText(second) {
		if had, ok := out[key]; ok && had != value {
			return nil, fmt.Errorf("parameter %s has different values in the two generators", reader.Clip(key, 100))
		}
		out[key] = value
	}
	return out, nil
}

// mergeOver merges from over to: maps recursively, everything else whole.
func mergeOver(to, from map[string]any) {
	for key, value := range from {
		to[key] = mergedValue(to[key], value)
	}
}

func mergedValue(old, value any) any {
	if texts, ok := value.(map[string]string); ok {
		if had, ok := old.(map[string]string); ok {
			out := maps.Clone(had)
			maps.Copy(out, texts)
			return out
		}
		if _, ok := old.(map[string]any); !ok {
			return maps.Clone(texts)
		}
	}
	fields, ok := asMap(value)
	if !ok {
		return value
	}
	out := map[string]any{}
	if had, ok := asMap(old); ok {
		mergeOver(out, had)
	}
	mergeOver(out, fields)
	return out
}

func asMap(value any) (map[string]any, bool) {
	switch v := value.(type) {
	case map[string]any:
		return v, true
	case map[string]string:
		out := make(map[string]any, len(v))
		for key, text := range v {
			out[key] = text
		}
		return out, true
	}
	return nil, false
}

// byMergeKeys names each set of parameters by its values of the merge keys,
// which must be unique (generators/merge.go).
func byMergeKeys(keys []string, sets []params) (map[string]params, []string, error) {
	out := make(map[string]params, len(sets))
	var order []string
	for _, set := range sets {
		values := make(map[string]any, len(keys))
		for _, key := range keys {
			values[key] = set[key]
		}
		text, err := json.Marshal(values)
		if err != nil {
			return nil, nil, fmt.Errorf("the merge keys cannot be compared: %w", err)
		}
		if _, twice := out[string(text)]; twice {
			return nil, nil, fmt.Errorf("the parameters from a generator are not unique by the merge keys: %s stands twice", reader.Clip(string(text), 200))
		}
		out[string(text)] = set
		order = append(order, string(text))
	}
	return out, order, nil
}

// merge lays later sets over those of the first with the same merge keys.
func (r *renderer) merge(keys []string, generated [][]params) ([]params, error) {
	base, order, err := byMergeKeys(keys, generated[0])
	if err != nil {
		return nil, err
	}
	for _, sets := range generated[1:] {
		over, _, err := byMergeKeys(keys, sets)
		if err != nil {
			return nil, err
		}
		for key, set := range over {
			if base[key] == nil {
				continue
			}
			if r.goTemplate {
				merged := params{}
				mergeOver(merged, base[key])
				mergeOver(merged, set)
				base[key] = merged
				continue
			}
			merged := maps.Clone(base[key])
			maps.Copy(merged, set)
			base[key] = merged
		}
	}
	out := make([]params, 0, len(order))
	for _, key := range order {
		out = append(out, base[key])
	}
	return out, nil
}

// selector filters sets of parameters after a generator (docs,
// Generators-Post-Selector.md). Other than for labels any value is allowed.
type selector []metav1.LabelSelectorRequirement

// selectorOf reads the selector of a generator; nil passes everything.
func selectorOf(generator map[string]any) (*selector, error) {
	if generator["selector"] == nil {
		return nil, nil
	}
	var declared metav1.LabelSelector
	if err := decode(generator["selector"], &declared); err != nil {
		return nil, err
	}
	out := selector{}
	for _, key := range reader.SortedKeys(declared.MatchLabels) {
		out = append(out, metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: []string{declared.MatchLabels[key]}})
	}
	out = append(out, declared.MatchExpressions...)
	for _, requirement := range out {
		if problems := validation.IsQualifiedName(requirement.Key); len(problems) > 0 {
			return nil, fmt.Errorf("%q is no key of a selector: %s", reader.Clip(requirement.Key, 100), strings.Join(problems, "; "))
		}
		switch requirement.Operator {
		case metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn:
			if len(requirement.Values) == 0 {
				return nil, fmt.Errorf("%s of %s needs values", requirement.Operator, reader.Clip(requirement.Key, 100))
			}
		case metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist:
			if len(requirement.Values) > 0 {
				return nil, fmt.Errorf("%s of %s takes no values", requirement.Operator, reader.Clip(requirement.Key, 100))
			}
		default:
			return nil, fmt.Errorf("%q is none of the operators In, NotIn, Exists and DoesNotExist", reader.Clip(string(requirement.Operator), 60))
		}
	}
	return &out, nil
}

func (s selector) matches(set params) bool {
	flat := flatStrings(set)
	for _, requirement := range s {
		value, has := flat[requirement.Key]
		listed := has && slices.Contains(requirement.Values, value)
		ok := false
		switch requirement.Operator {
		case metav1.LabelSelectorOpIn:
			ok = listed
		case metav1.LabelSelectorOpNotIn:
			ok = !listed
		case metav1.LabelSelectorOpExists:
			ok = has
		case metav1.LabelSelectorOpDoesNotExist:
			ok = !has
		}
		if !ok {
			return false
		}
	}
	return true
}

// asDecoded has whole numbers as float64, which is what upstream's decoding of
// JSON gives to templates: 1000000 prints as 1e+06 there, and so it does here.
func asDecoded(value any) any {
	switch v := value.(type) {
	case int64:
		return float64(v)
	case int:
		return float64(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = asDecoded(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = asDecoded(item)
		}
		return out
	}
	return value
}

// errOpen marks parameters that depend on a question that is not answered yet.
var errOpen = errors.New("a question is open")
