package model

import (
	"encoding/json"
	"strings"
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

	Inputs []Input // what is rendered; the objects of a later one go before those of an earlier

	// Expands: the dialect makes the objects, of answers to questions; inputs
	// with RenderExpand are read by these alone.
	Expands bool

	Target    Target
	Identity  Identity
	Ownership Ownership
	Policy    Policy
	DependsOn []Dependency

	Claims    []Claim // what the last report said it owns: its inventory
	Applied   string  // revision that was last applied in full
	Suspended bool
	Deleting  bool // the declared object is being deleted; its finalizer waits for us
	DeletedAt time.Time
	Finalized bool   // our finalizer is on the declared object
	Wake      string // token of the last request to reconcile at once, or ""
	WakeHard  bool   // the request asks that nothing remembered is used
	Approve   string // token by which a person approved a held plan, or ""
	Confirmed bool   // a person confirmed deletions that wait for one (argocd.argoproj.io/deletion-approved)

	// Release: the objects are those of a Helm release, which Helm's life cycle
	// applies and whose storage tells of it; nil: they are not.
	Release *Release

	Sync      SyncPolicy
	Operation *Operation       // a sync that was asked for, or that was under way; nil: none
	Finished  *OperationReport // the last operation that ended, as the status tells; nil: none
	Permit    Permit
}

// Input is one place that a delivery is rendered from.
type Input struct {
	Source object.ID // the source it reads
	// Shown is the declared source that stands for Source to people. While it is
	// suspended, what it held then is read instead. Zero: Source stands for itself.
	Shown  object.ID
	Path   string // directory in the tree, cleaned, "" for the root
	Render Render
	Name   string // by which other inputs refer to its files ("ref"); "": they cannot
	URL    string // of the repository, without credentials, for the account
	Field  string // where it is declared, such as "spec.sources[1]"; "": the delivery's own place
	// Charts says where charts and bases that the directory refers to may be had
	// from; the first entry that matches a URL wins. What none matches is fetched
	// without credentials, if Remote allows it.
	Charts []ChartPlace
}

// RenderKind is a way to make objects of a directory.
type RenderKind string

// The ways to render. The zero value is the Kustomize of Flux: a directory
// without a kustomization gets a generated one.
const (
	RenderFlux      RenderKind = ""
	RenderDetect    RenderKind = "Detect"    // Helm, Kustomize or Directory, by what lies in the directory
	RenderDirectory RenderKind = "Directory" // plain manifests and Jsonnet
	RenderKustomize RenderKind = "Kustomize" // the directory must hold a kustomization
	RenderHelm      RenderKind = "Helm"
	RenderNothing   RenderKind = "Nothing" // only files that others refer to
	RenderExpand    RenderKind = "Expand"  // the dialect makes the objects of answers to its questions
)

// Render says how a directory becomes objects.
type Render struct {
	Kind RenderKind
	// Kustomize options that are merged into the directory's own kustomization,
	// or into the one generated for it.
	Kustomize KustomizeOptions
	Directory DirectoryOptions
	Helm      HelmOptions
	// NoKustomize, NoHelm: a directory that would be rendered by these is taken for
	// plain manifests (argocd-cm, kustomize.enable and helm.enable).
	NoKustomize, NoHelm bool
	// Decryption of files and objects that are encrypted with SOPS; nil: an
	// encrypted object is a fault.
	Decryption *Decryption
	// Environment is what a render may refer to by $NAME (Argo CD, "Build
	// Environment"). The process's own is never visible.
	Environment map[string]string
	// Overrides are files of the directory that change these options, in the
	// order they apply, when they exist (.argocd-source.yaml). The dialect
	// understands them.
	Overrides []string
	// Substitution runs over the rendered objects; nil: none.
	Substitution *Substitution
}

// NamesRevision reports whether a render may refer to the revision that it
// renders: its result is then another one for every commit.
func (r *Render) NamesRevision() bool {
	plain := *r
	plain.Environment, plain.Substitution = nil, nil
	text, err := json.Marshal(plain)
	return err != nil || strings.Contains(string(text), RevisionVariable)
}

// RevisionVariable begins the names of the variables that hold the revision
// (Argo CD, "Build Environment").
const RevisionVariable = "ARGOCD_APP_REVISION"

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

	// What Argo CD sets besides (ApplicationSourceKustomize).
	Replicas            []Replicas
	ImageLines          []string // as "kustomize edit set image" takes them
	SelectorLabels      bool     // CommonLabels go into selectors and templates too
	TemplateLabels      bool     // CommonLabels go into templates too
	ForceLabels         bool     // CommonLabels go before the kustomization's own
	ForceAnnotations    bool
	EnvsubstAnnotations bool   // values of CommonAnnotations may hold $NAME of the environment
	Version             string // of kustomize that was asked for; accepted and reported

	// EnableHelm: helmCharts and the like are rendered, by the renderer of
	// charts ("kustomize build --enable-helm").
	EnableHelm bool
	// RemoteBases: resources and components may be directories of other Git
	// repositories, which the engine fetches.
	RemoteBases bool
	// KubeVersion and APIVersions are what charts are told of the target, as in
	// HelmOptions.
	KubeVersion string
	APIVersions []string
}

// Replicas sets the replica count of a workload, as kustomization.yaml has it.
type Replicas struct {
	Name  string
	Count int64
}

// DirectoryOptions are those of a plain directory (Argo CD
// ApplicationSourceDirectory).
type DirectoryOptions struct {
	Recurse bool
	Include string // glob, or several in braces, of paths below the directory; "": all
	Exclude string // likewise, and goes before Include; "": none
	// AnyExtension: files need not be called *.yaml, *.yml, *.json or *.jsonnet
	// (disableExtensionFilter).
	AnyExtension bool
	Jsonnet      JsonnetOptions
}

