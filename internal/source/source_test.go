package source

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

func TestFetchReturnsTheTreeOfABranch(t *testing.T) {
	r := newRepository(t)
	r.write("run.sh", "#!/bin/sh\n")
	if err := os.Chmod(r.dir+"/run.sh", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../outside", r.dir+"/escape"); err != nil {
		t.Fatal(err)
	}
	hash := r.commit("app/a.yaml", "a: 1\n", "app.txt", "x", "app/b/c.yaml", "c: 1\n")
	srv := serve(t, r.dir)
	tree := mustFetch(t, openStore(t, t.TempDir(), Limits{}), gitSource(srv.url), nil)

	if got, want := tree.Revision(), "main@sha1:"+hash; got != want {
		t.Errorf("revision %s, want %s", got, want)
	}
	want := "d app\nf app/a.yaml\nd app/b\nf app/b/c.yaml\nf app.txt\nl escape\nx run.sh\n"
	if got := listing(t, tree); got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	if got := read(t, tree, "app/b/../a.yaml"); got != "a: 1\n" {
		t.Errorf("read %q", got)
	}
	if target, err := tree.Link("escape"); err != nil || target != "../outside" {
		t.Errorf("link %q, %v", target, err)
	}
	for _, p := range []string{"../secret", "escape", "app", "nothing", "app/a.yaml/x", "/../x", "a\x00b"} {
		if _, err := tree.Read(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("read %q: %v", p, err)
		}
	}
	if e, ok, err := tree.Lookup("app/a.yaml"); err != nil || !ok || e.Size != 5 || e.Kind != model.FileEntry || e.Digest == "" {
		t.Errorf("lookup: %+v %v %v", e, ok, err)
	}
	c := tree.Commit()
	if c.Hash != hash || c.Author != "Ada <ada@example.com>" || !strings.HasPrefix(c.Message, "change") || strings.Contains(c.Message, "more") {
		t.Errorf("commit %+v", c)
	}
}

func TestNothingMovedReturnsTheSameTree(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "a: 1\n")
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	first := mustFetch(t, store, gitSource(srv.url), nil)
	if second := mustFetch(t, store, gitSource(srv.url), first); second != first {
		t.Error("a new tree though nothing moved")
	}
	if srv.looks.Load() != 2 || srv.pulls.Load() != 1 {
		t.Errorf("%d looks, %d pulls", srv.looks.Load(), srv.pulls.Load())
	}
	other := "docs\n"
	spec := gitSource(srv.url, func(s *model.Source) { s.Ignore = &other })
	if third := mustFetch(t, store, spec, first); third == first {
		t.Error("the same tree though spec.ignore changed")
	}
	if srv.pulls.Load() != 1 {
		t.Error("a commit that is at hand was fetched again")
	}
}

func TestRestartUsesTheMirror(t *testing.T) {
	r := newRepository(t)
	hash := r.commit("a.yaml", "a: 1\n")
	srv := serve(t, r.dir)
	dir := t.TempDir()
	first := openStore(t, dir, Limits{})
	before := mustFetch(t, first, gitSource(srv.url), nil)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := openStore(t, dir, Limits{})
	recalled, err := again.Recall(context.Background(), gitSource(srv.url), nil, "main@sha1:"+hash)
	if err != nil {
		t.Fatal(err)
	}
	if recalled.Digest() != before.Digest() || recalled.Revision() != before.Revision() {
		t.Error("another tree was recalled")
	}
	if srv.looks.Load() != 1 {
		t.Error("recalling asked the remote")
	}
	if tree := mustFetch(t, again, gitSource(srv.url), nil); tree.Digest() != before.Digest() || srv.pulls.Load() != 1 {
		t.Errorf("%d pulls", srv.pulls.Load())
	}
	_, err = again.Recall(context.Background(), gitSource(srv.url), nil, "main@sha1:"+strings.Repeat("1", 40))
	mustFail(t, err, "GitOperationFailed", "not at hand")
}

func TestACommitTransfersWhatItTouches(t *testing.T) {
	r := newRepository(t)
	files := []string{}
	for _, a := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		files = append(files, a+"/one.yaml", strings.Repeat(a+" is noise that does not compress "+a+"\n", 3)+a, a+"/two.yaml", a)
	}
	r.commit(files...)
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	first := mustFetch(t, store, gitSource(srv.url), nil)
	whole := srv.sent.Swap(0)
	hash := r.commit("q/two.yaml", "changed", "q/new/three.yaml", "new")
	second := mustFetch(t, store, gitSource(srv.url), first)
	if second.Revision() != "main@sha1:"+hash || read(t, second, "q/two.yaml") != "changed" || read(t, first, "q/two.yaml") != "q" {
		t.Error("wrong content")
	}
	if part := srv.sent.Load(); part > whole/2 {
		t.Errorf("%d bytes for one file, %d for everything", part, whole)
	}
	changes, ok := second.Changes(first)
	want := []model.PathChange{
		{Path: "q", Kind: model.PathListed},
		{Path: "q/new", Kind: model.PathAdded},
		{Path: "q/new/three.yaml", Kind: model.PathAdded},
		{Path: "q/two.yaml", Kind: model.PathChanged},
	}
	if !ok || !equal(changes, want) {
		t.Errorf("changes %v, want %v", changes, want)
	}
	back, ok := first.Changes(second)
	want[1].Kind, want[2].Kind = model.PathRemoved, model.PathRemoved
	if !ok || !equal(back, want) {
		t.Errorf("changes back %v, want %v", back, want)
	}
}

