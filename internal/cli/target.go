package cli

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/restmapper"

	"plumb.dev/plumb/internal/object"
)

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
func (c *cluster) targets(args []string, namespace string) ([]target, error) {
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
		ns := namespace
		switch len(parts) {
		case 2:
		case 3:
			ns = parts[1]
		default:
			return nil, advise(fmt.Errorf("%q names no object", arg), "%s", targetUsage)
		}
		t, err := c.target(parts[0], ns, parts[len(parts)-1])
		if err != nil {
			return nil, err
		}
		found = append(found, t)
	}
	return found, nil
}

func (c *cluster) target(kind, namespace, name string) (target, error) {
	if kind == "" || name == "" {
		return target{}, advise(fmt.Errorf("%q names no object", kind+"/"+name), "%s", targetUsage)
	}
	mapping, err := c.kindNamed(kind)
	if err != nil {
		return target{}, err
	}
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

// ownerLabels are the labels by which an object says which delivery applied it
// (kustomize-controller sets them on everything).
type ownerLabels struct{ name, namespace string }

var kustomizationLabels = ownerLabels{
	name:      kustomizeGroup + "/name",
	namespace: kustomizeGroup + "/namespace",
}

// maxOwners bounds the way up through owner references.
const maxOwners = 16

// deliveredBy finds the Kustomization that delivered an object, or the object
// that made it: the labels of the object itself or of the nearest of its
// owners. The chain lists the owners that were climbed.
func (c *cluster) deliveredBy(ctx context.Context, o *unstructured.Unstructured) (ks reference, chain []*unstructured.Unstructured, found bool, err error) {
	at := o
	for range maxOwners {
		labels := at.GetLabels()
		if name := labels[kustomizationLabels.name]; name != "" {
			return reference{kind: kustomizations.group.Kind, namespace: labels[kustomizationLabels.namespace], name: name}, chain, true, nil
		}
		owner := controllerOf(at)
		if owner == nil {
			return reference{}, chain, false, nil
		}
		gv, err := schema.ParseGroupVersion(owner.APIVersion)
		if err != nil {
			return reference{}, chain, false, err
		}
		mapping, err := c.mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: owner.Kind}, gv.Version)
		if err != nil {
			return reference{}, chain, false, err
		}
		next := target{mapping: mapping, name: owner.Name}
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			next.namespace = at.GetNamespace()
		}
		if at, err = c.live(ctx, next); err != nil {
			return reference{}, chain, false, err
		}
		chain = append(chain, at)
	}
	return reference{}, chain, false, nil
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
