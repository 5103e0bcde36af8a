// Package golden is what the golden tests of the dialects share: files with an
// input, a divider and what must come out, and a printer of intents.
package golden

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

var update = flag.Bool("update", false, "write the goldens anew")

// divider stands between what goes in and what must come out.
const divider = "--------\n"

// Disk is where goldens are kept. The rooms that they are of touch no disk but
// in their tests, which hand it in.
type Disk struct {
	Glob  func(pattern string) ([]string, error)
	Read  func(name string) ([]byte, error)
	Write func(name string, data []byte, mode fs.FileMode) error
}

// Run plays the input of each file of testdata that matches the pattern, and
// compares. With -update the files are written anew.
func (d Disk) Run(t *testing.T, pattern string, play func(t *testing.T, name, input string) string) {
	files, err := d.Glob(filepath.Join("testdata", pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there are no goldens")
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			input, want, found := d.read(t, file)
			if !found && !*update {
				t.Fatalf("%s has no divider", file)
			}
			got := play(t, name, input)
			if *update {
				if err := d.Write(file, []byte(input+divider+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
			}
		})
	}
}

// Input is what a golden begins with.
type Input struct {
	Name string // of the file, without extension
	Text string
}

// Inputs are the inputs of the files that match the pattern, by name.
func (d Disk) Inputs(t testing.TB, pattern string) []Input {
	t.Helper()
	files, err := d.Glob(filepath.Join("testdata", pattern))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]Input, len(files))
	for i, file := range files {
		out[i].Name = strings.TrimSuffix(filepath.Base(file), ".txt")
		out[i].Text, _, _ = d.read(t, file)
	}
	return out
}

func (d Disk) read(t testing.TB, file string) (input, want string, found bool) {
	t.Helper()
	text, err := d.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, found = strings.Cut(string(text), "\n"+divider)
	return strings.TrimSuffix(input, "\n") + "\n", want, found
}

// Documents are the objects of a text of several YAML documents, as served.
func Documents(t testing.TB, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, doc := range strings.Split("\n"+text, "\n---\n") {
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(doc), &fields); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if len(fields) > 0 {
			out = append(out, AsServed(t, fields))
		}
	}
	return out
}

// AsServed has the fields of an object as a client decodes them: whole numbers
// are int64.
func AsServed(t testing.TB, fields map[string]any) *unstructured.Unstructured {
	t.Helper()
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "X", "inner": fields})
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	inner, _ := o.Object["inner"].(map[string]any)
	return &unstructured.Unstructured{Object: inner}
}

// Printer prints what is set in a value, one field to a line.
type Printer struct {
	// Text is how a value is printed on one line, false: as its kind asks for.
	Text func(lead string, value any) (string, bool)
	// Hidden leaves out a field of a struct ("Type.Field").
	Hidden func(field string, value reflect.Value) bool
}

// Print writes the value under its name; values that are zero are left out.
func (p Printer) Print(out *strings.Builder, lead, name string, value reflect.Value) {
	if !value.IsValid() || value.IsZero() {
		return
	}
	if text, ok := p.text(lead, value.Interface()); ok {
		if text != "" {
			fmt.Fprintf(out, "%s%s: %s\n", lead, name, text)
		}
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		if value.Elem().Kind() == reflect.String {
			fmt.Fprintf(out, "%s%s: %q\n", lead, name, value.Elem().String())
			return
		}
		p.Print(out, lead, name, value.Elem())
	case reflect.Struct:
		fmt.Fprintf(out, "%s%s:\n", lead, name)
		for i := range value.NumField() {
			field := value.Type().Field(i).Name
			if p.Hidden == nil || !p.Hidden(value.Type().Name()+"."+field, value.Field(i)) {
				p.Print(out, lead+"  ", field, value.Field(i))
			}
		}
	case reflect.Slice:
		for i := range value.Len() {
			p.Print(out, lead, fmt.Sprintf("%s[%d]", name, i), value.Index(i))
		}
	case reflect.Map:
		keys := value.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			fmt.Fprintf(out, "%s%s.%s: %v\n", lead, name, key, value.MapIndex(key))
		}
	default:
		fmt.Fprintf(out, "%s%s: %s\n", lead, name, strings.ReplaceAll(fmt.Sprint(value.Interface()), "\n", "\n"+lead+"  | "))
	}
}

func (p Printer) text(lead string, value any) (string, bool) {
	if p.Text != nil {
		if text, ok := p.Text(lead, value); ok {
			return text, true
		}
	}
	switch v := value.(type) {
	case model.Secret, time.Duration, object.ID, model.Need:
		return fmt.Sprint(v), true
	case time.Time:
		return v.UTC().Format(time.RFC3339), true
	case []byte:
		return fmt.Sprintf("%q", v), true
	}
	return "", false
}
