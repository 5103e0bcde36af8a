package flux

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

const msgInProgress = "Reconciliation in progress"

// projectArtifactGenerator writes the status as source-watcher does
// (internal/controller/artifactgenerator_controller.go). There an object is
// ready when its artifacts are built; here that is told by the ExternalArtifacts
// that it makes.
func projectArtifactGenerator(report *model.Report, previous *unstructured.Unstructured) model.Edits {
	edits := model.Edits{Finalizer: generatorFinalizer, Finalize: !report.Deleted}
	if report.Deleted {
		return edits
	}
	w := generatorWriter{report: report, draft: newDraft(previous, report.At, report.Generation)}
	switch {
	case report.Phase == model.PhaseDelete, report.Suspended: // upstream writes nothing
	case report.Running:
		w.progressing()
	case report.Fault != nil:
		w.failed(report.Fault)
	case report.Hold != nil:
		w.held()
	case report.Phase == model.PhaseDone:
		w.generated()
	}
	return w.finish(edits, report.Handled, report.Findings)
}

type generatorWriter struct {
	draft
	report *model.Report
}

func (w *generatorWriter) event(kind, reason, message string) {
	w.events = append(w.events, model.Event{Type: kind, Reason: reason, Message: reader.Clip(message, maxEvent)})
}

func (w *generatorWriter) progressing() {
	w.now.remove(conditionStalled)
	w.now.set(conditionReconciling, statusTrue, reasonProgressing, msgInProgress)
	w.now.set(conditionReady, statusUnknown, reasonProgressing, msgInProgress)
}

// failed tells kstatus whether it is tried again.
func (w *generatorWriter) failed(fault *model.Fault) {
	reason, message := faultReason(fault, reasonReconcileFailed), faultText(fault)
	w.now.fail(fault, reason, message, reasonProgressingWithRetry, msgInProgress)
	if said(w.now.get(conditionReady)) != said(w.was.get(conditionReady)) {
		w.event(eventType(fault.Waiting), reason, message)
	}
}

func (w *generatorWriter) held() {
	w.inventory()
	told := *w.report
	told.Revision = orElse(told.Revision, "latest")
	message := heldMessage(&told)
	w.now.remove(conditionReconciling)
	w.now.set(conditionReady, statusFalse, reasonPruneHeld, message)
	w.now.set(conditionStalled, statusTrue, reasonPruneHeld, message)
	if said(w.now.get(conditionReady)) != said(w.was.get(conditionReady)) {
		w.event("Warning", reasonPruneHeld, message)
	}
}

// generated marks a run that made every ExternalArtifact; whether they are built
// is told by themselves, and an older report of one that is not known counts as
// built.
func (w *generatorWriter) generated() {
	changed := w.inventory()
	for _, child := range w.report.Children {
		ready := newConditions(child).get(conditionReady)
		if ready == nil || ready["status"] == statusUnknown {
			w.progressing()
			return
		}
		if ready["status"] == statusFalse {
			reason, _ := ready["reason"].(string)
			message, _ := ready["message"].(string)
			w.failed(&model.Fault{Reason: reason, Message: fmt.Sprintf("%s build failed: %s", child.GetName(), message), Retry: true})
			return
		}
	}
	count, _ := w.status["inventory"].([]any)
	w.now.remove(conditionReconciling, conditionStalled)
	w.now.set(conditionReady, statusTrue, reasonSucceeded, fmt.Sprintf("reconciliation succeeded, generated %d artifact(s)", len(count)))
	if len(changed) > 0 {
		w.event("Normal", conditionReady, "external artifacts reconciled: "+strings.Join(changed, "\n"))
	}
}

// inventory writes what is owned, with what is known of each artifact, and
// returns the artifacts whose content the status did not know.
func (w *generatorWriter) inventory() []string {
	if w.report.Inventory == nil {
		return nil
	}
	before := map[string]string{}
	known, _, _ := unstructured.NestedSlice(w.previous.Object, "status", "inventory")
	for _, item := range known {
		entry, _ := item.(map[string]any)
		name, _ := entry["name"].(string)
		before[name], _ = entry["digest"].(string)
	}
	var list []any
	var changed []string
	for _, claim := range w.report.Inventory {
		digest, file := w.artifactOf(claim.ID.Name)
		list = append(list, map[string]any{"name": claim.ID.Name, "namespace": claim.ID.Namespace, "digest": digest, "filename": file})
		if digest != "" && before[claim.ID.Name] != digest {
			changed = append(changed, fmt.Sprintf("%s/%s (%s)", claim.ID.Namespace, claim.ID.Name, digest))
		}
	}
	if len(list) == 0 {
		delete(w.status, "inventory")
		return nil
	}
	w.status["inventory"] = list
	return changed
}

// artifactOf is the digest and the file of an ExternalArtifact, "" while it has
// none.
func (w *generatorWriter) artifactOf(name string) (digest, file string) {
	at := slices.IndexFunc(w.report.Children, func(child *unstructured.Unstructured) bool {
		return child.GetName() == name && child.GetKind() == kindExternalArtifact
	})
	if at < 0 {
		return "", ""
	}
	artifact := lastArtifact(w.report.Children[at])
	if artifact == nil {
		return "", ""
	}
	return artifact.Digest, path.Base(artifact.Path)
}
