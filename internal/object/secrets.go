package object

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Mask stands in the place of a secret value.
const Mask = "***"

// lastApplied holds a copy of the whole object as kubectl's client-side apply
// last sent it.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Redact copies an object with everything masked that a Secret in it holds:
// its data and stringData, and copies of them in the
// last-applied-configuration annotation. Secrets are found wherever they
// stand: as the object itself, in lists, and nested in other objects. The
// names of keys stay visible.
func Redact(o *unstructured.Unstructured) *unstructured.Unstructured {
	if o == nil {
		return nil
	}
	redacted, _ := redact(o.Object, func(any) any { return Mask }).(map[string]any)
	return &unstructured.Unstructured{Object: redacted}
}

// redact copies a value with secret values replaced by mask.
func redact(value any, mask func(any) any) any {
	switch v := value.(type) {
	case map[string]any:
		secret := v["kind"] == "Secret"
		out := make(map[string]any, len(v))
		for key, child := range v {
			switch {
			case secret && (key == "data" || key == "stringData"):
				out[key] = maskEach(child, mask)
			case key == lastApplied && (secretInside(child)):
				out[key] = mask(child)
			default:
				out[key] = redact(child, mask)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = redact(child, mask)
		}
		return out
	}
	return value
}

// maskEach masks the values of a Secret's data; what is not the map that it
// should be is masked whole.
func maskEach(data any, mask func(any) any) any {
	if data == nil {
		return nil
	}
	values, ok := data.(map[string]any)
	if !ok {
		return mask(data)
	}
	out := make(map[string]any, len(values))
	for key, value := range values {
		out[key] = mask(value)
	}
	return out
}

// secretInside reports whether the text of an annotation may describe a
// Secret. Text that is no JSON, or that only might, counts as one.
func secretInside(annotation any) bool {
	text, ok := annotation.(string)
	if !ok {
		return true
	}
	var decoded any
	if err := json.Unmarshal([]byte(text), &decoded); err != nil {
		return true
	}
	return holdsSecret(decoded)
}

func holdsSecret(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		if kind, ok := v["kind"].(string); ok && kind == "Secret" {
			return true
		}
		for _, child := range v {
			if holdsSecret(child) {
				return true
			}
		}
	case []any:
		for _, child := range v {
			if holdsSecret(child) {
				return true
			}
		}
	case string:
		// JSON or YAML inside of JSON.
		return strings.Contains(v, "Secret") && strings.Contains(v, "ata")
	}
	return false
}

// Conceal copies an object with every value masked but its identity and
// metadata, where only last-applied-configuration is masked: for objects that were decrypted, or made of what was, and are no
// Secrets.
func Conceal(o *unstructured.Unstructured) *unstructured.Unstructured {
	if o == nil {
		return nil
	}
	concealed := make(map[string]any, len(o.Object))
	for key, value := range o.Object {
		switch key {
		case "apiVersion", "kind":
			concealed[key] = value
		case "metadata":
			concealed[key] = withoutCopy(value)
		default:
			concealed[key] = conceal(value)
		}
	}
	return &unstructured.Unstructured{Object: concealed}
}

// withoutCopy is metadata in which the copy of the whole object is masked that
// kubectl's client-side apply keeps there.
func withoutCopy(metadata any) any {
	fields, _ := metadata.(map[string]any)
	annotations, _ := fields["annotations"].(map[string]any)
	if _, there := annotations[lastApplied]; !there {
		return metadata
	}
	fields, annotations = maps.Clone(fields), maps.Clone(annotations)
	annotations[lastApplied], fields["annotations"] = Mask, annotations
	return fields
}

// conceal copies a value with its scalars masked.
func conceal(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, child := range v {
			out[key] = conceal(child)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = conceal(child)
		}
		return out
	}
	return Mask
}

// IsSecret reports whether the object is a core/v1 Secret.
func IsSecret(o *unstructured.Unstructured) bool {
	return o.GetKind() == "Secret" && o.GetAPIVersion() == "v1"
}

// HoldsSecret reports whether the object is a Secret, or a list or other
// object that has one in it.
func HoldsSecret(o *unstructured.Unstructured) bool { return holdsSecretObject(o.Object) }

func holdsSecretObject(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		if v["kind"] == "Secret" {
			return true
		}
		for _, child := range v {
			if holdsSecretObject(child) {
				return true
			}
		}
	case []any:
		for _, child := range v {
			if holdsSecretObject(child) {
				return true
			}
		}
	}
	return false
}

// FoldStringData moves stringData of a Secret into data, encoded as base64, as
// the API server does when it stores one (k8s.io/kubernetes pkg/apis/core/v1,
// Secret conversion): a key in both takes the value of stringData. Other
// objects, and values that are not strings, which the API server refuses, are
// left as they are. o is changed in place.
func FoldStringData(o *unstructured.Unstructured) {
	if !IsSecret(o) {
		return
	}
	plainText, ok := o.Object["stringData"].(map[string]any)
	if !ok {
		if o.Object["stringData"] == nil {
			delete(o.Object, "stringData")
		}
		return
	}
	for _, value := range plainText {
		if _, ok := value.(string); !ok {
			return
		}
	}
	data, ok := o.Object["data"].(map[string]any)
	if !ok {
		if o.Object["data"] != nil {
			return
		}
		data = make(map[string]any, len(plainText))
	}
	for key, value := range plainText {
		text, _ := value.(string)
		data[key] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	if len(data) > 0 {
		o.Object["data"] = data
	}
	delete(o.Object, "stringData")
}
