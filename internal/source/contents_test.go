package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func TestLayerBecomesATree(t *testing.T) {
	o := newOffline()
	o.layers["v1"] = archived(t,
		entry{name: "./", typ: tar.TypeDir}, entry{name: "./app/", typ: tar.TypeDir}, entry{name: "./app/a.yaml", content: "a: 1\n"},
		entry{name: "./empty/", typ: tar.TypeDir}, entry{name: "run.sh", content: "#!", mode: 0o755}, entry{name: "logo.png", content: "x"},
		entry{name: "link", typ: tar.TypeSymlink, link: "/etc/passwd"}, entry{name: ".git/config", content: "x"},
	)
	store := o.openWith(t, t.TempDir(), Limits{})
	first := mustFetch(t, store, ociSource("v1"), nil)
	if got, want := listing(t, first), "d app\nf app/a.yaml\nd empty\nx run.sh\n"; got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	if read(t, first, "app/a.yaml") != "a: 1\n" || !strings.HasPrefix(first.Revision(), "v1@sha256:") || first.Metadata()["org.opencontainers.image.source"] == "" {
		t.Errorf("%s %v", first.Revision(), first.Metadata())
	}
	if again := mustFetch(t, store, ociSource("v1"), first); again != first {
		t.Error("nothing moved, and there is a new tree")
	}
	o.layers["v1"] = archived(t, files("app/a.yaml", "a: 2\n", "run.sh", "#!")...)
	second := mustFetch(t, store, ociSource("v1"), first)
	changes, ok := second.Changes(first)
	want := []model.PathChange{{Path: "", Kind: model.PathListed}, {Path: "app/a.yaml", Kind: model.PathChanged}, {Path: "empty", Kind: model.PathRemoved}, {Path: "run.sh", Kind: model.PathChanged}}
	if !ok || !equal(changes, want) {
		t.Errorf("changes %v", changes)
	}
	if n := o.pulls.Load(); n != 2 {
		t.Errorf("%d pulls", n)
	}
}

func TestIgnoreRulesOfALayer(t *testing.T) {
	o := newOffline()
	o.layers["v1"] = archived(t, files("a.yaml", "1", "docs/b.md", "2", ".sourceignore", "docs/\n")...)
	store := o.openWith(t, t.TempDir(), Limits{})
	spec := ociSource("v1")
	if got, want := listing(t, mustFetch(t, store, spec, nil)), "f .sourceignore\nf a.yaml\n"; got != want {
		t.Errorf("listing\n%s", got)
	}
	ignore := "!docs/\na.yaml\n"
	spec.Ignore = &ignore
	if got, want := listing(t, mustFetch(t, store, spec, nil)), "f .sourceignore\nd docs\nf docs/b.md\n"; got != want {
		t.Errorf("listing\n%s", got)
	}
	if n := o.pulls.Load(); n != 1 {
		t.Errorf("one layer was pulled %d times", n)
	}
}

func TestCopiedLayer(t *testing.T) {
	o := newOffline()
	o.layers["v1"] = archived(t, chartFiles("web", "1.0.0")...)
	o.layers["raw"] = []byte("no archive at all, but long enough to look at: " + strings.Repeat("x", 600))
	store := o.openWith(t, t.TempDir(), Limits{})
	for tag, want := range map[string]string{
		"v1":  "d web\nf web/Chart.yaml\nd web/templates\nf web/templates/cm.yaml\nf web/values.yaml\n",
		"raw": "f " + hexOf(digestOf(o.layers["raw"])) + ".tgz\n",
	} {
		spec := ociSource(tag)
		spec.OCI.Layer = &model.OCILayer{Copy: true}
		tree := mustFetch(t, store, spec, nil)
		if got := listing(t, tree); got != want {
			t.Errorf("listing\n%swant\n%s", got, want)
		}
		served := download(t, store, mustArchive(t, tree).Path)
		if !bytes.Equal(served, o.layers[tag]) {
			t.Errorf("%s: the served file is not the layer", tag)
		}
	}
}

func mustArchive(t testing.TB, tree *Tree) model.Artifact {
	t.Helper()
	artifact, err := tree.Archive(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return artifact
}

// download gets a file from the store's server.
func download(t testing.TB, store *Store, path string) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	store.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+path, http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d", path, w.Code)
	}
	return w.Body.Bytes()
}

