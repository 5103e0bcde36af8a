// Package dialect says what a room for one upstream system has to offer: it
// turns declared objects into intents, and reports into the status that users
// of that system expect. Everything here is pure: facts come in, intents and
// edits go out.
package dialect

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Kind is one kind that a dialect understands.
type Kind struct {
	GroupKind schema.GroupKind
	Plural    string
	Versions  []string // served, newest first: the newest is watched and written
	// Whole is true where the status is no subresource: it is written with the
	// object, and every write raises the generation.
	Whole bool
	// ByStatus is true where others write the status and an object asks for what
	// it tells: a change of the status compiles again.
	ByStatus bool
	// MadeBy is the field manager under which the dialect has objects of the kind
	// made (model.Edits.Makes), as upstream does; "": it makes none.
	MadeBy string
	// Handled is false for kinds that are accepted and reported as not yet
	// acted on, never ignored in silence.
	Handled bool
}

// Intent is what one declared object asks for.
type Intent struct {
	Source   *model.Source // the object stands for it
	Delivery *model.Delivery
	// Implied are sources that no object stands for: what the delivery reads.
	// Objects that read the same place with the same credential name the same.
	Implied []model.Source
}

// Settings are the choices of whoever runs Plumb that change the meaning of
// declared objects, named after upstream's flags.
type Settings struct {
	NoCrossNamespaceRefs  bool
	DefaultServiceAccount string
	// RemoteBases: kustomizations may refer to directories of other Git
	// repositories (--remote-bases).
	RemoteBases bool

	// SOPSAgeSecret is namespace/name of the Secret whose age keys decrypt for
	// Kustomizations that ask for decryption and name no Secret
	// (--sops-age-secret); "": there is none.
	SOPSAgeSecret string
	// DefaultDecryptionServiceAccount is asked for the keys of clouds where
	// spec.decryption names no service account
	// (--default-decryption-service-account).
	DefaultDecryptionServiceAccount string

	// Flux are the feature gates of Flux's controllers (--feature-gates).
	Flux Gates

	// ArgoNamespace is where Argo CD's own objects live; "": "argocd".
	ArgoNamespace string
	// ApplicationNamespaces are globs of the namespaces in which Applications
	// and ApplicationSets may live besides (--application-namespaces).
	ApplicationNamespaces []string
}

// Gates are the feature gates of Flux that have a meaning here. The zero value is
// what Plumb does without any.
type Gates struct {
	// AdditiveReadyExpr: a dependency with readyExpr has to be ready, too
	// (AdditiveCELDependencyCheck).
	AdditiveReadyExpr bool
	// Helm3Defaults: a HelmRelease that does not say otherwise is applied client-side
	// by its record, waited for as by Helm 3, and its hooks are not post-rendered
	// (UseHelm3Defaults).
	Helm3Defaults bool
	// PatientHealth: what has failed is waited for until the timeout
	// (DisableFailFastBehavior).
	PatientHealth bool
	// PlainChartVersions: the digest of a chart is no part of its version, so that
	// another chart of the same version is no news (DisableChartDigestTracking).
	PlainChartVersions bool
	// RetryOnFailure is the strategy of a HelmRelease that names none
	// (DefaultToRetryOnFailure).
	RetryOnFailure bool
	// LaxSubstitution: a variable that is not defined and has no default is empty,
	// and no fault (StrictPostBuildSubstitutions=false).
	LaxSubstitution bool
}

// Dialect understands the kinds of one upstream system.
type Dialect interface {
	// Name is the room's name, such as "flux".
	Name() string

	// Kinds lists what the dialect understands, in a stable order.
	Kinds() []Kind

	// Compile turns a declared object into what it asks for. When it needs to
	// see other objects first it returns them as needs, and is called again
	// with the facts, until no need is open. An intent may come with findings;
	// a *model.Fault in err means that the object as it stands cannot be acted
	// on.
	Compile(declared *unstructured.Unstructured, facts model.Facts, settings Settings) (Intent, []model.Need, []model.Finding, error)

	// Project says what to write on the declaring object of a delivery after a
	// report. previous is the object as it was last seen.
	Project(report *model.Report, previous *unstructured.Unstructured) model.Edits

	// ProjectSource does the same for a source.
	ProjectSource(report *model.SourceReport, previous *unstructured.Unstructured) model.Edits

	// Handling reads what the annotations of a rendered or live object ask for,
	// and its place in a sync.
	Handling(o *unstructured.Unstructured) (model.Handling, model.Stage)

	// Override changes how an input is rendered by a file that lies in its
	// directory (model.Render.Overrides).
	Override(render model.Render, file string, content []byte) (model.Render, error)

	// Expand makes the objects of a delivery that is rendered by expansion, or
	// asks what it has to know first; it is called again with the answers until
	// no question is open. A failed answer is an error: unknown is not empty.
	Expand(declared *unstructured.Unstructured, facts model.Facts, answers map[string]model.Answer, settings Settings) ([]model.Rendered, []model.Question, []model.Finding, error)

	// Refuse says what to write on an object that Compile returned an error
	// for, or that is of a kind that is not handled.
	Refuse(fault *model.Fault, findings []model.Finding, previous *unstructured.Unstructured) model.Edits

	// Ready reports whether a declared object is ready in the dialect's own
	// words, as dependants of it ask.
	Ready(declared *unstructured.Unstructured) bool

	// Replaces reports whether a rendered object is part of the upstream
	// controller's own installation (its workloads and CRDs), which Plumb
	// withholds: it would fight with Plumb over the same objects.
	Replaces(rendered *unstructured.Unstructured) bool

	// Controllers lists the upstream workloads that act on the same objects, in
	// the namespace where the installation is; while one of them is alive Plumb
	// only reads the dialect's kinds.
	Controllers(settings Settings) []Controller
}

// Controller is an upstream workload that Plumb takes over from.
type Controller struct {
	Deployment object.ID // the namespace is where upstream installs by default
	Lease      string    // name of its leader-election Lease in that namespace; "": it holds none
	Kinds      []schema.GroupKind
}
