package reader

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Support says what becomes of a field.
type Support string

// The kinds of support.
const (
	Works   Support = "works"   // as upstream does
	Differs Support = "differs" // accepted, and works in another way; an Info finding
	Refused Support = "refused" // the object is not acted on while it is set
	NotYet  Support = "not yet" // accepted and reported; a Warning finding
)

// Field is a row of a compatibility table.
type Field struct {
	Kind string
	// Path is the field's place: [] stands for any index and * for any key;
	// it covers what is below it. "spec" is the whole kind.
	Path    string
	Support Support
	// Note says how it differs, or what it takes. It ends up in findings.
	Note string
	// Gone is the last upstream version that had the field; empty: the newest
	// has it.
	Gone string
}

// The reasons of findings on fields.
const (
	ReasonNotActedOn   = "NotActedOn"
	ReasonDiffers      = "Differs"
	ReasonDeprecated   = "Deprecated"
	ReasonUnknownField = "UnknownField"
)

// MaxFindings bounds what is said about the fields of one object.
const MaxFindings = 50

// Table answers what becomes of a path of one kind.
type Table struct {
	Exact  map[string]Field
	Within map[string]bool // paths that have rows below them
}

// Tables are the tables of the kinds that have rows.
func Tables(rows []Field) map[string]Table {
	out := map[string]Table{}
	for _, row := range rows {
		t, ok := out[row.Kind]
		if !ok {
			t = Table{Exact: map[string]Field{}, Within: map[string]bool{}}
			out[row.Kind] = t
		}
		t.Exact[row.Path] = row
		for p := Parent(row.Path); p != ""; p = Parent(p) {
			t.Within[p] = true
		}
	}
	return out
}

// Parent is the path of the map or list that holds a field, "" at the top.
func Parent(path string) string {
	if inner, ok := strings.CutSuffix(path, "[]"); ok {
		return inner
	}
	cut := strings.LastIndexByte(path, '.')
	if cut < 0 {
		return ""
	}
	return path[:cut]
}

// Unhandled reports the fields below the roots that are set and not acted on as
// upstream does, and those that nobody knows, at most MaxFindings and one that
// counts the others.
func (t Table) Unhandled(dialect string, declared *unstructured.Unstructured, roots ...string) []model.Finding {
	walk := fieldWalk{reader: New(dialect, "", object.Of(declared)), table: t}
	for _, name := range SortedKeys(declared.Object) {
		switch {
		case slices.Contains(roots, name):
			walk.value(name, name, declared.Object[name])
		case !slices.Contains([]string{"apiVersion", "kind", "metadata", "status"}, name):
			walk.unknown(Clip(name, 100))
		}
	}
	if walk.more > 0 {
		walk.reader.Find(model.Warning, ReasonUnknownField, "spec", "%d more fields are not acted on", walk.more)
	}
	return walk.reader.Findings
}

type fieldWalk struct {
	reader *Reader
	table  Table
	more   int
}

func (w *fieldWalk) value(path, shape string, value any) {
	if value == nil {
		return
	}
	if row, ok := w.table.Exact[shape]; ok {
		w.known(path, row)
		return
	}
	if _, ok := w.table.Exact[shape+".*"]; ok {
		return // free keys
	}
	if !w.table.Within[shape] {
		w.unknown(path)
		return
	}
	switch value := value.(type) {
	case map[string]any:
		for _, key := range SortedKeys(value) {
			w.value(path+"."+Clip(key, 100), shape+"."+key, value[key])
		}
	case []any:
		for i, item := range value {
			w.value(fmt.Sprintf("%s[%d]", path, i), shape+"[]", item)
		}
	}
}

func (w *fieldWalk) known(path string, row Field) {
	switch row.Support {
	case Differs:
		reason := ReasonDiffers
		if row.Gone != "" {
			reason = ReasonDeprecated
		}
		w.add(model.Info, reason, path, row.Note)
	case NotYet:
		w.add(model.Warning, ReasonNotActedOn, path, "not yet handled by Plumb: "+row.Note)
	}
}

func (w *fieldWalk) unknown(path string) {
	w.add(model.Warning, ReasonUnknownField, path, "no version of "+w.reader.ID.Kind+" that Plumb knows has this field: it is not acted on")
}

func (w *fieldWalk) add(severity model.Severity, reason, path, message string) {
	if len(w.reader.Findings) >= MaxFindings {
		w.more++
		return
	}
	w.reader.Find(severity, reason, path, "%s", message)
}
