package flux

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/golden"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// goldens are the files of testdata.
var goldens = golden.Disk{Glob: filepath.Glob, Read: os.ReadFile, Write: os.WriteFile}

// TestGoldens runs each file of testdata: manifests, a divider, what becomes of
// them. compile-*.txt hold declared objects, with the Secrets and ConfigMaps
// that they name; project-*.txt hold one object and the reports on it, one
// after the other, each over the status that the last one left; expand-*.txt
// hold objects that make others, and the directories that there are.
func TestGoldens(t *testing.T) {
	goldens.Run(t, "*.txt", func(t *testing.T, name, input string) string {
		switch kind, _, _ := strings.Cut(name, "-"); kind {
		case "compile":
			return compileGolden(t, input)
		case "expand":
			return expandGolden(t, input)
		}
		return projectGolden(t, input)
	})
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
			case strings.HasPrefix(words[1], "sopsAgeSecret="):
				s.settings.SOPSAgeSecret = strings.TrimPrefix(words[1], "sopsAgeSecret=")
			case strings.HasPrefix(words[1], "defaultDecryptionServiceAccount="):
				s.settings.DefaultDecryptionServiceAccount = strings.TrimPrefix(words[1], "defaultDecryptionServiceAccount=")
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
	for _, o := range golden.Documents(t, input) {
		if o.GetAPIVersion() == "" {
			s.others = append(s.others, o.Object)
			continue
		}
		if o.GetAPIVersion() == "v1" {
			need := model.Need{Version: "v1", Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
			s.facts[need] = model.Fact{State: model.Present, Object: o}
			continue
		}
		s.objects = append(s.objects, o)
		s.know(o)
	}
	return s
}

// know makes a fact of a declared object, by its name and among all of its kind.
func (s scene) know(o *unstructured.Unstructured) {
	gvk := o.GroupVersionKind()
	need := model.Need{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
	s.facts[need] = model.Fact{State: model.Present, Object: o}
	need.Name, need.Selector = "", "*"
	all := s.facts[need]
	s.facts[need] = model.Fact{State: model.Present, Objects: append(all.Objects, o)}
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
			printer.Print(&out, "  ", "source", reflect.ValueOf(*intent.Source))
		}
		if intent.Delivery != nil {
			printer.Print(&out, "  ", "delivery", reflect.ValueOf(*intent.Delivery))
			for _, input := range intent.Delivery.Inputs {
				if values := input.Render.Helm.Values; !values.IsZero() {
					fmt.Fprintf(&out, "  composed values: %s\n", values.Reveal())
				}
			}
		}
		for i := range intent.Implied {
			printer.Print(&out, "  ", "implied source", reflect.ValueOf(intent.Implied[i]))
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

// expandGolden answers every question about directories with those of the scene.
func expandGolden(t *testing.T, input string) string {
	t.Helper()
	s := parseScene(t, input)
	var answer model.Answer
	for _, other := range s.others {
		dirs, _ := other["directories"].([]any)
		for _, dir := range dirs {
			answer.Directories = append(answer.Directories, dir.(string))
		}
	}
	var out strings.Builder
	for _, declared := range s.objects {
		fmt.Fprintf(&out, "%s\n", object.Of(declared))
		answers := map[string]model.Answer{}
		objects, questions, _, err := New().Expand(declared, s.facts, answers, s.settings)
		for _, question := range questions {
			printer.Print(&out, "  ", "question", reflect.ValueOf(*question.Git))
			answers[question.Key] = answer
		}
		if len(questions) > 0 {
			objects, questions, _, err = New().Expand(declared, s.facts, answers, s.settings)
			if len(questions) > 0 {
				t.Fatal("an answered question is asked again")
			}
		}
		var fault *model.Fault
		if errors.As(err, &fault) {
			fmt.Fprintf(&out, "  fault %s at %s\n    %s\n", fault.Reason, fault.Origin.Field, fault.Error())
		} else if err != nil {
			t.Fatalf("an error that is no fault: %v", err)
		}
		for _, made := range objects {
			text, err := yaml.JSONToYAML(made.JSON)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "  %s by %s\n%s", made.ID, made.Origin.Field, indent(string(text), "    "))
			s.settle(t, declared, made, &out)
		}
	}
	return out.String()
}

// settle compiles what was made, as if it had been applied.
func (s scene) settle(t *testing.T, by *unstructured.Unstructured, made model.Rendered, out *strings.Builder) {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(made.JSON); err != nil {
		t.Fatal(err)
	}
	if o.GetAnnotations()[annotationCaptures] == "" && by.GetName() != "plain" {
		return
	}
	source, needs, _, err := compileSource(o, s.facts, s.settings, externalArtifact)
	if err != nil || len(needs) > 0 {
		t.Fatalf("%s: %v %v", made.ID, needs, err)
	}
	printer.Print(out, "    ", "source", reflect.ValueOf(*source.Generated))
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
		forgetEvents(other)
		if again := projection(t, other)(previous); !reflect.DeepEqual(again.Status, edits.Status) && edits.Status != nil || len(again.Events) > 0 {
			t.Errorf("%s: the same report twice is news:\n%v\n%v", name, again.Status, again.Events)
		}
	}
	return out.String()
}

// projection decodes a report; its fields are called as in Go.
// forgetEvents takes the events of Helm's life cycle out of a report: the engine
// tells each of them once, and they are written whatever the status says.
func forgetEvents(doc map[string]any) {
	report, _ := doc["report"].(map[string]any)
	release, _ := report["Release"].(map[string]any)
	delete(release, "Events")
}

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
	for _, key := range reader.SortedKeys(edits.Annotations) {
		fmt.Fprintf(out, "  annotation %s: %s\n", key, edits.Annotations[key])
	}
	for _, id := range edits.Drops {
		fmt.Fprintf(out, "  drop %s\n", id)
	}
	for _, made := range edits.Makes {
		text, err := yaml.Marshal(made.Object)
		if err != nil {
			fmt.Fprintln(out, err)
		}
		fmt.Fprint(out, "  make:\n"+indent(string(text), "    "))
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
		for _, key := range reader.SortedKeys(event.Annotations) {
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

// printer prints what says nothing new on one line.
var printer = golden.Printer{Text: func(_ string, value any) (string, bool) {
	switch v := value.(type) {
	case model.Origin:
		return fmt.Sprintf("%s %s", v, v.Repository), true
	case model.Ownership:
		return fmt.Sprintf("%s %v", v.FieldManager, v.Labels), true
	}
	return "", false
}}
