package argo

// Group and Version of Argo CD's own kinds.
const (
	Group   = "argoproj.io"
	Version = "v1alpha1"
)

const (
	kindApplication = "Application"
	kindProject     = "AppProject"
	kindSet         = "ApplicationSet"
)

// Annotations on an Application.
const (
	AnnotationSkipReconcile = "argocd.argoproj.io/skip-reconcile"
	annotationApproved      = "argocd.argoproj.io/deletion-approved"
	annotationManager       = "argocd.argoproj.io/client-side-apply-migration-manager"
	annotationGeneratePaths = "argocd.argoproj.io/manifest-generate-paths"
	annotationHydrate       = "argocd.argoproj.io/hydrate"
	annotationManagedBy     = "argocd.argoproj.io/managed-by-url"

	// AnnotationQuarantine holds a revision that is not synced automatically,
	// since somebody rolled back from it.
	AnnotationQuarantine = "plumb.dev/quarantine"

	// AnnotationLookup, "true", lets the function lookup of charts see the target,
	// as the Application's identity.
	AnnotationLookup = "plumb.dev/helm-lookup"

	// AnnotationDecryption names a Secret in the Application's namespace with the
	// keys that SOPS has encrypted with.
	AnnotationDecryption = "plumb.dev/decryption"
)

// Annotations on the objects of an Application.
const (
	annotationTracking     = "argocd.argoproj.io/tracking-id"
	annotationInstallation = "argocd.argoproj.io/installation-id"
	annotationSyncOptions  = "argocd.argoproj.io/sync-options"
	annotationCompare      = "argocd.argoproj.io/compare-options"
	annotationWave         = "argocd.argoproj.io/sync-wave"
	annotationHook         = "argocd.argoproj.io/hook"
	annotationHookDelete   = "argocd.argoproj.io/hook-delete-policy"
	annotationIgnoreHealth = "argocd.argoproj.io/ignore-healthcheck"

	helmHook       = "helm.sh/hook"
	helmHookWeight = "helm.sh/hook-weight"
	helmHookDelete = "helm.sh/hook-delete-policy"
	helmPolicy     = "helm.sh/resource-policy"
)

// fieldManager is upstream's, so that either takes the other's objects over.
const fieldManager = "argocd-controller"

const (
	defaultNamespace    = "argocd"
	inClusterServer     = "https://kubernetes.default.svc"
	inClusterName       = "in-cluster"
	defaultHistoryLimit = 10
	maxInstanceLabel    = 63
)

// Reasons of faults are the types of an Application's conditions.
const (
	reasonInvalidSpec = "InvalidSpecError"
	reasonComparison  = "ComparisonError"
	reasonOperation   = "OperationError"
	reasonNotHandled  = "NotHandled"
)

// Reasons of findings.
const (
	reasonDiffers      = "Differs"
	reasonUnknownValue = "UnknownValue"
	reasonDefaulted    = "Defaulted"
	reasonTurn         = "RollingSync"
)
