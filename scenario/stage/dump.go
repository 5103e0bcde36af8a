package stage

import (
	"context"
	"fmt"
	"sort"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// unsteady are kinds that tell what happened, not what is.
var unsteady = map[string]bool{"Event": true, "Lease": true}

// Dump prints every object of a namespace without what differs from run to
// run: uids, times, versions, addresses. Names in replace are exchanged, so
// that dumps of two namespaces can be compared.
func (k *Kube) Dump(ctx context.Context, namespace string, replace *strings.Replacer) (string, error) {
	objects, err := k.All(ctx, namespace)
	if err != nil {
		return "", err
	}
	texts := make([]string, 0, len(objects))
	for i := range objects {
		text, err := Steady(&objects[i])
		if err != nil {
			return "", err
		}
		texts = append(texts, replace.Replace(text))
	}
	sort.Strings(texts)
	return strings.Join(texts, "---\n"), nil
}

// All lists every object of a namespace that is not made by a controller for
// another object.
func (k *Kube) All(ctx context.Context, namespace string) ([]unstructured.Unstructured, error) {
	k.mu.Lock()
	k.server.Invalidate()
	served, err := k.server.ServerPreferredResources()
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var all []unstructured.Unstructured
	for _, group := range served {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range group.APIResources {
			if !resource.Namespaced || unsteady[resource.Kind] || !listable(resource) {
				continue
			}
			list, err := k.objects.Resource(version.WithResource(resource.Name)).Namespace(namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", resource.Name, err)
			}
			for _, o := range list.Items {
				if metav1.GetControllerOf(&o) == nil {
					all = append(all, o)
				}
			}
		}
	}
	return all, nil
}

func listable(resource metav1.APIResource) bool {
	for _, verb := range resource.Verbs {
		if verb == "list" {
			return true
		}
	}
	return false
}

// Steady prints an object as YAML without what differs from run to run. Of the
// status only what a delivery owns is kept.
func Steady(o *unstructured.Unstructured) (string, error) {
	o = o.DeepCopy()
	for _, path := range [][]string{
		{"metadata", "uid"}, {"metadata", "resourceVersion"}, {"metadata", "creationTimestamp"},
		{"metadata", "managedFields"}, {"metadata", "generation"}, {"metadata", "selfLink"},
		{"metadata", "annotations", wakeAnnotation},
		{"spec", "clusterIP"}, {"spec", "clusterIPs"},
	} {
		unstructured.RemoveNestedField(o.Object, path...)
	}
	inventory, owns, _ := unstructured.NestedFieldCopy(o.Object, "status", "inventory")
	unstructured.RemoveNestedField(o.Object, "status")
	if owns {
		o.Object["inventory"] = inventory
	}
	for _, empty := range [][]string{{"metadata", "annotations"}, {"metadata", "labels"}} {
		if m, found, _ := unstructured.NestedMap(o.Object, empty...); found && len(m) == 0 {
			unstructured.RemoveNestedField(o.Object, empty...)
		}
	}
	text, err := yaml.Marshal(o.Object)
	return string(text), err
}
