package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxLines is where a file stops being one thought. Generated files are free.
const maxLines = 800

// place is path:line, as editors understand it.
func place(file *goFile, at ast.Node) string {
	return fmt.Sprintf("%s:%d", file.path, file.line(at))
}

// fromText parses code as a file of a package of its own.
func fromText(t *testing.T, code string) *goFile {
	t.Helper()
	positions := token.NewFileSet()
	syntax, err := parser.ParseFile(positions, "code.go", "package code\n"+code, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return &goFile{path: "code.go", syntax: syntax, positions: positions}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, pkg := range repository(t) {
		if pkg.generated() {
			continue // its generator says what it is for
		}
		if err := documented(pkg); err != nil {
			t.Error(err)
		}
	}
}

// documented wants one package comment in go doc's form; a package of tests
// only may have it in a test.
func documented(pkg goPackage) error {
	var comments []string
	for _, file := range pkg.files {
		if strings.HasSuffix(file.syntax.Name.Name, "_test") {
			continue
		}
		if file.syntax.Doc == nil {
			continue
		}
		text := file.syntax.Doc.Text()
		if strings.TrimSpace(text) == "" { // directives only
			continue
		}
		comments = append(comments, file.path)
		name := file.syntax.Name.Name
		if name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
			return fmt.Errorf("%s: the package comment does not begin with %q", file.path, "Package "+name)
		}
	}
	switch {
	case len(comments) == 0:
		return fmt.Errorf("package %s has no doc comment: say what the room is for", pkg.dir)
	case len(comments) > 1:
		return fmt.Errorf("package %s has %d doc comments (%s): go doc glues them together", pkg.dir, len(comments), strings.Join(comments, ", "))
	}
	return nil
}

