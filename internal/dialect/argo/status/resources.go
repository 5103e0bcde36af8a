package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Health in Argo CD's words, the best first (gitops-engine pkg/health).
const (
	healthy     = "Healthy"
	suspended   = "Suspended"
	progressing = "Progressing"
	missing     = "Missing"
	degraded    = "Degraded"
	unknown     = "Unknown"
)

var healthOrder = []string{healthy, suspended, progressing, missing, degraded, unknown}

// healthWord is the state in Argo CD's words; an object that is going is
// progressing.
func healthWord(state model.Healthiness) string {
	switch state {
	case model.Current:
		return healthy
	case model.Paused:
		return suspended
	case model.InProgress, model.Terminating:
		return progressing
	case model.NotFound:
		return missing
	case model.Unhealthy:
		return degraded
	}
	return unknown
}

// maxHealthMessage bounds what the status repeats of one object, in bytes.
const maxHealthMessage = 1024

// resources writes one line for every object.
func (w *writer) resources() {
	if !w.report.Compared {
		if w.failed() {
			w.doubtResources()
		}
		return
	}
	listed := make([]model.Resource, 0, len(w.report.Resources))
	for _, r := range w.report.Resources {
		if !onlyDeletes(r.Stage) {
			listed = append(listed, r)
		}
	}
	slices.SortFunc(listed, func(a, b model.Resource) int {
		return cmp.Or(cmp.Compare(a.ID.Group, b.ID.Group), cmp.Compare(a.ID.Kind, b.ID.Kind), cmp.Compare(a.ID.Namespace, b.ID.Namespace), cmp.Compare(a.ID.Name, b.ID.Name))
	})
	lines := make([]any, 0, len(listed))
	for _, r := range listed {
		lines = append(lines, w.resource(r))
	}
	delete(w.status, "resources")
	if len(lines) > 0 {
		w.status["resources"] = lines
	}
	delete(w.status, "resourceHealthSource")
	if w.options.HealthElsewhere {
		w.status["resourceHealthSource"] = "appTree"
	}
}

// onlyDeletes reports whether an object only has a part in the deletion of the
// Application; upstream does not count it among its resources.
func onlyDeletes(stage model.Stage) bool {
	return stage.Hook() && !slices.ContainsFunc(stage.Hooks, func(phase model.SyncPhase) bool {
		return phase != model.PreDelete && phase != model.PostDelete
	})
}

func (w *writer) resource(r model.Resource) map[string]any {
	line := map[string]any{"kind": r.ID.Kind, "name": r.ID.Name}
	put(line, "group", r.ID.Group)
	put(line, "version", r.Version)
	put(line, "namespace", r.ID.Namespace)
	if !r.Stage.Hook() && !r.Stage.Skip {
		put(line, "status", string(r.Sync))
	}
	if r.Stage.Hook() {
		line["hook"] = true
	}
	if r.Prune {
		line["requiresPruning"] = true
	}
	if r.Confirm {
		line["requiresDeletionConfirmation"] = true
	}
	if r.Stage.Wave != 0 {
		line["syncWave"] = int64(r.Stage.Wave)
	}
	if r.Health != nil && (w.counts(r) || r.Prune) && (!w.options.HealthElsewhere || r.Health.State == model.NotFound) {
		health := map[string]any{"status": healthWord(r.Health.State)}
		put(health, "message", reader.Clip(r.Health.Message, maxHealthMessage))
		line["health"] = health
	}
	return line
}

// counts reports whether upstream judges the health of an object at all.
func (w *writer) counts(r model.Resource) bool {
	return !r.Stage.Hook() && !r.Stage.Skip && !r.Weightless && r.ID != w.report.Delivery
}

// doubtResources keeps the objects as they were last seen, and says that
// nothing is known of how they compare.
func (w *writer) doubtResources() {
	list, _ := w.status["resources"].([]any)
	for _, item := range list {
		if line, ok := item.(map[string]any); ok && line["status"] != nil {
			line["status"] = string(model.SyncUnknown)
		}
	}
}

