package repository

import (
	"fmt"
	"strconv"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

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
		e.data, e.bad = reader.SecretData(secret)
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
