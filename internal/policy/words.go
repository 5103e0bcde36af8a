package policy

import (
	"slices"
	"strings"
)

// The resources of Argo CD (util/rbac), and those of Plumb. The object of a
// request is what the comment says; "*" in a rule crosses every slash.
const (
	Applications      = "applications"       // PROJECT/NAME, or PROJECT/NAMESPACE/NAME outside of the control namespace
	ApplicationSets   = "applicationsets"    // as Applications
	Logs              = "logs"               // of an Application's Pods: as Applications
	Exec              = "exec"               // into an Application's Pods: as Applications
	Clusters          = "clusters"           // SERVER, or PROJECT/SERVER
	Repositories      = "repositories"       // URL, or PROJECT/URL
	WriteRepositories = "write-repositories" // as Repositories
	Projects          = "projects"           // NAME
	Accounts          = "accounts"           // NAME
	Certificates      = "certificates"       // server name
	GPGKeys           = "gpgkeys"            // key id
	Extensions        = "extensions"         // NAME

	Kustomizations = "kustomizations" // NAMESPACE/NAME
	HelmReleases   = "helmreleases"   // NAMESPACE/NAME
	Sources        = "sources"        // NAMESPACE/NAME, of every kind of source
	Plumb          = "plumb"          // "settings" or "activity"
)

// The actions of Argo CD.
const (
	Get      = "get"
	Create   = "create"
	Update   = "update" // with Request.Child: of an object that the delivery owns
	Delete   = "delete" // with Request.Child: of an object that the delivery owns
	Sync     = "sync"
	Rollback = "rollback"
	Override = "override"
	Action   = "action" // with Request.Child: GROUP/KIND/NAME of the action
	Invoke   = "invoke"
)

// What people do and Argo CD has no action for; see needs for what a rule must
// allow. ReadLogs and Enter are for Flux's deliveries, whose namespace must not
// be taken for a project in rules about Logs and Exec.
const (
	Refresh   = "refresh"
	Terminate = "terminate"
	Suspend   = "suspend"
	Resume    = "resume"
	Approve   = "approve" // a deletion that was held, a plan that waits
	ReadLogs  = "logs"
	Enter     = "exec"
)

// The objects of the resource Plumb.
const (
	Settings = "settings"
	Activity = "activity"
)

// A need says which actions a rule may allow so that something may be done.
type need struct {
	actions []string // any of them is enough
	// every: a deny of any action refuses. Otherwise the first action that a
	// rule says something about decides.
	every bool
}

// needs are the words that are not asked for as they stand. Where Argo CD's
// API does the same thing under another action, that action is asked, so that a
// policy written for Argo CD allows and denies what it did.
var needs = map[string]need{
	Refresh:   {actions: []string{Get}},                          // app get --refresh
	Terminate: {actions: []string{Sync}},                         // app terminate-op
	Suspend:   {actions: []string{Suspend, Update}, every: true}, // there, a change of syncPolicy
	Resume:    {actions: []string{Suspend, Update}, every: true},
	Approve:   {actions: []string{Approve, Override}},
}

// projectScoped are the resources whose objects begin with a project, and that
// a project's roles may be about (util/rbac ProjectScoped).
var projectScoped = []string{Applications, ApplicationSets, Logs, Exec, Clusters, Repositories}

// vocabulary is which actions mean something for a resource
// (cmd/argocd/commands/admin settings_rbac, and the table of its documentation).
var vocabulary = map[string][]string{
	Applications:      {Get, Create, Update, Delete, Sync, Rollback, Override, Action, Suspend, Approve},
	ApplicationSets:   {Get, Create, Update, Delete},
	Logs:              {Get},
	Exec:              {Create},
	Clusters:          {Get, Create, Update, Delete},
	Repositories:      {Get, Create, Update, Delete},
	WriteRepositories: {Get, Create, Update, Delete},
	Projects:          {Get, Create, Update, Delete},
	Accounts:          {Get, Create, Update},
	Certificates:      {Get, Create, Update, Delete},
	GPGKeys:           {Get, Create, Delete},
	Extensions:        {Invoke},
	Kustomizations:    {Get, Create, Update, Delete, Sync, Rollback, Override, Action, Suspend, Approve, ReadLogs, Enter},
	HelmReleases:      {Get, Create, Update, Delete, Sync, Rollback, Override, Action, Suspend, Approve, ReadLogs, Enter},
	Sources:           {Get, Create, Update, Delete, Sync, Suspend},
	Plumb:             {Get, Update},
}

