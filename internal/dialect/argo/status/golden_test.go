package status

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/golden"
	"plumb.dev/plumb/internal/model"
)

// goldens are the files of testdata.
var goldens = golden.Disk{Glob: filepath.Glob, Read: os.ReadFile, Write: os.WriteFile}

// TestGoldens runs each story of testdata: an Application and the reports on
// it, a divider, and what is written after each report over what the one before
// left. A document with "edit" changes the object, as a user would.
func TestGoldens(t *testing.T) {
	goldens.Run(t, "*.txt", func(t *testing.T, _, input string) string { return tell(t, input) })
}

// chapter is one document of a story.
type chapter struct {
	Title    string
	Options  Options
	Edit     map[string]any // merged into the object
	Report   *model.Report
	Refuse   *model.Fault
	Findings []model.Finding
}

func tell(t *testing.T, input string) string {
	t.Helper()
	var object *unstructured.Unstructured
	var out strings.Builder
	requests := map[string]string{}
	for _, document := range strings.Split("\n"+input, "\n---\n") {
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(document), &fields); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if fields["kind"] != nil {
			object = golden.AsServed(t, fields)
			continue
		}
		var c chapter
		decode(t, fields, &c)
		fmt.Fprintf(&out, "# %s\n", c.Title)
		if c.Edit != nil {
			object = golden.AsServed(t, merged(object.Object, c.Edit))
		}
		identify(&c, object, requests)
		var project func(*unstructured.Unstructured) model.Edits
		switch {
		case c.Report != nil:
			project = func(o *unstructured.Unstructured) model.Edits { return Project(c.Report, o, c.Options) }
		case c.Refuse != nil:
			project = func(o *unstructured.Unstructured) model.Edits { return Refuse(c.Refuse, c.Findings, o, c.Options) }
		default:
			t.Fatalf("a chapter without report: %v", fields)
		}
		before := object.DeepCopy()
		edits := project(object)
		if !sameJSON(before.Object, object.Object) {
			t.Errorf("%s: the object that was handed in was changed", c.Title)
		}
		write(&out, edits, object)
		object = apply(t, object, edits)
		again := project(object)
		if again.Status != nil || again.Fields != nil || again.Annotations != nil || len(again.Events) > 0 || len(again.Finalizers) > 0 && object.GetDeletionTimestamp() == nil {
			t.Errorf("%s: the same report twice is news: %+v", c.Title, again)
		}
		fmt.Fprintf(&out, "ready: %t\n", Ready(object))
	}
	return out.String()
}

// identify turns "asked-N" into the ID of what the object asks for when the
// story first speaks of it.
func identify(c *chapter, o *unstructured.Unstructured, requests map[string]string) {
	if c.Report == nil || c.Report.Operation == nil {
		return
	}
	name := c.Report.Operation.Operation.ID
	if !strings.HasPrefix(name, "asked-") {
		return
	}
	if requests[name] == "" {
		requests[name] = OperationID(o)
	}
	c.Report.Operation.Operation.ID = requests[name]
}

func decode(t *testing.T, from, into any) {
	t.Helper()
	content, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(content)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%v in %s", err, content)
	}
}

// merged is a merge patch: maps are merged, null removes.
func merged(base, patch map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range base {
		out[key] = value
	}
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		below, _ := out[key].(map[string]any)
		switch {
		case value == nil:
			delete(out, key)
		case isMap:
			out[key] = merged(below, inner)
		default:
			out[key] = value
		}
	}
	return out
}

// apply is the object after the edits, read back from the API server.
func apply(t *testing.T, previous *unstructured.Unstructured, edits model.Edits) *unstructured.Unstructured {
	t.Helper()
	next := map[string]any{}
	for key, value := range previous.Object {
		next[key] = value
	}
	if edits.Status != nil {
		next["status"] = edits.Status
	}
	for key, value := range edits.Fields {
		if value == nil {
			delete(next, key)
		} else {
			next[key] = value
		}
	}
	o := golden.AsServed(t, next)
	annotations := o.GetAnnotations()
	for key, value := range edits.Annotations {
		if value == "" {
			delete(annotations, key)
		} else {
			annotations[key] = value
		}
	}
	o.SetAnnotations(annotations)
	finalizers := o.GetFinalizers()
	for name, wanted := range edits.Finalizers {
		finalizers = slices.DeleteFunc(finalizers, func(present string) bool { return present == name })
		if wanted {
			finalizers = append(finalizers, name)
		}
	}
	slices.Sort(finalizers)
	o.SetFinalizers(finalizers)
	return o
}

func write(out *strings.Builder, edits model.Edits, previous *unstructured.Unstructured) {
	names := func(m map[string]bool) []string {
		var list []string
		for name := range m {
			list = append(list, name)
		}
		slices.Sort(list)
		return list
	}
	for _, name := range names(edits.Finalizers) {
		fmt.Fprintf(out, "finalizer %s: %t\n", name, edits.Finalizers[name])
	}
	for _, name := range []string{AnnotationApprove, AnnotationRefresh} {
		if value, ok := edits.Annotations[name]; ok {
			fmt.Fprintf(out, "annotation %s: %q\n", name, value)
		}
	}
	for name, value := range edits.Fields {
		fmt.Fprintf(out, "field %s: %v\n", name, value)
	}
	switch {
	case edits.Status == nil:
		fmt.Fprintln(out, "status: left alone")
	case sameJSON(statusOf(previous), edits.Status):
		fmt.Fprintln(out, "status: the same")
	default:
		content, err := yaml.Marshal(changes(statusOf(previous), edits.Status))
		if err != nil {
			fmt.Fprintln(out, err)
		}
		out.Write(content)
	}
	for _, event := range edits.Events {
		fmt.Fprintf(out, "event %s %s: %s\n", event.Type, event.Reason, event.Message)
	}
}

// changes are the top-level fields that differ; a removed one is null.
func changes(before, after map[string]any) map[string]any {
	out := map[string]any{}
	for name, value := range after {
		if !sameJSON(before[name], value) {
			out[name] = value
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			out[name] = nil
		}
	}
	return out
}
