package stage

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// unsteady are kinds that tell what happened, not what is.
var unsteady = map[string]bool{"Event": true, "Lease": true}

// authorityMap is what every namespace has: the certificate of the cluster, which
// differs from cluster to cluster.
const authorityMap = "kube-root-ca.crt"

// Dump prints objects without what differs from run to run: uids, times,
// versions, addresses. Names in replace are exchanged, so that dumps of two
// namespaces can be compared.
func Dump(objects []unstructured.Unstructured, replace *strings.Replacer) (string, error) {
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

// Kinds are those that have namespaces, can be listed, and tell what is, not
// what happened.
func (k *Kube) Kinds() ([]schema.GroupVersionResource, error) {
	k.mu.Lock()
	k.server.Invalidate()
	served, err := k.server.ServerPreferredResources()
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var kinds []schema.GroupVersionResource
	for _, group := range served {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range group.APIResources {
			if resource.Namespaced && !unsteady[resource.Kind] && listable(resource) {
				kinds = append(kinds, version.WithResource(resource.Name))
			}
		}
	}
	return kinds, nil
}

// All lists every object of some kinds in a namespace ("": in all) that is not
// made by a controller for another object. Of a kind that is not served there is
// none.
func (k *Kube) All(ctx context.Context, namespace string, kinds []schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	for _, kind := range kinds {
		list, err := k.objects.Resource(kind).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.Resource, err)
		}
		for _, o := range list.Items {
			if metav1.GetControllerOf(&o) == nil {
				all = append(all, o)
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
// status only what a delivery owns is kept, and what a release has been. Helm's
// records are opened: of them only times are left out.
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
	if o.GetKind() == "ConfigMap" && o.GetName() == authorityMap {
		unstructured.RemoveNestedField(o.Object, "data")
	}
	inventory, owns, _ := unstructured.NestedFieldCopy(o.Object, "status", "inventory")
	history, released, _ := unstructured.NestedSlice(o.Object, "status", "history")
	unstructured.RemoveNestedField(o.Object, "status")
	if owns {
		o.Object["inventory"] = inventory
	}
	if released && o.GetKind() == "HelmRelease" {
		for _, snapshot := range history {
			timeless(snapshot, "firstDeployed", "lastDeployed", "deleted", "digest", "startedAt", "completedAt", "lastStarted", "lastCompleted")
		}
		o.Object["history"] = history
	}
	if err := openRecord(o); err != nil {
		return "", err
	}
	for _, empty := range [][]string{{"metadata", "annotations"}, {"metadata", "labels"}} {
		if m, found, _ := unstructured.NestedMap(o.Object, empty...); found && len(m) == 0 {
			unstructured.RemoveNestedField(o.Object, empty...)
		}
	}
	text, err := yaml.Marshal(o.Object)
	return string(text), err
}

// openRecord puts what a record of a Helm release holds in place of its encoded
// form.
func openRecord(o *unstructured.Unstructured) error {
	encoded, found, _ := unstructured.NestedString(o.Object, "data", "release")
	if kind, _, _ := unstructured.NestedString(o.Object, "type"); !found || kind != "helm.sh/release.v1" {
		return nil
	}
	for range 2 { // by Kubernetes, and by Helm
		text, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return err
		}
		encoded = string(text)
	}
	zipped, err := gzip.NewReader(strings.NewReader(encoded))
	if err != nil {
		return err
	}
	var record map[string]any
	if err := json.NewDecoder(zipped).Decode(&record); err != nil {
		return err
	}
	timeless(record, "first_deployed", "last_deployed", "deleted", "started_at", "completed_at")
	timeless(record["chart"], "data") // of files, which may name the namespace in base64
	o.Object["data"] = map[string]any{"release": record}
	for _, label := range []string{"createdAt", "modifiedAt"} {
		unstructured.RemoveNestedField(o.Object, "metadata", "labels", label)
	}
	return nil
}

// timeless removes keys that differ from run to run, wherever they are.
func timeless(value any, keys ...string) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range keys {
			delete(v, key)
		}
		for _, inner := range v {
			timeless(inner, keys...)
		}
	case []any:
		for _, inner := range v {
			timeless(inner, keys...)
		}
	}
}