// JsonnetOptions are the inputs of Jsonnet files.
type JsonnetOptions struct {
	ExtVars []JsonnetVar
	TLAs    []JsonnetVar
	Libs    []string // directories in the tree that imports are looked up in
	Off     bool     // Jsonnet files are passed over (argocd-cm, jsonnet.enable)
}

// JsonnetVar is a variable: a string, or code.
type JsonnetVar struct {
	Name, Value string
	Code        bool
}

// Patch is a strategic merge or JSON 6902 patch, as kustomization.yaml has it.
type Patch struct {
	Patch  string
	Path   string // file with the patch, relative to the directory; instead of Patch
	Target *Selector
	// The patch may change the name or the kind of what it is applied to
	// (options.allowNameChange, options.allowKindChange).
	AllowNameChange, AllowKindChange bool
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
	Strict bool              // a variable that is not defined and has no default is a fault
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
	// Kubeconfig is one that the dialect made of what it knows; nil: Need holds it.
	Kubeconfig   *Secret
	Server, Name string // as the declared object knows the cluster, for the account
}

// Local reports whether the target is the cluster of the declared objects.
func (c ClusterRef) Local() bool { return c.Need == Need{} && c.Kubeconfig == nil }

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
	Tracking     Tracking          // annotation that names the owner on every applied object
	Reference    *OwnerReference   // on every applied object; nil: none

	// What Helm puts on the objects of a release besides Labels, but neither on
	// its hooks nor on CRDs of a chart's directory crds (Helm,
	// pkg/action/validate.go).
	ReleaseLabels, ReleaseAnnotations map[string]string

	// Marks that earlier tools left on objects and that go when they are taken
	// over.
	TakeOverAnnotations  []string
	TakeOverObjectLabels []string
}

// Tracking is an annotation that ties an object to its owner (Argo CD,
// "Resource Tracking"): "<Owner>:<group>/<kind>:<namespace>/<name>". The zero
// value sets none.
type Tracking struct {
	Annotation string
	Owner      string
	// InstallationAnnotation and InstallationID tell several installations
	// apart (argocd-cm, installationID).
	InstallationAnnotation, InstallationID string
}

// OwnerReference makes the declaring object the controller of what it makes,
// so that the API server's garbage collection follows it.
type OwnerReference struct{ APIVersion, Kind, Name, UID string }

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
	Cascade       string // propagation of deletions with the declared object: "foreground", "background"; "": background
	Force         bool   // recreate objects on immutable conflicts
	Drift         Drift
	Ignore        []IgnoreRule
	Compare       CompareRules
	Kinds         KindFilter
	Wait          bool // healthy only when every applied object is
	Patient       bool // what has failed is waited for until the timeout
	// CreateOnly: objects are created and never changed afterwards, as if
	// Handling.IfNotPresent were asked for on each of them.
	CreateOnly bool
	// DeleteSteps orders the deletions of DeleteAndWait: an object goes when
	// everything with a higher step is gone; absent objects have step 0. nil:
	// all at once.
	DeleteSteps  map[object.ID]int
	HealthChecks []HealthCheck
	HealthExprs  []HealthExpr
	HealthRules  *HealthRules // rules that users brought; nil: none
}

// IgnoreRule leaves paths of matching objects to others: they are not compared
// and, unless CompareOnly, not applied either.
type IgnoreRule struct {
	Paths       []string  // JSON pointers, RFC 6901
	Queries     []string  // jq path expressions
	Managers    []string  // field managers whose fields are left to them
	Target      *Selector // nil: every object
	CompareOnly bool
	Whole       bool // the object is left to others altogether: not even that it is gone counts
	Origin      Origin
}

// CompareRules say what else counts as no difference.
type CompareRules struct {
	IgnoreExtraneous bool // objects that are owned and not wanted do not count (compare-options IgnoreExtraneous)
	// KnownTypes maps a kind ("group/Kind") to fields whose type is known, so
	// that 1 and "1", or 1000m and 1, are the same
	// (resource.customizations.knownTypeFields): field path to type name.
	KnownTypes map[string]map[string]string
	// IgnoreAggregatedRoles: the rules of a ClusterRole that are aggregated from
	// others do not count (resource.compareoptions, ignoreAggregatedRoles).
	IgnoreAggregatedRoles bool
	// Status says whose status does not count (resource.compareoptions,
	// ignoreResourceStatusField).
	Status IgnoredStatus
}

// IgnoredStatus says whose status does not count as a difference.
type IgnoredStatus string

// The kinds whose status does not count.
const (
	StatusOfAll  IgnoredStatus = "" // the default, as upstream's "all"
	StatusOfCRDs IgnoredStatus = "crd"
	StatusOfNone IgnoredStatus = "none"
)

// KindFilter leaves kinds out: their objects are neither applied nor compared,
// and a finding says so (argocd-cm, resource.exclusions and
// resource.inclusions). Exclude goes before Include; where Restricted is set,
// what Include does not name is left out too.
type KindFilter struct {
	Exclude, Include []KindRule
	Restricted       bool
}

// HealthRules are judgements of health that users brought as Lua scripts
// (argocd-cm, resource.customizations.health). Digest names the set.
type HealthRules struct {
	Digest   string
	Scripts  map[string]string // "group/Kind", either part may hold "*" → script
	OpenLibs map[string]bool   // the script of that key may use Lua's standard libraries
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
	Additive  bool   // the dialect's own readiness counts beside ReadyExpr
}

// Claim is one object that a delivery owns, with the version it was applied in.
type Claim struct {
	ID      object.ID
	Version string
}
