package flux

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/differ"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// release is a HelmRelease with these fields of its spec, as YAML.
func release(t testing.TB, name, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": GroupHelm + "/v2", "kind": kindHelmRelease,
		"metadata": map[string]any{"name": name, "namespace": "ns"},
	}}
	fields := map[string]any{}
	if err := yaml.Unmarshal([]byte(spec), &fields); err != nil {
		t.Fatal(err)
	}
	o.Object["spec"] = fields
	return o
}

func parsed(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// configMap is a fact that holds one value under values.yaml.
func configMap(name, value string) model.Facts {
	return model.Facts{{Version: "v1", Kind: "ConfigMap", Namespace: "ns", Name: name}: {State: model.Present, Object: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"values.yaml": value},
	}}}}
}

func compiled(t testing.TB, declared *unstructured.Unstructured, facts model.Facts) dialect.Intent {
	t.Helper()
	intent, needs, _, err := New().Compile(declared, facts, dialect.Settings{})
	if err != nil || len(needs) > 0 {
		t.Fatalf("%v is needed, %v", needs, err)
	}
	return intent
}

// TestTargetPathsAndInlineValues holds upstream's order as it is in truth: the
// first value for a target path goes over what is inline below the same key,
// unless a reference has that key as well.
func TestTargetPathsAndInlineValues(t *testing.T) {
	for _, c := range []struct{ name, spec, want string }{
		{"over a nested inline value", `{values: {a: {b: inline, c: 1}}, valuesFrom: [{kind: ConfigMap, name: x, targetPath: a.b}]}`, `{"a":{"b":"set","c":1.0}}`},
		{"an inline value at the top goes over it", `{values: {a: inline}, valuesFrom: [{kind: ConfigMap, name: x, targetPath: a}]}`, `{"a":"inline"}`},
		{"the second of two", `{values: {a: {b: inline}}, valuesFrom: [{kind: ConfigMap, name: x, targetPath: o}, {kind: ConfigMap, name: x, targetPath: a.b}]}`, `{"a":{"b":"inline"},"o":"set"}`},
		{"no inline values", `{valuesFrom: [{kind: ConfigMap, name: x, targetPath: "a[1].b"}]}`, `{"a":[null,{"b":"set"}]}`},
	} {
		declared := release(t, "x", c.spec)
		declared.Object["spec"].(map[string]any)["chartRef"] = map[string]any{"kind": "HelmChart", "name": "c"}
		before := declared.DeepCopy()
		got := compiled(t, declared, configMap("x", "set")).Delivery.Inputs[0].Render.Helm.Values
		if string(got.Reveal()) != c.want {
			t.Errorf("%s: %s, want %s", c.name, got.Reveal(), c.want)
		}
		if !reflect.DeepEqual(before.Object, declared.Object) {
			t.Errorf("%s: the declared object was changed", c.name)
		}
	}
}

// TestNumbersKeepTheirTypes: what is set at a path is an integer, as with helm
// --set, and what was written as YAML a float, as Helm reads it.
func TestNumbersKeepTheirTypes(t *testing.T) {
	declared := release(t, "x", `{chartRef: {kind: HelmChart, name: c}, values: {inline: 1000000}, valuesFrom: [{kind: ConfigMap, name: x, targetPath: set}, {kind: ConfigMap, name: x, targetPath: literal, literal: true}]}`)
	options := compiled(t, declared, configMap("x", "1000000")).Delivery.Inputs[0].Render.Helm
	got, err := helm.DecodeValues(options.Values.Reveal())
	if want := map[string]any{"inline": 1e6, "set": int64(1000000), "literal": "1000000"}; err != nil || !options.Typed || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %#v, want %#v", err, got, want)
	}
}

