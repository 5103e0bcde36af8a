package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func TestIgnoreRules(t *testing.T) {
	everything := []string{
		".github/ci.yaml", "x", ".gitignore", "*.tmp\n", "app/a.yaml", "x", "app/logo.png", "x", "app/deep/b.yaml", "x",
		"docs/readme.md", "x", "vendor.zip", "x", "app/.sops.yaml", "x",
	}
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		name   string
		files  []string
		ignore *string
		want   string
	}{
		{"defaults", nil, nil, "d app\nf app/a.yaml\nd app/deep\nf app/deep/b.yaml\nd docs\nf docs/readme.md\n"},
		{
			"spec.ignore replaces all but the version control's", nil, text("docs/\n# comment\n\n"),
			"d .github\nf .github/ci.yaml\nd app\nf app/.sops.yaml\nf app/a.yaml\nd app/deep\nf app/deep/b.yaml\nf app/logo.png\nf vendor.zip\n",
		},
		{
			"an empty spec.ignore changes nothing", nil, text(""),
			"d app\nf app/a.yaml\nd app/deep\nf app/deep/b.yaml\nd docs\nf docs/readme.md\n",
		},
		{"all but one directory", nil, text("/*\n!/app/deep/\n"), "d app\nd app/deep\nf app/deep/b.yaml\n"},
		{
			"a .sourceignore file works below itself and switches defaults off everywhere",
			[]string{"app/.sourceignore", "a.yaml\n/deep/*.yaml\n"}, text("/.github\nvendor.*\n"),
			"d app\nf app/.sops.yaml\nf app/.sourceignore\nd app/deep\nf app/logo.png\nd docs\nf docs/readme.md\n",
		},
		{
			"spec.ignore wins over .sourceignore",
			[]string{".sourceignore", "/app\n"}, text("!/app/a.yaml\n/.github\ndocs\n*.zip\n"),
			"f .sourceignore\nd app\nf app/a.yaml\n",
		},
		{
			"a .sourceignore in an excluded directory counts",
			[]string{"docs/.sourceignore", "!readme.md\n"}, text("/.github\n*.zip\n/app\ndocs/img\n"),
			"d docs\nf docs/.sourceignore\nf docs/readme.md\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRepository(t)
			r.commit(append(append([]string{}, everything...), c.files...)...)
			srv := serve(t, r.dir)
			store := openStore(t, t.TempDir(), Limits{})
			spec := gitSource(srv.url, func(s *model.Source) { s.Ignore = c.ignore })
			first := mustFetch(t, store, spec, nil)
			if got := listing(t, first); got != c.want {
				t.Fatalf("listing\n%swant\n%s", got, c.want)
			}
			// A build that takes over nodes must end at the same tree.
			r.commit("docs/new.md", "x")
			next := mustFetch(t, store, spec, first)
			if fresh := mustFetch(t, openStore(t, t.TempDir(), Limits{}), spec, nil); fresh.Digest() != next.Digest() {
				t.Errorf("taken over\n%sbuilt anew\n%s", listing(t, next), listing(t, fresh))
			}
		})
	}
}

func TestIgnoreFileThatAppearsSwitchesDefaultsOff(t *testing.T) {
	r := newRepository(t)
	r.commit("a/x.png", "x", "b/y.yaml", "x")
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	first := mustFetch(t, store, gitSource(srv.url), nil)
	r.commit("b/.sourceignore", "nothing\n")
	second := mustFetch(t, store, gitSource(srv.url), first)
	if got, want := listing(t, second), "d a\nf a/x.png\nd b\nf b/.sourceignore\nf b/y.yaml\n"; got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	r.git("rm", "--quiet", "b/.sourceignore")
	r.commit()
	if third := mustFetch(t, store, gitSource(srv.url), second); third.Digest() != first.Digest() {
		t.Errorf("listing\n%s", listing(t, third))
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		isDir, want   bool
	}{
		{"a", "a", false, true},
		{"a", "x/a", false, true},
		{"a", "a/b", false, true},
		{"a/", "a", false, false},
		{"a/", "a", true, true},
		{"a/", "a/b", false, true},
		{"/a", "x/a", false, false},
		{"/a", "a", false, true},
		{"a/b", "x/a/b", false, false},
		{"a/*", "a/b/c", false, true},
		{"**/b", "x/y/b", false, true},
		{"**/b", "b", false, true},
		{"a/**", "a/b", false, true},
		{"a/**/d", "a/b/c/d", false, true},
		{"a/**/d", "a/d", false, true},
		{"a/**/d", "a/b/c", false, false},
		{"a**b/c", "axb/c", false, false},
		{"*.yaml", "x/a.yaml", false, true},
		{"[", "[", false, false},
		{"a ", "a", false, true},
	} {
		p := parsePattern(c.pattern, nil)
		if got := p.matches(strings.Split(c.path, "/"), c.isDir); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.path, got)
		}
	}
}

