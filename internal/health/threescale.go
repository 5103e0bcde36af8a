package health

import "plumb.dev/plumb/internal/model"

// The kinds of Red Hat's 3scale.
var (
	threeScale = system{group: "apps.3scale.net", kinds: map[string]rule{"APIManager": apiManager}}

	threeScaleCapabilities = system{group: "capabilities.3scale.net", kinds: map[string]rule{
		"ActiveDoc":              threeScaleKind("Ready", "Invalid", "Orphan", "Failed"),
		"Application":            threeScaleApplication,
		"ApplicationAuth":        threeScaleKind("Ready", "Failed"),
		"Backend":                threeScaleKind("Synced", "Invalid", "Failed"),
		"CustomPolicyDefinition": threeScaleKind("Ready", "Invalid", "Failed"),
		"DeveloperAccount": first(reported(when("Ready", "True", model.Current), when("Invalid", "True", model.Unhealthy),
			when("Failed", "True", model.Unhealthy), when("Waiting", "True", model.Paused))),
		"DeveloperUser": first(word("status.developerUserState", words{"suspended": model.Paused}),
			threeScaleConditions("Ready", "Invalid", "Orphan", "Failed")),
		"OpenAPI": threeScaleKind("Ready", "Invalid", "Failed"),
		"Product": threeScaleKind("Synced", "Invalid", "Orphan", "Failed"),
		"ProxyConfigPromote": first(reported(when("Ready", "True", model.Current), when("In-progress", "True", model.InProgress),
			when("Failed", "True", model.Unhealthy))),
		"Tenant": threeScaleTenant,
	}}
)

// threeScaleKind is healthy by one condition, and unhealthy by any of others.
func threeScaleKind(good string, bad ...string) rule {
	return first(threeScaleConditions(good, bad...))
}

func threeScaleConditions(good string, bad ...string) clause {
	marks := []mark{when(good, "True", model.Current)}
	for _, kind := range bad {
		marks = append(marks, when(kind, "True", model.Unhealthy))
	}
	return reported(marks...)
}

// apiManager is healthy when all of its deployments are ready. While some
// start or stop, only its own condition can tell.
func apiManager(live fields) model.Health {
	deployments := live.sub("status", "deployments")
	if deployments.has("ready") && !deployments.has("starting") && !deployments.has("stopped") {
		return current("all deployments are ready")
	}
	available, _ := live.condition("Available")
	switch {
	case available.status == "True":
		return current("it is available")
	case available.reason != "":
		return failed(available.reason, "it is not available%s", available.because())
	}
	return inProgress("NotAvailable", "it is not available yet")
}

// threeScaleApplication fails only before 3scale has given it an id.
func threeScaleApplication(live fields) model.Health {
	if live.text("status", "state") == "suspended" {
		return suspended("Suspended", "the application is suspended")
	}
	ready, ok := live.condition("Ready")
	switch {
	case ready.status == "True":
		return current("the application is ready")
	case ok && live.count(0, "status", "adminId") <= 0:
		return failed(or(ready.reason, "NotReady"), "%s", or(ready.message, "the application is not ready"))
	}
	return inProgress("NotReady", "the application is not ready yet")
}

func threeScaleTenant(live fields) model.Health {
	ready, ok := live.condition("Ready")
	switch {
	case ready.status == "True" && live.count(0, "status", "tenantId") > 0 && live.count(0, "status", "adminId") > 0:
		return current("the tenant is ready")
	case ok && ready.status != "True":
		return failed(or(ready.reason, "NotReady"), "%s", or(ready.message, "the tenant is not ready"))
	}
	return inProgress("NotReady", "the tenant is not ready yet")
}
