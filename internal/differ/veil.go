package differ

import (
	"encoding/base64"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Veil holds values that must not be shown wherever they turn up: what secret
// variables and values have gone into.
type Veil []model.Secret

// Mask copies an object with everything secret masked: what a Secret in it
// holds, and what secret variables have gone into.
func (v Veil) Mask(o, like *unstructured.Unstructured) *unstructured.Unstructured {
	if o == nil {
		return nil
	}
	return object.Redact(v.Over(o, like))
}

// Over copies an object with the values masked that secret variables have
// gone into. like is the desired object: values at the places where it holds a
// secret are masked too, since an older secret may stand there.
func (v Veil) Over(o, like *unstructured.Unstructured) *unstructured.Unstructured {
	if o == nil || like == nil || len(v) == 0 {
		return o
	}
	clean := o.DeepCopy()
	v.mask(clean.Object, like.Object)
	return clean
}

// mask replaces scalars in place, at the places where like has one with a
// secret in it. Lists may have another order on the cluster: whatever stands
// below a list at a place that holds a secret in one item is masked in all.
func (v Veil) mask(value, like any) any {
	switch like := like.(type) {
	case map[string]any:
		fields, ok := value.(map[string]any)
		if !ok {
			return v.whole(value, like)
		}
		for name, live := range fields {
			if wanted, present := like[name]; present {
				fields[name] = v.mask(live, wanted)
			} else {
				fields[name] = v.whole(live, nil)
			}
		}
		return fields
	case []any:
		items, ok := value.([]any)
		if !ok {
			return v.whole(value, like)
		}
		for i := range items {
			for _, wanted := range like {
				items[i] = v.mask(items[i], wanted)
			}
		}
		return items
	}
	return v.whole(value, like)
}

// whole masks a value when like, or the value itself, holds a secret.
func (v Veil) whole(value, like any) any {
	if v.within(like) || v.within(value) {
		return object.Mask
	}
	return value
}

// within reports whether a secret stands anywhere in a value.
func (v Veil) within(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for name, item := range value {
			if v.within(name) || v.within(item) {
				return true
			}
		}
		return false
	case []any:
		for _, item := range value {
			if v.within(item) {
				return true
			}
		}
		return false
	case nil:
		return false
	}
	text := fmt.Sprint(value)
	for _, secret := range v {
		plain := string(secret.Reveal())
		encoded := base64.StdEncoding.EncodeToString([]byte(plain))
		switch {
		case plain == "":
		case len(plain) < withinTexts:
			if text == plain || text == encoded {
				return true
			}
		case strings.Contains(text, plain), strings.Contains(text, encoded):
			return true
		}
	}
	return false
}

// withinTexts is how long a secret has to be to be looked for within longer texts,
// in bytes. A shorter one, such as a PIN, is part of much that is none, and found
// only where it is the whole value.
const withinTexts = 5
