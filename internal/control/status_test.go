package control

import (
	"encoding/json"
	"reflect"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// TestDifferenceIsAMergePatch applies what difference says with an independent
// implementation of RFC 7386.
func TestDifferenceIsAMergePatch(t *testing.T) {
	for name, c := range map[string]struct{ was, now, patch string }{
		"nothing":         {`{"a":1,"b":{"c":[1,2]}}`, `{"a":1,"b":{"c":[1,2]}}`, `{}`},
		"new field":       {`{}`, `{"a":"x"}`, `{"a":"x"}`},
		"gone field":      {`{"a":1,"b":2}`, `{"b":2}`, `{"a":null}`},
		"inside a map":    {`{"m":{"a":1,"b":2}}`, `{"m":{"a":1,"b":3}}`, `{"m":{"b":3}}`},
		"gone in a map":   {`{"m":{"a":1,"b":2}}`, `{"m":{"a":1}}`, `{"m":{"b":null}}`},
		"lists are whole": {`{"l":[1,2]}`, `{"l":[1,2,3]}`, `{"l":[1,2,3]}`},
		"map for scalar":  {`{"m":1}`, `{"m":{"a":1}}`, `{"m":{"a":1}}`},
		"from nothing":    {`null`, `{"a":{"b":true}}`, `{"a":{"b":true}}`},
	} {
		t.Run(name, func(t *testing.T) {
			was, now := decode(t, c.was), decode(t, c.now)
			patch := difference(was, now)
			if want := decode(t, c.patch); !reflect.DeepEqual(decode(t, encode(t, patch)), want) {
				t.Errorf("patch %v, want %v", patch, want)
			}
			before := c.was
			if before == "null" {
				before = "{}"
			}
			after, err := jsonpatch.MergePatch([]byte(before), []byte(encode(t, patch)))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(decode(t, string(after)), now) {
				t.Errorf("%s becomes %s, want %s", c.was, after, c.now)
			}
		})
	}
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func encode(t *testing.T, v any) string {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestFinalizers(t *testing.T) {
	for name, c := range map[string]struct {
		list    []string
		want    bool
		result  []string
		changed bool
	}{
		"added to none":       {nil, true, []string{"ours"}, true},
		"added behind others": {[]string{"x"}, true, []string{"x", "ours"}, true},
		"there already":       {[]string{"ours", "x"}, true, []string{"ours", "x"}, false},
		"removed":             {[]string{"x", "ours"}, false, []string{"x"}, true},
		"not there":           {[]string{"x"}, false, []string{"x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, changed := withFinalizer(c.list, "ours", c.want)
			if changed != c.changed || (changed && !reflect.DeepEqual(got, c.result)) {
				t.Errorf("got %v, %v", got, changed)
			}
		})
	}
}
