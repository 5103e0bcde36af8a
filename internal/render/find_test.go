package render

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
)

// TestFind: patterns of the git generator over one tree. A pattern that begins
// with "!" excludes, one that ends with "/" is of directories.
func TestFind(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{
		"apps/a/config.json", "apps/a/deep/config.json", "apps/b/config.json", "apps/b/{x}.json",
		"apps/.hidden/config.json", "clusters/eu/one/config.json", "config.json", "other/config.yaml",
	} {
		at := filepath.Join(root, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := Directory(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	for _, c := range []struct {
		name, patterns string
		greedy         bool
		want           string
	}{
		{"directories, one level", "apps/*/", false, "apps/a/ apps/b/"},
		{"directories, without one", "apps/*/ !apps/b/", false, "apps/a/"},
		{"every directory of the first level", "*/", false, "apps/ clusters/ other/"},
		{"one star stays in its directory", "apps/*/config.json", false, "apps/.hidden/config.json apps/a/config.json apps/b/config.json"},
		{"two stars cross directories", "apps/**/config.json", false, "apps/.hidden/config.json apps/a/config.json apps/a/deep/config.json apps/b/config.json"},
		{"greedy: one star crosses them too", "apps/*/config.json", true, "apps/.hidden/config.json apps/a/config.json apps/a/deep/config.json apps/b/config.json"},
		{"greedy: two stars need a directory", "**/config.yaml", true, "other/config.yaml"},
		{"greedy: a directory is everything below it", "apps/a", true, "apps/a/config.json apps/a/deep/config.json"},
		{"greedy: one file", "config.json", true, "config.json"},
		{"greedy: braces are letters", "apps/b/{*}.json", true, "apps/b/{x}.json"},
		{"greedy: the exclusion is greedy too", "*config.json !apps/*", true, "clusters/eu/one/config.json config.json"},
		{"a question mark", "apps/?/config.json", false, "apps/a/config.json apps/b/config.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := &model.GitQuestion{Greedy: c.greedy}
			for _, p := range strings.Fields(c.patterns) {
				p, exclude := strings.CutPrefix(p, "!")
				if dir, ok := strings.CutSuffix(p, "/"); ok {
					q.Directories = append(q.Directories, model.GitPath{Path: dir, Exclude: exclude})
				} else {
					q.Files = append(q.Files, model.GitPath{Path: p, Exclude: exclude})
				}
			}
			answer, err := Find(Record(t.Context(), tree, Limits{}), q)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, dir := range answer.Directories {
				got = append(got, dir+"/")
			}
			for _, file := range answer.Files {
				if string(file.Content) != file.Path {
					t.Errorf("%s holds %q", file.Path, file.Content)
				}
				got = append(got, file.Path)
			}
			if !slices.Equal(got, strings.Fields(c.want)) {
				t.Errorf("found %v, wanted %v", got, c.want)
			}
		})
	}
}

// TestFindListsNoMoreThanItHasTo: what is listed decides which commits have to
// be looked at.
func TestFindListsNoMoreThanItHasTo(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"apps/a/deep", "vendor/x/y"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.FromSlash(dir)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := Directory(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	reads := Record(t.Context(), tree, Limits{})
	if _, err := Find(reads, &model.GitQuestion{Directories: []model.GitPath{{Path: "apps/*"}}}); err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, read := range reads.Trace() {
		listed = append(listed, read.Path)
	}
	if want := []string{"", "apps"}; !slices.Equal(listed, want) {
		t.Errorf("listed %q, wanted %q", listed, want)
	}
}
