package api

import (
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/object"
)

// secretWords are parts of the names of settings that hold what nobody may see:
// whoever writes a client secret into a ConfigMap still does not want it on a
// page. bindpw is Dex's password of a directory.
var secretWords = []string{"secret", "password", "passwd", "token", "bindpw", "privatekey", "private_key", "apikey", "api_key", "credential"}

// sensitive reports whether a setting of a name is secret. What only names a
// Secret, or an address for tokens, is not.
func sensitive(name string) bool {
	lower := strings.ToLower(name)
	if strings.HasSuffix(lower, "url") || strings.HasPrefix(lower, "existing") || strings.HasSuffix(lower, "secretname") || strings.HasSuffix(lower, "secretref") {
		return false
	}
	for _, word := range secretWords {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

// shownSetting is a setting without what may be secret in it. A text that is
// YAML is masked field by field, however it is written; any other, line by line.
func shownSetting(name, value string) string {
	if sensitive(name) && !strings.HasPrefix(value, "$") && !plain(value) {
		return object.Mask
	}
	var tree any
	if strings.ContainsAny(value, ":") && yaml.Unmarshal([]byte(value), &tree) == nil {
		switch tree.(type) {
		case map[string]any, []any:
			if text, err := yaml.Marshal(shownTree(tree)); err == nil {
				return object.WithoutCredentials(string(text))
			}
		}
	}
	lines := strings.Split(value, "\n")
	for i, line := range lines {
		if key, text, found := strings.Cut(line, ":"); found && sensitive(key) && !reference(strings.TrimSpace(text)) {
			lines[i] = key + ": " + object.Mask
		}
	}
	return object.WithoutCredentials(strings.Join(lines, "\n"))
}

// reference reports whether a value only points at a Secret ($name:key).
func reference(value string) bool { return value == "" || strings.HasPrefix(value, "$") }

// plain reports whether a value is a switch or a duration rather than a secret.
// Bare digits may be a PIN.
func plain(value string) bool {
	switch value {
	case "", "true", "false":
		return true
	}
	return duration.MatchString(value)
}

var duration = regexp.MustCompile(`^([0-9]{1,3}h)?([0-9]{1,3}m)?([0-9]{1,3}s)?$`)

// shownTree masks the values of what may be secret.
func shownTree(value any) any { return masked(value, false) }

// masked is shownTree; hide: it stands below a name that is secret.
func masked(value any, hide bool) any {
	switch v := value.(type) {
	case map[string]any:
		for name, child := range v {
			v[name] = masked(child, hide || sensitive(name))
		}
	case []any:
		for i := range v {
			v[i] = masked(v[i], hide)
		}
	case string:
		if hide && !reference(v) {
			return object.Mask
		}
	case float64, int64:
		if hide {
			return object.Mask
		}
	}
	return value
}

// veiled copies a declared object with what its inline values say of passwords,
// tokens and the like masked: they belong into a Secret, and are not shown
// because somebody has put them elsewhere. Other objects come back as they are.
func veiled(o *unstructured.Unstructured) *unstructured.Unstructured {
	if o == nil {
		return nil
	}
	switch o.GetKind() {
	case "HelmRelease", "Kustomization", "Application", "ApplicationSet":
	default:
		return o
	}
	clean := o.DeepCopy()
	if annotations := clean.GetAnnotations(); annotations[lastApplied] != "" {
		annotations[lastApplied] = object.Mask // the same again
		clean.SetAnnotations(annotations)
	}
	spec, _ := clean.Object["spec"].(map[string]any)
	if values, ok := spec["values"]; ok {
		spec["values"] = shownTree(values)
	}
	if postBuild, ok := spec["postBuild"].(map[string]any); ok {
		postBuild["substitute"] = shownTree(postBuild["substitute"])
	}
	veilSources(clean.Object)
	return clean
}

// lastApplied holds a copy of the whole object as kubectl sent it.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// veilSources masks what Helm and plugins are given, wherever a source of an
// Application stands: in the spec, a template, an operation, the history.
func veilSources(value any) {
	switch v := value.(type) {
	case map[string]any:
		if helm, ok := v["helm"].(map[string]any); ok {
			if text, ok := helm["values"].(string); ok {
				helm["values"] = shownSetting("values", text)
			}
			if values, ok := helm["valuesObject"]; ok {
				helm["valuesObject"] = shownTree(values)
			}
			veilPairs(helm["parameters"])
		}
		if plugin, ok := v["plugin"].(map[string]any); ok {
			veilPairs(plugin["env"])
			veilPairs(plugin["parameters"])
		}
		for _, child := range v {
			veilSources(child)
		}
	case []any:
		for _, child := range v {
			veilSources(child)
		}
	}
}

// veilPairs masks the values of pairs whose name is secret.
func veilPairs(list any) {
	items, _ := list.([]any)
	for _, item := range items {
		pair, _ := item.(map[string]any)
		name, _ := pair["name"].(string)
		for _, field := range []string{"value", "string"} {
			if text, ok := pair[field].(string); ok && sensitive(name) && !reference(text) {
				pair[field] = object.Mask
			}
		}
	}
}
