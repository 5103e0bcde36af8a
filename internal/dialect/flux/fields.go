package flux

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// Support says what becomes of a field.
type Support = reader.Support

// The kinds of support.
const (
	Works   = reader.Works
	Differs = reader.Differs
	Refused = reader.Refused
	NotYet  = reader.NotYet
)

// Field is a row of the compatibility table.
type Field = reader.Field

// Fields is the table, in the order of the documentation. The compatibility
// page, the findings on objects and the tests against upstream's types are
// made from it.
func Fields() []Field { return slices.Clone(fields) }

var fields = slices.Concat(gitRepositoryFields, ociRepositoryFields, bucketFields, helmRepositoryFields, helmChartFields, externalArtifactFields, artifactGeneratorFields, kustomizationFields, helmReleaseFields, otherKinds())

var gitRepositoryFields = of(kindGitRepository,
	Field{Path: "spec.url", Support: Works, Note: "http, https and ssh; credentials in the URL are used and never shown"},
	Field{Path: "spec.ref.branch", Support: Works, Note: "master when no ref is given"},
	Field{Path: "spec.ref.tag", Support: Works},
	Field{Path: "spec.ref.semver", Support: Works},
	Field{Path: "spec.ref.name", Support: Works},
	Field{Path: "spec.ref.commit", Support: Works},
	Field{Path: "spec.interval", Support: Works, Note: "may be left out: 10m"},
	Field{Path: "spec.timeout", Support: Works},
	Field{Path: "spec.secretRef.name", Support: Works, Note: "username and password, bearerToken, identity and known_hosts, ca.crt, tls.crt and tls.key, GitHub App; the older caFile, certFile and keyFile too"},
	Field{Path: "spec.provider", Support: Works, Note: "generic and github; aws and azure are refused (InvalidProviderConfiguration)"},
	Field{Path: "spec.serviceAccountName", Support: Refused, Note: "belongs to the providers aws and azure"},
	Field{Path: "spec.proxySecretRef.name", Support: Works},
	Field{Path: "spec.verify.mode", Support: Works},
	Field{Path: "spec.verify.secretRef.name", Support: Works},
	Field{Path: "spec.ignore", Support: Works},
	Field{Path: "spec.suspend", Support: Works},
	Field{Path: "spec.recurseSubmodules", Support: Works},
	Field{Path: "spec.include[].repository.name", Support: Works},
	Field{Path: "spec.include[].fromPath", Support: Works},
	Field{Path: "spec.include[].toPath", Support: Works},
	Field{Path: "spec.sparseCheckout[]", Support: Works},
	Field{Path: "spec.gitImplementation", Support: Differs, Gone: "v1beta2", Note: "there is one implementation, which does what both did"},
	Field{Path: "spec.accessFrom", Support: Differs, Gone: "v1beta2", Note: "no access list is enforced for sources; use --no-cross-namespace-refs"},
)

