package model

import "plumb.dev/plumb/internal/object"

// Verb is what a change does to one object.
type Verb string

// The verbs of a plan.
const (
	Create   Verb = "create"
	Update   Verb = "update"   // the desired state changed
	Correct  Verb = "correct"  // the live state drifted
	Adopt    Verb = "adopt"    // it belonged to another delivery, or to nobody
	Recreate Verb = "recreate" // delete and create: an immutable field changed and force allows it
	Delete   Verb = "delete"
	Forget   Verb = "forget" // leaves the inventory, stays on the cluster
)

// Change is one step of a plan.
type Change struct {
	Verb    Verb
	Object  object.ID
	Version string
	Why     string
	Want    *Desired // nil for Delete and Forget
	UID     string   // the live object's, as precondition; "" when unknown
	// Quiet: the object is as it is wanted already and is only taken over.
	Quiet bool
	Paths []string // JSON pointers of what differs, where that is known
	Wave  int      // of a sync, that the object belongs to (model.Stage.Wave)
	Last  bool     // a deletion that comes after all others
}

// Wave is a set of changes that run in parallel, once everything in the waves
// before it has been applied and, where Established is set, can be used.
type Wave struct {
	Changes     []Change
	Established bool // the next wave needs these kinds or namespaces to be usable
	Step        int  // of a sync, that the changes belong to (model.Stage.Wave)
	Prunes      bool // deletions of a sync
}

// Plan is all that the cluster writer will ever apply in one run.
type Plan struct {
	Waves     []Wave
	Held      *Hold       // changes that wait for a person
	Blocked   []Fault     // objects that cannot be changed now, and why; the rest goes on
	HandsOver []object.ID // not wanted any more; owned until another delivery has taken them
	Keeps     []Claim     // what is owned once the plan has run, blocked and held objects included
	Pending   []Change    // differences that the policy, or the want of an operation, leaves as they are
}

// Empty reports whether there is nothing to do and nothing to wait for.
func (p *Plan) Empty() bool { return len(p.Waves) == 0 && p.Held == nil && len(p.Blocked) == 0 }

// Hold is a set of deletions too large to happen unasked.
type Hold struct {
	Token   string // approve with this
	Deletes []object.ID
	Total   int // objects owned before, with those of owned deliveries
	Why     string
}

// Baseline is what Plumb knows of one managed object after its own apply. It
// lives in the journal, not on the object.
type Baseline struct {
	UID             string
	ResourceVersion string // of the answer to the apply, or of the last event judged equal to it
	Inputs          string // Desired.Digest that was applied
	Paths           string // digest of the owned path set
	Cut             string // keyed digest of the object cut down to Paths, as the server stored it
	Sealed          bool   // it was wanted with something secret in it (Desired.Secret)
}

// Healthiness is how an object is doing.
type Healthiness string

// The states of health, in the words of kstatus.
const (
	Current     Healthiness = "Current"
	InProgress  Healthiness = "InProgress"
	Unhealthy   Healthiness = "Failed"
	Terminating Healthiness = "Terminating"
	NotFound    Healthiness = "NotFound"
	Unknown     Healthiness = "Unknown"
	Paused      Healthiness = "Suspended" // waits for somebody: a paused rollout, a suspended job (Argo CD)
)

// Health is a judgement over one live object.
type Health struct {
	State   Healthiness
	Reason  string // CamelCase, such as "ImagePullBackOff"
	Message string // for a person: what is wrong and, if known, why
}
