package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// errValues is all that is told of values that cannot be written or read: what an
// encoder says may tell one of them.
var errValues = errors.New("the values of the release cannot be encoded")

// EncodeValues writes values as JSON from which DecodeValues makes the same: a
// float that is a whole number keeps its point. Templates tell the two apart, and
// values have both: what is set at a path, as with --set, is an integer, and what
// was written as YAML is a float (Helm, pkg/strvals and common.ReadValues). No
// values are no text.
func EncodeValues(values map[string]any) ([]byte, error) {
	if len(values) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(pointed(values))
	if err != nil {
		return nil, errValues
	}
	return text, nil
}

// pointed is a value whose floats are written with a point, or an exponent.
func pointed(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = pointed(item)
		}
		return out
	case []any:
		if v == nil {
			return v
		}
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = pointed(item)
		}
		return out
	case float64:
		if v == math.Trunc(v) && !math.IsInf(v, 0) {
			text := strconv.FormatFloat(v, 'g', -1, 64)
			if !strings.ContainsAny(text, ".e") {
				text += ".0"
			}
			return json.Number(text)
		}
	}
	return value
}

// DecodeValues reads what EncodeValues has written.
func DecodeValues(text []byte) (map[string]any, error) {
	if len(text) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var values map[string]any
	if err := decoder.Decode(&values); err != nil {
		return nil, errValues
	}
	numbered(values)
	return values, nil
}

// numbered turns the numbers in a value into integers and floats.
func numbered(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			v[key] = numbered(item)
		}
	case []any:
		for i, item := range v {
			v[i] = numbered(item)
		}
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			if whole, err := v.Int64(); err == nil {
				return whole
			}
		}
		if float, err := v.Float64(); err == nil {
			return float
		}
	}
	return value
}
