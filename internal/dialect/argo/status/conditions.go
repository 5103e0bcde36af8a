package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// Types of conditions. Upstream's suffixes say how grave they are: Error,
// Warning, Info.
const (
	conditionDeletion    = "DeletionError"
	conditionInvalidSpec = "InvalidSpecError"
	conditionComparison  = "ComparisonError"
	conditionSync        = "SyncError"
	conditionUnknown     = "UnknownError"
	conditionShared      = "SharedResourceWarning"
	conditionRepeated    = "RepeatedResourceWarning"
	conditionExcluded    = "ExcludedResourceWarning"
	conditionOrphaned    = "OrphanedResourceWarning"

	// Ours: what is not acted on, what waits for a person, what works in
	// another way, and what waits for something else.
	ConditionWarning = "PlumbWarning"
	ConditionHeld    = "PruneHeldWarning"
	ConditionInfo    = "PlumbInfo"
	ConditionWaiting = "WaitingInfo"
)

// judged are the types that every report answers for; others are left alone.
var judged = []string{
	conditionDeletion, conditionInvalidSpec, conditionComparison, conditionSync, conditionUnknown,
	conditionShared, conditionRepeated, conditionExcluded, conditionOrphaned,
	ConditionWarning, ConditionHeld, ConditionInfo, ConditionWaiting,
}

// compares are the types that only a comparison, or the failure of one, answers
// for.
var compares = []string{conditionShared, conditionRepeated, conditionExcluded, conditionOrphaned}

const (
	maxMessage   = 4096 // bytes of one condition
	maxOfOneType = 20   // conditions
)

type condition struct{ kind, message string }

// kindOfFault is the type of the condition that tells of the report's fault.
func kindOfFault(report *model.Report) string {
	fault := report.Fault
	switch {
	case fault == nil:
		return ""
	case fault.Waiting:
		return ConditionWaiting
	case report.Phase == model.PhaseDelete:
		return conditionDeletion
	case slices.Contains(judged, fault.Reason):
		return fault.Reason
	}
	switch report.Phase {
	case model.PhaseApply, model.PhasePrune, model.PhaseSettle:
		return conditionSync
	case model.PhaseGate:
		return conditionInvalidSpec
	}
	return conditionComparison
}

// conditions writes what is wrong. The time of a condition stays while its
// message does (ApplicationStatus.SetConditions).
func (w *writer) conditions() {
	before, _ := w.was["conditions"].([]any)
	var now []condition
	var kept []map[string]any
	answered := w.answered()
	for _, item := range before {
		old, ok := item.(map[string]any)
		if kind, _ := old["type"].(string); ok && !slices.Contains(answered, kind) {
			kept = append(kept, copied(old))
		}
	}
	now = limit(w.found(answered))
	list := kept
	for _, c := range now {
		entry, news := w.dated(c, before)
		list = append(list, entry)
		if news {
			w.conditionEvent(c)
		}
	}
	slices.SortStableFunc(list, func(a, b map[string]any) int {
		return cmp.Or(cmp.Compare(text(a, "type"), text(b, "type")), cmp.Compare(text(a, "message"), text(b, "message")), cmp.Compare(text(a, "lastTransitionTime"), text(b, "lastTransitionTime")))
	})
	delete(w.status, "conditions")
	if len(list) > 0 {
		entries := make([]any, len(list))
		for i, entry := range list {
			entries[i] = entry
		}
		w.status["conditions"] = entries
	}
}

// answered are the types that this report has something to say on. A run that
// goes on has not yet judged what an earlier one found.
func (w *writer) answered() []string {
	out := []string{ConditionWaiting}
	for _, kind := range judged {
		switch {
		case kind == ConditionWaiting:
		case w.report.Running && !w.report.Compared:
		case slices.Contains(compares, kind) && !w.report.Compared:
		case kind == ConditionHeld && !w.report.Compared && w.report.Hold == nil:
		default:
			out = append(out, kind)
		}
	}
	if fault := kindOfFault(w.report); fault != "" && !slices.Contains(out, fault) {
		out = append(out, fault)
	}
	return out
}

