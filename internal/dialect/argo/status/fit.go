package status

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// maxObject bounds the whole Application in bytes: etcd takes 1.5 MiB, and what
// the API server adds on a write (managedFields) must fit in too.
const maxObject = 1<<20 - 64<<10

// What a status can be shortened by once and for all: later reports do not
// bring it back.
const (
	withoutUnchanged = "results of unchanged resources"
	withoutImages    = "images of results"
	withoutSucceeded = "results of resources that were synced"
	withoutResults   = "some results"
	withoutHistory   = "older entries of the history"
)

const shortened = "the status would be too large for etcd and is shortened: without "

// fit shortens a status that would make the object too large: what can be found
// elsewhere goes first, and of that what does not come back. A condition says
// what is gone and where it is.
func (w *writer) fit() {
	fixed := w.sizeWithoutStatus()
	gone := w.goneBefore()
	for _, shorten := range []func(excess int) string{
		w.dropUnchangedResults, w.dropResultImages, w.dropSucceededResults, w.dropHealthMessages,
		w.dropHistory, w.dropGoodHealth, w.dropResources, w.dropResults, w.dropSummary,
	} {
		excess := fixed + size(w.status) - maxObject
		if excess <= 0 {
			break
		}
		if what := shorten(excess); what != "" && !slices.Contains(gone, what) {
			gone = append(gone, what)
		}
	}
	if len(gone) > 0 {
		slices.Sort(gone)
		w.tell(condition{kind: ConditionWarning, message: shortened + fmt.Sprintf("%s; the whole account is in the journal, in the data directory of Plumb",
			strings.Join(gone, ", "))})
	}
}

// goneBefore is what an earlier report was shortened by, and what is still not
// there.
func (w *writer) goneBefore() []string {
	told := ""
	for _, old := range lines(w.was["conditions"]) {
		if message := text(old, "message"); old["type"] == ConditionWarning && strings.HasPrefix(message, shortened) {
			told = message
		}
	}
	var gone []string
	if w.stateKept {
		for _, what := range []string{withoutUnchanged, withoutImages, withoutSucceeded, withoutResults} {
			if strings.Contains(told, what) {
				gone = append(gone, what)
			}
		}
	}
	history := lines(w.status["history"])
	if strings.Contains(told, withoutHistory) && len(history) > 0 && len(history) < w.historyLimit() && whole(history[0]["id"]) > 0 {
		gone = append(gone, withoutHistory)
	}
	return gone
}

// tell adds a condition to those that are written.
func (w *writer) tell(c condition) {
	before, _ := w.was["conditions"].([]any)
	entry, news := w.dated(c, before)
	list, _ := w.status["conditions"].([]any)
	at := len(list)
	for i, item := range list {
		if other, _ := item.(map[string]any); text(other, "type") > c.kind || text(other, "type") == c.kind && text(other, "message") > c.message {
			at = i
			break
		}
	}
	list = append(list[:at:at], append([]any{entry}, list[at:]...)...)
	w.status["conditions"] = list
	if news {
		w.conditionEvent(c)
	}
}

// sizeWithoutStatus is the object's size as JSON, but for its status and an
// operation that goes.
func (w *writer) sizeWithoutStatus() int {
	rest := map[string]any{}
	for field, value := range w.previous.Object {
		if field != "status" && (field != "operation" || !w.taken) {
			rest[field] = value
		}
	}
	return size(rest)
}

func size(value any) int {
	text, err := json.Marshal(value)
	if err != nil {
		return 0
	}
	return len(text)
}

// lines are the maps of a list.
func lines(list any) []map[string]any {
	items, _ := list.([]any)
	out := make([]map[string]any, 0, len(items))
	for _, item := range items {
		if line, ok := item.(map[string]any); ok {
			out = append(out, line)
		}
	}
	return out
}

