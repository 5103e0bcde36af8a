package config

import (
	"maps"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// Support says what becomes of a key.
type Support string

// The kinds of support.
const (
	Works     Support = "works"
	Differs   Support = "differs"        // works in another way; an Info finding
	NotYet    Support = "not yet"        // accepted and not acted on; a Warning finding
	Server    Support = "server"         // belongs to Argo CD's own server and web interface; an Info finding
	NoMeaning Support = "not applicable" // there is nothing that it could steer; an Info finding
)

// Key is a row of the compatibility table of settings.
type Key struct {
	ConfigMap string
	Name      string // with a trailing "*": every key that begins so
	Support   Support
	Note      string
}

// Keys is the table, for documentation.
func Keys() []Key { return slices.Concat(keys, params) }

func of(configMap string, support Support, note string, names ...string) []Key {
	var out []Key
	for _, name := range names {
		out = append(out, Key{ConfigMap: configMap, Name: name, Support: support, Note: note})
	}
	return out
}

// keys are those of argocd-cm (docs/operator-manual/argocd-cm.yaml,
// util/settings).
var keys = slices.Concat(
	of(Name, Works, "",
		"application.instanceLabelKey", "application.resourceTrackingMethod", "installationID",
		"timeout.reconciliation",
		"application.sync.impersonation.enabled", "application.sync.impersonation.enforced",
		"cluster.inClusterEnabled", "globalProjects",
		"kustomize.enable", "jsonnet.enable", "helm.enable", "helm.valuesFileSchemes",
		"resource.exclusions", "resource.inclusions", "resource.compareoptions",
		keyCustomizations, keyCustomizations+".health.*", keyCustomizations+".useOpenLibs.*",
		keyCustomizations+".ignoreDifferences.*", keyCustomizations+".knownTypeFields.*",
		"url", "additionalUrls", "users.anonymous.enabled", "users.session.duration", "passwordPattern",
		"admin.enabled", "accounts.*", "oidc.config", "oidc.tls.insecure.skip.verify",
		"resource.sensitive.mask.annotations", "application.sync.requireOverridePrivilegeForRevisionSync",
		"server.maxPodLogsToRender", "webhook.maxPayloadSizeMB",
	),
	of(Name, Differs, "Dex is not started: run it by itself, and point oidc.config at it", "dex.config", "dex.auth.connectorId"),
	of(Name, Differs, "an update that changes nothing which is compared costs nothing, whatever is written here",
		keyCustomizations+".ignoreResourceUpdates.*", "resource.ignoreResourceUpdatesEnabled"),
	of(Name, Differs, "the engine spreads its looks by a share of the interval", "timeout.reconciliation.jitter"),
	of(Name, Differs, "a render remembers what it read and is made anew when any of it changes: nothing goes stale; the refresh annotation with the value hard forgets it all", "timeout.hard.reconciliation"),
	of(Name, Differs, "only what a delivery applied is watched, as its own identity: nothing has to be left out",
		"resource.respectRBAC"),
	of(Name, Works, "--enable-helm; Kustomize is built in and takes no other option", "kustomize.buildOptions"),
	of(Name, Differs, "there is one Kustomize, built in, which kustomize.buildOptions is for", "kustomize.buildOptions.*"),
	of(Name, Differs, "there is one Kustomize, built in, whatever version is asked for", "kustomize.path.*", "kustomize.version.*"),
	of(Name, Differs, "a webhook wakes exactly the sources that it names, at once", "webhook.refresh.jitter", "webhook.refresh.jitter.threshold"),
	of(Name, NoMeaning, "the source hydrator is not handled", "commit.author.*", "sourceHydrator.*"),
	of(Name, NoMeaning, "nothing is reported to anybody", "ga.trackingid", "ga.anonymizeusers"),
	of(Name, Server, notServed,
		keyCustomizations+".actions.*", "statusbadge.*", "users.*", "help.*", "ui.*", "server.*", "exec.*", "extension.config", "extension.config.*",
		"application.links", "project.links", "resource.links", "resource.customLabels",
		"resource.includeEventLabelKeys", "resource.excludeEventLabelKeys", "application.allowedNodeLabels",
		"webhook.*", "repositories", "repository.credentials", "helm.repositories", "configManagementPlugins"),
)

const (
	noComponent = "it steers a component of Argo CD that Plumb has no counterpart of"
	noLimit     = "the engine bounds and paces its own work"
	notServed   = "it is for Argo CD's own server, and Plumb's takes no notice of it"
)

// params are those of argocd-cmd-params-cm
// (docs/operator-manual/argocd-cmd-params-cm.yaml).
var params = slices.Concat(
	of(ParamsName, Works, "",
		"application.namespaces", "controller.sync.wave.delay.seconds", "controller.sync.timeout.seconds",
		"reposerver.enable.git.submodule", "reposerver.git.request.timeout",
		"applicationsetcontroller.namespaces", "applicationsetcontroller.policy",
		"applicationsetcontroller.enable.policy.override",
		"applicationsetcontroller.enable.scm.providers", "applicationsetcontroller.allowed.scm.providers",
		"applicationsetcontroller.enable.tokenref.strict.mode", "applicationsetcontroller.enable.new.git.file.globbing",
		"applicationsetcontroller.enable.git.submodule", "applicationsetcontroller.requeue.after",
		"applicationsetcontroller.global.preserved.annotations", "applicationsetcontroller.global.preserved.labels",
		"applicationsetcontroller.dryrun",
	),
	of(ParamsName, Differs, "a set that asks for RollingSync gets it", "applicationsetcontroller.enable.progressive.syncs"),
	of(ParamsName, Differs, "the status of a set lists up to 5,000 Applications", "applicationsetcontroller.status.max.resources.count"),
	of(ParamsName, Differs, "differences are always found by what the server says of its own objects",
		"controller.diff.server.side"),
	of(ParamsName, Differs, "the first correction is immediate; fields that somebody takes again back off",
		"controller.self.heal.timeout.seconds", "controller.self.heal.backoff.*"),
	of(ParamsName, Differs, "the health of every resource stands in the status as long as it fits",
		"controller.resource.health.persist"),
	of(ParamsName, Differs, "a tree is read without a checkout, so that no link can leave it",
		"reposerver.allow.oob.symlinks"),
	of(ParamsName, Differs, "renders are bounded by a budget of their own", "reposerver.max.combined.directory.manifests.size", "reposerver.streamed.manifest.*", "reposerver.include.hidden.directories"),
	of(ParamsName, Differs, "the trust of forges comes with their credentials", "applicationsetcontroller.scm.root.ca.path"),
	of(ParamsName, NoMeaning, noLimit,
		"controller.status.processors", "controller.operation.processors", "controller.hydration.processors",
		"controller.kubectl.parallelism.limit", "controller.k8sclient.*", "controller.k8s.*", "controller.cluster.cache.*",
		"controller.repo.error.grace.period.seconds", "controller.metrics.*", "controller.app.state.cache.expiration",
		"controller.default.cache.expiration", "controller.sharding.algorithm", "controller.profile.enabled",
		"controller.grpc.*", "controller.log.*", "controller.repo.server.*", "controller.ignore.normalizer.jq.timeout",
		"reposerver.*", "applicationsetcontroller.*", "log.format.timestamp"),
	of(ParamsName, NoMeaning, noComponent, "repo.server", "commit.server", "redis.*", "hydrator.enabled", "otlp.*", "commitserver.*", "dexserver.*", "notificationscontroller.*"),
	of(ParamsName, Server, notServed+": the flags of plumb server say how it is served", "server.*"),
)

// keys reports the keys that are not acted on as upstream does.
func (r *reader) keys(configMap string, data map[string]string, table []Key) {
	for _, name := range slices.Sorted(maps.Keys(data)) {
		row, known := lookup(table, name)
		field := "data." + clipKey(name)
		switch {
		case !known:
			r.find(model.Warning, ReasonUnknown, field, "%s has no setting that Plumb knows by this name: it is not acted on", configMap)
		case data[name] == "": // says nothing
		case row.Support == Differs:
			r.find(model.Info, ReasonDiffers, field, "%s", row.Note)
		case row.Support == NotYet:
			r.find(model.Warning, ReasonNotActedOn, field, "not yet handled by Plumb: %s", row.Note)
		case row.Support == Server:
			r.find(model.Info, ReasonServer, field, "%s", row.Note)
		case row.Support == NoMeaning:
			r.find(model.Info, ReasonNoMeaning, field, "%s", row.Note)
		}
	}
}

// lookup prefers the exact name, then the longest beginning.
func lookup(table []Key, name string) (Key, bool) {
	var best Key
	found := false
	for _, row := range table {
		if row.Name == name {
			return row, true
		}
		if prefix, open := strings.CutSuffix(row.Name, "*"); open && strings.HasPrefix(name, prefix) && (!found || len(row.Name) > len(best.Name)) {
			best, found = row, true
		}
	}
	return best, found
}
