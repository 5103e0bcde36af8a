package status

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Annotations and finalizers that users and their tools put on Applications.
const (
	AnnotationRefresh = "argocd.argoproj.io/refresh"
	AnnotationApprove = "plumb.dev/approve"

	FinalizerResources  = "resources-finalizer.argocd.argoproj.io"
	FinalizerForeground = FinalizerResources + "/foreground"
	FinalizerBackground = FinalizerResources + "/background"
	FinalizerPreDelete  = "pre-delete-finalizer.argocd.argoproj.io"
	FinalizerPostDelete = "post-delete-finalizer.argocd.argoproj.io"
	cleanup             = "/cleanup"
)

// Options are what a projection takes from the installation. The zero value
// will do: the namespace is then that of the report's source.
type Options struct {
	ControllerNamespace string // of Argo CD's own objects (status.controllerNamespace)
	// HealthElsewhere leaves the health of single resources out of the status
	// (controller.resource.health.persist: "false"), but for those that are
	// missing: what is there is what the Application owns.
	HealthElsewhere bool
}

// Wake is the request to look at once that an Application carries: the value of
// its refresh annotation, which a report repeats as Handled; hard asks that
// nothing remembered is used.
func Wake(o *unstructured.Unstructured) (token string, hard bool) {
	token = o.GetAnnotations()[AnnotationRefresh]
	return token, token == "hard"
}

// Project says what to write on an Application after a report. previous is the
// object as it was last seen.
func Project(report *model.Report, previous *unstructured.Unstructured, options Options) model.Edits {
	w := newWriter(report, previous, options)
	w.compared()
	w.resources()
	w.health()
	w.summary()
	w.operation()
	w.remember()
	w.conditions()
	w.origins()
	return w.edits()
}

// Refuse says what to write on an Application that cannot be compiled: the
// fault as a condition, and nothing is known any more. An operation that was
// asked for has failed, unless trying again can help.
func Refuse(fault *model.Fault, findings []model.Finding, previous *unstructured.Unstructured, options Options) model.Edits {
	at := fault.At
	if at.IsZero() {
		at = previous.GetCreationTimestamp().UTC()
	}
	token, _ := Wake(previous)
	report := &model.Report{
		Delivery: object.Of(previous), Generation: previous.GetGeneration(), At: at, Started: at,
		Phase: model.PhaseResolve, Fault: fault, Findings: findings, Handled: token,
	}
	if previous.GetDeletionTimestamp() != nil {
		report.Phase = model.PhaseDelete
	}
	w := newWriter(report, previous, options)
	w.refused = true
	w.compared()
	w.resources()
	w.health()
	w.refuseOperation()
	w.conditions()
	return w.edits()
}

// Ready reports whether an Application is what its spec asks for, and healthy:
// synced by its current sources and destination, with no operation under way.
func Ready(o *unstructured.Unstructured) bool {
	text := func(fields ...string) string {
		value, _, _ := unstructured.NestedString(o.Object, fields...)
		return value
	}
	phase := model.OperationPhase(text("status", "operationState", "phase"))
	return o.GetDeletionTimestamp() == nil &&
		o.Object["operation"] == nil &&
		phase != model.OperationRunning && phase != model.OperationTerminating &&
		text("status", "sync", "status") == string(model.Synced) &&
		text("status", "health", "status") == healthy &&
		!hasError(o) &&
		sameJSON(comparedTo(o), child(statusOf(o), "sync", "comparedTo"))
}

// hasError reports whether a condition tells of an error.
func hasError(o *unstructured.Unstructured) bool {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	return slices.ContainsFunc(list, func(item any) bool {
		condition, _ := item.(map[string]any)
		kind, _ := condition["type"].(string)
		return strings.HasSuffix(kind, "Error")
	})
}

// writer makes one status out of one report. Each phase writes its part.
type writer struct {
	report   *model.Report
	previous *unstructured.Unstructured
	options  Options
	refused  bool // the report stands for an object that could not be compiled

	was    map[string]any // as it is
	status map[string]any // as it shall be
	events []model.Event
	taken  bool // an operation that was asked for has ended

	stateKept bool // the state of the last operation stands as it was
}

func newWriter(report *model.Report, previous *unstructured.Unstructured, options Options) *writer {
	was := statusOf(previous)
	return &writer{report: report, previous: previous, options: options, was: was, status: runtime.DeepCopyJSON(was)}
}

// statusOf is the status as it stands; never nil.
func statusOf(o *unstructured.Unstructured) map[string]any {
	status, ok := o.Object["status"].(map[string]any)
	if !ok {
		return map[string]any{}
	}
	return status
}

// multiple reports whether the Application has spec.sources.
func (w *writer) multiple() bool { return multiple(w.previous) }

func multiple(o *unstructured.Unstructured) bool {
	sources, _, _ := unstructured.NestedSlice(o.Object, "spec", "sources")
	return len(sources) > 0
}

