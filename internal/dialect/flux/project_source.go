package flux

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// project writes the status of a source as source-controller does
// (internal/controller/*_controller.go and internal/reconcile/summarize): the
// same conditions for every kind, in the words of each.
func (voice sourceVoice) project(report *model.SourceReport, previous *unstructured.Unstructured) model.Edits {
	edits := model.Edits{Finalizer: Finalizer, Finalize: !report.Deleted}
	if report.Deleted {
		return edits
	}
	w := sourceWriter{voice: voice, report: report, draft: newDraft(previous, report.At, report.Generation)}
	switch {
	case report.Suspended: // upstream leaves everything as it was
	case report.Fault != nil:
		w.failed()
	case report.Running:
		w.running()
	case report.Artifact != nil:
		w.stored()
	}
	return w.finish(edits, report.Handled, report.Findings)
}

// sourceVoice is what a kind has of its own to say.
type sourceVoice struct {
	failed string // reason of a fetch that failed for a reason that has no word
	// stored is what ArtifactInStorage and Ready say of the artifact.
	stored func(w *sourceWriter) (reason, message string)
	// news is the reason and the message of the event for a new artifact;
	// recovered, where it is another, the reason of one that could be had again.
	news      func(w *sourceWriter) (reason, message string)
	recovered string
	// verified is what SourceVerified says where the report tells the signer only.
	verified func(w *sourceWriter) string
	// observed writes with which settings the artifact was made.
	observed func(w *sourceWriter)
}

type sourceWriter struct {
	draft
	voice  sourceVoice
	report *model.SourceReport
}

// failConditions are the abnormal-true conditions of sources.
var failConditions = []string{conditionFetchFailed, conditionBuildFailed, conditionIncludeUnavailable, conditionStorageFailed}

// The conditions that a fault sets, by its reason; FetchFailed otherwise.
var (
	verificationReasons = []string{reasonVerificationError, reasonInvalidVerificationMode, "InvalidGitObject", "InvalidTagSignature", "InvalidCommitSignature"}
	storageReasons      = []string{"DirectoryCreationFailed", "StatOperationFailed", "InvalidPath", "AcquireLockFailed", "ArchiveOperationFailed", "CopyFailure", "IllegalPath", "SourceIgnoreError"}
	includeReasons      = []string{"NotFound", "NoArtifact"}
	buildReasons        = []string{"MetadataPatchError", "ValuesFilesError", "DependencyBuildError", "ChartPackageError", reasonChartVerification}
)

// failed keeps the last artifact: whoever reads it goes on with the last good
// revision.
func (w *sourceWriter) failed() {
	fault := w.report.Fault
	reason, message := faultReason(fault, w.voice.failed), faultText(fault)
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
	case slices.Contains(buildReasons, reason):
		w.restore(conditionBuildFailed)
		w.now.set(conditionBuildFailed, statusTrue, reason, message)
		if reason == reasonChartVerification {
			w.now.set(conditionSourceVerified, statusFalse, reasonVerificationError, message)
		}
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
func (w *sourceWriter) forgetFailedVerification(reason string) {
	if w.now.is(conditionSourceVerified, statusFalse) && !slices.Contains(verificationReasons, reason) {
		w.now.remove(conditionSourceVerified)
	}
}

// restore brings back a condition that was there, so that its transition time
// stays.
func (w *sourceWriter) restore(kind string) {
	if before := w.was.get(kind); before != nil {
		w.now.list = append(w.now.list, copyOf(before))
	}
}

// running marks a fetch that takes long enough to be seen (fluxcd/pkg
// runtime/reconcile, ProgressiveStatus).
func (w *sourceWriter) running() {
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
func (w *sourceWriter) stored() {
	before := lastArtifact(w.previous)
	recovered := slices.ContainsFunc(failConditions, func(kind string) bool { return w.was.get(kind) != nil })
	reason, message := w.voice.stored(w)

	w.keepArtifact()
	if w.voice.observed != nil {
		w.voice.observed(w)
	}
	w.now.remove(slices.Concat(failConditions, []string{conditionArtifactOutdated, conditionReconciling, conditionStalled})...)
	w.now.set(conditionArtifactInStorage, statusTrue, reason, message)
	w.now.set(conditionReady, statusTrue, reason, message)
	w.verified()
	w.status["observedGeneration"] = w.report.Generation

	told, news := w.voice.news(w)
	switch {
	case before == nil || before.Digest != w.report.Artifact.Digest || before.Revision != w.report.Artifact.Revision:
		w.event("Normal", told, news, w.artifactMarks())
	case recovered:
		w.event("Normal", orElse(w.voice.recovered, told), news, w.artifactMarks())
	}
}

func (w *sourceWriter) artifactMarks() map[string]string {
	return map[string]string{
		GroupSource + "/revision": w.report.Artifact.Revision,
		GroupSource + "/digest":   w.report.Artifact.Digest,
	}
}

// verified keeps SourceVerified while verification is asked for.
func (w *sourceWriter) verified() {
	_, asked, _ := unstructured.NestedMap(w.previous.Object, "spec", "verify")
	if !asked && w.report.Verified == "" {
		w.now.remove(conditionSourceVerified)
		return
	}
	if w.report.Verified == "" { // not looked at again: a good answer stands
		w.forgetFailedVerification("")
		w.now.observe(conditionSourceVerified)
		return
	}
	message := w.report.Verified
	if !strings.HasPrefix(message, "verified") {
		message = w.voice.verified(w)
	}
	w.now.set(conditionSourceVerified, statusTrue, reasonSucceeded, message)
}

// keepArtifact writes the artifact, if there is one and it is another.
func (w *sourceWriter) keepArtifact() {
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

// observe writes fields of the spec as the settings that the artifact was made
// with, unless the report is of an older spec. An absent field is removed.
func (w *sourceWriter) observe(fields map[string]string) {
	if w.report.Generation != w.previous.GetGeneration() {
		return
	}
	spec, _, _ := unstructured.NestedMap(w.previous.Object, "spec")
	for field, observed := range fields {
		value, ok := spec[field]
		if !ok || value == nil || value == false {
			delete(w.status, observed)
			continue
		}
		w.status[observed] = value
	}
}

// specText is a field of the spec.
func (w *sourceWriter) specText(fields ...string) string {
	text, _, _ := unstructured.NestedString(w.previous.Object, append([]string{"spec"}, fields...)...)
	return text
}

// links writes the address of the newest artifact, whichever it is.
func (w *sourceWriter) links(name string) {
	if at := strings.LastIndexByte(w.report.Artifact.URL, '/'); at >= 0 {
		w.status["url"] = w.report.Artifact.URL[:at+1] + name
	}
}

func (w *sourceWriter) event(kind, reason, message string, marks map[string]string) {
	w.events = append(w.events, model.Event{Type: kind, Reason: reason, Message: reader.Clip(message, maxEvent), Annotations: annotations(marks)})
}
