package appset

import (
	_ "embed"
	"fmt"
	"math"
	"strings"

	"plumb.dev/plumb/internal/dialect/reader"
)

// fieldList holds every field of the two CRDs of upstream as "path type", in
// sections. "@name" stands for the fields of another section, since the same
// template stands in every generator, and generators stand in generators.
//
//go:embed fields.txt
var fieldList string

// shapeKind is the type of a field.
type shapeKind string

const (
	shapeAny         shapeKind = "any"
	shapeObject      shapeKind = "object"
	shapeMap         shapeKind = "map"
	shapeList        shapeKind = "list"
	shapeString      shapeKind = "string"
	shapeBoolean     shapeKind = "boolean"
	shapeInteger     shapeKind = "integer"
	shapeIntOrString shapeKind = "intOrString"
)

// shape is a field with what lies below it.
type shape struct {
	kind   shapeKind
	fields map[string]*shape // of an object
	items  *shape            // of a list or map
	ref    string            // section that this place stands for
}

var sections = parseFields(fieldList)

// parseFields reads the sections. The list is part of the program: a line that
// cannot be read is a mistake in it.
func parseFields(text string) map[string]*shape {
	out := map[string]*shape{}
	var section *shape
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "= "); ok {
			section = &shape{kind: shapeObject, fields: map[string]*shape{}}
			out[name] = section
			continue
		}
		path, kind, ok := strings.Cut(line, " ")
		if !ok || section == nil {
			panic("appset: fields.txt: " + line)
		}
		at := section.descend(path)
		if ref, ok := strings.CutPrefix(kind, "@"); ok {
			at.kind, at.ref = shapeObject, ref
			continue
		}
		at.kind = shapeKind(kind)
	}
	return out
}

// descend finds or makes the place of a path such as "a.b[].c.*".
func (s *shape) descend(path string) *shape {
	at := s
	for _, part := range strings.Split(path, ".") {
		name, lists := strings.CutSuffix(part, "[]")
		if name == "*" {
			at = at.item()
		} else {
			if at.fields == nil {
				at.fields = map[string]*shape{}
			}
			if at.fields[name] == nil {
				at.fields[name] = &shape{}
			}
			at = at.fields[name]
		}
		if lists {
			at = at.item()
		}
	}
	return at
}

func (s *shape) item() *shape {
	if s.items == nil {
		s.items = &shape{}
	}
	return s.items
}

// resolved follows a reference to its section.
func (s *shape) resolved() *shape {
	if s.ref != "" {
		return sections[s.ref]
	}
	return s
}

// maxDepth bounds how deep a declared object is looked into.
const maxDepth = 64

// mismatch is a value that does not fit its field.
type mismatch struct {
	path    string
	message string
}

// fit compares a value with its shape. It returns the value without unknown
// fields and nulls, the paths of unknown fields, and what has the wrong type.
func (s *shape) fit(path string, value any) (any, []string, []mismatch) {
	f := fitter{}
	kept := f.fit(s.resolved(), path, value, 0)
	return kept, f.unknown, f.wrong
}

type fitter struct {
	unknown []string
	wrong   []mismatch
}

func (f *fitter) fit(s *shape, path string, value any, depth int) any {
	if depth > maxDepth {
		f.wrong = append(f.wrong, mismatch{path, "is nested too deep"})
		return nil
	}
	switch s.kind {
	case shapeAny:
		return value
	case shapeObject:
		fields, ok := value.(map[string]any)
		if !ok {
			return f.mistyped(path, "a map", value)
		}
		out := make(map[string]any, len(fields))
		for _, name := range reader.SortedKeys(fields) {
			at := path + "." + reader.Clip(name, 100)
			field, known := s.fields[name]
			switch {
			case !known:
				f.unknown = append(f.unknown, at)
			case fields[name] != nil:
				out[name] = f.fit(field.resolved(), at, fields[name], depth+1)
			}
		}
		return out
	case shapeMap:
		fields, ok := value.(map[string]any)
		if !ok {
			return f.mistyped(path, "a map", value)
		}
		out := make(map[string]any, len(fields))
		for _, name := range reader.SortedKeys(fields) {
			if fields[name] != nil {
				out[name] = f.fit(s.items.resolved(), path+"."+reader.Clip(name, 100), fields[name], depth+1)
			}
		}
		return out
	case shapeList:
		list, ok := value.([]any)
		if !ok {
			return f.mistyped(path, "a list", value)
		}
		out := make([]any, len(list))
		for i, item := range list {
			out[i] = f.fit(s.items.resolved(), fmt.Sprintf("%s[%d]", path, i), item, depth+1)
		}
		return out
	case shapeString:
		if _, ok := value.(string); !ok {
			return f.mistyped(path, "a string", value)
		}
	case shapeBoolean:
		if _, ok := value.(bool); !ok {
			return f.mistyped(path, "true or false", value)
		}
	case shapeInteger:
		if whole, ok := wholeNumber(value); ok {
			return whole
		}
		return f.mistyped(path, "a whole number", value)
	case shapeIntOrString:
		if whole, ok := wholeNumber(value); ok {
			return whole
		}
		if _, ok := value.(string); !ok {
			return f.mistyped(path, "a whole number or a string", value)
		}
	}
	return value
}

func (f *fitter) mistyped(path, want string, value any) any {
	f.wrong = append(f.wrong, mismatch{path, fmt.Sprintf("must be %s, not %s", want, reader.TypeName(value))})
	return nil
}

func wholeNumber(value any) (int64, bool) {
	switch n := value.(type) {
	case int64:
		return n, true
	case int:
		return int64(n), true
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), true
		}
	}
	return 0, false
}
