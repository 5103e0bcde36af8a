package flux

// Condition types that Flux writes (fluxcd/pkg apis/meta, source-controller
// api/v1 condition_types.go), and the one that Plumb adds.
const (
	conditionReady              = "Ready"
	conditionReconciling        = "Reconciling"
	conditionStalled            = "Stalled"
	conditionHealthy            = "Healthy"
	conditionFetchFailed        = "FetchFailed"
	conditionBuildFailed        = "BuildFailed"
	conditionArtifactOutdated   = "ArtifactOutdated"
	conditionArtifactInStorage  = "ArtifactInStorage"
	conditionSourceVerified     = "SourceVerified"
	conditionStorageFailed      = "StorageOperationFailed"
	conditionIncludeUnavailable = "IncludeUnavailable"

	conditionReleased    = "Released"
	conditionTestSuccess = "TestSuccess"
	conditionRemediated  = "Remediated"
	conditionDrifted     = "Drifted"

	// conditionFindings is present, and True, while a part of the object is
	// not acted on or works differently. It is Plumb's own and no part of
	// readiness (kstatus looks at the first three only).
	conditionFindings = "plumb.dev/Findings"
)

const (
	statusTrue    = "True"
	statusFalse   = "False"
	statusUnknown = "Unknown"
)

// Reasons of conditions and events, in upstream's words where it has one.
const (
	reasonSucceeded            = "Succeeded"
	reasonProgressing          = "Progressing"
	reasonProgressingWithRetry = "ProgressingWithRetry"
	reasonArtifactFailed       = "ArtifactFailed"
	reasonPruneFailed          = "PruneFailed"
	reasonHealthCheckFailed    = "HealthCheckFailed"
	reasonReconcileSucceeded   = "ReconciliationSucceeded"
	reasonReconcileFailed      = "ReconciliationFailed"
	reasonInvalidCEL           = "InvalidCELExpression"
	reasonAccessDenied         = "AccessDenied"
	reasonFeatureGateDisabled  = "FeatureGateDisabled"
	reasonDependencyNotReady   = "DependencyNotReady"
	reasonSourceNotReady       = "SourceNotReady"
	reasonValuesError          = "ValuesError"
	reasonReconcileError       = "ReconcileError"
	reasonBuildFailed          = "BuildFailed"

	reasonURLInvalid              = "URLInvalid"
	reasonAuthenticationFailed    = "AuthenticationFailed"
	reasonInvalidProvider         = "InvalidProviderConfiguration"
	reasonVerificationError       = "VerificationError"
	reasonInvalidVerificationMode = "InvalidVerificationMode"
	reasonNewArtifact             = "NewArtifact"
	reasonFailed                  = "Failed"
	reasonChartVerification       = "ChartVerificationError"

	// Plumb's own: upstream has no word for them.
	reasonInvalidSpec = "InvalidSpec"
	reasonNotHandled  = "NotHandled"
	reasonPruneHeld   = "PruneHeld"
	reasonNotActedOn  = "NotActedOn"
	reasonDiffers     = "Differs"
	reasonDefaulted   = "Defaulted"
)

// stalling are the reasons after which nothing happens until somebody changes
// something: Stalled is set, and the generation counts as observed.
var stalling = map[string]bool{
	reasonInvalidCEL:              true,
	reasonAccessDenied:            true,
	reasonFeatureGateDisabled:     true,
	reasonURLInvalid:              true,
	reasonInvalidSTS:              true,
	reasonUnsupportedSource:       true,
	reasonChartReference:          true,
	reasonValidationFailed:        true,
	"MetadataPatchError":          true,
	"ValuesFilesError":            true,
	reasonInvalidVerificationMode: true,
	reasonInvalidSpec:             true,
	reasonNotHandled:              true,
	reasonPruneHeld:               true,
}
