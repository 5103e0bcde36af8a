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

	clusters "plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/secret/sops"
)

// world is where a derivation finds what is declared besides the delivery: a
// cluster, or a repository alone.
type world interface {
	// fact answers a need.
	fact(ctx context.Context, need model.Need) model.Fact
	// declaration reads the object that stands for a source.
	declaration(ctx context.Context, id object.ID) (*unstructured.Unstructured, error)
	// destination is where a delivery goes to.
	destination(ctx context.Context, to model.Target, facts model.Facts) (destination, error)
	// outside is what a render has besides its tree; closing wipes it.
	outside(in *model.Input) (out render.Outside, closing func(), err error)
}

// destination is where objects go to.
type destination interface {
	// scope says whether the objects of a kind have a namespace; known is false
	// for a kind that is not served yet.
	scope(kind schema.GroupKind, version string) (namespaced, known bool, err error)
	// capabilities is what charts may know of it; nil: nothing is known.
	capabilities(ctx context.Context) (render.Tree, error)
	// lookup answers the function of charts; nil: they see nothing.
	lookup(ctx context.Context) render.Tree
	// cluster is the cluster itself; nil when it is none.
	cluster() *cluster
}

// declaration implements world.
func (c *cluster) declaration(ctx context.Context, id object.ID) (*unstructured.Unstructured, error) {
	resource, _, err := c.resource(id.GroupKind())
	if err != nil {
		return nil, err
	}
	return resource.Namespace(id.Namespace).Get(ctx, id.Name, getOptions)
}

// outside implements world: the keys are those that the user may read.
func (c *cluster) outside(in *model.Input) (out render.Outside, closing func(), err error) {
	if in.Render.Decryption == nil {
		return out, func() {}, nil
	}
	decrypter, err := sops.New(*in.Render.Decryption, sops.Options{})
	if err != nil {
		return out, nil, err
	}
	return render.Outside{Decrypter: decrypter}, decrypter.Close, nil
}

// destination implements world.
func (c *cluster) destination(ctx context.Context, to model.Target, facts model.Facts) (destination, error) {
	if to.Cluster.Local() {
		return c, nil
	}
	set, err := clusters.NewSet(c.config, clusters.Options{})
	if err != nil {
		return nil, err
	}
	defer set.Close()
	remote, err := c.remote(ctx, set, to.Cluster, facts)
	if err != nil {
		return nil, err
	}
	config := remote.Config()
	config.WarningHandler = c.config.WarningHandler
	return newCluster(config)
}

// remote is the connection that a target names.
func (c *cluster) remote(ctx context.Context, set *clusters.Set, to model.ClusterRef, facts model.Facts) (*clusters.Cluster, error) {
	if to.Kubeconfig != nil {
		return set.Remote(to.Kubeconfig.Reveal())
	}
	fact, known := facts[to.Need]
	if !known {
		fact = c.fact(ctx, to.Need)
	}
	if to.Need.Kind == "ConfigMap" && fact.State == model.Present {
		data, _, _ := unstructured.NestedStringMap(fact.Object.Object, "data")
		trust, err := clusters.TrustIn(data, to.Need.Namespace)
		if err != nil {
			return nil, err
		}
		return set.Trusting(trust)
	}
	content, err := kubeconfigIn(fact, to)
	if err != nil {
		return nil, err
	}
	return set.Remote(content)
}

// cluster implements destination.
func (c *cluster) cluster() *cluster { return c }

// scope implements destination.
func (c *cluster) scope(kind schema.GroupKind, version string) (namespaced, known bool, err error) {
	mapping, err := c.mapper.RESTMapping(kind, version)
	if meta.IsNoMatchError(err) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	return mapping.Scope.Name() != meta.RESTScopeNameRoot, true, nil
}

// capabilities implements destination.
func (c *cluster) capabilities(context.Context) (render.Tree, error) {
	version, err := c.discovery.ServerVersion()
	if err != nil {
		return nil, err
	}
	_, lists, err := c.discovery.ServerGroupsAndResources()
	if err != nil && len(lists) == 0 {
		return nil, err
	}
	var kinds []schema.GroupVersionKind
	for _, list := range lists { // a group whose API server is away is not served
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for i := range list.APIResources {
			kinds = append(kinds, gv.WithKind(list.APIResources[i].Kind))
		}
	}
	return render.Capabilities(version.GitVersion, render.APINames(kinds)), nil
}

