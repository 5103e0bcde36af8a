package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/argo/appset"
	"plumb.dev/plumb/internal/dialect/argo/status"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/request"
)

// The kinds that Argo CD declares.
const (
	applicationKind    = "Application"
	applicationSetKind = "ApplicationSet"
)

var applications = &declaredKind{
	group:      schema.GroupKind{Group: argo.Group, Kind: applicationKind},
	human:      "application",
	singular:   "application",
	plural:     "applications",
	aliases:    []string{"app", "apps"},
	delivery:   true,
	suspends:   true,
	reconciles: true,
	file:       "application-file",
	revision:   revisionOfApplication,
	done:       "compared with revision",
	idiom:      argoIdiom{},
	columns: []column{
		{name: "Project", cell: func(_ *app, o *unstructured.Unstructured) string {
			return cmp.Or(text(o, "spec", "project"), "default")
		}},
		{name: "Sync status", cell: func(_ *app, o *unstructured.Unstructured) string { return text(o, "status", "sync", "status") }},
		{name: "Health status", cell: func(_ *app, o *unstructured.Unstructured) string { return text(o, "status", "health", "status") }},
		{name: "Revision", cell: func(_ *app, o *unstructured.Unstructured) string {
			return shortHashes(revisionOfApplication(o))
		}},
		{name: "Suspended", cell: func(_ *app, o *unstructured.Unstructured) string { return yesNo(suspended(o)) }},
		{name: "Sync policy", when: wide, cell: func(_ *app, o *unstructured.Unstructured) string { return syncPolicyOf(o) }},
		{name: "Destination", when: wide, cell: func(_ *app, o *unstructured.Unstructured) string { return destinationOf(o) }},
		{name: "Source", when: withSource, cell: func(_ *app, o *unstructured.Unstructured) string {
			return strings.Join(placesOf(o), ", ")
		}},
		ageColumn, messageColumn,
	},
}

var applicationSets = &declaredKind{
	group:      schema.GroupKind{Group: argo.Group, Kind: applicationSetKind},
	human:      "applicationset",
	singular:   "applicationset",
	plural:     "applicationsets",
	aliases:    []string{"appset", "appsets"},
	delivery:   true,
	reconciles: true,
	file:       "applicationset-file",
	revision:   func(*unstructured.Unstructured) string { return "" },
	done:       "generated",
	idiom:      argoIdiom{},
	columns: []column{
		{name: "Applications", cell: func(_ *app, o *unstructured.Unstructured) string {
			ids, _ := argoIdiom{}.inventory(o)
			return fmt.Sprint(len(ids))
		}},
		{name: "Up to date", cell: func(_ *app, o *unstructured.Unstructured) string {
			c, ok := conditionOf(o, "ResourcesUpToDate")
			if !ok {
				return "Unknown"
			}
			return c.status
		}},
		{name: "Strategy", when: wide, cell: func(_ *app, o *unstructured.Unstructured) string {
			return cmp.Or(text(o, "spec", "strategy", "type"), "AllAtOnce")
		}},
		ageColumn, messageColumn,
	},
}

var appProjects = &declaredKind{
	group:    schema.GroupKind{Group: argo.Group, Kind: "AppProject"},
	human:    "appproject",
	singular: "project",
	plural:   "projects",
	aliases:  []string{"proj", "appproject", "appprojects", "appproj", "appprojs"},
	revision: func(*unstructured.Unstructured) string { return "" },
	idiom:    argoIdiom{},
	columns: []column{
		{name: "Destinations", cell: func(_ *app, o *unstructured.Unstructured) string { return countOrAll(o, "destinations") }},
		{name: "Sources", cell: func(_ *app, o *unstructured.Unstructured) string { return countOrAll(o, "sourceRepos") }},
		{name: "Roles", cell: func(_ *app, o *unstructured.Unstructured) string { return countOrAll(o, "roles") }},
		{name: "Windows", cell: func(_ *app, o *unstructured.Unstructured) string { return countOrAll(o, "syncWindows") }},
		ageColumn,
		{name: "Description", cell: func(_ *app, o *unstructured.Unstructured) string { return text(o, "spec", "description") }},
	},
}

// countOrAll is how many entries a list of a project has, or its only entry,
// as argocd proj list has it.
func countOrAll(o *unstructured.Unstructured, field string) string {
	list, _, _ := unstructured.NestedSlice(o.Object, "spec", field)
	if len(list) == 1 {
		switch only := list[0].(type) {
		case string:
			return withoutCredentials(only)
		case map[string]any:
			server, _ := only["server"].(string)
			name, _ := only["name"].(string)
			namespace, _ := only["namespace"].(string)
			if where := cmp.Or(server, name); where != "" && namespace != "" {
				return where + "," + namespace
			}
		}
	}
	return fmt.Sprint(len(list))
}

