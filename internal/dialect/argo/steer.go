package argo

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Handling reads what the annotations of an object ask for, and its place in a
// sync (gitops-engine, pkg/sync/common, hook, syncwaves; controller/hook.go).
func (Argo) Handling(o *unstructured.Unstructured) (model.Handling, model.Stage) {
	return handling(o), stage(o)
}

func handling(o *unstructured.Unstructured) model.Handling {
	annotations := o.GetAnnotations()
	options, compare := listed(annotations[annotationSyncOptions]), listed(annotations[annotationCompare])
	has := func(option string) bool { return slices.Contains(options, option) }
	prune, saysPrune := optionValue(options, "Prune")
	remove, saysDelete := optionValue(options, "Delete")
	kept := slices.Contains(listed(annotations[helmPolicy]), "keep")
	return model.Handling{
		Keep:              prune == "false",
		Confirm:           prune == "confirm",
		SaysPrune:         saysPrune,
		Orphan:            remove == "false" || kept || isDefinition(o),
		ConfirmDelete:     remove == "confirm",
		SaysDelete:        saysDelete,
		Force:             has("Force=true"),
		Replace:           has("Replace=true"),
		PruneLast:         has("PruneLast=true"),
		SkipDryRunMissing: has("SkipDryRunOnMissingResource=true"),
		SkipValidation:    has("Validate=false"),
		IgnoreExtraneous:  slices.Contains(compare, "IgnoreExtraneous"),
		Weightless:        annotations[annotationIgnoreHealth] == "true",
	}
}

// isDefinition: CRDs stay when an Application goes, with everything that is
// stored under them (appcontroller.go, shouldBeDeleted).
func isDefinition(o *unstructured.Unstructured) bool {
	id := object.Of(o)
	return id.Group == "apiextensions.k8s.io" && id.Kind == "CustomResourceDefinition"
}

func stage(o *unstructured.Unstructured) model.Stage {
	annotations := o.GetAnnotations()
	out := model.Stage{Wave: wave(annotations)}
	hooks, skip, isHook := hooksOf(annotations)
	switch {
	case skip, isHook && len(hooks) == 0: // a hook of no phase that there is
		out.Skip = true
	case isHook:
		out.Hooks = hooks
		out.OnDelete = deletePolicies(annotations)
	}
	return out
}

func wave(annotations map[string]string) int {
	for _, name := range []string{annotationWave, helmHookWeight} {
		if value, err := strconv.Atoi(annotations[name]); err == nil {
			return value
		}
	}
	return 0
}

// argoHooks are the phases by the names of Argo CD's annotation.
var argoHooks = map[string]model.SyncPhase{
	"PreSync": model.PreSync, "Sync": model.Sync, "PostSync": model.PostSync, "SyncFail": model.SyncFail,
	"PreDelete": model.PreDelete, "PostDelete": model.PostDelete,
}

// helmHooks are the phases that Helm's hooks are mapped to. Others, such as
// test, run in no sync.
var helmHooks = map[string]model.SyncPhase{
	"pre-install": model.PreSync, "pre-upgrade": model.PreSync,
	"post-install": model.PostSync, "post-upgrade": model.PostSync,
	"pre-delete": model.PreDelete, "post-delete": model.PostDelete,
}

// hooksOf lists the phases that an object runs in. Helm's annotation counts
// where Argo CD's names no phase; crd-install makes no hook. skip is the hook
// that runs never.
func hooksOf(annotations map[string]string) (hooks []model.SyncPhase, skip, isHook bool) {
	own, helm := listed(annotations[annotationHook]), listed(annotations[helmHook])
	_, ownHook := annotations[annotationHook]
	_, helmed := annotations[helmHook]
	if !ownHook && (!helmed || annotations[helmHook] == "crd-install") {
		return nil, false, false
	}
	if slices.Equal(own, []string{"Skip"}) {
		return nil, true, true
	}
	hooks = phases(own, argoHooks)
	if len(hooks) == 0 {
		hooks = phases(helm, helmHooks)
	}
	return hooks, false, true
}

func phases(names []string, known map[string]model.SyncPhase) []model.SyncPhase {
	var out []model.SyncPhase
	for _, name := range names {
		if phase, ok := known[name]; ok && !slices.Contains(out, phase) {
			out = append(out, phase)
		}
	}
	return out
}

// deletePolicies are those of both annotations, BeforeHookCreation where
// neither says any.
func deletePolicies(annotations map[string]string) []model.HookDeletePolicy {
	known := map[string]model.HookDeletePolicy{
		"HookSucceeded": model.HookSucceeded, "HookFailed": model.HookFailed, "BeforeHookCreation": model.BeforeHookCreation,
	}
	helm := map[string]model.HookDeletePolicy{
		"hook-succeeded": model.HookSucceeded, "hook-failed": model.HookFailed, "before-hook-creation": model.BeforeHookCreation,
	}
	var out []model.HookDeletePolicy
	add := func(names []string, policies map[string]model.HookDeletePolicy) {
		for _, name := range names {
			if policy, ok := policies[name]; ok && !slices.Contains(out, policy) {
				out = append(out, policy)
			}
		}
	}
	add(listed(annotations[annotationHookDelete]), known)
	add(listed(annotations[helmHookDelete]), helm)
	if len(out) == 0 {
		out = append(out, model.BeforeHookCreation)
	}
	return out
}

// listed splits what is separated by commas; nothing twice.
func listed(text string) []string {
	var out []string
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item != "" && !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

// optionValue is the value of the first option of a name.
func optionValue(options []string, name string) (string, bool) {
	for _, option := range options {
		if value, ok := strings.CutPrefix(option, name+"="); ok {
			return value, true
		}
	}
	return "", false
}
