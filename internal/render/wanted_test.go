package render

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// TestSourceOfAWant takes the credential of the place that an address lies in,
// and of no other.
func TestSourceOfAWant(t *testing.T) {
	reader := &model.Delivery{ID: object.ID{Kind: "HelmRelease", Namespace: "apps", Name: "web"}}
	in := &model.Input{Charts: []model.ChartPlace{
		{URL: "https://charts.example.com/team", Auth: model.HTTPAuth{Username: "team"}},
		{URL: "oci://registry.example.com/charts", Alias: "ours", Auth: model.HTTPAuth{Username: "ours"}},
	}}
	for repository, want := range map[string][2]string{
		"https://charts.example.com/team/stable":    {"https://charts.example.com/team/stable", "team"},
		"https://charts.example.com/teams":          {"https://charts.example.com/teams", ""},
		"https://charts.example.com/team/../others": {"https://charts.example.com/team/../others", ""},
		"@ours":                              {"registry.example.com/charts", "ours"},
		"oci://registry.example.com/charts/": {"registry.example.com/charts/", "ours"},
	} {
		asked := wantChart(WantedChart{Name: "common", Version: "1.x", Repository: repository}, "Chart.yaml")
		got, err := asked.Source(reader, in, []byte("key"))
		if err != nil || got.Chart.Repository != want[0] || got.Chart.Auth.Username != want[1] || !got.Implied || got.ID.Namespace != "apps" {
			t.Errorf("%s: %+v (%v)", repository, got.Chart, err)
		}
	}
	nobody := wantChart(WantedChart{Name: "common", Repository: "alias:nobody"}, "Chart.yaml")
	if _, err := nobody.Source(reader, in, nil); err == nil {
		t.Error("an alias that nobody declares is found")
	}
}

func TestNamespacedKinds(t *testing.T) {
	for kind, want := range map[schema.GroupVersionKind][2]bool{
		{Version: "v1", Kind: "ConfigMap"}:                                       {true, true},
		{Version: "v1", Kind: "Namespace"}:                                       {false, true},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}: {false, true},
		{Group: "example.com", Version: "v1", Kind: "Gadget"}:                    {false, false},
	} {
		if namespaced, known := Namespaced(kind); namespaced != want[0] || known != want[1] {
			t.Errorf("%s: %v, %v", kind, namespaced, known)
		}
	}
}