func TestBucket(t *testing.T) {
	o := newOffline()
	o.objects = map[string]string{
		"apps/a.yaml": "a", "apps/b.yaml": "b", "docs/x.md": "x", "logo.png": "p", ".sourceignore": "*.md\n", "folder/": "", ".git/config": "x",
		"../../up.yaml": "u",
	}
	store := o.openWith(t, t.TempDir(), Limits{})
	spec := model.Source{ID: named("Bucket", "configs"), Bucket: &model.BucketSource{Name: "configs", Endpoint: "s3.example"}}
	first := mustFetch(t, store, spec, nil)
	if got, want := listing(t, first), "d apps\nf apps/a.yaml\nf apps/b.yaml\nf logo.png\nf up.yaml\n"; got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	// sha256 over the sorted lines "key etag", as source-controller's index.Digester.
	lines := "../../up.yaml 7b774effe4a349c6dd82ad4f4f21d34c\napps/a.yaml 0cc175b9c0f1b6a831c399e269772661\napps/b.yaml 92eb5ffee6ae2fec3ad71c777531578f\nlogo.png 83878c91171338902e0fe0fb97a8c47a\n"
	if first.Revision() != digestOf([]byte(lines)) {
		t.Errorf("revision %s", first.Revision())
	}
	if name := mustArchive(t, first).Path; name != "bucket/apps/configs/"+hexOf(first.Revision())+".tar.gz" {
		t.Errorf("path %s", name)
	}
	o.gets.Store(0)
	o.objects["apps/b.yaml"] = "changed"
	second := mustFetch(t, store, spec, first)
	if n := o.gets.Load(); n != 2 {
		t.Errorf("%d objects were fetched, where one changed and one says what is ignored", n)
	}
	if read(t, second, "apps/b.yaml") != "changed" || read(t, second, "apps/a.yaml") != "a" {
		t.Error("wrong content")
	}
	o.objects["apps"] = "a file where a directory stands"
	_, err := store.Fetch(context.Background(), spec, nil, second)
	mustFail(t, err, "BucketOperationFailed", "\"apps\" is a file, and a directory too")
}

func TestIndex(t *testing.T) {
	o := newOffline()
	o.index = "apiVersion: v1\nentries: {}\n"
	store := o.openWith(t, t.TempDir(), Limits{})
	spec := model.Source{ID: named("HelmRepository", "charts"), Index: &model.IndexSource{URL: "https://charts.example"}}
	tree := mustFetch(t, store, spec, nil)
	if read(t, tree, "index.yaml") != o.index || tree.Revision() != digestOf([]byte(o.index)) {
		t.Errorf("revision %s", tree.Revision())
	}
	artifact := mustArchive(t, tree)
	if artifact.Path != "helmrepository/apps/charts/index-"+hexOf(tree.Revision())+".yaml" || artifact.Digest != tree.Revision() {
		t.Errorf("artifact %+v", artifact)
	}
	if got := download(t, store, "helmrepository/apps/charts/index.yaml"); string(got) != o.index {
		t.Errorf("served %q", got)
	}
	spec.Index.OCI = true
	spec.ID.Name = "registry"
	if tree := mustFetch(t, store, spec, nil); tree.Files() != 0 || o.looks.Load() != 1 {
		t.Error("a registry has no index to look at")
	}
}

