package status

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// OperationID names the operation that an Application asks for: a digest of its
// field operation; "" when it asks for none. The same request made again, once
// the first has ended and the field has gone, has the same ID.
func OperationID(o *unstructured.Unstructured) string {
	asked, ok := o.Object["operation"].(map[string]any)
	if !ok {
		return ""
	}
	canonical, err := json.Marshal(asked)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:16])
}

// maxOperationMessage bounds operationState.message and those of its results,
// in bytes.
const (
	maxOperationMessage = 8192
	maxResultMessage    = 1024
)

// operation writes the state of the last operation. One that the status tells
// of to its end stays as it is.
func (w *writer) operation() {
	op := w.report.Operation
	if w.stateKept = op == nil || w.recorded(op); w.stateKept {
		return
	}
	old := child(w.was, "operationState")
	begun := old["startedAt"] == timestamp(op.Started)
	state := map[string]any{
		"operation": w.asked(op),
		"phase":     string(op.Phase),
		"startedAt": timestamp(op.Started),
	}
	put(state, "message", w.operationMessage(op))
	if !op.Finished.IsZero() {
		state["finishedAt"] = timestamp(op.Finished)
	}
	if op.Retries > 0 {
		state["retryCount"] = int64(op.Retries)
	}
	state["syncResult"] = w.syncResult(op, child(state, "operation"))
	w.status["operationState"] = state
	w.operationEvents(op, begun)
	if op.Phase.Completed() && !op.Operation.Automated {
		w.taken = w.answers(op, old)
	}
}

// recorded reports whether the status tells of the operation's end.
func (w *writer) recorded(op *model.OperationReport) bool {
	old := child(w.was, "operationState")
	if !op.Phase.Completed() || old["startedAt"] != timestamp(op.Started) || old["phase"] != string(op.Phase) {
		return false
	}
	if !op.Finished.IsZero() && old["finishedAt"] != timestamp(op.Finished) {
		return false
	}
	return len(op.Revisions) == 0 || sameJSON(revisionsOf(child(old, "syncResult")), texts(w.syncedRevisions(op)))
}

// revisionsOf reads what putRevisions wrote.
func revisionsOf(fields map[string]any) []any {
	if many, ok := fields["revisions"].([]any); ok {
		return many
	}
	return []any{text(fields, "revision")}
}

// asked is the operation as it was asked for: as it stands on the object, as
// the status has it since it began, or made of what is known.
func (w *writer) asked(op *model.OperationReport) map[string]any {
	old := child(w.was, "operationState")
	if kept := child(old, "operation"); kept != nil && w.begunAs(op, old, kept) {
		return copied(kept)
	}
	if asked, ok := w.previous.Object["operation"].(map[string]any); ok && !op.Operation.Automated && w.answers(op, old) {
		return copied(asked)
	}
	return w.described(op)
}

// begunAs reports whether the state of an operation is that of this one.
func (w *writer) begunAs(op *model.OperationReport, old, kept map[string]any) bool {
	phase := model.OperationPhase(text(old, "phase"))
	automated, _ := child(kept, "initiatedBy")["automated"].(bool)
	return old["startedAt"] == timestamp(op.Started) && !phase.Completed() && automated == op.Operation.Automated
}

// answers reports whether the operation that the object asks for is this one,
// and not a newer request.
func (w *writer) answers(op *model.OperationReport, old map[string]any) bool {
	asked, ok := w.previous.Object["operation"].(map[string]any)
	if !ok {
		return false
	}
	if op.Operation.ID == OperationID(w.previous) {
		return true
	}
	kept := child(old, "operation")
	return kept != nil && w.begunAs(op, old, kept) && sameJSON(kept, asked)
}

// described is the operation in the fields of an Application, as upstream's
// automated sync writes its own.
func (w *writer) described(op *model.OperationReport) map[string]any {
	sync := map[string]any{}
	putSources(sync, w.previous)
	revisions := op.Operation.Revisions
	if len(revisions) == 0 {
		revisions = w.syncedRevisions(op)
	}
	putRevisions(sync, revisions, w.multiple())
	for field, set := range map[string]bool{"prune": op.Operation.Prune, "dryRun": op.Operation.DryRun} {
		if set {
			sync[field] = true
		}
	}
	if options, ok, _ := unstructured.NestedSlice(w.previous.Object, "spec", "syncPolicy", "syncOptions"); ok && len(options) > 0 {
		sync["syncOptions"] = options
	}
	how := map[string]any{}
	if op.Operation.Force {
		how["force"] = true
	}
	switch {
	case op.Operation.NoHooks:
		sync["syncStrategy"] = map[string]any{"apply": how}
	case op.Operation.Force:
		sync["syncStrategy"] = map[string]any{"hook": how}
	}
	if only := resourcesOf(op.Operation.Objects); len(only) > 0 {
		sync["resources"] = only
	}
	out := map[string]any{"sync": sync}
	by := map[string]any{}
	put(by, "username", op.Operation.By)
	if op.Operation.Automated {
		by["automated"] = true
	}
	if len(by) > 0 {
		out["initiatedBy"] = by
	}
	if retry := child(w.previous.Object, "spec", "syncPolicy", "retry"); retry != nil && op.Operation.Automated {
		out["retry"] = copied(retry)
	} else if retry := retryOf(op.Operation.Retry); len(retry) > 0 {
		out["retry"] = retry
	}
	return out
}

