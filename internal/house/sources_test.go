package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// modulePath is the module whose rooms have floors. Nested modules are read
// too, but nothing can import them.
const modulePath = "plumb.dev/plumb"

// root is where this package finds the repository.
const root = "../.."

type goPackage struct {
	dir   string // below the root, slash separated
	files []*goFile
}

type goFile struct {
	path      string
	test      bool
	generated bool
	lines     int
	syntax    *ast.File
	positions *token.FileSet
}

// inMainModule reports whether the package belongs to the module with the
// floors, and not to one that is nested in it.
func (p goPackage) inMainModule() bool {
	names, err := files()
	if err != nil {
		return false
	}
	for _, name := range names {
		if nested, ok := strings.CutSuffix(name, "/go.mod"); ok && (p.dir == nested || strings.HasPrefix(p.dir, nested+"/")) {
			return false
		}
	}
	return true
}

// generated reports whether nobody wrote any of the package's files.
func (p goPackage) generated() bool {
	for _, file := range p.files {
		if !file.generated {
			return false
		}
	}
	return true
}

// imports lists the import paths of the file.
func (f *goFile) imports() []string {
	paths := make([]string, 0, len(f.syntax.Imports))
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// line is the line of a node, for messages.
func (f *goFile) line(node ast.Node) int { return f.positions.Position(node.Pos()).Line }

// uses calls visit for every name that the file takes from an imported package,
// with the import path. Types are not resolved, so that the rules cost no
// build: an identifier that names an import is told from a variable of the same
// name by the scopes of go/types alone.
func (f *goFile) uses(visit func(importPath, name string, at ast.Node)) {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	check := types.Config{
		Importer: hollow{},
		Error:    func(error) {}, // everything that hollow packages cannot answer
	}
	_, _ = check.Check(f.path, f.positions, []*ast.File{f.syntax}, info)
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		ident, ok := selector.X.(*ast.Ident)
		if !ok {
			return true
		}
		if name, ok := info.Uses[ident].(*types.PkgName); ok {
			visit(name.Imported().Path(), selector.Sel.Name, selector)
		}
		return true
	})
}

// hollow imports every package as an empty one.
type hollow struct{}

func (hollow) Import(importPath string) (*types.Package, error) {
	name := importPath[strings.LastIndex(importPath, "/")+1:]
	if version.MatchString(name) {
		parent := strings.TrimSuffix(importPath, "/"+name)
		if base := parent[strings.LastIndex(parent, "/")+1:]; !strings.HasPrefix(importPath, "k8s.io/") {
			name = base
		}
	}
	pkg := types.NewPackage(importPath, name)
	pkg.MarkComplete()
	return pkg, nil
}

var (
	version   = regexp.MustCompile(`^v[0-9]+$`)
	generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
)

// passedOver are entries that hold nothing of ours.
func passedOver(name string) bool {
	switch name {
	case ".git", "bin", "dist", "node_modules":
		return true
	}
	return false
}

// files lists the files of the repository below the root, slash separated.
var files = sync.OnceValues(func() ([]string, error) {
	var found []string
	err := filepath.WalkDir(root, func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case passedOver(entry.Name()):
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		}
		rel, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		found = append(found, filepath.ToSlash(rel))
		return nil
	})
	return found, err
})

var packages = sync.OnceValues(func() ([]goPackage, error) {
	names, err := files()
	if err != nil {
		return nil, err
	}
	byDir := map[string][]*goFile{}
	for _, name := range names {
		if !strings.HasSuffix(name, ".go") || strings.Contains("/"+name, "/testdata/") {
			continue
		}
		file, err := parse(name)
		if err != nil {
			return nil, err
		}
		dir := filepath.ToSlash(filepath.Dir(name))
		byDir[dir] = append(byDir[dir], file)
	}
	var list []goPackage
	for dir, files := range byDir {
		list = append(list, goPackage{dir: dir, files: files})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].dir < list[j].dir })
	return list, nil
})

func parse(name string) (*goFile, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	positions := token.NewFileSet()
	syntax, err := parser.ParseFile(positions, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &goFile{
		path:      name,
		test:      strings.HasSuffix(name, "_test.go"),
		generated: generated.Match(text),
		lines:     strings.Count(string(text), "\n"),
		syntax:    syntax,
		positions: positions,
	}, nil
}

// repository returns every Go package of the repository.
func repository(t *testing.T) []goPackage {
	t.Helper()
	list, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 4 {
		t.Fatalf("only %d packages found: the rules look in the wrong place", len(list))
	}
	return list
}
