package argo

import (
	"errors"
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

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/golden"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// goldens are the files of testdata.
var goldens = golden.Disk{Glob: filepath.Glob, Read: os.ReadFile, Write: os.WriteFile}

// TestGoldens runs each file of testdata: manifests, a divider, what becomes of
// the Applications and AppProjects among them. Other objects are the cluster.
func TestGoldens(t *testing.T) {
	goldens.Run(t, "*.txt", func(t *testing.T, _, input string) string { return compileGolden(t, input) })
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
	for _, o := range golden.Documents(t, input) {
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
			printing(intent.Implied).Print(&out, "  ", "delivery", reflect.ValueOf(*intent.Delivery))
		}
		for i, source := range intent.Implied {
			source.ID = object.ID{}
			printing(nil).Print(&out, "  ", fmt.Sprintf("source%d", i), reflect.ValueOf(source))
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

// printing prints the identities of implied sources by their place, and hides
// what is at its default.
func printing(implied []model.Source) golden.Printer {
	return golden.Printer{Hidden: hidden, Text: func(lead string, value any) (string, bool) {
		switch v := value.(type) {
		case object.ID:
			if i := slices.IndexFunc(implied, func(s model.Source) bool { return s.ID == v }); i >= 0 {
				return fmt.Sprintf("source%d", i), true
			}
		case model.Origin:
			if lead == "    " { // the delivery's own says nothing new
				return "", true
			}
			return fmt.Sprintf("%s %s", v.Field, v.Repository), true
		}
		return "", false
	}}
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
	"HelmOptions.Schemes":         []string{"https", "http"},
	"HelmOptions.KnownAPIs":       true,
}

// TestDefaults compiles an Application without any policy whole: every default
// that goldens leave out must be there.
func TestDefaults(t *testing.T) {
	s := scene{}
	app := golden.AsServed(t, map[string]any{
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