// sourcesIn are the sources of a spec or of an entry of a history, each as it
// stands there: "sources", else "source", else what a hydrated Application
// reads.
func sourcesIn(fields map[string]any) []map[string]any {
	var out []map[string]any
	list, _, _ := unstructured.NestedSlice(fields, "sources")
	for _, item := range list {
		if source, ok := item.(map[string]any); ok {
			out = append(out, source)
		}
	}
	if len(out) > 0 {
		return out
	}
	if source, found, _ := unstructured.NestedMap(fields, "source"); found && len(source) > 0 {
		return []map[string]any{source}
	}
	if dry, found, _ := unstructured.NestedMap(fields, "sourceHydrator", "drySource"); found {
		sync, _, _ := unstructured.NestedMap(fields, "sourceHydrator", "syncSource")
		return []map[string]any{{"repoURL": dry["repoURL"], "path": sync["path"], "targetRevision": sync["targetBranch"]}}
	}
	return nil
}

// placesOf are the sources of an Application, each on one line.
func placesOf(o *unstructured.Unstructured) []string {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	var out []string
	for _, source := range sourcesIn(spec) {
		out = append(out, placeOf(source))
	}
	return out
}

// placeOf is a source on one line: repository//path@revision.
func placeOf(source map[string]any) string {
	part := func(name string) string { s, _ := source[name].(string); return s }
	out := withoutCredentials(part("repoURL"))
	if dir := cmp.Or(part("path"), part("chart")); dir != "" {
		out += "//" + strings.TrimPrefix(dir, "./")
	}
	return out + "@" + cmp.Or(part("targetRevision"), "HEAD")
}

// revisionsIn reads revisions, or revision alone.
func revisionsIn(fields map[string]any) []string {
	if many, _, _ := unstructured.NestedStringSlice(fields, "revisions"); len(many) > 0 {
		return many
	}
	if one, _, _ := unstructured.NestedString(fields, "revision"); one != "" {
		return []string{one}
	}
	return nil
}

// revisionOfApplication is what it was compared with.
func revisionOfApplication(o *unstructured.Unstructured) string {
	sync, _, _ := unstructured.NestedMap(o.Object, "status", "sync")
	return strings.Join(revisionsIn(sync), ",")
}

// syncPolicyOf is the policy in the words of argocd app list.
func syncPolicyOf(o *unstructured.Unstructured) string {
	if !request.Automated(o) {
		return "Manual"
	}
	out := "Auto"
	for _, option := range []struct{ field, mark string }{{"prune", "Prune"}, {"selfHeal", "SelfHeal"}} {
		if on, _, _ := unstructured.NestedBool(o.Object, "spec", "syncPolicy", "automated", option.field); on {
			out += "-" + option.mark
		}
	}
	return out
}

// destinationOf is cluster/namespace.
func destinationOf(o *unstructured.Unstructured) string {
	where := cmp.Or(text(o, "spec", "destination", "name"), text(o, "spec", "destination", "server"), inCluster)
	return where + "/" + text(o, "spec", "destination", "namespace")
}

// The names of the cluster that Argo CD itself runs in.
const (
	inCluster       = "in-cluster"
	inClusterServer = "https://kubernetes.default.svc"
)

// argoIdiom is that of Application, ApplicationSet and AppProject.
type argoIdiom struct{}

func (argoIdiom) namespace(k *kubeFlags) string { return k.argoNamespace }

// standing sums an object up: what is wrong with it, else the operation that is
// under way or has failed, else whether it is as Git says and healthy.
func (argoIdiom) standing(o *unstructured.Unstructured) (condition, bool) {
	switch o.GetKind() {
	case applicationKind:
		return standingOfApplication(o)
	case applicationSetKind:
		return standingOfSet(o)
	}
	return condition{status: "True"}, true
}

func standingOfApplication(o *unstructured.Unstructured) (condition, bool) {
	if _, found, _ := unstructured.NestedMap(o.Object, "status", "sync"); !found {
		return condition{}, false
	}
	out := condition{kind: "Ready", status: "False", since: text(o, "status", "reconciledAt")}
	phase, message := model.OperationPhase(text(o, "status", "operationState", "phase")), text(o, "status", "operationState", "message")
	told, isTold := worst(o)
	switch {
	case isTold && strings.HasSuffix(told.kind, "Error"):
		out.reason, out.message = told.kind, told.message
	case phase == model.OperationRunning || phase == model.OperationTerminating:
		out.status, out.reason, out.message = "Unknown", string(phase), message
	case phase.Completed() && phase != model.OperationSucceeded:
		out.reason, out.message = string(phase), message
	case argo.New().Ready(o):
		out.status, out.reason = "True", text(o, "status", "sync", "status")
		out.message = told.message
	default:
		out.reason = cmp.Or(told.kind, text(o, "status", "sync", "status"))
		out.message = cmp.Or(told.message, text(o, "status", "health", "message"))
	}
	return out, true
}

// worst is the condition that matters most: an error, then a warning. What
// works in another way than upstream is no news.
func worst(o *unstructured.Unstructured) (condition, bool) {
	for _, suffix := range []string{"Error", "Warning"} {
		for _, c := range conditionsOf(o) {
			if strings.HasSuffix(c.kind, suffix) {
				return c, true
			}
		}
	}
	return condition{}, false
}

