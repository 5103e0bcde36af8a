package render

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Namespaced says whether the objects of a kind of Kubernetes itself have a
// namespace, where no cluster can be asked; known is false for any other kind.
func Namespaced(kind schema.GroupVersionKind) (namespaced, known bool) {
	sharedSchema.loaded.Do(loadSchema)
	sharedSchema.RLock()
	defer sharedSchema.RUnlock()
	return openapi.IsNamespaceScoped(yaml.TypeMeta{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind})
}
