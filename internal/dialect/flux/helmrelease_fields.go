package flux

import "slices"

var helmReleaseFields = of(kindHelmRelease, slices.Concat(
	worksBelow("spec", "interval", "timeout", "suspend", "chart.spec.chart", "chart.spec.version", "chart.spec.reconcileStrategy",
		"chart.spec.sourceRef.apiVersion", "chart.spec.sourceRef.kind", "chart.spec.sourceRef.name"),
	[]Field{
		{Path: "spec.chart.spec.sourceRef.namespace", Support: Works, Note: otherNamespace},
		{Path: "spec.chart.spec.interval", Support: Works, Note: "may be left out: that of the HelmRelease"},
		{Path: "spec.chart.spec.valuesFile", Support: Works, Gone: "v2beta2", Note: "before valuesFiles"},
	},
	worksBelow("spec.chart.metadata", "labels.*", "annotations.*"),
	worksBelow("spec.chart.spec", "valuesFiles[]", "ignoreMissingValuesFiles", "verify.provider", "verify.secretRef.name"),
	[]Field{
		{Path: "spec.chartRef.namespace", Support: Works, Note: otherNamespace},
		{Path: "spec.persistentClient", Support: Works, Note: "accepted; Plumb has no client for each release"},
		{Path: "spec.kubeConfig.configMapRef.name", Support: Works, Note: noteTrust},
		{Path: "spec.driftDetection.mode", Support: Works, Note: "what differs is seen by watch, not at every interval"},
	},
	worksBelow("spec", "chartRef.apiVersion", "chartRef.kind", "chartRef.name",
		"releaseName", "targetNamespace", "storageNamespace", "maxHistory", "serviceAccountName",
		"kubeConfig.secretRef.name", "kubeConfig.secretRef.key",
		"dependsOn[].name", "dependsOn[].namespace", "dependsOn[].readyExpr",
		"values", "commonMetadata.labels.*", "commonMetadata.annotations.*", "postRenderStrategy", "waitStrategy.name",
		"driftDetection.ignore[].paths[]"),
	worksBelow("spec.valuesFrom[]", "kind", "name", "valuesKey", "targetPath", "optional", "literal"),
	selectorFields("spec.driftDetection.ignore[].target"),
	releasingFields("spec.install", "createNamespace", "replace", "crds"),
	[]Field{{Path: "spec.install.skipCRDs", Support: Works, Note: "as crds: Skip where crds is left out; Flux no longer looks at it"}},
	releasingFields("spec.upgrade", "remediation.strategy", "chartNameChangeStrategy", "cleanupOnFail", "preserveValues"),
	[]Field{{Path: "spec.upgrade.force", Support: Works, Note: noteForce}},
	[]Field{{Path: "spec.upgrade.crds", Support: Works, Note: "Create where it is left out, as in Flux, whose documents say Skip"}},
	waitingFields("spec.rollback", "cleanupOnFail"),
	[]Field{{Path: "spec.rollback.force", Support: Works, Note: noteForce}},
	[]Field{{Path: "spec.rollback.recreate", Support: Differs, Note: "has no effect, as in Flux since its Helm 4: Pods are not deleted by a rollback"}},
	worksBelow("spec.uninstall", "timeout", "disableHooks", "disableWait", "deletionPropagation", "keepHistory"),
	worksBelow("spec.test", "enable", "timeout", "ignoreFailures", "filters[].name", "filters[].exclude"),
	worksBelow(postRendererPath, "patches[].patch", "images[].name", "images[].newName", "images[].newTag", "images[].digest"),
	selectorFields(postRendererPath+".patches[].target"),
	[]Field{
		{Path: postRendererPath + ".patchesStrategicMerge[]", Support: Works, Gone: "v2beta2", Note: "as patches"},
		{Path: postRendererPath + ".patchesJson6902[].patch[]", Support: Works, Gone: "v2beta2", Note: "as patches"},
	},
	selectorFields(postRendererPath+".patchesJson6902[].target"),
	healthExprFields,
)...)

const (
	postRendererPath = "spec.postRenderers[].kustomize"
	noteForce        = "an object that the API server refuses to change is deleted and created again; Flux ignores it with server-side apply, and replaces objects without"
	noteTrust        = "the provider generic, with a service account; aws, azure and gcp are refused"
	otherNamespace   = "another one is refused with --no-cross-namespace-refs (AccessDenied)"
)

// healthExprFields are those of spec.healthCheckExprs.
var healthExprFields = worksBelow("spec.healthCheckExprs[]", "apiVersion", "kind", "inProgress", "failed", "current")

// waitingFields are those that install, upgrade and rollback have, and more.
func waitingFields(action string, more ...string) []Field {
	return slices.Concat(
		worksBelow(action, "timeout", "disableWait", "disableWaitForJobs", "disableHooks"),
		[]Field{{Path: action + ".serverSideApply", Support: Works, Note: "Plumb applies server-side in any case; where it is disabled, that is reported"}},
		worksBelow(action, more...),
	)
}

// releasingFields are those that install and upgrade have, and more.
func releasingFields(action string, more ...string) []Field {
	return append(waitingFields(action, more...), worksBelow(action,
		"disableTakeOwnership", "disableOpenAPIValidation", "disableSchemaValidation", "strategy.name", "strategy.retryInterval",
		"remediation.retries", "remediation.ignoreTestFailures", "remediation.remediateLastFailure")...)
}

// worksBelow are rows of fields that work as upstream has them.
func worksBelow(path string, names ...string) []Field {
	out := make([]Field, len(names))
	for i, name := range names {
		out[i] = Field{Path: path + "." + name, Support: Works}
	}
	return out
}