func standingOfSet(o *unstructured.Unstructured) (condition, bool) {
	wrong, failed := conditionOf(o, "ErrorOccurred")
	current, known := conditionOf(o, "ResourcesUpToDate")
	if failed && wrong.status == "True" {
		wrong.kind, wrong.status = "Ready", "False"
		return wrong, true
	}
	current.kind = "Ready"
	return current, known
}

func (i argoIdiom) settled(o *unstructured.Unstructured) (condition, bool) {
	standing, ok := i.standing(o)
	_, asked := o.Object["operation"]
	return standing, ok && !asked && standing.status != "Unknown"
}

// status knows "sync" and "health" besides the types of conditions, and
// "ready", which both together are.
func (i argoIdiom) status(o *unstructured.Unstructured, kind string) (string, bool) {
	if o.GetKind() == applicationKind {
		switch strings.ToLower(kind) {
		case "sync", "synced":
			return text(o, "status", "sync", "status"), true
		case "health", "healthy":
			return text(o, "status", "health", "status"), true
		}
	}
	if strings.EqualFold(kind, "ready") {
		standing, ok := i.standing(o)
		return standing.status, ok
	}
	c, found := conditionOf(o, kind)
	if found && c.status == "" {
		c.status = "True" // an Application's conditions have no status: they are there or not
	}
	return c.status, found
}

func (i argoIdiom) resumed(o *unstructured.Unstructured) bool { return i.woken(o) }

// woken: the annotation goes when it has been acted on.
func (argoIdiom) woken(o *unstructured.Unstructured) bool {
	annotations := o.GetAnnotations()
	_, refresh := annotations[status.AnnotationRefresh]
	_, expand := annotations[appset.RefreshAnnotation]
	return !refresh && !expand
}

// inventory reads status.resources. Hooks are no part of it, and neither is
// what is wanted and does not exist.
func (argoIdiom) inventory(o *unstructured.Unstructured) ([]object.ID, error) {
	var ids []object.ID
	for _, fields := range resourcesIn(o) {
		hook, _, _ := unstructured.NestedBool(fields, "hook")
		health, _, _ := unstructured.NestedString(fields, "health", "status")
		if id := resourceID(o, fields); id.Kind != "" && id.Name != "" && !hook && health != "Missing" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// resourcesIn are the entries of status.resources.
func resourcesIn(o *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "resources")
	out := make([]map[string]any, 0, len(list))
	for _, item := range list {
		if fields, ok := item.(map[string]any); ok {
			out = append(out, fields)
		}
	}
	return out
}

func resourceID(o *unstructured.Unstructured, fields map[string]any) object.ID {
	part := func(name string) string { s, _ := fields[name].(string); return s }
	id := object.ID{Group: part("group"), Kind: part("kind"), Namespace: part("namespace"), Name: part("name")}
	if o.GetKind() == applicationSetKind && id.Namespace == "" {
		id.Namespace = o.GetNamespace()
	}
	return id
}

func (argoIdiom) remote(o *unstructured.Unstructured) bool {
	if o.GetKind() != applicationKind {
		return false
	}
	server, name := strings.TrimRight(text(o, "spec", "destination", "server"), "/"), text(o, "spec", "destination", "name")
	return server != "" && server != inClusterServer || name != "" && name != inCluster
}

// held: a large deletion by its token, or deletions that ask for a person one
// by one.
func (argoIdiom) held(o *unstructured.Unstructured) (held, bool) {
	for _, c := range conditionsOf(o) {
		if c.kind == status.ConditionHeld || (c.reason == reasonHeld && c.status == "True") {
			if h, ok := heldBy(c.message); ok {
				return h, true
			}
		}
	}
	for _, c := range conditionsOf(o) {
		if c.kind == status.ConditionWaiting && strings.Contains(c.message, deletionApproved) {
			return held{message: c.message}, true
		}
	}
	var objects []string
	for _, fields := range resourcesIn(o) {
		if waits, _, _ := unstructured.NestedBool(fields, "requiresDeletionConfirmation"); waits {
			objects = append(objects, resourceID(o, fields).String())
		}
	}
	if len(objects) == 0 {
		return held{}, false
	}
	slices.Sort(objects)
	return held{
		objects: objects,
		message: "Deletions wait for a person, as their annotations or the sync options ask",
	}, true
}

// deletionApproved confirms the deletions that ask for it.
const deletionApproved = request.DeletionApproved

func (argoIdiom) origin(_ context.Context, _ *cluster, o *unstructured.Unstructured) (source, repository string) {
	return strings.Join(placesOf(o), ", "), ""
}

func (argoIdiom) applied(o *unstructured.Unstructured) string { return revisionOfApplication(o) }

func (argoIdiom) looked(o *unstructured.Unstructured, revision string) bool {
	return o.GetKind() != applicationKind || revisionOfApplication(o) == revision
}
