package health

import "plumb.dev/plumb/internal/model"

// The kinds of cert-manager, under its name of today and its first.
var (
	certManager = system{group: "cert-manager.io", kinds: map[string]rule{
		// A certificate that is being issued anew is not ready, and not broken.
		"Certificate":   first(reported(when("Issuing", "True", model.InProgress)), conditionBoth("Ready")),
		"ClusterIssuer": readyBoth,
		"Issuer":        readyBoth,
	}}
	certManagerFirst = system{group: "certmanager.k8s.io", kinds: shared(readyBoth, "Certificate", "Issuer")}
)
