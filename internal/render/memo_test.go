package render

import (
	"context"
	"maps"
	"strconv"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// counting renders through a memo and counts the builds.
type counting struct {
	memo   *Memo
	builds int
}

func (c *counting) render(t *testing.T, tree Tree, dir string, origin model.Origin) (*model.Manifest, bool, error) {
	t.Helper()
	key := KeyOf(dir, model.Render{}, Limits{})
	return c.memo.Render(context.Background(), key, origin, tree, func(r *Recorder) (*model.Manifest, error) {
		c.builds++
		return Kustomize(context.Background(), r, dir, model.KustomizeOptions{}, origin, Limits{})
	})
}

func TestMemoRendersOnlyWhatChanged(t *testing.T) {
	c := &counting{memo: NewMemo(1 << 20)}
	tree := small()
	first, hit, err := c.render(t, tree, "apps/a", model.Origin{Revision: "one"})
	if err != nil || hit || len(first.Objects) != 5 {
		t.Fatalf("first render: %v %v %v", first, hit, err)
	}
	elsewhere := maps.Clone(tree)
	elsewhere["apps/b/kustomization.yaml"] = "resources: []\n"
	second, hit, err := c.render(t, elsewhere, "apps/a", model.Origin{Revision: "two"})
	if err != nil || !hit {
		t.Fatalf("a commit elsewhere: hit %v, %v", hit, err)
	}
	if at := second.Objects[0].Origin; at.Revision != "two" || at.File != "apps/a/cm-a.yaml" || at.Line != 1 {
		t.Errorf("the origin of a remembered object is %+v", at)
	}
	if at := first.Objects[0].Origin.Revision; at != "one" {
		t.Errorf("the first manifest has moved to %q", at)
	}
	changed := maps.Clone(tree)
	changed["apps/a/cm-a.yaml"] += "# more\n"
	if _, hit, err := c.render(t, changed, "apps/a", model.Origin{}); err != nil || hit {
		t.Fatalf("a commit to what was read: hit %v, %v", hit, err)
	}
	if _, hit, err := c.render(t, tree, "apps/a", model.Origin{}); err != nil || !hit {
		t.Fatalf("its revert: hit %v, %v", hit, err)
	}
	if c.builds != 2 {
		t.Errorf("%d builds, want 2", c.builds)
	}
}

func TestMemoRemembersFaults(t *testing.T) {
	c := &counting{memo: NewMemo(1 << 20)}
	tree := small()
	tree["apps/a/cm-a.yaml"] = "apiVersion: v1\nkind: ConfigMap\n"
	for i, revision := range []string{"one", "two"} {
		tree["unrelated"] = revision
		_, hit, err := c.render(t, tree, "apps/a", model.Origin{Revision: revision})
		fault, ok := err.(*model.Fault) //nolint:errorlint // the memo promises the fault itself
		if !ok || hit != (i > 0) || fault.Origin.Revision != revision || fault.Origin.File != "apps/a/cm-a.yaml" {
			t.Errorf("%s: hit %v, %#v", revision, hit, err)
		}
	}
	tree["apps/a/cm-a.yaml"] = small()["apps/a/cm-a.yaml"]
	if _, hit, err := c.render(t, tree, "apps/a", model.Origin{}); err != nil || hit {
		t.Errorf("after the repair: hit %v, %v", hit, err)
	}
	if c.builds != 2 {
		t.Errorf("%d builds, want 2", c.builds)
	}
}

func TestMemoKeepsToItsBudget(t *testing.T) {
	const budget = 20 << 10
	c := &counting{memo: NewMemo(budget)}
	tree := memory{}
	for i := range 30 {
		dir := "apps/" + strconv.Itoa(i)
		for p, content := range small() {
			tree[dir+p[len("apps/a"):]] = content
		}
	}
	for i := range 30 {
		if _, _, err := c.render(t, tree, "apps/"+strconv.Itoa(i), model.Origin{}); err != nil {
			t.Fatal(err)
		}
		if used := c.memo.Bytes(); used > budget || used <= 0 {
			t.Fatalf("the memo holds %d bytes of %d", used, budget)
		}
	}
	if _, hit, _ := c.render(t, tree, "apps/29", model.Origin{}); !hit {
		t.Error("the last one is forgotten")
	}
	if _, hit, _ := c.render(t, tree, "apps/0", model.Origin{}); hit {
		t.Error("the first one is still there")
	}
	held := 0
	for _, entries := range c.memo.entries {
		held += len(entries)
	}
	if held != c.memo.order.Len() {
		t.Errorf("%d entries by key, %d by age", held, c.memo.order.Len())
	}
}

func TestMemoKeepsFewResultsOfOneKey(t *testing.T) {
	c := &counting{memo: NewMemo(1 << 20)}
	tree := small()
	for i := range perKey + 3 {
		tree["apps/a/cm-a.yaml"] += "# " + strconv.Itoa(i) + "\n"
		if _, _, err := c.render(t, tree, "apps/a", model.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.memo.entries[KeyOf("apps/a", model.Render{}, Limits{})]); n != perKey {
		t.Errorf("%d results are kept, want %d", n, perKey)
	}
}

func TestKeysDiffer(t *testing.T) {
	base := KeyOf("a", model.Render{}, Limits{})
	for name, other := range map[string]Key{
		"directory": KeyOf("b", model.Render{}, Limits{}),
		"options":   KeyOf("a", model.Render{Kustomize: model.KustomizeOptions{Namespace: "x"}}, Limits{}),
		"limits":    KeyOf("a", model.Render{}, Limits{Files: 3}),
	} {
		if other == base {
			t.Errorf("another %s has the same key", name)
		}
	}
	common := KeyOf("a", model.Render{Kustomize: model.KustomizeOptions{CommonLabels: map[string]string{"a": "b"}}}, Limits{})
	if common != base {
		t.Error("common labels, which Finish sets, are part of the key of a build")
	}
}

func TestMemoHoldsFaultsOfOneObject(t *testing.T) {
	origin := model.Origin{Declared: object.ID{Kind: "Kustomization", Name: "x"}}
	c := &counting{memo: NewMemo(1 << 20)}
	_, _, err := c.render(t, memory{}, "apps/a", origin)
	fault, ok := err.(*model.Fault) //nolint:errorlint // the memo promises the fault itself
	if !ok || fault.Origin.Declared != origin.Declared || fault.Origin.Field != "spec.path" {
		t.Errorf("got %#v", err)
	}
}
