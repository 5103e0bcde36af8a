package flux

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
)

// projectGitRepository writes the status as source-controller does
// (internal/controller/gitrepository_controller.go and
// internal/reconcile/summarize).
func projectGitRepository(report *model.SourceReport, previous *unstructured.Unstructured) model.Edits {
	edits := model.Edits{Finalizer: Finalizer, Finalize: !report.Deleted}
	if report.Deleted {
		return edits
	}
	w := gitWriter{
		report:   report,
		previous: previous,
		status:   statusOf(previous),
		was:      newConditions(previous),
		now:      newConditions(previous).stamp(report.At, report.Generation),
	}
	switch {
	case report.Suspended: // upstream leaves everything as it was
	case report.Fault != nil:
		w.failed()
	case report.Running:
		w.running()
	case report.Artifact != nil:
		w.stored()
	}
	if report.Handled != "" {
		w.status["lastHandledReconcileAt"] = report.Handled
	}
	w.events = append(w.events, w.now.writeFindings(report.Findings)...)
	edits.Status = finish(w.status, w.now)
	edits.Events = w.events
	return edits
}

type gitWriter struct {
	report   *model.SourceReport
	previous *unstructured.Unstructured
	status   map[string]any
	was, now *conditions
	events   []model.Event
}

// failConditions are the abnormal-true conditions of a GitRepository.
var failConditions = []string{conditionFetchFailed, conditionIncludeUnavailable, conditionStorageFailed}

// The conditions that a fault sets, by its reason; FetchFailed otherwise.
var (
	verificationReasons = []string{reasonVerificationError, reasonInvalidVerificationMode, "InvalidGitObject", "InvalidTagSignature", "InvalidCommitSignature"}
	storageReasons      = []string{"DirectoryCreationFailed", "StatOperationFailed", "InvalidPath", "AcquireLockFailed", "ArchiveOperationFailed", "CopyFailure", "IllegalPath", "SourceIgnoreError"}
	includeReasons      = []string{"NotFound", "NoArtifact"}
)

// failed keeps the last artifact: whoever reads it goes on with the last good
// revision.
func (w *gitWriter) failed() {
	fault := w.report.Fault
	reason, message := faultReason(fault, "GitOperationFailed"), faultText(fault)
	w.keepArtifact()
	w.now.remove(failConditions...)
	w.forgetFailedVerification(reason)
	switch {
	case slices.Contains(verificationReasons, reason):
		w.now.set(conditionSourceVerified, statusFalse, reason, message)
	case slices.Contains(storageReasons, reason):
		w.restore(conditionStorageFailed)
		w.now.set(conditionStorageFailed, statusTrue, reason, message)
	case slices.Contains(includeReasons, reason):
		w.restore(conditionIncludeUnavailable)
		w.now.set(conditionIncludeUnavailable, statusTrue, reason, message)
	default:
		w.restore(conditionFetchFailed)
		w.now.set(conditionFetchFailed, statusTrue, reason, message)
	}
	w.now.set(conditionReady, statusFalse, reason, message)
	w.now.observe(conditionArtifactInStorage)
	if stalls(fault) {
		w.now.remove(conditionReconciling)
		w.now.set(conditionStalled, statusTrue, reason, message)
		w.status["observedGeneration"] = w.report.Generation
	} else {
		w.now.remove(conditionStalled)
		w.now.set(conditionReconciling, statusTrue, reasonProgressingWithRetry, "reconciliation in progress")
	}
	if said(w.now.get(conditionReady)) != said(w.was.get(conditionReady)) {
		w.event(eventType(fault.Waiting), reason, message, nil)
	}
}

// forgetFailedVerification drops a verification that failed before, since it is
// not what fails now; one that passed goes on to speak for the last artifact.
func (w *gitWriter) forgetFailedVerification(reason string) {
	if w.now.is(conditionSourceVerified, statusFalse) && !slices.Contains(verificationReasons, reason) {
		w.now.remove(conditionSourceVerified)
	}
}

// restore brings back a condition that was there, so that its transition time
// stays.
func (w *gitWriter) restore(kind string) {
	if before := w.was.get(kind); before != nil {
		w.now.list = append(w.now.list, copyOf(before))
	}
}

// running marks a fetch that takes long enough to be seen (fluxcd/pkg
// runtime/reconcile, ProgressiveStatus).
func (w *gitWriter) running() {
	w.keepArtifact()
	message := w.report.Message
	if message == "" {
		message = "reconciliation in progress"
		if observed, _, _ := unstructured.NestedInt64(w.previous.Object, "status", "observedGeneration"); observed != w.report.Generation {
			message = fmt.Sprintf("processing object: new generation %d -> %d", observed, w.report.Generation)
		}
	}
	w.now.remove(conditionStalled)
	w.now.set(conditionReconciling, statusTrue, reasonProgressing, message)
	if ready := w.now.get(conditionReady); ready == nil || ready["status"] == statusUnknown {
		w.now.set(conditionReady, statusUnknown, reasonProgressing, message)
	}
}