// sourceOf is spec.source, or what a hydrated Application reads (SyncSource).
func sourceOf(o *unstructured.Unstructured) map[string]any {
	if hydrator := child(o.Object, "spec", "sourceHydrator"); hydrator != nil {
		source := map[string]any{}
		for field, from := range map[string]any{
			"repoURL":        child(hydrator, "drySource")["repoURL"],
			"path":           child(hydrator, "syncSource")["path"],
			"targetRevision": child(hydrator, "syncSource")["targetBranch"],
		} {
			if from != nil {
				source[field] = from
			}
		}
		return source
	}
	return copied(child(o.Object, "spec", "source"))
}

// putSources writes what is read, as both forms of an Application do.
func putSources(into map[string]any, o *unstructured.Unstructured) {
	if multiple(o) {
		sources, _, _ := unstructured.NestedSlice(o.Object, "spec", "sources")
		into["sources"] = sources
		return
	}
	if source := sourceOf(o); source != nil {
		into["source"] = source
	}
}

// comparedTo is what a comparison of the spec as it stands is made with.
func comparedTo(o *unstructured.Unstructured) map[string]any {
	out := map[string]any{"destination": map[string]any{}}
	if destination := child(o.Object, "spec", "destination"); destination != nil {
		out["destination"] = copied(destination)
	}
	putSources(out, o)
	if ignored, ok, _ := unstructured.NestedSlice(o.Object, "spec", "ignoreDifferences"); ok && len(ignored) > 0 {
		out["ignoreDifferences"] = ignored
	}
	return out
}

// putRevisions writes revisions as both forms of an Application do.
func putRevisions(into map[string]any, revisions []string, many bool) {
	delete(into, "revision")
	delete(into, "revisions")
	switch {
	case many && len(revisions) > 0:
		into["revisions"] = texts(revisions)
	case !many && len(revisions) > 0 && revisions[0] != "":
		into["revision"] = revisions[0]
	}
}

// compared writes the state of the comparison, and with what it was made.
func (w *writer) compared() {
	sync := copied(child(w.was, "sync"))
	if sync == nil {
		sync = map[string]any{}
	}
	switch {
	case w.report.Compared:
		sync = map[string]any{"status": string(w.syncState()), "comparedTo": comparedTo(w.previous)}
		putRevisions(sync, w.revisions(), w.multiple())
	case w.failed():
		sync["status"] = string(model.SyncUnknown)
		sync["comparedTo"] = comparedTo(w.previous)
	case sync["status"] == nil:
		sync["status"] = string(model.SyncUnknown)
	}
	w.status["sync"] = sync
	if before, _ := child(w.was, "sync")["status"].(string); before != sync["status"] {
		w.event("Normal", reasonResourceUpdated, fmt.Sprintf("Updated sync status: %s -> %s", before, sync["status"]))
	}
}

// syncState is the state as compared; deletions that wait for a person are
// differences.
func (w *writer) syncState() model.SyncState {
	switch {
	case w.report.Sync == "":
		return model.SyncUnknown
	case w.report.Hold != nil && w.report.Sync == model.Synced:
		return model.OutOfSync
	}
	return w.report.Sync
}

// failed reports whether the run found that nothing can be said any more. What
// only waits, or failed after the comparison, leaves the last word as it is.
func (w *writer) failed() bool {
	fault := w.report.Fault
	return fault != nil && !fault.Waiting && !w.report.Compared && kindOfFault(w.report) != conditionSync && kindOfFault(w.report) != conditionDeletion
}

func (w *writer) revisions() []string {
	var out []string
	for _, input := range w.report.Inputs {
		out = append(out, commitOf(input.Revision))
	}
	if len(out) == 0 && w.report.Revision != "" && !w.multiple() {
		out = []string{commitOf(w.report.Revision)}
	}
	return out
}

// origins writes how the sources were rendered, and who controls.
func (w *writer) origins() {
	if w.report.Compared {
		var kinds []string
		for _, input := range w.report.Inputs {
			kinds = append(kinds, sourceType(input.Kind))
		}
		delete(w.status, "sourceType")
		delete(w.status, "sourceTypes")
		switch {
		case w.multiple() && len(kinds) > 0:
			w.status["sourceTypes"] = texts(kinds)
		case len(kinds) > 0 && kinds[0] != "":
			w.status["sourceType"] = kinds[0]
		}
	}
	namespace := w.options.ControllerNamespace
	if namespace == "" && w.report.Source.Group == "plumb.dev" {
		namespace = w.report.Source.Namespace
	}
	if namespace != "" {
		w.status["controllerNamespace"] = namespace
	}
}

// sourceType is how a source was rendered; what only others refer to is of none.
func sourceType(kind string) string {
	if kind == string(model.RenderNothing) {
		return ""
	}
	return kind
}

// edits is what to write: nothing when a reader would find nothing new.
func (w *writer) edits() model.Edits {
	out := model.Edits{Events: w.events, Finalizers: w.finalizers(), Annotations: w.annotations()}
	if w.taken && w.previous.Object["operation"] != nil {
		out.Fields = map[string]any{"operation": nil}
	}
	if w.report.Deleted {
		return out
	}
	w.fit()
	_, refreshed := out.Annotations[AnnotationRefresh]
	if w.news() || refreshed || out.Fields != nil {
		if w.report.Compared || w.failed() || w.status["reconciledAt"] == nil || w.ended() {
			w.status["reconciledAt"] = timestamp(w.looked())
		}
		out.Status = w.status
	}
	return out
}

