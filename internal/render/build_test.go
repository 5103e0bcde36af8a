package render

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
)

func TestKeyHoldsWhatMatters(t *testing.T) {
	commit := func(revision string) map[string]string {
		return map[string]string{"ARGOCD_APP_NAME": "shop", "ARGOCD_APP_REVISION": revision}
	}
	images := model.KustomizeOptions{ImageLines: []string{"web:$ARGOCD_APP_REVISION"}}
	annotations := model.KustomizeOptions{CommonAnnotations: map[string]string{"a": "$ARGOCD_APP_REVISION"}}
	variables := model.DirectoryOptions{Jsonnet: model.JsonnetOptions{TLAs: []model.JsonnetVar{{Name: "a", Value: "$ARGOCD_APP_REVISION"}}}}
	base := model.Render{Kind: model.RenderDetect}
	for name, c := range map[string]struct {
		a, b model.Render
		same bool
	}{
		"nothing":                     {base, base, true},
		"an unused environment":       {model.Render{Kind: model.RenderDetect, Environment: commit("1")}, model.Render{Kind: model.RenderDetect, Environment: commit("2")}, true},
		"an environment of overrides": {model.Render{Kind: model.RenderDetect, Environment: commit("1"), Overrides: []string{"x"}}, model.Render{Kind: model.RenderDetect, Environment: commit("2"), Overrides: []string{"x"}}, false},
		"overrides":                   {base, model.Render{Kind: model.RenderDetect, Overrides: []string{"x"}}, false},
		"an image's revision":         {model.Render{Kind: model.RenderKustomize, Kustomize: images, Environment: commit("1")}, model.Render{Kind: model.RenderKustomize, Kustomize: images, Environment: commit("2")}, false},
		"an annotation as it is":      {model.Render{Kind: model.RenderKustomize, Kustomize: annotations, Environment: commit("1")}, model.Render{Kind: model.RenderKustomize, Kustomize: annotations, Environment: commit("2")}, true},
		"a variable's revision":       {model.Render{Kind: model.RenderDirectory, Directory: variables, Environment: commit("1")}, model.Render{Kind: model.RenderDirectory, Directory: variables, Environment: commit("2")}, false},
		"a kind":                      {base, model.Render{Kind: model.RenderDirectory}, false},
		"a field of another kind":     {model.Render{Kind: model.RenderDirectory}, model.Render{Kind: model.RenderDirectory, Kustomize: images}, true},
		"the version of kustomize":    {model.Render{Kind: model.RenderKustomize}, model.Render{Kind: model.RenderKustomize, Kustomize: model.KustomizeOptions{Version: "v4"}}, true},
		"labels of an Application":    {model.Render{Kind: model.RenderKustomize}, model.Render{Kind: model.RenderKustomize, Kustomize: model.KustomizeOptions{CommonLabels: map[string]string{"a": "b"}}}, false},
		"labels of Flux, set later":   {model.Render{}, model.Render{Kustomize: model.KustomizeOptions{CommonLabels: map[string]string{"a": "b"}}}, true},
		"a substitution, done later":  {model.Render{}, model.Render{Substitution: &model.Substitution{Always: true}}, true},
		"recursion":                   {base, model.Render{Kind: model.RenderDetect, Directory: model.DirectoryOptions{Recurse: true}}, false},
	} {
		if same := KeyOf("a", c.a, Limits{}) == KeyOf("a", c.b, Limits{}); same != c.same {
			t.Errorf("with another %s the key is the same: %v, want %v", name, same, c.same)
		}
	}
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint(i)] = "x"
	}
	opts := model.Render{Kind: model.RenderKustomize, Kustomize: model.KustomizeOptions{CommonLabels: many}}
	first := KeyOf("a", opts, Limits{})
	for range 10 {
		if KeyOf("a", opts, Limits{}) != first {
			t.Fatal("the key of the same options differs")
		}
	}
}

