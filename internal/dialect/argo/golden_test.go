package argo

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

var update = flag.Bool("update", false, "write the goldens anew")

// divider stands between what goes in and what must come out.
const divider = "--------\n"

// TestGoldens runs each file of testdata: manifests, a divider, what becomes of
// the Applications and AppProjects among them. Other objects are the cluster.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there are no goldens")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, found := strings.Cut(string(text), "\n"+divider)
			if !found && !*update {
				t.Fatalf("%s has no divider", file)
			}
			input = strings.TrimSuffix(input, "\n") + "\n"
			got := compileGolden(t, input)
			if *update {
				if err := os.WriteFile(file, []byte(input+divider+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
			}
		})
	}
}

// scene is what a golden's input says.
type scene struct {
	objects  []*unstructured.Unstructured
	cluster  []*unstructured.Unstructured
	states   map[string]model.Fact // by the need's text
	settings dialect.Settings
}

// parseScene reads the documents. Lines such as "#! forbidden NEED" and
// "#! applicationNamespaces team-*" set the stage.
func parseScene(t *testing.T, input string) scene {
	t.Helper()
	s := scene{states: map[string]model.Fact{}}
	for _, line := range strings.Split(input, "\n") {
		words := strings.Fields(strings.TrimPrefix(line, "#!"))
		if !strings.HasPrefix(line, "#!") || len(words) < 2 {
			continue
		}
		switch words[0] {
		case "applicationNamespaces":
			s.settings.ApplicationNamespaces = words[1:]
		case "argoNamespace":
			s.settings.ArgoNamespace = words[1]
		case "forbidden", "failed":
			s.states[words[1]] = model.Fact{State: model.FactState(words[0]), Message: strings.Join(words[2:], " ")}
		default:
			t.Fatalf("unknown stage direction %q", line)
		}
	}
	for _, doc := range strings.Split("\n"+input, "\n---\n") {
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(doc), &fields); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if len(fields) == 0 {
			continue
		}
		o := asServed(t, fields)
		if o.GetKind() == kindApplication {
			s.objects = append(s.objects, o)
			continue
		}
		if o.GetKind() == kindProject && o.GetAnnotations()["test/compile"] != "" {
			s.objects = append(s.objects, o)
		}
		s.cluster = append(s.cluster, o)
	}
	return s
}

// asServed has numbers as a client decodes them: whole ones are int64.
func asServed(t *testing.T, fields map[string]any) *unstructured.Unstructured {
	t.Helper()
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	return o
}

