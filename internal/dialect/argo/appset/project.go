package appset

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// conditionFindings is present, and True, while a part of a set is not acted
// on. It is Plumb's own.
const conditionFindings = "plumb.dev/Findings"

// maxResources bounds status.resources (upstream's default of
// applicationsetcontroller.status.max.resources.count).
const maxResources = 5000

const messageUpToDate = "All applications have been generated successfully"

// Project says what to write on a set after a report. apps are the
// Applications that it owns, as Owned has them; nil: not known, which leaves
// what the status says of them. The status is the same as before when nothing
// has changed.
func Project(report *model.Report, previous *unstructured.Unstructured, apps []*unstructured.Unstructured) model.Edits {
	edits := model.Edits{}
	if report.Deleted {
		edits.Finalizer = resourcesFinalizer
		return edits
	}
	p := newProjection(previous, report.At)
	if Rolling(previous) && reverse(previous) && previous.GetDeletionTimestamp() == nil {
		edits.Finalizer, edits.Finalize = resourcesFinalizer, true
	}
	if report.Running {
		return edits
	}
	p.outcome(report)
	p.findings(report.Findings)
	p.resources(report, apps)
	p.rollout(report, apps)
	p.finish()
	edits.Status = p.status
	edits.Events = append(p.changes(report), p.events...)
	if value, asked := previous.GetAnnotations()[RefreshAnnotation]; asked && report.Handled == cmp.Or(value, "refresh") {
		edits.Annotations = map[string]string{RefreshAnnotation: ""}
	}
	return edits
}

// Refuse says what to write on a set that cannot be compiled.
func Refuse(fault *model.Fault, findings []model.Finding, previous *unstructured.Unstructured) model.Edits {
	p := newProjection(previous, fault.At)
	p.failed(fault, model.PhaseResolve)
	p.findings(findings)
	p.finish()
	return model.Edits{Status: p.status, Events: p.events}
}

func reverse(set *unstructured.Unstructured) bool {
	order, _, _ := unstructured.NestedString(set.Object, "spec", "strategy", "deletionOrder")
	return (&spec{Strategy: &strategy{Type: "RollingSync", DeletionOrder: order, RollingSync: &rollingSync{Steps: make([]Step, 1)}}}).reverseDeletion()
}

// projection is a status in the making.
type projection struct {
	set        *unstructured.Unstructured
	at         time.Time
	status     map[string]any
	conditions map[string]map[string]any // by type
	events     []model.Event
}

func newProjection(previous *unstructured.Unstructured, at time.Time) *projection {
	status, _, _ := unstructured.NestedMap(previous.Object, "status")
	if status == nil {
		status = map[string]any{}
	}
	p := &projection{set: previous, at: at, status: status, conditions: map[string]map[string]any{}}
	entries, _ := status["conditions"].([]any)
	for _, entry := range entries {
		if fields, ok := entry.(map[string]any); ok {
			kind, _ := fields["type"].(string)
			p.conditions[kind] = fields
		}
	}
	return p
}

// condition sets one; its time changes only with what it says.
func (p *projection) condition(kind, status, reason, message string) (changed bool) {
	message = reader.Clip(message, 4096)
	old := p.conditions[kind]
	if old != nil && old["status"] == status && old["reason"] == reason && old["message"] == message {
		return false
	}
	p.conditions[kind] = map[string]any{
		"type": kind, "status": status, "reason": reason, "message": message,
		"lastTransitionTime": p.at.UTC().Format(time.RFC3339),
	}
	return true
}

// outcome sets the conditions that tell whether the Applications are as the
// set wants them (setApplicationSetStatusCondition).
func (p *projection) outcome(report *model.Report) {
	held := report.Fault == nil || report.Fault.Reason == reasonPruneHeld
	switch {
	case report.Hold != nil && held:
		p.generated()
		p.wrong(reasonPruneHeld, fmt.Sprintf("%d Applications would be deleted, which waits for approval: %s; approve with: plumb approve applicationset %s -n %s, or the annotation %s=%s",
			len(report.Hold.Deletes), report.Hold.Why, p.set.GetName(), p.set.GetNamespace(), ApproveAnnotation, report.Hold.Token))
	case report.Fault != nil:
		p.failed(report.Fault, report.Phase)
	default:
		p.generated()
		if finding, more := firstInvalid(report.Findings); finding != nil {
			message := finding.Message
			if more > 0 {
				message += fmt.Sprintf(" (and %d more)", more)
			}
			p.wrong(reasonValidationError, message)
			return
		}
		p.condition(conditionErrorOccurred, "False", reasonUpToDate, messageUpToDate)
		p.condition(conditionResourcesUpToDate, "True", reasonUpToDate, messageUpToDate)
	}
}

