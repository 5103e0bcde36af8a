package model

import (
	"time"

	"plumb.dev/plumb/internal/object"
)

// Delivery asks for the content of a source to be rendered and kept true on a
// cluster. One declared object makes one Delivery.
type Delivery struct {
	ID         object.ID // the declaring object
	UID        string
	Generation int64
	Origin     Origin

	Source object.ID // the source it reads
	Path   string    // directory in the tree, cleaned, "" for the root
	Render Render

	Target    Target
	Identity  Identity
	Ownership Ownership
	Policy    Policy
	DependsOn []Dependency

	Claims    []Claim // what the last report said it owns: its inventory
	Applied   string  // revision that was last applied in full
	Suspended bool
	Deleting  bool   // the declared object is being deleted; its finalizer waits for us
	Finalized bool   // our finalizer is on the declared object
	Wake      string // token of the last request to reconcile at once, or ""
	Approve   string // token by which a person approved a held plan, or ""
}

// Render says how a directory becomes objects.
type Render struct {
	// Kustomize options that are merged into the directory's own kustomization,
	// or into the one generated for it.
	Kustomize KustomizeOptions
	// Substitution runs over the rendered objects; nil: none.
	Substitution *Substitution
}

// KustomizeOptions are the fields of a kustomization.yaml that a declared
// object adds to the one in the tree. Lists are in the order they apply.
type KustomizeOptions struct {
	Namespace               string // overrides the namespace of every namespaced object
	NamePrefix              string
	NameSuffix              string
	CommonLabels            map[string]string // metadata only, overriding
	CommonAnnotations       map[string]string
	Patches                 []Patch
	Images                  []Image
	Components              []string
	IgnoreMissingComponents bool
	BuildMetadata           []string
}

// Patch is a strategic merge or JSON 6902 patch, as kustomization.yaml has it.
type Patch struct {
	Patch  string
	Target *Selector
}

// Selector picks rendered objects. Empty fields match everything; names and
// namespaces are anchored regular expressions, as in kustomize.
type Selector struct {
	Group, Version, Kind, Namespace, Name string
	LabelSelector, AnnotationSelector     string
}

// Image overrides an image name, tag or digest, as kustomization.yaml has it.
type Image struct {
	Name, NewName, NewTag, Digest string
}

// Substitution replaces ${variables} in rendered objects
// (kustomize.toolkit.fluxcd.io Kustomization spec.postBuild).
type Substitution struct {
	Inline map[string]string // wins over From
	From   []SubstituteFrom  // later entries win over earlier ones
	Always bool              // run even when no variable is defined
}

// SubstituteFrom takes variables from a ConfigMap or Secret in the namespace
// of the declaring object.
type SubstituteFrom struct {
	Need     Need
	Optional bool
}

// Target is the cluster and namespace that objects go to.
type Target struct {
	Cluster   ClusterRef
	Namespace string // default for namespaced objects that name none
}

// ClusterRef names a cluster: the zero value is the one Plumb runs against.
type ClusterRef struct {
	Need Need   // Secret or ConfigMap with a kubeconfig
	Key  string // key in it; empty: upstream's defaults "value", then "value.yaml"
}

// Local reports whether the target is the cluster of the declared objects.
func (c ClusterRef) Local() bool { return c == ClusterRef{} }

// Identity is who a delivery acts as on its target. The zero value is Plumb
// itself.
type Identity struct {
	Namespace      string
	ServiceAccount string
}

// Username is the name that requests impersonate, or "".
func (i Identity) Username() string {
	if i.ServiceAccount == "" {
		return ""
	}
	return "system:serviceaccount:" + i.Namespace + ":" + i.ServiceAccount
}

// Ownership is how a dialect marks what it applies, in upstream's own words,
// so that moving in and out leaves no trace.
type Ownership struct {
	FieldManager string            // server-side apply manager, such as "kustomize-controller"
	Finalizer    string            // on the declared object
	Labels       map[string]string // set on every applied object
	TakeOver     []string          // managers, by prefix, whose fields are taken over before the first apply; FieldManager itself where it updated
	Control      Annotations       // annotations on objects that control how they are applied

	// Marks that earlier tools left on objects and that go when they are taken
	// over.
	TakeOverAnnotations  []string
	TakeOverObjectLabels []string
}

// Annotations names the annotations by which a user steers the handling of a
// single object. Values are matched without regard to case.
type Annotations struct {
	Reconcile  string // "disabled": neither applied nor pruned
	Prune      string // "disabled": never deleted
	SSA        string // "Merge", "IfNotPresent", "Ignore"
	Force      string // "enabled": recreate on immutable conflicts
	Substitute string // "disabled": exempt from substitution
}

// Drift says what a difference between cluster and baseline leads to.
type Drift string

// The drift policies.
const (
	Heal   Drift = "heal"
	Note   Drift = "report"
	Ignore Drift = "ignore"
)

// OnDelete says what happens to objects when the declared object goes.
type OnDelete string

// The deletion policies.
const (
	DeleteObjects OnDelete = "delete"
	DeleteAndWait OnDelete = "delete-and-wait" // the finalizer stays until all are gone
	OrphanObjects OnDelete = "orphan"
)

// Policy is how a delivery waits, prunes, retries and heals.
type Policy struct {
	Interval      time.Duration // how often the source of truth is compared even without an event
	RetryInterval time.Duration // after a failure
	Timeout       time.Duration // deadline of each phase
	Prune         bool
	OnDelete      OnDelete
	Force         bool // recreate objects on immutable conflicts
	Drift         Drift
	Ignore        []IgnoreRule
	Wait          bool // healthy only when every applied object is
	HealthChecks  []HealthCheck
	HealthExprs   []HealthExpr
}

// IgnoreRule leaves paths of matching objects to others: neither applied nor
// compared.
type IgnoreRule struct {
	Paths  []string  // JSON pointers, RFC 6901
	Target *Selector // nil: every object
}

// HealthCheck names an object that must be healthy, owned by the delivery or not.
type HealthCheck struct {
	Version string // may be empty
	Object  object.ID
}

// HealthExpr judges the objects of one kind by CEL. InProgress, Failed and
// Current are boolean expressions over the object's fields; only Current is
// required (kustomize.toolkit.fluxcd.io, healthCheckExprs).
type HealthExpr struct {
	APIVersion string
	Kind       string
	InProgress string
	Failed     string
	Current    string
}

// Dependency is an edge: the delivery runs when the other is ready.
type Dependency struct {
	On        object.ID
	ReadyExpr string // CEL over self and dep; empty: the dialect's own readiness
}

// Claim is one object that a delivery owns, with the version it was applied in.
type Claim struct {
	ID      object.ID
	Version string
}
