package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// secretValues are values that must not be printed wherever they turn up.
type secretValues []model.Secret

// masked copies an object with everything secret masked: what a Secret in it
// holds, and what secret variables have gone into.
func (s secretValues) masked(o, like *unstructured.Unstructured) *unstructured.Unstructured {
	if o == nil {
		return nil
	}
	return object.Redact(s.veiled(o, like))
}

// veiled copies an object with the values masked that secret variables have
// gone into. like is the desired object: values at the places where it holds a
// secret are masked too, since an older secret may stand there.
func (s secretValues) veiled(o, like *unstructured.Unstructured) *unstructured.Unstructured {
	if o == nil || like == nil || len(s) == 0 {
		return o
	}
	clean := o.DeepCopy()
	s.mask(clean.Object, like.Object)
	return clean
}

// mask replaces scalars in place, at the places where like has one with a
// secret in it. Lists may have another order on the cluster: whatever stands
// below a list at a place that holds a secret in one item is masked in all.
func (s secretValues) mask(value, like any) any {
	switch like := like.(type) {
	case map[string]any:
		fields, ok := value.(map[string]any)
		if !ok {
			return s.whole(value, like)
		}
		for name, live := range fields {
			if wanted, present := like[name]; present {
				fields[name] = s.mask(live, wanted)
			} else {
				fields[name] = s.whole(live, nil)
			}
		}
		return fields
	case []any:
		items, ok := value.([]any)
		if !ok {
			return s.whole(value, like)
		}
		for i := range items {
			for _, wanted := range like {
				items[i] = s.mask(items[i], wanted)
			}
		}
		return items
	}
	return s.whole(value, like)
}

// whole masks a value when like, or the value itself, holds a secret.
func (s secretValues) whole(value, like any) any {
	if s.within(like) || s.within(value) {
		return object.Mask
	}
	return value
}

// within reports whether a secret stands anywhere in a value.
func (s secretValues) within(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for name, item := range value {
			if s.within(name) || s.within(item) {
				return true
			}
		}
		return false
	case []any:
		for _, item := range value {
			if s.within(item) {
				return true
			}
		}
		return false
	case nil:
		return false
	}
	text := fmt.Sprint(value)
	for _, secret := range s {
		plain := string(secret.Reveal())
		if plain != "" && (strings.Contains(text, plain) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(plain)))) {
			return true
		}
	}
	return false
}

// dataOf reads one key of a Secret or a ConfigMap. Errors show no value.
func dataOf(o *unstructured.Unstructured, key string) (value []byte, found bool, err error) {
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return nil, false, fmt.Errorf("%s has no map of text under data", object.Of(o))
	}
	stored, found := data[key]
	if !found || !object.IsSecret(o) {
		return []byte(stored), found, nil
	}
	quoted, err := json.Marshal(stored)
	if err == nil {
		err = json.Unmarshal(quoted, &value)
	}
	if err != nil {
		return nil, true, fmt.Errorf("%s: data.%s is not base64", object.Of(o), key)
	}
	return value, true, nil
}
