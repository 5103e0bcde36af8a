package flux

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/object"
)

// defaultNamespace is where "flux install" puts the controllers.
const defaultNamespace = "flux-system"

// controllers are Flux's workloads and the API groups that they act on. Each
// holds a Lease named after it, with -leader-election (main.go of each).
var controllers = []controller{
	{name: "source-controller", group: GroupSource},
	{name: "kustomize-controller", group: GroupKustomize},
	{name: "helm-controller", group: GroupHelm},
	{name: "notification-controller", group: GroupNotify},
	{name: "image-reflector-controller", group: GroupImage, only: []string{"ImageRepository", "ImagePolicy"}},
	{name: "image-automation-controller", group: GroupImage, only: []string{"ImageUpdateAutomation"}},
	{name: "source-watcher", group: GroupExtensions},
}

type controller struct {
	name  string
	group string
	only  []string // kinds, when the group is shared; empty: all
}

func (c controller) serves(kind schema.GroupKind) bool {
	return kind.Group == c.group && (len(c.only) == 0 || slices.Contains(c.only, kind.Kind))
}

// Controllers lists Flux's workloads, each with the kinds that it writes the
// status of.
func (f Flux) Controllers(dialect.Settings) []dialect.Controller {
	var out []dialect.Controller
	for _, c := range controllers {
		workload := dialect.Controller{
			Deployment: object.ID{Group: "apps", Kind: "Deployment", Namespace: defaultNamespace, Name: c.name},
			Lease:      c.name + "-leader-election",
		}
		for _, kind := range f.Kinds() {
			if c.serves(kind.GroupKind) {
				workload.Kinds = append(workload.Kinds, kind.GroupKind)
			}
		}
		out = append(out, workload)
	}
	return out
}

// Replaces reports whether a rendered object is a workload or a CRD of Flux's
// own installation (gotk-components.yaml). Its Namespace, RBAC, Services and
// network policies do nothing by themselves: they are applied like anything
// else, so that Flux finds them when it comes back.
func (Flux) Replaces(rendered *unstructured.Unstructured) bool {
	switch rendered.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}:
		return isController(rendered)
	case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
		return isOwnDefinition(rendered)
	case schema.GroupKind{Group: "fluxcd.controlplane.io", Kind: "FluxInstance"}:
		return true
	}
	return false
}

// isController asks for the name and for a mark: the labels of upstream's
// manifests, or its image, whatever registry mirrors it. A Deployment of
// somebody else that is merely called source-controller is applied.
func isController(deployment *unstructured.Unstructured) bool {
	name := deployment.GetName()
	if !slices.ContainsFunc(controllers, func(c controller) bool { return c.name == name }) {
		return false
	}
	if deployment.GetLabels()["app.kubernetes.io/part-of"] == "flux" {
		return true
	}
	return dialect.RunsImage(deployment, "fluxcd/"+name)
}

// isOwnDefinition goes by the API group, which is upstream's alone; a kind
// that we do not know yet is upstream's too.
func isOwnDefinition(crd *unstructured.Unstructured) bool {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	if group != GroupExtensions && !strings.HasSuffix(group, ".toolkit.fluxcd.io") {
		return false
	}
	return strings.HasSuffix(crd.GetName(), "."+group)
}
