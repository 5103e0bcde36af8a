package house

import (
	"slices"
	"strings"
	"testing"
)

// A library that has one home: the room that hides it behind an interface of
// its own. Rooms listed later only put the parts together, or are its users'
// tests.
type library struct {
	path  string // import path, or a prefix ending in "/"
	homes []string
	why   string
}

var libraries = []library{
	{"k8s.io/client-go/", []string{"internal/cluster", "internal/control", "internal/cli", "internal/api", "scenario", "bench"}, "the cluster writer is the only one that changes managed objects, and the loop the only one that watches declared ones"},
	{"github.com/go-git/", []string{"internal/source", "internal/cli"}, "content comes as a Tree; how it was fetched stays in source"},
	{"github.com/google/go-jsonnet", []string{"internal/render"}, "objects come out of render; which renderer made them stays there"},
	{"github.com/yuin/gopher-lua", []string{"internal/health"}, "scripts judge health and nothing else; their bounds are kept in one place"},
	{"sigs.k8s.io/kustomize/", []string{"internal/render"}, "objects come out of render; which renderer made them stays there"},
	{"modernc.org/sqlite", []string{"internal/journal"}, "the journal's store is the journal's business"},
	{"database/sql", []string{"internal/journal"}, "the journal's store is the journal's business"},
	{"github.com/spf13/", []string{"internal/cli"}, "flags and commands belong to the command line"},
	{"github.com/rogpeppe/go-internal/", []string{"scenario"}, "the language of the stories"},
}

func TestLibrariesStayAtHome(t *testing.T) {
	for _, pkg := range repository(t) {
		home, ok := roomOf(pkg.dir)
		if !ok || !pkg.inMainModule() {
			continue
		}
		for _, file := range pkg.files {
			if file.test {
				continue
			}
			for i, imported := range file.imports() {
				if refusal := astray(home, imported); refusal != "" {
					t.Errorf("%s: %s", place(file, file.syntax.Imports[i]), refusal)
				}
			}
		}
	}
}

func astray(home room, imported string) string {
	for _, lib := range libraries {
		if imported != lib.path && (!strings.HasSuffix(lib.path, "/") || !strings.HasPrefix(imported, lib.path)) {
			continue
		}
		if !slices.Contains(lib.homes, home.path) {
			return home.path + " imports " + imported + ", whose home is " + strings.Join(lib.homes, ", ") + ": " + lib.why
		}
	}
	return ""
}

func TestAstrayIsSeen(t *testing.T) {
	render, _ := roomOf("internal/render")
	if got := astray(render, "sigs.k8s.io/kustomize/api/krusty"); got != "" {
		t.Errorf("render is refused its own library: %s", got)
	}
	for _, imported := range []string{"k8s.io/client-go/dynamic", "github.com/go-git/go-git/v5", "modernc.org/sqlite"} {
		if astray(render, imported) == "" {
			t.Errorf("render may import %s", imported)
		}
	}
}
