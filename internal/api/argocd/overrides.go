package argocd

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// overridePrefix begins the keys of argocd-cm that change how a kind is compared
// and judged: resource.customizations.WHAT.GROUP_KIND.
const overridePrefix = "resource.customizations."

// resourceOverrides are the customizations of argocd-cm as the command line wants
// them for its own diffs (util/settings GetResourceOverrides). What cannot be read
// is left out; the installation's findings tell of it.
func (s *server) resourceOverrides(ctx context.Context) map[string]any {
	o, err := s.Objects.Get(ctx, KindConfigMap, s.Namespace, "argocd-cm")
	if err != nil {
		return nil
	}
	out := map[string]any{}
	data := object(o.Object, "data")
	whole := map[string]map[string]any{}
	if err := yaml.Unmarshal([]byte(text(data, "resource.customizations")), &whole); err == nil {
		for kind, value := range whole {
			one := entryOf(out, kind)
			for _, what := range []string{"ignoreDifferences", "ignoreResourceUpdates", "health.lua", "actions", "knownTypeFields", "health.lua.useOpenLibs"} {
				putOverride(one, strings.TrimSuffix(what, ".lua"), value[what])
			}
		}
	}
	for key, value := range data {
		rest, ok := strings.CutPrefix(key, overridePrefix)
		what, kind, both := strings.Cut(rest, ".")
		content, isText := value.(string)
		if !ok || !both || !isText {
			continue
		}
		kind = strings.Replace(kind, "_", "/", 1)
		if kind == "all" {
			kind = "*/*"
		}
		putOverride(entryOf(out, kind), what, content)
	}
	return out
}

func entryOf(out map[string]any, kind string) map[string]any {
	one, _ := out[kind].(map[string]any)
	if one == nil {
		one = map[string]any{}
		out[kind] = one
	}
	return one
}

// putOverride puts one customization into a ResourceOverride.
func putOverride(one map[string]any, what string, value any) {
	content, isText := value.(string)
	if value == nil {
		return
	}
	switch what {
	case "health":
		one["HealthLua"] = content
	case "actions":
		one["Actions"] = content
	case "useOpenLibs", "health.lua.useOpenLibs":
		one["UseOpenLibs"] = fmt.Sprint(value) == "true"
	case "ignoreDifferences", "ignoreResourceUpdates":
		var rules map[string]any
		if isText && yaml.Unmarshal([]byte(content), &rules) == nil {
			one[strings.ToUpper(what[:1])+what[1:]] = rules
		}
	case "knownTypeFields":
		var fields []any
		if isText && yaml.Unmarshal([]byte(content), &fields) == nil {
			one["KnownTypeFields"] = fields
		}
	}
}
