package model

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/object"
)

// Phase is how far a run has come.
type Phase string

// The phases of a delivery, in order. A report names the phase that it stopped
// in; Done means that nothing is left to do.
const (
	PhaseQueued  Phase = "queued"  // not looked at yet
	PhaseResolve Phase = "resolve" // source, dependencies, facts, target
	PhaseRender  Phase = "render"
	PhaseGate    Phase = "gate"
	PhasePlan    Phase = "plan"
	PhaseApply   Phase = "apply"
	PhasePrune   Phase = "prune"
	PhaseSettle  Phase = "settle" // waiting for health
	PhaseDone    Phase = "done"
	PhaseDelete  Phase = "delete" // the declared object is being deleted
)

// Report is the whole account of the last run of a delivery. Statuses, events,
// journal entries and the command line are projections of it.
type Report struct {
	Delivery   object.ID
	Generation int64 // of the declaring object that was acted on
	At         time.Time
	Started    time.Time // of the run

	Phase   Phase
	Fault   *Fault // why the run stopped; nil in PhaseDone
	Running bool   // the run goes on; Message says what it does
	Message string

	Source   object.ID
	Revision string // of the tree that the run used
	// OriginRevision is where the tree says that its content comes from: what an
	// OCI artifact was pushed from, or was generated from; else "".
	OriginRevision string
	Commit         Commit
	Applied        string    // last revision that was applied in full
	Inventory      []Claim   // what is owned now; nil when not known yet: keep the last one
	Digest         string    // of the desired set, for history
	Objects        []Outcome // only what this run changed, or what is wrong

	Hold      *Hold
	Suspended bool
	Deleted   bool      // everything that had to go is gone: release the finalizer
	Handled   string    // wake token that has been handled
	Findings  []Finding // from compile and from the run
	Healthy   *bool     // nil when health is not awaited
	Pending   []Change  // differences that were left as they are
	HealthRan time.Duration

	// Facts are what the run went by; they may hold secrets, never print them.
	Facts Facts
	// Children are the declared objects that name the declared object as their
	// controller, as they are when the report is told, where it makes such objects
	// (Delivery.Expands); nil when they are not known.
	Children []*unstructured.Unstructured
	// Wrote: the run changed objects, so that Facts may tell of them as they were
	// before.
	Wrote bool

	// The account of a staged delivery.
	Inputs    []InputReport // one for each input that was rendered
	Compared  bool          // Sync and Resources answer for Inputs
	Sync      SyncState
	Resources []Resource // every object that is wanted or owned, sorted
	Images    []string   // of the workloads among them, sorted
	// ExternalURLs are where people reach the Ingresses and load-balanced
	// Services among Resources, as the live objects tell; sorted.
	ExternalURLs []string
	// Orphans are objects in the target namespace that nobody owns, where
	// SyncPolicy.Orphans asks to be warned of them.
	Orphans   []object.ID
	Operation *OperationReport // the last one; nil when there was none since the declaration

	Release *ReleaseReport // the account of a Helm release; nil when the delivery is none
}

// Outcome is what a run did to one object, or what is wrong with it.
type Outcome struct {
	Object object.ID
	Verb   Verb // "" when it was left alone
	Why    string
	Health Health
	Fault  *Fault
}

// SourceReport is the whole account of the last look at a source.
type SourceReport struct {
	Source     object.ID
	Generation int64
	At         time.Time

	Fault    *Fault
	Running  bool
	Message  string
	Artifact *Artifact // last good one; kept when a fetch fails
	Commit   Commit    // of Artifact
	Verified string    // who signed; "" when verification was not asked for
	Handled  string
	Findings []Finding

	Suspended bool
	Deleted   bool

	Includes []Artifact // of spec.include, in order
	Chart    *Chart     // what a ChartSource found
	// ReadRevision is the revision of the source that a chart was read from, or of
	// the index that it was found in; "": of none.
	ReadRevision string
	// ValuesFiles are those of a ChartSource that were there, in order.
	ValuesFiles  []string
	Files        int // in the tree
	IgnoreDigest string
	SparsePaths  []string // as observed
	Recursed     bool     // submodules, as observed
}

// Artifact is a fetched revision as other consumers of the dialect see it.
type Artifact struct {
	Revision string
	Digest   string // algorithm:hex of the served archive
	Path     string // below the server's root
	URL      string
	Size     int64
	Updated  time.Time
	Metadata map[string]string
}

// Edits are what a dialect wants written on the declaring object after a
// report. The writer compares them with the live object and writes only what
// differs.
type Edits struct {
	Status      map[string]any    // whole status; nil: leave it alone
	Finalizer   string            // ours
	Finalize    bool              // must be there; false with a Finalizer: must not
	Annotations map[string]string // to set; "" removes
	Fields      map[string]any    // top-level fields to set; nil removes (Application's operation)
	Finalizers  map[string]bool   // others than Finalizer: whether each must be there
	Events      []Event

	// Makes are declared objects that are to be there because of this one, as they
	// are applied; Drops are those that are not to be there any more. Those go
	// before anything else is written, the others come after everything else.
	Makes []*unstructured.Unstructured
	Drops []object.ID
}

// Event is what the dialect tells people about a report.
type Event struct {
	Type    string // Normal or Warning
	Reason  string
	Message string
	// Annotations are put on the event as upstream does, such as
	// kustomize.toolkit.fluxcd.io/revision.
	Annotations map[string]string
}
