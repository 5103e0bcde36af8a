package helm

import (
	"sort"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// The annotations of hooks.
const (
	HookAnnotation       = "helm.sh/hook"
	HookWeightAnnotation = "helm.sh/hook-weight"
	HookDeleteAnnotation = "helm.sh/hook-delete-policy"
	HookOutputAnnotation = "helm.sh/hook-output-log-policy"
)

// Event is a moment of an action that hooks run at.
type Event string

// The events that Helm knows. "test-success" of Helm 2 is EventTest; "crd-install"
// of Helm 2 is none any more, such an object is left out.
const (
	PreInstall   Event = "pre-install"
	PostInstall  Event = "post-install"
	PreUpgrade   Event = "pre-upgrade"
	PostUpgrade  Event = "post-upgrade"
	PreRollback  Event = "pre-rollback"
	PostRollback Event = "post-rollback"
	PreDelete    Event = "pre-delete"
	PostDelete   Event = "post-delete"
	EventTest    Event = "test"
)

// Action is what Helm does to a release.
type Action string

// The actions, in the words of a HelmRelease's status.
const (
	Install   Action = "install"
	Upgrade   Action = "upgrade"
	Rollback  Action = "rollback"
	Uninstall Action = "uninstall"
	Test      Action = "test"
)

// events are the moments of actions, with the phase that stands for each: what
// is before the objects and what is after them. The hooks of a test are all
// there is to it.
var events = map[Event]struct {
	of    Action
	phase model.SyncPhase
}{
	PreInstall:   {Install, model.PreSync},
	PostInstall:  {Install, model.PostSync},
	PreUpgrade:   {Upgrade, model.PreSync},
	PostUpgrade:  {Upgrade, model.PostSync},
	PreRollback:  {Rollback, model.PreSync},
	PostRollback: {Rollback, model.PostSync},
	PreDelete:    {Uninstall, model.PreDelete},
	PostDelete:   {Uninstall, model.PostDelete},
	EventTest:    {Test, model.PostSync},
}

// Hook is what the annotations of an object say of when it runs.
type Hook struct {
	Name, Kind string
	Events     []Event // in the order they are given
	Weight     int     // lower ones run first
	// Delete are the delete policies in Helm's words, as given; none stands for
	// "before-hook-creation".
	Delete []string
	Output []string // policies of logs
}

// Role is what an object is to Helm.
type Role int

// The roles of objects.
const (
	Plain   Role = iota // applied, compared and owned
	Hooked              // runs as a hook
	Ignored             // neither: it names an event that Helm does not know
)

// ReadHook reads the annotations of an object.
func ReadHook(kind, name string, annotations map[string]string) (Hook, Role) {
	given, ok := annotations[HookAnnotation]
	if !ok {
		return Hook{}, Plain
	}
	h := Hook{Name: name, Kind: kind, Delete: words(annotations, HookDeleteAnnotation), Output: words(annotations, HookOutputAnnotation)}
	if weight, err := strconv.Atoi(annotations[HookWeightAnnotation]); err == nil {
		h.Weight = weight
	}
	for _, word := range split(given) {
		event := Event(word)
		if word == "test-success" {
			event = EventTest
		}
		if _, known := events[event]; !known {
			return Hook{}, Ignored
		}
		h.Events = append(h.Events, event)
	}
	return h, Hooked
}

// words are the values of an annotation that lists several; none without it.
func words(annotations map[string]string, name string) []string {
	list, ok := annotations[name]
	if !ok {
		return nil
	}
	return split(list)
}

func split(list string) []string {
	items := strings.Split(list, ",")
	for i := range items {
		items[i] = strings.ToLower(strings.TrimSpace(items[i]))
	}
	return items
}

// Stages says when each hook runs in an action, and how long it stays: nil for
// those that do not run in it. Helm runs hooks one by one, each when the one
// before is complete: those of a lower weight first, then by name, then by kind.
// So no two share a wave.
func Stages(hooks []Hook, action Action) []*model.Stage {
	order := make([]int, 0, len(hooks))
	for i := range hooks {
		if len(hooks[i].phases(action)) > 0 {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(i, j int) bool {
		a, b := &hooks[order[i]], &hooks[order[j]]
		switch {
		case a.Weight != b.Weight:
			return a.Weight < b.Weight
		case a.Name != b.Name:
			return a.Name < b.Name
		}
		return InstallsBefore(a.Kind, b.Kind)
	})
	stages := make([]*model.Stage, len(hooks))
	for wave, i := range order {
		stages[i] = &model.Stage{Hooks: hooks[i].phases(action), Wave: wave, OnDelete: hooks[i].policies()}
	}
	return stages
}

// phases are those that the hook runs in, each once.
func (h *Hook) phases(action Action) []model.SyncPhase {
	var phases []model.SyncPhase
	for _, event := range h.Events {
		at := events[event]
		if at.of != action || len(phases) > 0 && phases[len(phases)-1] == at.phase {
			continue
		}
		phases = append(phases, at.phase)
	}
	return phases
}

// policies are the delete policies. A definition of a kind is never deleted:
// everything of that kind would go with it (helm.sh/helm/v4 pkg/action,
// deleteHookByPolicy).
func (h *Hook) policies() []model.HookDeletePolicy {
	if h.Kind == "CustomResourceDefinition" {
		return []model.HookDeletePolicy{model.HookStays}
	}
	known := map[string]model.HookDeletePolicy{
		"hook-succeeded": model.HookSucceeded, "hook-failed": model.HookFailed, "before-hook-creation": model.BeforeHookCreation,
	}
	if len(h.Delete) == 0 {
		return []model.HookDeletePolicy{model.BeforeHookCreation}
	}
	policies := make([]model.HookDeletePolicy, 0, len(h.Delete))
	for _, word := range h.Delete {
		if policy, ok := known[word]; ok {
			policies = append(policies, policy)
		}
	}
	if len(policies) == 0 {
		return []model.HookDeletePolicy{model.HookStays}
	}
	return policies
}
