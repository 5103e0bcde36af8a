package project

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"plumb.dev/plumb/internal/dialect/argo/config"
	nodes "plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const (
	dialectName = config.DialectName

	// Group of an AppProject.
	Group = "argoproj.io"
	// Kind of an AppProject.
	Kind = "AppProject"
	// Default is the project of Applications that name none.
	Default = "default"

	reasonInvalidSpec = "InvalidSpecError"
	reasonUnknown     = "UnknownError"
)

// Project is an AppProject that Applications can be judged by.
type Project struct {
	Name, Namespace string
	Description     string
	Labels          labels.Set
	// Implied: no such object exists, and it permits everything; only the
	// default project is.
	Implied bool

	SourceRepos      []string
	SourceNamespaces []string // besides Namespace; globs, or regular expressions between slashes
	Destinations     []model.Destination

	ClusterAllow   []model.KindRule // empty: no cluster-scoped kind
	ClusterDeny    []model.KindRule
	NamespaceAllow []model.KindRule // nil: every namespaced kind
	NamespaceDeny  []model.KindRule

	// OnlyScopedClusters: a destination must also be a cluster that is
	// registered for this project (permitOnlyProjectScopedClusters).
	OnlyScopedClusters bool
	Scoped             Scoped

	ServiceAccounts []ServiceAccount
	Orphans         *model.Orphans // nil: orphaned resources are not looked for
	Integrity       []Policy
	Roles           []Role

	windows []window
	id      object.ID
}

// Scoped are the repositories and clusters that are registered for one project
// (Secrets with a project).
type Scoped struct {
	Repositories []string // URLs
	Clusters     []Cluster
}

// Cluster is a registered cluster. Namespaces are those it is limited to;
// empty: all.
type Cluster struct {
	Server, Name string
	Namespaces   []string
}

// Place is where an Application goes: the cluster's address and name, both as
// far as they are known, and the namespace.
type Place struct{ Server, Name, Namespace string }

// ServiceAccount is who acts at a destination (destinationServiceAccounts).
type ServiceAccount struct {
	Server, Namespace string // globs
	Name              string // in the destination's namespace, or "namespace:name"
}

// Need is the need for a project; an empty name is the default project.
func Need(namespace, name string) model.Need {
	if name == "" {
		name = Default
	}
	return model.Need{Group: Group, Version: "v1alpha1", Kind: Kind, Namespace: namespace, Name: name}
}

// FromFact reads the project that a need of Need was answered with. A missing
// default project permits everything, as the one that upstream's server
// creates; any other missing project is a fault, and so is one that could not
// be read: unknown bounds are no bounds to go by. The error is a *model.Fault.
func FromFact(need model.Need, fact model.Fact) (*Project, []model.Finding, error) {
	switch fact.State {
	case model.Present:
		return Read(fact.Object)
	case model.Absent:
		project, fault := Absent(need.Namespace, need.Name)
		if fault != nil {
			return nil, nil, fault
		}
		return project, nil, nil
	}
	return nil, nil, &model.Fault{
		Reason:  reasonUnknown,
		Message: fmt.Sprintf("error getting app project %q: %s", need.Name, fact.Message),
		Advice:  "let Plumb read appprojects in namespace " + need.Namespace,
		Object:  object.ID{Group: Group, Kind: Kind, Namespace: need.Namespace, Name: need.Name},
		Retry:   true,
	}
}

// Absent is what a project means that does not exist: everything is permitted
// for the default project, and a fault for any other.
func Absent(namespace, name string) (*Project, *model.Fault) {
	id := object.ID{Group: Group, Kind: Kind, Namespace: namespace, Name: name}
	if name != Default {
		return nil, &model.Fault{
			Reason:  reasonInvalidSpec,
			Message: fmt.Sprintf("Application referencing project %s which does not exist", nodes.Clip(name, 253)),
			Advice:  fmt.Sprintf("create AppProject %s in namespace %s, or set spec.project to one that exists", nodes.Clip(name, 253), namespace),
			Object:  id,
			Origin:  model.Origin{Dialect: dialectName, Field: "spec.project"},
		}
	}
	return &Project{
		Name: name, Namespace: namespace, Implied: true, id: id,
		SourceRepos:  []string{"*"},
		Destinations: []model.Destination{{Server: "*", Namespace: "*"}},
		ClusterAllow: []model.KindRule{{Group: "*", Kind: "*"}},
	}, nil
}

