package cluster

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

var decodeSeeds = []string{
	`{}`,
	` { "a" : [ 1 , -2.5 , 1e3, true, false, null, "x", [], {} ] } `,
	`{"a":9223372036854775807,"b":9223372036854775808,"c":-9223372036854775808,"d":1e400}`,
	`{"a":"\u00e9\n\"\\\/","\u0061b":"😀","bad":"\ud800","raw":"é😀"}`,
	"{\"a\":\"\xff\xfe\"}",
	"{\"a\":\"\x01\"}",
	`{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":+1}`, `{"a":-0}`, `{"a":-0.0}`,
	`{"a":"\x"}`, `{"a":tru}`, `{"a":1,}`, `{"a":[1,]}`, `{"a" 1}`, `{,}`, `{"a":1}x`, `[]`, `"x"`, ``, `{`, `{"a":"`, `{"a":"\`, `{"a":`,
	`{"a":1,"a":2}`,
	`{"metadata":{"name":"a","managedFields":[{"fieldsV1":{"f:data":{".":{},"f:a":{}}}}]}}`,
	deployment,
}

// FuzzDecode holds the decoder against apimachinery's.
func FuzzDecode(f *testing.F) {
	for _, s := range decodeSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := decodeObject(text)
		var want map[string]any
		wantErr := utiljson.Unmarshal(text, &want)
		if want == nil && wantErr == nil {
			wantErr = errors.New("null is no object")
		}
		if errors.Is(err, errDepth) {
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, want %v", text, err, wantErr)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %#v, want %#v", text, got, want)
		}
		// None of the others may fail in another way.
		_, _, _ = nameOf(text)
		_, _, _ = decodeEvent(text, true)
		_, _ = decodeList(text, true, func(map[string]any) error { return nil })
	})
}

// FuzzFrames cuts arbitrary streams; what it cuts must hold together.
func FuzzFrames(f *testing.F) {
	for _, s := range decodeSeeds {
		f.Add([]byte(s + "\n" + s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fr := newFrames(iotest.OneByteReader(strings.NewReader(string(text))))
		at := 0
		for {
			frame, err := fr.next()
			if err != nil {
				return
			}
			i := strings.Index(string(text[at:]), string(frame))
			if i < 0 {
				t.Fatalf("%q is not in %q", frame, text)
			}
			at += i + len(frame)
		}
	})
}

func TestFrames(t *testing.T) {
	texts := []string{`{"a":"}{\"\\"}`, `{}`, `{"b":[{"c":"]"}]}`, `{"long":"` + strings.Repeat("x\\\"", 40000) + `"}`, `{"z":1}`}
	stream := " \n" + strings.Join(texts, "\n") + "\n\n"
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(stream), "by byte": iotest.OneByteReader(strings.NewReader(stream)), "by half": iotest.HalfReader(strings.NewReader(stream))} {
		f := newFrames(r)
		for _, want := range texts {
			got, err := f.next()
			if err != nil || string(got) != want {
				t.Fatalf("%s: %.80q, %v", name, got, err)
			}
		}
		if _, err := f.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for text, want := range map[string]error{`{"a":`: io.ErrUnexpectedEOF, `<html>`: errSyntax, `"x"`: errSyntax, `{"a":"` + strings.Repeat("x", maxFrame): errTooLarge} {
		if _, err := newFrames(strings.NewReader(text)).next(); !errors.Is(err, want) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

func TestDecodeIsBounded(t *testing.T) {
	deep := func(n int) []byte { return []byte(`{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`) }
	if _, err := decodeObject(deep(maxDepth - 1)); err != nil {
		t.Error(err)
	}
	if _, err := decodeObject(deep(maxDepth)); !errors.Is(err, errDepth) {
		t.Error(err)
	}
}

func TestDecodeErrorsQuoteNothing(t *testing.T) {
	for _, text := range []string{`{"a":"` + canary, `{"a":` + canary + `}`, `{"a":"\x` + canary + `"}`, canary} {
		_, err := decodeObject([]byte(text))
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDecodeEventAndList(t *testing.T) {
	meta := `{"metadata":{"name":"a","managedFields":[{"manager":"m"}]},"spec":{"template":{"metadata":{"managedFields":1}}}}`
	for only, want := range map[bool]string{
		false: "map[metadata:map[managedFields:[map[manager:m]] name:a] spec:map[template:map[metadata:map[managedFields:1]]]]",
		true:  "map[metadata:map[name:a] spec:map[template:map[metadata:map[managedFields:1]]]]",
	} {
		typ, o, err := decodeEvent([]byte(`{"object":`+meta+`,"type":"ADDED"}`), only)
		if err != nil || typ != "ADDED" || fmt.Sprint(o) != want {
			t.Errorf("event: %s %v %v", typ, o, err)
		}
		var items []string
		p, err := decodeList([]byte(`{"kind":"List","items":[`+meta+`,`+meta+`],"metadata":{"continue":"c","resourceVersion":"7"}}`), only, func(o map[string]any) error {
			items = append(items, fmt.Sprint(o))
			return nil
		})
		if err != nil || p != (page{"7", "c"}) || len(items) != 2 || items[0] != want || items[1] != want {
			t.Errorf("list: %v %v %v", p, items, err)
		}
	}
	if p, err := decodeList([]byte(`{"items":null,"metadata":{}}`), false, nil); err != nil || p != (page{}) {
		t.Error(p, err)
	}
}

func TestNameOf(t *testing.T) {
	for text, want := range map[string]string{
		`{"spec":{"metadata":{"name":"no"}},"metadata":{"labels":{"name":"no"},"name":"n","namespace":"s"}}`: "s/n",
		`{"metadata":{"name":1}}`: "/",
		`{"metadata":null}`:       "/",
		`{}`:                      "/",
	} {
		ns, name, err := nameOf([]byte(text))
		if got := ns + "/" + name; err != nil || got != want {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	text := fmt.Appendf(nil, deployment, "web", "apps")
	b.Run("plumb", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeObject(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("apimachinery", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m map[string]any
			if err := utiljson.Unmarshal(text, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
