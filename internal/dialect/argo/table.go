package argo

import (
	"plumb.dev/plumb/internal/dialect/argo/appset"
	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/dialect/reader"
)

// Table is what becomes of every field of every kind: that of Application, and
// those that the rooms of AppProject and ApplicationSet have. The documentation
// and the tests against upstream's definitions are made from it.
func Table() []Field {
	out := Fields()
	for _, field := range project.Fields() {
		out = append(out, Field{Kind: kindProject, Path: field.Path, Support: reader.Works, Note: field.Note})
	}
	for _, field := range appset.Fields() {
		out = append(out, Field{Kind: kindSet, Path: field.Path, Support: reader.Support(field.Support), Note: field.Note})
	}
	return out
}
