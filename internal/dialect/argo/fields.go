package argo

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// Field is a row of the compatibility table. AppProject and ApplicationSet are
// told of by their own rooms.
type Field = reader.Field

// Fields is the table, in the order of the documentation.
func Fields() []Field { return slices.Clone(fields) }

var fields = slices.Concat(
	rows("spec", reader.Works, "", "project", "destination.server", "destination.name", "destination.namespace", "revisionHistoryLimit", "info[].name", "info[].value"),
	sourceRows("spec.source"),
	sourceRows("spec.sources[]"),
	rows("spec.sourceHydrator", reader.Works, "", "syncSource.targetBranch", "syncSource.path", "syncSource.repoURL"),
	rows("spec.sourceHydrator", reader.NotYet, "nothing is hydrated: the branch is delivered as it is", "drySource", "hydrateTo"),
	rows("spec.syncPolicy", reader.Works, "", "automated.enabled", "automated.prune", "automated.selfHeal", "automated.allowEmpty",
		"syncOptions[]", "managedNamespaceMetadata.labels.*", "managedNamespaceMetadata.annotations.*",
		"retry.limit", "retry.refresh", "retry.backoff.duration", "retry.backoff.factor", "retry.backoff.maxDuration"),
	rows("spec.ignoreDifferences[]", reader.Works, "", "group", "kind", "name", "namespace", "jsonPointers[]", "jqPathExpressions[]", "managedFieldsManagers[]"),
	rows("operation", reader.Works, "", "initiatedBy.username", "initiatedBy.automated", "info[].name", "info[].value",
		"retry.limit", "retry.refresh", "retry.backoff.duration", "retry.backoff.factor", "retry.backoff.maxDuration",
		"sync.revision", "sync.revisions[]", "sync.prune", "sync.dryRun", "sync.syncOptions[]", "sync.autoHealAttemptsCount",
		"sync.syncStrategy.apply.force", "sync.syncStrategy.hook.force",
		"sync.resources[].group", "sync.resources[].kind", "sync.resources[].name", "sync.resources[].namespace"),
	rows("operation", reader.Refused, "what is delivered comes from a source: local manifests are not taken", "sync.manifests[]"),
	sourceRows("operation.sync.source"),
	sourceRows("operation.sync.sources[]"),
)

// sourceRows are the fields of a source, wherever one stands.
func sourceRows(prefix string) []Field {
	return slices.Concat(
		rows(prefix, reader.Works, "", "repoURL", "path", "targetRevision", "ref", "name", "tagPrefix",
			"directory.recurse", "directory.include", "directory.exclude", "directory.disableExtensionFilter",
			"directory.jsonnet.extVars[].name", "directory.jsonnet.extVars[].value", "directory.jsonnet.extVars[].code",
			"directory.jsonnet.tlas[].name", "directory.jsonnet.tlas[].value", "directory.jsonnet.tlas[].code", "directory.jsonnet.libs[]",
			"kustomize.namePrefix", "kustomize.nameSuffix", "kustomize.namespace", "kustomize.images[]",
			"kustomize.replicas[].name", "kustomize.replicas[].count", "kustomize.components[]", "kustomize.ignoreMissingComponents",
			"kustomize.commonLabels.*", "kustomize.labelWithoutSelector", "kustomize.labelIncludeTemplates", "kustomize.forceCommonLabels",
			"kustomize.commonAnnotations.*", "kustomize.commonAnnotationsEnvsubst", "kustomize.forceCommonAnnotations",
			"kustomize.patches[].patch", "kustomize.patches[].path", "kustomize.patches[].options.*",
			"kustomize.patches[].target.group", "kustomize.patches[].target.version", "kustomize.patches[].target.kind",
			"kustomize.patches[].target.name", "kustomize.patches[].target.namespace",
			"kustomize.patches[].target.labelSelector", "kustomize.patches[].target.annotationSelector"),
		rows(prefix, reader.Differs, "there is one Kustomize, built in, whatever version is asked for", "kustomize.version"),
		rows(prefix, reader.Works, "", "chart", "kustomize.kubeVersion", "kustomize.apiVersions[]",
			"helm.valueFiles[]", "helm.ignoreMissingValueFiles", "helm.values", "helm.valuesObject",
			"helm.parameters[].name", "helm.parameters[].value", "helm.parameters[].forceString",
			"helm.fileParameters[].name", "helm.fileParameters[].path", "helm.releaseName", "helm.namespace",
			"helm.passCredentials", "helm.skipCrds", "helm.skipSchemaValidation", "helm.skipTests",
			"helm.kubeVersion", "helm.apiVersions[]"),
		rows(prefix, reader.Differs, "there is one Helm, built in, whatever version is asked for; others than v3 and v4 are refused, as upstream does", "helm.version"),
		rows(prefix, reader.Refused, "config management plugins are not supported", "plugin"),
	)
}

func rows(prefix string, support reader.Support, note string, names ...string) []Field {
	var out []Field
	for _, name := range names {
		out = append(out, Field{Kind: kindApplication, Path: prefix + "." + name, Support: support, Note: note})
	}
	return out
}

var table = reader.Tables(fields)[kindApplication]

// unhandledFields reports the fields that are set and not acted on as upstream
// does, and those that nobody knows.
func unhandledFields(declared *unstructured.Unstructured) []model.Finding {
	return table.Unhandled(config.DialectName, declared, "spec", "operation")
}
