package differ

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func decode(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	return &unstructured.Unstructured{Object: fromYAML(t, text)}
}

func compile(t testing.TB, compare model.CompareRules, rules ...model.IgnoreRule) *Rules {
	t.Helper()
	r, err := Compile(rules, compare, Marks([]string{"app.kubernetes.io/instance"}, []string{"argocd.argoproj.io/tracking-id"}))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// golden is one case: documents of a file under testdata.
type golden struct {
	Rules []struct {
		Group, Kind, Namespace, Name string
		Pointers, Queries, Managers  []string
		CompareOnly                  bool
	}
	Compare               model.CompareRules
	Want, Predicted, Live map[string]any
}

// Each file under testdata tells a story in one document; what came out of it
// follows: the wanted and the live object without what is left to others, where
// they differ, and what is applied when the rest is respected.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			story, want, _ := strings.Cut(string(content), "\n------\n")
			var g golden
			if err := yaml.UnmarshalStrict([]byte(story), &g); err != nil {
				t.Fatal(err)
			}
			got := g.tell(t, story)
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, []byte(story+"\n------\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func (g *golden) tell(t *testing.T, story string) string {
	var rules []model.IgnoreRule
	for _, r := range g.Rules {
		rules = append(rules, model.IgnoreRule{
			Paths: r.Pointers, Queries: r.Queries, Managers: r.Managers, CompareOnly: r.CompareOnly,
			Target: &model.Selector{Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name},
		})
	}
	compiled := compile(t, g.Compare, rules...)
	part := func(name string) *unstructured.Unstructured {
		o, _ := fromYAML(t, story)[name].(map[string]any)
		if o == nil {
			return nil
		}
		return &unstructured.Unstructured{Object: o}
	}
	want, predicted, live := part("want"), part("predicted"), part("live")
	untouched := []*unstructured.Unstructured{want.DeepCopy(), live.DeepCopy()}

	same, paths := Same(want, predicted, live, compiled)
	out := map[string]any{"same": same}
	if len(paths) > 0 {
		out["differs"] = paths
	}
	if !reflect.DeepEqual(untouched, []*unstructured.Unstructured{want, live}) {
		t.Error("Same changed what it compared")
	}
	if compiled.Any(want) {
		for name, o := range map[string]*unstructured.Unstructured{"want": want, "live": live} {
			stripped := o.DeepCopy()
			before := stripped.DeepCopy()
			changed, err := compiled.StripBeside(stripped, live)
			if err != nil {
				t.Fatal(err)
			}
			if changed == reflect.DeepEqual(before.Object, stripped.Object) {
				t.Errorf("changed is %v for %s", changed, name)
			}
			unstructured.RemoveNestedField(stripped.Object, "metadata", "managedFields")
			out["stripped "+name] = stripped.Object
		}
		applied := want.DeepCopy()
		if err := compiled.Copy(applied, live); err != nil {
			t.Fatal(err)
		}
		out["applied"] = applied.Object
		again := applied.DeepCopy()
		if err := compiled.Copy(again, live); err != nil || !reflect.DeepEqual(again, applied) {
			t.Errorf("copied once more, it is another: %v", again.Object)
		}
	}
	encoded, err := yaml.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func TestCompileFaults(t *testing.T) {
	origin := model.Origin{Declared: object.ID{Kind: "Application", Name: "a"}, Field: "spec.ignoreDifferences[0]"}
	for name, c := range map[string]struct {
		rule model.IgnoreRule
		want string
	}{
		"pointer without slash": {model.IgnoreRule{Paths: []string{"/a", "spec/replicas"}}, `"spec/replicas"`},
		"pointer to everything": {model.IgnoreRule{Paths: []string{""}}, `JSON pointer ""`},
		"bad escape":            {model.IgnoreRule{Paths: []string{"/a~2"}}, `"/a~2"`},
		"query":                 {model.IgnoreRule{Queries: []string{".spec["}}, `".spec["`},
		"assignment":            {model.IgnoreRule{Queries: []string{".spec = 1"}}, `".spec = 1"`},
		"target":                {model.IgnoreRule{Target: &model.Selector{Kind: "("}}, `"("`},
		"labels":                {model.IgnoreRule{Target: &model.Selector{LabelSelector: "a in"}}, `"a in"`},
		"annotations":           {model.IgnoreRule{Target: &model.Selector{AnnotationSelector: "=="}}, `"=="`},
	} {
		c.rule.Origin = origin
		_, err := Compile([]model.IgnoreRule{c.rule}, model.CompareRules{})
		var fault *model.Fault
		if !errors.As(err, &fault) || fault.Origin != origin || fault.Reason != "ComparisonError" || !strings.Contains(fault.Message, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Compile(make([]model.IgnoreRule, mostRules+1), model.CompareRules{}); err == nil {
		t.Error("any number of rules is accepted")
	}
}

func TestSelector(t *testing.T) {
	o := decode(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, labels: {app: web}, annotations: {a: b}}}`)
	core := decode(t, `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}}`)
	for _, c := range []struct {
		selector *model.Selector
		o        *unstructured.Unstructured
		want     bool
	}{
		{nil, o, true},
		{&model.Selector{}, o, true},
		{&model.Selector{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}, o, true},
		{&model.Selector{Kind: "Deploy"}, o, false},
		{&model.Selector{Kind: "Deploy.*|Other"}, o, true},
		{&model.Selector{Name: "we"}, o, false},
		{&model.Selector{Group: "(?:)"}, o, false},
		{&model.Selector{Group: "(?:)"}, core, true},
		{&model.Selector{LabelSelector: "app in (web)"}, o, true},
		{&model.Selector{LabelSelector: "app=web"}, core, false},
		{&model.Selector{AnnotationSelector: "a=b"}, o, true},
		{&model.Selector{AnnotationSelector: "a=c"}, o, false},
	} {
		s, err := CompileSelector(c.selector)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Selects(c.o); got != c.want {
			t.Errorf("%+v: %v", c.selector, got)
		}
		r := compile(t, model.CompareRules{}, model.IgnoreRule{Target: c.selector, Paths: []string{"/spec"}})
		if r.Any(c.o) != c.want {
			t.Errorf("Any, %+v: %v", c.selector, !c.want)
		}
	}
}

func TestNoRules(t *testing.T) {
	var r *Rules
	o := decode(t, sample)
	if r.Any(o) {
		t.Error("no rules concern an object")
	}
	if changed, err := r.Strip(o); changed || err != nil {
		t.Error(changed, err)
	}
	if err := r.Copy(o, o); err != nil {
		t.Error(err)
	}
	if same, paths := Same(o, o, o.DeepCopy(), nil); !same {
		t.Error(paths)
	}
}

func TestAStoppedQueryIsAFault(t *testing.T) {
	origin := model.Origin{Field: "spec.ignoreDifferences[0]"}
	r := compile(t, model.CompareRules{}, model.IgnoreRule{Queries: []string{"select(last(repeat(.)))"}, Origin: origin}, model.IgnoreRule{Paths: []string{"/spec/replicas"}})
	o := decode(t, sample)
	for name, f := range map[string]func() error{
		"Strip": func() error { _, err := r.Strip(o.DeepCopy()); return err },
		"Copy":  func() error { return r.Copy(o.DeepCopy(), o) },
	} {
		var fault *model.Fault
		if err := f(); !errors.As(err, &fault) || fault.Origin != origin || !strings.Contains(fault.Message, "select(last(repeat(.)))") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSameListsWhereNotWhat(t *testing.T) {
	live, predicted := map[string]any{}, map[string]any{}
	for i := range 200 {
		key := "key-" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		live[key], predicted[key] = "canary-live", "canary-wanted"
	}
	object := func(data map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s"}, "data": data}}
	}
	same, paths := Same(object(predicted), object(predicted), object(live), nil)
	if same || len(paths) != mostDifferences || !slices.IsSorted(paths) {
		t.Errorf("%v, %d paths", same, len(paths))
	}
	if strings.Contains(strings.Join(paths, ""), "canary") {
		t.Error("a value is shown")
	}
	if same, paths := Same(object(predicted), nil, nil, nil); same || !slices.Equal(paths, []string{""}) {
		t.Errorf("an object that does not exist: %v %q", same, paths)
	}
}

func TestKnownTypes(t *testing.T) {
	// Names from upstream's list, from all over it.
	for _, name := range []string{
		"core/Quantity", "meta/v1/Duration", "core/v1/PodSpec", "core/v1/Container", "core/v1/ResourceRequirements", "core/v1/ResourceList",
		"core/v1/Probe", "core/v1/PodTemplateSpec", "core/v1/Volume", "core/v1/EnvVar", "core/v1/Toleration", "core/v1/TopologySpreadConstraint",
		"core/v1/ServiceSpec", "core/v1/PersistentVolumeClaimSpec", "core/v1/AvoidPods", "core/v1/PodSignature", "core/v1/SerializedReference",
		"core/v1/NodeProxyOptions", "core/v1/PodLogOptions", "core/v1/RangeAllocation", "core/v1/List", "core/v1/Preconditions", "core/v1/Secret",
		"core/v1/WindowsSecurityContextOptions", "core/v1/VolumeResourceRequirements", "core/v1/Event", "core/v1/Binding", "core/v1/NodeConfigSource",
	} {
		if !KnownType(name) {
			t.Errorf("%s is not known", name)
		}
	}
	if KnownType("core/v1/Nonsense") || len(KnownTypes()) < 230 {
		t.Errorf("%d types", len(KnownTypes()))
	}
}

func TestAutoscaledReplicas(t *testing.T) {
	body := func(text string) model.Desired {
		o := decode(t, text)
		encoded, err := json.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		return model.Desired{ID: object.Of(o), JSON: encoded, Origin: model.Origin{File: o.GetKind() + "/" + o.GetName()}}
	}
	workload := func(kind, name, spec string) model.Desired {
		return body("{apiVersion: apps/v1, kind: " + kind + ", metadata: {name: " + name + ", namespace: shop}, spec: {" + spec + "}}")
	}
	scaler := func(apiVersion, kind, name, ref string) model.Desired {
		return body("{apiVersion: " + apiVersion + ", kind: " + kind + ", metadata: {name: " + name + ", namespace: shop}, spec: {scaleTargetRef: {" + ref + "}}}")
	}
	objects := []model.Desired{
		workload("Deployment", "web", "replicas: 3"),
		workload("Deployment", "implicit", "paused: true"),
		workload("Deployment", "off", "replicas: 0"),
		workload("Deployment", "woken", "replicas: 0"),
		workload("Deployment", "free", "replicas: 3"),
		workload("StatefulSet", "db", "replicas: 2"),
		workload("Deployment", "old", "replicas: 2"),
		scaler("autoscaling/v2", "HorizontalPodAutoscaler", "web", "apiVersion: apps/v1, kind: Deployment, name: web"),
		scaler("autoscaling/v1", "HorizontalPodAutoscaler", "again", "apiVersion: apps/v1, kind: Deployment, name: web"),
		scaler("autoscaling/v2", "HorizontalPodAutoscaler", "implicit", "apiVersion: apps/v1, kind: Deployment, name: implicit"),
		scaler("autoscaling/v2", "HorizontalPodAutoscaler", "off", "apiVersion: apps/v1, kind: Deployment, name: off"),
		scaler("autoscaling/v2", "HorizontalPodAutoscaler", "elsewhere", "apiVersion: apps/v1, kind: Deployment, name: elsewhere"),
		scaler("autoscaling/v2", "HorizontalPodAutoscaler", "old", "apiVersion: extensions/v1beta1, kind: Deployment, name: old"),
		scaler("autoscaling/v2", "HorizontalPodAutoscaler", "malformed", "apiVersion: a/b/c, kind: Deployment, name: free"),
		scaler("keda.sh/v1alpha1", "ScaledObject", "woken", "name: woken"),
		scaler("keda.sh/v1alpha1", "ScaledObject", "db", "apiVersion: apps/v1, kind: StatefulSet, name: db"),
		scaler("example.com/v1", "ScaledObject", "free", "name: free"),
	}
	rules := AutoscaledReplicas(objects)
	var got []string
	compiled, err := Compile(rules, model.CompareRules{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		live := &unstructured.Unstructured{}
		if err := live.UnmarshalJSON(o.JSON); err != nil {
			t.Fatal(err)
		}
		if compiled.Any(live) {
			got = append(got, o.ID.Name)
		}
	}
	if want := []string{"web", "woken", "db", "old"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(rules) != 4 || rules[0].CompareOnly || rules[0].Origin.File != "HorizontalPodAutoscaler/web" || !slices.Equal(rules[0].Paths, []string{"/spec/replicas"}) {
		t.Errorf("%+v", rules)
	}
	if AutoscaledReplicas(objects[:7]) != nil {
		t.Error("rules without an autoscaler")
	}
}

func benchmarkRules(b *testing.B) *Rules {
	return compile(b, model.CompareRules{},
		model.IgnoreRule{Paths: []string{"/spec/replicas"}, Target: &model.Selector{Group: "apps", Kind: "Deployment"}},
		model.IgnoreRule{Queries: []string{`.spec.template.spec.containers[] | select(.name == "sidecar")`}},
		model.IgnoreRule{Managers: []string{"kube-controller-manager"}},
		model.IgnoreRule{Paths: []string{"/data"}, Target: &model.Selector{Kind: "Secret"}})
}

func BenchmarkStrip(b *testing.B) {
	r, o := benchmarkRules(b), decode(b, sample)
	b.ReportAllocs()
	for b.Loop() {
		if changed, err := r.Strip(o.DeepCopy()); !changed || err != nil {
			b.Fatal(changed, err)
		}
	}
}

func BenchmarkSame(b *testing.B) {
	o := decode(b, sample)
	predicted := o.DeepCopy()
	for name, rules := range map[string]*Rules{"with rules": benchmarkRules(b), "without": nil} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if same, paths := Same(o, predicted, o, rules); !same {
					b.Fatal(paths)
				}
			}
		})
	}
}

func BenchmarkAny(b *testing.B) {
	r, o := benchmarkRules(b), decode(b, `{apiVersion: v1, kind: Service, metadata: {name: web}}`)
	b.ReportAllocs()
	for b.Loop() {
		r.Any(o)
	}
}

// An object that is left to others altogether is told apart from one of which a
// rule leaves a part.
func TestWhole(t *testing.T) {
	rules := compile(t, model.CompareRules{},
		model.IgnoreRule{Paths: []string{"/data"}},
		model.IgnoreRule{Whole: true, Paths: []string{"/metadata/labels"}, Target: &model.Selector{AnnotationSelector: "drift=disabled"}})
	for name, c := range map[string]struct {
		annotations map[string]string
		want        bool
	}{
		"left alone": {map[string]string{"drift": "disabled"}, true},
		"in part":    {nil, false},
	} {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
		o.SetAnnotations(c.annotations)
		if got := rules.Whole(o); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if (*Rules)(nil).Whole(&unstructured.Unstructured{}) {
		t.Error("no rules leave something alone")
	}
}
