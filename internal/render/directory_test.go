package render

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
)

func lay(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for p, content := range files {
		at := filepath.Join(root, p)
		if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
			t.Fatal(err)
		}
		target, link := strings.CutPrefix(content, linkTo)
		var err error
		if link {
			err = os.Symlink(target, at)
		} else {
			err = os.WriteFile(at, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDirectoryIsATree(t *testing.T) {
	files := small()
	files["link.yaml"] = linkTo + "apps/a/cm-a.yaml"
	files["into"] = linkTo + "apps"
	files[".git/config"] = "[core]\n"
	tree, err := Directory(lay(t, files))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	for p, want := range map[string]model.EntryKind{
		"": model.DirEntry, "apps": model.DirEntry, "apps/a/cm-a.yaml": model.FileEntry, "link.yaml": model.LinkEntry, "into": model.LinkEntry,
		"into/a/cm-a.yaml": 0, "absent": 0, "apps/a/cm-a.yaml/below": 0, ".git": 0, ".git/config": 0,
	} {
		entry, found, err := tree.Lookup(p)
		if err != nil || found != (want != 0) || entry.Kind != want {
			t.Errorf("%q: %v %v %v, want kind %v", p, entry, found, err, want)
		}
	}
	var names []string
	entries, err := tree.List("")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name)
	}
	if got := strings.Join(names, " "); got != "apps into link.yaml" {
		t.Errorf("the root lists %s", got)
	}
	if target, err := tree.Link("into"); err != nil || target != "apps" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	m := mustBuild(t, tree, "into/a", model.KustomizeOptions{})
	want := mustBuild(t, small(), "apps/a", model.KustomizeOptions{})
	for i := range want.Objects {
		if string(m.Objects[i].JSON) != string(want.Objects[i].JSON) {
			t.Errorf("from disk: %s\nfrom memory: %s", m.Objects[i].JSON, want.Objects[i].JSON)
		}
	}
}

func TestDirectoryLetsNothingOut(t *testing.T) {
	outer := lay(t, map[string]string{
		"secret.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: canary}\n",
		"in/a/kustomization.yaml": "resources: [x.yaml]\n", "in/a/x.yaml": linkTo + "../../secret.yaml",
		"in/b/kustomization.yaml": "resources: [../../secret.yaml]\n",
		"in/c":                    linkTo + "../",
	})
	tree, err := Directory(filepath.Join(outer, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	for _, dir := range []string{"a", "b", "c", "..", "../in/a"} {
		m, err := Kustomize(context.Background(), tree, dir, model.KustomizeOptions{}, model.Origin{}, Limits{})
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s builds %v, %v", dir, m, err)
		}
	}
	for _, p := range []string{"../secret.yaml", "a/x.yaml", "c/secret.yaml"} {
		if content, err := tree.Read(p); err == nil {
			t.Errorf("%s reads %q", p, content)
		}
	}
}

func TestLimits(t *testing.T) {
	tree := small()
	tree["deep/a/b/c/d/x.yaml"] = tree["apps/a/cm-a.yaml"]
	for name, c := range map[string]struct {
		dir    string
		limits Limits
		want   string
	}{
		"files":     {"apps/a", Limits{Files: 3}, "more than 3 files"},
		"file size": {"apps/a", Limits{FileBytes: 100}, "more than the 100 that are read"},
		"bytes":     {"apps/a", Limits{Bytes: 300}, "more than 300 bytes together"},
		"objects":   {"apps/a", Limits{Objects: 4}, "more than 4 objects"},
		"depth":     {"deep", Limits{Depth: 2}, "nested deeper than 2"},
	} {
		_, err := Kustomize(context.Background(), tree, c.dir, model.KustomizeOptions{}, model.Origin{}, c.limits)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestExponentialKustomizations(t *testing.T) {
	tree := memory{"l0/kustomization.yaml": "resources: []\nnamespace: x\n"}
	for i := 1; i < 20; i++ {
		below := "l" + string(rune('0'+(i-1)%10))
		if i > 10 {
			below = "m" + string(rune('0'+(i-1)%10))
		}
		at := "l" + string(rune('0'+i%10))
		if i >= 10 {
			at = "m" + string(rune('0'+i%10))
		}
		if i == 10 {
			below = "l9"
		}
		tree[at+"/kustomization.yaml"] = "resources: [../" + below + ", ../" + below + "]\n"
	}
	_, err := Kustomize(context.Background(), tree, "m9", model.KustomizeOptions{}, model.Origin{}, Limits{})
	if err == nil || !strings.Contains(err.Error(), "more than 2000 kustomizations") {
		t.Errorf("got %v", err)
	}
}
