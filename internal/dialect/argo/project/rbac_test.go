package project

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
)

func TestReadRBAC(t *testing.T) {
	o := parse(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-rbac-cm, namespace: argocd}
data:
  policy.default: role:readonly
  scopes: "[groups, email]"
  policy.matchMode: regex
  policy.csv: |
    # ArgoCD RBAC configuration
    p, role:admin, *, *, *, allow
    p, role:developer, applications, get, */*, allow

    p, role:developer, applications, sync, */*, deny
    g, my-org:developers, role:developer
    g, "Doe, Jane", role:gone
    p, role:developer, applications, get
  policy.zeta.csv: p, role:zeta, logs, get, a/b, maybe
  policy.alpha.csv: p, role:alpha, pods, fly, a/b, allow
  surprise: x
`)
	policy, findings := ReadRBAC(o)
	var rules []string
	for _, rule := range policy.Rules {
		rules = append(rules, fmt.Sprintf("%s:%d %s", rule.Origin.Field, rule.Origin.Line, rule))
	}
	want := []string{
		"data.policy.csv:2 p, role:admin, *, *, *, allow",
		"data.policy.csv:3 p, role:developer, applications, get, */*, allow",
		"data.policy.csv:5 p, role:developer, applications, sync, */*, deny",
		"data.policy.csv:6 g, my-org:developers, role:developer",
		`data.policy.csv:7 g, "Doe, Jane", role:gone`,
		"data.policy.alpha.csv:1 p, role:alpha, pods, fly, a/b, allow",
	}
	if !slices.Equal(rules, want) {
		t.Errorf("rules\n%s", strings.Join(rules, "\n"))
	}
	if policy.Default != "role:readonly" || !policy.Regex || !policy.Broken || !slices.Equal(policy.Scopes, []string{"groups", "email"}) {
		t.Errorf("policy %+v", policy)
	}
	var found []string
	for _, f := range findings {
		found = append(found, string(f.Severity)+" "+f.Origin.Field+" "+f.Message)
	}
	wantFound := []string{
		"refused data.policy.csv line 8: invalid RBAC policy: p, role:developer, applications, get",
		"warning data.policy.alpha.csv line 1: there is no resource 'pods'",
		"warning data.policy.alpha.csv line 1: there is no action 'fly'",
		"warning data.policy.zeta.csv line 1: effect must be 'allow' or 'deny', not 'maybe': the line has no effect",
		`warning data.policy.csv "*" is no regular expression and matches nothing`,
		`warning data.policy.csv "*/*" is no regular expression and matches nothing`,
		"warning data.surprise the key is not known and not acted on",
		`warning data.policy.csv role "role:gone" may do nothing: no line of the policy is about it`,
	}
	if !slices.Equal(found, wantFound) {
		t.Errorf("findings\n%s", strings.Join(found, "\n"))
	}
}

// TestPolicyOfDevelopers is an installation's policy as its users write it.
func TestPolicyOfDevelopers(t *testing.T) {
	rules, findings := ParsePolicy(`p, role:admin, *, *, *, allow
p, role:developer, applications, get, */*, allow
p, role:developer, applications, sync, */*, allow
g, my-org:developers, role:developer
`)
	if len(rules) != 4 || len(findings) != 0 || rules[3].Subject != "my-org:developers" || rules[3].Role != "role:developer" {
		t.Errorf("%v, %v", rules, findings)
	}
}

func TestNoRBAC(t *testing.T) {
	if policy, findings := ReadRBAC(nil); len(policy.Rules) != 0 || policy.Broken || findings != nil || !slices.Equal(policy.Scopes, []string{"groups"}) {
		t.Errorf("%+v %v", policy, findings)
	}
	if RBACNeed("argocd").String() != "ConfigMap/argocd/argocd-rbac-cm" {
		t.Error(RBACNeed("argocd"))
	}
}

// FuzzParsePolicy: whatever is read can be written and read again, every line
// is a rule, a finding or nothing, and findings are bounded.
func FuzzParsePolicy(f *testing.F) {
	f.Add("p, role:admin, *, *, *, allow\ng, a, b\n# c\n\n")
	f.Add(`p, "a ""b"", c", applications, get, x/y, deny`)
	f.Add("g, \"\n, x")
	f.Add("p,,,,,\ng,,x")
	f.Fuzz(func(t *testing.T, text string) {
		rules, findings := ParsePolicy(text)
		if len(findings) > maxFaulty {
			t.Fatalf("%d findings", len(findings))
		}
		for _, finding := range findings {
			if len(finding.Message) > maxText || finding.Severity != model.Refused && finding.Severity != model.Warning {
				t.Fatalf("finding %+v", finding)
			}
		}
		for _, rule := range rules {
			if rule.Subject == "#" || strings.ContainsAny(rule.Subject+rule.Role+rule.Object+rule.Action+rule.Resource, "\n") {
				continue // a policy is read line by line
			}
			again, _ := ParsePolicy(rule.String())
			rule.Origin.Line = 1
			if len(again) != 1 || again[0] != rule {
				t.Fatalf("%+v is written %q and read %+v", rule, rule, again)
			}
		}
	})
}

// FuzzRolePolicy: a rule that passes is about its role and in its project.
func FuzzRolePolicy(f *testing.F) {
	f.Add("p, proj:team:ci, applications, sync, team/*, allow")
	f.Add("p, proj:team:ci, applications, action/*, team/ns/app, deny")
	f.Fuzz(func(t *testing.T, text string) {
		rule, wrong := parseRolePolicy("team", "ci", text)
		if wrong == "" && (rule.Subject != "proj:team:ci" || !strings.HasPrefix(rule.Object, "team/") || !slices.Contains(scopedResources, rule.Resource)) {
			t.Fatalf("%q passes as %+v", text, rule)
		}
	})
}