func firstInvalid(findings []model.Finding) (*model.Finding, int) {
	var first *model.Finding
	more := 0
	for i := range findings {
		switch {
		case findings[i].Reason != reasonValidationError:
		case first == nil:
			first = &findings[i]
		default:
			more++
		}
	}
	return first, more
}

func (p *projection) generated() {
	p.condition(conditionParametersGenerated, "True", reasonParametersGenerated, "Successfully generated parameters for all Applications")
}

// wrong sets what an error means for the conditions.
func (p *projection) wrong(reason, message string) {
	if p.condition(conditionErrorOccurred, "True", reason, message) {
		p.events = append(p.events, model.Event{Type: "Warning", Reason: reason, Message: message})
	}
	p.condition(conditionResourcesUpToDate, "False", reasonErrorOccurred, message)
}

// failed tells of a fault that came up in a phase. What only waits for
// something else is no error.
func (p *projection) failed(fault *model.Fault, phase model.Phase) {
	message := fault.Error()
	switch reason, later := reasonOf(fault, phase); {
	case fault.Waiting:
		p.condition(conditionParametersGenerated, "False", reason, message)
		p.condition(conditionResourcesUpToDate, "False", reason, message)
	case later:
		p.generated()
		p.wrong(reason, message)
	default:
		p.condition(conditionParametersGenerated, "False", reasonErrorOccurred, message)
		p.wrong(reason, message)
	}
}

// reasonOf is upstream's word for a fault, and whether there were parameters
// when it came up.
func reasonOf(fault *model.Fault, phase model.Phase) (reason string, later bool) {
	switch fault.Reason {
	case reasonParamsError, reasonRenderError, reasonInvalidSpec, reasonNotAllowed:
		return fault.Reason, false
	case reasonValidationError, reasonRolloutError, reasonUpdateError, reasonDeleteError:
		return fault.Reason, true
	}
	switch phase {
	case model.PhaseGate, model.PhasePlan, model.PhaseApply, model.PhaseSettle, model.PhaseDone:
		return reasonUpdateError, true
	case model.PhasePrune, model.PhaseDelete:
		return reasonDeleteError, true
	}
	return reasonParamsError, false
}

// findings tells of fields that are not acted on.
func (p *projection) findings(findings []model.Finding) {
	var worst []model.Finding
	for _, finding := range findings {
		if finding.Severity == model.Warning && finding.Reason != reasonValidationError {
			worst = append(worst, finding)
		}
	}
	if len(worst) == 0 {
		delete(p.conditions, conditionFindings)
		return
	}
	message := worst[0].Message
	if worst[0].Origin.Field != "" {
		message = worst[0].Origin.Field + ": " + message
	}
	if len(worst) > 1 {
		message += fmt.Sprintf(" (and %d more)", len(worst)-1)
	}
	if p.condition(conditionFindings, "True", worst[0].Reason, message) {
		p.events = append(p.events, model.Event{Type: "Warning", Reason: worst[0].Reason, Message: message})
	}
}

// resources lists the Applications of the set with their states, by name
// (updateResourcesStatus).
func (p *projection) resources(report *model.Report, apps []*unstructured.Unstructured) {
	before := map[string]map[string]any{}
	last, _ := p.status["resources"].([]any)
	for _, entry := range last {
		if fields, ok := entry.(map[string]any); ok {
			name, _ := fields["name"].(string)
			before[name] = fields
		}
	}
	if apps == nil && report.Inventory == nil {
		return
	}
	entries := map[string]map[string]any{}
	for _, claim := range report.Inventory { // what was made a moment ago has not been seen yet
		if name := claim.ID.Name; claim.ID.Group == group && claim.ID.Kind == kindApp {
			if entries[name] = before[name]; before[name] == nil {
				entries[name] = resource(p.set.GetNamespace(), name, "", "")
			}
		}
	}
	for _, app := range apps {
		state := StateOf(app)
		entries[app.GetName()] = resource(app.GetNamespace(), app.GetName(), state.Sync, state.Health)
	}
	var out []any
	for _, name := range reader.SortedKeys(entries) {
		out = append(out, entries[name])
	}
	delete(p.status, "resources")
	delete(p.status, "resourcesCount")
	if len(out) > 0 {
		p.status["resourcesCount"] = int64(len(out))
		p.status["resources"] = out[:min(len(out), maxResources)]
	}
}

func resource(namespace, name, sync, health string) map[string]any {
	out := map[string]any{"group": group, "version": version, "kind": kindApp, "namespace": namespace, "name": name}
	if sync != "" {
		out["status"] = sync
	}
	if health != "" {
		out["health"] = map[string]any{"status": health}
	}
	return out
}

