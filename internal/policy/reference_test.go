package policy

import (
	"fmt"
	"maps"
	"math/rand"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
)

// reference decides as upstream's code reads (server/rbacpolicy, util/rbac and
// casbin's model), one line after the other, without preparing anything.
type reference struct {
	config   *Config
	projects []Project

	rules    []Rule // built in
	grants   []Grant
	compiled map[string]*regexp.Regexp // nil for what is no expression
}

// evaluate is casbin's answer for one name.
func (r reference) evaluate(name string, rules []Rule, grants []Grant, q Request) bool {
	linked := map[string]bool{name: true}
	for range 10 {
		next := maps.Clone(linked)
		for _, grant := range grants {
			if linked[grant.Member] {
				next[grant.Role] = true
			}
		}
		linked = next
	}
	allowed := false
	for _, rule := range rules {
		if !linked[rule.Subject] {
			continue
		}
		matches := true
		for _, pair := range [][2]string{{rule.Resource, q.Resource}, {rule.Action, q.Action}, {rule.Object, q.Object}} {
			if r.config.Regex && rule.Origin.Field != builtinField && !rule.plain {
				re, known := r.compiled[pair[0]]
				if !known {
					re, _ = regexp.Compile(pair[0])
					r.compiled[pair[0]] = re
				}
				if re == nil {
					return false
				}
				matches = re.MatchString(pair[1])
			} else {
				matches = gate.Glob(pair[0], pair[1])
			}
			if !matches {
				break
			}
		}
		if matches && rule.Deny {
			return false
		}
		allowed = allowed || matches
	}
	return allowed
}

func (r reference) allowed(s Subject, q Request) bool {
	rules, grants := slices.Concat(r.rules, r.config.Rules), slices.Concat(r.grants, r.config.Grants)
	name := s.Name
	if s.Role != "" {
		name = s.Role
	}
	nobody := func() bool { return r.evaluate("", rules, grants, q) }
	fallback := func(rules []Rule, grants []Grant) bool {
		return r.config.Default != "" && r.evaluate(r.config.Default, rules, grants, q)
	}
	if fallback(rules, grants) {
		return true
	}
	allRules, allGrants := rules, grants
	at := slices.IndexFunc(r.projects, func(p Project) bool { return p.Name == projectOf(q) })
	if at >= 0 {
		if of := projectOfRole(s.Role); of != "" && of != r.projects[at].Name {
			return nobody()
		}
		read, _ := rulesOf(r.projects[at])
		allRules, allGrants = slices.Concat(rules, read.rules), slices.Concat(grants, read.grants)
	}
	if fallback(allRules, allGrants) || r.evaluate(name, allRules, allGrants, q) {
		return true
	}
	if at < 0 || projectOfRole(s.Role) == "" {
		for _, group := range s.Groups {
			if slices.ContainsFunc(allGrants, func(g Grant) bool { return g.Member == group }) && r.evaluate(group, allRules, allGrants, q) {
				return true
			}
		}
	}
	return nobody()
}

