package api

import (
	"fmt"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/object"
)

// TestSettingsSayWhereTheyComeFrom: what somebody chose, and what holds by default,
// each with its place and without secrets.
func TestSettingsSayWhereTheyComeFrom(t *testing.T) {
	s := matrixServer(t)
	s.opts.URL = "https://cd.example.org"
	s.opts.Flags = []Flag{
		{Name: "concurrent", Value: "0", Help: "deliveries worked on at a time"}, {Name: "api-addr", Value: ":8080", Origin: FromFlag},
		{Name: "runtime-namespace", Value: "cd", Origin: "RUNTIME_NAMESPACE"}, {Name: "webhook-token", Value: "hunter2", Origin: FromFlag},
	}
	s.settings.home = "argocd"
	s.settings.configs = map[string]map[string]string{"argocd-cm": {"admin.enabled": "false", "webhook.github.secret": "hunter2"}}
	answer, err := fleetService{s}.GetSettings(asCaller(t, t.Context(), s, callers[0].who), &plumbv1.GetSettingsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(answer.String(), "hunter2") {
		t.Error("a secret is shown")
	}
	shown := map[string]string{}
	for _, g := range answer.GetGroups() {
		for _, one := range g.GetSettings() {
			shown[g.GetTitle()+" "+one.GetName()] = fmt.Sprintf("%s from %s (%s)", one.GetValue(), one.GetFrom(), one.GetOrigin())
		}
	}
	for name, want := range map[string]string{
		"Flags concurrent":                        "0 from default (default)",
		"Flags api-addr":                          ":8080 from --api-addr (flag)",
		"Flags runtime-namespace":                 "cd from environment RUNTIME_NAMESPACE (environment)",
		"Flags webhook-token":                     object.Mask + " from --webhook-token (flag)",
		"argocd/argocd-cm admin.enabled":          "false from ConfigMap argocd/argocd-cm (configmap)",
		"argocd/argocd-cm webhook.github.secret":  object.Mask + " from ConfigMap argocd/argocd-cm (configmap)",
		"argocd/argocd-cm url":                    "https://cd.example.org from default (default)",
		"argocd/argocd-cm users.session.duration": "24h from default (default)",
		"argocd/argocd-rbac-cm policy.matchMode":  "glob from default (default)",
		"argocd/argocd-rbac-cm scopes":            "[groups] from default (default)",
	} {
		if shown[name] != want {
			t.Errorf("%s: %q, want %q", name, shown[name], want)
		}
	}
	if first := answer.GetGroups()[0].GetSettings()[0].GetName(); first != "api-addr" {
		t.Errorf("%s comes first, which nobody chose", first)
	}
}
