package source

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func TestRedirectOf(t *testing.T) {
	all := Redirects{}
	for _, text := range []string{
		"https://charts.example.com=https://mirror.example.net/charts",
		"https://charts.example.com/stable/=http://other.example.net/",
		"oci://=oci://registry.example.net/all",
		"oci://ghcr.io/team=http://localhost:5000/team",
		"ssh://git@github.com/team/fleet.git=http://localhost:8080/fleet.git",
	} {
		one, err := ParseRedirect(text)
		if err != nil {
			t.Fatal(err)
		}
		all.All = append(all.All, one)
	}
	for address, want := range map[string]string{
		"https://charts.example.com":                        "https://mirror.example.net/charts",
		"https://charts.example.com/":                       "https://mirror.example.net/charts",
		"https://user:word@Charts.example.com/a?x=y":        "https://mirror.example.net/charts/a",
		"https://charts.example.com/stable/web-1.tgz":       "http://other.example.net/web-1.tgz",
		"https://charts.example.com/stables":                "https://mirror.example.net/charts/stables",
		"https://charts.example.com.evil.net/a":             "",
		"https://charts.example.com/stable/../../web":       "https://mirror.example.net/charts/web",
		"oci://ghcr.io/team/%2e%2e/secret/web":              "oci://registry.example.net/all/ghcr.io/secret/web",
		"http://charts.example.com":                         "",
		"oci://quay.io/charts/web":                          "oci://registry.example.net/all/quay.io/charts/web",
		"oci://ghcr.io/team/web":                            "http://localhost:5000/team/web",
		"oci://ghcr.io/teams/web":                           "oci://registry.example.net/all/ghcr.io/teams/web",
		"oci://registry.example.net/all/quay.io/charts/web": "", // it is there already
		"git@github.com:team/fleet.git":                     "http://localhost:8080/fleet.git",
		"ssh://git@github.com/team/fleet":                   "http://localhost:8080/fleet.git",
		"ssh://git@github.com/team/fleeting":                "",
	} {
		if got, found := all.Of(address); got != want || found != (want != "") {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
	for _, bad := range []string{"", "a=b", "https://a", "https://a=", "https://a=b", "https://a=ssh://b", "https://a=oci://b", "oci://a=https://b", "https://a=https://u:canary@b", "https://a=https://b?x"} {
		if _, err := ParseRedirect(bad); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What is fetched from elsewhere is asked for with the credential of elsewhere,
// and never with the source's own.
func TestRedirectedCredentials(t *testing.T) {
	asked := map[string]string{}
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path] = r.Header.Get("Authorization")
		if r.URL.Path == "/charts/file.txt" {
			_, _ = io.WriteString(w, "text")
			return
		}
		http.NotFound(w, r)
	}))
	defer mirror.Close()
	host := strings.TrimPrefix(mirror.URL, "http://")
	login := base64.StdEncoding.EncodeToString([]byte("mirror:word"))
	own := model.HTTPAuth{Username: "own", Password: model.NewSecret([]byte("canary"))}
	for name, logins := range map[string]string{"": "", "Basic " + login: `{"auths":{"` + host + `":{"auth":"` + login + `"}}}`} {
		clear(asked)
		redirects := Redirects{All: []Redirect{{From: "https://", To: mirror.URL}}}
		if logins != "" {
			redirects.Logins = model.NewSecret([]byte(logins))
		}
		store, err := Open(Options{Dir: t.TempDir(), Redirects: redirects})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = store.Close() }()
		file := model.Source{ID: object.ID{Kind: "A", Name: "file"}, External: &model.ExternalSource{URL: "https://charts/file.txt", Plain: true, Auth: own}}
		tree, err := store.Fetch(context.Background(), file, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := tree.Read("file.txt"); err != nil || string(text) != "text" {
			t.Errorf("got %q (%v)", text, err)
		}
		for _, spec := range []model.Source{
			{ID: object.ID{Kind: "A", Name: "git"}, Git: &model.GitSource{URL: "https://own:canary@git/repo", Auth: model.GitAuth{Username: "own", Password: model.NewSecret([]byte("canary"))}}},
			{ID: object.ID{Kind: "A", Name: "index"}, Index: &model.IndexSource{URL: "https://index", Auth: own}},
			{ID: object.ID{Kind: "A", Name: "chart"}, Chart: &model.ChartSource{Repository: "https://repo", Name: "web", Auth: own}},
		} {
			if _, err := store.Fetch(context.Background(), spec, nil, nil); err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", spec.ID, err)
			}
		}
		for _, path := range []string{"/charts/file.txt", "/git/repo/info/refs", "/index/index.yaml", "/repo/index.yaml"} {
			if got, there := asked[path]; !there || got != name {
				t.Errorf("%s: asked %v, with %q instead of %q", path, there, got, name)
			}
		}
	}
	if _, err := Open(Options{Dir: t.TempDir(), Redirects: Redirects{Logins: model.NewSecret([]byte("canary"))}}); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}