func TestMissingDocumentationIsSeen(t *testing.T) {
	with := func(comment string) *goFile {
		positions := token.NewFileSet()
		syntax, err := parser.ParseFile(positions, "code.go", comment+"\npackage code\n", parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		return &goFile{path: "code.go", syntax: syntax, positions: positions}
	}
	good, bare := with("// Package code is an example."), with("")
	if err := documented(goPackage{dir: "code", files: []*goFile{bare, good}}); err != nil {
		t.Errorf("one comment in two files: %v", err)
	}
	for name, files := range map[string][]*goFile{
		"no comment":      {bare},
		"two comments":    {good, good},
		"not in the form": {with("// This is an example.")},
		"directive only":  {with("//go:build linux")},
	} {
		if documented(goPackage{dir: "code", files: files}) == nil {
			t.Errorf("%s: no complaint", name)
		}
	}
}

// purposeless are names that say where code was put, not what it is for.
var purposeless = regexp.MustCompile(`^(utils?|common|commons|helpers?|misc|shared|lib|base|stuff)$`)

func TestEveryPackageHasAPurpose(t *testing.T) {
	for _, pkg := range repository(t) {
		for _, part := range append(strings.Split(pkg.dir, "/"), pkg.files[0].syntax.Name.Name) {
			if purposeless.MatchString(part) {
				t.Errorf("package %s: %q says nothing about what is in it; put the code into the room that it serves", pkg.dir, part)
			}
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, pkg := range repository(t) {
		for _, file := range pkg.files {
			if !file.generated && file.lines > maxLines {
				t.Errorf("%s has %d lines, the limit is %d: it holds more than one thought", file.path, file.lines, maxLines)
			}
		}
	}
}

// unfinished are marks of work that was left for later.
var unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

func TestNothingIsLeftForLater(t *testing.T) {
	for _, pkg := range repository(t) {
		for _, file := range pkg.files {
			if file.generated {
				continue
			}
			for _, group := range file.syntax.Comments {
				if mark := unfinished.FindString(group.Text()); mark != "" {
					t.Errorf("%s: %s: do it, or open an issue", place(file, group), mark)
				}
			}
		}
	}
}

func TestTestsNeitherSleepNorSkip(t *testing.T) {
	for _, pkg := range repository(t) {
		for _, file := range pkg.files {
			if !file.test {
				continue
			}
			for _, complaint := range dozes(file) {
				t.Error(complaint)
			}
		}
	}
}

func dozes(file *goFile) []string {
	var complaints []string
	polls := loops(file)
	file.uses(func(importPath, name string, at ast.Node) {
		if importPath == "time" && name == "Sleep" && !polls(at) {
			complaints = append(complaints, place(file, at)+": a test that sleeps is slow or flaky, mostly both; wait for what it waits for, or use testing/synctest")
		}
	})
	sleepsInBubble := false
	for _, imported := range file.imports() {
		sleepsInBubble = sleepsInBubble || imported == "testing/synctest"
	}
	if sleepsInBubble { // its clock stands still while anybody works
		complaints = nil
	}
	ast.Inspect(file.syntax, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		receiver, ok := selector.X.(*ast.Ident)
		if !ok || receiver.Name != "t" && receiver.Name != "b" && receiver.Name != "f" {
			return true
		}
		switch selector.Sel.Name {
		case "Skip", "Skipf", "SkipNow":
			complaints = append(complaints, place(file, call)+": a test that can be skipped is a test that nobody knows to be green; fail, and say what is missing")
		}
		return true
	})
	return complaints
}

// loops tells which nodes stand in a loop with a condition: a sleep there is
// the pause of a poll.
func loops(file *goFile) func(ast.Node) bool {
	var bodies []*ast.BlockStmt
	ast.Inspect(file.syntax, func(node ast.Node) bool {
		if loop, ok := node.(*ast.ForStmt); ok && loop.Cond != nil {
			bodies = append(bodies, loop.Body)
		}
		return true
	})
	return func(at ast.Node) bool {
		for _, body := range bodies {
			if body.Pos() <= at.Pos() && at.End() <= body.End() {
				return true
			}
		}
		return false
	}
}

func TestDozesAreSeen(t *testing.T) {
	if got := dozes(fromText(t, `import "time"; func f() { time.Sleep(time.Second) }`)); len(got) != 1 {
		t.Errorf("a sleep: %q", got)
	}
	if got := dozes(fromText(t, `import ("time"; "testing/synctest"); var _ = synctest.Test; func f() { time.Sleep(time.Second) }`)); len(got) != 0 {
		t.Errorf("a sleep in a bubble: %q", got)
	}
	if got := dozes(fromText(t, `import "time"; func f(ok func() bool) { for !ok() { time.Sleep(time.Millisecond) } }`)); len(got) != 0 {
		t.Errorf("a poll: %q", got)
	}
	if got := dozes(fromText(t, `import "testing"; func TestF(t *testing.T) { t.Skip("later") }`)); len(got) != 1 {
		t.Errorf("a skip: %q", got)
	}
}

// machine matches places that exist on somebody's machine only.
var machine = regexp.MustCompile(`(^|[\s"'` + "`" + `=(:<])(/(home|Users|root|work|workspace)/[A-Za-z0-9._-]+|[A-Z]:\\Users\\)`)

func TestNoMachineIsNamed(t *testing.T) {
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	names, err := files()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(text) || name == "internal/house/looks_test.go" {
			continue
		}
		for i, line := range strings.Split(string(text), "\n") {
			if found := machine.FindString(line); found != "" || strings.Contains(line, here+"/") {
				t.Errorf("%s:%d names a place on somebody's machine: %s", name, i+1, strings.TrimSpace(found))
			}
		}
	}
}

func TestMachinesAreSeen(t *testing.T) {
	for text, want := range map[string]bool{
		`open("/home/jane/src")`:          true,
		"cd /wo" + "rk/main && make":      true,
		"https://example.org/home/jane":   false,
		"/var/lib/plumb":                  false,
		"homepage: https://plumb.dev/":    false,
		`c := "C:\Users\jane"`:            true,
		"the path is /root/.kube/config.": true,
	} {
		if got := machine.MatchString(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// replacing are the modules with replace lines, and why. Nobody installs them:
// they build a tool of the tests.
var replacing = map[string]string{
	"internal/api/argocd/clitest/go.mod": "upstream's program is built of what upstream builds it of, and a main module alone can say that",
}

func TestModulesStandOnTheirOwn(t *testing.T) {
	names, err := files()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		switch path.Base(name) {
		case "go.work", "go.work.sum":
			t.Errorf("%s: a workspace hides what each module really needs", name)
		case "go.mod":
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
			if err != nil {
				t.Fatal(err)
			}
			if replacing[name] == "" && regexp.MustCompile(`(?m)^\s*replace\b`).Match(text) {
				t.Errorf("%s has a replace line: the module can then not be installed with go install", name)
			}
		}
	}
}
