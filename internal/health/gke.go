package health

import "plumb.dev/plumb/internal/model"

// gke judges the certificates that Google Kubernetes Engine manages.
var gke = system{group: "networking.gke.io", kinds: map[string]rule{"ManagedCertificate": managedCertificate}}

func managedCertificate(live fields) model.Health {
	for _, domain := range live.each("status", "domainStatus") {
		if domain.text("status") == "FailedNotVisible" {
			return failed("FailedNotVisible", "domain %s is not visible to the authority", domain.text("domain"))
		}
	}
	said := live.text("status", "certificateStatus")
	if said == "Active" {
		return current("the certificate is active")
	}
	return inProgress(or(said, "Provisioning"), "the certificate is still being provisioned")
}