// rollout moves a RollingSync on, and clears what a former one left. Nothing
// begins while the set itself could not be brought about, or on what the
// Applications said before they were changed.
func (p *projection) rollout(report *model.Report, apps []*unstructured.Unstructured) {
	if !Rolling(p.set) {
		delete(p.status, "applicationStatus")
		delete(p.conditions, conditionRolloutProgressing)
		delete(p.conditions, conditionInvalidRolloutConfig)
		return
	}
	if apps == nil || report.Fault != nil || report.Wrote {
		return
	}
	var steps struct {
		Steps []Step `json:"steps"`
	}
	declared, _, _ := unstructured.NestedMap(p.set.Object, "spec", "strategy", "rollingSync")
	if decode(declared, &steps) != nil {
		return // Compile has refused it
	}
	rollout := Roll(steps.Steps, states(report, apps), readStatuses(p.set), report.At)
	p.status["applicationStatus"] = writeStatuses(rollout.Statuses)
	if len(rollout.Statuses) == 0 {
		delete(p.status, "applicationStatus")
	}
	if rollout.Step > 0 {
		p.condition(conditionRolloutProgressing, "True", reasonModified, fmt.Sprintf("ApplicationSet is performing rollout of step %d", rollout.Step))
	} else {
		p.condition(conditionRolloutProgressing, "False", reasonRolloutComplete, "ApplicationSet Rollout has completed")
	}
	if rollout.Problem != "" {
		if p.condition(conditionInvalidRolloutConfig, "True", reasonInvalidRollout, rollout.Problem) {
			p.events = append(p.events, model.Event{Type: "Warning", Reason: reasonInvalidRollout, Message: rollout.Problem})
		}
	} else {
		p.condition(conditionInvalidRolloutConfig, "False", reasonValidRollout, "the steps of the RollingSync can be acted on")
	}
}

// states are those of the Applications on the cluster, without those that are
// no longer wanted, and with those that are wanted and not there yet.
func states(report *model.Report, apps []*unstructured.Unstructured) []AppState {
	var out []AppState
	there := map[object.ID]bool{}
	for _, app := range apps {
		there[object.Of(app)] = true
		if app.GetDeletionTimestamp() == nil {
			out = append(out, StateOf(app))
		}
	}
	for _, resource := range report.Resources {
		if !resource.Prune && resource.ID.Kind == kindApp && !there[resource.ID] {
			out = append(out, AppState{Name: resource.ID.Name})
		}
	}
	return out
}

// changes are the events that upstream sends for each Application.
func (p *projection) changes(report *model.Report) []model.Event {
	listed := func(name string) bool {
		entries, _, _ := unstructured.NestedSlice(p.set.Object, "status", "resources")
		return slices.ContainsFunc(entries, func(entry any) bool {
			fields, _ := entry.(map[string]any)
			return fields["name"] == name
		})
	}
	var events []model.Event
	for _, outcome := range report.Objects {
		if outcome.Fault != nil || outcome.Object.Kind != kindApp {
			continue
		}
		reason := ""
		switch outcome.Verb {
		case model.Create, model.Recreate:
			if !listed(outcome.Object.Name) {
				reason = "created"
			}
		case model.Update, model.Correct, model.Adopt:
			reason = "updated"
		case model.Delete:
			if listed(outcome.Object.Name) {
				reason = "Deleted"
			}
		}
		if reason != "" {
			events = append(events, model.Event{Type: "Normal", Reason: reason, Message: fmt.Sprintf("%s Application %q", reason, outcome.Object.Name)})
		}
	}
	return events
}

// finish writes the conditions, by type, and the health that follows from them
// (ApplicationSetStatus.CalculateHealth).
func (p *projection) finish() {
	var out []any
	for _, kind := range reader.SortedKeys(p.conditions) {
		out = append(out, maps.Clone(p.conditions[kind]))
	}
	p.status["conditions"] = out
	is := func(kind string) (string, bool) {
		c := p.conditions[kind]
		message, _ := c["message"].(string)
		return message, c["status"] == "True"
	}
	health := map[string]any{"status": "Unknown", "message": "Waiting for health status to be determined"}
	for _, rule := range []struct{ kind, health string }{
		{conditionErrorOccurred, "Degraded"}, {conditionRolloutProgressing, "Progressing"}, {conditionResourcesUpToDate, "Healthy"},
	} {
		if message, holds := is(rule.kind); holds {
			health = map[string]any{"status": rule.health, "message": message}
			break
		}
	}
	p.status["health"] = health
}