// answer is what the scene's cluster holds for a need.
func (s scene) answer(t *testing.T, need model.Need) model.Fact {
	t.Helper()
	if fact, ok := s.states[need.String()]; ok {
		return fact
	}
	var found []*unstructured.Unstructured
	for _, o := range s.cluster {
		if o.GroupVersionKind().Group != need.Group || o.GetKind() != need.Kind || o.GetNamespace() != need.Namespace {
			continue
		}
		if need.Selector == "" {
			if o.GetName() == need.Name {
				return model.Fact{State: model.Present, Object: o}
			}
			continue
		}
		selector, err := labels.Parse(strings.TrimSuffix(need.Selector, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if selector.Matches(labels.Set(o.GetLabels())) {
			found = append(found, o)
		}
	}
	if need.Selector == "" {
		return model.Fact{State: model.Absent}
	}
	slices.SortFunc(found, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return model.Fact{State: model.Present, Objects: found}
}

// compileIn answers needs until none is open.
func (s scene) compileIn(t *testing.T, declared *unstructured.Unstructured) (dialect.Intent, []model.Finding, error) {
	t.Helper()
	facts := model.Facts{}
	for range 6 {
		intent, needs, findings, err := New().Compile(declared, facts, s.settings)
		if len(needs) == 0 {
			return intent, findings, err
		}
		for _, need := range needs {
			if _, asked := facts[need]; asked {
				t.Fatalf("%s was asked for twice", need)
			}
			facts[need] = s.answer(t, need)
		}
	}
	t.Fatal("the needs never end")
	return dialect.Intent{}, nil, nil
}

func compileGolden(t *testing.T, input string) string {
	t.Helper()
	s := parseScene(t, input)
	var out strings.Builder
	for _, declared := range s.objects {
		fmt.Fprintf(&out, "%s\n", object.Of(declared))
		before := declared.DeepCopy()
		intent, findings, err := s.compileIn(t, declared)
		if !reflect.DeepEqual(before.Object, declared.Object) {
			t.Errorf("%s was changed", object.Of(declared))
		}
		var fault *model.Fault
		if err != nil && !errors.As(err, &fault) {
			t.Fatalf("an error that is no fault: %v", err)
		}
		if fault != nil {
			fmt.Fprintf(&out, "  fault %s at %s (retry %t)\n    %s\n", fault.Reason, fault.Origin.Field, fault.Retry, fault.Error())
			if fault.Origin.Declared != object.Of(declared) || fault.Origin.Dialect != Name {
				t.Errorf("the fault does not say whose it is: %+v", fault.Origin)
			}
		}
		if intent.Delivery != nil {
			printValue(&out, "  ", "delivery", reflect.ValueOf(*intent.Delivery), intent.Implied)
		}
		for i, source := range intent.Implied {
			source.ID = object.ID{}
			printValue(&out, "  ", fmt.Sprintf("source%d", i), reflect.ValueOf(source), nil)
		}
		for _, f := range findings {
			fmt.Fprintf(&out, "  finding %s %s %s: %s\n", f.Severity, f.Reason, f.Origin.Field, f.Message)
			if f.Origin.Declared != object.Of(declared) || f.Origin.Dialect != Name || f.Origin.Field == "" {
				t.Errorf("the finding does not say where: %+v", f)
			}
		}
	}
	return out.String()
}

// printValue prints what is set, one field to a line. Implied sources are
// printed by their place.
func printValue(out *strings.Builder, lead, name string, value reflect.Value, implied []model.Source) {
	if !value.IsValid() || value.IsZero() {
		return
	}
	switch v := value.Interface().(type) {
	case object.ID:
		if i := slices.IndexFunc(implied, func(s model.Source) bool { return s.ID == v }); i >= 0 {
			fmt.Fprintf(out, "%s%s: source%d\n", lead, name, i)
			return
		}
		fmt.Fprintf(out, "%s%s: %v\n", lead, name, v)
		return
	case model.Secret, time.Duration, model.Need:
		fmt.Fprintf(out, "%s%s: %v\n", lead, name, v)
		return
	case time.Time:
		fmt.Fprintf(out, "%s%s: %s\n", lead, name, v.UTC().Format(time.RFC3339))
		return
	case model.Origin:
		if lead != "    " { // the delivery's own says nothing new
			fmt.Fprintf(out, "%s%s: %s %s\n", lead, name, v.Field, v.Repository)
		}
		return
	case []byte:
		fmt.Fprintf(out, "%s%s: %q\n", lead, name, v)
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		if value.Elem().Kind() == reflect.String {
			fmt.Fprintf(out, "%s%s: %q\n", lead, name, value.Elem().String())
			return
		}
		printValue(out, lead, name, value.Elem(), implied)
	case reflect.Struct:
		fmt.Fprintf(out, "%s%s:\n", lead, name)
		for i := range value.NumField() {
			field := value.Type().Field(i).Name
			if plain := value.Type().Name() + "." + field; hidden(plain, value.Field(i)) {
				continue
			}
			printValue(out, lead+"  ", field, value.Field(i), implied)
		}
	case reflect.Slice:
		for i := range value.Len() {
			printValue(out, lead, fmt.Sprintf("%s[%d]", name, i), value.Index(i), implied)
		}
	case reflect.Map:
		keys := value.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			fmt.Fprintf(out, "%s%s.%s: %v\n", lead, name, key, value.MapIndex(key))
		}
	default:
		fmt.Fprintf(out, "%s%s: %s\n", lead, name, strings.ReplaceAll(fmt.Sprint(value.Interface()), "\n", "\n"+lead+"  | "))
	}
}

// hidden leaves out what is at its default, so that a golden shows what its
// input changes; TestDefaults holds the defaults.
func hidden(field string, value reflect.Value) bool {
	def, ok := defaults[field]
	return ok && reflect.DeepEqual(value.Interface(), def)
}

// defaults are the parts of a delivery that an Application without any policy
// has.
var defaults = map[string]any{
	"SyncPolicy.Staged":       true,
	"SyncPolicy.HistoryLimit": 10,
	"SyncPolicy.Retry":        &model.Retry{Limit: 5, Duration: 5 * time.Second, Factor: 2, Max: 3 * time.Minute},
	"Policy.Interval":         2 * time.Minute,
	"Policy.RetryInterval":    time.Minute,
	"Policy.Timeout":          365 * 24 * time.Hour,
	"Policy.OnDelete":         model.OrphanObjects,
	"Policy.Cascade":          "foreground",
	"Policy.Kinds": model.KindFilter{Exclude: []model.KindRule{
		{Group: "events.k8s.io", Kind: "*"}, {Group: "metrics.k8s.io", Kind: "*"}, {Kind: "Event"}, {Group: "coordination.k8s.io", Kind: "Lease"},
	}},
	"Ownership.FieldManager":      "argocd-controller",
	"Ownership.TakeOver":          []string{"kubectl-client-side-apply"},
	"Permit.ClusterAllow":         []model.KindRule{{Group: "*", Kind: "*"}},
	"Permit.Destinations":         []model.Destination{{Server: "*", Namespace: "*"}},
	"Source.Interval":             2 * time.Minute,
	"Source.Timeout":              90 * time.Second,
	"Source.Implied":              true,
	"GitSource.RecurseSubmodules": true,
	"Render.Environment":          map[string]string{},
}

// TestDefaults compiles an Application without any policy whole: every default
// that goldens leave out must be there.
func TestDefaults(t *testing.T) {
	s := scene{}
	app := asServed(t, map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
		"metadata": map[string]any{"name": "a", "namespace": "argocd"},
		"spec":     map[string]any{"source": map[string]any{"repoURL": "https://example.com/r", "path": "p"}},
	})
	intent, _, err := s.compileIn(t, app)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var walk func(reflect.Value)
	walk = func(value reflect.Value) {
		switch value.Kind() {
		case reflect.Pointer:
			if !value.IsNil() {
				walk(value.Elem())
			}
		case reflect.Slice:
			for i := range value.Len() {
				walk(value.Index(i))
			}
		case reflect.Struct:
			for i := range value.NumField() {
				if !value.Type().Field(i).IsExported() {
					continue
				}
				name := value.Type().Name() + "." + value.Type().Field(i).Name
				if hidden(name, value.Field(i)) {
					seen[name] = true
				} else if _, ok := defaults[name]; ok && name != "Render.Environment" {
					t.Errorf("%s is %v, want %v", name, value.Field(i).Interface(), defaults[name])
				}
				walk(value.Field(i))
			}
		}
	}
	walk(reflect.ValueOf(*intent.Delivery))
	for _, source := range intent.Implied {
		walk(reflect.ValueOf(source))
	}
	for name := range defaults {
		if !seen[name] && name != "Render.Environment" {
			t.Errorf("no delivery has the default of %s", name)
		}
	}
	want := map[string]string{
		"ARGOCD_APP_NAME": "a", "ARGOCD_APP_NAMESPACE": "", "ARGOCD_APP_PROJECT_NAME": "default",
		"ARGOCD_APP_SOURCE_REPO_URL": "https://example.com/r", "ARGOCD_APP_SOURCE_PATH": "p", "ARGOCD_APP_SOURCE_TARGET_REVISION": "",
	}
	if got := intent.Delivery.Inputs[0].Render.Environment; !reflect.DeepEqual(got, want) {
		t.Errorf("the environment is %v, want %v", got, want)
	}
}
