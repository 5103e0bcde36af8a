package policy

import (
	"os"
	"slices"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
)

// words are findings, short.
func words(told []model.Finding) []string {
	var out []string
	for _, finding := range told {
		out = append(out, finding.Reason+" "+finding.Origin.Field)
	}
	return out
}

func TestValidate(t *testing.T) {
	content, err := os.ReadFile("testdata/validate.txt")
	if err != nil {
		t.Fatal(err)
	}
	policies, want, _ := strings.Cut(string(content), "\n----\n")
	config, told := FromConfigMap(map[string]string{"policy.csv": policies, "policy.default": "role:nowhere"})
	var got []string
	for _, finding := range append(told, Validate(config, []Project{{Name: "shop", Roles: []Role{{Name: "ci", Groups: []string{"org:bound"}}}}})...) {
		if finding.Severity != model.Warning {
			t.Errorf("%+v", finding)
		}
		got = append(got, finding.Reason+" "+finding.Message)
	}
	if lines := strings.Split(strings.TrimSpace(want), "\n"); !slices.Equal(got, lines) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestValidateIsQuietAboutSoundPolicies(t *testing.T) {
	for _, mode := range []string{"glob", "regex"} {
		lines := `
p, role:org-admin, applications, *, */*, allow
p, role:org-admin, applications, action/*, */*, allow
p, role:org-admin, applications, delete/*/Pod/*/*, */*, allow
p, role:org-admin, kustomizations, "{sync,suspend}", apps/*, allow
p, role:org-admin, plumb, get, settings, allow
p, jane@example.com, *, get, *, allow
p, org:qa, logs, get, */*, allow
g, org:qa, role:org-admin
g, org:all, role:readonly
g, org:shop, proj:shop:ci
`
		if mode == "regex" {
			lines = "p, role:x, ^app.*, ^(get|sync)$, .+/.+, allow\np, role:x, applications, ^delete/.*, .*, allow\ng, y, role:x"
		}
		config, told := FromConfigMap(map[string]string{"policy.csv": lines, "policy.matchMode": mode, "policy.default": "role:readonly"})
		told = append(told, Validate(config, []Project{{Name: "shop", Roles: []Role{{Name: "ci"}}}})...)
		for _, finding := range told {
			t.Errorf("%s: %s", mode, finding.Message)
		}
	}
}

// The built-in policy names only what exists, and holds what upstream's does.
func TestBuiltin(t *testing.T) {
	var config Config
	var told findings
	config.readPolicy(builtinField, builtinPolicy, &told)
	for _, finding := range append(told.done(), Validate(&config, nil)...) {
		t.Error(finding.Message)
	}
	p := Compile(nil, nil)
	readonly, admin := p.For(Subject{Role: "role:readonly"}), p.For(Subject{Name: "admin"})
	objects := map[string]string{Accounts: "jane", Certificates: "x", Clusters: "https://x", GPGKeys: "k", Projects: "p", Repositories: "https://r", WriteRepositories: "r", Extensions: "e", Plumb: Settings}
	// What upstream's admin has not: there is no rule for it.
	not := map[string]bool{
		"accounts create": true, "extensions invoke": true, "gpgkeys update": true,
		"applications suspend": true, "applications approve": true, // by update and override
	}
	for _, resource := range Resources() {
		for _, action := range Actions(resource) {
			request := Request{Resource: resource, Action: action, Object: objects[resource]}
			if request.Object == "" {
				request.Object = "a/b"
			}
			if action == Action {
				request.Child = ChildAction("apps", "Deployment", "restart")
			}
			if got := admin.exactly(request, strings.TrimSuffix(action+"/"+request.Child, "/")).Allowed(); got == not[resource+" "+action] {
				t.Errorf("admin %s %s: %v", action, resource, got)
			}
			reads := action == Get || action == ReadLogs
			if got := readonly.Can(request).Allowed(); got != reads {
				t.Errorf("readonly %s %s: %v", action, resource, got)
			}
		}
	}
	for _, action := range []string{Suspend, Resume, Approve, Refresh, Terminate, Rollback} {
		if d := admin.Can(Request{Applications, action, "a/b", ""}); !d.Allowed() {
			t.Error(d.Reason())
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range [][2]string{
		{ApplicationObject("argocd", "shop", "argocd", "web"), "shop/web"},
		{ApplicationObject("argocd", "shop", "", "web"), "shop/web"},
		{ApplicationObject("argocd", "", "team", "web"), "default/team/web"},
		{ApplicationObject("", "shop", "team", "web"), "shop/web"},
		{ScopedObject("", "https://x"), "https://x"},
		{ScopedObject("shop", "https://x"), "shop/https://x"},
		{Resource("app"), Applications}, {Resource("hr"), HelmReleases}, {Resource("pods"), "pods"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q, want %q", c[0], c[1])
		}
	}
	for name, resource := range shorthands {
		if len(Actions(resource)) == 0 {
			t.Errorf("%s stands for %s, which there is not", name, resource)
		}
	}
	for _, name := range projectScoped {
		if !ProjectScoped(name) || len(Actions(name)) == 0 {
			t.Errorf("%s is no resource of projects", name)
		}
	}
}

func TestVerb(t *testing.T) {
	for _, c := range []struct {
		request Request
		want    string
	}{
		{Request{Applications, Get, "a/b", ""}, "get"},
		{Request{Kustomizations, Create, "a/b", ""}, "create"},
		{Request{Sources, Delete, "a/b", ""}, "delete"},
		{Request{HelmReleases, Suspend, "a/b", ""}, "patch"},
		{Request{Applications, Refresh, "a/b", ""}, "patch"},
		{Request{Applications, Approve, "a/b", ""}, "patch"},
		{Request{Applications, Delete, "a/b", "/Pod/a/b"}, ""},
		{Request{Applications, "delete//Pod/a/b", "a/b", ""}, ""},
		{Request{Kustomizations, Enter, "a/b", ""}, ""},
		{Request{Logs, Get, "a/b", ""}, ""},
		{Request{Repositories, Get, "a", ""}, ""},
		{Request{Plumb, Get, Settings, ""}, ""},
		{Request{Applications, "invent", "a/b", ""}, ""},
	} {
		if got, ok := Verb(c.request); got != c.want || ok != (c.want != "") {
			t.Errorf("%+v: %q %v", c.request, got, ok)
		}
	}
}
