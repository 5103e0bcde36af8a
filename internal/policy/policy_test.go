package policy

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// setting is an installation written as its objects.
func setting(t *testing.T, configMap string, projects ...string) *Policy {
	t.Helper()
	var cm struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.UnmarshalStrict([]byte(configMap), &cm); err != nil {
		t.Fatal(err)
	}
	config, _ := FromConfigMap(cm.Data)
	var read []Project
	for _, text := range projects {
		read = append(read, projectOfYAML(t, text))
	}
	return Compile(config, read)
}

func projectOfYAML(t *testing.T, text string) Project {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	project, err := ReadProject(o)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// lines is an installation with a policy alone.
func lines(text string, more ...string) *Policy {
	data := map[string]string{"policy.csv": text}
	for _, pair := range more {
		key, value, _ := strings.Cut(pair, "=")
		data[key] = value
	}
	config, _ := FromConfigMap(data)
	return Compile(config, nil)
}

// TestMatrix is who may do what, as a table in testdata: a policy, a line of
// dashes, and one question in each line with the answer it must have.
func TestMatrix(t *testing.T) {
	files, err := os.ReadDir("testdata/matrix")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, file := range files {
		content, err := os.ReadFile("testdata/matrix/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(string(content), "\n=== ") {
			title, rest, _ := strings.Cut(text, "\n")
			t.Run(strings.TrimSuffix(file.Name(), ".txt")+"/"+strings.TrimPrefix(title, "=== "), func(t *testing.T) {
				asked += matrix(t, rest)
			})
		}
	}
	if asked < 150 {
		t.Errorf("only %d questions were asked", asked)
	}
}

// matrix asks the questions of one case:
//
//	SUBJECT[+GROUP…] ACTION[@CHILD] RESOURCE OBJECT ANSWER [BY]
func matrix(t *testing.T, text string) int {
	written, questions, ok := strings.Cut(text, "\n----\n")
	if !ok {
		t.Fatal("no line of dashes")
	}
	var objects struct {
		RBAC     map[string]string `json:"rbac"`
		Server   map[string]string `json:"server"`
		Projects []map[string]any  `json:"projects"`
	}
	if err := yaml.UnmarshalStrict([]byte(written), &objects); err != nil {
		t.Fatal(err)
	}
	config, told := FromConfigMap(objects.RBAC)
	for _, finding := range append(told, config.Server(objects.Server)...) {
		t.Errorf("told: %s: %s", finding.Origin.Field, finding.Message)
	}
	var projects []Project
	for _, fields := range objects.Projects {
		project, err := ReadProject(&unstructured.Unstructured{Object: fields})
		if err != nil {
			t.Fatal(err)
		}
		projects = append(projects, project)
	}
	policy := Compile(config, projects)
	for _, finding := range policy.Findings() {
		t.Errorf("told: %s: %s", finding.Origin, finding.Message)
	}
	asked := 0
	for question := range strings.SplitSeq(strings.TrimSpace(questions), "\n") {
		question = strings.TrimSpace(question)
		if question == "" || strings.HasPrefix(question, "#") {
			continue
		}
		fields := strings.Fields(question)
		if len(fields) < 5 || len(fields) > 6 {
			t.Fatalf("%q is no question", question)
		}
		names := strings.Split(fields[0], "+")
		subject := Subject{Name: strings.TrimPrefix(names[0], "-"), Groups: names[1:]}
		if isRoleName(names[0]) {
			subject = Subject{Role: names[0], Groups: names[1:]}
		}
		request := Request{Resource: fields[2], Object: fields[3]}
		request.Action, request.Child, _ = strings.Cut(fields[1], "@")
		decision := policy.Can(subject, request)
		answer := map[Effect]string{Allowed: "yes", Denied: "denied", Unmatched: "no"}[decision.Effect]
		if answer != fields[4] {
			t.Errorf("%s\n\tgot %s: %s", question, answer, decision.Reason())
		}
		if len(fields) == 6 && !strings.Contains(strings.ReplaceAll(decision.By(), " ", "_"), fields[5]) {
			t.Errorf("%s\n\tdecided by %q", question, decision.By())
		}
		asked++
	}
	return asked
}

func TestReasons(t *testing.T) {
	p := setting(t, `
data:
  policy.default: role:readonly
  policy.csv: |
    # developers
    p, role:dev, applications, sync, shop/*, allow
    p, role:dev, applications, sync, shop/prod, deny
    g, my-org:dev, role:dev
`, `
metadata: {name: shop, namespace: argocd}
spec:
  roles:
  - name: ci
    policies:
    - p, proj:shop:ci, applications, get, shop/*, allow
    - p, proj:shop:ci, applications, override, shop/*, allow
`)
	for _, c := range []struct {
		subject Subject
		request Request
		want    string
	}{
		{
			Subject{Name: "jane", Groups: []string{"my-org:dev"}}, Request{Applications, Sync, "shop/web", ""},
			"jane may sync applications shop/web: policy.csv:2 (p, role:dev, applications, sync, shop/*, allow), as a member of my-org:dev",
		},
		{
			Subject{Name: "jane", Groups: []string{"my-org:dev"}}, Request{Applications, Sync, "shop/prod", ""},
			"jane may not sync applications shop/prod: policy.csv:3 (p, role:dev, applications, sync, shop/prod, deny), as a member of my-org:dev",
		},
		{
			Subject{Name: "joe"}, Request{Applications, Get, "shop/web", ""},
			"joe may get applications shop/web: built-in policy:4 (p, role:readonly, applications, get, */*, allow), by the default role",
		},
		{
			Subject{Role: "proj:shop:ci"}, Request{Applications, Override, "shop/web", ""},
			"proj:shop:ci may override applications shop/web: AppProject/argocd/shop spec.roles[0].policies[1] (p, proj:shop:ci, applications, override, shop/*, allow)",
		},
		{Subject{Name: "joe"}, Request{Applications, Terminate, "shop/web", ""}, "no rule lets joe terminate applications shop/web (asked for as sync)"},
		{Subject{}, Request{Applications, Delete, "shop/web", ChildObject("", "Pod", "shop", "a")}, "no rule lets anonymous delete//Pod/shop/a applications shop/web"},
		{
			Subject{Name: "joe", Groups: []string{"role:admin"}}, Request{Applications, Sync, "shop/web", ""},
			"no rule lets joe sync applications shop/web; the group role:admin is called like a role, and roles are given by g lines only",
		},
		{Subject{Name: "joe"}, Request{Applications, Get, strings.Repeat("x", 5000), ""}, "get applications " + strings.Repeat("x", 300) + "…: a part of the request is longer than 4096 bytes"},
	} {
		if got := p.Can(c.subject, c.request).Reason(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// A name from an identity provider is never a role.
func TestNamesOfRolesAreNotTaken(t *testing.T) {
	p := lines("p, proj:shop:ci, applications, *, *, allow\ng, role:admin, role:readonly")
	request := Request{Applications, Get, "shop/web", ""}
	for _, s := range []Subject{
		{Name: "role:admin"}, {Name: "proj:shop:ci"}, {Name: "jane", Groups: []string{"role:admin", "proj:shop:ci"}},
	} {
		if d := p.Can(s, request); d.Effect != Unmatched {
			t.Errorf("%+v: %s", s, d.Reason())
		}
	}
	if d := p.Can(Subject{Role: "role:admin"}, request); !d.Allowed() {
		t.Error(d.Reason())
	}
}

// A policy of which one line cannot be read opens nothing.
func TestBrokenPolicyIsWithheld(t *testing.T) {
	config, told := FromConfigMap(map[string]string{
		"policy.default": "role:admin",
		"policy.csv":     "p, role:dev, applications, *, */*, allow\ng, jane, role:dev\n",
		"policy.x.csv":   "p, jane, applications, delete, shop/prod deny\n",
	})
	if len(told) != 1 || told[0].Severity != "refused" || told[0].Origin.Field != "data.policy.x.csv" || told[0].Origin.Line != 1 ||
		!strings.Contains(told[0].Message, "it has 5 fields instead of the 6") || !strings.Contains(told[0].Message, "only the built-in user admin") {
		t.Errorf("told %+v", told)
	}
	project := Project{Name: "shop", Roles: []Role{{Name: "ci", Policies: []string{"p, proj:shop:ci, applications, get, shop/*, allow"}, Groups: []string{"jane"}}}}
	p := Compile(config, []Project{project})
	for _, s := range []Subject{{}, {Name: "jane"}, {Name: "joe", Groups: []string{"admin", "jane"}}, {Role: "proj:shop:ci"}, {Role: "role:admin"}} {
		d := p.Can(s, Request{Applications, Get, "shop/web", ""})
		if d.Effect != Denied || !strings.Contains(d.Reason(), "policy.x.csv:1 cannot be read") {
			t.Errorf("%+v: %s %s", s, d.Effect, d.Reason())
		}
		if p.For(s).Any(Applications, Get) {
			t.Errorf("%+v is shown a menu", s)
		}
	}
	if d := p.Can(Subject{Name: "admin"}, Request{Applications, Delete, "shop/web", ""}); !d.Allowed() {
		t.Error(d.Reason())
	}
}

// Every kind of line that cannot be read withholds the policy; none of the
// others does.
func TestLines(t *testing.T) {
	for _, line := range []string{
		"p", "g", "p, a, b, c, d", "p, a, b, c, d, allow, more", "g, a", "g, a, b, c", "this, is, not, a, good, policy", "this\ttoo",
		", a, b, c, d, allow", `p, a"b, c, d, e, allow`, `p, "a, b, c, d, allow`, "agh, foo, bar", "p, role:Myrole, applications, *, myproj/* allow",
		"p , a, b, c, d, allow", "P, a, b, c, d, allow", "\ufeffp, a, b, c, d, allow", "p; a; b; c; d; allow",
	} {
		config, told := FromConfigMap(map[string]string{"policy.csv": "\n" + line})
		if config.Broken != "policy.csv:2 cannot be read" || len(told) != 1 || told[0].Severity != "refused" || told[0].Origin.Line != 2 {
			t.Errorf("%q: broken %q, told %+v", line, config.Broken, told)
		}
	}
	for _, line := range []string{
		"", "#", "  # p, a", "p, role:Myrole, applications, *, myproj/*, allow", "g, your-github-org:your-team, role:admin",
		`p, "role,admin", projects, delete, *, allow`, ` p, role:admin, projects, delete, *, allow `, "p,a,b,c,d,allow\r", `g, "say ""hi""", role:admin`,
	} {
		if config, told := FromConfigMap(map[string]string{"policy.csv": line}); config.Broken != "" || len(told) != 0 {
			t.Errorf("%q: broken %q, told %+v", line, config.Broken, told)
		}
	}
}

func TestConfigMap(t *testing.T) {
	config, told := FromConfigMap(map[string]string{
		"policy.B.csv": "p, b, applications, get, *, allow", "policy.A.csv": "# one\np, a, applications, get, *, allow",
		"policy.csv": "g, m, role:admin\np, m, applications, get, *, allow", "policy.default": "role:none", "scopes": "[groups, email]",
		"policy.matchMode": "fuzzy", "polcy.csv": "p, x",
	})
	var read []string
	for _, rule := range config.Rules {
		read = append(read, place(rule.Origin)+" "+rule.String())
	}
	want := []string{
		"policy.csv:2 p, m, applications, get, *, allow", "policy.A.csv:2 p, a, applications, get, *, allow", "policy.B.csv:1 p, b, applications, get, *, allow",
	}
	if !slices.Equal(read, want) || len(config.Grants) != 1 || config.Grants[0].String() != "g, m, role:admin" {
		t.Errorf("read %q and %v", read, config.Grants)
	}
	if config.Default != "role:none" || !slices.Equal(config.Scopes, []string{"groups", "email"}) || config.Regex || config.Broken != "" {
		t.Errorf("config %+v", config)
	}
	if got := words(told); !slices.Equal(got, []string{"UnknownMatchMode data.policy.matchMode", "UnknownField data.polcy.csv"}) {
		t.Errorf("told %v", got)
	}
	for text, scopes := range map[string][]string{"": {"groups"}, "[]": {}, "{}": nil, "groups": nil, "'[email]'": nil, "- a": {"a"}} {
		config, told := FromConfigMap(map[string]string{"scopes": text})
		if !slices.Equal(config.Scopes, scopes) || (len(told) > 0) != (scopes == nil) {
			t.Errorf("scopes %q: %v, told %v", text, config.Scopes, told)
		}
	}
	if config, told := FromConfigMap(map[string]string{"policy.csv": strings.Repeat("#", maxPolicy+1)}); config.Broken == "" || len(told) != 1 {
		t.Error("a policy without end is read")
	}
	many := strings.Repeat("nonsense\n", 300)
	if _, told := FromConfigMap(map[string]string{"policy.csv": many}); len(told) != maxFindings+1 || told[maxFindings].Message != "and 250 more" || told[maxFindings].Severity != "refused" {
		t.Errorf("%d findings", len(told))
	}
}

func TestClaims(t *testing.T) {
	config, _ := FromConfigMap(map[string]string{"scopes": "[groups, email, 'cognito:groups']"})
	p := Compile(config, nil)
	for _, c := range []struct {
		claims map[string]any
		want   Subject
	}{
		{map[string]any{"sub": "alice"}, Subject{Name: "alice"}},
		{map[string]any{"sub": "opaque", "federated_claims": map[string]any{"user_id": "bob"}}, Subject{Name: "bob"}},
		{map[string]any{"sub": "opaque", "federated_claims": map[string]any{"user_id": ""}}, Subject{Name: "opaque"}},
		{map[string]any{"sub": "a", "federated_claims": "bob"}, Subject{Name: "a"}},
		{map[string]any{"sub": 7, "groups": []any{"x", 1, "y"}, "email": "a@b", "cognito:groups": []string{"z"}, "roles": "admin"}, Subject{Groups: []string{"x", "y", "a@b", "z"}}},
		{nil, Subject{}},
	} {
		if got := p.Claims(c.claims); got.Name != c.want.Name || !slices.Equal(got.Groups, c.want.Groups) || got.Role != "" {
			t.Errorf("%v: %+v", c.claims, got)
		}
	}
}

func TestTokensOfRoles(t *testing.T) {
	project := projectOfYAML(t, `
metadata: {name: shop, namespace: argocd}
spec: {roles: [{name: ci, jwtTokens: [{iat: 100}, {id: old, iat: 150, exp: 900}]}, {name: cd}]}
status: {jwtTokensByRole: {ci: {items: [{id: one, iat: 200, exp: 300}]}, gone: {items: [{id: x, iat: 1}]}}}
`)
	want := []Role{
		{Name: "ci", Tokens: []Token{{"one", 200, 300}, {"", 100, 0}, {"old", 150, 900}}}, {Name: "cd"}, // none of a role that is no more
	}
	if !reflect.DeepEqual(project.Roles, want) {
		t.Errorf("read %+v", project.Roles)
	}
	wrong := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "p"}, "spec": map[string]any{"roles": "all"}}}
	if _, err := ReadProject(wrong); err == nil {
		t.Error("roles that are no list are read")
	}
}

func TestServerSettings(t *testing.T) {
	const inherit, rollback, override = "server.rbac.disableApplicationFineGrainedRBACInheritance", "server.rbac.rollback.enforce.enable", "application.sync.requireOverridePrivilegeForRevisionSync"
	for _, c := range []struct {
		data    map[string]string
		inherit bool
		needs   RollbackNeeds
		told    int
	}{
		{nil, false, RollbackNeedsSync, 0},
		{map[string]string{inherit: "false", rollback: "true"}, true, RollbackNeedsRollback, 0},
		{map[string]string{inherit: "true", rollback: "false"}, false, RollbackNeedsSync, 0},
		{map[string]string{inherit: "nope", rollback: "yes"}, false, RollbackNeedsBoth, 2},
	} {
		config := &Config{}
		if told := config.Server(c.data); config.Inherit != c.inherit || config.Rollback != c.needs || len(told) != c.told {
			t.Errorf("%v: %+v, told %v", c.data, config, told)
		}
	}
	config := &Config{}
	config.Server(map[string]string{override: "true"})
	if !Compile(config, nil).OverrideForRevision() {
		t.Error("a sync to a revision needs no override")
	}
	both := lines("p, a, applications, sync, *, allow\np, b, applications, rollback, *, allow\np, c, applications, *, *, allow")
	both.rollback = RollbackNeedsBoth
	for name, want := range map[string]Effect{"a": Unmatched, "b": Unmatched, "c": Allowed} {
		if d := both.Can(Subject{Name: name}, Request{Applications, Rollback, "p/a", ""}); d.Effect != want {
			t.Error(d.Reason())
		}
	}
}

// Any is for menus: it may promise too much, never too little.
func TestAny(t *testing.T) {
	p := setting(t, `
data:
  policy.csv: |
    p, jane, applications, sync, shop/*, allow
    p, jane, applications, delete, shop/*, allow
    p, jane, applications, delete, *, deny
    p, jane, applications, update, shop/*, allow
    p, jane, applications, update, shop/*, deny
    p, jane, applications, create, shop/*, allow
    p, jane, applications, create, shop/prod, deny
    p, ops, kustomizations, update, flux-system/*, allow
`, `
metadata: {name: shop, namespace: argocd}
spec: {roles: [{name: ci, policies: ["p, proj:shop:ci, applications, override, shop/*, allow"], groups: [joe]}]}
`)
	for _, c := range []struct {
		who, resource, action string
		projects              []string
		want                  bool
	}{
		{"jane", Applications, Sync, nil, true},
		{"jane", Applications, Rollback, nil, true},
		{"jane", Applications, Terminate, nil, true},
		{"jane", Applications, Delete, nil, false},
		{"jane", Applications, Update, nil, false},
		{"jane", Applications, Create, nil, true},
		{"jane", Applications, Approve, nil, false},
		{"jane", Logs, Get, nil, false},
		{"ops", Kustomizations, Suspend, nil, true},
		{"ops", HelmReleases, Suspend, nil, false},
		{"joe", Applications, Override, nil, true},
		{"joe", Applications, Approve, []string{"shop"}, true},
		{"joe", Applications, Override, []string{"other"}, false},
		{"joe", Clusters, Get, nil, false},
		{"joe", Projects, Get, nil, true},
		{"admin", Plumb, Update, nil, true},
	} {
		if got := p.For(Subject{Name: c.who}).Any(c.resource, c.action, c.projects...); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestProjectRolesAreBounded(t *testing.T) {
	project := Project{Namespace: "argocd", Name: "shop", Roles: []Role{
		{Name: "ci", Groups: []string{"", "dev"}, Policies: []string{
			"p, proj:shop:ci, applications, get, shop/*, allow",
			"p, proj:shop:ci, applications, get, */*, allow",
			"p, proj:shop:ci, applications, sync, shop*, allow",
			"p, proj:shop:cd, applications, sync, shop/*, allow",
			"p, proj:shop:ci, projects, update, shop, allow",
			"p, proj:shop:ci, applications, action, shop/*, allow",
			"p, role:readonly, applications, delete, shop/*, allow",
			"g, dev, role:admin",
			"p, proj:shop:ci, applications, get, shop/*, allow\ng, dev, role:admin",
			"p, role:readonly, applications, get, shop/secret, deny",
		}},
		{Name: "a:b"},
	}}
	config, _ := FromConfigMap(map[string]string{"policy.default": "role:readonly"})
	p := Compile(config, []Project{project, {Name: "shop", Roles: []Role{{Name: "ci", Policies: []string{"p, proj:shop:ci, applications, delete, shop/*, allow"}}}}})
	var told []string
	for _, finding := range p.Findings() {
		told = append(told, finding.Origin.String())
		if finding.Severity != "refused" || finding.Origin.Declared.Name != "shop" {
			t.Errorf("told %+v", finding)
		}
	}
	var want []string
	for _, i := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9} {
		want = append(want, fmt.Sprintf("AppProject/argocd/shop spec.roles[0].policies[%d]", i))
	}
	want = append(want, "AppProject/argocd/shop spec.roles[0].groups[0]", "AppProject/argocd/shop spec.roles[1].name")
	if !slices.Equal(told, want) {
		t.Errorf("told of\n%s", strings.Join(told, "\n"))
	}
	dev := p.For(Subject{Name: "jane", Groups: []string{"dev"}})
	for _, c := range []struct {
		request Request
		want    Effect
	}{
		{Request{Applications, Get, "shop/web", ""}, Allowed},
		{Request{Applications, Get, "other/web", ""}, Allowed}, // the default role
		{Request{Applications, Sync, "shop/web", ""}, Unmatched},
		{Request{Applications, Delete, "shop/web", ""}, Unmatched},
		{Request{Projects, Update, "shop", ""}, Unmatched},
		{Request{Projects, Get, "shop", ""}, Allowed},
		{Request{Clusters, Delete, "shop/https://x", ""}, Unmatched},
	} {
		if d := dev.Can(c.request); d.Effect != c.want {
			t.Errorf("%+v: %s", c.request, d.Reason())
		}
	}
	// A deny within a project binds whoever has the role, though not by way of
	// the default role, which nothing takes away.
	config.Default = ""
	config.Grants = []Grant{{Member: "joe", Role: "role:readonly"}}
	if d := Compile(config, []Project{project}).Can(Subject{Name: "joe"}, Request{Applications, Get, "shop/secret", ""}); d.Effect != Denied {
		t.Error(d.Reason())
	}
}

// A project of which a line cannot be read allows nothing and denies what it did.
func TestBrokenProject(t *testing.T) {
	roles := []Role{{Name: "ci", Groups: []string{"dev"}, Policies: []string{
		"p, proj:shop:ci, applications, sync, shop/*, allow", "p, proj:shop:ci, applications, delete, shop/*, deny",
	}}}
	config, _ := FromConfigMap(map[string]string{"policy.csv": "p, role:dev, applications, delete, */*, allow\ng, dev, role:dev"})
	dev := Subject{Groups: []string{"dev"}}
	ask := func(action string) Effect {
		return Compile(config, []Project{{Name: "shop", Roles: roles}}).Can(dev, Request{Applications, action, "shop/web", ""}).Effect
	}
	if ask(Sync) != Allowed || ask(Delete) != Denied {
		t.Errorf("sound: sync %s, delete %s", ask(Sync), ask(Delete))
	}
	for _, broken := range []Role{{Name: "x", Policies: []string{"p, proj:shop:x"}}, {Name: "x", Groups: []string{"a, b"}}, {Name: "x", Groups: []string{"a\ng, dev"}}} {
		roles = append(roles[:1:1], broken)
		if ask(Sync) != Unmatched || ask(Delete) != Denied {
			t.Errorf("%+v: sync %s, delete %s", broken, ask(Sync), ask(Delete))
		}
		if told := Compile(config, []Project{{Name: "shop", Roles: roles}}).Findings(); len(told) != 1 || !strings.Contains(told[0].Message, "the roles of project shop allow nothing") {
			t.Errorf("told %+v", told)
		}
	}
}

// A deny that cannot be matched, or is misspelt, denies.
func TestDeniesFailClosed(t *testing.T) {
	long := strings.Repeat("a", longestPattern+1)
	for _, c := range []struct {
		line, mode string
		want       Effect
	}{
		{"p, a, applications, delete, [, deny", "glob", Denied},
		{"p, a, applications, {del[, shop/web, deny", "glob", Denied},
		{"p, a, applications, delete, " + long + ", deny", "glob", Denied},
		{"p, a, applications, sync, [, deny", "glob", Allowed},
		{"p, a, applications, delete, *, Deny", "glob", Denied},
		{"p, a, applications, delete, *, deny # for now", "glob", Denied},
		{"p, a, applications, delete, *, denied", "glob", Denied},
		{"p, a, applications, delete, *, no", "glob", Allowed},
		{"p, a, applications, delete, shop/*/web, deny", "glob", Denied}, // as upstream's matcher
		{"p, a, applications, delete, [, allow", "glob", Allowed},
		{"p, a, applications, delete, *, allow", "regex", Denied},
		{"p, a, applications, *, shop/.*, allow", "regex", Denied},
		{"p, a, applications, sync, *, allow", "regex", Allowed},
		{"p, a, applications, delete, *, neither", "regex", Denied},
		{"p, a, applications, delete, ((x{90}){90}){90}, deny", "regex", Denied},
	} {
		d := lines("p, a, applications, delete, shop/web, allow\n"+c.line, "policy.matchMode="+c.mode).Can(Subject{Name: "a"}, Request{Applications, Delete, "shop/web", ""})
		if d.Effect != c.want {
			t.Errorf("%.80s (%s): %s", c.line, c.mode, d.Reason())
		}
	}
	for _, line := range []string{"p, a, applications, delete, [, allow", "p, a, applications, delete, shop/*/web, allow"} {
		if d := lines(line).Can(Subject{Name: "a"}, Request{Applications, Delete, "shop/web", ""}); d.Effect != Unmatched {
			t.Errorf("%s: %s", line, d.Reason())
		}
	}
}
