package model

import (
	"time"

	"plumb.dev/plumb/internal/object"
)

// HTTPAuth is what an HTTP(S) server, a registry or an object store asks for,
// and the way to it. All fields are optional.
type HTTPAuth struct {
	Username    string
	Password    Secret
	BearerToken Secret

	ClientCert []byte // PEM
	ClientKey  Secret // PEM
	CA         []byte // PEM

	// DockerConfig holds the credentials of several registries
	// (kubernetes.io/dockerconfigjson); those of the registry's host count.
	DockerConfig []Secret

	// Workload asks the cloud that Plumb runs in for the credential; nil: it is
	// not asked.
	Workload *WorkloadIdentity

	Proxy    *Proxy
	Insecure bool // the server's certificate is not verified
	Plain    bool // HTTP without TLS is allowed (spec.insecure)
	PassAll  bool // credentials go to hosts other than the repository's too (passCredentials)
}

// WorkloadIdentity is a credential that a cloud gives to a Kubernetes service
// account, or to Plumb's own where Account is empty (Flux, spec.provider and
// spec.serviceAccountName).
type WorkloadIdentity struct {
	Provider string // "aws", "azure", "gcp"
	Account  string // service account, in the namespace of the declaring object
	// Annotations are those of the service account, which name the cloud's
	// identity.
	Annotations map[string]string
	Namespace   string
}

// OCISource is an artifact in an OCI registry (source.toolkit.fluxcd.io
// OCIRepository spec).
type OCISource struct {
	URL    string // without "oci://": host[:port]/repository
	Ref    OCIRef
	Auth   HTTPAuth
	Layer  *OCILayer // nil: the first layer, extracted
	Verify *Verification
	// Revision is a name whose kind is not known: a tag, a digest or a semver
	// range over tags (Argo CD targetRevision). It is used instead of Ref.
	Revision string
}

// OCIRef picks an artifact. The first that is set wins, in the order Digest,
// SemVer, Tag; none: the tag "latest".
type OCIRef struct {
	Digest       string
	SemVer       string
	SemVerFilter string // expression that tags must match to be taken for versions
	Tag          string
}

// OCILayer picks a layer by its media type.
type OCILayer struct {
	MediaType string // "": the first layer
	Copy      bool   // the layer as one file instead of extracted (operation: copy)
}

// Verification asks for a good signature (spec.verify of OCIRepository and
// HelmChart).
type Verification struct {
	Provider string      // "cosign" or "notation"
	Keys     []VerifyKey // public keys, or the trust policy and certificates of notation; none with cosign: keyless
	// Identities that a keyless signature must match one of; none: any.
	Identities []SignerIdentity
	// TrustRoot is a sigstore trusted root (JSON) for keyless signatures that are
	// checked without asking the public instance; nil: that of the installation.
	TrustRoot []byte
	SecretID  string // namespace/name of the Secret that holds the keys, for messages
}

// SignerIdentity matches a keyless signer by regular expressions.
type SignerIdentity struct{ Issuer, Subject string }

// BucketSource is a bucket of an object store (source.toolkit.fluxcd.io Bucket
// spec).
type BucketSource struct {
	Provider string // "generic", "aws", "gcp", "azure"
	Name     string
	Endpoint string // host[:port]
	Region   string
	Prefix   string
	Auth     HTTPAuth // Username and Password are access key and secret key
	// ServiceAccount is a Google service account key, AzureKeys the entries of
	// an Azure credential Secret.
	ServiceAccount Secret
	AzureKeys      map[string]Secret
	STS            *STS // temporary credentials; nil: none are asked for
}

// STS is a service that gives temporary credentials (spec.sts).
type STS struct {
	Provider string // "aws", "ldap"
	Endpoint string
	Auth     HTTPAuth
}

// IndexSource is the index of a Helm repository (source.toolkit.fluxcd.io
// HelmRepository spec). Its tree holds one file, index.yaml. An OCI repository
// has no index: it is never looked at, and its tree is empty.
type IndexSource struct {
	URL  string
	OCI  bool
	Auth HTTPAuth
}

// ChartSource is one Helm chart (source.toolkit.fluxcd.io HelmChart spec). Its
// tree is the chart's directory, unpacked at the root.
type ChartSource struct {
	// Repository is the address of a Helm repository, or of a registry when OCI
	// is set (without "oci://": host[:port]/path, the chart's name is added).
	Repository string
	OCI        bool
	Auth       HTTPAuth

	// From is another source whose tree holds the chart, instead of Repository;
	// Name is then the path in it.
	From object.ID
	// ByRevision: the chart's version gets the source's revision as metadata,
	// and each is a new chart (reconcileStrategy: Revision).
	ByRevision bool

	Name    string
	Version string // semver range; "": "*", the newest stable
	// ValuesFiles replace the chart's values.yaml, merged in this order.
	ValuesFiles             []string
	IgnoreMissingValueFiles bool
	Verify                  *Verification
	// Dependencies says where charts that a chart From a tree depends on may be
	// had from.
	Dependencies []ChartPlace
	// Fresh is for how long an index answers before it is fetched again.
	Fresh time.Duration
}

// ChartPlace is a Helm repository, or a Git repository of bases, with what it
// asks for.
type ChartPlace struct {
	URL   string // repositories at or below it; the scheme counts, "oci://…" for registries
	Alias string // by which Chart.yaml may name it ("@alias", "alias:alias"); "": none
	Auth  HTTPAuth
	Git   *GitAuth // of a Git repository instead
}

// ExternalSource is an artifact that something else serves
// (source.toolkit.fluxcd.io ExternalArtifact status.artifact).
type ExternalSource struct {
	URL      string // "": there is none yet, and whoever reads it waits
	Digest   string // algorithm:hex that the archive must have
	Revision string
	// Plain: what is served is one file, not an archive; the tree holds it at its
	// root under the last element of the address.
	Plain bool
	Auth  HTTPAuth
}

// GeneratedSource is a tree made of the trees of others
// (source.extensions.fluxcd.io ArtifactGenerator spec.artifacts).
type GeneratedSource struct {
	Name string
	From []GeneratedInput
	// Copy is done in this order.
	Copy []CopyRule
	// Revision is "@alias": that of the source of this alias; "": a digest of
	// the content.
	Revision string
	// OriginRevision is "@alias" of the source whose own origin, or else whose
	// revision, the artifact's metadata tell of
	// ("org.opencontainers.image.revision"); "": none.
	OriginRevision string
}

// GeneratedInput is a source by the alias that copy rules know it by.
type GeneratedInput struct {
	Alias  string
	Source object.ID
}

// CopyRule copies paths of one source ("@alias/glob") to a place in the
// artifact ("@artifact/path").
type CopyRule struct {
	From, To string
	Exclude  []string
	// Strategy is "Overwrite", "Merge" (YAML files deeply) or "Extract" (an
	// archive is unpacked).
	Strategy string
}

// Chart is what explains a Helm chart to a person.
type Chart struct {
	Name, Version, AppVersion string
	// Digest of the tree it was rendered from.
	Digest string
	// Deprecated is told as a finding.
	Deprecated bool
}
