package project

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
)

// window is a sync window with whom it concerns.
type window struct {
	model.Window
	applications, namespaces, clusters []string
	and                                bool // all that are given must match, not one of them
}

// longestDescription is upstream's bound, in bytes.
const longestDescription = 255

func (p *Project) readWindows(list node) {
	seen := map[string]bool{}
	for _, item := range list.items() {
		item.fields("kind", "schedule", "duration", "applications", "namespaces", "clusters", "manualSync", "timeZone", "andOperator", "description", "syncOverrun")
		kind, schedule, duration := item.at("kind").str(), item.at("schedule").str(), item.at("duration").str()
		w := window{
			Window: model.Window{
				Deny:        kind == "deny",
				Schedule:    schedule,
				TimeZone:    item.at("timeZone").str(),
				Manual:      item.at("manualSync").bool(),
				Overrun:     item.at("syncOverrun").bool(),
				Description: item.at("description").str(),
				Origin:      item.r.origin(item.path),
			},
			applications: item.at("applications").strings(),
			namespaces:   item.at("namespaces").strings(),
			clusters:     item.at("clusters").strings(),
			and:          item.at("andOperator").bool(),
		}
		item.checkWindow(w, kind, duration, seen)
		w.Duration = item.readDuration(duration, &w)
		if kind == "allow" || kind == "deny" {
			p.windows = append(p.windows, w)
		}
	}
}

// readDuration reads how long a window is open. One that cannot be read leaves
// a window without a schedule, which nobody can take for a closed one: whoever
// judges by it has to refuse.
func (n node) readDuration(s string, w *window) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		n.r.refuse(n.path+".duration", "cannot parse duration '%s': not a duration such as 30m or 8h", s)
		w.Schedule = ""
		return 0
	}
	return d
}

// checkWindow tells what upstream's API refuses. A window of no kind has no
// effect; one with a schedule that cannot be read forbids every sync.
func (n node) checkWindow(w window, kind, duration string, seen map[string]bool) {
	if kind != "allow" && kind != "deny" {
		n.r.refuse(n.path+".kind", "kind '%s' mismatch: can only be allow or deny", kind)
	}
	if fault := gate.CheckWindow(w.Window); fault != nil {
		n.r.refuse(n.path+".schedule", "%s", fault.Message)
	}
	if !gate.KnownZone(w.TimeZone) {
		n.r.find(model.Warning, "InvalidTimeZone", n.path+".timeZone", "Invalid time zone %s specified. Using UTC as default time zone", w.TimeZone)
	}
	if len(w.Description) > longestDescription {
		n.r.refuse(n.path+".description", "description must not exceed %d characters", longestDescription)
	}
	title := fmt.Sprintf("'%s':'%s':'%s'", kind, w.Schedule, duration)
	if len(w.applications) == 0 && len(w.namespaces) == 0 && len(w.clusters) == 0 {
		n.r.refuse(n.path, "window %s requires one of application, cluster or namespace", title)
	}
	identity, err := json.Marshal([]any{kind, w.Schedule, duration, w.applications, w.namespaces, w.clusters, w.TimeZone, w.and})
	if err == nil && seen[string(identity)] {
		n.r.refuse(n.path, "sync window with kind '%s', schedule '%s', and duration '%s' already exists", kind, w.Schedule, duration)
	}
	seen[string(identity)] = true
}

// Windows are the sync windows that concern an Application, named as in its
// metadata and its spec.destination (SyncWindows.Matches). A window whose
// duration could not be read has an empty Schedule and must be taken for a
// closed one.
func (p *Project) Windows(appName string, to Place) []model.Window {
	var out []model.Window
	for _, w := range p.windows {
		if w.concerns(appName, to) {
			out = append(out, w.Window)
		}
	}
	return out
}

func (w window) concerns(appName string, to Place) bool {
	matches := func(values ...string) func(string) bool {
		return func(pattern string) bool {
			return slices.ContainsFunc(values, func(value string) bool { return gate.Glob(pattern, value) })
		}
	}
	var cluster []string
	for _, value := range []string{to.Name, to.Server} {
		if value != "" {
			cluster = append(cluster, value)
		}
	}
	given, matched := 0, 0
	for _, side := range []struct {
		patterns []string
		values   []string
	}{{w.applications, []string{appName}}, {w.clusters, cluster}, {w.namespaces, []string{to.Namespace}}} {
		if len(side.patterns) == 0 {
			continue
		}
		given++
		if slices.ContainsFunc(side.patterns, matches(side.values...)) {
			matched++
		}
	}
	if w.and {
		return given > 0 && matched == given
	}
	return matched > 0
}
