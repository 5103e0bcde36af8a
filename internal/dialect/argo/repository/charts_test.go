package repository

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
)

// TestCredentialsStayAtTheirHost: a prefix that names a host is for that host
// alone, whoever builds an address that begins alike.
func TestCredentialsStayAtTheirHost(t *testing.T) {
	for _, c := range []struct {
		template, repo string
		fits           bool
	}{
		{"https://example.com", "https://example.com/charts", true},
		{"https://example.com", "https://EXAMPLE.com:8443/charts", true},
		{"https://example.com", "https://example.com.elsewhere.org/charts", false},
		{"https://example.com", "https://example.com@elsewhere.org/charts", false},
		{"https://example.com", "https://example.com:443@elsewhere.org/charts", false},
		{"https://example", "https://example.com/charts", false},
		{"https://example.com/team", "https://example.com/team-a/charts", true}, // as upstream
		{"https://example.com/team/", "https://example.com/team-a/charts", false},
		{"registry.example.com", "registry.example.com/charts", true},
		{"registry.example.com", "oci://registry.example.com/charts", true},
		{"oci://registry.example.com", "registry.example.com/charts", true},
		{"registry.example.com", "registry.example.com:5000/charts", true},
		{"registry.example.com", "registry.example.com.elsewhere.org/charts", false},
		{"127.0.0.1:5000", "127.0.0.1:5000/charts", true},
		{"127.0.0.1:5000", "127.0.0.1:50001/charts", false},
		{"http://example.com", "https://example.com/charts", false},
	} {
		held := cluster{templates: []map[string]any{{"type": "helm", "url": c.template, "username": "u", "password": canary}}}
		source, _, err := Chart(held.facts(), "argocd", Wanted{RepoURL: c.repo, Chart: "web", Version: "1.0.0"})
		if err != nil {
			t.Errorf("%s: %v", c.repo, err)
			continue
		}
		if got := source.Chart.Auth.Username == "u"; got != c.fits {
			t.Errorf("%s for %s: %t", c.template, c.repo, got)
		}
	}
}

// TestChartsAreShared: what reads the same chart with the same credential is
// one source, and everything else is another.
func TestChartsAreShared(t *testing.T) {
	held := cluster{repositories: []map[string]any{{"type": "helm", "url": "https://charts.example.com", "username": "u", "password": canary}}}
	chart := func(c cluster, change func(*Wanted)) model.Source {
		want := Wanted{RepoURL: "https://charts.example.com", Chart: "web", Version: "1.x"}
		change(&want)
		source, needs, err := Chart(c.facts(), "argocd", want)
		if err != nil || len(needs) > 0 {
			t.Fatalf("%v %v", needs, err)
		}
		if source.Chart.Fresh != source.Interval || !source.Implied || source.ID.Kind != KindChart || source.ID.Namespace != "argocd" {
			t.Errorf("%+v", source)
		}
		return source
	}
	base := chart(held, func(*Wanted) {})
	if again := chart(held, func(w *Wanted) { w.Project, w.RepoURL = "team", "https://charts.example.com/" }); again.ID != base.ID {
		t.Error("another project, or a slash, is another source")
	}
	newer := held
	newer.version = "2"
	for name, other := range map[string]model.Source{
		"another chart":         chart(held, func(w *Wanted) { w.Chart = "api" }),
		"another version":       chart(held, func(w *Wanted) { w.Version = "2.x" }),
		"credentials passed on": chart(held, func(w *Wanted) { w.PassCredentials = true }),
		"a newer Secret":        chart(newer, func(*Wanted) {}),
		"no Secret":             chart(cluster{}, func(*Wanted) {}),
		"own credentials":       chart(cluster{}, func(w *Wanted) { w.RepoURL = "https://a:b@charts.example.com" }),
		"own credentials of another project": chart(cluster{}, func(w *Wanted) {
			w.RepoURL, w.Project = "https://a:b@charts.example.com", "team"
		}),
		"a registry": chart(held, func(w *Wanted) { w.RepoURL = "charts.example.com" }),
	} {
		if other.ID == base.ID {
			t.Errorf("%s is the same source", name)
		}
	}
	a := chart(cluster{}, func(w *Wanted) { w.RepoURL = "https://a:b@charts.example.com" })
	b := chart(cluster{}, func(w *Wanted) { w.RepoURL, w.Project = "https://a:b@charts.example.com", "team" })
	if a.ID == b.ID {
		t.Error("a URL with credentials is shared between projects")
	}
	if a.Chart.Repository != "https://charts.example.com" || a.Chart.Auth.Username != "a" || string(a.Chart.Auth.Password.Reveal()) != "b" {
		t.Errorf("%+v", a.Chart)
	}
}