var kustomizationFields = of(kindKustomization, slices.Concat([]Field{
	{Path: "spec.interval", Support: Works, Note: "may be left out: 10m"},
	{Path: "spec.retryInterval", Support: Works},
	{Path: "spec.timeout", Support: Works},
	{Path: "spec.suspend", Support: Works},
	{Path: "spec.sourceRef.apiVersion", Support: Works, Note: "any"},
	{Path: "spec.sourceRef.kind", Support: Works, Note: "GitRepository, OCIRepository, Bucket and ExternalArtifact"},
	{Path: "spec.sourceRef.name", Support: Works},
	{Path: "spec.sourceRef.namespace", Support: Works, Note: "another namespace is refused with --no-cross-namespace-refs (AccessDenied)"},
	{Path: "spec.path", Support: Works},
	{Path: "spec.prune", Support: Works, Note: "a mass deletion waits for approval"},
	{Path: "spec.deletionPolicy", Support: Works},
	{Path: "spec.force", Support: Works},
	{Path: "spec.wait", Support: Works},
	{Path: "spec.healthChecks[].apiVersion", Support: Works, Note: "with wait the checks count too, where Flux leaves them out"},
	{Path: "spec.healthChecks[].kind", Support: Works},
	{Path: "spec.healthChecks[].name", Support: Works},
	{Path: "spec.healthChecks[].namespace", Support: Works},
	{Path: "spec.dependsOn[].name", Support: Works},
	{Path: "spec.dependsOn[].namespace", Support: Works},
	{Path: "spec.dependsOn[].readyExpr", Support: Works},
	{Path: "spec.ignore[].paths[]", Support: Works},
},
	healthExprFields,
	selectorFields("spec.ignore[].target"),
	[]Field{
		{Path: "spec.targetNamespace", Support: Works},
		{Path: "spec.namePrefix", Support: Works},
		{Path: "spec.nameSuffix", Support: Works},
		{Path: "spec.commonMetadata.labels.*", Support: Works},
		{Path: "spec.commonMetadata.annotations.*", Support: Works},
		{Path: "spec.patches[].patch", Support: Works},
	},
	selectorFields("spec.patches[].target"),
	[]Field{
		{Path: "spec.images[].name", Support: Works},
		{Path: "spec.images[].newName", Support: Works},
		{Path: "spec.images[].newTag", Support: Works},
		{Path: "spec.images[].digest", Support: Works},
		{Path: "spec.components[]", Support: Works},
		{Path: "spec.ignoreMissingComponents", Support: Works},
		{Path: "spec.buildMetadata[]", Support: Works},
		{Path: "spec.postBuild.substitute.*", Support: Works},
		{Path: "spec.postBuild.substituteFrom[].kind", Support: Works},
		{Path: "spec.postBuild.substituteFrom[].name", Support: Works},
		{Path: "spec.postBuild.substituteFrom[].optional", Support: Works},
		{Path: "spec.postBuild.substituteStrategy", Support: Works},
		{Path: "spec.serviceAccountName", Support: Works},
		{Path: "spec.kubeConfig.secretRef.name", Support: Works},
		{Path: "spec.kubeConfig.secretRef.key", Support: Works},
		{Path: "spec.kubeConfig.configMapRef.name", Support: Works, Note: noteTrust},
		{Path: "spec.decryption.provider", Support: Works, Note: "sops"},
		{Path: "spec.decryption.secretRef.name", Support: Works, Note: "*.agekey, *.asc, sops.vault-token, sops.aws-kms, sops.azure-kv, sops.gcp-kms"},
		{Path: "spec.decryption.serviceAccountName", Support: Works},
		{Path: "spec.patchesStrategicMerge[]", Support: Works, Gone: "v1beta2", Note: "as patches"},
		{Path: "spec.patchesJson6902[].patch[]", Support: Works, Gone: "v1beta2", Note: "as patches"},
	},
	selectorFields("spec.patchesJson6902[].target"),
	[]Field{
		{Path: "spec.validation", Support: Differs, Gone: "v1beta2", Note: "the API server validates everything in server-side apply, whatever is written here"},
	},
)...)

func selectorFields(target string) []Field {
	return worksBelow(target, "group", "version", "kind", "namespace", "name", "labelSelector", "annotationSelector")
}

func of(kind string, rows ...Field) []Field {
	for i := range rows {
		rows[i].Kind = kind
	}
	return rows
}

// otherKinds has one row for each kind that is not handled.
func otherKinds() []Field {
	var out []Field
	for _, kind := range New().Kinds() {
		if !kind.Handled {
			out = append(out, Field{Kind: kind.GroupKind.Kind, Path: "spec", Support: NotYet, Note: consequences[kind.GroupKind.Kind]})
		}
	}
	return out
}

var tables = reader.Tables(fields)

// unhandledFields reports the fields that are set and not acted on as upstream
// does, and those that nobody knows.
func unhandledFields(declared *unstructured.Unstructured) []model.Finding {
	return tables[declared.GetKind()].Unhandled(Name, declared, "spec")
}
