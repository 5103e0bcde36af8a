package render

import (
	"context"
	"errors"
	"maps"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Every story is also a story about its trace: whatever is changed beside it
// changes nothing, and every change that it sees makes it not hold.
func TestTracesAreExact(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			s, tree := readStory(t, file)
			exactTrace(t, s, tree)
		})
	}
}

func readStory(t *testing.T, file string) (story, memory) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, tree, _ := parseStory(t, archive)
	return s, tree
}

// outcome is what a render of a tree came to, and its trace.
func outcome(s story, tree Tree) (string, model.Trace) {
	recorder := Record(context.Background(), s.on(tree), Limits{})
	m, err := Build(context.Background(), recorder, s.Dir, s.render(), model.Origin{}, Limits{})
	if err != nil {
		return err.Error(), recorder.Trace()
	}
	var b strings.Builder
	for _, rendered := range m.Objects {
		b.WriteString(rendered.Origin.String() + " " + string(rendered.JSON) + "\n")
	}
	return b.String(), recorder.Trace()
}

func exactTrace(t *testing.T, s story, tree memory) {
	before, trace := outcome(s, tree)
	if again, second := outcome(s, tree); again != before || !reflect.DeepEqual(trace, second) {
		t.Fatalf("two renders of one tree differ:\n%s%v\n%s%v", before, trace, again, second)
	}
	mustHold(t, s, tree, trace, true, "itself")
	read, seen := map[string]bool{}, map[string]bool{}
	for _, r := range trace {
		read[r.Path] = read[r.Path] || r.Kind != model.ReadType
		seen[r.Path] = true
	}
	for p := range tree {
		changed := maps.Clone(tree)
		changed[p] += "# changed\n"
		mustHold(t, s, changed, trace, !read[p], "a change of "+p)
		removed := maps.Clone(tree)
		delete(removed, p)
		if seen[p] {
			mustHold(t, s, removed, trace, false, "the removal of "+p)
		}
		for what, other := range map[string]memory{"changed": changed, "removed": removed} {
			holds, err := Holds(s.on(other), trace)
			if err != nil {
				t.Fatal(err)
			}
			if !holds {
				continue
			}
			if after, _ := outcome(s, other); after != before {
				t.Errorf("the trace holds with %s %s, but the result is\n%s\nnot\n%s", p, what, after, before)
			}
		}
	}
	for _, r := range trace {
		if r.Kind != model.ReadAbsent || isReserved(r.Path) {
			continue
		}
		added := maps.Clone(tree)
		added[r.Path] = "resources: []\n"
		mustHold(t, s, added, trace, false, "the appearance of "+r.Path)
	}
	beside := maps.Clone(tree)
	beside["unrelated/directory/file.yaml"] = "apiVersion: v1\n"
	mustHold(t, s, beside, trace, true, "an unrelated file")
}

func mustHold(t *testing.T, s story, tree Tree, trace model.Trace, want bool, what string) {
	t.Helper()
	holds, err := Holds(s.on(tree), trace)
	if err != nil {
		t.Fatal(err)
	}
	if holds != want {
		t.Errorf("with %s the trace holds: %v, want %v", what, holds, want)
	}
}

// Every change of a tree that breaks a trace is found by the index.
func TestIndexFindsWhatATraceSees(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	source := object.ID{Kind: "GitRepository", Name: "s"}
	for _, file := range files {
		s, tree := readStory(t, file)
		_, trace := outcome(s, tree)
		trace = Split(trace, source, s.mounts())[0].Trace
		user := object.ID{Kind: "Kustomization", Name: filepath.Base(file)}
		var index Index
		index.Set(user, Reading{Source: source, Trace: trace})
		for _, other := range variations(tree, trace) {
			holds, err := Holds(other, trace)
			if err != nil {
				t.Fatal(err)
			}
			changes := difference(tree, other)
			if touched := slices.Contains(index.Touched(source, changes), user); !holds && !touched {
				t.Errorf("%s: the index misses %v", file, changes)
			}
			if got := index.Touched(object.ID{Name: "another"}, changes); len(got) != 0 {
				t.Errorf("%s: a change of another source touches %v", file, got)
			}
		}
	}
}

// variations of a tree: each path changed, removed, replaced by a directory,
// and each absent path filled by a file and by a directory.
func variations(tree memory, trace model.Trace) []memory {
	var out []memory
	vary := func(change func(memory)) {
		other := maps.Clone(tree)
		change(other)
		out = append(out, other)
	}
	for p := range tree {
		vary(func(m memory) { m[p] += "x" })
		vary(func(m memory) { delete(m, p) })
		vary(func(m memory) { delete(m, p); m[p+"/inside"] = "x" })
		vary(func(m memory) { m[path.Join(parent(p), "new.yaml")] = "x" })
		if dir := parent(p); dir != "" {
			vary(func(m memory) {
				maps.DeleteFunc(m, func(other, _ string) bool { return strings.HasPrefix(other, dir+"/") })
				m[dir] = linkTo + "elsewhere"
			})
		}
	}
	for _, r := range trace {
		if r.Kind == model.ReadAbsent {
			vary(func(m memory) { m[r.Path] = "x" })
			vary(func(m memory) { m[r.Path+"/deep/inside"] = "x" })
		}
	}
	return out
}

