package flux

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// projectKustomization writes the status as kustomize-controller does
// (internal/controller/kustomization_controller.go). The phases there write
// conditions as they go; here one function sees the whole report.
func projectKustomization(report *model.Report, previous *unstructured.Unstructured) model.Edits {
	edits := model.Edits{Finalizer: Finalizer, Finalize: !report.Deleted}
	w := kustomizationWriter{report: report, draft: newDraft(previous, report.At, report.Generation)}
	if report.Deleted { // said once: there is no object afterwards
		w.news = true
		w.changeEvents()
		edits.Events = w.events
		return edits
	}
	w.news = w.somethingHappened()
	switch {
	case report.Phase == model.PhaseDelete:
		w.deleting()
	case report.Suspended: // upstream leaves everything as it was
	case report.Running:
		w.running()
	case report.Fault != nil:
		w.failed()
	case report.Hold != nil:
		w.held()
	case report.Phase == model.PhaseDone:
		w.succeeded()
	}
	return w.finish(edits, report.Handled, report.Findings)
}

type kustomizationWriter struct {
	draft
	report *model.Report
	news   bool // the report tells of a run that the status does not know yet
}

// running marks a run that takes long enough to be seen.
func (w *kustomizationWriter) running() {
	keepInventory(w.status, w.report.Inventory)
	w.attempted()
	message := w.progress()
	w.now.remove(conditionStalled) // MarkReconciling of fluxcd/pkg does so
	w.now.set(conditionReconciling, statusTrue, reasonProgressing, message)
	w.now.set(conditionReady, statusUnknown, reasonProgressing, "Reconciliation in progress")
	if w.report.Phase == model.PhaseSettle {
		w.now.set(conditionHealthy, statusUnknown, reasonProgressing, message)
	}
}

// progress is the sentence that upstream has for each phase.
func (w *kustomizationWriter) progress() string {
	what := "Fetching manifests"
	switch w.report.Phase {
	case model.PhaseRender, model.PhaseGate:
		what = "Building manifests"
	case model.PhasePlan, model.PhaseApply, model.PhasePrune:
		what = "Detecting drift"
	case model.PhaseSettle:
		what = "Running health checks"
	}
	revision := ""
	if w.report.Revision != "" {
		revision = " for revision " + w.report.Revision
	}
	message := fmt.Sprintf("%s%s with a timeout of %s", what, revision, w.policy().Timeout)
	if w.report.Message != "" {
		message += ": " + w.report.Message
	}
	return message
}

// policy reads the timings of the object as it is now.
func (w *kustomizationWriter) policy() model.Policy {
	_, spec := read(w.previous)
	return policy(spec)
}

// failed marks a run that stopped. Before upstream starts to reconcile it
// writes Ready alone; afterwards Reconciling tells that it will be tried again.
func (w *kustomizationWriter) failed() {
	fault := w.report.Fault
	reason, message := faultReason(fault, reasonReconcileFailed), faultText(fault)
	keepInventory(w.status, w.report.Inventory)
	w.attempted()

	w.now.set(conditionReady, statusFalse, reason, message)
	switch {
	case stalls(fault):
		w.stall(reason, message)
	case w.beforeRun():
		w.now.remove(conditionStalled)
		if w.now.get(conditionReconciling) != nil {
			w.now.set(conditionReconciling, statusTrue, reasonProgressingWithRetry, w.now.message(conditionReconciling))
		}
	default:
		w.now.remove(conditionStalled)
		w.now.set(conditionReconciling, statusTrue, reasonProgressingWithRetry, w.retryMessage())
	}
	if reason == reasonHealthCheckFailed {
		w.now.set(conditionHealthy, statusFalse, reason, message)
	}
	if inHistory[reason] {
		w.remember(reason)
	}
	w.changeEvents()
	w.failureEvent(reason, message)
}

// retryMessage is that of the phase which failed, so that it stays the same
// from one try to the next.
func (w *kustomizationWriter) retryMessage() string {
	report := *w.report
	report.Message = ""
	again := *w
	again.report = &report
	return again.progress()
}

