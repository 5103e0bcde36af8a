package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/restmapper"

	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/object"
)

// namespaceFor is the namespace that is meant for objects of any kind.
func (a *app) namespaceFor(kind schema.GroupKind) string {
	if declared := declaredKindOf(kind); declared != nil {
		return a.namespaceOf(declared)
	}
	return a.kube.namespace
}

// target is an object that the user names on the command line.
type target struct {
	mapping         *meta.RESTMapping
	namespace, name string
}

// id is the target's identity.
func (t target) id() object.ID {
	return object.ID{
		Group:     t.mapping.GroupVersionKind.Group,
		Kind:      t.mapping.GroupVersionKind.Kind,
		Namespace: t.namespace,
		Name:      t.name,
	}
}

func (t target) String() string { return t.id().String() }

// targetUsage is how the commands that take objects describe their arguments.
const targetUsage = "name objects as KIND/NAME, KIND/NAMESPACE/NAME or KIND NAME..."

// targets reads objects from arguments: kind/name and kind/namespace/name, or
// a kind followed by names. Kinds may be given as kubectl takes them:
// deployment, deploy, deployments.apps, Deployment.v1.apps.
func (c *cluster) targets(args []string, namespace func(schema.GroupKind) string) ([]target, error) {
	if len(args) == 0 {
		return nil, advise(fmt.Errorf("no object is named"), "%s", targetUsage)
	}
	var found []target
	if !strings.Contains(args[0], "/") {
		if len(args) == 1 {
			return nil, advise(fmt.Errorf("the name of the %s is missing", args[0]), "%s", targetUsage)
		}
		for _, name := range args[1:] {
			t, err := c.target(args[0], namespace, name)
			if err != nil {
				return nil, err
			}
			found = append(found, t)
		}
		return found, nil
	}
	for _, arg := range args {
		parts := strings.Split(arg, "/")
		within := namespace
		switch len(parts) {
		case 2:
		case 3:
			within = func(schema.GroupKind) string { return parts[1] }
		default:
			return nil, advise(fmt.Errorf("%q names no object", arg), "%s", targetUsage)
		}
		t, err := c.target(parts[0], within, parts[len(parts)-1])
		if err != nil {
			return nil, err
		}
		found = append(found, t)
	}
	return found, nil
}

func (c *cluster) target(kind string, within func(schema.GroupKind) string, name string) (target, error) {
	if kind == "" || name == "" {
		return target{}, advise(fmt.Errorf("%q names no object", kind+"/"+name), "%s", targetUsage)
	}
	mapping, err := c.kindNamed(kind)
	if err != nil {
		return target{}, err
	}
	namespace := within(mapping.GroupVersionKind.GroupKind())
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		namespace = ""
	}
	return target{mapping: mapping, namespace: namespace, name: name}, nil
}

// kindNamed finds a served kind by any name that kubectl would take. Where
// several groups have it, a group that is declared to Plumb does not hide the
// others silently: the RESTMapper's priority decides, as in kubectl.
func (c *cluster) kindNamed(name string) (*meta.RESTMapping, error) {
	mapper := restmapper.NewShortcutExpander(c.mapper, c.discovery, nil)
	full, short := schema.ParseResourceArg(strings.ToLower(name))
	if full != nil {
		if gvk, err := mapper.KindFor(*full); err == nil {
			return mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		}
	}
	if gvk, err := mapper.KindFor(short.WithVersion("")); err == nil {
		return mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	fullKind, shortKind := schema.ParseKindArg(name)
	if fullKind != nil {
		if mapping, err := mapper.RESTMapping(fullKind.GroupKind(), fullKind.Version); err == nil {
			return mapping, nil
		}
	}
	mapping, err := mapper.RESTMapping(shortKind)
	if err == nil {
		return mapping, nil
	}
	if meta.IsNoMatchError(err) {
		return nil, advise(fmt.Errorf("the cluster serves no kind called %q", name), "see what it serves with: kubectl api-resources")
	}
	return nil, err
}

// live reads a target.
func (c *cluster) live(ctx context.Context, t target) (*unstructured.Unstructured, error) {
	return c.objects.Resource(t.mapping.Resource).Namespace(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
}

// maxOwners bounds the way up through owner references.
const maxOwners = 16

// deliverer is the delivery that an object comes from.
type deliverer struct {
	kind            *declaredKind
	namespace, name string
}

// deliveredBy finds the delivery of an object, or of the object that made it:
// by the marks of the object itself or of the nearest of its owners. The chain
// lists the owners that were climbed.
func (c *cluster) deliveredBy(ctx context.Context, o *unstructured.Unstructured, argoNamespace string) (by *deliverer, chain []*unstructured.Unstructured, err error) {
	at := o
	for range maxOwners {
		if by, err = c.markedBy(ctx, at, argoNamespace); by != nil || err != nil {
			return by, chain, err
		}
		owner := controllerOf(at)
		if owner == nil {
			return nil, chain, nil
		}
		gv, err := schema.ParseGroupVersion(owner.APIVersion)
		if err != nil {
			return nil, chain, err
		}
		mapping, err := c.mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: owner.Kind}, gv.Version)
		if err != nil {
			return nil, chain, err
		}
		next := target{mapping: mapping, name: owner.Name}
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			next.namespace = at.GetNamespace()
		}
		if at, err = c.live(ctx, next); err != nil {
			return nil, chain, err
		}
		chain = append(chain, at)
	}
	return nil, chain, nil
}

