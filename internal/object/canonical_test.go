package object

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// reference is how encoding/json writes a value without escaping for HTML.
func reference(t *testing.T, value any) string {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func TestCanonicalWritesWhatEncodingJSONWrites(t *testing.T) {
	values := []any{
		nil, true, false, "", "a", "<a href=\"x\">&\\", "\x00\x01\x1f\x7f\b\f\n\r\t", "ü 日本 🙂", "\u2028\u2029\u2030", "bad \xff\xc3 utf8", "\ufffd",
		int64(0), int64(-1), int64(math.MaxInt64), int64(math.MinInt64),
		0.5, -1.5, 1e-6, 1e-7, 1.234e-9, 1e20, 1e21, 1e-100, 123456789.125, math.MaxFloat64, math.SmallestNonzeroFloat64,
		[]any{}, map[string]any{}, []any{"a", int64(1), nil}, map[string]any{"b": int64(1), "a": map[string]any{"": []any{map[string]any{}}}},
		[]any(nil), map[string]any(nil),
		int(3), int32(4), uint64(math.MaxUint64), json.Number("12"), json.Number("1.5"), map[string]string{"a": "b"}, []string{"x"},
		[]map[string]any{{"a": "b"}},
	}
	for _, value := range values {
		got, err := CanonicalValue(value)
		if err != nil {
			t.Errorf("%#v: %v", value, err)
		}
		if want := reference(t, value); string(got) != want {
			t.Errorf("%#v: got %s, want %s", value, got, want)
		}
	}
	for seed := range int64(200) {
		o := generator{rand.New(rand.NewSource(seed))}.object()
		got, err := Canonical(o)
		if err != nil {
			t.Fatal(err)
		}
		if want := reference(t, o); string(got) != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

func TestCanonicalIsOneFormForEqualObjects(t *testing.T) {
	equal := [][]any{
		{int64(1), 1.0, int(1), json.Number("1"), json.Number("1.0")},
		{int64(0), 0.0, math.Copysign(0, -1)},
		{map[string]any{"a": "b"}, map[string]string{"a": "b"}},
	}
	for _, group := range equal {
		want, _ := CanonicalValue(group[0])
		for _, value := range group[1:] {
			if got, err := CanonicalValue(value); err != nil || string(got) != string(want) {
				t.Errorf("%#v: got %s (%v), want %s", value, got, err, want)
			}
		}
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, value := range []any{math.NaN(), math.Inf(1), struct{}{}, make(chan int), json.Number("x")} {
		if got, err := Canonical(map[string]any{"a": []any{value}}); err == nil {
			t.Errorf("%#v: no error, got %s", value, got)
		}
	}
}

func TestDigests(t *testing.T) {
	if got, want := Digest([]byte("abc")), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; got != want {
		t.Errorf("got %s", got)
	}
	// RFC 4231, test case 2.
	if got, want := Keyed([]byte("Jefe"), []byte("what do ya want for nothing?")), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"; got != want {
		t.Errorf("got %s", got)
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"a":[1,1.5,"<\u2028>",null,true],"b":{"":1e30}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var u unstructured.Unstructured
		if u.UnmarshalJSON([]byte(`{"apiVersion":"v1","kind":"X","x":`+string(data)+`}`)) != nil {
			return
		}
		got, err := Canonical(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		var back unstructured.Unstructured
		if err := back.UnmarshalJSON(got); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		again, _ := Canonical(back.Object)
		if !bytes.Equal(got, again) {
			t.Errorf("not a fixed point: %s, %s", got, again)
		}
	})
}
