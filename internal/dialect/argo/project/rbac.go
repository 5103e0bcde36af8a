package project

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// RBACConfigMap is the ConfigMap of the installation's policy.
const RBACConfigMap = "argocd-rbac-cm"

// RBACNeed is the need for the installation's policy.
func RBACNeed(namespace string) model.Need {
	return model.Need{Version: "v1", Kind: "ConfigMap", Namespace: namespace, Name: RBACConfigMap}
}

// RBACFindings tell what is wrong with the installation's policy, and what in it
// means nothing. It is in force, or not, where access is decided; who declares it
// is told here. nil is an installation without one.
func RBACFindings(o *unstructured.Unstructured) []model.Finding {
	if o == nil {
		return nil
	}
	origin := model.Origin{Dialect: dialectName, Declared: object.Of(o)}
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		origin.Field = "data"
		return []model.Finding{{Severity: model.Refused, Reason: "InvalidPolicy", Message: "the values must be text", Origin: origin}}
	}
	config, findings := policy.FromConfigMap(data)
	findings = append(findings, policy.Validate(config, nil)...)
	for i := range findings {
		findings[i].Origin.Dialect, findings[i].Origin.Declared = origin.Dialect, origin.Declared
	}
	return findings
}
