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

// shownSetting is a setting without what may be secret in it.
func shownSetting(name, value string) string {
	if sensitive(name) && !reference.MatchString(value) && !plain(value) {
		return object.Mask
	}
	return shownText(value, reference)
}

// shownText is a text without what may be secret in it: one that is YAML is masked
// field by field, however it is written; any other, line by line. What matches
// points says where a value comes from, and is shown.
func shownText(text string, points *regexp.Regexp) string {
	var tree any
	if strings.ContainsAny(text, ":") && yaml.Unmarshal([]byte(text), &tree) == nil {
		switch tree.(type) {
		case map[string]any, []any:
			if clean, err := yaml.Marshal(masked(tree, points, false)); err == nil {
				return object.WithoutCredentials(string(clean))
			}
		}
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if key, value, found := strings.Cut(line, ":"); found && sensitive(key) && !points.MatchString(strings.TrimSpace(value)) {
			lines[i] = key + ": " + object.Mask
		}
	}
	return object.WithoutCredentials(strings.Join(lines, "\n"))
}

var (
	// reference is a setting that only points at a Secret: $key or $name:key, which
	// no setting of Argo CD can mean literally.
	reference = regexp.MustCompile(`^(\$[\w.-]+(:[\w.-]+)?)?$`)
	// variable is a value that something else is put in the place of. In the values
	// of a chart a dollar is a character like any other: a password may begin with it.
	variable = regexp.MustCompile(`^(\$\{\w+\}|\$ARGOCD_\w+)?$`)
)

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

// shownTree masks the inline values of what may be secret.
func shownTree(value any) any { return masked(value, variable, false) }

// masked masks the values of what may be secret, but for those that match points;
// hide: value stands below a name that is secret.
func masked(value any, points *regexp.Regexp, hide bool) any {
	switch v := value.(type) {
	case map[string]any:
		for name, child := range v {
			v[name] = masked(child, points, hide || sensitive(name))
		}
	case []any:
		for i := range v {
			v[i] = masked(v[i], points, hide)
		}
	case string:
		if hide && !points.MatchString(v) {
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
	veilGenerators(spec["generators"])
	veilSources(clean.Object)
	return clean
}

// veilGenerators masks what the generators of an ApplicationSet are given inline,
// however deep they stand in one another.
func veilGenerators(value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, child := range v {
			switch name {
			case "elements", "values", "input":
				v[name] = shownTree(child)
			case "elementsYaml":
				if text, ok := child.(string); ok {
					v[name] = shownText(text, variable)
				}
			default:
				veilGenerators(child)
			}
		}
	case []any:
		for _, child := range v {
			veilGenerators(child)
		}
	}
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
				helm["values"] = shownText(text, variable)
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
			if text, ok := pair[field].(string); ok && sensitive(name) && !variable.MatchString(text) {
				pair[field] = object.Mask
			}
		}
	}
}
