package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// corpusEnv names a directory with checkouts of repositories of charts that
// are compared too.
const corpusEnv = "PLUMB_HELM_CORPUS"

// Every chart of testdata, and of the corpus where there is one, comes to what
// Helm's own packages make of it, text by text, with its default values and
// with each file of values in its directory ci.
func TestEqualsHelm(t *testing.T) {
	log.SetOutput(&bytes.Buffer{})
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	compareAll(t, "testdata")
	if corpus := os.Getenv(corpusEnv); corpus != "" {
		compareAll(t, corpus)
	}
}

// comparison counts what became of the charts of a directory.
type comparison struct {
	t       *testing.T
	charts  map[string][]string // name → directories
	same    int
	failed  map[string]int // alike, by the message
	fixed   template.FuncMap
	differ  []string
	objects int
}

func compareAll(t *testing.T, root string) {
	c := &comparison{t: t, fixed: fixed(t), charts: map[string][]string{}, failed: map[string]int{}}
	var dirs []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == "Chart.yaml" {
			dir := filepath.Dir(p)
			c.charts[filepath.Base(dir)] = append(c.charts[filepath.Base(dir)], dir)
			if filepath.Base(filepath.Dir(dir)) != "charts" || !isFile(filepath.Join(dir, "..", "..", "Chart.yaml")) {
				dirs = append(dirs, dir)
			}
		}
		return nil
	})
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no charts in %s: %v", root, err)
	}
	for _, dir := range dirs {
		c.compare(dir)
	}
	total := c.same + len(c.differ)
	t.Logf("%s: %d charts, %d renders: %d equal (%.2f%%) with %d documents, %d differ; %d fail in both: %v",
		root, len(dirs), total, c.same, 100*float64(c.same)/float64(max(total, 1)), c.objects, len(c.differ), sum(c.failed), c.failed)
	for _, d := range c.differ {
		t.Error(d)
	}
}

