package appset

import (
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const (
	dialectName = "argo"

	group          = "argoproj.io"
	version        = "v1alpha1"
	apiVersion     = group + "/" + version
	kindSet        = "ApplicationSet"
	kindApp        = "Application"
	kindProject    = "AppProject"
	defaultProject = "default"

	// fieldManager is upstream's controller (cmd/argocd-applicationset-controller).
	fieldManager = "argocd-applicationset-controller"

	resourcesFinalizer = "resources-finalizer.argocd.argoproj.io"

	labelSecretType  = "argocd.argoproj.io/secret-type"
	typeCluster      = "cluster"
	typeSCMCreds     = "scm-creds"
	typeRepoCreds    = "repo-creds"
	argoSecret       = "argocd-secret"
	skipAnnotation   = "argocd.argoproj.io/skip-reconcile"
	inClusterName    = "in-cluster"
	inClusterAddress = "https://kubernetes.default.svc"

	// RefreshAnnotation asks for a look at everything at once; it goes when
	// that has happened (common.AnnotationApplicationSetRefresh).
	RefreshAnnotation = "argocd.argoproj.io/application-set-refresh"
	// ApproveAnnotation carries the token of a held plan that a person approved.
	ApproveAnnotation = "plumb.dev/approve"
)

// Annotations of Applications that others write and that stay as they are
// (applicationset/controllers, defaultPreservedAnnotations).
var preservedAnnotations = []string{
	"notified.notifications.argoproj.io",
	"argocd.argoproj.io/refresh",
	"argocd.argoproj.io/hydrate",
}

// Condition types of a set (ApplicationSetConditionType).
const (
	conditionErrorOccurred        = "ErrorOccurred"
	conditionParametersGenerated  = "ParametersGenerated"
	conditionResourcesUpToDate    = "ResourcesUpToDate"
	conditionRolloutProgressing   = "RolloutProgressing"
	conditionInvalidRolloutConfig = "InvalidRolloutConfig"
)

// Reasons of conditions, faults and findings. Those of upstream first
// (ApplicationSetReasonType).
const (
	reasonErrorOccurred       = "ErrorOccurred"
	reasonUpToDate            = "ApplicationSetUpToDate"
	reasonParametersGenerated = "ParametersGenerated"
	reasonUpdateError         = "UpdateApplicationError"
	reasonDeleteError         = "DeleteApplicationError"
	reasonParamsError         = "ApplicationGenerationFromParamsError"
	reasonRenderError         = "RenderTemplateParamsError"
	reasonValidationError     = "ApplicationValidationError"
	reasonModified            = "ApplicationSetModified"
	reasonRolloutComplete     = "ApplicationSetRolloutComplete"
	reasonRolloutError        = "ApplicationSetRolloutError"
	reasonInvalidRollout      = "ApplicationSetInvalidRolloutConfig"
	reasonValidRollout        = "ApplicationSetValidRolloutConfig"

	// Plumb's own.
	reasonInvalidSpec     = "InvalidSpec"
	reasonUnknownField    = "UnknownField"
	reasonDiffers         = "Differs"
	reasonDeprecated      = "Deprecated"
	reasonNotReproducible = "NotReproducible"
	reasonNotAllowed      = "NotAllowed"
	reasonPruneHeld       = "PruneHeld"
)

// defaultPollInterval is how often forges and plugins are asked (upstream's
// DefaultSCMProviderRequeueAfter and its kin).
const defaultPollInterval = 30 * time.Minute

// validationRetry is when a set with an error is looked at again (upstream's
// ReconcileRequeueOnValidationError).
const validationRetry = 3 * time.Minute

func originOf(id object.ID, field string) model.Origin {
	return model.Origin{Dialect: dialectName, Declared: id, Field: field}
}