func TestSparse(t *testing.T) {
	r := newRepository(t)
	r.commit("apps/a/x.yaml", "x", "apps/b/y.yaml", "x", "infra/z.yaml", "x", "root.yaml", "x")
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	sparse := func(paths ...string) model.Source {
		return gitSource(srv.url, func(s *model.Source) { s.Git.SparsePaths = paths })
	}
	first := mustFetch(t, store, sparse("./apps/a", "infra"), nil)
	if got, want := listing(t, first), "d apps\nd apps/a\nf apps/a/x.yaml\nd infra\nf infra/z.yaml\n"; got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	r.commit("apps/b/y.yaml", "changed")
	second := mustFetch(t, store, sparse("./apps/a", "infra"), first)
	if changes, ok := second.Changes(first); !ok || len(changes) != 0 || second == first {
		t.Errorf("a commit outside changes %v", changes)
	}
	_, err := store.Fetch(context.Background(), sparse("nope"), nil, nil)
	mustFail(t, err, "GitOperationFailed", "sparse checkout dir 'nope' does not exist")
}

func TestIncludes(t *testing.T) {
	library := newRepository(t)
	library.commit("charts/one.yaml", "1", "charts/sub/two.yaml", "2", "other.yaml", "x")
	app := newRepository(t)
	app.commit("app.yaml", "x")
	from, to := serve(t, library.dir), serve(t, app.dir)
	store := openStore(t, t.TempDir(), Limits{})
	libraryID := object.ID{Kind: "GitRepository", Namespace: "apps", Name: "library"}
	fetchLibrary := func(last *Tree) *Tree {
		return mustFetch(t, store, gitSource(from.url, func(s *model.Source) { s.ID = libraryID }), last)
	}
	include := func(from, to string) model.Source {
		return gitSource("", func(s *model.Source) { s.Include = []model.Include{{Source: libraryID, From: from, To: to}} })
	}
	fetch := func(spec model.Source, tree, last *Tree) (*Tree, error) {
		spec.Git.URL = to.url
		return store.Fetch(context.Background(), spec, map[object.ID]*Tree{libraryID: tree}, last)
	}
	lib := fetchLibrary(nil)
	tree, err := fetch(include("charts", "vendor/charts"), lib, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "f app.yaml\nd vendor\nd vendor/charts\nf vendor/charts/one.yaml\nd vendor/charts/sub\nf vendor/charts/sub/two.yaml\n"
	if got := listing(t, tree); got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	if read(t, tree, "vendor/charts/sub/two.yaml") != "2" {
		t.Error("wrong content")
	}
	library.commit("charts/sub/two.yaml", "changed")
	next, err := fetch(include("charts", "vendor/charts"), fetchLibrary(lib), tree)
	if err != nil {
		t.Fatal(err)
	}
	changes, ok := next.Changes(tree)
	if !ok || !equal(changes, []model.PathChange{{Path: "vendor/charts/sub/two.yaml", Kind: model.PathChanged}}) {
		t.Errorf("changes %v", changes)
	}
	if whole, err := fetch(include("", ""), lib, nil); err != nil || !strings.Contains(listing(t, whole), "f library/other.yaml\n") {
		t.Errorf("the whole tree under its name: %v", err)
	}
	_, err = fetch(include("", "app.yaml"), lib, nil)
	mustFail(t, err, "CopyFailure", "exists")
	_, err = fetch(include("nope", "x"), lib, nil)
	mustFail(t, err, "CopyFailure", "no such directory")
	_, err = fetch(include("", ".."), lib, nil)
	mustFail(t, err, "IllegalPath")
	_, err = fetch(include("", "x"), nil, nil)
	mustFail(t, err, "NoArtifact", "no artifact available for include 'library'")
	if !faultOf(t, err).Waiting {
		t.Error("it waits for another source")
	}
	_, err = store.Fetch(context.Background(), include("", "x"), nil, nil)
	mustFail(t, err, "NotFound", "include 'library'")
}

func TestSubmodules(t *testing.T) {
	inner := newRepository(t)
	inner.commit("inner.yaml", "1")
	middle := newRepository(t)
	mux := http.NewServeMux()
	h := httptest.NewServer(mux)
	t.Cleanup(h.Close)
	counts := map[string]*server{}
	mount := func(name string, r *repository) {
		counts[name] = &server{}
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, counts[name].handler(t, r.dir)))
	}
	mount("inner", inner)
	mount("middle", middle)
	middle.git("submodule", "--quiet", "add", h.URL+"/inner", "nested/inner")
	middle.commit("middle.yaml", "1")
	outer := newRepository(t)
	mount("outer", outer)
	outer.git("submodule", "--quiet", "add", "--name", "lib", h.URL+"/middle", "lib")
	outer.write(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = ../middle\n[submodule \"gone\"]\n\tpath = gone\n\turl = ../gone\n")
	outer.commit("outer.yaml", "1")

	store := openStore(t, t.TempDir(), Limits{})
	plain := mustFetch(t, store, gitSource(h.URL+"/outer"), nil)
	if got, want := listing(t, plain), "s lib\nf outer.yaml\n"; got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	if entries, err := plain.List("lib"); err != nil || len(entries) != 0 {
		t.Errorf("a submodule that is not entered is an empty directory: %v %v", entries, err)
	}
	recurse := gitSource(h.URL+"/outer", func(s *model.Source) { s.Git.RecurseSubmodules = true })
	tree := mustFetch(t, store, recurse, nil)
	want := "d lib\nf lib/middle.yaml\nd lib/nested\nd lib/nested/inner\nf lib/nested/inner/inner.yaml\nf outer.yaml\n"
	if got := listing(t, tree); got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	if read(t, tree, "lib/nested/inner/inner.yaml") != "1" {
		t.Error("wrong content")
	}
	looks := counts["inner"].looks.Load()
	outer.commit("outer.yaml", "2")
	next := mustFetch(t, store, recurse, tree)
	if changes, ok := next.Changes(tree); !ok || len(changes) != 1 || changes[0].Path != "outer.yaml" {
		t.Errorf("changes %v", changes)
	}
	if counts["inner"].looks.Load() != looks {
		t.Error("a submodule commit that is at hand was looked for")
	}
	shallow := openStore(t, t.TempDir(), Limits{Nesting: 1})
	_, err := shallow.Fetch(context.Background(), recurse, nil, nil)
	mustFail(t, err, "GitOperationFailed", "submodules are nested deeper than 1")
	few := openStore(t, t.TempDir(), Limits{Submodules: 1})
	_, err = few.Fetch(context.Background(), recurse, nil, nil)
	mustFail(t, err, "GitOperationFailed", "more than 1 submodules")
}

