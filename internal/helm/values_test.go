package helm

import (
	"errors"
	"reflect"
	"testing"
)

// Integers stay integers and floats floats, on the way through a text.
func TestValuesKeepTheirTypes(t *testing.T) {
	values := map[string]any{
		"integer": int64(1000000), "float": float64(1000000), "large": 1e21, "small": 0.25, "negative": float64(-3), "zero": float64(0),
		"text": "1000000", "none": nil, "yes": true, "empty": map[string]any{},
		"list": []any{int64(1), float64(1), map[string]any{"deep": float64(2)}, []any{int64(3)}},
	}
	text, err := EncodeValues(values)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeValues(text)
	if err != nil || !reflect.DeepEqual(got, values) {
		t.Errorf("%v: got %#v of %s", err, got, text)
	}
	if digest := ValuesDigest(got); digest != ValuesDigest(values) {
		t.Error("another digest")
	}
}

func TestValuesThatAreNone(t *testing.T) {
	if text, err := EncodeValues(map[string]any{}); err != nil || text != nil {
		t.Errorf("%s %v", text, err)
	}
	if values, err := DecodeValues(nil); err != nil || values != nil {
		t.Errorf("%v %v", values, err)
	}
	if _, err := EncodeValues(map[string]any{"a": func() {}}); !errors.Is(err, errValues) {
		t.Error(err)
	}
	if _, err := DecodeValues([]byte(`{"password": `)); !errors.Is(err, errValues) {
		t.Error(err)
	}
}
