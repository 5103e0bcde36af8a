package project

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	content, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(content); err != nil {
		t.Fatal(err)
	}
	return o
}

func spec(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	indented := "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
	return parse(t, "apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: team, namespace: argocd, labels: {tier: gold}}\nspec:\n"+indented+"\n")
}

func read(t *testing.T, text string) *Project {
	t.Helper()
	p, findings, err := Read(spec(t, text))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Logf("finding %s: %s", f.Origin.Field, f.Message)
	}
	return p
}

func said(fault *model.Fault) string {
	if fault == nil {
		return ""
	}
	return fault.Reason + ": " + fault.Message
}

func TestEveryFieldIsRead(t *testing.T) {
	content, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o := parse(t, string(content))
	p, findings, err := Read(o)
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v, findings %v", err, findings)
	}
	fields, _, _ := unstructured.NestedMap(o.Object, "spec")
	for _, field := range specFields {
		if _, ok := fields[field]; !ok && field != "signatureKeys" {
			t.Errorf("testdata/everything.yaml does not show %s", field)
		}
	}
	permit := p.Permit("https://k8s", "prod")
	if permit.By != "project 'everything'" || permit.Server != "https://k8s" || permit.Name != "prod" || len(permit.Destinations) != 2 {
		t.Errorf("permit %+v", permit)
	}
	if !slices.Equal(permit.ClusterAllow, []model.KindRule{{Kind: "Namespace", Name: "team-*"}}) || !slices.Equal(permit.ClusterDeny, []model.KindRule{{Group: "*", Kind: "ClusterRole"}}) ||
		!slices.Equal(permit.NamespaceAllow, []model.KindRule{{Group: "apps", Kind: "*"}}) || !slices.Equal(permit.NamespaceDeny, []model.KindRule{{Kind: "ResourceQuota"}}) {
		t.Errorf("kinds %+v", permit)
	}
	if p.Orphans == nil || !p.Orphans.Warn || !slices.Equal(p.Orphans.Ignore, []model.KindRule{{Kind: "ConfigMap", Name: "kube-root-ca.crt"}}) {
		t.Errorf("orphans %+v", p.Orphans)
	}
	if !p.OnlyScopedClusters || p.Description != "all there is" {
		t.Errorf("project %+v", p)
	}
	role := p.Roles[0]
	if role.Name != "ci" || role.Description != "the pipeline" || !slices.Equal(role.Groups, []string{"my-org:ci", `"a, b"`}) || len(role.Policies) != 2 || !role.Policies[1].Deny {
		t.Errorf("role %+v", role)
	}
	tokens := []Token{{ID: "new", IssuedAt: 1700000000, ExpiresAt: 1800000000}, {ID: "1600000000", IssuedAt: 1600000000}}
	if !slices.Equal(role.Tokens, tokens) {
		t.Errorf("tokens %+v", role.Tokens)
	}
	var rules []string
	for _, rule := range role.Policies {
		rules = append(rules, rule.String())
	}
	want := []string{
		"p, proj:everything:ci, applications, sync, everything/*, allow",
		"p, proj:everything:ci, applications, delete/*/Pod/*/*, everything/team-a/web, deny",
	}
	if !slices.Equal(rules, want) {
		t.Errorf("rules\n%s", strings.Join(rules, "\n"))
	}
}

func TestSources(t *testing.T) {
	for _, c := range []struct{ repos, asked, want string }{
		{`["*"]`, "https://git.example.com/a.git", ""},
		{`[]`, "https://git.example.com/a.git", "application repo https://git.example.com/a.git is not permitted in project 'team': none of its 0 source repositories matches"},
		{`["https://git.example.com/a"]`, "https://GIT.example.com/a.git", ""},
		{`["git@git.example.com:team/a.git"]`, "ssh://git@git.example.com/team/a", ""},
		{`["https://git.example.com/*"]`, "https://git.example.com/team/a", "application repo https://git.example.com/team/a is not permitted in project 'team': none of its 1 source repository matches"},
		{`["https://git.example.com/**"]`, "https://git.example.com/team/a", ""},
		{`["*", "!https://git.example.com/secret"]`, "https://git.example.com/secret.git", "application repo https://git.example.com/secret.git is not permitted in project 'team': '!https://git.example.com/secret' denies it"},
		{`["!https://git.example.com/secret"]`, "https://git.example.com/other", ""},
		{`["https://git.example.com/a"]`, "https://user:hunter2@git.example.com/b", "application repo https://git.example.com/b is not permitted in project 'team': none of its 1 source repository matches"},
	} {
		got := read(t, "sourceRepos: "+c.repos).CheckSource(c.asked)
		if c.want != "" {
			c.want = "InvalidSpecError: " + c.want
		}
		if said(got) != c.want {
			t.Errorf("%s of %s: got %q, want %q", c.asked, c.repos, said(got), c.want)
		}
	}
}

