package flux

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Name is the name of this dialect, in origins and in configuration.
const Name = "flux"

// The API groups of Flux.
const (
	GroupSource     = "source.toolkit.fluxcd.io"
	GroupKustomize  = "kustomize.toolkit.fluxcd.io"
	GroupHelm       = "helm.toolkit.fluxcd.io"
	GroupNotify     = "notification.toolkit.fluxcd.io"
	GroupImage      = "image.toolkit.fluxcd.io"
	GroupExtensions = "source.extensions.fluxcd.io"
)

// Finalizer is on every object that a Flux controller cares for.
const Finalizer = "finalizers.fluxcd.io"

// AnnotationRequestedAt asks for a reconciliation at once; its value is
// answered in status.lastHandledReconcileAt (fluxcd/pkg apis/meta).
const AnnotationRequestedAt = "reconcile.fluxcd.io/requestedAt"

// AnnotationApprove approves a held plan. Its value is the token that the
// condition names.
const AnnotationApprove = "plumb.dev/approve"

const (
	kindGitRepository = "GitRepository"
	kindKustomization = "Kustomization"
)

// Flux is the dialect. It has no state.
type Flux struct{}

var _ dialect.Dialect = Flux{}

// New returns the dialect.
func New() Flux { return Flux{} }

// Name is "flux".
func (Flux) Name() string { return Name }

// Kinds lists what Flux 2 has. Versions are those that a cluster may still
// hold objects of, newest first.
func (Flux) Kinds() []dialect.Kind {
	kind := func(group, kind, plural string, handled bool, versions ...string) dialect.Kind {
		return dialect.Kind{GroupKind: schema.GroupKind{Group: group, Kind: kind}, Plural: plural, Versions: versions, Handled: handled}
	}
	return []dialect.Kind{
		kind(GroupSource, kindGitRepository, "gitrepositories", true, "v1", "v1beta2", "v1beta1"),
		kind(GroupKustomize, kindKustomization, "kustomizations", true, "v1", "v1beta2", "v1beta1"),
		kind(GroupSource, "OCIRepository", "ocirepositories", false, "v1", "v1beta2"),
		kind(GroupSource, "Bucket", "buckets", false, "v1", "v1beta2", "v1beta1"),
		kind(GroupSource, "HelmRepository", "helmrepositories", false, "v1", "v1beta2", "v1beta1"),
		kind(GroupSource, "HelmChart", "helmcharts", false, "v1", "v1beta2", "v1beta1"),
		kind(GroupSource, "ExternalArtifact", "externalartifacts", false, "v1"),
		kind(GroupExtensions, "ArtifactGenerator", "artifactgenerators", false, "v1beta1"),
		kind(GroupHelm, "HelmRelease", "helmreleases", false, "v2", "v2beta2", "v2beta1"),
		kind(GroupNotify, "Provider", "providers", false, "v1beta3", "v1beta2", "v1beta1"),
		kind(GroupNotify, "Alert", "alerts", false, "v1beta3", "v1beta2", "v1beta1"),
		kind(GroupNotify, "Receiver", "receivers", false, "v1", "v1beta2", "v1beta1"),
		kind(GroupImage, "ImageRepository", "imagerepositories", false, "v1", "v1beta2", "v1beta1"),
		kind(GroupImage, "ImagePolicy", "imagepolicies", false, "v1", "v1beta2", "v1beta1"),
		kind(GroupImage, "ImageUpdateAutomation", "imageupdateautomations", false, "v1", "v1beta2", "v1beta1"),
	}
}

// Compile turns a GitRepository into a source and a Kustomization into a
// delivery. Objects of the other kinds are a fault with reason NotHandled.
func (Flux) Compile(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings) (dialect.Intent, []model.Need, []model.Finding, error) {
	id := object.Of(declared)
	switch id.GroupKind() {
	case schema.GroupKind{Group: GroupSource, Kind: kindGitRepository}:
		source, needs, findings, err := compileGitRepository(declared, facts)
		return dialect.Intent{Source: source}, needs, findings, err
	case schema.GroupKind{Group: GroupKustomize, Kind: kindKustomization}:
		delivery, findings, err := compileKustomization(declared, settings)
		return dialect.Intent{Delivery: delivery}, nil, findings, err
	}
	return dialect.Intent{}, nil, nil, notHandled(id)
}

// Project writes the status and events of a Kustomization.
func (Flux) Project(report *model.Report, previous *unstructured.Unstructured) model.Edits {
	return projectKustomization(report, previous)
}

// ProjectSource writes the status and events of a GitRepository.
func (Flux) ProjectSource(report *model.SourceReport, previous *unstructured.Unstructured) model.Edits {
	return projectGitRepository(report, previous)
}

// Refuse writes why an object is not acted on.
func (Flux) Refuse(fault *model.Fault, findings []model.Finding, previous *unstructured.Unstructured) model.Edits {
	return refuse(fault, findings, previous)
}

// Ready reports whether the object is ready for its dependants: Ready is True
// and was observed at the current generation (kustomize-controller,
// checkDependencies).
func (Flux) Ready(declared *unstructured.Unstructured) bool {
	observed, _, _ := unstructured.NestedInt64(declared.Object, "status", "observedGeneration")
	if observed != declared.GetGeneration() {
		return false
	}
	ready := newConditions(declared).get(conditionReady)
	return ready != nil && ready["status"] == statusTrue
}

// origin is the place of a field in a declared object.
func origin(id object.ID, field string) model.Origin {
	return model.Origin{Dialect: Name, Declared: id, Field: field}
}

// notHandled is the fault of an object whose kind waits for its issue.
func notHandled(id object.ID) *model.Fault {
	what := consequences[id.Kind]
	if what == "" {
		what = "nothing is done with it"
	}
	return &model.Fault{
		Reason:  reasonNotHandled,
		Message: fmt.Sprintf("%s is not yet handled by Plumb: %s", id.Kind, what),
		Origin:  origin(id, ""),
		Object:  id,
	}
}

// consequences says what it means for the user that a kind is not handled.
var consequences = map[string]string{
	"OCIRepository":         "nothing is fetched, and Kustomizations that read it wait",
	"Bucket":                "nothing is fetched, and Kustomizations that read it wait",
	"HelmRepository":        "no index is fetched",
	"HelmChart":             "no chart is fetched",
	"ExternalArtifact":      "Kustomizations that read it wait",
	"ArtifactGenerator":     "no artifact is generated",
	"HelmRelease":           "nothing is installed, upgraded or removed, and what is installed stays as it is",
	"Provider":              "no notification is sent through it",
	"Alert":                 "no event is forwarded by it",
	"Receiver":              "no webhook is answered for it",
	"ImageRepository":       "no tags are scanned",
	"ImagePolicy":           "no image is selected",
	"ImageUpdateAutomation": "nothing is committed",
}