// stored marks a fetch that went well.
func (w *gitWriter) stored() {
	before := lastArtifact(w.previous)
	recovered := slices.ContainsFunc(failConditions, func(kind string) bool { return w.was.get(kind) != nil })
	message := fmt.Sprintf("stored artifact for revision '%s'", w.report.Artifact.Revision)

	w.keepArtifact()
	w.observed()
	w.now.remove(slices.Concat(failConditions, []string{conditionArtifactOutdated, conditionReconciling, conditionStalled})...)
	w.now.set(conditionArtifactInStorage, statusTrue, reasonSucceeded, message)
	w.now.set(conditionReady, statusTrue, reasonSucceeded, message)
	w.verified()
	w.status["observedGeneration"] = w.report.Generation

	switch {
	case before == nil || before.Digest != w.report.Artifact.Digest || before.Revision != w.report.Artifact.Revision:
		w.event("Normal", reasonNewArtifact, w.commitMessage(), w.artifactMarks())
	case recovered:
		w.event("Normal", reasonSucceeded, w.commitMessage(), w.artifactMarks())
	}
}

func (w *gitWriter) commitMessage() string {
	what := w.report.Commit.Message
	if what == "" {
		what = w.report.Artifact.Revision
	}
	return fmt.Sprintf("stored artifact for commit '%s'", what)
}

func (w *gitWriter) artifactMarks() map[string]string {
	return map[string]string{
		GroupSource + "/revision": w.report.Artifact.Revision,
		GroupSource + "/digest":   w.report.Artifact.Digest,
	}
}

// verified keeps SourceVerified while verification is asked for.
func (w *gitWriter) verified() {
	verify, asked, _ := unstructured.NestedMap(w.previous.Object, "spec", "verify")
	if !asked && w.report.Verified == "" {
		w.now.remove(conditionSourceVerified)
		delete(w.status, "sourceVerificationMode")
		return
	}
	if w.report.Verified == "" { // not looked at again: a good answer stands
		w.forgetFailedVerification("")
		w.now.observe(conditionSourceVerified)
		return
	}
	mode, _ := verify["mode"].(string)
	w.status["sourceVerificationMode"] = string(verifyMode(mode))
	message := w.report.Verified
	if !strings.HasPrefix(message, "verified") {
		message = fmt.Sprintf("verified signature of\n\t- %s with key '%s'", w.report.Artifact.Revision, w.report.Verified)
	}
	w.now.set(conditionSourceVerified, statusTrue, reasonSucceeded, message)
}

// keepArtifact writes the artifact, if there is one and it is another.
func (w *gitWriter) keepArtifact() {
	artifact := w.report.Artifact
	if artifact == nil {
		return
	}
	if before := lastArtifact(w.previous); before != nil && sameArtifact(*before, *artifact) {
		return
	}
	w.status["artifact"] = writtenArtifact(*artifact)
}

// sameArtifact leaves out the time, which is no part of what is served.
func sameArtifact(a, b model.Artifact) bool {
	if len(a.Metadata) != len(b.Metadata) {
		return false
	}
	for key, value := range a.Metadata {
		if b.Metadata[key] != value {
			return false
		}
	}
	return a.Revision == b.Revision && a.Digest == b.Digest && a.Path == b.Path && a.URL == b.URL && a.Size == b.Size
}

func writtenArtifact(artifact model.Artifact) map[string]any {
	out := map[string]any{
		"revision":       artifact.Revision,
		"path":           artifact.Path,
		"url":            artifact.URL,
		"lastUpdateTime": timestamp(artifact.Updated),
	}
	setText(out, "digest", artifact.Digest)
	if artifact.Size > 0 {
		out["size"] = artifact.Size
	}
	if len(artifact.Metadata) > 0 {
		metadata := map[string]any{}
		for key, value := range artifact.Metadata {
			metadata[key] = value
		}
		out["metadata"] = metadata
	}
	return out
}

// observed writes with which settings the artifact was made: upstream compares
// them to decide whether it has to be made again.
func (w *gitWriter) observed() {
	spec, _, _ := unstructured.NestedMap(w.previous.Object, "spec")
	copyField := func(field, observed string) {
		value, ok := spec[field]
		if !ok || value == nil || value == false {
			delete(w.status, observed)
			return
		}
		w.status[observed] = value
	}
	if w.report.Generation == w.previous.GetGeneration() {
		copyField("ignore", "observedIgnore")
		copyField("include", "observedInclude")
		copyField("recurseSubmodules", "observedRecurseSubmodules")
		copyField("sparseCheckout", "observedSparseCheckout")
	}
	w.includedArtifacts()
}

func (w *gitWriter) includedArtifacts() {
	if len(w.report.Includes) == 0 {
		delete(w.status, "includedArtifacts")
		return
	}
	before, _, _ := unstructured.NestedSlice(w.status, "includedArtifacts")
	list := make([]any, len(w.report.Includes))
	for i, artifact := range w.report.Includes {
		list[i] = writtenArtifact(artifact)
		if i >= len(before) {
			continue
		}
		if written, ok := before[i].(map[string]any); ok && sameArtifact(*artifactOf(written), artifact) {
			list[i] = written
		}
	}
	w.status["includedArtifacts"] = list
}

func (w *gitWriter) event(kind, reason, message string, marks map[string]string) {
	w.events = append(w.events, model.Event{Type: kind, Reason: reason, Message: clip(message, maxEvent), Annotations: annotations(marks)})
}
