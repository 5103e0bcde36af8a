package gate

import (
	"fmt"
	"path"
	"strings"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Permits reports why a delivery may not write an object: its kind, its name or
// its namespace is outside the bounds. Nil means that it may (argo-cd
// AppProject IsGroupKindNamePermitted and IsDestinationPermitted, as
// controller/sync.go asks them for every task of a sync, pruned objects and
// created Namespaces included). A permit that nobody set permits everything.
// The fault is in upstream's words, followed by the rule that refused.
func Permits(p *model.Permit, id object.ID, namespaced bool) *model.Fault {
	if p == nil || p.By == "" {
		return nil
	}
	if rule := refusedKind(p, id, namespaced); rule != "" {
		return &model.Fault{
			Reason:  string(model.ResultFailed),
			Message: fmt.Sprintf("resource %s:%s is not permitted in %s: %s", id.Group, id.Kind, strings.ReplaceAll(p.By, "'", ""), rule),
			Advice:  "change the lists of the project, or remove the object from the application",
			Object:  id,
		}
	}
	if !namespaced {
		return nil
	}
	if rule := refusedDestination(p.Destinations, p.Server, p.Name, id.Namespace); rule != "" {
		return &model.Fault{
			Reason:  string(model.ResultFailed),
			Message: fmt.Sprintf("namespace %s is not permitted in %s: %s", id.Namespace, p.By, rule),
			Advice:  "add the namespace to the destinations of the project, or move the object",
			Object:  id,
		}
	}
	return nil
}

// Destination reports whether a list of destinations permits a namespace of a
// cluster, which is known by its server, its name or both (argo-cd AppProject
// isDestinationMatched). An entry that begins with "!" denies what it matches,
// and wins over every other.
func Destination(destinations []model.Destination, server, name, namespace string) bool {
	return refusedDestination(destinations, server, name, namespace) == ""
}

// Negatable matches a pattern that may begin with "!", which turns the verdict
// around (argo-cd globMatch with allowNegation).
func Negatable(pattern, text string, separators ...rune) bool {
	if rest, denied := strings.CutPrefix(pattern, "!"); denied {
		return !Glob(rest, text, separators...)
	}
	return pattern == "*" || Glob(pattern, text, separators...)
}

// refusedKind names the rule that keeps a kind out, or is "".
func refusedKind(p *model.Permit, id object.ID, namespaced bool) string {
	if !namespaced {
		if len(p.ClusterAllow) == 0 {
			return "clusterResourceWhitelist is empty, so that no cluster-scoped kind is permitted"
		}
		if matchingKind(p.ClusterAllow, id, true) < 0 {
			return "it is not in clusterResourceWhitelist"
		}
		return deniedBy("clusterResourceBlacklist", p.ClusterDeny, matchingKind(p.ClusterDeny, id, true))
	}
	if p.NamespaceAllow != nil && matchingKind(p.NamespaceAllow, id, false) < 0 {
		return "it is not in namespaceResourceWhitelist"
	}
	return deniedBy("namespaceResourceBlacklist", p.NamespaceDeny, matchingKind(p.NamespaceDeny, id, false))
}

func deniedBy(list string, rules []model.KindRule, i int) string {
	if i < 0 {
		return ""
	}
	rule := rules[i].Group + ":" + rules[i].Kind
	if rules[i].Name != "" {
		rule += " " + rules[i].Name
	}
	return fmt.Sprintf("denied by %s[%d] (%s)", list, i, rule)
}

// matchingKind is the index of the first rule that matches, or -1. Names count
// in the lists of cluster-scoped kinds only. Patterns are those of shells, with
// one star, as upstream matches these lists by filepath.Match.
func matchingKind(rules []model.KindRule, id object.ID, named bool) int {
	for i, rule := range rules {
		if shell(rule.Kind, id.Kind) && shell(rule.Group, id.Group) && (!named || rule.Name == "" || shell(rule.Name, id.Name)) {
			return i
		}
	}
	return -1
}

func shell(pattern, text string) bool {
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}

// refusedDestination names the rule that keeps a namespace out, or is "".
func refusedDestination(destinations []model.Destination, server, name, namespace string) string {
	matched := false
	for i, d := range destinations {
		byName := name != "" && Negatable(d.Name, name)
		byServer := server != "" && Negatable(d.Server, server)
		byNamespace := Negatable(d.Namespace, namespace)
		switch {
		case (byServer || byName) && byNamespace:
			matched = true
		case !byName && denies(d.Name), !byServer && denies(d.Server) && byNamespace:
			return fmt.Sprintf("denied by destinations[%d], which excludes the cluster", i)
		case !byNamespace && denies(d.Namespace) && byServer:
			return fmt.Sprintf("denied by destinations[%d] (%s)", i, d.Namespace)
		}
	}
	if !matched {
		return "no entry of destinations permits it"
	}
	return ""
}

func denies(pattern string) bool { return strings.HasPrefix(pattern, "!") }
