package health

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
)

// rule judges one object that passed the generic checks: it is not being
// deleted, its controller has seen its last generation, and it carries neither
// of the conditions Reconciling and Stalled.
type rule func(live fields) model.Health

// rules are the kinds with rules of their own; all others are judged by their
// Ready condition.
var rules = map[schema.GroupKind]rule{
	{Group: "", Kind: "Pod"}:                                            pod,
	{Group: "", Kind: "Service"}:                                        service,
	{Group: "", Kind: "PersistentVolumeClaim"}:                          persistentVolumeClaim,
	{Group: "", Kind: "Namespace"}:                                      namespace,
	{Group: "", Kind: "Secret"}:                                         always,
	{Group: "", Kind: "ConfigMap"}:                                      always,
	{Group: "apps", Kind: "Deployment"}:                                 deployment,
	{Group: "extensions", Kind: "Deployment"}:                           deployment,
	{Group: "apps", Kind: "ReplicaSet"}:                                 replicaSet,
	{Group: "extensions", Kind: "ReplicaSet"}:                           replicaSet,
	{Group: "apps", Kind: "StatefulSet"}:                                statefulSet,
	{Group: "apps", Kind: "DaemonSet"}:                                  daemonSet,
	{Group: "extensions", Kind: "DaemonSet"}:                            daemonSet,
	{Group: "batch", Kind: "Job"}:                                       job,
	{Group: "batch", Kind: "CronJob"}:                                   cronJob,
	{Group: "networking.k8s.io", Kind: "Ingress"}:                       ingress,
	{Group: "extensions", Kind: "Ingress"}:                              ingress,
	{Group: "policy", Kind: "PodDisruptionBudget"}:                      podDisruptionBudget,
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}:             horizontalPodAutoscaler,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:   customResourceDefinition,
	{Group: "apiregistration.k8s.io", Kind: "APIService"}:               apiService,
	{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"}:       flux,
	{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease"}:              flux,
	{Group: "source.toolkit.fluxcd.io", Kind: "GitRepository"}:          flux,
	{Group: "source.toolkit.fluxcd.io", Kind: "HelmRepository"}:         flux,
	{Group: "source.toolkit.fluxcd.io", Kind: "HelmChart"}:              flux,
	{Group: "source.toolkit.fluxcd.io", Kind: "OCIRepository"}:          flux,
	{Group: "source.toolkit.fluxcd.io", Kind: "Bucket"}:                 flux,
	{Group: "source.extensions.fluxcd.io", Kind: "ArtifactGenerator"}:   flux,
	{Group: "notification.toolkit.fluxcd.io", Kind: "Receiver"}:         flux,
	{Group: "image.toolkit.fluxcd.io", Kind: "ImageRepository"}:         flux,
	{Group: "image.toolkit.fluxcd.io", Kind: "ImagePolicy"}:             flux,
	{Group: "image.toolkit.fluxcd.io", Kind: "ImageUpdateAutomation"}:   flux,
	{Group: "fluxcd.controlplane.io", Kind: "FluxInstance"}:             flux,
	{Group: "fluxcd.controlplane.io", Kind: "ResourceSet"}:              flux,
	{Group: "fluxcd.controlplane.io", Kind: "ResourceSetInputProvider"}: flux,
}

// Of judges a live object by itself, as kstatus does: Terminating once it is
// being deleted; InProgress until its controller has observed its generation;
// then its Reconciling and Stalled conditions; then the rule of its kind, or
// its Ready condition; and an object that says nothing of itself is Current. A
// nil object is NotFound.
func Of(o *unstructured.Unstructured) model.Health {
	if o == nil || o.Object == nil {
		return model.Health{State: model.NotFound, Reason: "NotFound", Message: "the object does not exist"}
	}
	live := fields(o.Object)
	if health, decided := generic(live, o.GetKind()); decided {
		return health
	}
	if judge, ok := rules[o.GroupVersionKind().GroupKind()]; ok {
		return judge(live)
	}
	return readyCondition(live)
}

// generic decides what does not depend on the kind.
func generic(live fields, kind string) (model.Health, bool) {
	if live.text("metadata", "deletionTimestamp") != "" {
		return terminating(live), true
	}
	if health, behind := generationBehind(live, kind); behind {
		return health, true
	}
	for _, c := range live.conditions() {
		switch {
		case c.kind == "Reconciling" && c.status == "True":
			return inProgress(or(c.reason, "Reconciling"), "%s", or(c.message, "it is being reconciled")), true
		case c.kind == "Stalled" && c.status == "True":
			return failed(or(c.reason, "Stalled"), "%s", or(c.message, "its controller has given up")), true
		}
	}
	return model.Health{}, false
}

func terminating(live fields) model.Health {
	message := "it is being deleted"
	if finalizers := live.texts("metadata", "finalizers"); len(finalizers) > 0 {
		message += "; waiting for " + plural(len(finalizers), "finalizer") + " " + strings.Join(finalizers, ", ")
	}
	return model.Health{State: model.Terminating, Reason: "Terminating", Message: message}
}

// notObserved is the reason of an object whose status is about an earlier spec.
const notObserved = "LatestGenerationNotObserved"

// generationBehind reports a status that is about an earlier spec. Objects
// without either field pass.
func generationBehind(live fields, kind string) (model.Health, bool) {
	generation, ok := live.whole("metadata", "generation")
	if !ok {
		return model.Health{}, false
	}
	observed, ok := live.whole("status", "observedGeneration")
	if !ok || observed == generation {
		return model.Health{}, false
	}
	if observed <= 0 {
		return inProgress(notObserved, "the controller of %s has not looked at it yet", kind), true
	}
	return inProgress(notObserved,
		"the controller of %s has not seen the last change yet (generation %d, observed %d)", kind, generation, observed), true
}

// readyCondition judges kinds without a rule: a Ready condition counts where
// there is one.
func readyCondition(live fields) model.Health {
	ready, ok := live.condition("Ready")
	switch {
	case !ok:
		return current("nothing says otherwise")
	case ready.status == "True":
		return current("%s", or(ready.message, "it is ready"))
	case ready.status == "False", ready.status == "Unknown":
		return inProgress(or(ready.reason, "NotReady"), "%s", or(ready.message, "it is not ready yet"))
	}
	return current("nothing says otherwise")
}

func always(fields) model.Health { return current("it needs no controller") }

func current(format string, args ...any) model.Health {
	return model.Health{State: model.Current, Reason: "Current", Message: fmt.Sprintf(format, args...)}
}

func inProgress(reason, format string, args ...any) model.Health {
	return model.Health{State: model.InProgress, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func failed(reason, format string, args ...any) model.Health {
	return model.Health{State: model.Unhealthy, Reason: reason, Message: fmt.Sprintf(format, args...)}
}
