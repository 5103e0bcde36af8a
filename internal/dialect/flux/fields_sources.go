package flux

import "slices"

const (
	noteInterval  = "may be left out: 10m"
	noteDocker    = "of type kubernetes.io/dockerconfigjson (or the older dockercfg); one of another type is reported and not used"
	noteTLS       = "ca.crt, tls.crt and tls.key; the older caFile, certFile and keyFile too"
	noteProxy     = "address, username and password"
	noteCloud     = "generic, aws, azure and gcp"
	noteNoAccess  = "no access list is enforced for sources, as in Flux; use --no-cross-namespace-refs"
	noteSignature = "cosign (keys, or keyless) and notation"
)

var ociRepositoryFields = of(kindOCIRepository, slices.Concat([]Field{
	{Path: "spec.url", Support: Works, Note: "oci://, without a tag"},
	{Path: "spec.ref.digest", Support: Works},
	{Path: "spec.ref.semver", Support: Works},
	{Path: "spec.ref.semverFilter", Support: Works},
	{Path: "spec.ref.tag", Support: Works, Note: "latest when no ref is given"},
	{Path: "spec.layerSelector.mediaType", Support: Works},
	{Path: "spec.layerSelector.operation", Support: Works, Note: "extract and copy"},
	{Path: "spec.interval", Support: Works, Note: noteInterval},
	{Path: "spec.timeout", Support: Works},
	{Path: "spec.provider", Support: Works, Note: noteCloud},
	{Path: "spec.secretRef.name", Support: Works, Note: noteDocker},
	{Path: "spec.serviceAccountName", Support: Works, Note: "its imagePullSecrets; where it has none, the identity that the provider gives it"},
	{Path: "spec.certSecretRef.name", Support: Works, Note: noteTLS},
	{Path: "spec.proxySecretRef.name", Support: Works, Note: noteProxy},
	{Path: "spec.insecure", Support: Works},
	{Path: "spec.ignore", Support: Works},
	{Path: "spec.suspend", Support: Works},
	{Path: "spec.verify.trustedRootSecretRef.name", Support: Works, Note: "trusted_root.json"},
}, verifyFields())...)

// verifyFields are those of signatures.
func verifyFields() []Field {
	return []Field{
		{Path: "spec.verify.provider", Support: Works, Note: noteSignature},
		{Path: "spec.verify.secretRef.name", Support: Works, Note: "cosign: *.pub; notation: trustpolicy.json, and *.crt or *.pem"},
		{Path: "spec.verify.matchOIDCIdentity[].issuer", Support: Works},
		{Path: "spec.verify.matchOIDCIdentity[].subject", Support: Works},
	}
}

var bucketFields = of(kindBucket,
	Field{Path: "spec.provider", Support: Works, Note: noteCloud},
	Field{Path: "spec.bucketName", Support: Works},
	Field{Path: "spec.endpoint", Support: Works},
	Field{Path: "spec.region", Support: Works},
	Field{Path: "spec.prefix", Support: Works},
	Field{Path: "spec.insecure", Support: Works},
	Field{Path: "spec.interval", Support: Works, Note: noteInterval},
	Field{Path: "spec.timeout", Support: Works},
	Field{Path: "spec.secretRef.name", Support: Works, Note: "generic and aws: accesskey and secretkey; gcp: serviceaccount; azure: tenantId, clientId, clientSecret, clientCertificate, accountKey, sasKey, …"},
	Field{Path: "spec.serviceAccountName", Support: Works, Note: "with the providers aws, azure and gcp"},
	Field{Path: "spec.certSecretRef.name", Support: Works, Note: noteTLS},
	Field{Path: "spec.proxySecretRef.name", Support: Works, Note: noteProxy},
	Field{Path: "spec.sts.provider", Support: Works, Note: "aws with provider aws, ldap with provider generic"},
	Field{Path: "spec.sts.endpoint", Support: Works},
	Field{Path: "spec.sts.secretRef.name", Support: Works, Note: "username and password"},
	Field{Path: "spec.sts.certSecretRef.name", Support: Works, Note: noteTLS},
	Field{Path: "spec.ignore", Support: Works},
	Field{Path: "spec.suspend", Support: Works},
	Field{Path: "spec.accessFrom", Support: Differs, Gone: "v1beta2", Note: noteNoAccess},
)

