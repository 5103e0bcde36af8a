package config

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

func facts(cm, params map[string]any) model.Facts {
	out := model.Facts{}
	for i, data := range []map[string]any{cm, params} {
		want := Needs("argocd")[i]
		out[want] = model.Fact{State: model.Absent}
		if data != nil {
			out[want] = model.Fact{State: model.Present, Object: &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": want.Name, "namespace": "argocd"}, "data": data,
			}}}
		}
	}
	return out
}

// words are findings without what is only for people.
func words(findings []model.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, string(f.Severity)+" "+f.Reason+" "+f.Origin.Declared.Name+" "+f.Origin.Field)
	}
	return out
}

func TestNothingIsDefault(t *testing.T) {
	want := Default()
	for name, given := range map[string]model.Facts{"absent": facts(nil, nil), "empty": facts(map[string]any{}, map[string]any{}), "unknown": nil} {
		got, findings := Read(given, "argocd")
		if !reflect.DeepEqual(got, want) || len(findings) > 0 {
			t.Errorf("%s: %+v %v", name, got, findings)
		}
	}
}

func TestSettings(t *testing.T) {
	got, findings := Read(facts(map[string]any{
		"application.instanceLabelKey":                  "example.com/app",
		"application.resourceTrackingMethod":            "label",
		"installationID":                                "one",
		"timeout.reconciliation":                        "0",
		"timeout.reconciliation.jitter":                 "5s",
		"timeout.hard.reconciliation":                   "1d",
		"application.sync.impersonation.enabled":        "true",
		"application.sync.impersonation.enforced":       "false",
		"cluster.inClusterEnabled":                      "false",
		"kustomize.enable":                              "false",
		"jsonnet.enable":                                "true",
		"helm.enable":                                   "no",
		"helm.valuesFileSchemes":                        "https, s3,",
		"kustomize.buildOptions":                        "--enable-helm",
		"resource.sensitive.mask.annotations":           "a, b,,",
		"resource.compareoptions":                       "ignoreAggregatedRoles: true\nignoreResourceStatusField: off\n",
		"globalProjects":                                "- projectName: p\n  labelSelector:\n    matchExpressions:\n      - {key: tier, operator: In, values: [low]}\n",
		"resource.customizations.health.Pod":            "return {}",
		"resource.customizations.useOpenLibs.Pod":       "true",
		"resource.customizations.knownTypeFields.a_B":   "[{field: spec.cpu, type: core/Quantity}]",
		"resource.customizations.ignoreDifferences.all": "managedFieldsManagers: [kube-controller-manager]\njqPathExpressions: ['.x']\n",
		"resource.customizations":                       "'*.example.com/*':\n  health.lua: return 1\n  health.lua.useOpenLibs: true\na/B:\n  ignoreDifferences: |\n    jsonPointers: [/spec/x]\n  knownTypeFields: [{field: spec.gone, type: x}]\n",
	}, map[string]any{
		"application.namespaces":                                "ns1, /team-.*/",
		"controller.sync.wave.delay.seconds":                    "3",
		"controller.sync.timeout.seconds":                       "60",
		"controller.resource.health.persist":                    "true",
		"reposerver.enable.git.submodule":                       "false",
		"reposerver.git.request.timeout":                        "30s",
		"applicationsetcontroller.namespaces":                   "sets-*",
		"applicationsetcontroller.policy":                       "create-update",
		"applicationsetcontroller.enable.policy.override":       "true",
		"applicationsetcontroller.enable.progressive.syncs":     "true",
		"applicationsetcontroller.enable.scm.providers":         "false",
		"applicationsetcontroller.allowed.scm.providers":        "https://git.example.com/",
		"applicationsetcontroller.enable.tokenref.strict.mode":  "true",
		"applicationsetcontroller.enable.new.git.file.globbing": "true",
		"applicationsetcontroller.enable.git.submodule":         "false",
		"applicationsetcontroller.requeue.after":                "1m",
		"applicationsetcontroller.dryrun":                       "true",
		"applicationsetcontroller.status.max.resources.count":   "7",
		"applicationsetcontroller.global.preserved.labels":      "l",
		"applicationsetcontroller.global.preserved.annotations": "a",
	}), "argocd")
	for _, f := range findings {
		if f.Reason != ReasonDiffers && f.Reason != ReasonServer {
			t.Errorf("unexpected finding %+v", f)
		}
	}
	for i := range got.Ignore {
		if got.Ignore[i].Origin.Declared.Name != Name || !strings.HasPrefix(got.Ignore[i].Origin.Field, "data.resource.") {
			t.Errorf("rule %d comes from nowhere: %+v", i, got.Ignore[i].Origin)
		}
		got.Ignore[i].Origin = model.Origin{}
	}
	if len(got.GlobalProjects) != 1 || got.GlobalProjects[0].Name != "p" ||
		!got.GlobalProjects[0].Selector.Matches(labels.Set{"tier": "low"}) || got.GlobalProjects[0].Selector.Matches(labels.Set{"tier": "high"}) {
		t.Errorf("global projects: %v", got.GlobalProjects)
	}
	got.GlobalProjects = nil
	if got.Health == nil || !strings.HasPrefix(got.Health.Digest, "sha256:") {
		t.Fatalf("health: %+v", got.Health)
	}
	got.Health.Digest = ""
	want := Settings{
		InstanceLabelKey: "example.com/app", Tracking: TrackByLabel, InstallationID: "one",
		Jitter: 5 * time.Second, HardReconciliation: 24 * time.Hour,
		Impersonation: true, Directory: true, KustomizeHelm: true, ValuesFileSchemes: []string{"https", "s3"},
		Ignore: []model.IgnoreRule{
			{Managers: []string{"kube-controller-manager"}, Queries: []string{".x"}, CompareOnly: true},
			{Paths: []string{"/spec/x"}, Target: &model.Selector{Group: "a", Kind: "B"}, CompareOnly: true},
		},
		Compare: model.CompareRules{
			KnownTypes:            map[string]map[string]string{"a/B": {"spec.cpu": "core/Quantity"}},
			IgnoreAggregatedRoles: true,
			Status:                model.StatusOfNone,
		},
		Health: &model.HealthRules{
			Scripts:  map[string]string{"/Pod": "return {}", "*.example.com/*": "return 1"},
			OpenLibs: map[string]bool{"/Pod": true, "*.example.com/*": true},
		},
		SensitiveAnnotations:  []string{"a", "b"},
		ApplicationNamespaces: []string{"ns1", "/team-.*/"},
		WaveDelay:             3 * time.Second, SyncTimeout: time.Minute, GitTimeout: 30 * time.Second,
		ApplicationSets: ApplicationSets{
			Namespaces: []string{"sets-*"}, Policy: "create-update", PolicyOverride: true, ProgressiveSyncs: true,
			PreservedAnnotations: []string{"a"}, PreservedLabels: []string{"l"}, AllowedSCMProviders: []string{"https://git.example.com/"},
			TokenRefStrict: true, NewGitGlobbing: true, RequeueAfter: time.Minute, DryRun: true, MaxResources: 7,
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestUnusable gives every setting a value that cannot be used: what it should
// change stays as it is, and a finding names its key.
func TestUnusable(t *testing.T) {
	cm := map[string]any{
		"application.resourceTrackingMethod":            "both",
		"timeout.reconciliation":                        "soon",
		"timeout.reconciliation.jitter":                 "-1s",
		"application.sync.impersonation.enabled":        "perhaps",
		"resource.exclusions":                           "a: [",
		"resource.inclusions":                           "[{apiGroups: 1}]",
		"resource.compareoptions":                       "ignoreResourceStatusField: some",
		"globalProjects":                                "- labelSelector: {matchExpressions: [{key: a, operator: Near}]}",
		"resource.customizations":                       "[]",
		"resource.customizations.health.a_b_c":          "x",
		"resource.customizations.useOpenLibs.a_b":       "maybe",
		"resource.customizations.knownTypeFields.a_b":   "[{field: x}]",
		"resource.customizations.ignoreDifferences.a_b": "1",
		"resource.customizations.colour.a_b":            "x",
		"installationID":                                int64(3),
	}
	params := map[string]any{
		"controller.sync.wave.delay.seconds":                  "two",
		"controller.sync.timeout.seconds":                     "-1",
		"reposerver.git.request.timeout":                      "x",
		"applicationsetcontroller.policy":                     "destroy",
		"applicationsetcontroller.requeue.after":              "x",
		"applicationsetcontroller.status.max.resources.count": "x",
		"applicationsetcontroller.dryrun":                     "x",
	}
	got, findings := Read(facts(cm, params), "argocd")
	told := map[string]bool{}
	for _, f := range findings {
		if f.Reason == ReasonInvalid && f.Severity == model.Warning {
			told[strings.TrimPrefix(f.Origin.Field, "data.")] = true
		}
	}
	for _, data := range []map[string]any{cm, params} {
		for key := range data {
			if !told[key] {
				t.Errorf("nothing is said about %s", key)
			}
		}
	}
	want := Default()
	want.ApplicationSets.Policy = "create-only" // takes nothing away
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestUnavailable(t *testing.T) {
	given := facts(nil, nil)
	if fault := Unavailable(given, "argocd"); fault != nil {
		t.Errorf("absent settings are a fault: %v", fault)
	}
	given[Needs("argocd")[0]] = model.Fact{State: model.Forbidden, Message: "no access"}
	if fault := Unavailable(given, "argocd"); fault == nil || !fault.Retry || !strings.Contains(fault.Message, "argocd/argocd-cm") {
		t.Errorf("got %v", fault)
	}
	_, findings := Read(given, "argocd")
	if got := words(findings); !slices.Equal(got, []string{"warning SettingsUnavailable argocd-cm data"}) {
		t.Errorf("got %v", got)
	}
}

// TestDocumentedKeys reads upstream's documented settings: every key has a row
// in the table, and every example can be used.
func TestDocumentedKeys(t *testing.T) {
	for file, table := range map[string][]Key{"testdata/argocd-cm.yaml": keys, "testdata/argocd-cmd-params-cm.yaml": params} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		if err := yaml.Unmarshal(text, &names); err != nil {
			t.Fatal(err)
		}
		if len(names) < 50 {
			t.Fatalf("%s holds %d keys", file, len(names))
		}
		for _, name := range names {
			if _, known := lookup(table, name); !known {
				t.Errorf("%s: %s has no row", file, name)
			}
		}
	}
}

func TestKeysAreClassified(t *testing.T) {
	_, findings := Read(facts(map[string]any{
		"url": "https://x", "ga.trackingid": "x", "kustomize.buildOptions": "--x", "kustomize.path.v3": "/x",
		"resource.customizations.actions.apps_Deployment": "x", "resource.customizations.ignoreResourceUpdates.all": "x", "surprise": "x", "ui.cssurl": "",
		"dex.config": "x", "ui.bannercontent": "x", "accounts.ann": "login", "oidc.config": "x",
	}, map[string]any{"redis.server": "x", "server.insecure": "x", "controller.diff.server.side": "x", "application.namespaces": "x"}), "argocd")
	want := []string{
		"info Differs argocd-cm data.dex.config",
		"info NotApplicable argocd-cm data.ga.trackingid",
		"info Differs argocd-cm data.kustomize.path.v3",
		"info NotYetServed argocd-cm data.resource.customizations.actions.apps_Deployment",
		"info Differs argocd-cm data.resource.customizations.ignoreResourceUpdates.all",
		"warning UnknownSetting argocd-cm data.surprise",
		"info NotYetServed argocd-cm data.ui.bannercontent",
		"warning NotActedOn argocd-cm data.kustomize.buildOptions",
		"info Differs argocd-cmd-params-cm data.controller.diff.server.side",
		"info NotApplicable argocd-cmd-params-cm data.redis.server",
		"info NotYetServed argocd-cmd-params-cm data.server.insecure",
	}
	if got := words(findings); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTableIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range Keys() {
		id := row.ConfigMap + " " + row.Name
		if seen[id] {
			t.Errorf("%s has two rows", id)
		}
		seen[id] = true
		if row.Support != Works && row.Note == "" {
			t.Errorf("%s does not say what becomes of it", id)
		}
	}
}

func TestHealthDigest(t *testing.T) {
	digest := func(data map[string]any) string {
		settings, _ := Read(facts(data, nil), "argocd")
		return settings.Health.Digest
	}
	one := digest(map[string]any{"resource.customizations.health.a_B": "x"})
	if one != digest(map[string]any{"resource.customizations.health.a_B": "x", "url": "y"}) {
		t.Error("the digest depends on other settings")
	}
	for _, other := range []map[string]any{
		{"resource.customizations.health.a_B": "y"},
		{"resource.customizations.health.a_C": "x"},
		{"resource.customizations.health.a_B": "x", "resource.customizations.useOpenLibs.a_B": "true"},
	} {
		if one == digest(other) {
			t.Errorf("%v has the digest of another set", other)
		}
	}
}

func TestExcludes(t *testing.T) {
	s := Settings{
		Exclusions: []ResourceFilter{{APIGroups: []string{"*.bad.com"}, Kinds: []string{"X"}, Clusters: []string{"https://a*"}}},
		Inclusions: []ResourceFilter{{APIGroups: []string{"apps", "*.bad.com"}, Clusters: []string{"https://a*"}}},
	}
	for _, c := range []struct {
		group, kind, cluster string
		want                 bool
	}{
		{"events.k8s.io", "Event", "x", true},
		{"", "Event", "x", true},
		{"", "Pod", "x", false},
		{"coordination.k8s.io", "Lease", "x", true},
		{"x.bad.com", "X", "https://a.b", true},
		{"x.bad.com", "Y", "https://a.b", false},
		{"x.bad.com", "X", "https://b", false},
		{"apps", "Deployment", "https://a", false},
		{"", "Pod", "https://a", true}, // inclusions speak of the cluster, and not of this
		{"", "Pod", "https://b", false},
	} {
		if got := s.Excludes(c.group, c.kind, c.cluster); got != c.want {
			t.Errorf("%+v: got %t", c, got)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b", true}, {"a*c", "abbc", true}, {"a*c", "abbd", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"[a-c]x", "bx", true}, {"[a-c]x", "dx", false}, {"[!a-c]x", "dx", true}, {"[!a-c]x", "ax", false},
		{"{a,b*}.com", "bbb.com", true}, {"{a,b*}.com", "c.com", false}, {"a.c", "abc", false}, {`\*`, "*", true}, {`\*`, "a", false},
		{"[", "[", true}, {"[", "a", false}, {"{a", "a", false}, {"a\\", "a", false}, {"a,b", "a,b", true}, {"[]]", "]", true},
	} {
		if got := Glob(c.pattern, c.text); got != c.want {
			t.Errorf("%q on %q: got %t", c.pattern, c.text, got)
		}
	}
	for _, c := range []struct {
		patterns []string
		text     string
		want     bool
	}{
		{[]string{"team-*"}, "team-a", true}, {[]string{"/team-[0-9]+/"}, "team-12", true}, {[]string{"/^team-[0-9]+$/"}, "team-x", false},
		{[]string{"/(/"}, "(", false}, {nil, "a", false},
	} {
		if got := Listed(c.patterns, c.text); got != c.want {
			t.Errorf("%q on %q: got %t", c.patterns, c.text, got)
		}
	}
	if Pattern("") != "()" || Pattern("a.b") != `a\.b` || Pattern("{a") != `[^\s\S]` {
		t.Errorf("patterns: %q %q %q", Pattern(""), Pattern("a.b"), Pattern("{a"))
	}
}

func FuzzRead(f *testing.F) {
	f.Add("resource.customizations", "a/B:\n  health.lua: x\n")
	f.Add("resource.customizations.ignoreDifferences.a_B", "jsonPointers: [/a]")
	f.Add("resource.exclusions", "[{apiGroups: [a], clusters: ['[']}]")
	f.Add("timeout.reconciliation", "107000d")
	f.Add("globalProjects", "- labelSelector: {matchLabels: {a: b}}")
	f.Fuzz(func(t *testing.T, key, value string) {
		settings, findings := Read(facts(map[string]any{key: value}, map[string]any{key: value}), "argocd")
		again, _ := Read(facts(map[string]any{key: value}, map[string]any{key: value}), "argocd")
		if !reflect.DeepEqual(settings, again) {
			t.Error("the same settings are read in two ways")
		}
		for _, d := range []time.Duration{settings.Reconciliation, settings.Jitter, settings.HardReconciliation, settings.WaveDelay, settings.SyncTimeout, settings.GitTimeout, settings.ApplicationSets.RequeueAfter} {
			if d < 0 || d > maxDuration {
				t.Errorf("%q=%q makes a duration of %s", key, value, d)
			}
		}
		for _, finding := range findings {
			if finding.Reason == "" || finding.Message == "" || len(finding.Message) > 2000 {
				t.Errorf("finding %+v", finding)
			}
		}
		settings.Excludes("a", "b", "c")
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("a*[b-c]{d,e}", "abd")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		Glob(pattern, text)
		Pattern(pattern)
	})
}
