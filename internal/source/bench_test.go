package source

import (
	"context"
	"fmt"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// manyFiles commits 500 applications of six files each.
func manyFiles(b *testing.B) *repository {
	b.Helper()
	r := newRepository(b)
	var files []string
	for app := range 500 {
		for file := range 6 {
			files = append(files, appFile(app, file), appContent(app, file, 0))
		}
	}
	r.commit(files...)
	return r
}

func appFile(app, file int) string { return fmt.Sprintf("apps/app-%03d/file-%d.yaml", app, file) }

func appContent(app, file, version int) string {
	var s strings.Builder
	_, _ = fmt.Fprintf(&s, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app-%d-%d\ndata:\n", app, file)
	for i := range 40 {
		_, _ = fmt.Fprintf(&s, "  key-%d: value %d of version %d\n", i, i*app, version)
	}
	return s.String()
}

// BenchmarkOneFileCommit is the time from Fetch to the Tree of a commit that
// touches one of 3,000 files, over git http-backend on loopback.
func BenchmarkOneFileCommit(b *testing.B) {
	git, err := exec.LookPath("git")
	if err != nil {
		b.Fatal(err)
	}
	r := manyFiles(b)
	h := httptest.NewServer(&cgi.Handler{
		Path: git, Args: []string{"http-backend"},
		Env: []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=" + os.DevNull},
	})
	defer h.Close()
	store := openStore(b, b.TempDir(), Limits{})
	spec := gitSource(h.URL + "/.git")
	tree := mustFetch(b, store, spec, nil)
	version := 0
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		version++
		r.commit(appFile(version%500, 3), appContent(version%500, 3, version))
		b.StartTimer()
		next := mustFetch(b, store, spec, tree)
		if next == tree {
			b.Fatal("the commit was not seen")
		}
		tree = next
	}
	for _, m := range store.mirrors {
		b.ReportMetric(float64(m.log.bytes())/1e6, "log-MB")
	}
}

// BenchmarkNothingMoved is a look that finds what is known.
func BenchmarkNothingMoved(b *testing.B) {
	r := manyFiles(b)
	srv := serve(b, r.dir)
	store := openStore(b, b.TempDir(), Limits{})
	tree := mustFetch(b, store, gitSource(srv.url), nil)
	for b.Loop() {
		mustFetch(b, store, gitSource(srv.url), tree)
	}
}

// BenchmarkColdBuild makes the nodes of 3,000 files from the object log.
func BenchmarkColdBuild(b *testing.B) {
	r := manyFiles(b)
	srv := serve(b, r.dir)
	store := openStore(b, b.TempDir(), Limits{})
	spec := gitSource(srv.url)
	tree := mustFetch(b, store, spec, nil)
	for b.Loop() {
		if _, err := store.Recall(context.Background(), spec, nil, tree.Revision()); err != nil {
			b.Fatal(err)
		}
	}
}

// twoTrees differ in one of 3,000 files.
func twoTrees(b *testing.B) (before, after *Tree) {
	b.Helper()
	r := manyFiles(b)
	srv := serve(b, r.dir)
	store := openStore(b, b.TempDir(), Limits{})
	before = mustFetch(b, store, gitSource(srv.url), nil)
	r.commit(appFile(77, 3), "changed: true\n")
	return before, mustFetch(b, store, gitSource(srv.url), before)
}

func BenchmarkChanges(b *testing.B) {
	before, after := twoTrees(b)
	b.ReportAllocs()
	for b.Loop() {
		if changes, ok := after.Changes(before); !ok || len(changes) != 1 {
			b.Fatal(changes)
		}
	}
}

func BenchmarkReadFile(b *testing.B) {
	_, tree := twoTrees(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tree.Read(appFile(12, 4)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkArchiveOneFileCommit rebuilds the archive when one of 3,000 files
// changed; BenchmarkArchiveCold builds it from nothing.
func BenchmarkArchiveOneFileCommit(b *testing.B) {
	before, after := twoTrees(b)
	trees := []*Tree{after, before}
	if _, err := before.Archive(context.Background()); err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		b.StopTimer()
		dropArchive(b, trees[i%2])
		b.StartTimer()
		if _, err := trees[i%2].Archive(context.Background()); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkArchiveCold(b *testing.B) {
	tree, _ := twoTrees(b)
	for b.Loop() {
		b.StopTimer()
		dropArchive(b, tree)
		b.StartTimer()
		if _, err := tree.Archive(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// dropArchive forgets the archive of one tree, not those of others.
func dropArchive(b *testing.B, t *Tree) {
	b.Helper()
	a := t.store.archives
	s := a.of(t.source)
	for i, m := range s.last {
		if m.Tree == t.Digest() {
			if err := m.remove(a.dir + "/" + s.dir); err != nil {
				b.Fatal(err)
			}
			s.last = append(s.last[:i:i], s.last[i+1:]...)
			return
		}
	}
}

// manyEntries is an archive of 3,000 files.
func manyEntries() []string {
	var pairs []string
	for app := range 500 {
		for file := range 6 {
			pairs = append(pairs, appFile(app, file), appContent(app, file, 0))
		}
	}
	return pairs
}

// BenchmarkImportArchive is the time from Fetch to the Tree of a layer of 3,000
// files that nobody has seen.
func BenchmarkImportArchive(b *testing.B) {
	o := newOffline()
	o.layers["v1"] = archived(b, files(manyEntries()...)...)
	b.SetBytes(int64(len(o.layers["v1"])))
	for b.Loop() {
		b.StopTimer()
		store := o.openWith(b, b.TempDir(), Limits{})
		b.StartTimer()
		mustFetch(b, store, ociSource("v1"), nil)
	}
}

// BenchmarkImportOneFileChanged is the same for a layer of which one file is
// new.
func BenchmarkImportOneFileChanged(b *testing.B) {
	o := newOffline()
	pairs := manyEntries()
	store := o.openWith(b, b.TempDir(), Limits{})
	var tree *Tree
	version := 0
	for b.Loop() {
		b.StopTimer()
		version++
		pairs[1] = appContent(0, 0, version)
		o.layers["v1"] = archived(b, files(pairs...)...)
		b.StartTimer()
		tree = mustFetch(b, store, ociSource("v1"), tree)
	}
	b.ReportMetric(float64(store.content.log.bytes())/1e6, "log-MB")
}

// BenchmarkThousandSourcesOfOneChart fetches one chart for a thousand sources
// into an empty store: one download and one import.
func BenchmarkThousandSourcesOfOneChart(b *testing.B) {
	o := newOffline()
	var more []string
	for i := range 60 {
		more = append(more, fmt.Sprintf("templates/t%d.yaml", i), appContent(i, 1, 1))
	}
	o.publish(b, "web", "1.0.0", more...)
	for b.Loop() {
		b.StopTimer()
		store := o.openWith(b, b.TempDir(), Limits{})
		o.pulls.Store(0)
		trees := make([]*Tree, 1000)
		b.StartTimer()
		for i := range trees {
			spec := chartSource("web", "1.0.0")
			spec.ID.Name = fmt.Sprintf("web-%d", i)
			trees[i] = mustFetch(b, store, spec, nil)
		}
		if o.pulls.Load() != 1 || trees[999].root != trees[0].root {
			b.Fatal("the chart was not shared")
		}
	}
}
