package flux

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// maxMessage bounds a condition's message: the API server takes 32,768 bytes
// (fluxcd/pkg runtime/conditions, maxMessageLength).
const maxMessage = 20000

// conditions are the status.conditions of an object, as the API server has
// them. Times and the generation are set by stamp.
type conditions struct {
	list       []map[string]any
	at         time.Time
	generation int64
}

func newConditions(previous *unstructured.Unstructured) *conditions {
	c := &conditions{}
	written, _, _ := unstructured.NestedSlice(previous.Object, "status", "conditions")
	for _, item := range written {
		if condition, ok := item.(map[string]any); ok {
			c.list = append(c.list, condition)
		}
	}
	return c
}

// stamp says when and at which generation the conditions are written that
// follow.
func (c *conditions) stamp(at time.Time, generation int64) *conditions {
	c.at, c.generation = at, generation
	return c
}

func (c *conditions) get(kind string) map[string]any {
	for _, condition := range c.list {
		if condition["type"] == kind {
			return condition
		}
	}
	return nil
}

func (c *conditions) is(kind, status string) bool {
	condition := c.get(kind)
	return condition != nil && condition["status"] == status
}

// set writes a condition. Its transition time moves when its status does, and
// only then (Kubernetes API conventions).
func (c *conditions) set(kind, status, reason, message string) {
	message = reader.Clip(message, maxMessage)
	condition := c.get(kind)
	if condition == nil {
		condition = map[string]any{"type": kind}
		c.list = append(c.list, condition)
	}
	moved, _ := condition["lastTransitionTime"].(string)
	if condition["status"] != status || moved == "" {
		condition["lastTransitionTime"] = timestamp(c.at)
	}
	condition["status"] = status
	condition["reason"] = reason
	condition["message"] = message
	condition["observedGeneration"] = c.generation
}

// fail tells of a fault, and kstatus whether it is tried again: trying and doing
// are reason and message of Reconciling then.
func (c *conditions) fail(fault *model.Fault, reason, message, trying, doing string) {
	c.set(conditionReady, statusFalse, reason, message)
	if stalls(fault) {
		c.remove(conditionReconciling)
		c.set(conditionStalled, statusTrue, reason, message)
		return
	}
	c.remove(conditionStalled)
	c.set(conditionReconciling, statusTrue, trying, doing)
}

func (c *conditions) remove(kinds ...string) {
	c.list = slices.DeleteFunc(c.list, func(condition map[string]any) bool {
		kind, _ := condition["type"].(string)
		return slices.Contains(kinds, kind)
	})
}

// observe moves the conditions that stay as they are to the generation.
func (c *conditions) observe(kinds ...string) {
	for _, kind := range kinds {
		if condition := c.get(kind); condition != nil {
			condition["observedGeneration"] = c.generation
		}
	}
}

// first is the order in which people want to see conditions (fluxcd/pkg
// runtime/conditions, conditionWeights); the others follow by name.
var first = []string{conditionStalled, conditionReconciling, conditionReady}

func (c *conditions) sorted() []any {
	rank := func(condition map[string]any) (int, string) {
		kind, _ := condition["type"].(string)
		if i := slices.Index(first, kind); i >= 0 {
			return i, kind
		}
		return len(first), kind
	}
	slices.SortStableFunc(c.list, func(a, b map[string]any) int {
		rankA, nameA := rank(a)
		rankB, nameB := rank(b)
		if rankA != rankB {
			return rankA - rankB
		}
		return strings.Compare(nameA, nameB)
	})
	out := make([]any, len(c.list))
	for i, condition := range c.list {
		out[i] = condition
	}
	return out
}

// message is what a condition says, "" when it is not there.
func (c *conditions) message(kind string) string {
	message, _ := c.get(kind)["message"].(string)
	return message
}

// said is what a condition tells people; times and generations are not.
func said(condition map[string]any) [3]any {
	return [3]any{condition["status"], condition["reason"], condition["message"]}
}

// writeFindings keeps the condition that lists what is not acted on, and
// returns the events for it when the list is new.
func (c *conditions) writeFindings(findings []model.Finding) []model.Event {
	if len(findings) == 0 {
		c.remove(conditionFindings)
		return nil
	}
	before := c.message(conditionFindings)
	reason, lines := reasonDiffers, make([]string, 0, len(findings))
	var events []model.Event
	for _, f := range findings {
		if f.Severity != model.Info {
			reason = reasonNotActedOn
		}
		line := findingText(f)
		if slices.Contains(lines, line) {
			continue
		}
		lines = append(lines, line)
		events = append(events, model.Event{Type: eventType(f.Severity == model.Info), Reason: f.Reason, Message: line})
	}
	slices.Sort(lines)
	c.set(conditionFindings, statusTrue, reason, strings.Join(lines, "\n"))
	if c.message(conditionFindings) == before {
		return nil
	}
	return events
}

// findingText is the finding with its place, on one line.
func findingText(f model.Finding) string {
	place := f.Origin.String()
	if f.Origin.Field != "" {
		place = f.Origin.Field
	}
	if place == "" {
		return f.Message
	}
	return place + ": " + f.Message
}

func eventType(normal bool) string {
	if normal {
		return "Normal"
	}
	return "Warning"
}

// statusOf copies the previous status: what a dialect does not know stays.
func statusOf(previous *unstructured.Unstructured) map[string]any {
	status, _, _ := unstructured.NestedMap(previous.Object, "status")
	if status == nil {
		status = map[string]any{}
	}
	return status
}

// setText writes a string, or removes the field when it is empty.
func setText(status map[string]any, field, value string) {
	if value == "" {
		delete(status, field)
		return
	}
	status[field] = value
}

// draft is what a report makes of the last status.
type draft struct {
	previous *unstructured.Unstructured
	status   record
	was, now *conditions
	events   []model.Event
}

func newDraft(previous *unstructured.Unstructured, at time.Time, generation int64) draft {
	return draft{previous: previous, status: statusOf(previous), was: newConditions(previous), now: newConditions(previous).stamp(at, generation)}
}

// finish writes what is left for every kind, the request that was handled and
// the findings, into the edits.
func (d *draft) finish(edits model.Edits, handled string, findings []model.Finding) model.Edits {
	if handled != "" {
		d.status["lastHandledReconcileAt"] = handled
	}
	d.events = append(d.events, d.now.writeFindings(findings)...)
	edits.Status, edits.Events = finish(d.status, d.now), d.events
	return edits
}

// finish puts the conditions into the status.
func finish(status map[string]any, c *conditions) map[string]any {
	if len(c.list) == 0 {
		delete(status, "conditions")
	} else {
		status["conditions"] = c.sorted()
	}
	return status
}

// faultText is what people read: the place in the tree, what went wrong, and
// what to do.
func faultText(f *model.Fault) string {
	return reader.Clip(f.Error(), maxMessage)
}

func faultReason(f *model.Fault, fallback string) string {
	if f.Reason == "" {
		return fallback
	}
	return f.Reason
}

// stalls reports whether nothing happens until somebody changes something.
func stalls(f *model.Fault) bool {
	return stalling[f.Reason] || f.Reason == reasonInvalidProvider && !f.Retry
}

// timestamp is metav1.Time's form.
func timestamp(at time.Time) string {
	return at.UTC().Format(time.RFC3339)
}

// short prints a duration as people write it: 10m, not 10m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func copyOf(value map[string]any) map[string]any {
	return runtime.DeepCopyJSON(value)
}

func annotations(pairs map[string]string) map[string]string {
	out := maps.Clone(pairs)
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	return out
}

// number is a count with its noun.
func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
