package model

import (
	"time"

	"plumb.dev/plumb/internal/object"
)

// SyncPhase is when in a sync an object is applied (Argo CD, "Sync Phases and
// Waves"). Phases run in the order of SyncPhases.
type SyncPhase string

// The phases of a sync. The zero value stands for Sync.
const (
	PreSync    SyncPhase = "PreSync"
	Sync       SyncPhase = "Sync"
	PostSync   SyncPhase = "PostSync"
	SyncFail   SyncPhase = "SyncFail"
	PreDelete  SyncPhase = "PreDelete"
	PostDelete SyncPhase = "PostDelete"
)

// HookDeletePolicy says when the object of a hook goes again.
type HookDeletePolicy string

// The delete policies of hooks (annotation argocd.argoproj.io/hook-delete-policy).
const (
	HookSucceeded      HookDeletePolicy = "HookSucceeded"
	HookFailed         HookDeletePolicy = "HookFailed"
	BeforeHookCreation HookDeletePolicy = "BeforeHookCreation"
	// HookStays: a hook that is never deleted, and applied over by the next one.
	HookStays HookDeletePolicy = "HookStays"
)

// Stage is the place of an object in a sync.
type Stage struct {
	// Hooks lists the phases in which the object runs as a hook; empty: it is
	// no hook, and is applied in phase Sync.
	Hooks []SyncPhase
	// Wave orders objects within a phase, lowest first; a wave begins when
	// everything in the one before is healthy.
	Wave int
	// OnDelete are the delete policies of a hook; empty: BeforeHookCreation.
	OnDelete []HookDeletePolicy
	// Skip: the object is neither applied nor compared (hook "Skip").
	Skip bool
}

// Hook reports whether the object runs as a hook.
func (s Stage) Hook() bool { return len(s.Hooks) > 0 }

// SyncPolicy says when a delivery's changes are made, and in which steps. The
// zero value makes every change at once, without steps, as Flux does.
type SyncPolicy struct {
	// Staged: phases, hooks and waves are honoured, and every object is
	// accounted for in the report, with its health for as long as it lives.
	Staged bool
	// Manual: differences are reported; only an Operation makes changes.
	Manual bool
	// AllowEmpty: an automated sync may delete everything there is.
	AllowEmpty bool
	// Retry of failed automated syncs; nil: none. A new revision or
	// declaration always begins anew.
	Retry *Retry
	// Quarantined is a revision that is not synced automatically: somebody
	// rolled back from it. "" is none.
	Quarantined string
	// Windows are the sync windows that concern this delivery.
	Windows []Window
	Options SyncOptions
	// WaveDelay is a pause between two waves, for controllers that tell
	// nothing of having seen a change; usually 0.
	WaveDelay time.Duration
	// HistoryLimit is how many syncs are remembered (spec.revisionHistoryLimit).
	HistoryLimit int
	// Orphans asks for objects in the target namespace that nobody owns; nil:
	// they are not looked for.
	Orphans *Orphans
}

// Orphans says which objects that nobody owns are worth telling (AppProject
// spec.orphanedResources).
type Orphans struct {
	Warn   bool       // a warning on the declared object, besides the count
	Ignore []KindRule // these are not told; an empty field matches everything
}

// SyncOptions are the options of a sync (Argo CD, "Sync Options"). An operation
// may bring its own; annotations on objects go before both.
type SyncOptions struct {
	SkipValidation    bool // Validate=false: the server is not asked to be strict about unknown fields
	CreateNamespace   bool
	NamespaceLabels   map[string]string // managedNamespaceMetadata
	NamespaceNotes    map[string]string // its annotations
	Propagation       string            // of deletions: "foreground", "background", "orphan"; "": foreground
	PruneLast         bool
	Replace           bool
	Force             bool
	ServerSide        bool   // ServerSideApply=true; Plumb always does, so this is kept for the account only
	FailOnShared      bool   // FailOnSharedResource
	LeaveIgnored      bool   // RespectIgnoreDifferences: ignored paths are not written either
	OutOfSyncOnly     bool   // ApplyOutOfSyncOnly; Plumb always does, so this is kept for the account only
	SkipDryRunMissing bool   // SkipDryRunOnMissingResource
	MigrateManager    string // ClientSideApplyMigrationManager, taken over besides kubectl
	NoMigration       bool   // ClientSideApplyMigration=false
	// PruneDefault and DeleteDefault are "false" or "confirm" for objects whose
	// own annotations do not speak of Prune or Delete (Handling.SaysPrune,
	// SaysDelete); "" otherwise.
	PruneDefault, DeleteDefault string
}

// Retry bounds how often something that failed is tried again.
type Retry struct {
	Limit    int           // tries after the first; negative: without end
	Duration time.Duration // of the first pause
	Factor   int           // by which each pause is longer than the last
	Max      time.Duration // longest pause
	Refresh  bool          // a new revision replaces the one that is being retried
}