// TestWhatSecretsBringIsSensitive: the renderer hides these texts, and no others.
func TestWhatSecretsBringIsSensitive(t *testing.T) {
	declared := release(t, "x", `
chartRef: {kind: HelmChart, name: c}
values: {a: inline}
valuesFrom:
  - {kind: Secret, name: s}
  - {kind: Secret, name: s, valuesKey: list, targetPath: l}
  - {kind: Secret, name: s, valuesKey: gone, optional: true}
  - {kind: ConfigMap, name: x}
`)
	facts := configMap("x", "b: public")
	facts[model.Need{Version: "v1", Kind: "Secret", Namespace: "ns", Name: "s"}] = model.Fact{State: model.Present, Object: parsed(t, `{apiVersion: v1, kind: Secret, stringData: {values.yaml: "{user: me, nested: [secret, 42, true, null]}", list: "{one,2}"}}`)}
	var got []string
	for _, text := range compiled(t, declared, facts).Delivery.Inputs[0].Render.Helm.Sensitive {
		got = append(got, string(text.Reveal()))
	}
	if want := []string{"secret", "42", "me", "one", "2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	plain := compiled(t, release(t, "x", "{chartRef: {kind: HelmChart, name: c}, values: {a: inline}}"), nil).Delivery.Inputs[0].Render.Helm.Sensitive
	if plain == nil || len(plain) > 0 {
		t.Errorf("without Secrets %v is sensitive: nil means that it is not known", plain)
	}
}

// TestValuesAreBounded: what others write into values must not take more than
// its share of memory or time.
func TestValuesAreBounded(t *testing.T) {
	many := strings.Repeat("{kind: ConfigMap, name: x},", maxValuesFrom+1)
	laughs := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'k'; i++ {
		laughs += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	for _, c := range []struct{ name, spec, value, want string }{
		{"many references", "valuesFrom: [" + many + "]", "a: 1", "more than 100 entries"},
		{"a large value", "valuesFrom: [{kind: ConfigMap, name: x}]", "a: " + strings.Repeat("x", maxValuesBytes), "larger than 8388608 bytes"},
		{"large values in all", "valuesFrom: [{kind: ConfigMap, name: x}, {kind: ConfigMap, name: x}]", "a: " + strings.Repeat("x", maxValuesBytes/2), "larger than 8388608 bytes"},
		{"an index of a path", `valuesFrom: [{kind: ConfigMap, name: x, targetPath: "a[65535][65535]"}]`, "1", "list indexes"},
		{"indexes of a value", `valuesFrom: [{kind: ConfigMap, name: x, targetPath: a}]`, "1" + strings.Repeat(",b[40000]=1", 2), "list indexes"},
		{"aliases of aliases", "valuesFrom: [{kind: ConfigMap, name: x}]", laughs, "no YAML mapping"},
		{"no number", "valuesFrom: [{kind: ConfigMap, name: x}]", "a: .nan", "no YAML mapping"},
		{"deep lists", "valuesFrom: [{kind: ConfigMap, name: x}]", "a: " + strings.Repeat("[", 20000), "no YAML mapping"},
	} {
		declared := release(t, "x", "chartRef: {kind: HelmChart, name: c}\n"+c.spec)
		_, _, _, err := New().Compile(declared, configMap("x", c.value), dialect.Settings{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestOneImpliedSourceForOneChart: releases of one chart share its source, and a
// new password is the same source with another credential.
func TestOneImpliedSourceForOneChart(t *testing.T) {
	facts := func(password string) model.Facts {
		repository := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": GroupSource + "/v1", "kind": kindHelmRepository, "metadata": map[string]any{"name": "r", "namespace": "ns"},
			"spec": map[string]any{"url": "https://charts.example.com", "secretRef": map[string]any{"name": "s"}},
		}}
		secret := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "stringData": map[string]any{"username": "u", "password": password}}}
		return model.Facts{
			repositoryNeed("ns", "r"):                                   {State: model.Present, Object: repository},
			{Version: "v1", Kind: "Secret", Namespace: "ns", Name: "s"}: {State: model.Present, Object: secret},
		}
	}
	const chart = "interval: 5m\nchart: {spec: {chart: podinfo, sourceRef: {kind: HelmRepository, name: r}, version: %q}}"
	implied := func(name, version, password string) model.Source {
		intent := compiled(t, release(t, name, fmt.Sprintf(chart, version)), facts(password))
		if len(intent.Implied) != 1 || intent.Delivery.Inputs[0].Source != intent.Implied[0].ID {
			t.Fatalf("%+v", intent)
		}
		return intent.Implied[0]
	}
	a, b := implied("a", "1.x", "old"), implied("b", "1.x", "old")
	if !reflect.DeepEqual(a, b) {
		t.Errorf("two releases of one chart read %+v and %+v", a, b)
	}
	if other := implied("a", "2.x", "old"); other.ID == a.ID {
		t.Error("another version is the same source")
	}
	renewed := implied("a", "1.x", "new")
	if renewed.ID != a.ID || reflect.DeepEqual(renewed, a) || string(renewed.Chart.Auth.Password.Reveal()) != "new" {
		t.Errorf("with a new password: %v, was %v", renewed.ID, a.ID)
	}
	if want := (object.ID{Group: impliedGroup, Kind: impliedKind, Namespace: "ns", Name: a.ID.Name}); a.ID != want || !a.Implied {
		t.Errorf("the implied source is %v, implied %t", a.ID, a.Implied)
	}
}

// TestWhatDriftDetectionLeavesAlone compiles the rules as whoever compares does.
func TestWhatDriftDetectionLeavesAlone(t *testing.T) {
	declared := release(t, "x", `
chartRef: {kind: HelmChart, name: c}
driftDetection:
  mode: enabled
  ignore:
    - {paths: [""], target: {kind: Secret}}
    - {paths: [/spec/replicas], target: {kind: Deployment}}
`)
	policy := compiled(t, declared, nil).Delivery.Policy
	rules, err := differ.Compile(policy.Ignore, policy.Compare)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, live, want string
	}{
		{"a plain object", `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}}`, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}}`},
		{"by annotation", `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, annotations: {helm.toolkit.fluxcd.io/driftDetection: disabled}}, data: {a: b}, immutable: true}`, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}`},
		{"by label", `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {helm.toolkit.fluxcd.io/driftDetection: disabled}}, data: {a: b}}`, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}`},
		{"the whole document", `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {a: b}, type: Opaque}`, `{apiVersion: v1, kind: Secret, metadata: {name: a}}`},
		{"a path", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 1, paused: true}}`, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {paused: true}}`},
	} {
		live, want := parsed(t, c.live), parsed(t, c.want)
		if _, err := rules.Strip(live); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(live.Object, want.Object) {
			t.Errorf("%s: %v is compared, want %v", c.name, live.Object, want.Object)
		}
	}
	for _, rule := range policy.Ignore {
		if !rule.CompareOnly {
			t.Errorf("%+v would keep a release from writing", rule)
		}
	}
}

func TestMarksOfReleases(t *testing.T) {
	owner := compiled(t, release(t, "web", `{chartRef: {kind: HelmChart, name: c}, targetNamespace: apps}`), nil).Delivery.Ownership
	want := model.Ownership{
		FieldManager:       "helm-controller",
		Finalizer:          Finalizer,
		Labels:             map[string]string{"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "ns"},
		TakeOver:           []string{"helm"},
		ReleaseLabels:      map[string]string{"app.kubernetes.io/managed-by": "Helm"},
		ReleaseAnnotations: map[string]string{"meta.helm.sh/release-name": "apps-web", "meta.helm.sh/release-namespace": "apps"},
	}
	if !reflect.DeepEqual(owner, want) {
		t.Errorf("%+v", owner)
	}
}

// TestHandlingOfReleases: what a release has made heeds Helm's annotation, and
// nothing else heeds it.
func TestHandlingOfReleases(t *testing.T) {
	const kustomize = "kustomize.toolkit.fluxcd.io/reconcile"
	for _, c := range []struct {
		name                string
		labels, annotations map[string]string
		want                model.Handling
	}{
		{"kept by Helm", originLabels(object.ID{Name: "a", Namespace: "b"}), map[string]string{"helm.sh/resource-policy": " Keep", kustomize: "disabled"}, model.Handling{Keep: true}},
		{"of a Kustomization", nil, map[string]string{"helm.sh/resource-policy": "keep", kustomize: "disabled"}, model.Handling{Disabled: true}},
	} {
		o := &unstructured.Unstructured{Object: map[string]any{}}
		o.SetLabels(c.labels)
		o.SetAnnotations(c.annotations)
		if got, stage := New().Handling(o); got != c.want || stage.Hook() {
			t.Errorf("%s: %+v, %+v", c.name, got, stage)
		}
	}
}

// TestRequests holds upstream's HandleAnnotationRequest.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name, reconcile, force, seen, handled, want string
	}{
		{"both are new", "2", "2", "1", "1", "2"},
		{"nothing was handled before", "2", "2", "", "", "2"},
		{"only a reconciliation", "2", "", "1", "", ""},
		{"no reconciliation", "", "2", "1", "1", ""},
		{"another token", "2", "3", "1", "1", ""},
		{"the reconciliation is done", "2", "2", "2", "1", ""},
		{"the request is done", "2", "2", "1", "2", ""},
	} {
		o := release(t, "x", "{}")
		o.SetAnnotations(map[string]string{AnnotationRequestedAt: c.reconcile, annotationForceAt: c.force})
		o.Object["status"] = map[string]any{"lastHandledReconcileAt": c.seen}
		if got := requested(o, annotationForceAt, c.handled); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestStatusIsReadBack: what is written is what is read after a restart.
func TestStatusIsReadBack(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ok := &model.Verdict{OK: true, Reason: "UpgradeSucceeded", Message: "done"}
	written := &model.ReleaseReport{
		StoredIn: "storage", Failures: 3, InstallFailures: 1, UpgradeFailures: 2,
		Attempted: model.ReleaseAttempt{Action: "upgrade", Revision: "1.2.3+ab", Generation: 4, ConfigDigest: "sha256:c", OCIDigest: "sha256:o", Duration: 1500 * time.Millisecond},
		History: []model.ReleaseSnapshot{
			{APIVersion: "v2", Digest: "sha256:a", Name: "n", Namespace: "ns", Version: 2, Status: "deployed", ChartName: "c", ChartVersion: "1.2.3", AppVersion: "1", ConfigDigest: "sha256:c", FirstDeployed: at, LastDeployed: at, TestHooks: map[string]model.TestHook{"t": {Started: at, Finished: at, Phase: "Succeeded"}}, OCIDigest: "sha256:o", Action: "upgrade"},
			{Digest: "sha256:b", Name: "n", Namespace: "ns", Version: 1, Status: "uninstalled", ChartName: "c", ChartVersion: "1.2.2", ConfigDigest: "sha256:c", FirstDeployed: at, LastDeployed: at, DeletedTime: at, TestHooks: map[string]model.TestHook{}},
		},
		ForceHandled: "f", ResetHandled: "r", PostRenderersDigest: "sha256:p", CommonMetadataDigest: "sha256:m",
		Released: ok, Ready: ok, Tested: &model.Verdict{Unknown: true, Reason: "AwaitingTests", Message: "soon"}, Remedied: &model.Verdict{Reason: "RollbackFailed", Message: "no"},
	}
	declared := release(t, "x", "chartRef: {kind: HelmChart, name: c}")
	edits := New().Project(&model.Report{Phase: model.PhaseDone, Generation: 4, At: at, Release: written}, declared)
	read := compiled(t, applied(declared, edits), nil).Delivery.Release
	if !reflect.DeepEqual(read.History, written.History) {
		t.Errorf("history: %+v\nwant %+v", read.History, written.History)
	}
	if read.Attempted != written.Attempted || read.Failures != 3 || read.InstallFailures != 1 || read.UpgradeFailures != 2 {
		t.Errorf("%+v, %d, %d, %d", read.Attempted, read.Failures, read.InstallFailures, read.UpgradeFailures)
	}
	want := model.ReleaseObserved{Generation: 4, StorageNamespace: "storage", PostRenderersDigest: "sha256:p", CommonMetadataDigest: "sha256:m"}
	if read.Observed != want || read.ForceHandled != "f" || read.ResetHandled != "r" {
		t.Errorf("%+v, %q, %q", read.Observed, read.ForceHandled, read.ResetHandled)
	}
	for name, pair := range map[string][2]*model.Verdict{
		"Released": {read.Released, written.Released}, "TestSuccess": {read.Tested, written.Tested}, "Remediated": {read.Remedied, written.Remedied},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: %+v, want %+v", name, pair[0], pair[1])
		}
	}
}

// FuzzValues composes what others write, and looks for it in what is told.
func FuzzValues(f *testing.F) {
	for _, seed := range [][2]string{
		{"a: 1", ""}, {"x", "a.b"}, {"{a,b}", "a[1]"}, {"'q'", `a\.b`}, {"a=b,c[3]=d", "x"}, {"a: &a [*a]", ""}, {"canary", "=,"}, {"canary\x00", "a[-1]"},
	} {
		f.Add(seed[0], seed[1], false)
		f.Add(seed[0], seed[1], true)
	}
	f.Fuzz(func(t *testing.T, data, path string, literal bool) {
		ref := valuesRef{need: model.Need{Version: "v1", Kind: "ConfigMap", Namespace: "ns", Name: "x"}, key: defaultValuesKey, path: path, literal: literal}
		inline := map[string]any{"a": map[string]any{"b": "c"}}
		secret := "canary-" + data
		values, fault, _ := compose(inline, []valuesRef{ref, ref}, configMap("x", secret))
		if fault != nil && strings.Contains(fault.Error(), "canary") && !strings.Contains(path, "canary") {
			t.Fatalf("%q tells a value", fault.Error())
		}
		if fault == nil {
			if _, err := asSecret(values); err != nil {
				t.Fatal(err)
			}
		}
	})
}