// health writes the health of the whole: that of its worst object, and which
// these are (controller/health.go).
func (w *writer) health() {
	was := child(w.was, "health")
	now := copied(was)
	switch {
	case w.report.Compared:
		status, message := w.worst()
		now = map[string]any{"status": status}
		put(now, "message", message)
	case w.failed() && kindOfFault(w.report) != conditionComparison:
		now = map[string]any{"status": unknown}
	case now == nil:
		now = map[string]any{"status": unknown}
	}
	before, _ := was["status"].(string)
	delete(now, "lastTransitionTime")
	if before == now["status"] {
		if since := was["lastTransitionTime"]; since != nil {
			now["lastTransitionTime"] = since
		}
	} else {
		now["lastTransitionTime"] = timestamp(w.report.At)
		message := fmt.Sprintf("Updated health status: %s -> %s", before, now["status"])
		if why, _ := now["message"].(string); why != "" {
			message += " (" + why + ")"
		}
		w.event("Normal", reasonResourceUpdated, message)
	}
	w.status["health"] = now
}

// worst is the health of the worst object that counts, and who they are.
// Missing objects are told by the sync status, unless nothing at all is there.
func (w *writer) worst() (status, message string) {
	status = healthy
	var causes []object.ID
	anything, alive := false, false
	for _, r := range w.report.Resources {
		if r.Stage.Hook() || r.Stage.Skip {
			continue
		}
		anything = true
		gone := r.Health != nil && r.Health.State == model.NotFound
		alive = alive || !gone
		if r.Health == nil || gone || !w.counts(r) {
			continue
		}
		word := healthWord(r.Health.State)
		if word == unknown && r.ID.Group == "argoproj.io" && r.ID.Kind == "Application" {
			continue
		}
		switch {
		case worse(status, word):
			status, causes = word, []object.ID{r.ID}
		case word == status && word != healthy:
			causes = append(causes, r.ID)
		}
	}
	if anything && !alive && worse(status, missing) {
		return missing, ""
	}
	return status, causedBy(causes)
}

func worse(current, other string) bool {
	return slices.Index(healthOrder, other) > slices.Index(healthOrder, current)
}

const maxCauses = 3

func causedBy(causes []object.ID) string {
	if len(causes) == 0 {
		return ""
	}
	slices.SortFunc(causes, func(a, b object.ID) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	var parts []string
	for _, id := range causes[:min(len(causes), maxCauses)] {
		kind, name := id.Kind, id.Name
		if id.Group != "" {
			kind = id.Group + "/" + kind
		}
		if id.Namespace != "" {
			name = id.Namespace + "/" + name
		}
		parts = append(parts, kind+":"+name)
	}
	text := "Caused by " + strings.Join(parts, ", ")
	if rest := len(causes) - maxCauses; rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return text
}

// linkPrefix starts the annotations whose values are links to the outside.
const linkPrefix = "link.argocd.argoproj.io/"

// maxSummary bounds each list of the summary.
const maxSummary = 500

// summary writes images and addresses (ApplicationTree.GetSummary).
func (w *writer) summary() {
	if !w.report.Compared {
		return
	}
	urls := slices.Clone(w.report.ExternalURLs)
	for name, value := range w.previous.GetAnnotations() {
		if strings.HasPrefix(name, linkPrefix) {
			urls = append(urls, value)
		}
	}
	summary := map[string]any{}
	for field, list := range map[string][]string{"externalURLs": urls, "images": slices.Clone(w.report.Images)} {
		slices.Sort(list)
		list = slices.Compact(list)
		if len(list) > 0 {
			summary[field] = texts(list[:min(len(list), maxSummary)])
		}
	}
	if slices.ContainsFunc(w.report.Resources, func(r model.Resource) bool {
		return r.ID.Group == "argoproj.io" && r.ID.Kind == "Application" && r.ID != w.report.Delivery
	}) {
		summary["isAppOfApps"] = true
	}
	w.status["summary"] = summary
}
