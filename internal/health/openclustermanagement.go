package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// openClusterManagement judges policies by whether clusters comply with them.
var openClusterManagement = system{group: "policy.open-cluster-management.io", kinds: map[string]rule{
	"CertificatePolicy":   first(wordElse("status.compliant", words{"Compliant": model.Current}, model.Unhealthy)),
	"ConfigurationPolicy": first(configurationPolicy),
	"OperatorPolicy": first(operatorPolicyUnobserved,
		reported(when("Compliant", "True", model.Current), when("Compliant", "", model.Unhealthy))),
	"Policy": clusterPolicySet,
}}

func configurationPolicy(live fields) (model.Health, bool) {
	if !live.has("status", "compliant") {
		return model.Health{}, false
	}
	seen, _ := live.whole("status", "lastEvaluatedGeneration")
	if generation, _ := live.whole("metadata", "generation"); seen != generation {
		return behind(live), true
	}
	if !live.has("status", "compliancyDetails") {
		return inProgress("NotReported", "the details of compliance are not known yet"), true
	}
	var details []string
	for _, detail := range live.each("status", "compliancyDetails") {
		for _, c := range detail.conditionsAt("conditions") {
			details = append(details, c.said())
		}
	}
	return compliance(live.text("status", "compliant"), strings.Join(details, "; ")), true
}

func compliance(said, details string) model.Health {
	if said == "Compliant" {
		return current("%s", or(details, "it is complied with"))
	}
	return failed(or(said, "NonCompliant"), "%s", or(details, "it is not complied with"))
}

// operatorPolicyUnobserved is unobserved for a status with conditions only.
func operatorPolicyUnobserved(live fields) (model.Health, bool) {
	if !live.has("status", "conditions") {
		return model.Health{}, false
	}
	return unobserved(live)
}

// clusterPolicySet judges a policy over clusters, or over templates on one.
func clusterPolicySet(live fields) model.Health {
	said := live.text("status", "compliant")
	switch {
	case live.flag("spec", "disabled"):
		return current("the policy is disabled")
	case said == "" && !live.has("status", "status") && len(live.each("status", "placement")) > 0:
		return current("no cluster matches the policy")
	case said == "":
		return inProgress("NotReported", "compliance is not known yet")
	}
	var against []string
	for _, cluster := range live.each("status", "status") {
		if cluster.text("compliant") != "Compliant" {
			against = append(against, cluster.text("clustername"))
		}
	}
	for _, detail := range live.each("status", "details") {
		if detail.text("compliant") != "Compliant" {
			against = append(against, detail.text("templateMeta", "name"))
		}
	}
	if len(against) == 0 {
		return compliance(said, "")
	}
	return compliance(said, "not complied with by "+strings.Join(against, ", "))
}
