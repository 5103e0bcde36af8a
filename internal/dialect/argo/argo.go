package argo

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo/appset"
	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/dialect/argo/status"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Name is the name of this dialect, in origins and in configuration.
const Name = config.DialectName

// Argo is the dialect. It has no state.
type Argo struct{}

var _ dialect.Dialect = Argo{}

// New returns the dialect.
func New() Argo { return Argo{} }

// Name is "argo".
func (Argo) Name() string { return Name }

// sets understands ApplicationSets.
var sets = appset.Room{Source: repository.Source}

// Kinds lists what Argo CD 3 has. The status of an Application is no
// subresource; neither is that of an AppProject.
func (Argo) Kinds() []dialect.Kind {
	kind := func(name, plural string, whole bool) dialect.Kind {
		return dialect.Kind{GroupKind: schema.GroupKind{Group: Group, Kind: name}, Plural: plural, Versions: []string{Version}, Whole: whole, Handled: true}
	}
	return []dialect.Kind{
		kind(kindApplication, "applications", true),
		kind(kindProject, "appprojects", true),
		kind(kindSet, "applicationsets", false),
	}
}

// Compile turns an Application and an ApplicationSet into deliveries. An
// AppProject asks for nothing itself: its intent is empty, and its findings
// and fault say what is wrong with it.
func (Argo) Compile(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings) (dialect.Intent, []model.Need, []model.Finding, error) {
	id := object.Of(declared)
	switch id.GroupKind() {
	case schema.GroupKind{Group: Group, Kind: kindApplication}:
		return compileApplication(declared, facts, settings)
	case schema.GroupKind{Group: Group, Kind: kindSet}:
		delivery, implied, needs, findings, err := sets.Compile(declared, facts, settings)
		if len(needs) > 0 || err != nil {
			return dialect.Intent{}, needs, findings, placed(err, id)
		}
		bounded(&delivery.Policy)
		return dialect.Intent{Delivery: delivery, Implied: implied}, nil, findings, nil
	case schema.GroupKind{Group: Group, Kind: kindProject}:
		return compileProject(declared, facts, settings)
	}
	return dialect.Intent{}, nil, nil, &model.Fault{
		Reason:  reasonNotHandled,
		Message: fmt.Sprintf("%s is no kind of Argo CD", id.Kind),
		Origin:  model.Origin{Dialect: Name, Declared: id},
		Object:  id,
	}
}

// bounded fills in what a set that is only watched leaves open.
func bounded(policy *model.Policy) {
	for _, d := range []*time.Duration{&policy.Interval, &policy.Timeout} {
		if *d <= 0 {
			*d = noTimeout
		}
	}
}

// placed says whose a fault is that a room found which does not know.
func placed(err error, id object.ID) error {
	var fault *model.Fault
	if !errors.As(err, &fault) || fault.Origin.Dialect == Name && fault.Origin.Declared == id {
		return err
	}
	told := *fault
	told.Origin.Dialect, told.Origin.Declared = Name, id
	return &told
}

// compileProject judges an AppProject. The default project of the installation
// also tells what its settings ask for and Plumb does not do: ConfigMaps have
// no status to tell it in.
func compileProject(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings) (dialect.Intent, []model.Need, []model.Finding, error) {
	namespace := installation(settings)
	speaks := declared.GetName() == project.Default && declared.GetNamespace() == namespace
	policy := project.RBACNeed(namespace)
	if speaks {
		if open := unanswered(append(config.Needs(namespace), policy), facts); len(open) > 0 {
			return dialect.Intent{}, open, nil, nil
		}
	}
	_, findings, err := project.Read(declared)
	if speaks {
		_, told := config.Read(facts, namespace)
		told = append(told, project.RBACFindings(facts[policy].Object)...)
		for _, finding := range told {
			finding.Origin = model.Origin{Dialect: Name, Declared: object.Of(declared), Field: finding.Origin.Declared.Name + ": " + finding.Origin.Field}
			findings = append(findings, finding)
		}
	}
	return dialect.Intent{}, nil, findings, placed(err, object.Of(declared))
}

// Project writes the status and events of an Application or an ApplicationSet.
// The Applications of a progressive set are among the facts of the report,
// those of others are its children.
func (Argo) Project(report *model.Report, previous *unstructured.Unstructured) model.Edits {
	if previous.GetKind() != kindSet {
		return status.Project(report, previous, status.Options{})
	}
	apps := report.Children
	if appset.Rolling(previous) { // what the run went by
		var err error
		if apps, err = appset.Owned(previous, report.Facts); err != nil {
			apps = nil
		}
	}
	return appset.Project(report, previous, apps)
}

// ProjectSource writes nothing: sources are implied, and what becomes of them
// is told on each Application that reads them.
func (Argo) ProjectSource(*model.SourceReport, *unstructured.Unstructured) model.Edits {
	return model.Edits{}
}

// Expand makes the Applications of an ApplicationSet.
func (Argo) Expand(declared *unstructured.Unstructured, facts model.Facts, answers map[string]model.Answer, settings dialect.Settings) ([]model.Rendered, []model.Question, []model.Finding, error) {
	return sets.Expand(declared, facts, answers, settings)
}

// Refuse writes why an object is not acted on. An AppProject has no place in
// its status for it, so that it is an event.
func (Argo) Refuse(fault *model.Fault, findings []model.Finding, previous *unstructured.Unstructured) model.Edits {
	switch previous.GetKind() {
	case kindSet:
		return appset.Refuse(fault, findings, previous)
	case kindProject:
		return model.Edits{Events: []model.Event{{Type: "Warning", Reason: fault.Reason, Message: reader.Clip(fault.Error(), maxEvent)}}}
	}
	return status.Refuse(fault, findings, previous, status.Options{})
}

const maxEvent = 1000 // bytes; the API server takes 1,024

// Ready reports whether a declared object is ready for its dependants. A
// project always is.
func (Argo) Ready(declared *unstructured.Unstructured) bool {
	switch object.Of(declared).GroupKind() {
	case schema.GroupKind{Group: Group, Kind: kindApplication}:
		return status.Ready(declared)
	case schema.GroupKind{Group: Group, Kind: kindSet}:
		return setReady(declared)
	case schema.GroupKind{Group: Group, Kind: kindProject}:
		return declared.GetDeletionTimestamp() == nil
	}
	return false
}

// setReady reports whether the Applications of a set are as it wants them, and
// none of them waits for its turn.
func setReady(set *unstructured.Unstructured) bool {
	said := map[string]string{}
	conditions, _, _ := unstructured.NestedSlice(set.Object, "status", "conditions")
	for _, item := range conditions {
		condition, _ := item.(map[string]any)
		kind, _ := condition["type"].(string)
		said[kind], _ = condition["status"].(string)
	}
	return set.GetDeletionTimestamp() == nil &&
		said["ResourcesUpToDate"] == "True" && said["ErrorOccurred"] != "True" && said["RolloutProgressing"] != "True"
}
