package world

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"plumb.dev/plumb/internal/api/argocd"
	"plumb.dev/plumb/internal/model"
)

// action is something that can be done with objects of some kinds, as a merge
// patch (argo-cd resource_customizations/*/*/actions).
type action struct {
	name, icon string
	kinds      []schema.GroupKind
	// disabled reports that it means nothing for an object as it is.
	disabled func(*unstructured.Unstructured) bool
	patch    func(parameters map[string]string, now time.Time) (map[string]any, error)
}

var (
	deployment  = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	statefulSet = schema.GroupKind{Group: "apps", Kind: "StatefulSet"}
	daemonSet   = schema.GroupKind{Group: "apps", Kind: "DaemonSet"}
	cronJob     = schema.GroupKind{Group: "batch", Kind: "CronJob"}
	job         = schema.GroupKind{Group: "batch", Kind: "Job"}
)

var actions = []action{
	{name: "restart", icon: "fa-solid fa-arrows-rotate", kinds: []schema.GroupKind{deployment, statefulSet, daemonSet}, patch: restarted},
	{name: "pause", icon: "fa-solid fa-pause", kinds: []schema.GroupKind{deployment}, disabled: is(true, "spec", "paused"), patch: set(true, "spec", "paused")},
	{name: "resume", icon: "fa-solid fa-play", kinds: []schema.GroupKind{deployment}, disabled: is(false, "spec", "paused"), patch: set(false, "spec", "paused")},
	{name: "scale", icon: "fa-solid fa-expand", kinds: []schema.GroupKind{deployment, statefulSet}, patch: scaled},
	{name: "suspend", icon: "fa-solid fa-pause", kinds: []schema.GroupKind{cronJob, job}, disabled: is(true, "spec", "suspend"), patch: set(true, "spec", "suspend")},
	{name: "resume", icon: "fa-solid fa-play", kinds: []schema.GroupKind{cronJob, job}, disabled: is(false, "spec", "suspend"), patch: set(false, "spec", "suspend")},
}

func is(value bool, path ...string) func(*unstructured.Unstructured) bool {
	return func(o *unstructured.Unstructured) bool {
		now, _, _ := unstructured.NestedBool(o.Object, path...)
		return now == value
	}
}

func set(value any, path ...string) func(map[string]string, time.Time) (map[string]any, error) {
	return func(map[string]string, time.Time) (map[string]any, error) {
		out := map[string]any{}
		return out, unstructured.SetNestedField(out, value, path...)
	}
}

func restarted(_ map[string]string, now time.Time) (map[string]any, error) {
	out := map[string]any{}
	err := unstructured.SetNestedField(out, now.UTC().Format(time.RFC3339), "spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt")
	return out, err
}

func scaled(parameters map[string]string, _ time.Time) (map[string]any, error) {
	replicas, err := strconv.ParseInt(parameters["replicas"], 10, 32)
	if err != nil || replicas < 0 {
		return nil, &model.Fault{Reason: "InvalidParameter", Message: fmt.Sprintf("invalid number of replicas: %q", parameters["replicas"]), Advice: "pass --param replicas=NUMBER"}
	}
	return map[string]any{"spec": map[string]any{"replicas": replicas}}, nil
}

// Actions are those of an object.
func (w *world) Actions(ctx context.Context, app *unstructured.Unstructured, ref argocd.Ref) ([]argocd.Action, error) {
	live, err := w.raw(ctx, app, ref)
	if err != nil {
		return nil, err
	}
	var out []argocd.Action
	for _, a := range actions {
		if slices.Contains(a.kinds, live.GroupVersionKind().GroupKind()) {
			out = append(out, argocd.Action{Name: a.name, Icon: a.icon, Disabled: a.disabled != nil && a.disabled(live)})
		}
	}
	return out, nil
}

// Act does one.
func (w *world) Act(ctx context.Context, app *unstructured.Unstructured, ref argocd.Ref, name string, parameters map[string]string) error {
	for _, a := range actions {
		if a.name != name || !slices.Contains(a.kinds, schema.GroupKind{Group: ref.Group, Kind: ref.Kind}) {
			continue
		}
		patch, err := a.patch(parameters, time.Now())
		if err != nil {
			return err
		}
		body, err := json.Marshal(patch)
		if err != nil {
			return err
		}
		_, err = w.Patch(ctx, app, ref, types.MergePatchType, body)
		return err
	}
	return &model.Fault{Reason: "UnknownAction", Message: fmt.Sprintf("there is no action %q for %s/%s", name, ref.Group, ref.Kind)}
}