func TestAgainstTheReference(t *testing.T) {
	random := rand.New(rand.NewSource(7))
	pick := func(from ...string) string { return from[random.Intn(len(from))] }
	people := []string{"alice", "admin", "", "dev", "ops"}
	roles := []string{"role:a", "role:b", "role:readonly", "role:admin", "dev", "proj:p1:ci", "proj:p2:ci"}
	patterns := map[bool][3][]string{
		false: {{"*", "app*", "applications", "projects", "logs", "{logs,exec}"}, {"*", "get", "delete/*", "s*", "g?t"}, {"*", "*/*", "p1/*", "p1/app", "p?/a*", "*/ns/*", "p1"}},
		true:  {{".*", "^applications$", "logs|exec", "(", "pro"}, {".*", "get", "delete/.*", "*"}, {".*", "^p1/", "/app$", "ns", "p[12]"}},
	}
	asked, allowed := 0, 0
	for n := range 300 {
		regex := n%2 == 1
		var text []string
		for range random.Intn(24) {
			if random.Intn(3) == 0 {
				text = append(text, line("g", pick(append(people, roles...)...), pick(roles...)))
				continue
			}
			columns := patterns[regex]
			text = append(text, line("p", pick(append(people, roles...)...), pick(columns[0]...), pick(columns[1]...), pick(columns[2]...), pick("allow", "allow", "deny")))
		}
		data := map[string]string{"policy.csv": strings.Join(text, "\n"), "policy.default": pick("", "role:a", "role:readonly")}
		if regex {
			data["policy.matchMode"] = "regex"
		}
		config, _ := FromConfigMap(data)
		if config.Broken != "" {
			t.Fatal(config.Broken)
		}
		ref := reference{config: config, compiled: map[string]*regexp.Regexp{}}
		ref.rules, ref.grants = builtin()
		for _, name := range []string{"p1", "p2"} {
			role := Role{Name: "ci"}
			for range random.Intn(4) {
				role.Policies = append(role.Policies, fmt.Sprintf("p, proj:%s:ci, %s, %s, %s/%s, %s", name, pick("applications", "logs", "exec"), pick("get", "sync", "*", "delete/*"), name, pick("*", "app", "ns/*"), pick("allow", "allow", "deny")))
			}
			if random.Intn(2) == 0 {
				role.Groups = []string{pick("dev", "ops", "alice")}
			}
			ref.projects = append(ref.projects, Project{Name: name, Roles: []Role{role}})
		}
		policy := Compile(config, ref.projects)
		for range 5 {
			subject := Subject{Name: pick(people...), Groups: []string{pick("dev", "ops", "x"), pick("dev", "ops")}}
			if random.Intn(3) == 0 {
				subject.Role = pick("proj:p1:ci", "proj:p2:ci", "role:a")
			}
			view := policy.For(subject)
			for range 40 {
				q := Request{Resource: pick("applications", "logs", "exec", "projects", "clusters", "kustomizations"), Action: pick("get", "sync", "delete/apps/Deployment/a/b", "update"), Object: pick("p1/app", "p2/app", "p1/ns/app", "p3/app", "p1", "x")}
				asked++
				want, got := ref.allowed(subject, q), view.Can(q)
				if want {
					allowed++
				}
				if got.Allowed() != want {
					t.Fatalf("%+v %+v: %s, the reference says %v\n%s\n%+v", subject, q, got.Reason(), want, data, ref.projects)
				}
			}
		}
	}
	if allowed < asked/50 || allowed > asked*9/10 {
		t.Errorf("%d of %d questions are allowed: the test asks the wrong ones", allowed, asked)
	}
}

// A line that is added never makes more of what cannot be read.
func FuzzPolicy(f *testing.F) {
	f.Add("p, role:a, applications, get, */*, allow\ng, jane, role:a", false)
	f.Add("p, jane, *, *, *, deny\np, jane", false)
	f.Add("p, jane, .*, ^(a|b)+$, (((a{9}){9}){9}), allow", true)
	f.Add("g, jane, role:admin\r\n\"p\", \"a\"\"b\", [!a-c], {x, y}, *, allow", false)
	f.Fuzz(func(t *testing.T, text string, regex bool) {
		data := map[string]string{"policy.csv": text}
		if regex {
			data["policy.matchMode"] = "regex"
		}
		config, told := FromConfigMap(data)
		refused := slices.ContainsFunc(told, func(finding model.Finding) bool { return finding.Severity == "refused" })
		if (config.Broken != "") != refused {
			t.Fatalf("broken %q, told %v", config.Broken, told)
		}
		Validate(config, nil)
		jane := Subject{Name: "jane", Groups: []string{"dev"}}
		requests := []Request{{Applications, Get, "p/a", ""}, {Plumb, Get, Settings, ""}, {Clusters, Delete, "x", ""}, {Applications, Delete, "p/a", "a/b/c/d"}}
		policy := Compile(config, []Project{{Name: "p", Roles: []Role{{Name: "r", Policies: []string{text}, Groups: []string{text}}}}})
		for _, q := range requests {
			d := policy.Can(jane, q)
			if len(d.Reason()) > 4000 {
				t.Errorf("a reason of %d bytes", len(d.Reason()))
			}
			if config.Broken != "" && d.Effect != Denied {
				t.Errorf("%+v of a policy that cannot be read: %s", q, d.Reason())
			}
		}
		// What was read can be written and read again.
		var again strings.Builder
		for _, rule := range config.Rules {
			again.WriteString(rule.String() + "\n")
		}
		for _, grant := range config.Grants {
			again.WriteString(grant.String() + "\n")
		}
		if config.Broken != "" {
			return
		}
		data["policy.csv"] = again.String()
		second, _ := FromConfigMap(data)
		if second.Broken != "" || len(second.Rules) != len(config.Rules) || len(second.Grants) != len(config.Grants) {
			t.Fatalf("%q is read otherwise than %q: %s", again.String(), text, second.Broken)
		}
		for i, rule := range second.Rules {
			rule.Origin = config.Rules[i].Origin
			if rule != config.Rules[i] {
				t.Errorf("%+v is read as %+v", config.Rules[i], rule)
			}
		}
		// With a line more that cannot be read, nothing is allowed.
		data["policy.csv"] = text + "\np, jane"
		third, _ := FromConfigMap(data)
		for _, q := range requests {
			if d := Compile(third, nil).Can(jane, q); d.Effect != Denied {
				t.Errorf("%+v: %s", q, d.Reason())
			}
		}
	})
}