// found are the conditions of the report, without their times.
func (w *writer) found(answered []string) []condition {
	var out []condition
	add := func(kind, message string) {
		c := condition{kind: kind, message: reader.Clip(message, maxMessage)}
		if message != "" && slices.Contains(answered, kind) && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	if fault := w.report.Fault; fault != nil && (w.report.Hold == nil || fault.Reason != "PruneHeld") {
		add(kindOfFault(w.report), w.faultText())
	}
	if op := w.report.Operation; op != nil && op.Operation.Automated && (op.Phase == model.OperationFailed || op.Phase == model.OperationError) && kindOfFault(w.report) != conditionSync && w.status["sync"] != nil && text(child(w.status, "sync"), "status") != string(model.Synced) {
		add(conditionSync, fmt.Sprintf("Failed last sync attempt to %s: %s", shownRevisions(op), w.operationMessage(op)))
	}
	if hold := w.report.Hold; hold != nil {
		add(ConditionHeld, heldText(hold))
	}
	if n := len(w.report.Orphans); n > 0 {
		add(conditionOrphaned, fmt.Sprintf("Application has %d orphaned resources", n))
	}
	for _, f := range w.report.Findings {
		add(kindOfFinding(f), findingText(f))
	}
	return out
}

// faultText is what people read. What keeps the target state from being known
// begins as upstream's messages do, since alerts look for it.
func (w *writer) faultText() string {
	const unloaded = "Failed to load target state: "
	fault := w.report.Fault
	message := fault.Error()
	if kindOfFault(w.report) == conditionComparison && fault.Reason != conditionComparison && !strings.HasPrefix(message, unloaded) &&
		(w.report.Phase == model.PhaseResolve || w.report.Phase == model.PhaseRender) {
		return unloaded + message
	}
	return message
}

func heldText(hold *model.Hold) string {
	objects := "objects"
	if len(hold.Deletes) == 1 {
		objects = "object"
	}
	message := fmt.Sprintf("Pruning is held: %d of %d %s would be deleted", len(hold.Deletes), hold.Total, objects)
	if hold.Why != "" {
		message += " (" + hold.Why + ")"
	}
	return message + fmt.Sprintf("; to go on set annotation %s=%s, or run plumb approve", AnnotationApprove, hold.Token)
}

func kindOfFinding(f model.Finding) string {
	switch {
	case slices.Contains(judged, f.Reason):
		return f.Reason
	case slices.Contains(judged, f.Reason+"Warning"):
		return f.Reason + "Warning"
	case f.Severity == model.Info:
		return ConditionInfo
	}
	return ConditionWarning
}

// findingText is the finding with its place, on one line.
func findingText(f model.Finding) string {
	place := f.Origin.Field
	if place == "" {
		place = f.Origin.String()
	}
	if place == "" || slices.Contains(judged, f.Reason) || slices.Contains(judged, f.Reason+"Warning") {
		return f.Message
	}
	return place + ": " + f.Message
}

// limit bounds how many conditions of one type there are, and says how many
// are left out.
func limit(all []condition) []condition {
	count := map[string]int{}
	for _, c := range all {
		count[c.kind]++
	}
	slices.SortStableFunc(all, func(a, b condition) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.message, b.message))
	})
	var out []condition
	seen := map[string]int{}
	for _, c := range all {
		seen[c.kind]++
		switch {
		case count[c.kind] <= maxOfOneType || seen[c.kind] < maxOfOneType:
			out = append(out, c)
		case seen[c.kind] == maxOfOneType:
			out = append(out, condition{kind: c.kind, message: fmt.Sprintf("and %d more like these", count[c.kind]-maxOfOneType+1)})
		}
	}
	return out
}

// dated is the condition with its time: the old one while it says the same.
func (w *writer) dated(c condition, before []any) (entry map[string]any, news bool) {
	for _, item := range before {
		if old, ok := item.(map[string]any); ok && old["type"] == c.kind && old["message"] == c.message && old["lastTransitionTime"] != nil {
			return copied(old), false
		}
	}
	at := w.report.At
	if fault := w.report.Fault; fault != nil && !fault.At.IsZero() && c.kind == kindOfFault(w.report) {
		at = fault.At
	}
	return map[string]any{"type": c.kind, "message": c.message, "lastTransitionTime": timestamp(at)}, true
}

// conditionEvent tells of a condition that is new. What waits for something
// else is no news for a person.
func (w *writer) conditionEvent(c condition) {
	switch {
	case c.kind == ConditionWaiting:
	case strings.HasSuffix(c.kind, "Info"):
		w.event("Normal", c.kind, c.message)
	default:
		w.event("Warning", c.kind, c.message)
	}
}

func text(fields map[string]any, name string) string {
	value, _ := fields[name].(string)
	return value
}