// beforeRun reports whether upstream would not have begun to reconcile.
func (w *kustomizationWriter) beforeRun() bool {
	return w.report.Fault.Waiting || w.report.Phase == model.PhaseResolve || w.report.Phase == model.PhaseQueued || w.report.Phase == ""
}

// stall tells kstatus that nothing happens until somebody changes something.
func (w *kustomizationWriter) stall(reason, message string) {
	w.now.remove(conditionReconciling)
	w.now.set(conditionStalled, statusTrue, reason, message)
	w.status["observedGeneration"] = w.report.Generation
}

// held marks a run that did everything but a mass deletion. The object is not
// ready, since the cluster is not what Git says, and it is stalled, since only
// a person can go on; its dependants wait.
func (w *kustomizationWriter) held() {
	keepInventory(w.status, w.report.Inventory)
	w.attempted()
	message := heldMessage(w.report)
	w.now.set(conditionReady, statusFalse, reasonPruneHeld, message)
	w.stall(reasonPruneHeld, message)
	w.changeEvents()
	w.healthy()
	if said(w.now.get(conditionReady)) != said(w.was.get(conditionReady)) {
		w.event("Warning", reasonPruneHeld, message+"\n"+listed(w.report.Hold.Deletes), nil)
	}
}

// succeeded marks a run that brought the cluster to what Git says.
func (w *kustomizationWriter) succeeded() {
	applied := w.report.Applied
	if applied == "" {
		applied = w.report.Revision
	}
	keepInventory(w.status, w.report.Inventory)
	w.status["observedGeneration"] = w.report.Generation
	setText(w.status, "lastAppliedRevision", applied)
	setText(w.status, "lastAppliedOriginRevision", w.report.OriginRevision)
	w.attempted()
	w.remember(reasonReconcileSucceeded)

	wasReady := w.was.is(conditionReady, statusTrue)
	w.now.remove(conditionReconciling, conditionStalled)
	w.now.set(conditionReady, statusTrue, reasonReconcileSucceeded, "Applied revision: "+applied)
	w.changeEvents()
	w.healthy()
	if w.news && (!wasReady || w.changed() || w.newlyHandled()) {
		w.event("Normal", reasonReconcileSucceeded,
			fmt.Sprintf("Reconciliation finished in %s, next run in %s", w.took(), w.policy().Interval),
			map[string]string{GroupKustomize + "/commit_status": "update"})
	}
}

// healthy keeps the Healthy condition, and its words while nothing changed: a
// new duration is no news.
func (w *kustomizationWriter) healthy() {
	switch {
	case w.report.Healthy == nil:
		w.now.remove(conditionHealthy)
		return
	case !*w.report.Healthy:
		w.now.set(conditionHealthy, statusFalse, reasonHealthCheckFailed, w.report.Message)
		return
	}
	wasHealthy := w.was.is(conditionHealthy, statusTrue)
	if wasHealthy && (!w.news || !w.changed()) {
		w.now.observe(conditionHealthy)
		return
	}
	message := fmt.Sprintf("Health check passed in %s", w.report.HealthRan.Round(time.Millisecond))
	w.now.set(conditionHealthy, statusTrue, reasonSucceeded, message)
	w.event("Normal", reasonProgressing, message, nil)
}

// deleting tells of a deletion that goes on or failed. Upstream writes an
// event only; the condition says it for longer.
func (w *kustomizationWriter) deleting() {
	keepInventory(w.status, w.report.Inventory)
	if w.report.Fault == nil {
		w.now.observe(conditionReady)
		return
	}
	reason, message := faultReason(w.report.Fault, reasonPruneFailed), faultText(w.report.Fault)
	w.now.set(conditionReady, statusFalse, reason, message)
	w.failureEvent(reason, "pruning for deleted resource failed: "+message)
}

