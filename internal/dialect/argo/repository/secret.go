package repository

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Data decodes data and stringData of a Secret. Errors never repeat a value.
func Data(secret *unstructured.Unstructured) (map[string][]byte, error) {
	out := map[string][]byte{}
	if secret == nil {
		return out, nil
	}
	for _, field := range []string{"data", "stringData"} {
		values, ok := secret.Object[field].(map[string]any)
		if !ok && secret.Object[field] != nil {
			return nil, fmt.Errorf("its %s is not a map", field)
		}
		for key, value := range values {
			text, ok := value.(string)
			if !ok {
				return nil, fmt.Errorf("the value of '%s' is not a string", clip(key))
			}
			if field == "stringData" {
				out[key] = []byte(text)
				continue
			}
			decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
			if err != nil {
				return nil, fmt.Errorf("the value of '%s' is not base64", clip(key))
			}
			out[key] = decoded
		}
	}
	return out, nil
}

// entry is one Secret of type repository or repo-creds.
type entry struct {
	id      object.ID
	version string // uid and resourceVersion: names the content without telling of it
	data    map[string][]byte
	bad     error // it cannot be decoded
}

func entries(fact model.Fact) []entry {
	var out []entry
	for _, secret := range fact.Objects {
		if secret == nil {
			continue
		}
		e := entry{id: object.Of(secret), version: string(secret.GetUID()) + "@" + secret.GetResourceVersion()}
		e.data, e.bad = Data(secret)
		out = append(out, e)
	}
	return out
}

func (e entry) text(key string) string { return string(e.data[key]) }

func (e entry) has(key string) bool { return len(e.data[key]) > 0 }

// fault is what is wrong with the Secret; the message repeats no value.
func (e entry) fault(advice, format string, args ...any) *model.Fault {
	return &model.Fault{
		Reason:  ReasonComparison,
		Message: fmt.Sprintf("repository Secret %s/%s: %s", e.id.Namespace, e.id.Name, fmt.Sprintf(format, args...)),
		Advice:  advice,
		Object:  e.id,
		Retry:   true,
	}
}

func (e entry) flag(key string) (bool, *model.Fault) {
	text := e.text(key)
	if text == "" {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, e.fault("write true or false", "the value of '%s' is not true or false", key)
	}
	return value, nil
}

func (e entry) number(key string) (int64, *model.Fault) {
	text := e.text(key)
	if text == "" {
		return 0, nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, e.fault("write a number", "the value of '%s' is not a number", key)
	}
	return value, nil
}

func clip(text string) string {
	const limit = 300
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
