package project

import (
	"fmt"
	"strings"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
)

// CheckSource judges whether an Application may read a repository; nil permits
// (AppProject.IsSourcePermitted). A negation refuses whatever else matches.
func (p *Project) CheckSource(repoURL string) *model.Fault {
	asked := repository.Spelled(repoURL)
	refused := func(field, why string) *model.Fault {
		return p.refusal(field, "application repo %s is not permitted in project '%s': %s", repository.Printable(repoURL), p.Name, why)
	}
	permitted := false
	for i, rule := range p.SourceRepos {
		pattern := repository.Spelled(strings.TrimPrefix(rule, "!"))
		matched := pattern == "*" || gate.Glob(pattern, asked, '/')
		switch {
		case denies(rule) && matched:
			return refused(fmt.Sprintf("spec.sourceRepos[%d]", i), fmt.Sprintf("'%s' denies it", rule))
		case denies(rule) || matched:
			permitted = true // upstream: a negation permits all that it does not deny
		}
	}
	if !permitted {
		return refused("spec.sourceRepos", "none of its "+count(len(p.SourceRepos), "source repository", "source repositories")+" matches")
	}
	return nil
}

// CheckDestination judges whether an Application may go to a place; nil
// permits (AppProject.IsDestinationPermitted).
func (p *Project) CheckDestination(to Place) *model.Fault {
	shown := to.Name
	if shown == "" {
		shown = to.Server
	}
	refused := func(field, why string) *model.Fault {
		return p.refusal(field, "application destination server '%s' and namespace '%s' do not match any of the allowed destinations in project '%s': %s",
			shown, to.Namespace, p.Name, why)
	}
	permitted := false
	for i, rule := range p.Destinations {
		switch judge(rule, to) {
		case allowed:
			permitted = true
		case denied:
			return refused(fmt.Sprintf("spec.destinations[%d]", i), fmt.Sprintf("%s denies it", describe(rule)))
		}
	}
	if !permitted {
		return refused("spec.destinations", "none of its "+count(len(p.Destinations), "destination", "destinations")+" matches")
	}
	if p.OnlyScopedClusters && !p.scopes(to) {
		return refused("spec.permitOnlyProjectScopedClusters", "only clusters that are registered for the project are permitted")
	}
	return nil
}

// denies reports whether a pattern is a negation.
func denies(pattern string) bool { return strings.HasPrefix(pattern, "!") }

// verdict is what one destination says of a place.
type verdict int

const (
	silent verdict = iota
	allowed
	denied
)

// judge is one step of upstream's isDestinationMatched, in whose order of
// precedence a negated name denies whatever the namespace, and a negated server
// only in its namespaces.
func judge(rule model.Destination, to Place) verdict {
	name := to.Name != "" && gate.Negatable(rule.Name, to.Name)
	server := to.Server != "" && gate.Negatable(rule.Server, to.Server)
	namespace := gate.Negatable(rule.Namespace, to.Namespace)
	switch {
	case (server || name) && namespace:
		return allowed
	case !name && denies(rule.Name), !server && denies(rule.Server) && namespace:
		return denied
	case !namespace && denies(rule.Namespace) && server:
		return denied
	}
	return silent
}

func describe(rule model.Destination) string {
	var parts []string
	for _, part := range []struct{ field, pattern string }{{"server", rule.Server}, {"name", rule.Name}, {"namespace", rule.Namespace}} {
		if part.pattern != "" {
			parts = append(parts, part.field+" '"+part.pattern+"'")
		}
	}
	return strings.Join(parts, ", ")
}

// scopes reports whether the cluster is registered for the project.
func (p *Project) scopes(to Place) bool {
	for _, cluster := range p.Scoped.Clusters {
		if to.Name != "" && cluster.Name == to.Name || to.Server != "" && cluster.Server == to.Server {
			return true
		}
	}
	return false
}

// CheckNamespace judges whether an Application that lives in a namespace may
// use the project; nil permits (AppProject.IsAppNamespacePermitted). The
// namespace of the installation always may.
func (p *Project) CheckNamespace(appName, appNamespace string) *model.Fault {
	if appNamespace == "" || appNamespace == p.Namespace || config.Listed(p.SourceNamespaces, appNamespace) {
		return nil
	}
	return p.refusal("spec.sourceNamespaces", "application '%s' in namespace '%s' is not allowed to use project %s", appName, appNamespace, p.Name)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
