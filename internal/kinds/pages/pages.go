package main

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/flux"
)

// The pages as they are written by hand, one for each kind that is handled; a
// line {{name}} is where a table goes.
//
//go:embed *.md
var written embed.FS

const generated = "<!-- Written by internal/kinds/pages from the tables in internal/dialect: edit there, then run go generate ./internal/kinds -->\n\n"

// pages are the files below the documentation's directory.
func pages() (map[string]string, error) {
	out := map[string]string{}
	add := func(to, name string, tables map[string]string) error {
		text, err := written.ReadFile(name)
		if err == nil {
			out[to] = fill(string(text), tables)
		}
		return err
	}
	err := add("compatibility.md", "compatibility.md", map[string]string{
		"kinds": kindTable(flux.New().Kinds()), "exceptions": exceptions(fluxRows()),
		"argo kinds": kindTable(argo.New().Kinds()), "argo exceptions": exceptions(argoRows()),
	})
	for _, kind := range flux.New().Kinds() {
		if kind.Handled {
			err = errors.Join(err, add(pageOf(kind), path.Base(pageOf(kind)), map[string]string{"fields": fieldTable(kind.GroupKind.Kind)}))
		}
	}
	for _, kind := range argo.New().Kinds() {
		err = errors.Join(err, add(pageOf(kind), path.Base(pageOf(kind)), map[string]string{"fields": argoTable(kind.GroupKind.Kind)}))
	}
	return out, err
}

// pageOf is where the page of a kind is.
func pageOf(kind dialect.Kind) string {
	return "reference/" + strings.ToLower(kind.GroupKind.Kind) + ".md"
}

func fill(page string, tables map[string]string) string {
	for name, table := range tables {
		page = strings.Replace(page, "{{"+name+"}}\n", table, 1)
	}
	return generated + page
}

// row is what a dialect's table says of one field.
type row struct{ kind, path, support, note, versions string }

func fluxRows() []row {
	var out []row
	for _, field := range flux.Fields() {
		out = append(out, row{field.Kind, field.Path, string(field.Support), field.Note, since(field.Kind, field.Gone)})
	}
	return out
}

// argoRows leaves out what is said of spec.source already.
func argoRows() []row {
	var out []row
	for _, field := range argo.Table() {
		repeated := func(prefix string) bool { return strings.HasPrefix(field.Path, prefix+".") }
		if !slices.ContainsFunc([]string{"spec.sources[]", "operation.sync.source", "operation.sync.sources[]"}, repeated) {
			out = append(out, row{kind: field.Kind, path: field.Path, support: string(field.Support), note: field.Note})
		}
	}
	return out
}

// kindTable has a row for each kind that a cluster may hold.
func kindTable(kinds []dialect.Kind) string {
	var b strings.Builder
	b.WriteString("| kind | API | versions | state |\n| --- | --- | --- | --- |\n")
	for _, kind := range kinds {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", kind.GroupKind.Kind, kind.GroupKind.Group, strings.Join(kind.Versions, ", "), kindState(kind))
	}
	return b.String()
}

func kindState(kind dialect.Kind) string {
	if kind.Handled {
		return "works: [fields](" + pageOf(kind) + ")"
	}
	for _, field := range fluxRows() {
		if field.kind == kind.GroupKind.Kind {
			return field.support + ": " + field.note
		}
	}
	return string(flux.NotYet)
}

// table has a row of cells for each row of a dialect's table that is chosen.
func table(head []string, rows []row, chosen func(row) bool, cells func(row) []string) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(head)
	line(slices.Repeat([]string{"---"}, len(head)))
	for _, field := range rows {
		if chosen(field) {
			line(cells(field))
		}
	}
	return b.String()
}

func code(text string) string { return "`" + text + "`" }

// exceptions are the fields that do not work as upstream's do.
func exceptions(rows []row) string {
	return table([]string{"kind", "field", "state", "what that means"}, rows,
		func(field row) bool { return field.support != string(flux.Works) && field.path != "spec" },
		func(field row) []string { return []string{field.kind, code(field.path), field.support, field.note} })
}

func fieldTable(kind string) string {
	return table([]string{"field", "versions", "state", "notes"}, fluxRows(),
		func(field row) bool { return field.kind == kind },
		func(field row) []string { return []string{code(field.path), field.versions, field.support, field.note} })
}

// argoTable has no versions: there is one.
func argoTable(kind string) string {
	return table([]string{"field", "state", "notes"}, argoRows(),
		func(field row) bool { return field.kind == kind },
		func(field row) []string { return []string{code(field.path), field.support, field.note} })
}

// since says which versions have the field, when not the newest.
func since(kind, gone string) string {
	if gone == "" {
		return ""
	}
	for _, k := range flux.New().Kinds() {
		if at := slices.Index(k.Versions, gone); k.GroupKind.Kind == kind && at >= 0 {
			return strings.Join(k.Versions[at:], ", ")
		}
	}
	return gone
}
