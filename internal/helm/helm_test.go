package helm

import (
	"fmt"
	"hash"
	"reflect"
	"slices"
	"strings"
	"testing"

	v2 "github.com/fluxcd/helm-controller/api/v2"
	"github.com/fluxcd/pkg/apis/kustomize"
	rspb "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/release/v1/util"

	"plumb.dev/plumb/internal/model"
)

func TestShortName(t *testing.T) {
	long := "some-front-appended-namespace-release-with-a-very-long-name"
	for name, want := range map[string]string{
		"web":                   "web",
		strings.Repeat("a", 53): strings.Repeat("a", 53),
		long:                    "some-front-appended-namespace-release-wi-",
	} {
		got := ShortName(name)
		if len(name) <= 53 && got != want || len(name) > 53 && (!strings.HasPrefix(got, want) || len(got) != 53) {
			t.Errorf("%s is shortened to %s", name, got)
		}
	}
	// sha256 of the name, by another program.
	if got := ShortName(strings.Repeat("a", 54)); got != strings.Repeat("a", 40)+"-a3f01b693925" {
		t.Errorf("54 letters are shortened to %s", got)
	}
}

func TestReleaseName(t *testing.T) {
	for _, c := range [][4]string{{"mine", "apps", "web", "mine"}, {"", "apps", "web", "apps-web"}, {"", "", "web", "web"}} {
		if got := ReleaseName(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%q: %s", c, got)
		}
	}
}

func TestChartVersion(t *testing.T) {
	const sum = "sha256:9933f58f8bf459eb199d59ebc8a05683f3944e1242d9f5467d99aa2cf08a5370"
	for _, c := range []struct{ version, revision, want, digest, fault string }{
		{version: "1.2.3", revision: "1.2.3@" + sum, want: "1.2.3+9933f58f8bf4", digest: sum},
		{version: "1.2.3", revision: "latest@" + sum, want: "1.2.3+9933f58f8bf4", digest: "latest@" + sum},
		{version: "0.1.0+20241102104025", revision: "0.1.0_20241102104025@" + sum, want: "0.1.0+9933f58f8bf4", digest: sum},
		{version: "1.2.3", revision: sum, want: "1.2.3+9933f58f8bf4", digest: sum},
		{version: "1.2.3", revision: "1.2.3", want: "1.2.3"},
		{version: "1.2.3", revision: "", want: "1.2.3"},
		{version: "1.2.3", revision: "1.2.4@" + sum, fault: "artifact revision 1.2.4 does not match chart version 1.2.3"},
		{version: "one", revision: sum, fault: "invalid chart version one"},
		{version: "1.2.3", revision: "sha256:abc", fault: "invalid artifact revision sha256:abc"},
		{version: "1.2.3", revision: "sha256:abc:" + sum, fault: "invalid artifact revision sha256:abc:" + sum},
	} {
		got, digest, err := ChartVersion(c.version, c.revision)
		if err != nil && err.Error() != c.fault || err == nil && (c.fault != "" || got != c.want || digest != c.digest) {
			t.Errorf("%s of %s: %s, %s, %v", c.version, c.revision, got, digest, err)
		}
	}
}

// The digests are those that upstream's own tests expect.
func TestValuesDigest(t *testing.T) {
	const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	ports := []any{map[string]any{"protocol": "TCP", "port": 8080}, map[string]any{"port": 9090.0, "protocol": "UDP"}}
	for _, c := range []struct {
		values map[string]any
		want   string
	}{
		{nil, empty},
		{map[string]any{}, empty},
		{map[string]any{"replicas": 3, "image": map[string]any{"tag": "latest", "repository": "nginx"}, "ports": ports}, "sha256:fcdc2b0de1581a3633ada4afee3f918f6eaa5b5ab38c3fef03d5b48d3f85d9f6"},
		{map[string]any{"replicas": 3.0, "test": map[string]any{
			"632bd80235a05f4192aefade": "value1", "632bd80ddf416cf32fd50679": "value2",
			"632bd817c559818a52307da2": "value3", "632bd82398e71231a98004b6": "value4",
		}}, "sha256:8a980fcbeadd6f05818f07e8aec14070c22250ca3d96af1fcd5f93b3e85b4d70"},
		{map[string]any{"foo": "bar"}, "sha256:1dabc4e3cbbd6a0818bd460f3a6c9855bfe95d506c74726bc0f2edb0aecb1f4e"},
	} {
		if got := ValuesDigest(c.values); got != c.want || !SameValues(c.want, c.values) {
			t.Errorf("%v: %s", c.values, got)
		}
	}
	some := map[string]any{"foo": "bar", "baz": map[string]any{"cool": "stuff"}}
	const in512 = "sha512:b5f9cd4855ca3b08afd602557f373069b1732ce2e6d52341481b0d38f1938452e9d7759ab177c66699962b592f20ceded03eea3cd405d8670578c47842e2c550"
	if !SameValues(in512, some) || SameValues(in512, nil) {
		t.Error("SHA-512 is not understood")
	}
	for _, bad := range []string{"", "sha256", "md5:abc", "sha512:invalid"} {
		if SameValues(bad, nil) {
			t.Errorf("%q is taken for a digest", bad)
		}
	}
	if got := Digest("", func(hash.Hash) error { return fmt.Errorf("no") }); got != "" {
		t.Errorf("a text that cannot be written has the digest %s", got)
	}
}

