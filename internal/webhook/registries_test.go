package webhook

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"testing"

	"plumb.dev/plumb/internal/model"
)

const ghcrPush = `{"action":"published","package":{"name":"charts/web","package_type":"CONTAINER","owner":{"login":"acme"},
	"package_version":{"container_metadata":{"tag":{"name":"1.2.0_build.1","digest":"sha256:1"}}}}}`

const harborPush = `{"type":"PUSH_ARTIFACT","occur_at":1,"operator":"ada","event_data":{
	"resources":[{"digest":"sha256:1","tag":"","resource_url":"harbor.example.com/acme/web@sha256:1"},{"digest":"sha256:1","tag":"1.2.0","resource_url":"harbor.example.com/acme/web:1.2.0"}],
	"repository":{"name":"web","namespace":"acme","repo_full_name":"acme/web","repo_type":"private"}}}`

// TestRegistries: a tag that was pushed wakes who reads it, and nobody else.
func TestRegistries(t *testing.T) {
	artifact := func(url, revision string) *model.Source {
		return &model.Source{Implied: true, OCI: &model.OCISource{URL: url, Revision: revision}}
	}
	ref := func(url string, ref model.OCIRef) *model.Source {
		return &model.Source{OCI: &model.OCISource{URL: url, Ref: ref}}
	}
	chart := func(repository, name, version string) *model.Source {
		return &model.Source{Chart: &model.ChartSource{Repository: repository, OCI: true, Name: name, Version: version}}
	}
	secrets := Secrets{GitHub: secret("hub"), Harbor: secret("Bearer harbor")}
	for name, c := range map[string]struct {
		request *http.Request
		yes, no []*model.Source
	}{
		"GitHub": {
			post(ghcrPush, "X-GitHub-Event: package", "X-Hub-Signature-256: sha256="+mac(sha256.New, "hub", ghcrPush)),
			[]*model.Source{
				artifact("ghcr.io/acme/charts/web", "1.2.0_build.1"), artifact("ghcr.io/Acme/charts/web", "^1.0.0"), chart("ghcr.io/acme/charts", "web", "1.x"),
				ref("ghcr.io/acme/charts/web", model.OCIRef{SemVer: ">=1.0.0"}), ref("ghcr.io/acme/charts/web", model.OCIRef{Tag: "1.2.0_build.1"}),
			},
			[]*model.Source{
				artifact("ghcr.io/acme/charts/web", "2.x"), artifact("ghcr.io/acme/charts/other", "1.x"), artifact("ghcr.io.example.com/acme/charts/web", "1.x"),
				ref("ghcr.io/acme/charts/web", model.OCIRef{}), ref("ghcr.io/acme/charts/web", model.OCIRef{Digest: "sha256:1"}), chart("ghcr.io/acme", "web", "1.x"),
				{Git: &model.GitSource{URL: "https://ghcr.io/acme/charts/web"}},
				{Chart: &model.ChartSource{Repository: "https://ghcr.io/acme/charts", Name: "web", Version: "1.x"}},
			},
		},
		"Harbor": {
			post(harborPush, "Authorization: Bearer harbor"),
			[]*model.Source{artifact("harbor.example.com/acme/web", "1.2.0"), chart("harbor.example.com/acme", "web", "*")},
			[]*model.Source{artifact("harbor.example.com/acme/web", "1.2.1"), artifact("other.example.com/acme/web", "1.2.0")},
		},
	} {
		push, err := Parse(c.request, secrets)
		if err != nil || push == nil {
			t.Fatalf("%s: %v %v", name, push, err)
		}
		for _, s := range c.yes {
			if !push.Moves(s) {
				t.Errorf("%s does not move %+v %+v", name, s.OCI, s.Chart)
			}
		}
		for _, s := range c.no {
			if push.Moves(s) {
				t.Errorf("%s moves %+v %+v %+v", name, s.OCI, s.Chart, s.Git)
			}
		}
	}
}

// TestRegistriesRefused: Harbor needs its secret, GitHub's packages the one of
// GitHub, and what moves no tag is no push.
func TestRegistriesRefused(t *testing.T) {
	for name, c := range map[string]struct {
		request *http.Request
		secrets Secrets
	}{
		"Harbor, another secret":    {post(harborPush, "Authorization: Bearer other"), Secrets{Harbor: secret("Bearer harbor")}},
		"GitHub, without signature": {post(ghcrPush, "X-GitHub-Event: package"), Secrets{GitHub: secret("hub")}},
		"Harbor without a secret":   {post(harborPush, "Authorization: Bearer harbor"), Secrets{}},
	} {
		var refused *Refused
		if push, err := Parse(c.request, c.secrets); !errors.As(err, &refused) {
			t.Errorf("%s: %+v %v", name, push, err)
		}
	}
	for name, r := range map[string]*http.Request{
		"a deleted package": post(`{"action":"deleted","package":{"package_type":"CONTAINER"}}`, "X-GitHub-Event: package"),
		"an npm package":    post(`{"action":"published","package":{"name":"x","package_type":"npm"}}`, "X-GitHub-Event: package"),
		"a pull":            post(`{"type":"PULL_ARTIFACT"}`, "Authorization: h"),
		"no tag":            post(`{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"resource_url":"h.example.com/a/b@sha256:1"}],"repository":{"repo_full_name":"a/b"}}}`, "Authorization: h"),
		"no address":        post(`{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"tag":"1","resource_url":"://"}],"repository":{"repo_full_name":"a/b"}}}`, "Authorization: h"),
	} {
		if push, err := Parse(r, Secrets{Harbor: secret("h")}); push != nil || err != nil {
			t.Errorf("%s: %+v %v", name, push, err)
		}
	}
}