func resourcesOf(filters []model.ObjectFilter) []any {
	var out []any
	for _, f := range filters {
		if f.Exclude {
			continue // upstream's field has no place for it
		}
		entry := map[string]any{"kind": f.Kind, "name": f.Name}
		put(entry, "group", f.Group)
		put(entry, "namespace", f.Namespace)
		out = append(out, entry)
	}
	return out
}

func retryOf(retry *model.Retry) map[string]any {
	if retry == nil {
		return nil
	}
	out := map[string]any{}
	if retry.Limit != 0 {
		out["limit"] = int64(retry.Limit)
	}
	if retry.Refresh {
		out["refresh"] = true
	}
	backoff := map[string]any{}
	for field, d := range map[string]time.Duration{"duration": retry.Duration, "maxDuration": retry.Max} {
		if d > 0 {
			backoff[field] = d.String()
		}
	}
	if retry.Factor > 0 {
		backoff["factor"] = int64(retry.Factor)
	}
	if len(backoff) > 0 {
		out["backoff"] = backoff
	}
	return out
}

// syncedRevisions are the commits that were synced.
func (w *writer) syncedRevisions(op *model.OperationReport) []string {
	out := make([]string, len(op.Revisions))
	for i, revision := range op.Revisions {
		out[i] = commitOf(revision)
	}
	return out
}

// commitOf is what upstream calls the revision: of main@sha1:abc the commit abc,
// of an artifact the digest, tag@sha256:abc; of a chart it is the version.
func commitOf(revision string) string {
	if i := strings.LastIndex(revision, "sha1:"); i >= 0 {
		return revision[i+len("sha1:"):]
	}
	if i := strings.LastIndex(revision, "@sha256:"); i >= 0 {
		return revision[i+1:]
	}
	return revision
}

// operationSources is where an operation reads from: its own sources, as a
// rollback brings them, or those of the spec (newSyncOperationResult).
func (w *writer) operationSources(op *model.OperationReport, asked map[string]any) map[string]any {
	out := map[string]any{}
	sync := child(asked, "sync")
	if sources, ok := sync["sources"].([]any); ok && len(sources) > 0 {
		out["sources"] = sources
	} else if source := child(sync, "source"); source != nil {
		out["source"] = source
	}
	if len(out) == 0 {
		putSources(out, w.previous)
	}
	return out
}

