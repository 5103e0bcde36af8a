package model

import "time"

// HelmOptions say how a chart becomes objects. The zero value is "helm
// template" with the chart's own values.
type HelmOptions struct {
	ReleaseName string
	Namespace   string // of the release, {{ .Release.Namespace }}

	// ValueFiles go over the chart's values, in this order: paths below the
	// chart, or below the root of the tree with a leading "/", globs of such,
	// "$name/path" in the tree of the input of that name, or addresses.
	ValueFiles              []string
	IgnoreMissingValueFiles bool
	Schemes                 []string // that addresses of value files may have; nil: none
	// Values go over the files: a mapping, YAML or JSON. They may hold secrets.
	Values       Secret `json:"-"`
	ValuesDigest string // of Values, so that two renders can be told apart
	// Typed: Values are what helm.EncodeValues writes, in which integers and floats
	// are told apart.
	Typed bool
	// ValuesObject: Values were written as a mapping, which goes before those that
	// are written as a text (Argo CD valuesObject and values).
	ValuesObject bool
	Parameters   []HelmParameter // go over all others, in this order

	KubeVersion string   // "": the target's
	APIVersions []string // besides the target's; with KubeVersion set, instead of them
	// KnownAPIs: kinds that Helm knows by itself count as served, whatever the
	// target says, as with "helm template" (Argo CD). So they do where the target
	// is not known, and with KubeVersion set. APIVersions are then told instead of
	// the target's, whatever KubeVersion is.
	KnownAPIs bool
	// Packaged: the tree is that of a packaged chart, in which .helmignore has
	// nothing left to say. It has in a directory of a repository.
	Packaged bool
	// Sensitive are the texts in Values that came from Secrets: no message shows
	// them, and an object that holds one counts as secret.
	Sensitive []Secret `json:"-"`

	SkipCRDs   bool
	SkipSchema bool // values are not checked against values.schema.json
	SkipTests  bool // hooks of kind "test" are left out
	SkipHooks  bool
	Version    string // of Helm that was asked for; accepted and reported

	// ChartVersion takes the place of the chart's own version; "": it stays.
	ChartVersion string
	// Defaults take the place of the chart's values.yaml (a mapping, JSON); zero:
	// it counts. They may hold secrets.
	Defaults       Secret `json:"-"`
	DefaultsDigest string

	// Upgrade and Revision are {{ .Release.IsUpgrade }} and {{ .Release.Revision }};
	// Revision 0 stands for 1.
	Upgrade  bool
	Revision int
	// Service is {{ .Release.Service }}; "": "Helm".
	Service string
	// Live: the function lookup sees the target, as the delivery's identity.
	Live bool

	// PostRenderers run over the result, in this order, and see the hooks as
	// PostRenderStrategy says: "combined" (with the other objects), "separate"
	// (by themselves) or "nohooks" (not at all); "": combined.
	PostRenderers      []KustomizeOptions
	PostRenderStrategy string
	// OwnLabels are set on every object last (helm-controller's origin labels).
	OwnLabels map[string]string

	// Strict: a chart with deprecated Kubernetes APIs or unknown fields is not
	// judged; the API server is. StrictValues: duplicate keys are a fault.
	StrictValues bool
}

// HelmParameter sets one value (helm --set, --set-string, --set-file). Name is
// a path as Helm's strvals has it.
type HelmParameter struct {
	Name, Value string
	String      bool // never taken for a number or a truth value
	File        bool // Value is a path whose content is the value
}

// Release is a Helm release (helm.toolkit.fluxcd.io HelmRelease spec). The chart
// is the delivery's only input.
type Release struct {
	Name             string
	Namespace        string // of the release
	StorageNamespace string // of Helm's release records
	MaxHistory       int    // records kept; 0: all

	Install, Upgrade, Rollback, Uninstall, Test ReleaseAction

	// CRDs of the chart's directory crds, on install and on upgrade: "Skip",
	// "Create", "CreateReplace".
	InstallCRDs, UpgradeCRDs string
	CreateNamespace          bool // before the first install
	// Reinstall: when the chart is one of another name, the release is
	// uninstalled and installed anew; false: it is upgraded in place.
	Reinstall bool
	// WaitStrategy is how actions that wait judge readiness: WaitPoller, or
	// WaitLegacy.
	WaitStrategy string
	// PlainVersion: the digest of the chart's artifact is no part of its version.
	PlainVersion bool

	// Remedies of failed installs and upgrades.
	InstallRemedy, UpgradeRemedy Remedy

	// ValuesDigest is of the composed values, as status.observed… and history
	// tell it: "sha256:…" (helm-controller chartutil DigestValues).
	ValuesDigest string
	// PostRenderersDigest and CommonMetadataDigest change the release too.
	PostRenderersDigest, CommonMetadataDigest string

	// History and the counts are what the status tells, newest first.
	History                                    []ReleaseSnapshot
	Failures, InstallFailures, UpgradeFailures int64
	Attempted                                  ReleaseAttempt
	Observed                                   ReleaseObserved
	// Tokens of requests that have not been handled.
	ForceToken, ResetToken string
	// FullName is the name before it was shortened to Name, for messages; "": Name.
	FullName string
	// The conditions as the status has them; nil: it has not.
	Released, Tested, Remedied *Verdict
	Drifted                    *Verdict // of the drift that was told last
	// What the status tells of tokens that have been handled.
	ForceHandled, ResetHandled string
}

