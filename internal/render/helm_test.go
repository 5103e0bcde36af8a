package render

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
	"reflect"
	"slices"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// digested is a tree whose directories have digests, as those of sources have.
type digested struct{ memory }

func (d digested) Lookup(p string) (model.Entry, bool, error) {
	entry, found, err := d.memory.Lookup(p)
	if err != nil || !found || entry.Kind != model.DirEntry {
		return entry, found, err
	}
	sum := sha256.New()
	for _, name := range sortedKeys(d.memory) {
		if p == "" || strings.HasPrefix(name, p+"/") {
			_, _ = fmt.Fprintf(sum, "%q %q\n", strings.TrimPrefix(name, p), d.memory[name])
		}
	}
	entry.Digest = hex.EncodeToString(sum.Sum(nil))
	return entry, true, nil
}

// shop is a small chart below a directory, as charts are.
func shop(dir string) memory {
	tree := memory{}
	for name, content := range map[string]string{
		"Chart.yaml":               "apiVersion: v2\nname: shop\nversion: 1.2.3\nappVersion: \"7\"\n",
		"values.yaml":              "replicas: 2\nimage: {repository: registry.example/shop, tag: \"\"}\nservice: {port: 80}\nresources: {limits: {cpu: 100m, memory: 64Mi}}\nlabels: {}\nconfig:\n  log: info\n",
		"templates/_helpers.tpl":   "{{- define \"shop.name\" -}}{{ .Release.Name | trunc 63 | trimSuffix \"-\" }}{{- end }}\n{{- define \"shop.labels\" -}}\napp.kubernetes.io/name: {{ .Chart.Name }}\napp.kubernetes.io/instance: {{ .Release.Name }}\nhelm.sh/chart: {{ printf \"%s-%s\" .Chart.Name .Chart.Version | replace \"+\" \"_\" }}\n{{- with .Values.labels }}\n{{ toYaml . }}\n{{- end }}\n{{- end }}\n",
		"templates/cm.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"shop.name\" . }}\n  labels:\n    {{- include \"shop.labels\" . | nindent 4 }}\ndata:\n  config.yaml: |\n    {{- toYaml .Values.config | nindent 4 }}\n",
		"templates/service.yaml":   "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ include \"shop.name\" . }}\n  labels: {{- include \"shop.labels\" . | nindent 4 }}\nspec:\n  ports:\n  - {port: {{ .Values.service.port }}, name: http}\n  selector: {app.kubernetes.io/instance: {{ .Release.Name }}}\n",
		"templates/deploy.yaml":    "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ include \"shop.name\" . }}\n  labels: {{- include \"shop.labels\" . | nindent 4 }}\nspec:\n  replicas: {{ .Values.replicas }}\n  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}\n  template:\n    metadata: {labels: {app.kubernetes.io/instance: {{ .Release.Name }}}}\n    spec:\n      serviceAccountName: {{ include \"shop.name\" . }}\n      containers:\n      - name: shop\n        image: \"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}\"\n        resources: {{- toYaml .Values.resources | nindent 10 }}\n",
		"templates/sa.yaml":        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: {{ include \"shop.name\" . }}}\n",
		"templates/NOTES.txt":      "Ask {{ include \"shop.name\" . }}.\n",
		"templates/tests/one.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .Release.Name }}-test, annotations: {helm.sh/hook: test}}\nspec: {containers: [{name: a, image: busybox}]}\n",
	} {
		tree[strings.TrimPrefix(dir+"/"+name, "/")] = content
	}
	return tree
}

func helmOf(release, values string) model.Render {
	return model.Render{Kind: model.RenderHelm, Helm: model.HelmOptions{ReleaseName: release, Namespace: "shop", Values: model.NewSecret([]byte(values)), ValuesDigest: values}}
}

func buildHelm(tree Tree, dir string, opts model.Render) (*model.Manifest, error) {
	return Build(context.Background(), Record(context.Background(), tree, Limits{}), dir, opts, model.Origin{}, Limits{})
}

func mustHelm(t testing.TB, tree Tree, dir string, opts model.Render) *model.Manifest {
	t.Helper()
	m, err := buildHelm(tree, dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// freshCharts gives a test a memory of charts of its own.
func freshCharts(t testing.TB, budget int64) {
	was := charts
	charts = newChartMemo(budget)
	t.Cleanup(func() { charts = was })
}

// A thousand releases parse their chart once, and each reads it as one.
func TestChartIsParsedOnce(t *testing.T) {
	freshCharts(t, chartMemory)
	tree := digested{shop("charts/shop")}
	for i := range 1000 {
		m := mustHelm(t, tree, "charts/shop", helmOf(fmt.Sprintf("r%d", i), fmt.Sprintf("replicas: %d", i)))
		if i > 0 {
			continue
		}
		var reads []string
		for _, read := range m.Trace {
			reads = append(reads, readNames[read.Kind]+" "+read.Path)
		}
		if want := []string{"absent .plumb/api/version", "tree charts/shop"}; !slices.Equal(reads, want) {
			t.Errorf("reads %q, want %q", reads, want)
		}
	}
	if charts.parsed != 1 {
		t.Errorf("the chart was parsed %d times", charts.parsed)
	}
	tree.memory["charts/shop/values.yaml"] += "more: 1\n"
	mustHelm(t, tree, "charts/shop", helmOf("r", ""))
	if charts.parsed != 2 {
		t.Errorf("a chart that has changed was parsed %d times", charts.parsed-1)
	}
	root := mustHelm(t, Mounted(digested{shop("")}, []Mount{{At: AtAPI, Tree: Capabilities("v1.30.0", nil)}}), "", helmOf("r", ""))
	if len(root.Trace) != 2 || root.Trace[1].Path != AtAPI+"/version" {
		t.Errorf("a chart at the root reads %v", root.Trace)
	}
}

// A tree with digests of directories renders to what one without does.
func TestDigestsChangeNothing(t *testing.T) {
	for _, links := range []bool{false, true} {
		tree := shop("a")
		if links {
			tree["values.yaml"] = strings.Replace(tree["a/values.yaml"], "2", "9", 1)
			tree["a/values.yaml"] = linkTo + "../values.yaml"
			tree["a/templates/cm.yaml"] = linkTo + "service.yaml"
		}
		opts := helmOf("r", "")
		one, other := mustHelm(t, tree, "a", opts), mustHelm(t, digested{tree}, "a", opts)
		one.Trace, other.Trace = nil, nil
		one.Chart.Digest, other.Chart.Digest = "", ""
		if !reflect.DeepEqual(one, other) {
			t.Errorf("links %v: got\n%+v\nwant\n%+v", links, other, one)
		}
	}
}

// What the memory of charts holds stays within its budget.
func TestChartMemoryIsBounded(t *testing.T) {
	freshCharts(t, 64<<10)
	for i := range 50 {
		tree := digested{shop("a")}
		tree.memory["a/values.yaml"] += fmt.Sprintf("number: %d\n", i)
		mustHelm(t, tree, "a", helmOf("r", ""))
		if charts.used > charts.budget || len(charts.known) != charts.order.Len() {
			t.Fatalf("%d bytes of %d, %d charts of %d", charts.used, charts.budget, len(charts.known), charts.order.Len())
		}
	}
	tree := digested{memory{"a/Chart.yaml": "name: broken\n"}}
	if _, err := buildHelm(tree, "a", helmOf("r", "")); err == nil {
		t.Error("a chart without a version is rendered")
	}
	for key, element := range charts.known {
		if one, _ := element.Value.(*parsedChart); one.err != nil {
			t.Errorf("%s is remembered with %v", key, one.err)
		}
	}
}

// packed is a chart as an archive.
func packed(t testing.TB, tree memory, top string) string {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	files := tar.NewWriter(zipped)
	for _, name := range sortedKeys(tree) {
		err := files.WriteHeader(&tar.Header{Name: top + name, Size: int64(len(tree[name])), Mode: 0o644})
		if err == nil {
			_, err = io.WriteString(files, tree[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(files.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// An archive in charts/ is a chart like a directory.
func TestArchiveOfSubchart(t *testing.T) {
	umbrella := memory{"a/Chart.yaml": "apiVersion: v2\nname: umbrella\nversion: 1.0.0\n", "a/charts/shop-1.2.3.tgz": packed(t, shop(""), "shop/")}
	m := mustHelm(t, umbrella, "a", helmOf("r", "shop: {replicas: 5}"))
	i := slices.IndexFunc(m.Objects, func(r model.Rendered) bool { return r.ID.Kind == "Deployment" })
	if i < 0 || !strings.Contains(string(m.Objects[i].JSON), `"replicas":5`) {
		t.Fatalf("got %v", m.Objects)
	}
	if got := m.Objects[i].Origin.File; got != "a/charts/shop-1.2.3.tgz/templates/deploy.yaml" {
		t.Errorf("asked for in %s", got)
	}
	for what, content := range map[string]string{
		"no archive":     "x",
		"outside":        packed(t, memory{"../../x": "y"}, "shop/"),
		"two charts":     packed(t, memory{"Chart.yaml": "x"}, ""),
		"an empty one":   packed(t, memory{}, ""),
		"a broken chart": packed(t, memory{"Chart.yaml": "a: [\n"}, "shop/"),
	} {
		umbrella["a/charts/shop-1.2.3.tgz"] = content
		_, err := buildHelm(umbrella, "a", helmOf("r", ""))
		var fault *model.Fault
		if !errors.As(err, &fault) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// An archive that unpacks to more than a chart may have is refused while it is
// read.
func TestArchiveBomb(t *testing.T) {
	const size = 200 << 20
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "shop/Chart.yaml", Size: size, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	// Members of gzip that follow each other are one file: packing one is enough.
	member := func(content []byte) string {
		var out bytes.Buffer
		zipped := gzip.NewWriter(&out)
		if _, err := zipped.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := zipped.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	bomb := member(head.Bytes()) + strings.Repeat(member(make([]byte, 1<<20)), size>>20)
	umbrella := memory{"a/Chart.yaml": "apiVersion: v2\nname: umbrella\nversion: 1.0.0\n", "a/charts/shop-1.2.3.tgz": bomb}
	if _, err := buildHelm(umbrella, "a", helmOf("r", "")); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}

// What a chart misses is rendered with once it is mounted.
func TestWantsAreMounted(t *testing.T) {
	tree := digested{memory{
		"a/Chart.yaml": "apiVersion: v2\nname: umbrella\nversion: 1.0.0\ndependencies:\n- {name: shop, version: 1.x.x, repository: \"https://charts.example.com\", alias: front}\n- {name: shop, version: 1.x.x, repository: \"https://charts.example.com\", alias: back}\n",
	}}
	opts := helmOf("r", "front: {replicas: 3}")
	opts.Helm.ValueFiles, opts.Helm.Schemes = []string{"https://example.com/values.yaml"}, []string{"https"}
	_, err := buildHelm(Mounted(tree, nil), "a", opts)
	var missing *MissingError
	if !errors.As(err, &missing) || len(missing.Wants) != 3 || missing.Wants[0].Key != missing.Wants[1].Key {
		t.Fatalf("got %v", err)
	}
	source := object.ID{Kind: "Chart", Name: "shop"}
	mounts := []Mount{
		{At: missing.Wants[0].At, Tree: digested{shop("shop")}, Source: source},
		{At: missing.Wants[2].At, Tree: memory{"download": "back: {replicas: 4}\n"}},
	}
	m := mustHelm(t, Mounted(tree, mounts), "a", opts)
	var replicas []string
	for _, o := range m.Objects {
		if o.ID.Kind == "Deployment" {
			_, after, _ := strings.Cut(string(o.JSON), `"replicas":`)
			replicas = append(replicas, o.Origin.File+" "+after[:1])
		}
	}
	if want := []string{"a/charts/shop/templates/deploy.yaml 4", "a/charts/shop/templates/deploy.yaml 3"}; !slices.Equal(replicas, want) && !slices.Equal(replicas, []string{want[1], want[0]}) {
		t.Errorf("got %q", replicas)
	}
	main := object.ID{Kind: "GitRepository", Name: "main"}
	readings := Split(m.Trace, main, mounts)
	if len(readings) != 2 || readings[0].Source != main || readings[1].Source != source {
		t.Fatalf("got %+v", readings)
	}
	for _, read := range slices.Concat(readings[0].Trace, readings[1].Trace) {
		if strings.HasPrefix(read.Path, reserved) {
			t.Errorf("%s is read of a source", read.Path)
		}
	}
	if holds, err := Holds(Mounted(tree, nil), m.Trace); err != nil || holds {
		t.Errorf("the trace holds without the mounts: %v, %v", holds, err)
	}
	if holds, err := Holds(Mounted(tree, mounts), m.Trace); err != nil || !holds {
		t.Errorf("the trace does not hold: %v", err)
	}
}

// Remote bases and charts of kustomizations are built once they are mounted,
// and a base sees nothing but its own repository.
func TestMountedBase(t *testing.T) {
	tree := memory{
		"a/kustomization.yaml": "namespace: x\nresources: [\"https://github.com/example/base//deploy?ref=v1\"]\nhelmCharts: [{name: shop, repo: \"https://charts.example.com\", releaseName: r}]\n",
		"secret.yaml":          "apiVersion: v1\nkind: Secret\nmetadata: {name: canary}\n",
	}
	opts := model.Render{Kustomize: model.KustomizeOptions{EnableHelm: true, RemoteBases: true}}
	_, err := buildHelm(Mounted(tree, nil), "a", opts)
	var missing *MissingError
	if !errors.As(err, &missing) || len(missing.Wants) != 2 {
		t.Fatalf("got %v", err)
	}
	if got := *missing.Wants[0].Base; got != (WantedBase{URL: "https://github.com/example/base", Ref: "v1", Path: "deploy", Submodules: true}) {
		t.Errorf("wants %+v", got)
	}
	base := memory{
		"deploy/kustomization.yaml": "resources: [../common]\n",
		"common/kustomization.yaml": "resources: [cm.yaml]\n",
		"common/cm.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-base}\n",
	}
	on := Mounted(tree, []Mount{{At: missing.Wants[0].At, Tree: base}, {At: missing.Wants[1].At, Tree: digested{shop("")}}})
	m := mustHelm(t, on, "a", opts)
	if len(m.Objects) != 6 || m.Objects[0].ID.Name != "from-base" || m.Objects[0].ID.Namespace != "x" {
		t.Errorf("got %+v", m.Objects)
	}
	for _, escape := range []string{"resources: [../../../../../secret.yaml]\n", "resources: [../../../../../a]\n", "components: [../../../../../a]\n", "patches: [{path: ../../../../../secret.yaml}]\nresources: [../common]\n"} {
		base["deploy/kustomization.yaml"] = escape
		_, err := buildHelm(on, "a", opts)
		if err == nil || !strings.Contains(err.Error(), "leads out of the source") {
			t.Errorf("%s: got %v", escape, err)
		}
	}
}

// A chart asks the target, and the answers are part of the trace.
func TestLookup(t *testing.T) {
	tree := memory{
		"a/Chart.yaml":       "apiVersion: v2\nname: a\nversion: 1.0.0\n",
		"a/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  one: \"{{ with lookup \"v1\" \"Secret\" \"ns\" \"s\" }}{{ .data.key }}{{ end }}\"\n  none: {{ lookup \"apps/v1\" \"Deployment\" \"ns\" \"gone\" | len | quote }}\n  many: \"{{ with lookup \"v1\" \"Namespace\" \"\" \"\" }}{{ len .items }}{{ end }}\"\n",
	}
	answers := map[Lookup]string{
		{"v1", "Secret", "ns", "s"}: `{"apiVersion":"v1","kind":"Secret","data":{"key":"dmFsdWU="}}`,
		{"v1", "Namespace", "", ""}: `{"items":[{},{}]}`,
	}
	asked := 0
	on := func() Tree {
		return Mounted(tree, []Mount{{At: AtLive, Tree: Live(func(apiVersion, kind, namespace, name string) ([]byte, error) {
			asked++
			if text, ok := answers[Lookup{apiVersion, kind, namespace, name}]; ok {
				return []byte(text), nil
			}
			return nil, nil
		})}})
	}
	opts := helmOf("r", "")
	opts.Helm.Live = true
	m := mustHelm(t, on(), "a", opts)
	for _, want := range []string{`"one":"dmFsdWU="`, `"none":"0"`, `"many":"2"`} {
		if !strings.Contains(string(m.Objects[0].JSON), want) {
			t.Errorf("%s is not in %s", want, m.Objects[0].JSON)
		}
	}
	if looked := lookedUp(m.Trace); asked != 3 || len(looked) != 3 || !slices.Contains(looked, Lookup{"apps/v1", "Deployment", "ns", "gone"}.path()) {
		t.Errorf("asked %d times, the trace has %v", asked, looked)
	}
	if holds, err := Holds(on(), m.Trace); err != nil || !holds {
		t.Errorf("holds: %v %v", holds, err)
	}
	answers[Lookup{"v1", "Secret", "ns", "s"}] = `{"data":{"key":"bmV3"}}`
	if holds, err := Holds(on(), m.Trace); err != nil || holds {
		t.Errorf("holds with another answer: %v %v", holds, err)
	}
	opts.Helm.Live = false
	if m = mustHelm(t, on(), "a", opts); !strings.Contains(string(m.Objects[0].JSON), `"one":""`) || len(lookedUp(m.Trace)) != 0 {
		t.Errorf("a chart asks without being allowed to: %s", m.Objects[0].JSON)
	}
}

// lookedUp lists what a trace has asked of the target.
func lookedUp(trace model.Trace) []string {
	var paths []string
	for _, read := range trace {
		if in, ok := strings.CutPrefix(read.Path, AtLive+"/"); ok && !slices.Contains(paths, in) {
			paths = append(paths, in)
		}
	}
	return paths
}

// A target that does not answer fails the render, which is tried again.
func TestLookupFails(t *testing.T) {
	tree := memory{"a/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\n", "a/templates/a.yaml": "{{ lookup \"v1\" \"Secret\" \"ns\" \"s\" }}"}
	on := Mounted(tree, []Mount{{At: AtLive, Tree: Live(func(string, string, string, string) ([]byte, error) { return nil, errors.New("timeout") })}})
	opts := helmOf("r", "")
	opts.Helm.Live = true
	_, err := buildHelm(on, "a", opts)
	var fault *model.Fault
	if !errors.As(err, &fault) || !fault.Retry || !strings.Contains(fault.Message, "the target could not be asked") {
		t.Errorf("got %v", err)
	}
}

// A source cannot put anything where mounts are looked for.
func TestMountsHideTheSource(t *testing.T) {
	tree := Mounted(memory{".plumb/api/version": "v9", ".plumb/chart/x/Chart.yaml": "a", "b": "c"}, []Mount{{At: RefAt("r"), Tree: memory{"f": "g"}}})
	for p, want := range map[string]bool{".plumb": false, ".plumb/api": false, ".plumb/api/version": false, ".plumb/chart/x/Chart.yaml": false, "b": true, RefAt("r"): true, RefAt("r") + "/f": true, RefAt("r") + "x": false} {
		if _, found, err := tree.Lookup(p); err != nil || found != want {
			t.Errorf("%s: found %v (%v), want %v", p, found, err, want)
		}
	}
	entries, err := tree.List("")
	if err != nil || len(entries) != 1 || entries[0].Name != "b" {
		t.Errorf("the root has %v (%v)", entries, err)
	}
	if _, err := tree.Read(".plumb/api/version"); !isNotExist(err) {
		t.Errorf("got %v", err)
	}
}

// Texts that came from Secrets are in no message, and make objects secret.
func TestSensitiveTexts(t *testing.T) {
	tree := shop("a")
	opts := helmOf("r", "config: {log: \"canary \\\"quoted\\\"\"}")
	opts.Helm.Sensitive = []model.Secret{model.NewSecret([]byte(`canary "quoted"`))}
	for _, o := range mustHelm(t, tree, "a", opts).Objects {
		if want := o.ID.Kind == "ConfigMap"; o.Secret != want {
			t.Errorf("%s is secret: %v", o.ID, o.Secret)
		}
	}
	tree["a/templates/cm.yaml"] = "{{ fail .Values.config.log }}"
	if _, err := buildHelm(tree, "a", opts); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

// Two renders at a time do not see each other, whatever templates change.
func TestRendersAreApart(t *testing.T) {
	freshCharts(t, chartMemory)
	tree := digested{memory{
		"a/Chart.yaml":       "apiVersion: v2\nname: a\nversion: 1.0.0\n",
		"a/values.yaml":      "deep: {list: [{}]}\n",
		"a/templates/a.yaml": "{{ $_ := set (index .Values.deep.list 0) .Release.Name 1 }}{{ $_ := set .Values.deep .Release.Name 1 }}{{ $_ := set .Chart .Release.Name 1 }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {values: {{ toJson .Values | quote }}, chart: {{ keys .Chart | len | quote }}}\n",
	}}
	first := mustHelm(t, tree, "a", helmOf("first", ""))
	mustHelm(t, tree, "a", helmOf("second", ""))
	again := mustHelm(t, tree, "a", helmOf("first", ""))
	if !bytes.Equal(first.Objects[0].JSON, again.Objects[0].JSON) {
		t.Errorf("got %s\nwant %s", again.Objects[0].JSON, first.Objects[0].JSON)
	}
}

// FuzzChart feeds a hostile chart to a render: it must end in objects or in a
// fault.
func FuzzChart(f *testing.F) {
	f.Add("apiVersion: v2\nname: a\nversion: 1.0.0\n", "a: 1\n", "kind: {{ .Values.a }}", "b: 2\n")
	f.Add("name: a\nversion: 1\ndependencies: [{name: b, version: x, alias: ../c, import-values: [1, {child: a}]}]\n", "b: [1]\n", "{{ define \"x\" }}{{ template \"x\" . }}{{ end }}{{ include \"x\" . }}", "tags: {x: y}\n")
	f.Add("name: a\nversion: 1.0.0\ntype: library", "global: {a: {b: c}}\n", "{{ range $i, $e := .Files }}{{ tpl $i . }}{{ end }}---\nx: y\n--- z", "global: [a]\n")
	f.Add("name: a\nversion: 1.0.0\n", "", "{{ $x := dict }}{{ $_ := set $x \"a\" $x }}{{ toJson $x }}{{ $x }}{{ printf \"%v\" $x }}{{ join \",\" (list $x) }}", "")
	f.Add("name: a\nversion: 1.0.0\n", "", "{{ range $i := until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}", "")
	f.Fuzz(func(t *testing.T, metadata, defaults, template, values string) {
		if len(metadata)+len(defaults)+len(template)+len(values) > 4096 {
			return
		}
		tree := memory{
			"a/Chart.yaml": metadata, "a/values.yaml": defaults, "a/templates/a.yaml": template, "a/templates/_b.tpl": template,
			"a/charts/b/Chart.yaml": "apiVersion: v2\nname: b\nversion: 1.0.0\n", "a/charts/b/templates/a.yaml": template, "a/charts/b/values.yaml": defaults,
		}
		limits := Limits{HelmTime: 2e9, HelmBytes: 1 << 20}
		m, err := Build(context.Background(), Record(context.Background(), tree, limits), "a", helmOf("r", values), model.Origin{}, limits)
		var fault *model.Fault
		var missing *MissingError
		switch {
		case err != nil && !errors.As(err, &missing) && (!errors.As(err, &fault) || fault.Message == ""):
			t.Fatalf("%T is no fault: %v", err, err)
		case err == nil:
			for _, o := range m.Objects {
				if o.ID.Kind == "" || len(o.JSON) == 0 {
					t.Errorf("an object without identity: %+v", o)
				}
			}
		}
	})
}

// BenchmarkHelmRelease renders one of a thousand releases of a chart.
func BenchmarkHelmRelease(b *testing.B) {
	freshCharts(b, chartMemory)
	tree := flatChart{digested{shop("")}, map[string]model.Entry{}}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		m, err := buildHelm(tree, "", helmOf(fmt.Sprintf("r%d", i), fmt.Sprintf("replicas: %d", i)))
		if err != nil || len(m.Objects) != 5 {
			b.Fatal(m, err)
		}
	}
}

// flatChart knows its entries, as a source's tree does.
type flatChart struct {
	digested
	known map[string]model.Entry
}

func (f flatChart) Lookup(p string) (model.Entry, bool, error) {
	if entry, ok := f.known[p]; ok {
		return entry, true, nil
	}
	entry, found, err := f.digested.Lookup(p)
	if found {
		f.known[p] = entry
	}
	return entry, found, err
}