// Read reads an AppProject. A field of the wrong type is a fault (the error is
// a *model.Fault): bounds that are not understood permit nothing. What
// upstream's API would refuse, and its controller does not mind, is a finding
// of severity Refused with the field's path.
func Read(o *unstructured.Unstructured) (*Project, []model.Finding, error) {
	r := readerOf(o)
	spec := node{r: r, path: "spec", value: o.Object["spec"]}
	p := &Project{Name: o.GetName(), Namespace: o.GetNamespace(), Labels: o.GetLabels(), id: r.id}
	spec.fields(specFields...)
	p.Description = spec.at("description").str()
	p.readSources(spec)
	p.readDestinations(spec.at("destinations"))
	p.readKinds(spec)
	p.OnlyScopedClusters = spec.at("permitOnlyProjectScopedClusters").bool()
	p.readServiceAccounts(spec.at("destinationServiceAccounts"))
	p.readOrphans(spec.at("orphanedResources"))
	p.readIntegrity(spec)
	p.readWindows(spec.at("syncWindows"))
	p.readRoles(spec.at("roles"), node{r: r, path: "status", value: o.Object["status"]})
	if r.fault != nil {
		return nil, r.findings, r.fault
	}
	return p, r.findings, nil
}

var specFields = []string{
	"sourceRepos", "destinations", "description", "roles", "clusterResourceWhitelist", "namespaceResourceBlacklist",
	"orphanedResources", "syncWindows", "namespaceResourceWhitelist", "signatureKeys", "clusterResourceBlacklist",
	"sourceNamespaces", "permitOnlyProjectScopedClusters", "destinationServiceAccounts", "sourceIntegrity",
}

func (p *Project) readSources(spec node) {
	seen := map[string]bool{}
	for _, item := range spec.at("sourceRepos").items() {
		repo := item.str()
		switch {
		case repo == "!*":
			item.r.refuse(item.path, "source repository has an invalid format, '!*'")
		case seen[repo]:
			item.r.refuse(item.path, "source repository '%s' already added", repo)
		}
		seen[repo] = true
		item.checkGlob(strings.TrimPrefix(repo, "!"))
		p.SourceRepos = append(p.SourceRepos, repo)
	}
	clear(seen)
	for _, item := range spec.at("sourceNamespaces").items() {
		namespace := item.str()
		if seen[namespace] {
			item.r.refuse(item.path, "source namespace '%s' already added", namespace)
		}
		seen[namespace] = true
		p.SourceNamespaces = append(p.SourceNamespaces, namespace)
	}
}

func (p *Project) readDestinations(list node) {
	seen := map[string]bool{}
	for _, item := range list.items() {
		item.fields("server", "name", "namespace")
		to := model.Destination{Server: item.at("server").str(), Name: item.at("name").str(), Namespace: item.at("namespace").str()}
		for _, part := range []struct{ field, pattern string }{{"name", to.Name}, {"server", to.Server}, {"namespace", to.Namespace}} {
			if part.pattern == "!*" {
				item.r.refuse(item.path+"."+part.field, "%s has an invalid format, '!*'", part.field)
			}
			item.at(part.field).checkGlob(strings.TrimPrefix(part.pattern, "!"))
		}
		key := to.Server + "/" + to.Namespace
		if to.Server == "" && to.Name != "" {
			key = to.Name + "/" + to.Namespace
		}
		if seen[key] {
			item.r.refuse(item.path, "destination '%s' already added", key)
		}
		seen[key] = true
		p.Destinations = append(p.Destinations, to)
	}
}

