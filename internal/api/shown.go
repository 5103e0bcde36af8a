package api

import (
	"strings"

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
	if strings.HasSuffix(lower, "url") || strings.HasSuffix(lower, "secretname") || strings.HasSuffix(lower, "secretref") {
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
func plain(value string) bool {
	switch value {
	case "", "true", "false":
		return true
	}
	return len(value) < 8 && strings.Trim(value, "0123456789hms") == ""
}

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