func (w *writer) dropHealthMessages(int) string {
	n := 0
	for _, line := range lines(w.status["resources"]) {
		if health := child(line, "health"); health["message"] != nil {
			delete(health, "message")
			n++
		}
	}
	return dropped(n, "health messages of %d resources")
}

func (w *writer) dropUnchangedResults(int) string {
	n := w.keepResults(func(line map[string]any) bool {
		return line["status"] != string(model.ResultSynced) || !strings.Contains(text(line, "message"), "unchanged")
	})
	return named(n, withoutUnchanged)
}

func (w *writer) dropResultImages(int) string {
	n := 0
	for _, line := range lines(child(w.status, "operationState", "syncResult")["resources"]) {
		if line["images"] != nil {
			delete(line, "images")
			n++
		}
	}
	return named(n, withoutImages)
}

func (w *writer) dropSucceededResults(int) string {
	n := w.keepResults(func(line map[string]any) bool {
		good := line["status"] == string(model.ResultSynced) || line["status"] == string(model.ResultPruned)
		phase := text(line, "hookPhase")
		return !good || line["hookType"] != nil || phase == string(model.OperationFailed) || phase == string(model.OperationError)
	})
	return named(n, withoutSucceeded)
}

func (w *writer) dropResults(excess int) string {
	n := w.keepResults(func(line map[string]any) bool {
		if excess <= 0 {
			return true
		}
		excess -= size(line) + 1
		return false
	})
	return named(n, withoutResults)
}

// keepResults leaves results out, and says how many.
func (w *writer) keepResults(keep func(map[string]any) bool) int {
	result := child(w.status, "operationState", "syncResult")
	kept, n := filter(result["resources"], keep)
	if n > 0 {
		result["resources"] = kept
	}
	return n
}

func filter(list any, keep func(map[string]any) bool) ([]any, int) {
	kept, n := []any{}, 0
	for _, line := range lines(list) {
		if keep(line) {
			kept = append(kept, line)
		} else {
			n++
		}
	}
	return kept, n
}

// dropHistory leaves the oldest entries out, and never the last two: what runs,
// and what one can roll back to.
func (w *writer) dropHistory(excess int) string {
	history, _ := w.status["history"].([]any)
	n := 0
	for excess > 0 && len(history)-n > 2 {
		excess -= size(history[n]) + 1
		n++
	}
	if n > 0 {
		w.status["history"] = history[n:]
	}
	return named(n, withoutHistory)
}

func (w *writer) dropGoodHealth(int) string {
	n := 0
	for _, line := range lines(w.status["resources"]) {
		if child(line, "health")["status"] == healthy {
			delete(line, "health")
			n++
		}
	}
	return dropped(n, "health of %d healthy resources")
}

// dropResources leaves resources out: first what is not there, since after a
// restart the lines that are left tell what the Application owns; then what is
// as it should be.
func (w *writer) dropResources(excess int) string {
	n := 0
	for _, dispensable := range []func(line map[string]any) bool{isMissing, isFine, func(map[string]any) bool { return true }} {
		kept, left := filter(w.status["resources"], func(line map[string]any) bool {
			if excess <= 0 || !dispensable(line) {
				return true
			}
			excess -= size(line) + 1
			return false
		})
		if left > 0 {
			w.status["resources"] = kept
			n += left
		}
	}
	return dropped(n, "%d resources")
}

func isMissing(line map[string]any) bool { return child(line, "health")["status"] == missing }

func isFine(line map[string]any) bool {
	health := child(line, "health")
	return line["status"] != string(model.OutOfSync) && line["requiresPruning"] != true && (health == nil || health["status"] == healthy)
}

func (w *writer) dropSummary(int) string {
	summary := child(w.status, "summary")
	n := 0
	for _, field := range []string{"images", "externalURLs"} {
		list, _ := summary[field].([]any)
		n += len(list)
		delete(summary, field)
	}
	return dropped(n, "%d images and addresses")
}

func named(n int, what string) string {
	if n == 0 {
		return ""
	}
	return what
}

func dropped(n int, format string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, n)
}