func TestSubmoduleAddresses(t *testing.T) {
	for _, c := range []struct{ parent, declared, want string }{
		{"https://host/group/repo", "../lib", "https://host/group/lib"},
		{"https://host/group/repo/", "../../lib.git", "https://host/lib.git"},
		{"https://host/group/repo", "../../../../lib", "https://host/lib"},
		{"ssh://host/repo", "git@other:group/lib.git", "ssh://git@other/group/lib.git"},
		{"https://host/repo", "https://other/lib", "https://other/lib"},
	} {
		r, fault := newRemote(c.parent, model.GitAuth{})
		if fault != nil {
			t.Fatal(fault)
		}
		u, err := submoduleURL(r.url, c.declared)
		if err != nil || u.String() != c.want {
			t.Errorf("%s in %s: %v %v", c.declared, c.parent, u, err)
		}
	}
	r, _ := newRemote("https://user:pass@host/repo", model.GitAuth{})
	same, _ := submoduleURL(r.url, "../lib")
	other, _ := submoduleURL(r.url, "https://elsewhere/lib")
	if a := r.authFor(same); a.Username != "user" || string(a.Password.Reveal()) != "pass" {
		t.Error("the same host must see the credentials")
	}
	if a := r.authFor(other); a.Username != "" || !a.Password.IsZero() {
		t.Error("another host must not see the credentials")
	}
}