// checkGlob reports a pattern that matches nothing since it cannot be read.
func (n node) checkGlob(pattern string) {
	if !gate.ValidGlob(pattern) {
		n.r.find(model.Warning, "InvalidPattern", n.path, "the pattern is malformed or too long, and matches nothing")
	}
}

func (p *Project) readKinds(spec node) {
	kinds := func(field string, named bool) []model.KindRule {
		known := []string{"group", "kind"}
		if named {
			known = append(known, "name")
		}
		list := spec.at(field)
		if list.value == nil {
			return nil
		}
		rules := []model.KindRule{}
		for _, item := range list.items() {
			item.fields(known...)
			rule := model.KindRule{Group: item.at("group").str(), Kind: item.at("kind").str()}
			if named {
				rule.Name = item.at("name").str()
			}
			rules = append(rules, rule)
		}
		return rules
	}
	p.ClusterAllow = kinds("clusterResourceWhitelist", true)
	p.ClusterDeny = kinds("clusterResourceBlacklist", true)
	p.NamespaceAllow = kinds("namespaceResourceWhitelist", false)
	p.NamespaceDeny = kinds("namespaceResourceBlacklist", false)
}

func (p *Project) readServiceAccounts(list node) {
	seen := map[string]bool{}
	for _, item := range list.items() {
		item.fields("server", "namespace", "defaultServiceAccount")
		account := ServiceAccount{Server: item.at("server").str(), Namespace: item.at("namespace").str(), Name: item.at("defaultServiceAccount").str()}
		for _, part := range []struct{ field, pattern string }{{"server", account.Server}, {"namespace", account.Namespace}} {
			if !gate.ValidGlob(part.pattern) || strings.Contains(part.pattern, "!") {
				item.r.refuse(item.path+"."+part.field, "%s has an invalid format, '%s'", part.field, part.pattern)
			}
		}
		if !usableAccount(account.Name) {
			item.r.refuse(item.path+".defaultServiceAccount", "defaultServiceAccount has an invalid format, '%s'", account.Name)
		}
		key := account.Server + "/" + account.Namespace
		if seen[key] {
			item.r.refuse(item.path, "destinationServiceAccount '%s' already added", key)
		}
		seen[key] = true
		p.ServiceAccounts = append(p.ServiceAccounts, account)
	}
}

// usableAccount reports whether a service account can be one (util/settings
// impersonation.go): a name, or "namespace:name".
func usableAccount(name string) bool {
	return strings.TrimSpace(name) != "" && !strings.ContainsAny(name, "!*[]{}\\/ ") && strings.Count(name, ":") <= 1 &&
		!strings.HasPrefix(name, ":") && !strings.HasSuffix(name, ":")
}

func (p *Project) readOrphans(n node) {
	if !n.fields("warn", "ignore") {
		return
	}
	p.Orphans = &model.Orphans{Warn: n.at("warn").bool()}
	for _, item := range n.at("ignore").items() {
		item.fields("group", "kind", "name")
		p.Orphans.Ignore = append(p.Orphans.Ignore, model.KindRule{Group: item.at("group").str(), Kind: item.at("kind").str(), Name: item.at("name").str()})
	}
}