// The ways to wait, in the words of spec.waitStrategy.
const (
	WaitPoller = "poller" // by kstatus, and Policy.HealthExprs
	WaitLegacy = "legacy" // as Helm 3 did
)

// ReleaseObserved is what else the status tells of the last release, to see
// whether another one is due (helm-controller, DetermineReleaseState and
// ReleaseTargetChanged).
type ReleaseObserved struct {
	Generation           int64  // that was acted on in full, or stalled
	StorageNamespace     string // of the records; "": nothing has been released
	PostRenderersDigest  string
	CommonMetadataDigest string
}

// ReleaseAction is how one of Helm's actions behaves.
type ReleaseAction struct {
	Enabled          bool // tests only
	Timeout          time.Duration
	Wait             bool // for objects to be ready
	WaitJobs         bool // for Jobs to be complete
	Hooks            bool // are run
	Force            bool // replace instead of patch
	PreserveValues   bool // upgrade: those of the last release count too
	CleanupOnFail    bool // delete what the failed action created
	Replace          bool // install: reuse a name whose release was deleted
	SkipOpenAPI      bool // fields are not checked by the server
	SkipSchema       bool
	TakeOwnership    bool // objects of others are adopted (disableTakeOwnership: false)
	IgnoreFailures   bool // tests: a failed one does not fail the release
	KeepHistory      bool // uninstall: records stay
	Propagation      string
	Recreate         bool         // rollback: Pods are deleted
	Filters          []TestFilter // of tests
	ServerSideApply  string       // "enabled", "disabled", "auto"
	RetryOnFailure   bool         // strategy RetryOnFailure instead of remediation
	RetryInterval    time.Duration
	DisableWaitLogic bool // kept for the account
}

// TestFilter leaves tests out, or picks them.
type TestFilter struct {
	Name    string
	Exclude bool
}

// Remedy says what follows a failed install or upgrade.
type Remedy struct {
	Retries            int    // negative: without end
	IgnoreTestFailures bool   // a failed test does not need a remedy
	Last               bool   // the last failure is remedied too (remediateLastFailure)
	Strategy           string // "rollback" or "uninstall"
}

// ReleaseSnapshot is one release as Helm's storage held it (HelmRelease
// status.history).
type ReleaseSnapshot struct {
	APIVersion                               string
	Digest                                   string // of the record
	Name, Namespace                          string
	Version                                  int
	Status                                   string // Helm's: "deployed", "failed", "superseded", …
	ChartName, ChartVersion, AppVersion      string
	ConfigDigest                             string // of the values
	FirstDeployed, LastDeployed, DeletedTime time.Time
	TestHooks                                map[string]TestHook // by name; nil: tests did not run
	OCIDigest                                string
	Action                                   string // "install", "upgrade", …
}

// TestHook is what became of one test.
type TestHook struct {
	Started, Finished time.Time
	Phase             string // Helm's: "Succeeded", "Failed", …
}

// ReleaseAttempt is the last thing that was tried (HelmRelease
// status.lastAttempted…).
type ReleaseAttempt struct {
	Action       string // "install" or "upgrade"
	Revision     string // version of the chart
	Generation   int64
	ConfigDigest string
	OCIDigest    string // of the chart's artifact
	Duration     time.Duration
}

// ReleaseReport is the account of a Helm release.
type ReleaseReport struct {
	History                                    []ReleaseSnapshot // newest first
	Failures, InstallFailures, UpgradeFailures int64
	Attempted                                  ReleaseAttempt
	ForceHandled, ResetHandled                 string
	Chart                                      Chart
	// What the last actions came to: conditions in upstream's words; nil: the
	// condition is not there.
	Released, Tested, Remedied *Verdict
	PostRenderersDigest        string
	CommonMetadataDigest       string
	Drifted                    []Change // what differs, where drift is only told
	Notes                      bool     // the release has notes

	StoredIn string // storage namespace of History; "": nothing is released
	// Ready, Reconciling, Stalled and Drift are the other conditions, likewise; but
	// a nil Ready is not known, and stays as it is.
	Ready, Reconciling, Stalled, Drift *Verdict
	Events                             []Event // of what was done since the last report
}

// Verdict is one condition.
type Verdict struct {
	OK      bool
	Unknown bool // still running
	Reason  string
	Message string
}

// Decryption is how what SOPS has encrypted is read (Kustomization
// spec.decryption).
type Decryption struct {
	Keys []DecryptionKey `json:"-"`
	// Digest names Keys and Workload: two that are equal decrypt alike.
	Digest string
	// Workload is asked by the key services of clouds; nil: Plumb's own identity
	// is used, where it has one.
	Workload *WorkloadIdentity
	// SecretID is namespace/name of the Secret that holds the keys, for messages.
	SecretID string
}

// DecryptionKey is an entry of the Secret of keys, whose name says what it is:
// "*.agekey", "*.asc", "sops.vault-token", "sops.aws-kms", "sops.azure-kv",
// "sops.gcp-kms".
type DecryptionKey struct {
	Name  string
	Value Secret
}
