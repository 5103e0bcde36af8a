package flux

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// projectHelmRelease writes the status as helm-controller does. What Helm's life
// cycle came to is in report.Release, conditions and events included; what keeps
// it from beginning is written here (internal/controller
// helmrelease_controller.go).
func projectHelmRelease(report *model.Report, previous *unstructured.Unstructured) model.Edits {
	edits := model.Edits{Finalizer: Finalizer, Finalize: !report.Deleted}
	w := releaseWriter{report: report, release: report.Release, draft: newDraft(previous, report.At, report.Generation)}
	if report.Deleted { // said once: there is no object afterwards
		edits.Drops = deletedChart(previous)
		w.lifeEvents()
		edits.Events = w.events
		return edits
	}
	if !report.Suspended { // upstream leaves everything as it was
		w.account()
		w.judge()
		w.observe()
		edits.Makes, edits.Drops = keepChart(w.status, previous)
	}
	w.handled()
	edits = w.finish(edits, report.Handled, report.Findings)
	w.lifeEvents()
	edits.Events = w.events
	return edits
}

type releaseWriter struct {
	draft
	report  *model.Report
	release *model.ReleaseReport // nil: Helm's life cycle was not reached
}

// knowsLife reports whether the report tells of Helm's life cycle. One that says
// nothing at all is not taken for a release without history.
func (w *releaseWriter) knowsLife() bool {
	r := w.release
	return r != nil && (r.StoredIn != "" || r.Released != nil || r.Ready != nil || r.Reconciling != nil || r.Stalled != nil)
}

// account writes what is known of the release: records, counters, what was
// tried and what is owned.
func (w *releaseWriter) account() {
	keepInventory(w.status, w.report.Inventory)
	if !w.knowsLife() {
		return
	}
	release := w.release
	writeHistory(w.status, release.History)
	writeAttempt(w.status, release.Attempted)
	w.status.setNumber("failures", release.Failures)
	w.status.setNumber("installFailures", release.InstallFailures)
	w.status.setNumber("upgradeFailures", release.UpgradeFailures)
	setText(w.status, "storageNamespace", release.StoredIn)
	setText(w.status, "observedPostRenderersDigest", release.PostRenderersDigest)
	setText(w.status, "observedCommonMetadataDigest", release.CommonMetadataDigest)
}

// judge writes the conditions. A fault that Helm's life cycle does not know of
// goes over what it says.
func (w *releaseWriter) judge() {
	if w.knowsLife() {
		w.life()
	}
	switch {
	case w.report.Fault != nil && w.report.Fault.Reason != reasonPruneHeld && !w.told(w.report.Fault):
		w.failed()
	case w.report.Hold != nil:
		w.held()
	case w.report.Running && (!w.knowsLife() || w.release.Reconciling == nil):
		w.running()
	}
}

// running tells that Helm's life cycle is about to begin. What kept it from
// beginning before counts no more.
func (w *releaseWriter) running() {
	w.now.remove(conditionStalled)
	w.now.set(conditionReconciling, statusTrue, reasonProgressing, orElse(w.report.Message, fulfilling))
	ready := record(w.now.get(conditionReady))
	if ready == nil || prerequisites[ready.text("reason")] {
		w.now.set(conditionReady, statusUnknown, reasonProgressing, "reconciliation in progress")
	}
}

// fulfilling is what upstream says before it comes to Helm.
const fulfilling = "Fulfilling prerequisites"

// prerequisites are the reasons for which Helm's life cycle is not reached, and
// which count no more once it is looked at again.
var prerequisites = map[string]bool{
	reasonDependencyNotReady: true,
	reasonArtifactFailed:     true,
	reasonSourceNotReady:     true,
	reasonAccessDenied:       true,
	reasonValuesError:        true,
	reasonInvalidSpec:        true,
	reasonNotHandled:         true,
}

// life writes the conditions of Helm's life cycle: those that it does not name
// are not there.
func (w *releaseWriter) life() {
	for kind, verdict := range map[string]*model.Verdict{
		conditionReleased:    w.release.Released,
		conditionTestSuccess: w.release.Tested,
		conditionRemediated:  w.release.Remedied,
		conditionReconciling: w.release.Reconciling,
		conditionStalled:     w.release.Stalled,
		conditionDrifted:     w.release.Drift,
	} {
		w.now.tell(kind, verdict)
	}
	if w.release.Ready != nil {
		w.now.tell(conditionReady, w.release.Ready)
	}
}

