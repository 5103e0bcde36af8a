package argo

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/object"
)

// workloads are those of Argo CD's manifests, by the label
// app.kubernetes.io/name (manifests/base, manifests/ha); a Helm release puts
// its own name before that of the object.
var workloads = []string{
	"argocd-application-controller", "argocd-applicationset-controller", "argocd-repo-server", "argocd-server",
	"argocd-notifications-controller", "argocd-dex-server", "argocd-commit-server",
	"argocd-redis", "argocd-redis-ha", "argocd-redis-ha-server", "argocd-redis-ha-haproxy",
}

// definitions are the CRDs of Argo CD. Others of the group belong to its
// siblings, such as Rollouts and Workflows.
var definitions = []string{"applications.argoproj.io", "appprojects.argoproj.io", "applicationsets.argoproj.io"}

// Controllers lists the workloads that write Applications and ApplicationSets.
// The application controller is a StatefulSet, or a Deployment with dynamic
// distribution of clusters; it holds no Lease.
func (Argo) Controllers(settings dialect.Settings) []dialect.Controller {
	kinds := func(names ...string) []schema.GroupKind {
		var out []schema.GroupKind
		for _, name := range names {
			out = append(out, schema.GroupKind{Group: Group, Kind: name})
		}
		return out
	}
	workload := func(kind, name string) object.ID {
		return object.ID{Group: "apps", Kind: kind, Namespace: installation(settings), Name: name}
	}
	return []dialect.Controller{
		{Deployment: workload("StatefulSet", "argocd-application-controller"), Kinds: kinds(kindApplication, kindProject)},
		{Deployment: workload("Deployment", "argocd-application-controller"), Kinds: kinds(kindApplication, kindProject)},
		{Deployment: workload("Deployment", "argocd-applicationset-controller"), Lease: "58ac56fa.applicationsets.argoproj.io", Kinds: kinds(kindSet)},
	}
}

// Replaces reports whether a rendered object is a workload or a CRD of Argo
// CD's own installation. Its ConfigMaps, Secrets, RBAC and Services do nothing
// by themselves, and Plumb reads some of them: they are applied like anything
// else.
func (Argo) Replaces(rendered *unstructured.Unstructured) bool {
	switch rendered.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}, schema.GroupKind{Group: "apps", Kind: "StatefulSet"}:
		return isWorkload(rendered)
	case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
		return slices.Contains(definitions, rendered.GetName())
	}
	return false
}

// isWorkload asks for a name and for a mark: upstream's labels, or its image,
// whatever registry mirrors it.
func isWorkload(o *unstructured.Unstructured) bool {
	labels := o.GetLabels()
	if labels["app.kubernetes.io/part-of"] == "argocd" && (slices.Contains(workloads, labels["app.kubernetes.io/name"]) || slices.Contains(workloads, o.GetName())) {
		return true
	}
	if !slices.Contains(workloads, o.GetName()) {
		return false
	}
	return dialect.RunsImage(o, "argoproj/argocd")
}