// ended reports whether the last operation has ended since the status was looked
// at as a whole. One that found nothing to do ends without another look.
func (w *writer) ended() bool {
	text, _ := w.status["reconciledAt"].(string)
	at, err := time.Parse(time.RFC3339, text)
	op := w.report.Operation
	return op != nil && err == nil && op.Finished.After(at)
}

// looked is when the delivery was looked at: not before the end of its last
// operation, since command lines that wait for a sync go on until then.
func (w *writer) looked() time.Time {
	if op := w.report.Operation; op != nil && op.Finished.After(w.report.At) {
		return op.Finished
	}
	return w.report.At
}

// news reports whether the status tells anything new but when it was looked at.
func (w *writer) news() bool {
	without := func(status map[string]any) map[string]any {
		out := map[string]any{}
		for field, value := range status {
			if field != "reconciledAt" && field != "observedAt" {
				out[field] = value
			}
		}
		return out
	}
	return !sameJSON(without(w.was), without(w.status))
}

// annotations are those that have done their duty.
func (w *writer) annotations() map[string]string {
	out := map[string]string{}
	if token, _ := Wake(w.previous); token != "" && w.report.Handled == token && !w.report.Running {
		out[AnnotationRefresh] = ""
	}
	approved := w.previous.GetAnnotations()[AnnotationApprove]
	if approved != "" && w.report.Phase == model.PhaseDone && w.report.Fault == nil && w.report.Hold == nil && !w.report.Running && w.report.Compared {
		out[AnnotationApprove] = "" // it must not approve the same deletions again later
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// finalizers are upstream's: those of deletion hooks come and go with the
// hooks, and all of them go when everything that had to go is gone.
func (w *writer) finalizers() map[string]bool {
	present := w.previous.GetFinalizers()
	out := map[string]bool{}
	if w.report.Deleted {
		for _, name := range present {
			if ours(name) {
				out[name] = false
			}
		}
		return orNil(out)
	}
	if !w.report.Compared || w.previous.GetDeletionTimestamp() != nil {
		return nil
	}
	for _, phase := range []struct {
		phase model.SyncPhase
		name  string
	}{{model.PreDelete, FinalizerPreDelete}, {model.PostDelete, FinalizerPostDelete}} {
		wanted := slices.ContainsFunc(w.report.Resources, func(r model.Resource) bool { return slices.Contains(r.Stage.Hooks, phase.phase) })
		for _, name := range []string{phase.name, phase.name + cleanup} {
			if slices.Contains(present, name) != wanted {
				out[name] = wanted
			}
		}
	}
	return orNil(out)
}

// ours reports whether a finalizer is one that the controller acts on.
func ours(name string) bool {
	for _, known := range []string{FinalizerResources, FinalizerForeground, FinalizerBackground, FinalizerPreDelete, FinalizerPreDelete + cleanup, FinalizerPostDelete, FinalizerPostDelete + cleanup} {
		if name == known {
			return true
		}
	}
	return false
}

// Reasons of events (util/argo, audit_logger.go).
const (
	reasonResourceUpdated    = "ResourceUpdated"
	reasonOperationStarted   = "OperationStarted"
	reasonOperationCompleted = "OperationCompleted"
)

const maxEvent = 1000 // bytes; the API server takes 1,024

func (w *writer) event(kind, reason, message string) {
	event := model.Event{Type: kind, Reason: reason, Message: reader.Clip(message, maxEvent)}
	if destination := child(w.previous.Object, "spec", "destination"); destination != nil {
		event.Annotations = map[string]string{}
		for mark, field := range map[string]string{"dest-server": "server", "dest-namespace": "namespace"} {
			if value, _ := destination[field].(string); value != "" {
				event.Annotations[mark] = value
			}
		}
	}
	w.events = append(w.events, event)
}

// child is the map at a path; nil when there is none.
func child(fields map[string]any, path ...string) map[string]any {
	for _, name := range path {
		next, ok := fields[name].(map[string]any)
		if !ok {
			return nil
		}
		fields = next
	}
	return fields
}

func copied(fields map[string]any) map[string]any {
	if fields == nil {
		return nil
	}
	return runtime.DeepCopyJSON(fields)
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func orNil(m map[string]bool) map[string]bool {
	if len(m) == 0 {
		return nil
	}
	return m
}

// sameJSON compares as the API server would: an int64 equals the float64 that
// the same number may be decoded to.
func sameJSON(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	left, err := json.Marshal(a)
	if err != nil {
		return false
	}
	right, err := json.Marshal(b)
	return err == nil && string(left) == string(right)
}

// put writes a field, or removes it when there is nothing to say.
func put(fields map[string]any, name, value string) {
	if value == "" {
		delete(fields, name)
		return
	}
	fields[name] = value
}

// timestamp is metav1.Time's form.
func timestamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }
