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
		kind(GroupSource, kindOCIRepository, "ocirepositories", true, "v1", "v1beta2"),
		kind(GroupSource, kindBucket, "buckets", true, "v1", "v1beta2", "v1beta1"),
		kind(GroupSource, kindHelmRepository, "helmrepositories", true, "v1", "v1beta2", "v1beta1"),
		madeBy(helmFieldManager, kind(GroupSource, kindHelmChart, "helmcharts", true, "v1", "v1beta2", "v1beta1")),
		byStatus(kind(GroupSource, kindExternalArtifact, "externalartifacts", true, "v1")),
		kind(GroupExtensions, kindArtifactGenerator, "artifactgenerators", true, "v1beta1"),
		kind(GroupHelm, kindHelmRelease, "helmreleases", true, "v2", "v2beta2", "v2beta1"),
		kind(GroupNotify, "Provider", "providers", false, "v1beta3", "v1beta2", "v1beta1"),
		kind(GroupNotify, "Alert", "alerts", false, "v1beta3", "v1beta2", "v1beta1"),
		kind(GroupNotify, "Receiver", "receivers", false, "v1", "v1beta2", "v1beta1"),
		kind(GroupImage, "ImageRepository", "imagerepositories", false, "v1", "v1beta2", "v1beta1"),
		kind(GroupImage, "ImagePolicy", "imagepolicies", false, "v1", "v1beta2", "v1beta1"),
		kind(GroupImage, "ImageUpdateAutomation", "imageupdateautomations", false, "v1", "v1beta2", "v1beta1"),
	}
}

// byStatus marks a kind whose objects ask for what their status tells.
func byStatus(kind dialect.Kind) dialect.Kind {
	kind.ByStatus = true
	return kind
}

// madeBy marks a kind of which a field manager makes objects for others.
func madeBy(manager string, kind dialect.Kind) dialect.Kind {
	kind.MadeBy = manager
	return kind
}

// sourceKind is how the objects of a kind are read, and told of.
type sourceKind struct {
	read    func(*sourceCompilation, node)
	project func(*model.SourceReport, *unstructured.Unstructured) model.Edits
}

// sources are the kinds that stand for a source.
var sources = map[schema.GroupKind]sourceKind{
	{Group: GroupSource, Kind: kindGitRepository}:    {gitRepository, gitVoice.project},
	{Group: GroupSource, Kind: kindOCIRepository}:    {ociRepository, ociVoice.project},
	{Group: GroupSource, Kind: kindBucket}:           {bucket, bucketVoice.project},
	{Group: GroupSource, Kind: kindHelmRepository}:   {helmRepository, projectHelmRepository},
	{Group: GroupSource, Kind: kindHelmChart}:        {helmChart, chartVoice.project},
	{Group: GroupSource, Kind: kindExternalArtifact}: {externalArtifact, projectExternalArtifact},
}

// Compile turns an object into a source or a delivery. One of a kind that is not
// handled is a fault with reason NotHandled.
func (Flux) Compile(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings) (dialect.Intent, []model.Need, []model.Finding, error) {
	id := object.Of(declared)
	if kind, ok := sources[id.GroupKind()]; ok {
		source, needs, findings, err := compileSource(declared, facts, settings, kind.read)
		return dialect.Intent{Source: source}, needs, findings, err
	}
	switch id.GroupKind() {
	case schema.GroupKind{Group: GroupExtensions, Kind: kindArtifactGenerator}:
		delivery, findings, err := compileArtifactGenerator(declared, settings)
		return dialect.Intent{Delivery: delivery}, nil, findings, err
	case schema.GroupKind{Group: GroupKustomize, Kind: kindKustomization}:
		delivery, needs, findings, err := compileKustomization(declared, facts, settings)
		return dialect.Intent{Delivery: delivery}, needs, findings, err
	case schema.GroupKind{Group: GroupHelm, Kind: kindHelmRelease}:
		return compileHelmRelease(declared, facts, settings)
	}
	return dialect.Intent{}, nil, nil, notHandled(id)
}

// Project writes the status and events of an object that stands for a delivery.
func (Flux) Project(report *model.Report, previous *unstructured.Unstructured) model.Edits {
	switch previous.GetKind() {
	case kindHelmRelease:
		return projectHelmRelease(report, previous)
	case kindArtifactGenerator:
		return projectArtifactGenerator(report, previous)
	}
	return projectKustomization(report, previous)
}

// ProjectSource writes the status and events of a source.
func (Flux) ProjectSource(report *model.SourceReport, previous *unstructured.Unstructured) model.Edits {
	if kind, ok := sources[object.Of(previous).GroupKind()]; ok {
		return kind.project(report, previous)
	}
	return model.Edits{}
}

// Refuse writes why an object is not acted on.
func (Flux) Refuse(fault *model.Fault, findings []model.Finding, previous *unstructured.Unstructured) model.Edits {
	return refuse(fault, findings, previous)
}

// Ready reports whether the object is ready for its dependants: Ready is True
// and was observed at the current generation (kustomize-controller,
// checkDependencies). A HelmRepository of a registry has no state, and is ready
// as soon as it is there; of an artifact that others make nothing is asked but
// that it is there.
func (Flux) Ready(declared *unstructured.Unstructured) bool {
	ready := newConditions(declared).get(conditionReady)
	observed, _, _ := unstructured.NestedInt64(declared.Object, "status", "observedGeneration")
	switch id := object.Of(declared); {
	case id.Kind == kindHelmRepository && isRegistry(declared):
		return declared.GetDeletionTimestamp() == nil
	case id.Kind == kindExternalArtifact && !generated(declared):
		return lastArtifact(declared) != nil
	case !observes(id.Kind):
		observed, _ = ready["observedGeneration"].(int64)
	}
	return observed == declared.GetGeneration() && ready != nil && ready["status"] == statusTrue
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
	"Provider":              "no notification is sent through it",
	"Alert":                 "no event is forwarded by it",
	"Receiver":              "no webhook is answered for it",
	"ImageRepository":       "no tags are scanned",
	"ImagePolicy":           "no image is selected",
	"ImageUpdateAutomation": "nothing is committed",
}