func TestChart(t *testing.T) {
	o := newOffline()
	o.publish(t, "web", "1.2.3", "values-prod.yaml", "image:\n  tag: new\n", "templates/values.yaml", "x: 1\n")
	store := o.openWith(t, t.TempDir(), Limits{})
	tree := mustFetch(t, store, chartSource("web", "*"), nil)
	if tree.Revision() != "1.2.3" || tree.Chart().AppVersion != "9" || tree.Chart().Digest != tree.Digest() {
		t.Errorf("%s %+v", tree.Revision(), tree.Chart())
	}
	if got, want := listing(t, tree), "f Chart.yaml\nd templates\nf templates/cm.yaml\nf templates/values.yaml\nf values-prod.yaml\nf values.yaml\n"; got != want {
		t.Errorf("listing\n%s", got)
	}
	artifact := mustArchive(t, tree)
	if artifact.Path != "helmchart/apps/web/web-1.2.3.tgz" {
		t.Errorf("path %s", artifact.Path)
	}
	if got := names(t, download(t, store, "helmchart/apps/web/latest.tar.gz")); !strings.Contains(got, "web/Chart.yaml web/templates/ web/templates/cm.yaml") {
		t.Errorf("archive holds %s", got)
	}

	merged := chartSource("web", "1.2.3")
	merged.Chart.ValuesFiles = []string{"values.yaml", "values-prod.yaml"}
	tree = mustFetch(t, store, merged, tree)
	if got, want := read(t, tree, "values.yaml"), "image:\n  name: app\n  tag: new\nreplicas: 1\n"; got != want {
		t.Errorf("values\n%s", got)
	}
	if tree.Revision() != "1.2.3+3" || !strings.Contains(read(t, tree, "Chart.yaml"), "version: 1.2.3+3\n") || tree.Chart().Version != "1.2.3+3" {
		t.Errorf("version %s", tree.Revision())
	}
	merged.Chart.ValuesFiles = []string{"values.yaml", "nope.yaml", "templates/values.yaml"}
	_, err := store.Fetch(context.Background(), merged, nil, nil)
	mustFail(t, err, "ValuesFilesError", "no values file found at path 'nope.yaml'")
	merged.Chart.IgnoreMissingValueFiles = true
	if tree = mustFetch(t, store, merged, nil); fmt.Sprint(tree.Observed().ValuesFiles) != "[values.yaml]" {
		t.Errorf("observed %v", tree.Observed().ValuesFiles)
	}
	if n := o.pulls.Load(); n != 1 {
		t.Errorf("one package was downloaded %d times", n)
	}

	_, err = store.Fetch(context.Background(), chartSource("Web", ""), nil, nil)
	mustFail(t, err, "InvalidChartReference", "invalid chart name 'Web'")
	_, err = store.Fetch(context.Background(), chartSource("absent", ""), nil, nil)
	mustFail(t, err, "InvalidChartReference", "no such chart")
	o.charts["bad 1"] = archived(t, files("bad/values.yaml", "")...)
	_, err = store.Fetch(context.Background(), chartSource("bad", "1"), nil, nil)
	mustFail(t, err, "ChartPullError", "no 'Chart.yaml' found")
}

// names lists what is in a tar.gz.
func names(t testing.TB, content []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(all, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		if h.Typeflag == tar.TypeDir && !strings.HasSuffix(name, "/") {
			name += "/"
		}
		all = append(all, name)
	}
}

func TestChartOfAnIndexThatPointsToARegistry(t *testing.T) {
	o := newOffline()
	o.publish(t, "web", "1.0.0")
	store := o.openWith(t, t.TempDir(), Limits{})
	spec := chartSource("web", "")
	spec.Chart.Repository = "https://elsewhere.example"
	if tree := mustFetch(t, store, spec, nil); tree.Revision() != "1.0.0" || o.looks.Load() != 2 {
		t.Errorf("%s after %d looks", tree.Revision(), o.looks.Load())
	}
}

func TestManySourcesOfOneChart(t *testing.T) {
	o := newOffline()
	o.publish(t, "web", "1.0.0")
	o.hold = make(chan struct{})
	store := o.openWith(t, t.TempDir(), Limits{})
	const sources = 200
	trees := make([]*Tree, sources)
	var wg sync.WaitGroup
	for i := range sources {
		wg.Go(func() {
			spec := chartSource("web", "1.0.0")
			spec.ID.Name = fmt.Sprintf("web-%d", i)
			tree, err := store.Fetch(context.Background(), spec, nil, nil)
			if err != nil {
				t.Error(err)
			}
			trees[i] = tree
		})
	}
	waitFor(t, func() bool {
		store.charts.mu.Lock()
		defer store.charts.mu.Unlock()
		for _, one := range store.charts.all {
			return one.users == sources
		}
		return false
	})
	close(o.hold)
	wg.Wait()
	if looks, pulls := o.looks.Load(), o.pulls.Load(); looks > 2 || pulls != 1 {
		t.Errorf("%d looks and %d downloads", looks, pulls)
	}
	for _, tree := range trees {
		if tree.root != trees[0].root {
			t.Fatal("the same chart is in memory twice")
		}
	}
	if len(store.charts.all)+len(store.loads.all) != 0 {
		t.Error("questions that nobody asks are kept")
	}
}

func TestCredentialsDoNotShareContent(t *testing.T) {
	o := newOffline()
	o.layers["v1"] = archived(t, files("a", "1")...)
	store := o.openWith(t, t.TempDir(), Limits{})
	mustFetch(t, store, ociSource("v1"), nil)
	other := ociSource("v1")
	other.OCI.Auth.Username = "somebody"
	mustFetch(t, store, other, nil)
	if n := o.pulls.Load(); n != 2 {
		t.Errorf("%d pulls: a digest alone must not open what another credential fetched", n)
	}
}