// untar lists an archive: type, mode, name, size.
func untar(t *testing.T, archive []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	in := tar.NewReader(z)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s carries something of this machine: %+v", h.Name, h)
		}
		fmt.Fprintf(&b, "%c %o %s %s\n", h.Typeflag, h.Mode, h.Name, content)
	}
}

func TestArchive(t *testing.T) {
	r := newRepository(t)
	r.write("run.sh", "sh")
	if err := os.Chmod(r.dir+"/run.sh", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run.sh", r.dir+"/link"); err != nil {
		t.Fatal(err)
	}
	hash := r.commit("app/a.yaml", "A", "app.txt", "T")
	srv := serve(t, r.dir)
	dir := t.TempDir()
	store := openStore(t, dir, Limits{})
	tree := mustFetch(t, store, gitSource(srv.url), nil)
	artifact, err := tree.Archive(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	wantPath := "gitrepository/apps/shop/" + hash + ".tar.gz"
	if artifact.Path != wantPath || artifact.URL != "http://source.example/"+wantPath || artifact.Revision != tree.Revision() {
		t.Errorf("artifact %+v", artifact)
	}
	h := httptest.NewServer(store.Handler())
	defer h.Close()
	get := func(path string) (int, []byte) {
		response, err := http.Get(h.URL + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, body
	}
	_, body := get(artifact.Path)
	sum := sha256.Sum256(body)
	if artifact.Digest != "sha256:"+hex.EncodeToString(sum[:]) || artifact.Size != int64(len(body)) {
		t.Error("digest or size do not fit what is served")
	}
	want := "5 750 . \n5 750 app \n0 600 app/a.yaml A\n0 600 app.txt T\n0 700 run.sh sh\n"
	if got := untar(t, body); got != want {
		t.Errorf("archive\n%swant\n%s", got, want)
	}
	if _, latest := get("gitrepository/apps/shop/latest.tar.gz"); !bytes.Equal(latest, body) {
		t.Error("latest is another archive")
	}
	for _, p := range []string{"gitrepository/apps/shop/", "gitrepository/apps/shop/" + hash + ".tar.gz.json", "gitrepository/apps/other/latest.tar.gz", "gitrepository/../mirrors/x/latest.tar.gz", ""} {
		if code, _ := get(p); code != http.StatusNotFound {
			t.Errorf("%s answers %d", p, code)
		}
	}

	// The same bytes and the same time after a restart; the same bytes when
	// everything is lost.
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	again := openStore(t, dir, Limits{})
	second, err := mustFetch(t, again, gitSource(srv.url), nil).Archive(context.Background())
	if err != nil || second.Digest != artifact.Digest || !second.Updated.Equal(artifact.Updated) {
		t.Errorf("after a restart %+v, %v", second, err)
	}
	lost := openStore(t, t.TempDir(), Limits{})
	third, err := mustFetch(t, lost, gitSource(srv.url), nil).Archive(context.Background())
	if err != nil || third.Digest != artifact.Digest {
		t.Errorf("after a loss %+v, %v", third, err)
	}
	if err := again.Forget(gitSource("").ID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + "/archives/gitrepository/apps/shop"); !os.IsNotExist(err) {
		t.Errorf("the archives of a forgotten source are still there: %v", err)
	}
}

func TestArchivesTakeOverWhatDidNotChange(t *testing.T) {
	r := newRepository(t)
	var files []string
	for i := range 60 {
		files = append(files, fmt.Sprintf("apps/%02d/a.yaml", i), strings.Repeat(fmt.Sprint(i), 50), fmt.Sprintf("apps/%02d/b.yaml", i), "b")
	}
	r.commit(files...)
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	var last *Tree
	for i, change := range []string{"one", "two", "three", "four"} {
		tree := mustFetch(t, store, gitSource(srv.url), last)
		artifact, err := tree.Archive(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		fresh := openStore(t, t.TempDir(), Limits{})
		same, err := mustFetch(t, fresh, gitSource(srv.url), nil).Archive(context.Background())
		if err != nil || same.Digest != artifact.Digest {
			t.Errorf("spliced and built anew differ: %v", err)
		}
		if i == 2 {
			// Damage to what would be taken over must not spread.
			s := store.archives.of(tree.source)
			path := store.archives.dir + "/" + s.dir + "/" + s.last[len(s.last)-1].File
			if err := os.WriteFile(path, []byte("damage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		last = tree
		r.commit("apps/07/a.yaml", change)
	}
	if left := len(store.archives.of(last.source).last); left != archivesKept {
		t.Errorf("%d archives are kept", left)
	}
}

func TestLogIsRewrittenWhenMostlyGarbage(t *testing.T) {
	r := newRepository(t)
	noise := func(n int) string {
		out := make([]byte, 3<<20)
		if _, err := rand.NewChaCha8([32]byte{byte(n)}).Read(out); err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	r.commit("keep.yaml", "kept", "big.bin", noise(0))
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	tree := mustFetch(t, store, gitSource(srv.url), nil)
	first := tree
	m := store.mirrors[onlyKey(t, store)]
	for i := 1; i < 8; i++ {
		r.commit("big.bin", noise(i))
		tree = mustFetch(t, store, gitSource(srv.url), tree)
	}
	waitFor(t, func() bool {
		if err := m.lock(context.Background()); err != nil {
			t.Fatal(err)
		}
		defer m.unlock()
		return m.log.bytes() < compactFrom
	})
	if read(t, first, "big.bin") != noise(0) || read(t, tree, "big.bin") != noise(7) {
		t.Error("trees from before the rewrite are not readable")
	}
	r.commit("keep.yaml", "changed")
	pulled := srv.sent.Swap(0)
	next := mustFetch(t, store, gitSource(srv.url), tree)
	if read(t, next, "keep.yaml") != "changed" || read(t, next, "big.bin") != noise(7) {
		t.Error("wrong content after the rewrite")
	}
	if now := srv.sent.Load(); now > pulled/100 {
		t.Errorf("%d bytes were fetched again after the rewrite", now)
	}
}

func TestMirrorOfAnOldCredentialIsDropped(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	with := func(password string) model.Source {
		return gitSource(srv.url, func(s *model.Source) {
			s.Git.Auth = model.GitAuth{Username: "u", Password: model.NewSecret([]byte(password))}
		})
	}
	before := mustFetch(t, store, with("one"), nil)
	dir := store.mirrors[onlyKey(t, store)].dir
	after := mustFetch(t, store, with("two"), before)
	if next := store.mirrors[onlyKey(t, store)].dir; next == dir {
		t.Error("two credentials share a mirror")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the old mirror is still there: %v", err)
	}
	if read(t, before, "a.yaml") != "1" || read(t, after, "a.yaml") != "1" {
		t.Error("trees are not readable")
	}
	if err := store.Forget(after.source); err != nil {
		t.Fatal(err)
	}
	if len(store.mirrors) != 0 || read(t, after, "a.yaml") != "1" {
		t.Error("forgetting the source leaves its mirror, or breaks its tree")
	}
}