// attempted is the revision that was tried, once there was something to try.
func (w *kustomizationWriter) attempted() {
	switch w.report.Phase {
	case model.PhaseQueued, model.PhaseResolve, "":
		return
	}
	if w.report.Revision != "" {
		w.status["lastAttemptedRevision"] = w.report.Revision
	}
}

// keepInventory writes what is owned. A report that does not know keeps the
// last list, and the same objects in another order are the same list.
func keepInventory(status map[string]any, inventory []model.Claim) {
	if inventory == nil {
		return
	}
	owned := slices.Clone(inventory)
	slices.SortFunc(owned, func(a, b model.Claim) int {
		switch {
		case a.ID.Less(b.ID):
			return -1
		case b.ID.Less(a.ID):
			return 1
		}
		return 0
	})
	want := map[string]string{}
	entries := make([]any, 0, len(owned))
	for _, claim := range owned {
		id := claim.ID.Inventory()
		if _, twice := want[id]; twice {
			continue
		}
		want[id] = claim.Version
		entries = append(entries, map[string]any{"id": id, "v": claim.Version})
	}
	if sameInventory(status, want) {
		return
	}
	status["inventory"] = map[string]any{"entries": entries}
}

func sameInventory(status map[string]any, want map[string]string) bool {
	list, ok, _ := unstructured.NestedSlice(status, "inventory", "entries")
	if !ok || len(list) != len(want) {
		return false
	}
	for _, entry := range list {
		fields, _ := entry.(map[string]any)
		id, _ := fields["id"].(string)
		version, known := want[id]
		if !known || fields["v"] != version {
			return false
		}
	}
	return true
}

// inHistory are the outcomes that upstream keeps: those of runs that had a
// set of objects to apply.
var inHistory = map[string]bool{
	reasonReconcileSucceeded: true,
	reasonReconcileFailed:    true,
	reasonPruneFailed:        true,
	reasonHealthCheckFailed:  true,
}

const historySize = 5 // fluxcd/pkg apis/meta, HistoryMaxSize

// remember keeps status.history: one entry for each digest and outcome, the
// latest first (fluxcd/pkg apis/meta, History.Upsert).
func (w *kustomizationWriter) remember(outcome string) {
	if !w.news || w.report.Digest == "" {
		return
	}
	history := w.history()
	now := timestamp(w.report.At)
	entry := map[string]any{"digest": w.report.Digest, "firstReconciled": now, "lastReconciledStatus": outcome, "totalReconciliations": int64(0)}
	for i, old := range history {
		if old["digest"] == w.report.Digest && old["lastReconciledStatus"] == outcome {
			entry = old
			history = slices.Delete(history, i, i+1)
			break
		}
	}
	total, _ := entry["totalReconciliations"].(int64)
	entry["totalReconciliations"] = total + 1
	entry["lastReconciled"] = now
	entry["lastReconciledDuration"] = w.took().String()
	metadata := map[string]any{"revision": w.report.Revision}
	setText(metadata, "originRevision", w.report.OriginRevision)
	entry["metadata"] = metadata

	kept := []any{entry}
	for _, old := range history {
		if len(kept) < historySize {
			kept = append(kept, old)
		}
	}
	w.status["history"] = kept
}

func (w *kustomizationWriter) history() []map[string]any {
	list, _, _ := unstructured.NestedSlice(w.status, "history")
	var out []map[string]any
	for _, item := range list {
		if entry, ok := item.(map[string]any); ok {
			out = append(out, copyOf(entry))
		}
	}
	return out
}