func TestViewsAreShared(t *testing.T) {
	policy := busy(20, 10)
	view := policy.For(Subject{Name: "jane", Groups: []string{"team-3"}})
	var done sync.WaitGroup
	for worker := range 4 {
		done.Add(1)
		go func() {
			defer done.Done()
			for i := range 600 {
				q := Request{Applications, fmt.Sprintf("action/%d", i*worker), fmt.Sprintf("project-%d/app", i%30), ""}
				if view.Can(q).Allowed() {
					t.Errorf("%+v is allowed", q)
				}
				if q.Action, q.Object = Get, "project-3/app"; !view.Can(q).Allowed() {
					t.Error("team-3 may not see its project")
				}
			}
		}()
	}
	done.Wait()
	if n := len(view.base.answers); n > rememberedAnswers {
		t.Errorf("%d answers are remembered", n)
	}
}

// busy is a policy of as many rules about one role, and projects with a role
// each.
func busy(rules, projects int) *Policy {
	var text strings.Builder
	shapes := []string{"project-%d/*", "*/app-%d", "project-%d/ns-*/app-?", "{project-%d,other}/[a-c]*", "project-%d/app"}
	for i := range rules {
		fmt.Fprintf(&text, "p, role:dev, applications, %s, \"%s\", allow\n", []string{"get", "*", "[gs]*"}[i%3], fmt.Sprintf(shapes[i%len(shapes)], 1000+i))
	}
	text.WriteString("g, jane, role:dev\np, role:dev, applications, get, */secret-*, deny\n")
	var all []Project
	for i := range projects {
		name := fmt.Sprintf("project-%d", i)
		all = append(all, Project{Name: name, Roles: []Role{{Name: "ci", Policies: []string{"p, proj:" + name + ":ci, applications, get, " + name + "/*, allow"}, Groups: []string{fmt.Sprintf("team-%d", i)}}}})
	}
	config, _ := FromConfigMap(map[string]string{"policy.csv": text.String()})
	return Compile(config, all)
}

// BenchmarkFilter is a list of 5,000 applications in 200 projects, cut down to
// what a user may see, the roles of the user resolved anew for each list.
func BenchmarkFilter(b *testing.B) {
	rows := make([]string, 5000)
	for i := range rows {
		rows[i] = fmt.Sprintf("project-%d/ns-%d/app-%d", i%200, i%7, i)
	}
	for _, rules := range []int{0, 100, 1000} {
		policy := busy(rules, 200)
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) {
			seen := 0
			for b.Loop() {
				view := policy.For(Subject{Name: "jane", Groups: []string{"team-1", "team-2", "none"}})
				for _, row := range rows {
					if view.Can(Request{Applications, Get, row, ""}).Allowed() {
						seen++
					}
				}
			}
			if seen == 0 {
				b.Error("nothing is seen")
			}
		})
	}
}

func BenchmarkFor(b *testing.B) {
	policy := busy(100, 200)
	for b.Loop() {
		policy.For(Subject{Name: "jane", Groups: []string{"team-1", "team-2", "none"}})
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		busy(100, 200)
	}
}

// FuzzGlob holds the matcher against the translation that the gate room makes.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{
		{"p1/*", "p1/a"}, {"*a*b?c*", "xaxbycz"}, {"{a,b*}[!c-e]", "bxf"}, {"[ab]?*", "aü"}, {"{,a}{b,{c,d}}", "ad"}, {"**", ""}, {"a\\*", "a*"},
		{"?*?", "a"}, {"{,", "0"}, {"*?", ""}, {"*[a", "a"}, {"{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}*", "aaaaaaa"}, {"*ab", "aab"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, s string) {
		if len(text) > 60 || len(s) > 60 || !utf8.ValidString(text) {
			return
		}
		compiled, err := compileGlob(text)
		if err != nil {
			if gate.ValidGlob(text) {
				t.Errorf("%q is refused", text)
			}
			return
		}
		written, _ := gate.Pattern(text)
		re, err := regexp.Compile(`\A` + written + `\z`)
		if err != nil {
			return
		}
		if got, want := compiled.match(s), re.MatchString(s); got != want {
			t.Errorf("%q matches %q: %v, as an expression %v", text, s, got, want)
		}
	})
}
