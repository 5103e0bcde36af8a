package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/flux"
)

// The pages as they are written by hand; a line {{name}} is where a table goes.
var (
	//go:embed compatibility.md
	compatibility string
	//go:embed gitrepository.md
	gitRepository string
	//go:embed kustomization.md
	kustomization string
)

const generated = "<!-- Written by internal/kinds/pages from the table in internal/dialect/flux: edit there, then run go generate ./internal/kinds -->\n\n"

// pages are the files below the documentation's directory.
func pages() map[string]string {
	return map[string]string{
		"compatibility.md":           fill(compatibility, map[string]string{"kinds": kindTable(), "exceptions": exceptions()}),
		"reference/gitrepository.md": fill(gitRepository, map[string]string{"fields": fieldTable("GitRepository")}),
		"reference/kustomization.md": fill(kustomization, map[string]string{"fields": fieldTable("Kustomization")}),
	}
}

func fill(page string, tables map[string]string) string {
	for name, table := range tables {
		page = strings.Replace(page, "{{"+name+"}}\n", table, 1)
	}
	return generated + page
}

// kindTable has a row for each kind that a cluster may hold.
func kindTable() string {
	var b strings.Builder
	b.WriteString("| kind | API | versions | state |\n| --- | --- | --- | --- |\n")
	for _, kind := range flux.New().Kinds() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", kind.GroupKind.Kind, kind.GroupKind.Group, strings.Join(kind.Versions, ", "), kindState(kind))
	}
	return b.String()
}

func kindState(kind dialect.Kind) string {
	if kind.Handled {
		return "works: [fields](reference/" + strings.ToLower(kind.GroupKind.Kind) + ".md)"
	}
	for _, field := range flux.Fields() {
		if field.Kind == kind.GroupKind.Kind {
			return string(field.Support) + ": " + field.Note
		}
	}
	return string(flux.NotYet)
}

// exceptions are the fields that do not work as upstream's do.
func exceptions() string {
	var b strings.Builder
	b.WriteString("| kind | field | state | what that means |\n| --- | --- | --- | --- |\n")
	for _, field := range flux.Fields() {
		if field.Support != flux.Works && field.Path != "spec" {
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", field.Kind, field.Path, field.Support, field.Note)
		}
	}
	return b.String()
}

func fieldTable(kind string) string {
	var b strings.Builder
	b.WriteString("| field | versions | state | notes |\n| --- | --- | --- | --- |\n")
	for _, field := range flux.Fields() {
		if field.Kind == kind {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", field.Path, since(kind, field.Gone), field.Support, field.Note)
		}
	}
	return b.String()
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