// difference is what a source says of two trees.
func difference(a, b memory) []model.PathChange {
	var changes []model.PathChange
	add := func(kind model.PathChangeKind, p string) {
		changes = append(changes, model.PathChange{Path: p, Kind: kind})
	}
	dirs := map[string]bool{"": true}
	for _, m := range []memory{a, b} {
		for p := range m {
			for dir := parent(p); dir != ""; dir = parent(dir) {
				dirs[dir] = true
			}
		}
	}
	for p, content := range a {
		other, there := b[p]
		switch {
		case !there:
			add(model.PathRemoved, p)
		case other != content:
			add(model.PathChanged, p)
		}
	}
	for p := range b {
		if _, there := a[p]; !there {
			add(model.PathAdded, p)
		}
	}
	for dir := range dirs {
		before, _ := a.List(dir)
		after, _ := b.List(dir)
		if listDigest(before) != listDigest(after) {
			add(model.PathListed, dir)
		}
	}
	return changes
}

func TestIndexForgets(t *testing.T) {
	var index Index
	source, user := object.ID{Name: "s"}, object.ID{Name: "u"}
	changed := []model.PathChange{{Path: "a/f", Kind: model.PathChanged}}
	index.Set(user, Reading{Source: source, Trace: model.Trace{{Kind: model.ReadFile, Path: "a/f"}}})
	if got := index.Touched(source, changed); !reflect.DeepEqual(got, []object.ID{user}) {
		t.Fatalf("touched %v", got)
	}
	index.Set(user, Reading{Source: source, Trace: model.Trace{{Kind: model.ReadFile, Path: "b/f"}}})
	if got := index.Touched(source, changed); len(got) != 0 {
		t.Errorf("after its trace changed: %v", got)
	}
	index.Remove(user)
	if len(index.users)+len(index.watched) != 0 {
		t.Errorf("left behind: %v %v", index.users, index.watched)
	}
}

func TestIndexKinds(t *testing.T) {
	source := object.ID{Name: "s"}
	var index Index
	for name, read := range map[string]model.Read{
		"file": {Kind: model.ReadFile, Path: "d/f"}, "list": {Kind: model.ReadList, Path: "d"},
		"absent": {Kind: model.ReadAbsent, Path: "d/new"}, "tree": {Kind: model.ReadTree, Path: "d"}, "root": {Kind: model.ReadTree, Path: ""},
	} {
		index.Set(object.ID{Name: name}, Reading{Source: source, Trace: model.Trace{read}})
	}
	for _, c := range []struct {
		changes []model.PathChange
		want    string
	}{
		{[]model.PathChange{{Path: "d/f", Kind: model.PathChanged}}, "file root tree"},
		{[]model.PathChange{{Path: "d/x/y", Kind: model.PathChanged}}, "root tree"},
		{[]model.PathChange{{Path: "d/other", Kind: model.PathAdded}, {Path: "d", Kind: model.PathListed}}, "list root tree"},
		{[]model.PathChange{{Path: "d/new", Kind: model.PathAdded}, {Path: "d", Kind: model.PathListed}}, "absent list root tree"},
		{[]model.PathChange{{Path: "e/f", Kind: model.PathChanged}}, "root"},
		{nil, ""},
	} {
		var names []string
		for _, id := range index.Touched(source, c.changes) {
			names = append(names, id.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%v touches %q, want %q", c.changes, got, c.want)
		}
	}
}

// failing is a tree whose storage fails at one path.
type failing struct {
	memory
	at string
}

var errDisk = errors.New("disk on fire")

func (b failing) Read(p string) ([]byte, error) {
	if p == b.at {
		return nil, errDisk
	}
	return b.memory.Read(p)
}

func TestTreeThatFails(t *testing.T) {
	tree := failing{small(), "apps/a/service.yaml"}
	memo := NewMemo(1 << 20)
	render := func(r *Recorder) (*model.Manifest, error) {
		return Kustomize(context.Background(), r, "apps/a", model.KustomizeOptions{}, model.Origin{}, Limits{})
	}
	_, _, err := memo.Render(context.Background(), KeyOf("apps/a", model.Render{}, Limits{}), model.Origin{}, tree, render)
	var fault *model.Fault
	if !errors.As(err, &fault) || !fault.Retry || !errors.Is(err, errDisk) || fault.Reason != ArtifactFailed {
		t.Errorf("got %#v", err)
	}
	if memo.Bytes() != 0 {
		t.Error("a failure of the storage is remembered")
	}
}

func TestCancelledBuild(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Kustomize(ctx, small(), "apps/a", model.KustomizeOptions{}, model.Origin{}, Limits{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
