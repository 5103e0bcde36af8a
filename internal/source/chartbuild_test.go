package source

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// chartOf describes a chart at a path of a Git repository.
func chartOf(path string, change ...func(*model.Source)) model.Source {
	spec := model.Source{
		ID: named("HelmChart", "app"), UID: "1", Generation: 2,
		Chart: &model.ChartSource{From: named("GitRepository", "shop"), Name: path},
	}
	for _, c := range change {
		c(&spec)
	}
	return spec
}

func from(tree *Tree) map[object.ID]*Tree {
	return map[object.ID]*Tree{named("GitRepository", "shop"): tree}
}

const appChart = "apiVersion: v2\nname: app\nversion: 0.1.0\n"

func TestChartOfADirectory(t *testing.T) {
	store := newOffline().openWith(t, t.TempDir(), Limits{})
	r := newRepository(t)
	r.commit("charts/app/Chart.yaml", appChart, "charts/app/values.yaml", "a: 1\nb: {c: 2}\n", "charts/app/templates/x.yaml", "x", "charts/app/templates/.swp", "x",
		"charts/app/.helmignore", "*.bak\n/docs/\n", "charts/app/old.bak", "x", "charts/app/docs/x.md", "x", "prod.yaml", "b: {c: 3}\n", "other.yaml", "x")
	spec := gitSource(serve(t, r.dir).url)
	first := mustFetch(t, store, spec, nil)
	chart, err := store.Fetch(context.Background(), chartOf("./charts/app"), from(first), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := listing(t, chart), "f .helmignore\nf Chart.yaml\nd templates\nf templates/x.yaml\nf values.yaml\n"; got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	if chart.Revision() != "0.1.0" || chart.Chart().Name != "app" {
		t.Errorf("%s %+v", chart.Revision(), chart.Chart())
	}
	if got := mustArchive(t, chart).Path; got != "helmchart/apps/app/app-0.1.0.tgz" {
		t.Errorf("path %s", got)
	}

	r.commit("charts/app/templates/x.yaml", "changed", "prod.yaml", "b: {c: 4}\n")
	second := mustFetch(t, store, spec, first)
	same, err := store.Fetch(context.Background(), chartOf("./charts/app"), from(second), chart)
	if err != nil || read(t, same, "templates/x.yaml") != "x" {
		t.Errorf("the same version is the same chart: %v", err)
	}
	restarted := chartOf("./charts/app", func(s *model.Source) { s.Last = &model.Artifact{Revision: "0.1.0"} })
	if same, err = store.Fetch(context.Background(), restarted, from(second), nil); err != nil || read(t, same, "templates/x.yaml") != "x" {
		t.Errorf("the same version is the same chart after a restart: %v", err)
	}
	other := chartOf("charts/app", func(s *model.Source) {
		s.UID = "2"
		s.Chart.ByRevision = true
		s.Chart.ValuesFiles = []string{"charts/app/values.yaml", "../prod.yaml"}
	})
	byRevision, err := store.Fetch(context.Background(), other, from(second), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "0.1.0+" + second.Commit().Hash[:12] + ".2"; byRevision.Revision() != want || !strings.Contains(read(t, byRevision, "Chart.yaml"), "version: "+want+"\n") {
		t.Errorf("version %s", byRevision.Revision())
	}
	if read(t, byRevision, "values.yaml") != "a: 1\nb:\n  c: 4\n" || read(t, byRevision, "templates/x.yaml") != "changed" {
		t.Errorf("values %s", read(t, byRevision, "values.yaml"))
	}

	_, err = store.Fetch(context.Background(), chartOf("nope"), from(second), nil)
	mustFail(t, err, "InvalidChartReference", "no chart found at path 'nope'")
	_, err = store.Fetch(context.Background(), chartOf("charts"), from(second), nil)
	mustFail(t, err, "InvalidChartReference", "no 'Chart.yaml' found")
	_, err = store.Fetch(context.Background(), chartOf("x"), nil, nil)
	mustFail(t, err, "NoSourceArtifact", "no artifact available for GitRepository source 'shop'")
	if !faultOf(t, err).Waiting {
		t.Error("it waits for another source")
	}
}

func TestDependenciesOfAChart(t *testing.T) {
	o := newOffline()
	o.publish(t, "redis", "7.1.0")
	o.publish(t, "common", "2.0.0")
	store := o.openWith(t, t.TempDir(), Limits{})
	declared := appChart + `dependencies:
- {name: redis, version: 7.1.0, repository: https://charts.example/stable, alias: cache}
- {name: common, version: 2.0.0, repository: "@shared"}
- {name: library, version: ">=1", repository: "file://../library"}
- {name: packed, version: 1.0.0, repository: ""}
- {name: held, version: 1.0.0, repository: https://charts.example/stable}
`
	tree := gitTree(t, store,
		"charts/app/Chart.yaml", declared, "charts/app/values.yaml", "", "charts/app/charts/held/Chart.yaml", "apiVersion: v2\nname: held\nversion: 1.0.0\n",
		"charts/app/charts/packed-1.0.0.tgz", string(archived(t, chartFiles("packed", "1.0.0")...)),
		"charts/library/Chart.yaml", "apiVersion: v2\nname: library\nversion: 1.5.0\ntype: library\n", "charts/library/.helmignore", "secret*\n", "charts/library/secret.txt", "x")
	spec := chartOf("charts/app", func(s *model.Source) {
		s.Chart.Dependencies = []model.ChartPlace{{URL: "https://other.example/charts", Alias: "shared", Auth: model.HTTPAuth{Username: "u"}}}
	})
	chart, err := store.Fetch(context.Background(), spec, from(tree), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "cache cache/Chart.yaml cache/templates cache/templates/cm.yaml cache/values.yaml common common/Chart.yaml common/templates common/templates/cm.yaml common/values.yaml " +
		"held held/Chart.yaml library library/.helmignore library/Chart.yaml packed-1.0.0.tgz"
	var got []string
	for line := range strings.Lines(listing(t, chart)) {
		if below, ok := strings.CutPrefix(strings.TrimSpace(line[2:]), "charts/"); ok {
			got = append(got, below)
		}
	}
	if strings.Join(got, " ") != want {
		t.Errorf("charts\n%s\nwant\n%s", strings.Join(got, " "), want)
	}
	if !strings.Contains(read(t, chart, "charts/cache/Chart.yaml"), "name: cache\n") {
		t.Error("a chart with an alias has its name")
	}
	for _, c := range []struct{ dependency, want string }{
		{"{name: absent, version: 1.0.0, repository: https://charts.example}", "failed to add remote dependency 'absent': failed to get chart 'absent' version '1.0.0' from 'https://charts.example': no such chart"},
		{"{name: absent, version: 1.0.0, repository: \"@nobody\"}", "no repository of the alias 'nobody'"},
		{"{name: absent, version: 1.0.0, repository: ftp://x.example}", "unsupported scheme"},
		{"{name: library, version: \"<1\", repository: file://../library}", "can't get a valid version for constraint '<1'"},
		{"{name: absent, version: 1.0.0, repository: file://../../../../etc}", "no chart found at '/etc'"},
	} {
		broken := gitTree(t, store, "charts/app/Chart.yaml", appChart+"dependencies:\n- "+c.dependency+"\n", "charts/library/Chart.yaml", "apiVersion: v2\nname: library\nversion: 1.5.0\n")
		_, err := store.Fetch(context.Background(), chartOf("charts/app"), from(broken), nil)
		mustFail(t, err, "DependencyBuildError", "dependency build error: failed to add", c.want)
	}
	locked := gitTree(t, store, "app/Chart.yaml", appChart+"dependencies:\n- {name: redis, version: \"*\", repository: https://charts.example}\n",
		"app/Chart.lock", "dependencies:\n- {name: redis, version: 7.1.0, repository: https://charts.example}\n")
	o.publish(t, "redis", "8.0.0")
	if chart, err = store.Fetch(context.Background(), chartOf("app"), from(locked), nil); err != nil || !strings.Contains(read(t, chart, "charts/redis/Chart.yaml"), "version: 7.1.0\n") {
		t.Errorf("the lock file decides: %v", err)
	}
}

func TestPackageInATree(t *testing.T) {
	store := newOffline().openWith(t, t.TempDir(), Limits{})
	tree := gitTree(t, store, "dist/web-1.0.0.tgz", string(archived(t, chartFiles("web", "1.0.0")...)), "prod.yaml", "replicas: 5\n")
	chart, err := store.Fetch(context.Background(), chartOf("dist/web-1.0.0.tgz"), from(tree), nil)
	if err != nil || chart.Revision() != "1.0.0" || read(t, chart, "templates/cm.yaml") == "" {
		t.Fatalf("%v", err)
	}
	merged := chartOf("dist/web-1.0.0.tgz", func(s *model.Source) { s.Chart.ValuesFiles = []string{"prod.yaml"} })
	if chart, err = store.Fetch(context.Background(), merged, from(tree), nil); err != nil || chart.Revision() != "1.0.0+2" || read(t, chart, "values.yaml") != "replicas: 5\n" {
		t.Errorf("%v", err)
	}
}

// The file that is served for a chart is one that Helm loads.
func TestHelmReadsTheServedChart(t *testing.T) {
	o := newOffline()
	o.publish(t, "web", "1.0.0", "templates/ok.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ok}\n", "templates/cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\n")
	store := o.openWith(t, t.TempDir(), Limits{})
	tree := mustFetch(t, store, chartSource("web", ""), nil)
	served := download(t, store, mustArchive(t, tree).Path)
	chart, err := loader.LoadArchive(bytes.NewReader(served))
	if err != nil || chart.Name() != "web" || len(chart.Templates) != 2 {
		t.Errorf("%v %v", chart, err)
	}
}
