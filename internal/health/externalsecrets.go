package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// The kinds of External Secrets, and of the tool that it replaced.
var (
	externalSecrets = system{group: "external-secrets.io", kinds: map[string]rule{
		"ClusterExternalSecret": first(lastCondition),
		"ClusterSecretStore":    readyBoth,
		"ExternalSecret":        readyBoth,
		"PushSecret":            readyBoth,
		"SecretStore":           readyBoth,
	}}
	kubernetesExternalSecrets = system{group: "kubernetes-client.io", kinds: map[string]rule{"ExternalSecret": fetchedSecret}}
)

// lastCondition reads the last condition, since the controller appends the one
// that holds.
func lastCondition(live fields) (model.Health, bool) {
	conditions := live.conditions()
	if len(conditions) == 0 {
		return model.Health{}, false
	}
	last := conditions[len(conditions)-1]
	for _, m := range []mark{
		when("Ready", "True", model.Current), when("PartiallyReady", "True", model.Unhealthy), when("NotReady", "True", model.Unhealthy),
	} {
		if m.fits(last) {
			return m.verdict(last)
		}
	}
	return model.Health{}, false
}

func fetchedSecret(live fields) model.Health {
	switch said := live.text("status", "status"); {
	case said == "SUCCESS":
		return current("the secret has been fetched")
	case strings.HasPrefix(said, "ERROR"):
		return failed("FetchFailed", "the secret cannot be fetched: %s", strings.TrimPrefix(strings.TrimPrefix(said, "ERROR"), ", "))
	}
	return inProgress("NotFetched", "the secret has not been fetched yet")
}