func TestBuildLeavesItsArgumentsAlone(t *testing.T) {
	opts := model.Render{
		Kind: model.RenderDetect, Environment: map[string]string{"X": "y"},
		Kustomize: model.KustomizeOptions{ImageLines: []string{"a:$X"}, CommonLabels: map[string]string{"l": "$X"}},
		Directory: model.DirectoryOptions{Jsonnet: model.JsonnetOptions{ExtVars: []model.JsonnetVar{{Name: "v", Value: "$X"}}}},
	}
	tree := memory{"app/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}
	if _, err := Build(context.Background(), Record(context.Background(), tree, Limits{}), "app", opts, model.Origin{}, Limits{}); err != nil {
		t.Fatal(err)
	}
	if opts.Kustomize.ImageLines[0] != "a:$X" || opts.Kustomize.CommonLabels["l"] != "$X" || opts.Directory.Jsonnet.ExtVars[0].Value != "$X" {
		t.Errorf("the options have changed: %+v", opts)
	}
}

func TestLabelsOfAnApplicationAreNotSetTwice(t *testing.T) {
	tree := memory{"app/kustomization.yaml": "resources: [a.yaml]\n", "app/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}
	opts := model.Render{
		Kind: model.RenderKustomize, Environment: map[string]string{"X": "y"},
		Kustomize: model.KustomizeOptions{CommonLabels: map[string]string{"l": "$X"}},
	}
	m, err := Build(context.Background(), Record(context.Background(), tree, Limits{}), "app", opts, model.Origin{}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err = Finish(m, opts, nil, model.Annotations{}); err != nil {
		t.Fatal(err)
	}
	if got := string(m.Objects[0].JSON); !strings.Contains(got, `"l":"y"`) {
		t.Errorf("got %s", got)
	}
}

// What is said of a field is said of the field of the one that asks.
func TestMemoMovesFields(t *testing.T) {
	memo := NewMemo(1 << 20)
	opts := model.Render{Kind: model.RenderDetect}
	for i, field := range []string{"spec.source", "spec.sources[1]", ""} {
		origin := model.Origin{Field: field}
		_, hit, err := memo.Render(context.Background(), KeyOf("app", opts, Limits{}), origin, memory{}, func(r *Recorder) (*model.Manifest, error) {
			return Build(context.Background(), r, "app", opts, origin, Limits{})
		})
		want := field + ".path"
		var fault *model.Fault
		if !errors.As(err, &fault) || fault.Origin.Field != want || hit != (i > 0) {
			t.Errorf("for %q: hit %v, %#v", field, hit, err)
		}
	}
}

// What an installation has turned off is not rendered, whoever asks for it.
func TestToolsThatAreOff(t *testing.T) {
	manifest := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n"
	tree := memory{
		"both/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\n", "both/kustomization.yaml": "namePrefix: a-\nresources: [plain.yaml]\n", "both/plain.yaml": manifest,
		"chart/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\n", "chart/templates/a.yaml": "{{ fail \"rendered\" }}", "chart/plain.yaml": manifest,
		"jsonnet/a.jsonnet": "error 'evaluated'", "jsonnet/plain.yaml": manifest,
	}
	for what, c := range map[string]struct {
		dir  string
		opts model.Render
		kind model.RenderKind
		want string
	}{
		"a chart that is found":         {"chart", model.Render{Kind: model.RenderDetect, NoHelm: true}, model.RenderDirectory, "plain"},
		"a chart that is named":         {"chart", model.Render{Kind: model.RenderHelm, NoHelm: true}, model.RenderDirectory, "plain"},
		"a kustomization beside Helm":   {"both", model.Render{Kind: model.RenderDetect, NoHelm: true}, model.RenderKustomize, "a-plain"},
		"a kustomization that is off":   {"both", model.Render{Kind: model.RenderDetect, NoHelm: true, NoKustomize: true}, model.RenderDirectory, "plain"},
		"a kustomization that is named": {"both", model.Render{Kind: model.RenderKustomize, NoKustomize: true}, model.RenderDirectory, "plain"},
		"Jsonnet":                       {"jsonnet", model.Render{Kind: model.RenderDetect, Directory: model.DirectoryOptions{Jsonnet: model.JsonnetOptions{Off: true}}}, model.RenderDirectory, "plain"},
	} {
		m, err := Build(context.Background(), Record(context.Background(), tree, Limits{}), c.dir, c.opts, model.Origin{}, Limits{})
		if err != nil || m.Kind != c.kind || len(m.Objects) != 1 || m.Objects[0].ID.Name != c.want {
			t.Errorf("%s: %v, %+v", what, err, m)
		}
	}
}

func TestBuildOfAnotherKind(t *testing.T) {
	for _, kind := range []model.RenderKind{model.RenderHelm, model.RenderExpand, "Plugin"} {
		_, err := Build(context.Background(), Record(context.Background(), memory{}, Limits{}), "", model.Render{Kind: kind}, model.Origin{}, Limits{})
		var fault *model.Fault
		if !errors.As(err, &fault) || fault.Reason != ComparisonError || fault.Retry {
			t.Errorf("%s: %#v", kind, err)
		}
	}
}

func TestDirectoryIsBounded(t *testing.T) {
	tree := memory{}
	for i := range 20 {
		tree[fmt.Sprintf("app/%s%d.yaml", strings.Repeat("d/", i), i)] = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\n", i)
	}
	for what, limits := range map[string]Limits{
		"files": {Files: 10}, "bytes": {Bytes: 300}, "depth": {Depth: 10}, "objects": {Objects: 10}, "file bytes": {FileBytes: 20},
	} {
		opts := model.Render{Kind: model.RenderDirectory, Directory: model.DirectoryOptions{Recurse: true}}
		_, err := Build(context.Background(), Record(context.Background(), tree, limits), "app", opts, model.Origin{}, limits)
		var fault *model.Fault
		if !errors.As(err, &fault) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestUTF16(t *testing.T) {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: \"ü\"}\n"
	for name, marked := range map[string]func(rune) string{
		"little endian": func(c rune) string { return string([]byte{byte(c), byte(c >> 8)}) },
		"big endian":    func(c rune) string { return string([]byte{byte(c >> 8), byte(c)}) },
	} {
		var b strings.Builder
		for _, c := range "\ufeff" + text {
			b.WriteString(marked(c))
		}
		m, err := Build(context.Background(), Record(context.Background(), memory{"a.yaml": b.String()}, Limits{}), "", model.Render{Kind: model.RenderDirectory}, model.Origin{}, Limits{})
		if err != nil || len(m.Objects) != 1 || !strings.Contains(string(m.Objects[0].JSON), `"ü"`) {
			t.Errorf("%s: %v %v", name, m, err)
		}
	}
}

// FuzzPatterns: whatever the patterns are, a directory yields the files that
// are included and not excluded, or a fault that names the pattern.
func FuzzPatterns(f *testing.F) {
	for _, seed := range [][2]string{{"*.yaml", ""}, {"{*.yml,env/*}", "env/b*"}, {"[", "a"}, {"", "**"}, {`\*`, "?"}, {"{a", "}"}, {"[!a-c].yaml", "{,a}.yaml"}} {
		f.Add(seed[0], seed[1])
	}
	files := []string{"a.yaml", "b.yml", "env/b.json", "env/c.yaml", "z.yaml"}
	tree := memory{}
	for _, file := range files {
		tree["app/"+file] = `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}`
	}
	f.Fuzz(func(t *testing.T, include, exclude string) {
		if len(include)+len(exclude) > 8192 {
			return
		}
		opts := model.Render{Kind: model.RenderDirectory, Directory: model.DirectoryOptions{Recurse: true, Include: include, Exclude: exclude}}
		m, err := Build(context.Background(), Record(context.Background(), tree, Limits{}), "app", opts, model.Origin{}, Limits{})
		var fault *model.Fault
		if err != nil {
			if !errors.As(err, &fault) || !strings.HasPrefix(fault.Origin.Field, "spec.source.directory.") {
				t.Fatalf("got %#v", err)
			}
			return
		}
		var got, want []string
		for _, rendered := range m.Objects {
			got = append(got, strings.TrimPrefix(rendered.Origin.File, "app/"))
		}
		for _, file := range files {
			if (include == "" || gate.Glob(include, file)) && (exclude == "" || !gate.Glob(exclude, file)) {
				want = append(want, file)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("include %q, exclude %q: %q, want %q", include, exclude, got, want)
		}
	})
}