// TestChartFaults: every fault names what to mend, and tells no secret.
func TestChartFaults(t *testing.T) {
	for name, c := range map[string]struct {
		url  string
		data map[string]any
		want string
	}{
		"ssh":              {url: "ssh://git@example.com/charts", want: "not the address"},
		"scp":              {url: "git@example.com:charts", want: "not the address"},
		"disk":             {url: "file:///charts", want: "not the address"},
		"nothing":          {url: "", want: "not the address"},
		"query":            {url: "registry.example.com/charts?x=" + canary, want: "not the address"},
		"bad address":      {url: "oci://u:" + canary + "@ x/charts", want: "not the address"},
		"flag":             {url: "https://example.com/charts", data: map[string]any{"enableOCI": canary}, want: "'enableOCI'"},
		"half certificate": {url: "https://example.com/charts", data: map[string]any{"tlsClientCertKey": canary}, want: "tlsClientCertData"},
		"proxy":            {url: "https://example.com/charts", data: map[string]any{"proxy": canary}, want: "'proxy'"},
		"azure":            {url: "https://example.com/charts", data: map[string]any{"useAzureWorkloadIdentity": "true"}, want: "Azure"},
	} {
		held := cluster{}
		if c.data != nil {
			c.data["url"] = c.url
			held.repositories = []map[string]any{c.data}
		}
		_, _, err := Chart(held.facts(), "argocd", Wanted{RepoURL: c.url, Chart: "web", Version: "1"})
		var fault *model.Fault
		if !errors.As(err, &fault) || !strings.Contains(fault.Message, c.want) || fault.Advice == "" {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprint(err), canary) {
			t.Errorf("%s tells a secret: %v", name, err)
		}
	}
}

// TestPlaces: what charts depend on is had from what the project may use, the
// most exact address first.
func TestPlaces(t *testing.T) {
	held := cluster{
		repositories: []map[string]any{
			{"type": "helm", "name": "stable", "url": "https://charts.example.com/stable"},
			{"type": "helm", "name": "theirs", "url": "https://charts.example.com/theirs", "project": "others", "password": canary},
			{"type": "git", "name": "code", "url": "https://charts.example.com/code", "password": canary},
			{"type": "helm", "name": "no", "url": "https://forbidden.example.com/charts", "password": canary},
			{"type": "helm", "name": "broken", "url": "https://charts.example.com/broken", "insecure": canary},
		},
		templates: []map[string]any{
			{"type": "helm", "url": "https://charts.example.com", "username": "shared", "password": canary},
			{"type": "oci", "url": "oci://registry.example.com", "username": "pull", "password": canary},
		},
	}
	places := Places(held.facts(), "argocd", "team", true, func(url string) bool { return !strings.Contains(url, "forbidden") })
	var got []string
	for _, p := range places {
		got = append(got, fmt.Sprintf("%s %q %s %t", p.URL, p.Alias, p.Auth.Username, p.Auth.PassAll))
	}
	want := []string{
		`https://charts.example.com/stable "stable" shared true`,
		`https://charts.example.com "" shared true`,
		`oci://registry.example.com "" pull true`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
