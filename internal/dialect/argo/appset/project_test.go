package appset

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// TestProjections runs each file of testdata/project: a set, and what happens
// to it, each over the status that the last one left. Fields of reports are
// called as in Go.
func TestProjections(t *testing.T) {
	goldens.Run(t, "project/*.txt", func(t *testing.T, _, input string) string { return playProjection(t, input) })
}

// happening is one step of a projection.
type happening struct {
	Report *model.Report
	Refuse *model.Fault
	Apps   []map[string]any // nil: not known
}

func playProjection(t *testing.T, input string) string {
	t.Helper()
	archive := txtar.Parse([]byte(input))
	set := objectsIn(t, archive.Files[0].Data)[0]
	var out strings.Builder
	for _, file := range archive.Files[1:] {
		asJSON, err := yaml.YAMLToJSON(file.Data)
		if err != nil {
			t.Fatal(err)
		}
		var h happening
		decoder := json.NewDecoder(strings.NewReader(string(asJSON)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&h); err != nil {
			t.Fatalf("%s: %v", file.Name, err)
		}
		edits := h.project(t, set)
		fmt.Fprintf(&out, "%s\n", file.Name)
		printEdits(t, &out, set, edits)
		if edits.Status == nil {
			continue
		}
		next := set.DeepCopy()
		next.Object["status"] = edits.Status
		text, err := json.Marshal(next.Object) // as it comes back from the API server
		if err != nil {
			t.Fatal(err)
		}
		set = &unstructured.Unstructured{}
		if err := set.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		again := h.project(t, set)
		if !reflect.DeepEqual(again.Status, set.Object["status"]) {
			t.Errorf("%s: the same report twice is news:\n%v\n%v", file.Name, again.Status, set.Object["status"])
		}
		for _, event := range again.Events {
			if event.Type == "Warning" || event.Reason != "updated" {
				t.Errorf("%s: the same event twice: %v", file.Name, event)
			}
		}
	}
	return out.String()
}

func (h happening) project(t *testing.T, set *unstructured.Unstructured) model.Edits {
	t.Helper()
	if h.Refuse != nil {
		return Refuse(h.Refuse, nil, set)
	}
	var apps []*unstructured.Unstructured
	for _, fields := range h.Apps {
		text, err := yaml.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		apps = append(apps, objectsIn(t, append([]byte("apiVersion: argoproj.io/v1alpha1\nkind: Application\n"), text...))...)
	}
	if h.Apps != nil && apps == nil {
		apps = []*unstructured.Unstructured{}
	}
	return Project(h.Report, set, apps)
}

func printEdits(t *testing.T, out *strings.Builder, set *unstructured.Unstructured, edits model.Edits) {
	t.Helper()
	if edits.Finalizer != "" {
		fmt.Fprintf(out, "  finalizer %s: %t\n", edits.Finalizer, edits.Finalize)
	}
	for _, key := range reader.SortedKeys(edits.Annotations) {
		fmt.Fprintf(out, "  annotation %s: %q\n", key, edits.Annotations[key])
	}
	for _, event := range edits.Events {
		fmt.Fprintf(out, "  event %s %s: %s\n", event.Type, event.Reason, event.Message)
	}
	switch {
	case edits.Status == nil:
		fmt.Fprintln(out, "  status: left alone")
	case reflect.DeepEqual(edits.Status, set.Object["status"]):
		fmt.Fprintln(out, "  status: unchanged")
	default:
		text, err := yaml.Marshal(edits.Status)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			out.WriteString("  " + line)
		}
	}
}