func TestSpecDigest(t *testing.T) {
	// sha256 of `[{"kustomize":{"images":[{"name":"a","newTag":"1"}]}}]` with a newline, by another program.
	part := []v2.PostRenderer{{Kustomize: &v2.Kustomize{Images: []kustomize.Image{{Name: "a", NewTag: "1"}}}}}
	if got := SpecDigest(part); got != "sha256:a90e07830f3f78a44c08d18744d3179c4adf2656e135eaf0d1c22c29970dc19c" {
		t.Errorf("post renderers: %s", got)
	}
}

func TestOrderIsHelms(t *testing.T) {
	kinds := append(slices.Clone(util.InstallOrder), "Zebra", "Aardvark")
	sorted := slices.Clone(kinds)
	slices.Reverse(sorted)
	slices.SortStableFunc(sorted, func(a, b string) int {
		switch {
		case InstallsBefore(a, b):
			return -1
		case InstallsBefore(b, a):
			return 1
		}
		return 0
	})
	if want := append(slices.Clone(util.InstallOrder), "Aardvark", "Zebra"); !slices.Equal(sorted, want) {
		t.Errorf("installed as %q", sorted)
	}
	slices.SortStableFunc(sorted, func(a, b string) int { return UninstallRank(a) - UninstallRank(b) })
	if want := append(slices.Clone(util.UninstallOrder), "Aardvark", "Zebra"); !slices.Equal(sorted, want) {
		t.Errorf("uninstalled as %q", sorted)
	}
	if InstallRank("Zebra") != InstallRank("Aardvark") || InstallRank("Namespace") >= InstallRank("Pod") {
		t.Error("ranks")
	}
}

// TestHooksAreHelms reads annotations with Helm's own code and with ours.
func TestHooksAreHelms(t *testing.T) {
	for _, hook := range []string{"-", "", "pre-install", " Pre-Install , post-upgrade", "test", "test-success", "crd-install", "pre-install,odd"} {
		for _, weight := range []string{"-", "5", "-3", "many"} {
			for _, policy := range []string{"-", "hook-succeeded, HOOK-FAILED", "never"} {
				annotations := map[string]string{"x": "y"}
				text := "kind: Job\nmetadata:\n  name: a\n  annotations:\n    x: y\n"
				for name, value := range map[string]string{HookAnnotation: hook, HookWeightAnnotation: weight, HookDeleteAnnotation: policy, HookOutputAnnotation: policy} {
					if value != "-" {
						annotations[name] = value
						text += fmt.Sprintf("    %s: %q\n", name, value)
					}
				}
				theirs, plain, err := util.SortManifests(map[string]string{"a.yaml": text}, nil, util.InstallOrder)
				if err != nil {
					t.Fatal(err)
				}
				ours, role := ReadHook("Job", "a", annotations)
				if wantRole := map[bool]Role{true: Plain}[len(plain) == 1]; len(theirs) == 0 && (role == Hooked || (role == Plain) != (len(plain) == 1)) {
					t.Errorf("%q: role %d, want %d", annotations, role, wantRole)
				}
				if len(theirs) == 0 {
					continue
				}
				h := theirs[0]
				got := &rspb.Hook{Name: ours.Name, Kind: ours.Kind, Path: h.Path, Manifest: h.Manifest, Weight: ours.Weight, Events: []rspb.HookEvent{}, DeletePolicies: []rspb.HookDeletePolicy{}, OutputLogPolicies: []rspb.HookOutputLogPolicy{}}
				for _, e := range ours.Events {
					got.Events = append(got.Events, rspb.HookEvent(e))
				}
				for _, p := range ours.Delete {
					got.DeletePolicies = append(got.DeletePolicies, rspb.HookDeletePolicy(p))
				}
				for _, p := range ours.Output {
					got.OutputLogPolicies = append(got.OutputLogPolicies, rspb.HookOutputLogPolicy(p))
				}
				if role != Hooked || !reflect.DeepEqual(got, h) {
					t.Errorf("%q: %+v, want %+v", annotations, got, h)
				}
			}
		}
	}
}