// Verb is the verb of Kubernetes' RBAC that, on the declared object, lets
// somebody do the same with kubectl: whoever has it may do it here too. It is
// false where no right on the declared object says so: for parts of a delivery,
// for logs, for exec, and for what no declared object stands for.
func Verb(r Request) (verb string, ok bool) {
	declared := []string{Applications, ApplicationSets, Projects, Kustomizations, HelmReleases, Sources}
	if r.Child != "" || strings.Contains(r.Action, "/") || !slices.Contains(declared, r.Resource) {
		return "", false
	}
	switch r.Action {
	case Get, Create, Delete:
		return r.Action, true
	case Update, Sync, Rollback, Override, Refresh, Terminate, Suspend, Resume, Approve:
		return "patch", true // of spec, operation or annotations
	}
	return "", false
}

// parents are the actions that can be asked about a part of a delivery, as
// ACTION/PATH.
var parents = []string{Update, Delete, Action}

// shorthands are names that `argocd admin settings rbac can` takes too.
var shorthands = map[string]string{
	"account": Accounts, "app": Applications, "apps": Applications, "application": Applications,
	"appset": ApplicationSets, "appsets": ApplicationSets, "applicationset": ApplicationSets,
	"cert": Certificates, "certs": Certificates, "certificate": Certificates, "cluster": Clusters,
	"extension": Extensions, "gpgkey": GPGKeys, "key": GPGKeys, "log": Logs,
	"proj": Projects, "projs": Projects, "project": Projects,
	"repo": Repositories, "repos": Repositories, "repository": Repositories,
	"ks": Kustomizations, "kustomization": Kustomizations, "hr": HelmReleases, "helmrelease": HelmReleases, "source": Sources,
}

// Resource is the resource that a name or one of its short forms stands for; a
// name that stands for none comes back as it is.
func Resource(name string) string {
	if resource, ok := shorthands[name]; ok {
		return resource
	}
	return name
}

// Resources are all resources that a policy can be about, sorted.
func Resources() []string {
	var names []string
	for name := range vocabulary {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Actions are the actions that mean something for a resource; none for an
// unknown one.
func Actions(resource string) []string { return slices.Clone(vocabulary[resource]) }

// ProjectScoped reports whether the objects of a resource begin with a project.
func ProjectScoped(resource string) bool { return slices.Contains(projectScoped, resource) }

// ApplicationObject is the object of a request about an Application or an
// ApplicationSet (util/security RBACName). control is the namespace of the
// installation; an Application without a project belongs to default.
func ApplicationObject(control, project, namespace, name string) string {
	if project == "" {
		project = "default"
	}
	if control != "" && namespace != "" && namespace != control {
		return project + "/" + namespace + "/" + name
	}
	return project + "/" + name
}

// ScopedObject is the object of a request about a cluster or a repository:
// PROJECT/ADDRESS where it belongs to a project, the address alone otherwise.
func ScopedObject(project, address string) string {
	if project == "" {
		return address
	}
	return project + "/" + address
}

// ChildObject is Request.Child for an update or a delete of an object that a
// delivery owns.
func ChildObject(group, kind, namespace, name string) string {
	return strings.Join([]string{group, kind, namespace, name}, "/")
}

// ChildAction is Request.Child for an action on an object of a kind.
func ChildAction(group, kind, action string) string {
	return strings.Join([]string{group, kind, action}, "/")
}