func TestDestinations(t *testing.T) {
	const local = "https://kubernetes.default.svc"
	refusal := func(server, namespace, why string) string {
		return fmt.Sprintf("InvalidSpecError: application destination server '%s' and namespace '%s' do not match any of the allowed destinations in project 'team': %s", server, namespace, why)
	}
	for _, c := range []struct {
		name, rules string
		to          Place
		want        string
	}{
		{"anything", `[{server: "*", namespace: "*"}]`, Place{local, "in-cluster", "web"}, ""},
		{"nothing", `[]`, Place{local, "", "web"}, refusal(local, "web", "none of its 0 destinations matches")},
		{"by name", `[{name: prod-*, namespace: web}]`, Place{"https://prod", "prod-1", "web"}, ""},
		{"namespace differs", `[{server: "*", namespace: "team-*"}]`, Place{local, "in-cluster", "kube-system"}, refusal("in-cluster", "kube-system", "none of its 1 destination matches")},
		{"namespace denied", `[{server: "*", namespace: "*"}, {server: "*", namespace: "!kube-system"}]`, Place{local, "in-cluster", "kube-system"}, refusal("in-cluster", "kube-system", "server '*', namespace '!kube-system' denies it")},
		{"namespace not denied", `[{server: "*", namespace: "!kube-system"}]`, Place{local, "in-cluster", "web"}, ""},
		{"server denied", `[{server: "*", namespace: "*"}, {server: "!https://prod", namespace: "*"}]`, Place{"https://prod", "", "web"}, refusal("https://prod", "web", "server '!https://prod', namespace '*' denies it")},
		{"server denied elsewhere", `[{server: "*", namespace: "*"}, {server: "!https://prod", namespace: team-a}]`, Place{"https://prod", "", "web"}, ""},
		{"name denied whatever the namespace", `[{server: "*", namespace: "*"}, {name: "!prod", namespace: other}]`, Place{"https://prod", "prod", "web"}, refusal("prod", "web", "name '!prod', namespace 'other' denies it")},
		{"no cluster is known", `[{server: "*", namespace: "*"}]`, Place{"", "", "web"}, refusal("", "web", "none of its 1 destination matches")},
	} {
		if got := said(read(t, "destinations: "+c.rules).CheckDestination(c.to)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if p := read(t, "destinations: "+c.rules); gate.Destination(p.Permit("", "").Destinations, c.to.Server, c.to.Name, c.to.Namespace) != (c.want == "") {
			t.Errorf("%s: the gate, which judges objects, does not agree", c.name)
		}
	}
}

func TestScopedClustersAndGlobalProjects(t *testing.T) {
	p := read(t, "permitOnlyProjectScopedClusters: true\ndestinations: [{server: 'https://shared', namespace: '*'}]")
	scoped := p.With(Scoped{Repositories: []string{"https://git.example.com/own"}, Clusters: []Cluster{{Server: "https://own", Name: "own", Namespaces: []string{"a", "b"}}}})
	if f := scoped.CheckDestination(Place{"https://own", "own", "b"}); f != nil {
		t.Error(f)
	}
	if f := scoped.CheckDestination(Place{"https://own", "own", "c"}); f == nil {
		t.Error("a namespace that the cluster is not limited to is permitted")
	}
	if f := scoped.CheckDestination(Place{"https://shared", "shared", "a"}); f == nil || !strings.Contains(f.Message, "registered for the project") {
		t.Errorf("a cluster of nobody: %v", f)
	}
	if scoped.CheckSource("https://git.example.com/own") != nil || p.CheckSource("https://git.example.com/own") == nil {
		t.Error("the repository of the project")
	}

	gold, _ := labels.Parse("tier=gold")
	silver, _ := labels.Parse("tier=silver")
	if got := p.Globals([]config.GlobalProject{{Name: "all", Selector: gold}, {Name: "some", Selector: silver}, {Name: "team", Selector: gold}}); !slices.Equal(got, []string{"all"}) {
		t.Errorf("global projects %v", got)
	}
	global := read(t, "sourceRepos: ['https://git.example.com/all']\nnamespaceResourceWhitelist: [{group: '', kind: ConfigMap}]\nclusterResourceBlacklist: [{group: '', kind: Node}]\nsyncWindows: [{kind: deny, schedule: '0 0 * * *', duration: 1h, applications: ['*']}]\ndestinationServiceAccounts: [{server: '*', namespace: '*', defaultServiceAccount: global}]")
	joined := p.With(Scoped{}, global)
	if joined.CheckSource("https://git.example.com/all") != nil || len(joined.NamespaceAllow) != 1 || len(joined.ClusterDeny) != 1 || len(joined.Windows("x", Place{})) != 1 {
		t.Errorf("joined %+v", joined)
	}
	if id, f := joined.Identity(Place{"https://own", "own", "b"}, "argocd", false); f != nil || id.ServiceAccount != "global" {
		t.Errorf("%v %v", id, f)
	}
	if p.NamespaceAllow != nil || len(p.ClusterDeny) != 0 {
		t.Error("the project itself was changed")
	}
}

func TestNamespaces(t *testing.T) {
	p := read(t, `sourceNamespaces: [team-a, "team-b-*", "/^team-c-[0-9]+$/"]`)
	for namespace, permitted := range map[string]bool{"": true, "argocd": true, "team-a": true, "team-b-1": true, "team-c-7": true, "team-c-x": false, "kube-system": false} {
		fault := p.CheckNamespace("web", namespace)
		if (fault == nil) != permitted {
			t.Errorf("%s: %v", namespace, fault)
		}
		if fault != nil && fault.Message != fmt.Sprintf("application 'web' in namespace '%s' is not allowed to use project team", namespace) {
			t.Errorf("%s: %s", namespace, fault.Message)
		}
	}
}

func TestWindows(t *testing.T) {
	p := read(t, `
syncWindows:
- {kind: allow, schedule: "0 1 * * *", duration: 1h30m, applications: ["web-*"], timeZone: Europe/Berlin, description: night, manualSync: true, syncOverrun: true}
- {kind: deny, schedule: "0 2 * * *", duration: 1h, applications: [web-1], namespaces: [web], andOperator: true}
- {kind: deny, schedule: "0 3 * * *", duration: 1h, clusters: [in-*], namespaces: [other], andOperator: true}
- {kind: deny, schedule: "0 4 * * *", duration: 1h, clusters: ["https://k8s"]}
- null
- {kind: deny, schedule: "0 5 * * *", duration: forever, namespaces: ["*"]}
`)
	schedules := func(app string, to Place) string {
		var out []string
		for _, w := range p.Windows(app, to) {
			out = append(out, w.Schedule)
		}
		return strings.Join(out, ",")
	}
	for _, c := range []struct {
		app  string
		to   Place
		want string
	}{
		{"web-1", Place{"", "in-cluster", "web"}, "0 1 * * *,0 2 * * *,"},
		{"web-2", Place{"", "in-cluster", "web"}, "0 1 * * *,"},
		{"api", Place{"https://k8s", "in-cluster", "other"}, "0 3 * * *,0 4 * * *,"},
		{"api", Place{"", "", "x"}, ""},
	} {
		if got := schedules(c.app, c.to); got != c.want {
			t.Errorf("%s to %v: got %q, want %q", c.app, c.to, got, c.want)
		}
	}
	first := p.Windows("web-2", Place{Namespace: "x"})[0]
	want := model.Window{Schedule: "0 1 * * *", Duration: 90 * time.Minute, TimeZone: "Europe/Berlin", Manual: true, Overrun: true, Description: "night", Origin: first.Origin}
	if first != want || first.Origin.Field != "spec.syncWindows[0]" {
		t.Errorf("got %+v", first)
	}
}

func TestIdentity(t *testing.T) {
	p := read(t, `
destinationServiceAccounts:
- {server: "https://k8s", namespace: "team-*", defaultServiceAccount: deployer}
- {server: "https://k8s", namespace: shared, defaultServiceAccount: "ops:root"}
- {server: "https://bad", namespace: "*", defaultServiceAccount: "a/b"}
- {server: "https://any", defaultServiceAccount: plain}
`)
	for _, c := range []struct {
		to       Place
		enforced bool
		want     string
		fault    string
	}{
		{to: Place{"https://k8s", "", "team-a"}, want: "system:serviceaccount:team-a:deployer"},
		{to: Place{"https://k8s", "", "shared"}, want: "system:serviceaccount:ops:root"},
		{to: Place{"https://any", "", ""}, want: "system:serviceaccount:apps:plain"},
		{to: Place{"https://k8s", "", "else"}, want: ""},
		{to: Place{"https://k8s", "", "else"}, enforced: true, fault: "no matching service account found for destination server https://k8s and namespace else"},
		{to: Place{"https://bad", "", "x"}, fault: "default service account contains invalid chars 'a/b'"},
	} {
		identity, fault := p.Identity(c.to, "apps", c.enforced)
		if identity.Username() != c.want || (c.fault == "") != (fault == nil) || fault != nil && fault.Message != c.fault {
			t.Errorf("%v: got %q, %v", c.to, identity.Username(), fault)
		}
	}
}

func TestVerify(t *testing.T) {
	keyring := model.Fact{State: model.Present, Object: parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-gpg-keys-cm}\ndata: {4AEE18F83AFDEB23: armored, '0123456789abcdef': other}")}
	policies := `sourceIntegrity: {git: {policies: [{repos: [{url: "https://git.example.com/*"}, {url: "!https://git.example.com/free"}], gpg: {mode: %s, keys: [5DE3E0509C47EA3CF04A42D34AEE18F83AFDEB23]}}%s]}}`
	for _, c := range []struct {
		name, spec, repo string
		keyring          model.Fact
		mode             model.VerifyMode
		fault            string
	}{
		{"nothing asked", `{}`, "https://x", keyring, "", ""},
		{"the older form", `signatureKeys: [{keyID: 4aee18f83afdeb23}]`, "https://x", keyring, model.VerifyRevision, ""},
		{"head", fmt.Sprintf(policies, "head", ""), "https://git.example.com/a", keyring, model.VerifyRevision, ""},
		{"strict", fmt.Sprintf(policies, "strict", ""), "https://git.example.com/a/b", keyring, model.VerifyHistory, ""},
		{"none", fmt.Sprintf(policies, "none", ""), "https://git.example.com/a", keyring, "", ""},
		{"left out", fmt.Sprintf(policies, "head", ""), "https://git.example.com/free", keyring, "", ""},
		{"elsewhere", fmt.Sprintf(policies, "head", ""), "https://other", keyring, "", ""},
		{"no such mode", fmt.Sprintf(policies, "lax", ""), "https://git.example.com/a", keyring, "", `unknown GPG mode "lax"`},
		{"two policies", fmt.Sprintf(policies, "none", ", {repos: [{url: '*'}], gpg: {mode: none}}"), "https://git.example.com/a", keyring, "", "multiple (2) git source integrity policies found for repo URL: https://git.example.com/a"},
		{"the key is missing", `signatureKeys: [{keyID: FFFFFFFFFFFFFFFF}]`, "https://x", keyring, "", "key FFFFFFFFFFFFFFFF is not in the keyring"},
		{"no keyring", `signatureKeys: [{keyID: 4AEE18F83AFDEB23}]`, "https://x", model.Fact{State: model.Absent}, "", "is not in the keyring"},
		{"a keyring that cannot be read", `signatureKeys: [{keyID: 4AEE18F83AFDEB23}]`, "https://x", model.Fact{State: model.Forbidden, Message: "no"}, "", "cannot be read: no"},
	} {
		p := read(t, c.spec)
		verify, fault := p.Verify(c.repo, c.keyring)
		mode := model.VerifyMode("")
		if verify != nil {
			mode = verify.Mode
			if len(verify.Keys) != 1 || verify.Keys[0].Name != "4AEE18F83AFDEB23" || string(verify.Keys[0].PEM) != "armored" {
				t.Errorf("%s: keys %+v", c.name, verify.Keys)
			}
		}
		if mode != c.mode || (fault == nil) != (c.fault == "") || fault != nil && (!strings.Contains(fault.Message, c.fault) || fault.Reason != "ComparisonError") {
			t.Errorf("%s: got mode %q, %v", c.name, mode, fault)
		}
		if want := c.mode != "" || c.fault != ""; p.Verifies(c.repo) != want {
			t.Errorf("%s: Verifies is %t", c.name, !want)
		}
	}
}

func TestMissingProjects(t *testing.T) {
	need := Need("argocd", "")
	p, _, err := FromFact(need, model.Fact{State: model.Absent})
	if err != nil || !p.Implied || p.CheckSource("https://anything") != nil || p.CheckDestination(Place{"https://x", "", "y"}) != nil || len(p.Permit("", "").ClusterAllow) != 1 || p.Permit("", "").NamespaceAllow != nil {
		t.Errorf("the default project: %+v, %v", p, err)
	}
	if p.CheckNamespace("web", "elsewhere") == nil {
		t.Error("the default project takes applications of any namespace")
	}
	for state, want := range map[model.FactState]string{
		model.Absent:    "InvalidSpecError: Application referencing project gone which does not exist",
		model.Forbidden: `UnknownError: error getting app project "gone": no`,
		model.Failed:    `UnknownError: error getting app project "gone": no`,
	} {
		_, _, err := FromFact(Need("argocd", "gone"), model.Fact{State: state, Message: "no"})
		var fault *model.Fault
		if !errors.As(err, &fault) || said(fault) != want {
			t.Errorf("%s: %v", state, err)
		}
	}
	if _, _, err := FromFact(Need("argocd", "team"), model.Fact{State: model.Present, Object: spec(t, "sourceRepos: ['*']")}); err != nil {
		t.Error(err)
	}
}

func TestMistypedFieldsAreFaults(t *testing.T) {
	for text, field := range map[string]string{
		`sourceRepos: "*"`:                          "spec.sourceRepos",
		`sourceRepos: [1]`:                          "spec.sourceRepos[0]",
		`destinations: [{server: [x]}]`:             "spec.destinations[0].server",
		`destinations: [x]`:                         "spec.destinations[0]",
		`permitOnlyProjectScopedClusters: "true"`:   "spec.permitOnlyProjectScopedClusters",
		`namespaceResourceWhitelist: {}`:            "spec.namespaceResourceWhitelist",
		`orphanedResources: [x]`:                    "spec.orphanedResources",
		`roles: [{name: a, jwtTokens: [{iat: x}]}]`: "spec.roles[0].jwtTokens[0].iat",
	} {
		p, _, err := Read(spec(t, text))
		var fault *model.Fault
		if p != nil || !errors.As(err, &fault) || fault.Origin.Field != field || fault.Reason != "InvalidSpecError" {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
	}
}

// TestFindings runs each file of testdata/findings-*.yaml, whose comments say
// what must be found: "# spec.path: words".
func TestFindings(t *testing.T) {
	files, err := filepath.Glob("testdata/findings-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for line := range strings.Lines(string(content)) {
			if expected, ok := strings.CutPrefix(line, "# "); ok {
				want = append(want, strings.TrimSpace(expected))
			}
		}
		_, findings, err := Read(parse(t, string(content)))
		if err != nil {
			t.Fatal(file, err)
		}
		for _, f := range findings {
			got = append(got, fmt.Sprintf("%s %s: %s", f.Severity, f.Origin.Field, f.Message))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got\n# %s\nwant\n# %s", file, strings.Join(got, "\n# "), strings.Join(want, "\n# "))
		}
	}
}
