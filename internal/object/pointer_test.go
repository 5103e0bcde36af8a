package object

import (
	"encoding/json"
	"testing"
)

func TestRemovePaths(t *testing.T) {
	const in = `{"a":{"b":1,"c/d":2,"e~f":3,"":4},"l":[0,1,2,{"x":1,"y":2}]}`
	cases := []struct {
		name     string
		pointers []string
		want     string
	}{
		{"field", []string{"/a/b"}, `{"a":{"":4,"c/d":2,"e~f":3},"l":[0,1,2,{"x":1,"y":2}]}`},
		{"escapes", []string{"/a/c~1d", "/a/e~0f", "/a/"}, `{"a":{"b":1},"l":[0,1,2,{"x":1,"y":2}]}`},
		{"missing", []string{"/x", "/a/b/c", "/l/9", "/l/x", "/l/-", "/a/x/y"}, `{"a":{"":4,"b":1,"c/d":2,"e~f":3},"l":[0,1,2,{"x":1,"y":2}]}`},
		{"item", []string{"/l/1"}, `{"a":{"":4,"b":1,"c/d":2,"e~f":3},"l":[0,2,{"x":1,"y":2}]}`},
		{"items in order, as a patch", []string{"/l/0", "/l/0"}, `{"a":{"":4,"b":1,"c/d":2,"e~f":3},"l":[2,{"x":1,"y":2}]}`},
		{"from the end", []string{"/l/-1/x", "/l/-2"}, `{"a":{"":4,"b":1,"c/d":2,"e~f":3},"l":[0,1,{"y":2}]}`},
		{"whole branch", []string{"/l", "/a"}, `{}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var o map[string]any
			if err := json.Unmarshal([]byte(in), &o); err != nil {
				t.Fatal(err)
			}
			list := o["l"].([]any)
			if err := RemovePaths(o, c.pointers); err != nil {
				t.Fatal(err)
			}
			if got, _ := Canonical(o); string(got) != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
			if len(list) != 4 || list[0] != 0.0 || list[1] != 1.0 {
				t.Error("a list that others may hold was changed")
			}
		})
	}
}

func TestRemovePathsRefuses(t *testing.T) {
	for _, pointer := range []string{"", "a/b", "/a~", "/a~2b"} {
		o := map[string]any{"a": int64(1), "b": int64(2)}
		if err := RemovePaths(o, []string{"/b", pointer}); err == nil {
			t.Errorf("%q: no error", pointer)
		}
		if len(o) != 2 {
			t.Errorf("%q: the object was changed all the same", pointer)
		}
	}
}

func FuzzRemovePaths(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":1}]}`), "/a/-1/b")
	f.Fuzz(func(t *testing.T, data []byte, pointer string) {
		var o map[string]any
		if json.Unmarshal(data, &o) != nil || o == nil {
			return
		}
		if RemovePaths(o, []string{pointer}) != nil {
			return
		}
		if _, err := Canonical(o); err != nil {
			t.Error(err)
		}
	})
}