// Window is a time in which syncs are allowed or denied (AppProject
// spec.syncWindows).
type Window struct {
	Deny        bool
	Schedule    string // cron, five fields
	Duration    time.Duration
	TimeZone    string // IANA; "": UTC
	Manual      bool   // manualSync: a person may sync although the window forbids it
	Overrun     bool   // syncOverrun: a sync that began before goes on when the window changes
	Description string
	Origin      Origin
}

// Operation is a request to sync once: by a person, a script, or the dialect.
type Operation struct {
	ID        string // changes with every request; "" for one that the engine began itself
	By        string // who asked; "" when unknown
	Automated bool
	Started   time.Time // when it began to run, as persisted; zero when it has not

	Inputs    []Input  // where to render from instead of the delivery's own; nil: the same
	Revisions []string // as they were asked for, for the account; may be empty
	Prune     bool
	DryRun    bool
	NoHooks   bool // strategy "apply": hooks are not run
	Force     bool
	Objects   []ObjectFilter // only these; empty: all
	Options   *SyncOptions   // instead of the policy's; nil: the policy's
	Retry     *Retry
	Terminate bool // somebody asked it to stop
	// Refused: it cannot be carried out as it was asked for, and ends at once
	// as an error with this message; nil: it can.
	Refused *Fault

	// What is known of an operation that was running when Plumb stopped.
	Results []SyncResult
	Retries int
}

// ObjectFilter picks rendered objects by their parts; an empty Group is the
// core group, an empty Namespace any.
type ObjectFilter struct {
	Group, Kind, Namespace, Name string
	Exclude                      bool
}

// OperationPhase is how far an operation has come, in Argo CD's words.
type OperationPhase string

// The phases of an operation or of one hook in it.
const (
	OperationRunning     OperationPhase = "Running"
	OperationTerminating OperationPhase = "Terminating"
	OperationFailed      OperationPhase = "Failed"
	OperationError       OperationPhase = "Error"
	OperationSucceeded   OperationPhase = "Succeeded"
)

// Completed reports whether nothing more happens in the operation.
func (p OperationPhase) Completed() bool {
	return p == OperationFailed || p == OperationError || p == OperationSucceeded
}

// ResultCode is what became of one object in a sync.
type ResultCode string

// The result codes, in Argo CD's words.
const (
	ResultSynced       ResultCode = "Synced"
	ResultFailed       ResultCode = "SyncFailed"
	ResultPruned       ResultCode = "Pruned"
	ResultPruneSkipped ResultCode = "PruneSkipped"
)

// SyncResult is what a sync did to one object.
type SyncResult struct {
	Object    object.ID
	Version   string
	Code      ResultCode
	Message   string
	Hook      SyncPhase      // "" when it is no hook
	HookPhase OperationPhase // how the hook is doing; for others Running or Succeeded
	Phase     SyncPhase      // in which it was applied
	Images    []string
}

// OperationReport is the account of the last operation of a delivery.
type OperationReport struct {
	Operation Operation
	Phase     OperationPhase
	Message   string
	Started   time.Time
	Finished  time.Time // zero while it runs
	Revisions []string  // of the trees that were synced, one for each input
	Results   []SyncResult
	Retries   int
}

// SyncState says how the cluster compares with what is wanted.
type SyncState string

// The states of comparison, in Argo CD's words.
const (
	Synced      SyncState = "Synced"
	OutOfSync   SyncState = "OutOfSync"
	SyncUnknown SyncState = "Unknown"
)

// Resource is the account of one object of a staged delivery.
type Resource struct {
	ID      object.ID
	Version string
	Sync    SyncState
	Health  *Health // nil when nothing is known of how its kind should be
	Stage   Stage
	Prune   bool // owned and no longer wanted
	Confirm bool // its deletion waits for a person
	// Weightless: its health does not count for the delivery's.
	Weightless bool
}

// InputReport is the account of one input of a delivery.
type InputReport struct {
	Revision string // of the tree, plain: a commit
	Kind     string // how it was rendered: "Directory", "Kustomize", "Helm"
	Commit   Commit
}

// Permit bounds what a delivery may write (AppProject spec). The zero value
// permits everything.
type Permit struct {
	By string // who set the bounds, for messages: "project 'team-a'"; "": nobody

	ClusterAllow   []KindRule // cluster-scoped kinds; empty: none
	ClusterDeny    []KindRule
	NamespaceAllow []KindRule // namespaced kinds; nil: all
	NamespaceDeny  []KindRule
	// Destinations for objects that name their own namespace.
	Destinations []Destination
	Server, Name string // of the delivery's target, to judge destinations by
}

// KindRule matches kinds, and names where given; each is a glob.
type KindRule struct{ Group, Kind, Name string }

// Destination is one entry of AppProject spec.destinations. Each field is a
// glob; a leading "!" denies what it matches.
type Destination struct{ Server, Name, Namespace string }
