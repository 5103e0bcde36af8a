package api

import (
	"context"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// The places that a setting comes from.
const (
	FromFlag        = "flag"
	FromEnvironment = "environment"
	fromConfigMap   = "configmap"
	fromDefault     = "default"
)

// standard is a setting that holds where nobody says otherwise.
type standard struct{ name, value, help string }

// rbacStandards are those of argocd-rbac-cm.
func rbacStandards() []standard {
	return []standard{
		{"policy.csv", "", "Who may do what: rules and roles. Without any, only admin may do anything."},
		{"policy.default", "", "The role of those for whom no rule speaks."},
		{"policy.matchMode", "glob", "How the objects of rules are compared: glob or regex."},
		{"scopes", "[" + strings.Join(policy.DefaultScopes, ", ") + "]", "Claims of an identity provider that name groups."},
	}
}

// argoStandards are those of argocd-cm that are acted on most.
func argoStandards(url string) []standard {
	d := config.Default()
	boolean := map[bool]string{true: "true", false: "false"}
	return []standard{
		{"url", url, "Where people reach the console."},
		{"admin.enabled", "true", "The local user admin may sign in."},
		{"users.anonymous.enabled", "false", "One may look without signing in."},
		{"users.session.duration", "24h", "How long a sign-in lasts."},
		{"oidc.config", "", "The identity provider."},
		{"timeout.reconciliation", d.Reconciliation.String(), "How often repositories of Applications are looked at, where no webhook tells."},
		{"application.resourceTrackingMethod", string(d.Tracking), "How objects are marked as an Application's."},
		{"application.instanceLabelKey", d.InstanceLabelKey, "The label that names the Application of an object."},
		{"cluster.inClusterEnabled", boolean[d.InCluster], "Applications may go to the cluster that Plumb runs in."},
		{"kustomize.enable", boolean[d.Kustomize], "Directories with a kustomization are built by Kustomize."},
		{"helm.enable", boolean[d.Helm], "Directories with a chart are rendered by Helm."},
		{"jsonnet.enable", boolean[d.Directory], "Plain manifests and Jsonnet are rendered."},
	}
}

// GetSettings tells the configuration in force.
func (s fleetService) GetSettings(ctx context.Context, _ *plumbv1.GetSettingsRequest) (*plumbv1.GetSettingsResponse, error) {
	out := &plumbv1.GetSettingsResponse{Version: s.opts.Version}
	out.Groups = append(out.Groups, flagGroup(s.opts.Flags))
	s.mu.Lock()
	findings := slices.Clone(s.settings.findings)
	for _, part := range []struct {
		name     string
		standard []standard
	}{{policyMap, rbacStandards()}, {signin.ConfigMapName, argoStandards(s.opts.URL)}} {
		namespace, data := s.settings.config(part.name, s.control())
		out.Groups = append(out.Groups, configGroup(namespace+"/"+part.name, data, part.standard))
	}
	s.mu.Unlock()
	door, err := s.door.Findings(ctx)
	if err == nil {
		findings = append(findings, door...)
	}
	for i := range findings {
		out.Findings = append(out.Findings, rows.Finding(&findings[i]))
	}
	return out, nil
}

// flagGroup are the choices of whoever runs the server: those that were made
// come first.
func flagGroup(flags []Flag) *plumbv1.SettingsGroup {
	group := &plumbv1.SettingsGroup{Title: "Flags"}
	for _, chosen := range []bool{true, false} {
		for _, f := range flags {
			if chosen != (f.Origin != "") {
				continue
			}
			setting := &plumbv1.Setting{Name: f.Name, Value: shownSetting(f.Name, f.Value), From: "default", Help: f.Help, Origin: fromDefault}
			switch f.Origin {
			case FromFlag:
				setting.From, setting.Origin = "--"+f.Name, FromFlag
			case "":
			default:
				setting.From, setting.Origin = "environment "+f.Origin, FromEnvironment
			}
			group.Settings = append(group.Settings, setting)
		}
	}
	return group
}

// configGroup is a ConfigMap: what it says, and what holds where it says nothing.
func configGroup(place string, data map[string]string, standards []standard) *plumbv1.SettingsGroup {
	group := &plumbv1.SettingsGroup{Title: place}
	help := map[string]string{}
	for _, known := range standards {
		help[known.name] = known.help
	}
	for _, name := range sortedKeys(data) {
		group.Settings = append(group.Settings, &plumbv1.Setting{
			Name: name, Value: shownSetting(name, data[name]), From: "ConfigMap " + place, Help: help[name], Origin: fromConfigMap,
		})
	}
	for _, known := range standards {
		if _, said := data[known.name]; !said {
			group.Settings = append(group.Settings, &plumbv1.Setting{
				Name: known.name, Value: object.WithoutCredentials(known.value), From: "default", Help: known.help, Origin: fromDefault,
			})
		}
	}
	return group
}
