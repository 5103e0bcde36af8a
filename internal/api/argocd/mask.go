package argocd

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	secrets "plumb.dev/plumb/internal/object"
)

// hidden stands for a secret value, as upstream has it (gitops-engine
// pkg/diff, HideSecretData); changed for one that differs from the other side.
const (
	hidden  = "++++++++"
	changed = "+++++++++"
)

// masked copies an object with every secret value in it hidden, wherever a Secret
// stands, and the annotations of Secrets that the installation calls sensitive.
// What was masked before stays told apart: a value that differs keeps doing so.
func masked(o *unstructured.Unstructured, sensitive []string) *unstructured.Unstructured {
	if o == nil {
		return nil
	}
	told := secrets.Redact(o)
	spell(told.Object, o.Object)
	if o.GetKind() == "Secret" && o.GroupVersionKind().Group == "" {
		annotations := told.GetAnnotations()
		for _, name := range sensitive {
			if _, ok := annotations[name]; ok {
				annotations[name] = hidden
			}
		}
		told.SetAnnotations(annotations)
	}
	return told
}

// spell puts upstream's mask in the place of ours.
func spell(told, was any) any {
	switch v := told.(type) {
	case map[string]any:
		before, _ := was.(map[string]any)
		for k, child := range v {
			v[k] = spell(child, before[k])
		}
	case []any:
		before, _ := was.([]any)
		for i, child := range v {
			var item any
			if i < len(before) {
				item = before[i]
			}
			v[i] = spell(child, item)
		}
	case string:
		if v != secrets.Mask {
			return v
		}
		if text, ok := was.(string); ok && strings.HasPrefix(text, secrets.Mask+" ") || was == changed {
			return changed
		}
		return hidden
	}
	return told
}

// sameObject compares objects without what a server keeps for itself.
func sameObject(a, b *unstructured.Unstructured) bool { return secrets.Same(a, b) }