// With is the project with what is registered for it, and with the rules of
// global projects (util/argo, GetAppProjectByName and mergeVirtualProject). The
// receiver stays as it is.
func (p *Project) With(scoped Scoped, globals ...*Project) *Project {
	out := *p
	out.Scoped = scoped
	out.SourceRepos = slices.Concat(p.SourceRepos, scoped.Repositories)
	out.Destinations = slices.Clone(p.Destinations)
	for _, cluster := range scoped.Clusters {
		namespaces := cluster.Namespaces
		if len(namespaces) == 0 {
			namespaces = []string{"*"}
		}
		for _, namespace := range namespaces {
			out.Destinations = append(out.Destinations, model.Destination{Server: cluster.Server, Namespace: namespace})
		}
	}
	for _, global := range globals {
		out.SourceRepos = slices.Concat(out.SourceRepos, global.SourceRepos)
		out.Destinations = slices.Concat(out.Destinations, global.Destinations)
		out.ClusterAllow = slices.Concat(out.ClusterAllow, global.ClusterAllow)
		out.ClusterDeny = slices.Concat(out.ClusterDeny, global.ClusterDeny)
		if out.NamespaceAllow != nil || len(global.NamespaceAllow) > 0 {
			out.NamespaceAllow = append(append([]model.KindRule{}, out.NamespaceAllow...), global.NamespaceAllow...)
		}
		out.NamespaceDeny = slices.Concat(out.NamespaceDeny, global.NamespaceDeny)
		out.ServiceAccounts = slices.Concat(out.ServiceAccounts, global.ServiceAccounts)
		out.windows = slices.Concat(out.windows, global.windows)
	}
	return &out
}

// Globals names the global projects whose rules this one has too, in the order
// of the settings (argocd-cm, globalProjects).
func (p *Project) Globals(all []config.GlobalProject) []string {
	var names []string
	for _, global := range all {
		if global.Name != p.Name && global.Selector != nil && global.Selector.Matches(p.Labels) {
			names = append(names, global.Name)
		}
	}
	return names
}

// Permit is what a delivery to a cluster may write.
func (p *Project) Permit(server, name string) model.Permit {
	return model.Permit{
		By:             fmt.Sprintf("project '%s'", p.Name),
		ClusterAllow:   p.ClusterAllow,
		ClusterDeny:    p.ClusterDeny,
		NamespaceAllow: p.NamespaceAllow,
		NamespaceDeny:  p.NamespaceDeny,
		Destinations:   p.Destinations,
		Server:         server,
		Name:           name,
	}
}

// Identity is who acts at a place for an Application of a namespace: the zero
// value where the project names nobody, which is a fault when the installation
// enforces impersonation (util/settings, DeriveServiceAccountToImpersonate).
func (p *Project) Identity(to Place, appNamespace string, enforced bool) (model.Identity, *model.Fault) {
	for i, account := range p.ServiceAccounts {
		field := fmt.Sprintf("spec.destinationServiceAccounts[%d]", i)
		if !gate.ValidGlob(account.Server) {
			return model.Identity{}, p.refusal(field+".server", "invalid glob pattern for destination server: '%s'", account.Server)
		}
		if !gate.ValidGlob(account.Namespace) {
			return model.Identity{}, p.refusal(field+".namespace", "invalid glob pattern for destination namespace: '%s'", account.Namespace)
		}
		if !gate.Glob(account.Server, to.Server) || !gate.Glob(account.Namespace, to.Namespace) {
			continue
		}
		if !usableAccount(account.Name) {
			return model.Identity{}, p.refusal(field+".defaultServiceAccount", "default service account contains invalid chars '%s'", account.Name)
		}
		if own, name, qualified := strings.Cut(account.Name, ":"); qualified {
			return model.Identity{Namespace: own, ServiceAccount: name}, nil
		}
		home := to.Namespace
		if home == "" {
			home = appNamespace
		}
		return model.Identity{Namespace: home, ServiceAccount: account.Name}, nil
	}
	if enforced {
		return model.Identity{}, p.refusal("spec.destinationServiceAccounts", "no matching service account found for destination server %s and namespace %s", to.Server, to.Namespace)
	}
	return model.Identity{}, nil
}

// refusal is a violation of the project, or a rule of it that cannot be used.
func (p *Project) refusal(field, format string, args ...any) *model.Fault {
	return &model.Fault{
		Reason:  reasonInvalidSpec,
		Message: nodes.Clip(fmt.Sprintf(format, args...), maxText),
		Advice:  fmt.Sprintf("see %s of AppProject %s/%s", field, p.Namespace, p.Name),
		Origin:  model.Origin{Dialect: dialectName, Declared: p.id, Field: field},
		Object:  p.id,
	}
}
