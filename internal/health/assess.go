package health

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
)

// system is the judgement of one API group, in Argo CD's sense.
type system struct {
	group string          // "*.example.com" stands for every group that ends so
	kinds map[string]rule // "*" stands for every other kind
}

// beingDeleted reports whether an object is on its way out. A hook that only
// waits for its own finalizer is not: the engine keeps it to read its result.
func beingDeleted(o *unstructured.Unstructured) bool {
	if o.GetDeletionTimestamp() == nil && fields(o.Object).text("metadata", "deletionTimestamp") == "" {
		return false
	}
	for _, finalizer := range o.GetFinalizers() {
		if finalizer == hookFinalizer {
			return false
		}
	}
	return true
}

// hookFinalizer keeps a finished hook until its result has been read (Argo CD).
const hookFinalizer = "argocd.argoproj.io/hook-finalizer"

// Assess judges a live object as Argo CD does, which differs from [Of]: a kind
// without a rule has no health at all (known is false), a load balancer is
// waited for, and some states mean suspended. An object that is being deleted
// is in progress, whatever its kind. A nil object is NotFound.
//
// The rules agree with Argo CD's built-in ones (gitops-engine pkg/health and
// resource_customizations); there is a file for each kind or API group. More
// kinds than Argo CD's have one: those of Flux, Kyverno, Gatekeeper, Velero and
// others that are often delivered beside it.
func Assess(o *unstructured.Unstructured) (health model.Health, known bool) {
	if o == nil || o.Object == nil {
		return model.Health{State: model.NotFound, Reason: "NotFound", Message: "the object does not exist"}, true
	}
	live := fields(o.Object)
	if beingDeleted(o) {
		health = terminating(live)
		why := strings.TrimPrefix(health.Message, "it is being deleted")
		return inProgress("Terminating", "Pending deletion%s", why), true // upstream's words
	}
	judge, _ := assessment(o.GroupVersionKind().GroupKind())
	if judge == nil {
		return model.Health{}, false
	}
	health = judge(live)
	if len(health.Message) > maxMessage {
		health.Message = strings.ToValidUTF8(health.Message[:maxMessage], "") + "…"
	}
	return health, true
}

// maxMessage bounds what is repeated of an object, in bytes: accounts of many
// objects have to fit into one.
const maxMessage = 4 << 10

// assessment finds the rule of a kind, and what it is registered as: the kind
// itself, every other kind of its group, or of a wildcard group. nil: there is
// none.
func assessment(kind schema.GroupKind) (rule, schema.GroupKind) {
	candidates := []schema.GroupKind{kind, {Group: kind.Group, Kind: "*"}}
	for _, group := range assessed.wildcards {
		if strings.HasSuffix(kind.Group, strings.TrimPrefix(group, "*")) {
			candidates = append(candidates, schema.GroupKind{Group: group, Kind: kind.Kind}, schema.GroupKind{Group: group, Kind: "*"})
		}
	}
	for _, candidate := range candidates {
		if judge := assessed.rules[candidate]; judge != nil {
			return judge, candidate
		}
	}
	return nil, schema.GroupKind{}
}

// assessments are the rules of all systems by kind.
type assessments struct {
	rules     map[schema.GroupKind]rule
	wildcards []string // groups that begin with a star
}

var assessed = index(systems)

func index(systems []system) assessments {
	all := assessments{rules: map[schema.GroupKind]rule{}}
	for _, s := range systems {
		if strings.HasPrefix(s.group, "*") {
			all.wildcards = append(all.wildcards, s.group)
		}
		for kind, judge := range s.kinds {
			all.rules[schema.GroupKind{Group: s.group, Kind: kind}] = judge
		}
	}
	return all
}