var helmRepositoryFields = of(kindHelmRepository,
	Field{Path: "spec.url", Support: Works, Note: "http and https, and oci with type oci"},
	Field{Path: "spec.type", Support: Works, Note: "default and oci; one of type oci has no state, as in Flux"},
	Field{Path: "spec.interval", Support: Works, Note: "may be left out: 1m"},
	Field{Path: "spec.timeout", Support: Works},
	Field{Path: "spec.provider", Support: Works, Note: noteCloud + ", with type oci"},
	Field{Path: "spec.secretRef.name", Support: Works, Note: "username and password; with type oci a Docker configuration too; the TLS keys of before 2023 where there is no certSecretRef"},
	Field{Path: "spec.certSecretRef.name", Support: Works, Note: noteTLS},
	Field{Path: "spec.passCredentials", Support: Works},
	Field{Path: "spec.insecure", Support: Works, Note: "with type oci"},
	Field{Path: "spec.suspend", Support: Works},
	Field{Path: "spec.accessFrom", Support: Differs, Note: noteNoAccess},
)

var helmChartFields = of(kindHelmChart, slices.Concat([]Field{
	{Path: "spec.chart", Support: Works},
	{Path: "spec.version", Support: Works, Note: "* when left out"},
	{Path: "spec.sourceRef.apiVersion", Support: Works, Note: "any"},
	{Path: "spec.sourceRef.kind", Support: Works, Note: "HelmRepository, GitRepository and Bucket"},
	{Path: "spec.sourceRef.name", Support: Works},
	{Path: "spec.interval", Support: Works, Note: noteInterval},
	{Path: "spec.reconcileStrategy", Support: Works},
	{Path: "spec.valuesFiles[]", Support: Works},
	{Path: "spec.ignoreMissingValuesFiles", Support: Works},
	{Path: "spec.suspend", Support: Works},
}, verifyFields(), []Field{
	{Path: "spec.valuesFile", Support: Works, Gone: "v1beta2", Note: "before the files of valuesFiles"},
	{Path: "spec.verify.trustedRootSecretRef.name", Support: Works, Gone: "v1beta2", Note: "Flux does not read it for charts"},
	{Path: "spec.accessFrom", Support: Differs, Gone: "v1beta2", Note: noteNoAccess},
})...)

var externalArtifactFields = of(kindExternalArtifact,
	Field{Path: "spec.sourceRef.apiVersion", Support: Works},
	Field{Path: "spec.sourceRef.kind", Support: Works, Note: "the artifact of an ArtifactGenerator is made here, that of anything else is told by the status"},
	Field{Path: "spec.sourceRef.name", Support: Works},
	Field{Path: "spec.sourceRef.namespace", Support: Works},
)

var artifactGeneratorFields = of(kindArtifactGenerator,
	Field{Path: "spec.commonMetadata.labels.*", Support: Works},
	Field{Path: "spec.commonMetadata.annotations.*", Support: Works},
	Field{Path: "spec.sources[].alias", Support: Works},
	Field{Path: "spec.sources[].kind", Support: Works},
	Field{Path: "spec.sources[].name", Support: Works},
	Field{Path: "spec.sources[].namespace", Support: Works, Note: "another namespace is refused with --no-cross-namespace-refs (AccessDenied)"},
	Field{Path: "spec.pathPattern", Support: Works, Note: "directories that begin with a dot are not found"},
	Field{Path: "spec.artifacts[].name", Support: Works},
	Field{Path: "spec.artifacts[].revision", Support: Works},
	Field{Path: "spec.artifacts[].originRevision", Support: Works},
	Field{Path: "spec.artifacts[].copy[].from", Support: Works},
	Field{Path: "spec.artifacts[].copy[].to", Support: Works},
	Field{Path: "spec.artifacts[].copy[].exclude[]", Support: Works},
	Field{Path: "spec.artifacts[].copy[].strategy", Support: Works},
)