func equal(a, b []model.PathChange) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestManySourcesShareOneLook(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "a: 1\n")
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	mustFetch(t, store, gitSource(srv.url), nil)
	srv.looks.Store(0)

	// The first look is held until all others have asked.
	const others = 50
	m := store.mirrors[onlyKey(t, store)]
	hold, held := make(chan struct{}), make(chan struct{}, others+1)
	inner := m.link
	m.link = &heldLink{link: inner, hold: hold, held: held}
	var wg sync.WaitGroup
	fetch := func() {
		mustFetch(t, store, gitSource(srv.url), nil)
	}
	wg.Go(fetch)
	<-held
	for range others {
		wg.Go(fetch)
	}
	waitFor(t, func() bool {
		m.lookout.mu.Lock()
		defer m.lookout.mu.Unlock()
		return m.queued != nil && m.queued.waiting == others
	})
	close(hold)
	wg.Wait()
	if n := srv.looks.Load(); n != 2 {
		t.Errorf("%d looks: one that was under way and one for all who came later are enough", n)
	}
}

type heldLink struct {
	link
	hold, held chan struct{}
}

func (h *heldLink) look(ctx context.Context) (*advert, error) {
	h.held <- struct{}{}
	<-h.hold
	return h.link.look(ctx)
}

func onlyKey(t *testing.T, s *Store) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mirrors) != 1 {
		t.Fatalf("%d mirrors", len(s.mirrors))
	}
	for key := range s.mirrors {
		return key
	}
	return ""
}

// waitFor polls a condition that other goroutines bring about.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("the condition does not come true")
		}
		<-tick.C
	}
}

func TestForcePushAndDeletedBranch(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "one")
	second := r.commit("a.yaml", "two")
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	before := mustFetch(t, store, gitSource(srv.url), nil)
	r.git("reset", "--quiet", "--hard", "HEAD~1")
	forced := r.commit("a.yaml", "other")
	r.git("reflog", "expire", "--expire=now", "--all")
	r.git("gc", "--quiet", "--prune=now")
	after := mustFetch(t, store, gitSource(srv.url), before)
	if after.Revision() != "main@sha1:"+forced || read(t, after, "a.yaml") != "other" {
		t.Errorf("revision %s", after.Revision())
	}
	if before.Revision() != "main@sha1:"+second || read(t, before, "a.yaml") != "two" {
		t.Error("the tree before is no longer what it was")
	}
	r.git("checkout", "--quiet", "-b", "elsewhere")
	r.git("branch", "--quiet", "-D", "main")
	_, err := store.Fetch(context.Background(), gitSource(srv.url), nil, after)
	mustFail(t, err, "GitOperationFailed", "couldn't find remote ref 'refs/heads/main'", "check spec.ref")
	if read(t, after, "a.yaml") != "other" {
		t.Error("the last good tree is not readable")
	}
}

