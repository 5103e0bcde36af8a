package differ

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// knownField is a field of a kind whose type is known.
type knownField struct {
	path []string
	typ  reflect.Type
}

// knownTypes are the type names of resource.customizations.knownTypeFields and
// what they stand for: every type of core/v1, a quantity and a duration (argo-cd
// docs/user-guide/diffing.md, diffing_known_types.txt). The types of core/v1
// are found by walking the kinds of its scheme; a few that no kind holds are
// named.
var knownTypes = sync.OnceValue(func() map[string]reflect.Type {
	core := types{found: map[string]reflect.Type{
		"core/Quantity":    reflect.TypeFor[resource.Quantity](),
		"meta/v1/Duration": reflect.TypeFor[metav1.Duration](),
	}}
	for _, t := range builtin().KnownTypes(corev1.SchemeGroupVersion) {
		core.walk(t)
	}
	for _, t := range []reflect.Type{
		reflect.TypeFor[corev1.AvoidPods](),
		reflect.TypeFor[corev1.SerializedReference](),
		reflect.TypeFor[corev1.List](),
		reflect.TypeFor[corev1.Preconditions](),
		reflect.TypeFor[corev1.NodeProxyOptions](),
	} {
		core.walk(t)
	}
	return core.found
})

// types collects the types of core/v1 by name.
type types struct{ found map[string]reflect.Type }

func (c *types) walk(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		if t.Name() == "" {
			c.walk(t.Elem())
			return
		}
	case reflect.Map:
		c.walk(t.Elem())
	}
	if t.PkgPath() != reflect.TypeFor[corev1.Pod]().PkgPath() || t.Name() == "" || t.Kind() != reflect.Struct && t.Kind() != reflect.Map {
		return
	}
	name := "core/v1/" + t.Name()
	if c.found[name] != nil {
		return
	}
	c.found[name] = t
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			c.walk(t.Field(i).Type)
		}
	}
}

// knownFields resolves type names. An argoproj.io Rollout, whose Pod template
// is a built-in type, is known unless something else is said about it.
func knownFields(from map[string]map[string]string) map[string][]knownField {
	out := map[string][]knownField{}
	for kind, fields := range from {
		for path, name := range fields {
			if t := knownTypes()[name]; t != nil {
				out[kind] = append(out[kind], knownField{strings.Split(path, "."), t})
			}
		}
		slices.SortFunc(out[kind], func(a, b knownField) int { return slices.Compare(a.path, b.path) })
	}
	const rollout = "argoproj.io/Rollout"
	if _, ok := out[rollout]; !ok {
		out[rollout] = []knownField{{[]string{"spec", "template", "spec"}, reflect.TypeFor[corev1.PodSpec]()}}
	}
	return out
}

// kindOf is the name of a kind in a table of known fields: "group/Kind", or the
// kind alone in the core group.
func kindOf(gvk schema.GroupVersionKind) string {
	if gvk.Group == "" {
		return gvk.Kind
	}
	return gvk.Group + "/" + gvk.Kind
}

// rewrite gives the value of a known field the form in which its type is
// written. Lists on the way are walked. What does not fit the type stays as it
// is.
func (f *knownField) rewrite(value any, path []string) any {
	if items, ok := value.([]any); ok && (len(path) > 0 || f.typ.Kind() != reflect.Slice) {
		for i, item := range items {
			items[i] = f.rewrite(item, path)
		}
		return items
	}
	if len(path) == 0 {
		if value == nil {
			return nil
		}
		return retyped(value, f.typ)
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return value
	}
	if child, ok := fields[path[0]]; ok {
		fields[path[0]] = f.rewrite(child, path[1:])
	}
	return fields
}

// retyped decodes a value into a type and writes it again.
func retyped(value any, t reflect.Type) any {
	encoded, err := json.Marshal(value)
	if err != nil {
		return value
	}
	typed := reflect.New(t)
	if json.Unmarshal(encoded, typed.Interface()) != nil {
		return value
	}
	return decoded(typed.Interface(), value)
}

// decoded writes a typed value as decoded JSON, or returns the original.
func decoded(typed, original any) any {
	encoded, err := json.Marshal(typed)
	if err != nil {
		return original
	}
	var out any
	if utiljson.Unmarshal(encoded, &out) != nil { // whole numbers become int64, as in every decoded object
		return original
	}
	return out
}

// builtin is the scheme of the kinds whose types are known whole.
var builtin = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, autoscalingv1.AddToScheme, autoscalingv2.AddToScheme,
		networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme, schedulingv1.AddToScheme, storagev1.AddToScheme,
		admissionregistrationv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			panic(err) // a scheme refuses only two types of one name
		}
	}
	return s
})

// retypedObject writes a built-in object as its type is written, without what
// the type adds. One with fields that its type does not know stays as it is.
func retypedObject(o map[string]any, gvk schema.GroupVersionKind) map[string]any {
	typed, err := builtin().New(gvk)
	if err != nil {
		return o
	}
	encoded, err := json.Marshal(o)
	if err != nil {
		return o
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	if decoder.Decode(typed) != nil {
		return o
	}
	out, ok := keepShape(o, decoded(typed, o)).(map[string]any)
	if !ok {
		return o
	}
	return out
}

// keepShape leaves of a value what the original names.
func keepShape(original, value any) any {
	switch v := value.(type) {
	case map[string]any:
		fields, ok := original.(map[string]any)
		if !ok {
			return value
		}
		for key, child := range v {
			if old, ok := fields[key]; ok {
				v[key] = keepShape(old, child)
			} else {
				delete(v, key)
			}
		}
	case []any:
		items, ok := original.([]any)
		if !ok || len(items) != len(v) {
			return value
		}
		for i := range v {
			v[i] = keepShape(items[i], v[i])
		}
	}
	return value
}