// The marks by which an object says which delivery applied it: the labels of
// kustomize-controller and helm-controller, and what Argo CD tracks by.
const (
	kustomizationName      = kustomizeGroup + "/name"
	kustomizationNamespace = kustomizeGroup + "/namespace"
	helmReleaseName        = helmGroup + "/name"
	helmReleaseNamespace   = helmGroup + "/namespace"
	trackingID             = "argocd.argoproj.io/tracking-id"
	instanceLabel          = "app.kubernetes.io/instance"
)

// markedBy reads the marks on one object; nil when it carries none that hold.
func (c *cluster) markedBy(ctx context.Context, o *unstructured.Unstructured, argoNamespace string) (*deliverer, error) {
	if owner := controllerOf(o); owner != nil && owner.Kind == applicationSetKind && strings.HasPrefix(owner.APIVersion, argo.Group+"/") {
		return &deliverer{kind: applicationSets, namespace: o.GetNamespace(), name: owner.Name}, nil
	}
	if owner := controllerOf(o); owner != nil && owner.Kind == generatorKind && strings.HasPrefix(owner.APIVersion, generatorGroup+"/") {
		return &deliverer{kind: artifactGenerators, namespace: o.GetNamespace(), name: owner.Name}, nil
	}
	if by := trackedBy(o, argoNamespace); by != nil {
		return by, nil
	}
	labels := o.GetLabels()
	if name := labels[kustomizationName]; name != "" {
		return &deliverer{kind: kustomizations, namespace: labels[kustomizationNamespace], name: name}, nil
	}
	if name := labels[helmReleaseName]; name != "" {
		return &deliverer{kind: helmReleases, namespace: labels[helmReleaseNamespace], name: name}, nil
	}
	// The label is everybody's: only an Application that lists the object has
	// put it there.
	if name := labels[instanceLabel]; name != "" {
		by := applicationCalled(name, argoNamespace)
		lists, err := c.lists(ctx, by, object.Of(o))
		if lists || err != nil {
			return by, err
		}
	}
	return nil, nil
}

// trackedBy reads the annotation that Argo CD tracks by. One that names another
// object was copied from there, and says nothing.
func trackedBy(o *unstructured.Unstructured, argoNamespace string) *deliverer {
	owner, rest, ok := strings.Cut(o.GetAnnotations()[trackingID], ":")
	id := object.Of(o)
	if !ok || owner == "" || rest != fmt.Sprintf("%s/%s:%s/%s", id.Group, id.Kind, id.Namespace, id.Name) {
		return nil
	}
	return applicationCalled(owner, argoNamespace)
}

// applicationCalled is the Application that marks call by a name: with its
// namespace in front where that is not Argo CD's own.
func applicationCalled(owner, argoNamespace string) *deliverer {
	if namespace, name, elsewhere := strings.Cut(owner, "_"); elsewhere {
		return &deliverer{kind: applications, namespace: namespace, name: name}
	}
	return &deliverer{kind: applications, namespace: argoNamespace, name: owner}
}

// lists reports whether a delivery exists and lists an object as its own.
func (c *cluster) lists(ctx context.Context, by *deliverer, id object.ID) (bool, error) {
	declared, err := c.get(ctx, by.kind, by.namespace, by.name)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	claims, err := by.kind.idiom.inventory(declared)
	return slices.Contains(claims, id), err
}

// controllerOf is the owner that made an object: its controller, else its
// first owner.
func controllerOf(o *unstructured.Unstructured) *metav1.OwnerReference {
	owners := o.GetOwnerReferences()
	for i := range owners {
		if owners[i].Controller != nil && *owners[i].Controller {
			return &owners[i]
		}
	}
	if len(owners) > 0 {
		return &owners[0]
	}
	return nil
}