func TestDamagedMirrorIsFetchedAnew(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", strings.Repeat("one\n", 1000), "b.yaml", "b")
	srv := serve(t, r.dir)
	dir := t.TempDir()
	store := openStore(t, dir, Limits{})
	before := mustFetch(t, store, gitSource(srv.url), nil)
	path := store.mirrors[onlyKey(t, store)].dir + "/objects"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(content), "one\none\n")
	content[i] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = before.Read("a.yaml")
	mustFail(t, err, "GitOperationFailed", "damaged")
	after := mustFetch(t, store, gitSource(srv.url), before)
	if after == before || srv.pulls.Load() != 2 {
		t.Errorf("the damaged mirror is still in use after %d pulls", srv.pulls.Load())
	}
	if read(t, after, "a.yaml") != strings.Repeat("one\n", 1000) || after.Digest() != before.Digest() {
		t.Error("wrong content")
	}

	// Damage that is found while building, and files that are no log at all.
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{[]byte("nonsense"), content[:len(content)/2], {}} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		again := openStore(t, dir, Limits{})
		if tree := mustFetch(t, again, gitSource(srv.url), nil); tree.Digest() != before.Digest() {
			t.Error("wrong content")
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReferences(t *testing.T) {
	r := newRepository(t)
	first := r.commit("a.yaml", "1")
	r.git("tag", "v1.0.0")
	second := r.commit("a.yaml", "2")
	r.git("tag", "--annotate", "--message", "two", "v1.2.0")
	r.git("tag", "1.1.0", first)
	r.git("tag", "v1.2", first)
	r.git("tag", "v2.0.0-rc.1")
	r.git("update-ref", "refs/pull/7/head", first)
	r.git("checkout", "--quiet", "-b", "feature/x", first)
	third := r.commit("a.yaml", "3")
	r.git("tag", "v1.9.0+old", second)
	r.git("tag", "v1.9.0+new", third)
	r.git("branch", "master", first)
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	for _, c := range []struct {
		name string
		ref  model.GitRef
		want string
	}{
		{"no reference", model.GitRef{}, "master@sha1:" + first},
		{"branch with a slash", model.GitRef{Branch: "feature/x"}, "feature/x@sha1:" + third},
		{"lightweight tag", model.GitRef{Tag: "v1.0.0"}, "v1.0.0@sha1:" + first},
		{"annotated tag", model.GitRef{Tag: "v1.2.0"}, "v1.2.0@sha1:" + second},
		{"tag wins over branch", model.GitRef{Tag: "v1.0.0", Branch: "main"}, "v1.0.0@sha1:" + first},
		{"semver range", model.GitRef{SemVer: "<1.9"}, "v1.2.0@sha1:" + second},
		{"semver wants three numbers", model.GitRef{SemVer: "<=1.2"}, "v1.2.0@sha1:" + second},
		{"build metadata by commit time", model.GitRef{SemVer: ">=1.9"}, "v1.9.0+new@sha1:" + third},
		{"prerelease on demand", model.GitRef{SemVer: ">=2.0.0-0"}, "v2.0.0-rc.1@sha1:" + second},
		{"name of a branch", model.GitRef{Name: "refs/heads/main"}, "refs/heads/main@sha1:" + second},
		{"name of a tag", model.GitRef{Name: "refs/tags/v1.2.0"}, "refs/tags/v1.2.0@sha1:" + second},
		{"name of a peeled tag", model.GitRef{Name: "refs/tags/v1.2.0^{}"}, "refs/tags/v1.2.0^{}@sha1:" + second},
		{"name of a pull request", model.GitRef{Name: "refs/pull/7/head"}, "refs/pull/7/head@sha1:" + first},
		{"commit alone", model.GitRef{Commit: first}, "sha1:" + first},
		{"commit of a branch", model.GitRef{Commit: first, Branch: "main"}, "main@sha1:" + first},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := gitSource(srv.url, func(s *model.Source) { s.Git.Ref = c.ref })
			if got := mustFetch(t, store, spec, nil).Revision(); got != c.want {
				t.Errorf("revision %s, want %s", got, c.want)
			}
		})
	}
	r.git("checkout", "--quiet", "--detach", first)
	hidden := r.commit("a.yaml", "4")
	for _, c := range []struct {
		name string
		ref  model.GitRef
		want string
	}{
		{"missing branch", model.GitRef{Branch: "nope"}, "couldn't find remote ref 'refs/heads/nope'"},
		{"missing tag", model.GitRef{Tag: "nope"}, "couldn't find remote ref 'refs/tags/nope'"},
		{"missing name", model.GitRef{Name: "refs/x"}, "unable to resolve ref 'refs/x' to a specific commit"},
		{"bad range", model.GitRef{SemVer: "x.y.z.q"}, "semver parse error"},
		{"empty range", model.GitRef{SemVer: ">=7"}, "no match found for semver: >=7"},
		{"commit of no branch", model.GitRef{Commit: hidden}, "object not found"},
		{"commit outside the branch", model.GitRef{Commit: third, Branch: "main"}, "object not found"},
		{"abbreviated commit", model.GitRef{Commit: first[:8]}, "full commit hash"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fresh := openStore(t, t.TempDir(), Limits{})
			spec := gitSource(srv.url, func(s *model.Source) { s.Git.Ref = c.ref })
			_, err := fresh.Fetch(context.Background(), spec, nil, nil)
			mustFail(t, err, "GitOperationFailed", c.want)
		})
	}
}

func TestACommitThatIsNoTipIsProvenByHistory(t *testing.T) {
	r := newRepository(t)
	first := r.commit("a.yaml", "1", "old.yaml", "gone later")
	r.git("rm", "--quiet", "old.yaml")
	r.commit("a.yaml", "2")
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	tree := mustFetch(t, store, gitSource(srv.url, func(s *model.Source) { s.Git.Ref = model.GitRef{Commit: first} }), nil)
	if read(t, tree, "old.yaml") != "gone later" || read(t, tree, "a.yaml") != "1" {
		t.Error("wrong content")
	}
	m := store.mirrors[onlyKey(t, store)]
	if got := len(m.log.commits(10)); got != 1 {
		t.Errorf("%d commits were kept: only the one that is asked for belongs there", got)
	}
}

func TestEmptyRepository(t *testing.T) {
	r := newRepository(t)
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	_, err := store.Fetch(context.Background(), gitSource(srv.url), nil, nil)
	mustFail(t, err, "EmptyGitRepository", "git repository is empty")
}
