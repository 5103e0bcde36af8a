package flux

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

var update = flag.Bool("update", false, "write the goldens anew")

// divider stands between what goes in and what must come out.
const divider = "--------\n"

// TestGoldens runs each file of testdata: manifests, a divider, what becomes of
// them. compile-*.txt hold declared objects, with the Secrets and ConfigMaps
// that they name; project-*.txt hold one object and the reports on it, one
// after the other, each over the status that the last one left.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there are no goldens")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, found := strings.Cut(string(text), "\n"+divider)
			if !found && !*update {
				t.Fatalf("%s has no divider", file)
			}
			input = strings.TrimSuffix(input, "\n") + "\n"
			var got string
			if strings.HasPrefix(filepath.Base(file), "compile-") {
				got = compileGolden(t, input)
			} else {
				got = projectGolden(t, input)
			}
			if *update {
				if err := os.WriteFile(file, []byte(input+divider+got), 0o644); err != nil {
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

// scene is what a golden's input says.
type scene struct {
	objects  []*unstructured.Unstructured
	others   []map[string]any // documents that are no objects
	facts    model.Facts
	settings dialect.Settings
}

// parseScene reads the documents. Lines such as "#! forbidden Secret/ns/name"
// and "#! setting noCrossNamespaceRefs" set the stage.
func parseScene(t *testing.T, input string) scene {
	t.Helper()
	s := scene{facts: model.Facts{}}
	for _, line := range strings.Split(input, "\n") {
		words := strings.Fields(strings.TrimPrefix(line, "#!"))
		if !strings.HasPrefix(line, "#!") || len(words) < 2 {
			continue
		}
		switch words[0] {
		case "setting":
			switch {
			case words[1] == "noCrossNamespaceRefs":
				s.settings.NoCrossNamespaceRefs = true
			case strings.HasPrefix(words[1], "defaultServiceAccount="):
				s.settings.DefaultServiceAccount = strings.TrimPrefix(words[1], "defaultServiceAccount=")
			default:
				t.Fatalf("unknown setting %q", words[1])
			}
		case "forbidden", "failed", "absent":
			place := strings.Split(words[1], "/")
			need := model.Need{Version: "v1", Kind: place[0], Namespace: place[1], Name: place[2]}
			s.facts[need] = model.Fact{State: model.FactState(words[0]), Message: strings.Join(words[2:], " ")}
		default:
			t.Fatalf("unknown stage direction %q", line)
		}
	}
	for _, doc := range strings.Split("\n"+input, "\n---\n") {
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(doc), &fields); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if len(fields) == 0 {
			continue
		}
		fields = asServed(t, fields)
		if fields["apiVersion"] == nil {
			s.others = append(s.others, fields)
			continue
		}
		o := &unstructured.Unstructured{Object: fields}
		if o.GetAPIVersion() == "v1" {
			need := model.Need{Version: "v1", Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
			s.facts[need] = model.Fact{State: model.Present, Object: o}
			continue
		}
		s.objects = append(s.objects, o)
	}
	return s
}

// asServed has numbers as a client decodes them: whole ones are int64.
func asServed(t *testing.T, fields map[string]any) map[string]any {
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
	return inner
}

func compileGolden(t *testing.T, input string) string {
	t.Helper()
	s := parseScene(t, input)
	var out strings.Builder
	for _, declared := range s.objects {
		fmt.Fprintf(&out, "%s\n", object.Of(declared))
		intent, findings, err := compileWith(t, declared, s.facts, s.settings, &out)
		var fault *model.Fault
		if err != nil && !errors.As(err, &fault) {
			t.Fatalf("an error that is no fault: %v", err)
		}
		if fault != nil {
			fmt.Fprintf(&out, "  fault %s at %s (retry %t, waiting %t)\n    %s\n", fault.Reason, fault.Origin.Field, fault.Retry, fault.Waiting, fault.Error())
			printEdits(&out, "refused", New().Refuse(withTime(fault), findings, declared), declared)
		}
		if intent.Source != nil {
			printValue(&out, "  ", "source", reflect.ValueOf(*intent.Source))
		}
		if intent.Delivery != nil {
			printValue(&out, "  ", "delivery", reflect.ValueOf(*intent.Delivery))
		}
		for _, f := range findings {
			fmt.Fprintf(&out, "  finding %s %s %s: %s\n", f.Severity, f.Reason, f.Origin.Field, f.Message)
		}
	}
	return out.String()
}

// compileWith answers needs until none is open: what the scene has is present,
// what it does not have is absent.
func compileWith(t *testing.T, declared *unstructured.Unstructured, known model.Facts, settings dialect.Settings, out *strings.Builder) (dialect.Intent, []model.Finding, error) {
	t.Helper()
	facts := model.Facts{}
	for range 5 {
		intent, needs, findings, err := New().Compile(declared, facts, settings)
		if len(needs) == 0 {
			return intent, findings, err
		}
		for _, need := range needs {
			fmt.Fprintf(out, "  needs %s\n", need)
			if _, asked := facts[need]; asked {
				t.Fatalf("%s was asked for twice", need)
			}
			fact, ok := known[need]
			if !ok {
				fact.State = model.Absent
			}
			facts[need] = fact
		}
	}
	t.Fatal("the needs never end")
	return dialect.Intent{}, nil, nil
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func withTime(fault *model.Fault) *model.Fault {
	stamped := *fault
	stamped.At = noon
	return &stamped
}

func projectGolden(t *testing.T, input string) string {
	t.Helper()
	s := parseScene(t, input)
	if len(s.objects) != 1 {
		t.Fatalf("%d objects, want one", len(s.objects))
	}
	previous := s.objects[0]
	var out strings.Builder
	for i, other := range s.others {
		name := fmt.Sprintf("report %d", i+1)
		if title, ok := other["title"].(string); ok {
			name = title
		}
		project := projection(t, other)
		edits := project(previous)
		printEdits(&out, name, edits, previous)
		previous = applied(previous, edits)
		if edits.Status == nil && !edits.Finalize {
			continue // the object is gone
		}
		if again := project(previous); !reflect.DeepEqual(again.Status, edits.Status) && edits.Status != nil || len(again.Events) > 0 {
			t.Errorf("%s: the same report twice is news:\n%v\n%v", name, again.Status, again.Events)
		}
	}
	return out.String()
}

// projection decodes a report; its fields are called as in Go.
func projection(t *testing.T, doc map[string]any) func(*unstructured.Unstructured) model.Edits {
	t.Helper()
	decode := func(value, into any) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	switch {
	case doc["report"] != nil:
		var report model.Report
		decode(doc["report"], &report)
		return func(previous *unstructured.Unstructured) model.Edits { return New().Project(&report, previous) }
	case doc["source"] != nil:
		var report model.SourceReport
		decode(doc["source"], &report)
		return func(previous *unstructured.Unstructured) model.Edits { return New().ProjectSource(&report, previous) }
	case doc["refuse"] != nil:
		var fault model.Fault
		decode(doc["refuse"], &fault)
		return func(previous *unstructured.Unstructured) model.Edits { return New().Refuse(&fault, nil, previous) }
	}
	t.Fatalf("a document that is neither object nor report: %v", doc)
	return nil
}

// applied is the object after the edits.
func applied(previous *unstructured.Unstructured, edits model.Edits) *unstructured.Unstructured {
	next := previous.DeepCopy()
	if edits.Status != nil {
		next.Object["status"] = edits.Status
		next = next.DeepCopy()
	}
	return next
}

func printEdits(out *strings.Builder, name string, edits model.Edits, previous *unstructured.Unstructured) {
	fmt.Fprintf(out, "%s:\n", name)
	if edits.Finalizer != "" {
		fmt.Fprintf(out, "  finalizer %s: %t\n", edits.Finalizer, edits.Finalize)
	}
	for _, key := range sortedKeys(edits.Annotations) {
		fmt.Fprintf(out, "  annotation %s: %s\n", key, edits.Annotations[key])
	}
	before, _, _ := unstructured.NestedMap(previous.Object, "status")
	switch {
	case edits.Status == nil:
		fmt.Fprintln(out, "  status: left alone")
	case reflect.DeepEqual(before, edits.Status):
		fmt.Fprintln(out, "  status: unchanged")
	default:
		text, err := yaml.Marshal(map[string]any{"status": edits.Status})
		if err != nil {
			fmt.Fprintln(out, err)
		}
		fmt.Fprint(out, indent(string(text), "  "))
	}
	for _, event := range edits.Events {
		fmt.Fprintf(out, "  event %s %s: %s\n", event.Type, event.Reason, strings.ReplaceAll(event.Message, "\n", "\n    "))
		for _, key := range sortedKeys(event.Annotations) {
			fmt.Fprintf(out, "    %s=%s\n", key, event.Annotations[key])
		}
	}
}

func indent(text, by string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(by + line)
	}
	return out.String()
}

// printValue prints what is set, one field to a line.
func printValue(out *strings.Builder, lead, name string, value reflect.Value) {
	if !value.IsValid() || value.IsZero() {
		return
	}
	switch v := value.Interface().(type) {
	case model.Secret, time.Duration, object.ID, model.Need:
		fmt.Fprintf(out, "%s%s: %v\n", lead, name, v)
		return
	case time.Time:
		fmt.Fprintf(out, "%s%s: %s\n", lead, name, v.UTC().Format(time.RFC3339))
		return
	case model.Origin:
		fmt.Fprintf(out, "%s%s: %s %s\n", lead, name, v, v.Repository)
		return
	case []byte:
		fmt.Fprintf(out, "%s%s: %q\n", lead, name, v)
		return
	case model.Ownership:
		fmt.Fprintf(out, "%s%s: %s %v\n", lead, name, v.FieldManager, v.Labels)
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		if value.Elem().Kind() == reflect.String {
			fmt.Fprintf(out, "%s%s: %q\n", lead, name, value.Elem().String())
			return
		}
		printValue(out, lead, name, value.Elem())
	case reflect.Struct:
		fmt.Fprintf(out, "%s%s:\n", lead, name)
		for i := range value.NumField() {
			printValue(out, lead+"  ", value.Type().Field(i).Name, value.Field(i))
		}
	case reflect.Slice:
		for i := range value.Len() {
			printValue(out, lead, fmt.Sprintf("%s[%d]", name, i), value.Index(i))
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