// outcomes are the reasons of faults that Helm's life cycle has its own
// conditions for.
var outcomes = []string{
	helm.InstallFailed, helm.UpgradeFailed, helm.TestFailed, helm.RollbackFailed, helm.UninstallFailed,
	helm.RollbackSucceeded, helm.UninstallSucceeded, helm.PendingRelease, helm.DriftCorrectionFailed,
	helm.RetriesExceeded, helm.MissingRollbackTarget, helm.StateError,
}

// told reports whether the conditions of Helm's life cycle tell of the fault.
func (w *releaseWriter) told(fault *model.Fault) bool {
	return w.knowsLife() && slices.Contains(outcomes, fault.Reason)
}

// failed tells what keeps Helm from beginning, or stops it on the way. Upstream
// writes Ready and goes on reconciling, unless only a person can help.
func (w *releaseWriter) failed() {
	fault := w.report.Fault
	reason, message := faultReason(fault, reasonReconcileError), faultText(fault)
	if fault.Waiting && reason == reasonArtifactFailed {
		reason = reasonSourceNotReady
	}
	w.now.fail(fault, reason, message, reasonProgressing, fulfilling)
	if said(w.now.get(conditionReady)) != said(w.was.get(conditionReady)) && reason != reasonSourceNotReady {
		w.event(eventType(fault.Waiting), reason, message, nil)
	}
}

// held tells of deletions that wait for a person.
func (w *releaseWriter) held() {
	message := heldMessage(w.report)
	w.now.remove(conditionReconciling)
	w.now.set(conditionReady, statusFalse, reasonPruneHeld, message)
	w.now.set(conditionStalled, statusTrue, reasonPruneHeld, message)
	if said(w.now.get(conditionReady)) != said(w.was.get(conditionReady)) {
		w.event("Warning", reasonPruneHeld, message+"\n"+listed(w.report.Hold.Deletes), nil)
	}
}

// observe counts the generation as observed when nothing more happens to it:
// the release is ready, or stalled.
func (w *releaseWriter) observe() {
	if w.report.Running || w.now.get(conditionReconciling) != nil {
		return
	}
	if w.now.is(conditionReady, statusTrue) || w.now.get(conditionStalled) != nil || w.report.Phase == model.PhaseDone {
		w.status["observedGeneration"] = w.report.Generation
	}
}

// lifeEvents are those of Helm's life cycle, marked as upstream does. What is
// over again before anybody could read it is told, too: the status may be the
// same after drift was corrected.
func (w *releaseWriter) lifeEvents() {
	if w.release == nil {
		return
	}
	for _, event := range w.release.Events {
		w.event(event.Type, event.Reason, event.Message, event.Annotations)
	}
}

// event marks an event with the chart that was tried where it has no marks.
func (w *releaseWriter) event(kind, reason, message string, marks map[string]string) {
	if marks == nil && w.release != nil {
		marks = map[string]string{
			GroupHelm + "/revision":    w.release.Attempted.Revision,
			GroupHelm + "/token":       w.release.Attempted.ConfigDigest,
			GroupHelm + "/app-version": w.release.Chart.AppVersion,
			GroupHelm + "/oci-digest":  w.release.Attempted.OCIDigest,
		}
	}
	w.events = append(w.events, model.Event{Type: kind, Reason: reason, Message: reader.Clip(strings.TrimSpace(message), maxEvent), Annotations: annotations(marks)})
}

// heldMessage tells how to let deletions happen.
func heldMessage(report *model.Report) string {
	hold := report.Hold
	message := fmt.Sprintf("Pruning is held: %s of %d would be deleted", number(len(hold.Deletes), "object", "objects"), hold.Total)
	if hold.Why != "" {
		message += " (" + hold.Why + ")"
	}
	return message + fmt.Sprintf("; everything else of revision %s is applied; to go on set annotation %s=%s, or run plumb approve", report.Revision, AnnotationApprove, hold.Token)
}

// handled answers the requests that only a release has.
func (w *releaseWriter) handled() {
	if w.release == nil {
		return
	}
	if w.release.ForceHandled != "" {
		w.status["lastHandledForceAt"] = w.release.ForceHandled
	}
	if w.release.ResetHandled != "" {
		w.status["lastHandledResetAt"] = w.release.ResetHandled
	}
}