func sum(m map[string]int) (total int) {
	for _, n := range m {
		total += n
	}
	return total
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

func (c *comparison) compare(dir string) {
	valueFiles, _ := filepath.Glob(filepath.Join(dir, "ci", "*.yaml"))
	for _, file := range append([]string{""}, valueFiles...) {
		values := map[string]any{}
		if file != "" {
			text, err := os.ReadFile(file)
			if err != nil {
				c.t.Fatal(err)
			}
			if values, err = loader.LoadValues(bytes.NewReader(text)); err != nil {
				continue
			}
		}
		c.one(dir, strings.TrimPrefix(file, dir), values)
	}
}

func (c *comparison) one(dir, with string, values map[string]any) {
	where := dir + " " + with
	want, wantErr := c.byHelm(dir, values)
	got, gotErr := c.byUs(dir, values)
	switch {
	case wantErr != nil && gotErr != nil:
		c.failed[kindOf(wantErr)]++
	case wantErr != nil || gotErr != nil:
		c.differ = append(c.differ, fmt.Sprintf("%s: helm has the error %v, this package %v", where, wantErr, gotErr))
	default:
		if diff := difference(want.files, got.files); diff == "" && slices.Equal(want.sorted, got.sorted) {
			c.same++
			c.objects += len(got.sorted)
		} else {
			c.differ = append(c.differ, where+": "+diff)
		}
	}
}

func kindOf(err error) string {
	text := err.Error()
	for _, known := range []string{"missing in charts", "execution error", "nil pointer", "kubeVersion", "YAML parse", "schema", "library"} {
		if strings.Contains(text, known) {
			return known
		}
	}
	return firstLine(text)
}

func difference(want, got map[string]string) string {
	for _, name := range sortedKeys(want) {
		if text, ok := got[name]; !ok {
			return name + " is missing"
		} else if text != want[name] {
			return fmt.Sprintf("%s: got\n%s\nwant\n%s", name, around(text, want[name]), around(want[name], text))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			return name + " is too much"
		}
	}
	return ""
}

// around is where a text begins to differ from another.
func around(text, other string) string {
	at := 0
	for at < len(text) && at < len(other) && text[at] == other[at] {
		at++
	}
	return text[max(0, at-80):min(len(text), at+80)]
}

type outcome struct {
	files  map[string]string
	sorted []string // kinds and texts, in order
	pinned bool
}

var errMissing = errors.New("found in Chart.yaml, but missing in charts/ directory")

func (c *comparison) byHelm(dir string, values map[string]any) (o outcome, err error) {
	chart, err := loader.LoadDir(dir)
	if err != nil {
		return o, err
	}
	if err := c.completeHelm(chart, 0); err != nil {
		return o, err
	}
	if want := chart.Metadata.KubeVersion; want != "" && !util.IsCompatibleRange(want, kubeVersion(c.t).Version) {
		return o, errors.New("kubeVersion")
	}
	if err := util.ProcessDependencies(chart, copyTable(values)); err != nil {
		return o, err
	}
	caps := common.DefaultCapabilities.Copy()
	caps.KubeVersion = kubeVersion(c.t)
	top, err := commonutil.ToRenderValuesWithSchemaValidation(chart, values, common.ReleaseOptions{Name: "demo", Namespace: "here", Revision: 1, IsInstall: true}, caps, true)
	if err != nil {
		return o, err
	}
	o.files, err = engine.Engine{CustomTemplateFuncs: c.fixed}.RenderWithContext(context.Background(), chart, top)
	if err != nil {
		return o, err
	}
	for name := range o.files {
		if strings.HasSuffix(name, notesFile) {
			delete(o.files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(o.files, nil, releaseutil.InstallOrder)
	if err != nil {
		return o, err
	}
	for _, crd := range chart.CRDObjects() {
		o.sorted = append(o.sorted, crd.Filename+"\n"+string(crd.File.Data))
	}
	for _, m := range manifests {
		o.sorted = append(o.sorted, m.Name+"\n"+m.Content)
	}
	for _, h := range hooks {
		o.sorted = append(o.sorted, h.Path+"\n"+h.Manifest)
	}
	return o, nil
}

// completeHelm adds what is missing in charts/, as long as the corpus has it.
func (c *comparison) completeHelm(chart *v2.Chart, depth int) error {
	for _, sub := range chart.Dependencies() {
		if err := c.completeHelm(sub, depth+1); err != nil {
			return err
		}
	}
	for _, d := range chart.Metadata.Dependencies {
		if slices.ContainsFunc(chart.Dependencies(), func(sub *v2.Chart) bool { return sub.Name() == d.Name }) {
			continue
		}
		from, ok := c.dependency(d)
		if !ok || depth > mostArchives {
			return errMissing
		}
		sub, err := loader.LoadDir(from)
		if err != nil {
			return err
		}
		if err := c.completeHelm(sub, depth+1); err != nil {
			return err
		}
		chart.AddDependency(sub)
	}
	return nil
}

// complete is completeHelm for our charts.
func (c *comparison) complete(chart *Chart, depth int) (*Chart, error) {
	var added []*Chart
	for _, d := range chart.Missing() {
		if slices.ContainsFunc(added, func(sub *Chart) bool { return sub.Metadata.Name == d.Name }) {
			continue
		}
		from, ok := c.dependency(d)
		if !ok || depth > mostArchives {
			return nil, errMissing
		}
		sub, err := Load(filesOf(c.t, from))
		if err != nil {
			return nil, err
		}
		if sub, err = c.complete(sub, depth+1); err != nil {
			return nil, err
		}
		added = append(added, sub)
	}
	below := make([]*Chart, len(chart.Charts))
	for i, sub := range chart.Charts {
		var err error
		if below[i], err = c.complete(sub, depth+1); err != nil {
			return nil, err
		}
	}
	return chart.With(slices.Concat(below, added)...), nil
}

// fixed are functions of clock and randomness that always have the same
// result, so that charts with them can be compared too.
func fixed(t *testing.T) template.FuncMap {
	was := maps.Clone(known.funcs)
	t.Cleanup(func() { known.funcs = was })
	funcs := template.FuncMap{}
	for _, name := range unsteady {
		f := reflect.ValueOf(known.funcs[name])
		first := map[string][]reflect.Value{}
		funcs[name] = reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
			var key strings.Builder
			for i := range args {
				if args[i].Kind() == reflect.Int { // other arguments may be certificates
					fmt.Fprintf(&key, "%d,", args[i].Int())
				}
			}
			if _, ok := first[key.String()]; !ok {
				first[key.String()] = f.Call(args)
			}
			return first[key.String()]
		}).Interface()
	}
	maps.Copy(known.funcs, funcs)
	return funcs
}

func kubeVersion(t testing.TB) common.KubeVersion {
	version, err := common.ParseKubeVersion("v1.34.1")
	if err != nil {
		t.Fatal(err)
	}
	return *version
}

// dependency finds a chart of the corpus by the name of a dependency, which
// then asks for the version that is there.
func (c *comparison) dependency(d *v2.Dependency) (string, bool) {
	for _, dir := range c.charts[d.Name] {
		if sub, err := loader.LoadDir(dir); err == nil && sub.Name() == d.Name {
			d.Version = sub.Metadata.Version
			return dir, true
		}
	}
	return "", false
}

func (c *comparison) byUs(dir string, values map[string]any) (o outcome, err error) {
	chart, err := Load(filesOf(c.t, dir))
	if err != nil {
		return o, err
	}
	if chart, err = c.complete(chart, 0); err != nil {
		return o, err
	}
	result, err := chart.Render(context.Background(), Options{
		Values: values, Release: Release{Name: "demo", Namespace: "here"}, SkipSchema: true,
		Target: Target{
			KubeVersion: kubeVersion(c.t),
			HasAPI:      func(api string) (bool, error) { return common.DefaultVersionSet.Has(api), nil },
			APIs:        func() ([]string, error) { return common.DefaultVersionSet, nil },
		},
	})
	if err != nil {
		return o, err
	}
	manifests, hooks, err := Sort(result.Files, result.File)
	if err != nil {
		return o, err
	}
	o.files, o.pinned = result.Files, result.Pinned
	for _, d := range slices.Concat(result.CRDs, manifests, hooks) {
		o.sorted = append(o.sorted, d.Template+"\n"+d.Text)
	}
	return o, nil
}

// filesOf reads the files of a chart's directory that are not ignored.
func filesOf(t testing.TB, dir string) []File {
	t.Helper()
	rules, err := os.ReadFile(filepath.Join(dir, IgnoreFile))
	if err != nil {
		rules = nil
	}
	ignored, err := Ignore(rules)
	if err != nil {
		t.Fatal(err)
	}
	var files []File
	var walk func(below string)
	walk = func(below string) {
		entries, err := os.ReadDir(filepath.Join(dir, below))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			name := path.Join(below, entry.Name())
			info, err := os.Stat(filepath.Join(dir, name))
			switch {
			case err != nil || ignored(name, info.IsDir()):
			case info.IsDir():
				walk(name)
			default:
				text, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, File{Name: name, Data: bytes.TrimPrefix(text, byteOrderMark)})
			}
		}
	}
	walk("")
	return files
}
