package flux

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// refuse writes why an object is not acted on. Everything else in its status
// stays: whoever acts on it again, Flux or a later Plumb, goes on from there.
func refuse(fault *model.Fault, findings []model.Finding, previous *unstructured.Unstructured) model.Edits {
	id := object.Of(previous)
	if previous.GetDeletionTimestamp() != nil && letGo(id.Kind) {
		return model.Edits{Finalizer: Finalizer}
	}
	if handledKind(id) {
		return refuseHandled(fault, findings, previous)
	}
	reason, message := faultReason(fault, reasonNotHandled), faultText(fault)
	if statusless(previous) {
		return model.Edits{Events: []model.Event{{Type: "Warning", Reason: reason, Message: reader.Clip(message, maxEvent)}}}
	}
	status := statusOf(previous)
	was := newConditions(previous)
	now := newConditions(previous).stamp(refusedAt(fault, previous), previous.GetGeneration())
	now.remove(conditionReconciling)
	now.set(conditionReady, statusFalse, reason, message)
	now.set(conditionStalled, statusTrue, reason, message)
	if observes(id.Kind) {
		status["observedGeneration"] = previous.GetGeneration()
	}

	var events []model.Event
	if said(now.get(conditionReady)) != said(was.get(conditionReady)) {
		events = append(events, model.Event{Type: "Warning", Reason: reason, Message: reader.Clip(message, maxEvent)})
	}
	events = append(events, now.writeFindings(findings)...)
	return model.Edits{Status: finish(status, now), Events: events}
}

// refuseHandled reports the fault as that of a run which never began.
func refuseHandled(fault *model.Fault, findings []model.Finding, previous *unstructured.Unstructured) model.Edits {
	at, generation := refusedAt(fault, previous), previous.GetGeneration()
	handled := previous.GetAnnotations()[AnnotationRequestedAt]
	if kind, ok := sources[object.Of(previous).GroupKind()]; ok {
		return kind.project(&model.SourceReport{
			Source: object.Of(previous), Generation: generation, At: at,
			Fault: fault, Findings: findings, Handled: handled,
		}, previous)
	}
	edits := New().Project(&model.Report{
		Delivery: object.Of(previous), Generation: generation, At: at, Started: at,
		Phase: model.PhaseResolve, Fault: fault, Findings: findings, Handled: handled,
	}, previous)
	if !fault.Retry && object.Of(previous).Kind == kindHelmRelease {
		leaveChart(&edits, previous)
	}
	return edits
}

func handledKind(id object.ID) bool {
	return slices.ContainsFunc(New().Kinds(), func(kind dialect.Kind) bool { return kind.Handled && kind.GroupKind == id.GroupKind() })
}

// statusless reports whether the version has no conditions to write: Alert and
// Provider lost theirs in v1beta3.
func statusless(o *unstructured.Unstructured) bool {
	id := object.Of(o)
	return id.Group == GroupNotify && (id.Kind == "Alert" || id.Kind == "Provider")
}

// observes reports whether the kind's status has an observedGeneration. What
// has no place is dropped by the API server, and would be written for ever.
func observes(kind string) bool {
	return kind != kindExternalArtifact && kind != kindArtifactGenerator
}

// letGo reports whether an object that is being deleted can lose upstream's
// finalizer: it stands for nothing outside the upstream controller. Deliveries
// stand for what they applied.
func letGo(kind string) bool {
	return kind != kindKustomization && kind != kindHelmRelease && kind != kindArtifactGenerator
}

// refusedAt is when the fault was found. Without a time the object's own age
// stands in: a condition needs one, and this room has no clock.
func refusedAt(fault *model.Fault, previous *unstructured.Unstructured) time.Time {
	if !fault.At.IsZero() {
		return fault.At
	}
	return previous.GetCreationTimestamp().UTC()
}
