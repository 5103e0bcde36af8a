package project

import (
	"slices"
	"strings"
	"testing"
)

func TestRBACFindings(t *testing.T) {
	o := parse(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-rbac-cm, namespace: argocd}
data:
  policy.default: role:readonly
  scopes: "[groups, email]"
  policy.csv: |
    # ArgoCD RBAC configuration
    p, role:developer, applications, get, */*, allow
    p, role:developer, applications, get
    g, my-org:developers, role:developer
    g, my-org:shop, proj:shop:ci
    g, "Doe, Jane", role:gone
  policy.alpha.csv: p, role:alpha, pods, get, a/b, allow
  surprise: x
`)
	var found []string
	for _, f := range RBACFindings(o) {
		if f.Origin.Declared.String() != "ConfigMap/argocd/argocd-rbac-cm" {
			t.Errorf("%s is of %s", f.Message, f.Origin.Declared)
		}
		message, _, _ := strings.Cut(f.Message, ";")
		found = append(found, string(f.Severity)+" "+f.Origin.Field+" "+message)
	}
	want := []string{
		"refused data.policy.csv line 3: p, role:developer, applications, get: it has 4 fields instead of the 6 of 'p, subject, resource, action, object, effect'. Until the line is corrected no line of the policy is in force, nor is the default role or a role of a project: only the built-in user admin may do anything",
		"warning data.surprise the key is not known and not acted on",
		`warning data.policy.alpha.csv line 1: there is no resource "pods"`,
		`warning data.policy.csv line 6: role "role:gone" may do nothing: no line of the policy is about it`,
	}
	if !slices.Equal(found, want) {
		t.Errorf("findings\n%s", strings.Join(found, "\n"))
	}
}

func TestNoRBAC(t *testing.T) {
	if findings := RBACFindings(nil); findings != nil {
		t.Error(findings)
	}
	o := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-rbac-cm, namespace: argocd}\ndata: {policy.csv: [no, text]}\n")
	if findings := RBACFindings(o); len(findings) != 1 || findings[0].Reason != "InvalidPolicy" {
		t.Error(findings)
	}
	if RBACNeed("argocd").String() != "ConfigMap/argocd/argocd-rbac-cm" {
		t.Error(RBACNeed("argocd"))
	}
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