func TestRecallAfterARestart(t *testing.T) {
	o := newOffline()
	o.layers["v1"] = archived(t, files("a.yaml", "1")...)
	o.objects = map[string]string{"a": "1", "b": "2"}
	o.index = "entries: {}\n"
	o.publish(t, "web", "1.0.0", "prod.yaml", "replicas: 3\n")
	merged := chartSource("web", "*")
	merged.Chart.ValuesFiles = []string{"values.yaml", "prod.yaml"}
	copied := ociSource("v1")
	copied.ID.Name, copied.OCI.Layer = "copied", &model.OCILayer{Copy: true}
	specs := []model.Source{
		ociSource("v1"), copied, merged,
		{ID: named("Bucket", "b"), Bucket: &model.BucketSource{Name: "b"}},
		{ID: named("HelmRepository", "r"), Index: &model.IndexSource{URL: "https://charts.example"}},
	}
	dir := t.TempDir()
	store := o.openWith(t, dir, Limits{})
	var before []*Tree
	for _, spec := range specs {
		before = append(before, mustFetch(t, store, spec, nil))
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	o.fail(errors.New("out of reach"))
	again := o.openWith(t, dir, Limits{})
	for i, spec := range specs {
		tree, err := again.Recall(context.Background(), spec, nil, before[i].Revision())
		if err != nil {
			t.Fatalf("%s: %v", spec.ID, err)
		}
		if tree.Digest() != before[i].Digest() || tree.Revision() != before[i].Revision() {
			t.Errorf("%s: another tree", spec.ID)
		}
		if got, want := mustArchive(t, tree), mustArchive(t, before[i]); got.Digest != want.Digest || got.Path != want.Path {
			t.Errorf("%s: another archive", spec.ID)
		}
		if _, err := again.Recall(context.Background(), spec, nil, "2.0.0"); err == nil || !strings.Contains(err.Error(), "revision 2.0.0 is not at hand") {
			t.Errorf("%s: %v", spec.ID, err)
		}
		if _, err := again.Fetch(context.Background(), spec, nil, nil); err == nil || !strings.Contains(err.Error(), "out of reach") {
			t.Errorf("%s: %v", spec.ID, err)
		}
	}
	o.fail(nil)
	pulls, gets := o.pulls.Load(), o.gets.Load()
	for _, spec := range specs {
		mustFetch(t, again, spec, nil)
	}
	if o.pulls.Load() != pulls || o.gets.Load() != gets {
		t.Error("what is at hand was fetched again")
	}
}

func TestRewrittenLogKeepsWhatIsUsed(t *testing.T) {
	o := newOffline()
	o.layers["v1"] = archived(t, files("a.yaml", "1", "dir/b.yaml", "2")...)
	o.publish(t, "web", "1.0.0")
	dir := t.TempDir()
	store := o.openWith(t, dir, Limits{})
	copied := ociSource("v1")
	copied.OCI.Layer = &model.OCILayer{Copy: true}
	kept := mustFetch(t, store, copied, nil)
	dropped := mustFetch(t, store, chartSource("web", "1.0.0"), nil)
	if err := store.Forget(chartSource("web", "").ID); err != nil {
		t.Fatal(err)
	}
	d := store.content
	if err := d.lock(context.Background()); err != nil {
		t.Fatal(err)
	}
	long := d.log.bytes()
	if err := d.compact(); err != nil {
		t.Fatal(err)
	}
	if short := d.log.bytes(); short >= long {
		t.Errorf("%d bytes became %d", long, short)
	}
	d.unlock()
	if read(t, dropped, "Chart.yaml") == "" || read(t, kept, "dir/b.yaml") != "2" {
		t.Error("trees outlive the log they came from")
	}
	again, err := store.Recall(context.Background(), copied, nil, kept.Revision())
	if err != nil {
		t.Fatal(err)
	}
	if read(t, again, "dir/b.yaml") != "2" || mustArchive(t, again).Size != int64(len(o.layers["v1"])) {
		t.Error("wrong content")
	}
	if pulls := o.pulls.Load(); mustFetch(t, store, chartSource("web", "1.0.0"), nil).Digest() != dropped.Digest() || o.pulls.Load() != pulls+1 {
		t.Error("what nobody used is fetched again")
	}
}

func TestDamagedContentIsFetchedAgain(t *testing.T) {
	o := newOffline()
	o.layers["v1"] = archived(t, files("a.yaml", "some content")...)
	store := o.openWith(t, t.TempDir(), Limits{})
	tree := mustFetch(t, store, ociSource("v1"), nil)
	h := tree.root.entries[0].hash
	p, _ := store.content.log.place(h)
	if _, err := store.content.log.file.WriteAt([]byte("X"), p.offset); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Read("a.yaml"); err == nil {
		t.Fatal("damage is not seen")
	}
	if again := mustFetch(t, store, ociSource("v1"), tree); read(t, again, "a.yaml") != "some content" {
		t.Error("wrong content")
	}
}

func TestExternal(t *testing.T) {
	content := archived(t, files("a.yaml", "1", "x.png", "2", ".sourceignore", "*")...)
	var requests int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.URL.Path != "/a.tar.gz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	defer srv.Close()
	store := newOffline().openWith(t, t.TempDir(), Limits{})
	spec := func(path, digest string) model.Source {
		return model.Source{ID: named("ExternalArtifact", "x"), External: &model.ExternalSource{URL: srv.URL + path, Digest: digest, Revision: "v1"}}
	}
	tree := mustFetch(t, store, spec("/a.tar.gz", digestOf(content)), nil)
	if got, want := listing(t, tree), "f .sourceignore\nf a.yaml\nf x.png\n"; got != want || tree.Revision() != "v1" {
		t.Errorf("%s listing\n%s", tree.Revision(), got)
	}
	mustFetch(t, store, spec("/a.tar.gz", digestOf(content)), nil)
	if requests != 1 {
		t.Errorf("%d requests", requests)
	}
	for _, c := range []struct{ path, digest, want string }{
		{"/a.tar.gz", digestOf([]byte("other")), "instead of"},
		{"/none", digestOf([]byte("none")), "404"},
		{"/a.tar.gz", "md5:00", "no digest that can be checked"},
		{"/a.tar.gz", "", "no digest that can be checked"},
	} {
		_, err := store.Fetch(context.Background(), spec(c.path, c.digest), nil, nil)
		mustFail(t, err, "SourceFetchFailed", c.want)
	}
	_, err := store.Fetch(context.Background(), model.Source{External: &model.ExternalSource{URL: "file:///etc/passwd", Digest: digestOf(nil)}}, nil, nil)
	mustFail(t, err, "SourceFetchFailed", "no URL of scheme http or https")
}

// gitTree is the tree of a repository with the given files.
func gitTree(t testing.TB, store *Store, pairs ...string) *Tree {
	t.Helper()
	r := newRepository(t)
	r.commit(pairs...)
	ignore := "# nothing"
	return mustFetch(t, store, gitSource(serve(t, r.dir).url, func(s *model.Source) { s.Ignore = &ignore }), nil)
}

func TestGenerated(t *testing.T) {
	store := newOffline().openWith(t, t.TempDir(), Limits{})
	packed := string(archived(t, files("in.yaml", "packed", "sub/deep.yaml", "packed")...))
	repo := gitTree(t, store,
		"deploy/a.yaml", "a", "deploy/sub/b.yaml", "b", "deploy/readme.md", "m", "top.yaml", "k: 1\nm:\n  x: 1\n  l: [1, 2]\n---\nz: 2\n",
		"over.yaml", "m:\n  x: 9\n  l: [3]\n", "pack/one.tgz", packed, "pack/more/two.TAR.GZ", packed, "img.png", "p")
	other := gitTree(t, store, "deploy/a.yaml", "from other", "only.yaml", "o")
	ids := map[string]object.ID{"repo": named("GitRepository", "repo"), "other": named("GitRepository", "other")}
	included := map[object.ID]*Tree{ids["repo"]: repo, ids["other"]: other}
	spec := func(rules ...model.CopyRule) model.Source {
		return model.Source{ID: named("ExternalArtifact", "made"), Generated: &model.GeneratedSource{
			Name: "made", OriginRevision: "@repo", Copy: rules,
			From: []model.GeneratedInput{{Alias: "repo", Source: ids["repo"]}, {Alias: "other", Source: ids["other"]}},
		}}
	}
	rule := func(from, to, strategy string, exclude ...string) model.CopyRule {
		return model.CopyRule{From: from, To: to, Strategy: strategy, Exclude: exclude}
	}
	for _, c := range []struct {
		name  string
		rules []model.CopyRule
		want  string
	}{
		{"a directory under its name", []model.CopyRule{rule("@repo/deploy/", "@artifact/", "")}, "deploy deploy/a.yaml deploy/readme.md deploy/sub deploy/sub/b.yaml"},
		{"what is in a directory", []model.CopyRule{rule("@repo/deploy/**", "@artifact/x/", "", "*.md")}, "x x/a.yaml x/sub x/sub/b.yaml"},
		{"files by pattern keep their path", []model.CopyRule{rule("@repo/deploy/*.yaml", "@artifact/", "")}, "deploy deploy/a.yaml"},
		{"a file to a name", []model.CopyRule{rule("@repo/deploy/a.yaml", "@artifact/b.yaml", "")}, "b.yaml"},
		{"a file into a directory", []model.CopyRule{rule("@repo/deploy/a.yaml", "@artifact/d/", "")}, "d d/a.yaml"},
		{"a file to a directory that is there", []model.CopyRule{rule("@repo/deploy/sub/**", "@artifact/d/", ""), rule("@repo/top.yaml", "@artifact/d", "")}, "d d/b.yaml d/top.yaml"},
		{"everything, without what is never packed", []model.CopyRule{rule("@repo/", "@artifact/", "", "deploy", "pack")}, "over.yaml top.yaml"},
		{"excludes below the literal part", []model.CopyRule{rule("@repo/deploy/**", "@artifact/", "", "sub/**")}, "a.yaml readme.md"},
		{"an archive", []model.CopyRule{rule("@repo/pack/one.tgz", "@artifact/x", "Extract")}, "x x/in.yaml x/sub x/sub/deep.yaml"},
		{"archives at any depth", []model.CopyRule{rule("@repo/pack/**/*.[tT]*", "@artifact/x", "Extract", "more/**")}, "x x/in.yaml x/sub x/sub/deep.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, err := store.Fetch(context.Background(), spec(c.rules...), included, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(listing(t, tree)) {
				got = append(got, strings.TrimSpace(line[2:]))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " "), c.want)
			}
			if tree.Revision() != "latest@"+tree.Digest() || tree.Metadata()["org.opencontainers.image.revision"] != repo.Revision() {
				t.Errorf("%s %v", tree.Revision(), tree.Metadata())
			}
			if again, err := store.Recall(context.Background(), spec(c.rules...), included, tree.Revision()); err != nil || again.Digest() != tree.Digest() {
				t.Errorf("recall: %v", err)
			}
		})
	}
	merged, err := store.Fetch(context.Background(), spec(rule("@repo/top.yaml", "@artifact/v.yaml", ""), rule("@repo/over.yaml", "@artifact/v.yaml", "Merge")), included, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, merged, "v.yaml"), "k: 1\nm:\n  l:\n  - 3\n  x: 9\nz: 2\n"; got != want {
		t.Errorf("merged\n%s", got)
	}
	later, err := store.Fetch(context.Background(), spec(rule("@repo/deploy/", "@artifact/", ""), rule("@other/deploy/", "@artifact/", "")), included, nil)
	if err != nil || read(t, later, "deploy/a.yaml") != "from other" || read(t, later, "deploy/readme.md") != "m" {
		t.Errorf("later rules win: %v", err)
	}
	for _, c := range []struct {
		rule model.CopyRule
		want string
	}{
		{rule("@repo/nope", "@artifact/", ""), "source 'nope' does not exist"},
		{rule("@repo/../x", "@artifact/", ""), "escapes"},
		{rule("@repo/top.yaml", "@artifact/../../x", ""), "escapes"},
		{rule("@repo/*.nope", "@artifact/", ""), "no files match pattern '*.nope' in source 'repo'"},
		{rule("@repo/*.yaml", "@artifact/", "", "*.yaml"), "were excluded"},
		{rule("@nobody/x", "@artifact/", ""), "source alias 'nobody' not found"},
		{rule("repo/x", "@artifact/", ""), "invalid copy source"},
		{rule("@repo/x", "artifact/", ""), "invalid copy destination"},
		{rule("@repo/deploy", "@artifact/", "Extract"), "not supported for directories"},
		{rule("@repo/top.yaml", "@artifact/", "Extract"), "requires tarball file"},
		{rule("@repo/top.yaml", "@artifact/", "", "["), "invalid exclude pattern"},
	} {
		_, err := store.Fetch(context.Background(), spec(c.rule), included, nil)
		mustFail(t, err, "BuildFailed", "made build failed: failed to apply copy operations", c.want)
	}
	_, err = store.Fetch(context.Background(), spec(), map[object.ID]*Tree{ids["repo"]: repo}, nil)
	mustFail(t, err, "SourceFetchFailed", "is not ready")
}
