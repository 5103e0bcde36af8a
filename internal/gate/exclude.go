package gate

import (
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Excluded reports whether a kind is left out altogether (argocd-cm,
// resource.exclusions and resource.inclusions; argo-cd
// util/settings/resources_filter.go). An exclusion goes before an inclusion.
func Excluded(f *model.KindFilter, id object.ID) bool {
	named := func(rules []model.KindRule) bool {
		for _, rule := range rules {
			if globOrAll(rule.Group, id.Group) && globOrAll(rule.Kind, id.Kind) {
				return true
			}
		}
		return false
	}
	return named(f.Exclude) || f.Restricted && !named(f.Include)
}

func globOrAll(pattern, text string) bool { return pattern == text || Glob(pattern, text) }
