package appset

import (
	"cmp"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/dialect/reader"
)

// Field is a row of the compatibility table of ApplicationSet. Support is one
// of the words of the dialect's table.
type Field struct {
	// Path is the field's place: [] stands for any index and * for any key; it
	// covers what is below it.
	Path    string
	Support string
	Note    string
}

// refusedGenerators are those of upstream that are not acted on. A set with
// one is not evaluated: without its part of the Applications the others could
// not be told from those that are to go.
var refusedGenerators = map[string]string{"oci": "generators that read OCI artifacts are not supported"}

// notes say how a field works that is more than its name tells.
var notes = map[string]Field{
	"spec.applyNestedSelectors":   {Support: "differs", Note: "selectors of nested generators always apply"},
	"spec.templatePatch":          {Note: "without goTemplate only plain parameters in double braces are replaced in it"},
	"spec.strategy.type":          {Note: "RollingSync is acted on even where applicationsetcontroller.enable.progressive.syncs is not set"},
	"spec.goTemplateOptions[]":    {Note: "options of Go's text/template, such as missingkey=error"},
	"spec.template.spec":          {Note: "the spec of an Application"},
	"spec.strategy.deletionOrder": {Note: "Reverse needs a RollingSync with steps"},
}

// Fields is the table, sorted by path. It is made from the list that declared
// sets are read by; what stands there more than once is told once.
func Fields() []Field {
	found := leavesOf(sections["set"], "spec")
	for kind, why := range refusedGenerators {
		found = append(found, Field{Path: "spec.generators[]." + kind, Support: "refused", Note: why})
	}
	slices.SortFunc(found, func(a, b Field) int { return cmp.Compare(a.Path, b.Path) })
	return found
}

// leavesOf lists the fields below a place that hold a value.
func leavesOf(s *shape, path string) []Field {
	switch {
	case strings.HasSuffix(path, ".generators[]") && path != "spec.generators[]":
		return row(path, "any of the generators of spec.generators[]")
	case s.ref == "template" && path != "spec.template":
		return row(path, "as spec.template, over which it wins")
	case s.ref == "application":
		return row(path, "")
	}
	s = s.resolved()
	var found []Field
	for _, name := range reader.SortedKeys(s.fields) {
		found = append(found, leavesOf(s.fields[name], path+"."+name)...)
	}
	if s.items != nil {
		mark := "[]"
		if s.kind == shapeMap {
			mark = ".*"
		}
		found = append(found, leavesOf(s.items, path+mark)...)
	}
	if len(s.fields) == 0 && s.items == nil {
		return row(path, "")
	}
	return found
}

func row(path, note string) []Field {
	said := notes[path]
	return []Field{{Path: path, Support: cmp.Or(said.Support, "works"), Note: cmp.Or(said.Note, note)}}
}

// refusedGenerator is the path of a generator that is not supported, among
// those of unknown fields; "" when there is none.
func refusedGenerator(unknown []string) (path, why string) {
	for _, path := range unknown {
		at := strings.LastIndexByte(path, '.')
		if why, ok := refusedGenerators[path[at+1:]]; ok && strings.HasSuffix(path[:at], "]") && strings.Contains(path[:at], "generators[") {
			return path, why
		}
	}
	return "", ""
}
