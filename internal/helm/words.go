package helm

// The reasons of conditions and events of a HelmRelease
// (helm.toolkit.fluxcd.io/v2, condition_types.go; helm-controller
// internal/reconcile).
const (
	InstallSucceeded   = "InstallSucceeded"
	InstallFailed      = "InstallFailed"
	UpgradeSucceeded   = "UpgradeSucceeded"
	UpgradeFailed      = "UpgradeFailed"
	TestSucceeded      = "TestSucceeded"
	TestFailed         = "TestFailed"
	RollbackSucceeded  = "RollbackSucceeded"
	RollbackFailed     = "RollbackFailed"
	UninstallSucceeded = "UninstallSucceeded"
	UninstallFailed    = "UninstallFailed"
	DriftDetected      = "DriftDetected"
	NoDriftDetected    = "NoDriftDetected"

	AwaitingTests         = "AwaitingTests"
	PendingRelease        = "PendingRelease"
	DriftCorrected        = "DriftCorrected"
	DriftCorrectionFailed = "DriftCorrectionFailed"
	RetriesExceeded       = "RetriesExceeded"
	MissingRollbackTarget = "MissingRollbackTarget"
	StateError            = "StateError"
	Progressing           = "Progressing"
	ProgressingWithRetry  = "ProgressingWithRetry"
)

// Defaults of a HelmRelease's spec, in seconds and records.
const (
	DefaultTimeout       = 5 * 60 // spec.timeout
	DefaultRetryInterval = 5 * 60 // spec.install.strategy.retryInterval
	DefaultMaxHistory    = 5      // spec.maxHistory; also how many failures status.history tells
)
