package rows

import (
	"fmt"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// TestSeverityOrders: what needs somebody comes first, in lists and in facets.
func TestSeverityOrders(t *testing.T) {
	b := board.New("one", Deliveries)
	states, syncs := []string{Healthy, Suspended, Progressing, Unknown, Missing, Degraded}, []string{"Synced", "Unknown", "OutOfSync"}
	for i, state := range states {
		row := &plumbv1.Delivery{Ref: &plumbv1.ObjectRef{Kind: "Kustomization", Name: fmt.Sprint(i)}, Health: &plumbv1.Health{State: state}, Sync: syncs[i%3]}
		b.Put(ID(row.Ref), row)
	}
	for order, want := range map[string]string{
		"health":      "Degraded Missing Unknown Progressing Suspended Healthy",
		"health desc": "Healthy Suspended Progressing Unknown Missing Degraded",
		"":            "Degraded Missing Unknown Progressing Suspended Healthy",
		"sync":        "Degraded Progressing Missing Suspended Unknown Healthy",
	} {
		page, err := b.List(board.Query{OrderBy: order, Facets: true}, func(*plumbv1.Delivery) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range page.Rows {
			got = append(got, row.GetHealth().GetState())
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("ordered by %q: %s, want %s", order, text, want)
		}
		for _, f := range page.Facets {
			var values []string
			for _, v := range f.Values {
				values = append(values, v.Value)
			}
			switch text := strings.Join(values, " "); {
			case f.Field == "health" && text != "Degraded Missing Unknown Progressing Suspended Healthy", f.Field == "sync" && text != "OutOfSync Unknown Synced":
				t.Errorf("the values of %s are %s", f.Field, text)
			}
		}
	}
}

func TestSourceOf(t *testing.T) {
	repository := object.ID{Group: "source.toolkit.fluxcd.io", Kind: "GitRepository", Namespace: "team", Name: "web"}
	chart := object.ID{Group: "source.toolkit.fluxcd.io", Kind: "HelmChart", Namespace: "team", Name: "web"}
	show := func(r *plumbv1.SourceRef) string {
		return fmt.Sprintf("%s url %s path %s chart %s at %s", refName(r.GetRef()), r.GetUrl(), r.GetPath(), r.GetChart(), r.GetTargetRevision())
	}
	git := &model.Source{ID: repository, Git: &model.GitSource{URL: "https://ann:hunter2@git.example.org/web.git", Ref: model.GitRef{Branch: "main"}}}
	for _, c := range []struct {
		what         string
		in           model.Input
		source, from *model.Source
		want         string
	}{
		{"a GitRepository", model.Input{Source: repository, Path: "apps"}, git, nil, "GitRepository/team/web url https://git.example.org/web.git path apps chart  at main"},
		{"one that is not there", model.Input{Source: repository, Path: "apps"}, nil, nil, "GitRepository/team/web url  path apps chart  at "},
		{"a source that nobody declares", model.Input{Source: object.ID{Name: "x"}, URL: "https://git.example.org/web"}, &model.Source{Implied: true, Git: &model.GitSource{URL: "https://git.example.org/web", Ref: model.GitRef{Revision: "HEAD"}}}, nil,
			" url https://git.example.org/web path  chart  at HEAD"},
		{"a chart of a Helm repository", model.Input{Source: object.ID{Name: "x"}, Shown: chart}, &model.Source{Implied: true, Chart: &model.ChartSource{Repository: "https://charts.example.org", Name: "web", Version: "6.x"}}, nil,
			"HelmChart/team/web url https://charts.example.org path  chart web at 6.x"},
		{"a chart of a registry", model.Input{Source: chart}, &model.Source{Chart: &model.ChartSource{Repository: "ghcr.io/org", OCI: true, Name: "web", Version: "6.x"}}, nil,
			"HelmChart/team/web url oci://ghcr.io/org path  chart web at 6.x"},
		{"a chart in a repository", model.Input{Source: chart}, &model.Source{Chart: &model.ChartSource{From: repository, Name: "charts/web"}}, git, "HelmChart/team/web url https://git.example.org/web.git path  chart charts/web at "},
		{"an artifact", model.Input{Source: repository}, &model.Source{OCI: &model.OCISource{URL: "ghcr.io/org/web", Ref: model.OCIRef{Tag: "latest"}}}, nil, "GitRepository/team/web url oci://ghcr.io/org/web path  chart  at latest"},
		{"a bucket", model.Input{Source: repository}, &model.Source{Bucket: &model.BucketSource{Endpoint: "s3.example.org", Name: "web"}}, nil, "GitRepository/team/web url s3.example.org/web path  chart  at "},
	} {
		if got := show(SourceOf(&c.in, c.source, c.from)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
}