// lookup implements destination.
func (c *cluster) lookup(ctx context.Context) render.Tree {
	return render.Live(func(apiVersion, kind, namespace, name string) ([]byte, error) {
		gv, err := schema.ParseGroupVersion(apiVersion)
		if err != nil {
			return nil, nil //nolint:nilerr // Helm answers a bad version with nothing
		}
		mapping, err := c.mapper.RESTMapping(gv.WithKind(kind).GroupKind(), gv.Version)
		if meta.IsNoMatchError(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if mapping.Scope.Name() == meta.RESTScopeNameRoot {
			namespace = ""
		}
		resource := c.objects.Resource(mapping.Resource).Namespace(namespace)
		if name == "" {
			list, err := listPages(ctx, resource, metav1.ListOptions{})
			if err != nil {
				return nil, err
			}
			return list.MarshalJSON()
		}
		o, err := resource.Get(ctx, name, getOptions)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return o.MarshalJSON()
	})
}

// fact answers a need as the user may see it.
func (c *cluster) fact(ctx context.Context, need model.Need) model.Fact {
	resource, err := c.needed(need)
	fact := model.Fact{State: model.Present}
	switch {
	case err != nil:
	case need.Selector == "":
		fact.Object, err = c.objects.Resource(resource).Namespace(need.Namespace).Get(ctx, need.Name, getOptions)
	default:
		fact.Objects, err = c.selected(ctx, resource, need)
	}
	switch {
	case err == nil:
		return fact
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return model.Fact{State: model.Absent}
	case apierrors.IsForbidden(err):
		return model.Fact{State: model.Forbidden, Message: err.Error()}
	}
	return model.Fact{State: model.Failed, Message: err.Error()}
}

// needed is the resource of a needed kind, which is known by its kind or by its
// plural name.
func (c *cluster) needed(need model.Need) (schema.GroupVersionResource, error) {
	if need.Kind == "" {
		return c.mapper.ResourceFor(schema.GroupVersionResource{Group: need.Group, Version: need.Version, Resource: need.Resource})
	}
	mapping, err := c.mapper.RESTMapping(schema.GroupKind{Group: need.Group, Kind: need.Kind}, need.Version)
	if err != nil {
		return schema.GroupVersionResource{}, err
	}
	return mapping.Resource, nil
}

// selected lists the objects that a need selects, by namespace and name.
func (c *cluster) selected(ctx context.Context, resource schema.GroupVersionResource, need model.Need) ([]*unstructured.Unstructured, error) {
	options := metav1.ListOptions{}
	if need.Selector != "*" {
		options.LabelSelector = need.Selector
	}
	list, err := listPages(ctx, c.objects.Resource(resource).Namespace(need.Namespace), options)
	if err != nil {
		return nil, err
	}
	found := make([]*unstructured.Unstructured, len(list.Items))
	for i := range list.Items {
		found[i] = &list.Items[i]
	}
	slices.SortFunc(found, func(x, y *unstructured.Unstructured) int {
		return strings.Compare(x.GetNamespace()+"/"+x.GetName(), y.GetNamespace()+"/"+y.GetName())
	})
	return found, nil
}

// kubeconfigIn takes a kubeconfig out of a Secret, or a ConfigMap.
func kubeconfigIn(fact model.Fact, ref model.ClusterRef) ([]byte, error) {
	if fact.State != model.Present {
		return nil, &model.Fault{
			Reason:  "ReconciliationFailed",
			Message: fmt.Sprintf("the kubeconfig in %s cannot be read: it is %s", ref.Need, fact.State),
			Advice:  "read it with an account that may, or use --path on a cluster you can reach",
		}
	}
	keys := []string{ref.Key}
	if ref.Key == "" {
		keys = []string{"value", "value.yaml"} // kustomize-controller's defaults
	}
	for _, key := range keys {
		value, found, err := dataOf(fact.Object, key)
		if err != nil || found {
			return value, err
		}
	}
	return nil, &model.Fault{
		Reason:  "ReconciliationFailed",
		Message: fmt.Sprintf("%s has no key %s with a kubeconfig", ref.Need, strings.Join(keys, " or ")),
	}
}
