package release

import (
	"reflect"
	"slices"
	"testing"

	rspb "helm.sh/helm/v4/pkg/release/v1"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// The digest that is spelled out is expected by helm-controller's tests.
func TestObserve(t *testing.T) {
	const want = "sha256:f1498f27a16a09cd7e1ee610d924df065c03d30035638babc95dd9a8d412ce4d"
	if got := Observe(&Record{Name: "foo"}, "", ""); got != want {
		t.Errorf("a record that holds its name only: %s", got)
	}
	r := install(t)
	before := Observe(r, "", "")
	r.Ran("Pod", "check", moment, moment, true)
	if Observe(r, "", "") != before {
		t.Error("a test that somebody ran changes the digest")
	}
	for what, change := range map[string]func(){
		"the manifest": func() { r.Manifest += "x" },
		"a hook":       func() { r.Ran("Job", "migrate", moment, moment, true) },
		"the values":   func() { r.Config["more"] = true },
		"the status":   func() { r.Succeed() },
	} {
		was := Observe(r, "", "")
		if change(); Observe(r, "", "") == was {
			t.Errorf("%s does not change the digest", what)
		}
	}
	if Observe(r, "sha256:ab", "") == Observe(r, "", "") {
		t.Error("the artifact does not change the digest")
	}
	if got := Observe(r, "", "sha512:x"); len(got) != len("sha512:")+128 {
		t.Errorf("with SHA-512: %s", got)
	}
}

func TestSum(t *testing.T) {
	r := install(t)
	r.Succeed()
	s := r.Sum(nil, "sha256:ab")
	want := model.ReleaseSnapshot{
		APIVersion: "v2", Digest: Observe(r, "sha256:ab", ""), Name: "web", Namespace: "apps", Version: 1, Status: "deployed", Action: "install",
		ChartName: "web", ChartVersion: "1.2.3", AppVersion: "7", ConfigDigest: helm.ValuesDigest(r.Config), OCIDigest: "sha256:ab",
		FirstDeployed: moment, LastDeployed: moment,
	}
	if !reflect.DeepEqual(s.ReleaseSnapshot, want) || s.Made != helm.Install || s.By != "flux-system/web" {
		t.Errorf("%+v", s)
	}
	// What the status tells of the same revision stays.
	known := []model.ReleaseSnapshot{{Name: "web", Namespace: "apps", Version: 1, Digest: "sha512:00", OCIDigest: "sha256:cd", Action: "upgrade", TestHooks: map[string]model.TestHook{}}}
	r.Action = ""
	if s = r.Sum(known, "sha256:ab"); s.OCIDigest != "sha256:cd" || s.Action != "upgrade" || s.TestHooks == nil || s.Digest != Observe(r, "sha256:cd", "sha512:") {
		t.Errorf("%+v", s)
	}
}

func records(list ...string) []Stored {
	var out []Stored
	for i, is := range list {
		out = append(out, Stored{ReleaseSnapshot: model.ReleaseSnapshot{Name: "web", Version: i + 1, Status: is}})
	}
	Newest(out)
	return out
}

func TestHistory(t *testing.T) {
	s := records("superseded", "deployed", "failed", "failed")
	if Deployed(s).Version != 2 || Deployed(records("failed")) != nil {
		t.Error("deployed")
	}
	for _, c := range []struct {
		most int
		want []int
	}{{0, nil}, {9, nil}, {5, nil}, {4, []int{1}}, {3, []int{1, 3}}, {2, []int{1, 3, 4}}, {1, []int{1, 3, 4}}} {
		if got := Surplus(s, 5, c.most); !slices.Equal(got, c.want) {
			t.Errorf("of four with the second deployed, %d kept: %v go", c.most, got)
		}
	}
	if got := Surplus(s, 4, 3); !slices.Equal(got, []int{1}) {
		t.Errorf("once the fourth is written %v go", got)
	}
	for _, c := range []struct {
		action helm.Action
		stored []Stored
		newer  int
		want   []int
	}{
		{helm.Upgrade, s, 5, []int{2}},
		{helm.Upgrade, records("failed", "failed"), 3, []int{2}},
		{helm.Upgrade, records("deployed", "pending-upgrade"), 2, []int{1}},
		{helm.Rollback, records("deployed", "deployed", "failed"), 4, []int{2, 1}},
		{helm.Uninstall, records("deployed", "uninstalled"), 2, []int{1}},
		{helm.Install, records("superseded", "uninstalled"), 3, []int{2}},
		{helm.Install, records("failed"), 2, nil},
		{helm.Install, nil, 1, nil},
	} {
		if got := Superseded(c.action, c.stored, c.newer); !slices.Equal(got, c.want) {
			t.Errorf("%s v%d over %v supersedes %v", c.action, c.newer, c.stored, got)
		}
	}
}

func TestFires(t *testing.T) {
	h := &rspb.Hook{Events: []rspb.HookEvent{rspb.HookPreInstall, rspb.HookTest}}
	if !fires(h, rspb.HookTest) || fires(h, rspb.HookPostInstall) {
		t.Error("events")
	}
}