func (w *writer) syncResult(op *model.OperationReport, asked map[string]any) map[string]any {
	result := copied(w.operationSources(op, asked))
	putRevisions(result, w.syncedRevisions(op), result["sources"] != nil)
	if result["revision"] == nil {
		result["revision"] = "" // required by the CRD
	}
	if metadata := child(w.previous.Object, "spec", "syncPolicy", "managedNamespaceMetadata"); metadata != nil {
		result["managedNamespaceMetadata"] = copied(metadata)
	}
	lines := make([]any, 0, len(op.Results))
	for _, r := range op.Results {
		line := map[string]any{"group": r.Object.Group, "version": r.Version, "kind": r.Object.Kind, "namespace": r.Object.Namespace, "name": r.Object.Name}
		put(line, "status", string(r.Code))
		put(line, "message", reader.Clip(r.Message, maxResultMessage))
		put(line, "hookType", string(r.Hook))
		put(line, "hookPhase", string(r.HookPhase))
		put(line, "syncPhase", string(r.Phase))
		if len(r.Images) > 0 {
			line["images"] = texts(r.Images)
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		result["resources"] = lines
	}
	return result
}

// operationMessage is what the engine says, or upstream's words for the phase.
func (w *writer) operationMessage(op *model.OperationReport) string {
	if op.Message != "" {
		return reader.Clip(op.Message, maxOperationMessage)
	}
	switch op.Phase {
	case model.OperationSucceeded:
		return "successfully synced (all tasks run)"
	case model.OperationTerminating:
		return "operation is terminating"
	case model.OperationRunning:
		return ""
	}
	return "one or more objects failed to apply"
}

// shownRevisions is how upstream prints the revisions of an attempt.
func shownRevisions(op *model.OperationReport) string {
	short := make([]string, len(op.Revisions))
	for i, revision := range op.Revisions {
		short[i] = commitOf(revision)
	}
	return "[" + strings.Join(short, " ") + "]"
}

// operationEvents tells of the beginning and the end of an operation, once.
func (w *writer) operationEvents(op *model.OperationReport, begun bool) {
	revisions := strings.Join(w.syncedRevisions(op), ", ")
	if !begun {
		w.event("Normal", reasonOperationStarted, startMessage(op, revisions))
	}
	if !op.Phase.Completed() {
		return
	}
	message := "Sync operation"
	if len(op.Operation.Objects) > 0 {
		message = "Partial sync operation"
	}
	message += " to " + revisions
	if op.Phase == model.OperationSucceeded {
		w.event("Normal", reasonOperationCompleted, message+" succeeded")
		return
	}
	w.event("Warning", reasonOperationCompleted, message+" failed: "+w.operationMessage(op))
}

func startMessage(op *model.OperationReport, revisions string) string {
	if op.Operation.Automated {
		return fmt.Sprintf("Initiated automated sync to '%s'", revisions)
	}
	partial, by := "", ""
	if len(op.Operation.Objects) > 0 {
		partial = "partial "
	}
	if op.Operation.By != "" {
		by = op.Operation.By + " "
	}
	asked := strings.Join(op.Operation.Revisions, ", ")
	if asked != "" && asked != revisions {
		revisions = fmt.Sprintf("%s (%s)", asked, revisions)
	}
	return fmt.Sprintf("%sinitiated %ssync to %s", by, partial, revisions)
}

// refuseOperation ends an operation that was asked of an Application which
// cannot be compiled, as upstream does: with the error as its message.
func (w *writer) refuseOperation() {
	asked, ok := w.previous.Object["operation"].(map[string]any)
	fault := w.report.Fault
	if !ok || fault.Waiting || fault.Retry {
		return
	}
	at := timestamp(w.report.At)
	w.status["operationState"] = map[string]any{
		"operation":  copied(asked),
		"phase":      string(model.OperationError),
		"message":    reader.Clip(kindOfFault(w.report)+": "+fault.Error(), maxOperationMessage),
		"startedAt":  at,
		"finishedAt": at,
	}
	w.taken = true
	w.event("Warning", reasonOperationCompleted, "Sync operation failed: "+fault.Error())
}

// defaultHistory is how many syncs are remembered when the spec does not say
// (RevisionHistoryLimit).
const defaultHistory = 10

// remember adds a sync of everything that succeeded to the history.
func (w *writer) remember() {
	op := w.report.Operation
	if op == nil || op.Phase != model.OperationSucceeded || op.Operation.DryRun || len(op.Operation.Objects) > 0 || w.recorded(op) {
		return
	}
	state := child(w.status, "operationState")
	entry := w.operationSources(op, child(state, "operation"))
	putRevisions(entry, w.syncedRevisions(op), entry["sources"] != nil)
	finished := op.Finished
	if finished.IsZero() {
		finished = w.report.At
	}
	entry["deployedAt"] = timestamp(finished)
	entry["deployStartedAt"] = timestamp(op.Started)
	if by := child(state, "operation", "initiatedBy"); by != nil {
		entry["initiatedBy"] = by
	}
	history, _ := w.status["history"].([]any)
	entry["id"] = int64(0)
	if len(history) > 0 {
		last, _ := history[len(history)-1].(map[string]any)
		if w.inHistory(last, entry) {
			return
		}
		entry["id"] = whole(last["id"]) + 1
	}
	history = append(slices.Clone(history), copied(entry))
	limit := w.historyLimit()
	history = history[max(0, len(history)-limit):]
	delete(w.status, "history")
	if len(history) > 0 {
		w.status["history"] = history
	}
}

// inHistory reports whether the last entry is this sync.
func (w *writer) inHistory(last, entry map[string]any) bool {
	return last["deployStartedAt"] == entry["deployStartedAt"] && sameJSON(revisionsOf(last), revisionsOf(entry))
}

func (w *writer) historyLimit() int {
	limit, ok := child(w.previous.Object, "spec")["revisionHistoryLimit"]
	if !ok || limit == nil {
		return defaultHistory
	}
	return int(max(0, whole(limit)))
}

// whole is a number as either decoder makes it.
func whole(value any) int64 {
	switch n := value.(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}
