package health

import "plumb.dev/plumb/internal/model"

// The kinds of Crossplane, of its providers and of Upbound's.
var (
	crossplane = system{group: "*.crossplane.io", kinds: map[string]rule{
		"*": first(withoutStatus(
			"Composition", "CompositionRevision", "DeploymentRuntimeConfig", "ClusterProviderConfig",
			"ProviderConfig", "ProviderConfigUsage", "ControllerConfig"), inUse, managed(
			"Ready", "Healthy", "Offered", "Established", "ValidPipeline", "RevisionHealthy")),
	}}
	upbound = system{group: "*.upbound.io", kinds: map[string]rule{
		"*": first(withoutStatus("ClusterProviderConfig", "ProviderConfig", "ProviderConfigUsage"), inUse, managed("Ready")),
	}}
	crossplanePackages = system{group: "pkg.crossplane.io", kinds: map[string]rule{"Provider": crossplaneProvider}}
	crossplaneStacks   = system{group: "stacks.crossplane.io", kinds: map[string]rule{"ClusterStackInstall": stackInstall}}

	// Kinds of provider-aws, whose judgement knows of reconciliation that is paused.
	crossplaneCloudFront = system{group: "cloudfront.aws.crossplane.io", kinds: shared(pausable, "Distribution")}
	crossplaneIAM        = system{group: "iam.aws.crossplane.io", kinds: shared(pausable, "Policy", "Role", "RolePolicyAttachment")}
	crossplaneRDS        = system{group: "rds.aws.crossplane.io", kinds: shared(pausable, "DBCluster", "DBInstance")}
	crossplaneRoute53    = system{group: "route53.aws.crossplane.io", kinds: shared(pausable, "ResourceRecordSet")}
	crossplaneS3         = system{group: "s3.aws.crossplane.io", kinds: shared(pausable, "Bucket")}
)

// withoutStatus passes kinds that are configuration only, whose status stays
// empty. As upstream has it, an object without any status is taken for one,
// whatever its kind.
func withoutStatus(kinds ...string) clause {
	configuration := shared(always, kinds...)
	return func(live fields) (model.Health, bool) {
		status, present := live.at("status").(map[string]any)
		_, config := configuration[live.text("kind")]
		if present && (len(status) > 0 || !config) {
			return model.Health{}, false
		}
		return current("it is configuration, and has no status"), true
	}
}

// inUse passes a provider's configuration that says how many use it.
func inUse(live fields) (model.Health, bool) {
	kind := live.text("kind")
	if kind != "ProviderConfig" && kind != "ClusterProviderConfig" || live.has("status", "conditions") || !live.has("status", "users") {
		return model.Health{}, false
	}
	return current("the configuration is in use"), true
}

// managed judges what a controller keeps in step with the outside: a failure to
// do so outweighs that it is, or was, ready.
func managed(ready ...string) clause {
	marks := []mark{when("LastAsyncOperation", "False", model.Unhealthy), when("Synced", "False", model.Unhealthy)}
	for _, kind := range ready {
		marks = append(marks, when(kind, "True", model.Current))
	}
	return ranked(marks...)
}

// pausable is healthy when synced and ready, and suspended when reconciliation
// is paused.
func pausable(live fields) model.Health {
	if !live.has("status", "conditions") {
		return inProgress("NotCreated", "the %s is not created yet", live.text("kind"))
	}
	ready, _ := live.condition("Ready")
	synced, _ := live.condition("Synced")
	switch {
	case ready.status == "True" && synced.status == "True":
		return current("%s", or(ready.reason, "it is ready"))
	case synced.status != "True" && synced.reason == "ReconcilePaused":
		return suspended(synced.reason, "reconciliation is paused")
	case synced.status == "True" && synced.reason != "ReconcilePaused":
		return inProgress(or(ready.reason, "NotReady"), "the %s is not available yet", live.text("kind"))
	}
	return failed(or(synced.reason, "NotSynced"), "%s", or(synced.message, "it is not in step with its provider"))
}

func crossplaneProvider(live fields) model.Health {
	if !live.has("status", "conditions") {
		return inProgress("NotInstalled", "the provider is not installed yet")
	}
	installed, _ := live.condition("Installed")
	healthy, _ := live.condition("Healthy")
	switch {
	case installed.status != "True":
		return failed(or(installed.reason, "NotInstalled"), "the provider is not installed%s", installed.because())
	case healthy.status != "True":
		return failed(or(healthy.reason, "NotHealthy"), "the provider is not healthy%s", healthy.because())
	}
	return current("the provider is installed and healthy")
}

func stackInstall(live fields) model.Health {
	for _, c := range live.conditionsAt("status", "conditionedStatus", "conditions") {
		if c.kind == "Ready" && c.status == "True" {
			return current("%s", c.said())
		}
	}
	return inProgress("NotInstalled", "the stack is not installed yet")
}
