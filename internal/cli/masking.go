package cli

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/object"
)

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