func TestStages(t *testing.T) {
	hooks := []Hook{
		{Name: "b", Kind: "Job", Events: []Event{PreInstall, PreUpgrade}},
		{Name: "a", Kind: "Job", Events: []Event{PreInstall, PostInstall}, Delete: []string{"hook-succeeded", "hook-failed"}},
		{Name: "a", Kind: "ServiceAccount", Events: []Event{PreInstall}, Delete: []string{"odd"}},
		{Name: "z", Kind: "CustomResourceDefinition", Events: []Event{PreInstall}, Weight: -1},
		{Name: "t", Kind: "Pod", Events: []Event{EventTest, EventTest}},
		{Name: "d", Kind: "Job", Events: []Event{PreDelete, PostDelete}},
		{Name: "r", Kind: "Job", Events: []Event{PreRollback, PostRollback}},
	}
	before := []model.HookDeletePolicy{model.BeforeHookCreation}
	stays := []model.HookDeletePolicy{model.HookStays}
	phases := func(p ...model.SyncPhase) []model.SyncPhase { return p }
	for action, want := range map[Action][]*model.Stage{
		Install: {
			{Hooks: phases(model.PreSync), Wave: 3, OnDelete: before},
			{Hooks: phases(model.PreSync, model.PostSync), Wave: 2, OnDelete: []model.HookDeletePolicy{model.HookSucceeded, model.HookFailed}},
			{Hooks: phases(model.PreSync), Wave: 1, OnDelete: stays},
			{Hooks: phases(model.PreSync), Wave: 0, OnDelete: stays}, nil, nil, nil,
		},
		Upgrade:   {{Hooks: phases(model.PreSync), OnDelete: before}, nil, nil, nil, nil, nil, nil},
		Test:      {nil, nil, nil, nil, {Hooks: phases(model.PostSync), OnDelete: before}, nil, nil},
		Uninstall: {nil, nil, nil, nil, nil, {Hooks: phases(model.PreDelete, model.PostDelete), OnDelete: before}, nil},
		Rollback:  {nil, nil, nil, nil, nil, nil, {Hooks: phases(model.PreSync, model.PostSync), OnDelete: before}},
		"":        {nil, nil, nil, nil, nil, nil, nil},
	} {
		if got := Stages(hooks, action); !reflect.DeepEqual(got, want) {
			for i := range got {
				t.Errorf("%s: hook %d: %+v, want %+v", action, i, got[i], want[i])
			}
		}
	}
}

func TestMarks(t *testing.T) {
	labels, annotations := Marks("web", "apps")
	if why := Foreign(labels, annotations, "web", "apps"); why != "" {
		t.Errorf("what has the marks is refused: %s", why)
	}
	want := `invalid ownership metadata; label validation error: missing key "app.kubernetes.io/managed-by": must be set to "Helm"; annotation validation error: key "meta.helm.sh/release-name" must equal "other": current value is "web"`
	if why := Foreign(nil, annotations, "other", "apps"); why != want {
		t.Errorf("refused with %s", why)
	}
	for value, keeps := range map[string]bool{"keep": true, " Keep ": true, "delete": false, "": false} {
		if Keeps(map[string]string{PolicyAnnotation: value}) != keeps {
			t.Errorf("resource-policy %q: %v", value, !keeps)
		}
	}
}

func TestWordsAreUpstreams(t *testing.T) {
	for ours, theirs := range map[string]string{
		InstallSucceeded: v2.InstallSucceededReason, InstallFailed: v2.InstallFailedReason,
		UpgradeSucceeded: v2.UpgradeSucceededReason, UpgradeFailed: v2.UpgradeFailedReason,
		TestSucceeded: v2.TestSucceededReason, TestFailed: v2.TestFailedReason,
		RollbackSucceeded: v2.RollbackSucceededReason, RollbackFailed: v2.RollbackFailedReason,
		UninstallSucceeded: v2.UninstallSucceededReason, UninstallFailed: v2.UninstallFailedReason,
		DriftDetected: v2.DriftDetectedReason, NoDriftDetected: v2.NoDriftDetectedReason,
	} {
		if ours != theirs {
			t.Errorf("%s, upstream says %s", ours, theirs)
		}
	}
	if got, want := (v2.HelmRelease{}).GetMaxHistory(), DefaultMaxHistory; got != want {
		t.Errorf("%d records are kept, upstream keeps %d", want, got)
	}
	if got := (v2.HelmRelease{}).GetTimeout().Seconds(); got != DefaultTimeout {
		t.Errorf("timeout %v", got)
	}
	if got := (v2.InstallStrategy{}).GetRetryInterval().Seconds(); got != DefaultRetryInterval {
		t.Errorf("retry interval %v", got)
	}
	s := model.ReleaseSnapshot{Namespace: "apps", Name: "web", Version: 3, ChartName: "c", ChartVersion: "1"}
	u := v2.Snapshot{Namespace: "apps", Name: "web", Version: 3, ChartName: "c", ChartVersion: "1"}
	if ReleaseText(&s) != u.FullReleaseName() || ChartText("c", "1") != u.VersionedChartName() {
		t.Errorf("%s %s", ReleaseText(&s), ChartText("c", "1"))
	}
}