// somethingHappened reports whether the run is one that the status does not
// tell of: another revision, set of objects, outcome or request, or a change
// made since. Looking and finding everything as it was is none.
func (w *kustomizationWriter) somethingHappened() bool {
	report, outcome := w.report, w.outcome()
	if w.newlyHandled() {
		return true
	}
	if !inHistory[outcome] || report.Digest == "" {
		return w.was.get(conditionReady)["reason"] != outcome || w.previousText("lastAttemptedRevision") != report.Revision
	}
	history := w.history()
	if len(history) == 0 {
		return true
	}
	latest := history[0]
	revision, _, _ := unstructured.NestedString(latest, "metadata", "revision")
	if latest["digest"] != report.Digest || revision != report.Revision || latest["lastReconciledStatus"] != outcome {
		return true
	}
	written, _ := latest["lastReconciled"].(string)
	last, err := time.Parse(time.RFC3339, written)
	return w.changed() && (err != nil || report.At.Truncate(time.Second).After(last))
}

// outcome is the reason that Ready will have.
func (w *kustomizationWriter) outcome() string {
	switch {
	case w.report.Fault != nil:
		return faultReason(w.report.Fault, reasonReconcileFailed)
	case w.report.Hold != nil:
		return reasonPruneHeld
	}
	return reasonReconcileSucceeded
}

func (w *kustomizationWriter) newlyHandled() bool {
	return w.report.Handled != "" && w.report.Handled != w.previousText("lastHandledReconcileAt")
}

func (w *kustomizationWriter) previousText(field string) string {
	text, _, _ := unstructured.NestedString(w.previous.Object, "status", field)
	return text
}

// changed reports whether the run changed any object.
func (w *kustomizationWriter) changed() bool {
	return slices.ContainsFunc(w.report.Objects, func(o model.Outcome) bool { return o.Verb != "" && o.Verb != model.Forget && o.Fault == nil })
}

func (w *kustomizationWriter) took() time.Duration {
	if w.report.Started.IsZero() || w.report.At.Before(w.report.Started) {
		return 0
	}
	return w.report.At.Sub(w.report.Started)
}

// actions are upstream's words for verbs (fluxcd/pkg ssa, changeset.go).
var actions = map[model.Verb]string{
	model.Create:   "created",
	model.Update:   "configured",
	model.Correct:  "configured",
	model.Adopt:    "configured",
	model.Recreate: "created",
	model.Delete:   "deleted",
}

// changeEvents tells what was applied and what was pruned, in two events as
// upstream does, once for each run.
func (w *kustomizationWriter) changeEvents() {
	if !w.news {
		return
	}
	var applied, pruned []string
	for _, outcome := range w.report.Objects {
		action := actions[outcome.Verb]
		if action == "" || outcome.Fault != nil {
			continue
		}
		line := outcome.Object.String() + " " + action
		if outcome.Verb == model.Delete {
			pruned = append(pruned, line)
		} else {
			applied = append(applied, line)
		}
	}
	for _, lines := range [][]string{applied, pruned} {
		if len(lines) > 0 {
			slices.Sort(lines)
			w.event("Normal", reasonProgressing, strings.Join(lines, "\n"), nil)
		}
	}
}

// quietReasons are logged by upstream and no event: the source will come.
var quietReasons = map[string]bool{reasonArtifactFailed: true}

// failureEvent tells of a failure once, not at every try.
func (w *kustomizationWriter) failureEvent(reason, message string) {
	if said(w.now.get(conditionReady)) == said(w.was.get(conditionReady)) {
		return
	}
	fault := w.report.Fault
	switch {
	case fault.Waiting && quietReasons[reason]:
	case fault.Waiting:
		w.event("Normal", reason, message, nil)
	default:
		w.event("Warning", reason, message, nil)
	}
}

const maxEvent = 1000 // the API server takes 1,024 bytes

func (w *kustomizationWriter) event(kind, reason, message string, more map[string]string) {
	marks := map[string]string{GroupKustomize + "/revision": w.report.Revision, GroupKustomize + "/originRevision": w.report.OriginRevision}
	for key, value := range more {
		marks[key] = value
	}
	w.events = append(w.events, model.Event{Type: kind, Reason: reason, Message: reader.Clip(message, maxEvent), Annotations: annotations(marks)})
}

func listed(ids []object.ID) string {
	lines := make([]string, len(ids))
	for i, id := range ids {
		lines[i] = id.String()
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
