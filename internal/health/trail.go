package health

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Step is one thing on the way from an object that is not healthy down to the
// root of it.
type Step struct {
	Object    object.ID // what it is about; the same for a Pod and its containers
	UID       string    // of Object
	Container string    // of the Pod that Object is; "" for the Pod itself and for others
	Reason    string    // one CamelCase word, as Kubernetes has it; "" where there is none
	Text      string    // one sentence without a full stop, at most about 1 KiB
	Warning   bool      // it is an event, which may be of a time before
}

// Bounds of a trail.
const (
	maxUnwellContainers = 5    // of one Pod
	maxStepText         = 1024 // bytes
)

// Trail follows a workload down to what it suffers from: the ReplicaSet or Job
// that makes its Pods now, the Pod that is worst, and those of its containers
// that are not well, each with its image, what it waits for and how it ended
// last. A Pod leads to its containers. children are as for [Deeper]. The trail
// is empty where nothing is wrong, and for everything that makes no Pods.
func Trail(o *unstructured.Unstructured, children []*unstructured.Unstructured) []Step {
	if o == nil || o.Object == nil {
		return nil
	}
	kind := o.GroupVersionKind().GroupKind()
	if kind == (schema.GroupKind{Kind: "Pod"}) {
		return podSteps(o.Object, 0)
	}
	family := familyOf(o, children)
	if kind == (schema.GroupKind{Group: "batch", Kind: "CronJob"}) {
		family = family.latest()
	}
	pods := family.ailing()
	var steps []Step
	for _, set := range family.sets {
		if len(pods) > 0 || Of(&unstructured.Unstructured{Object: set}).State != model.Current {
			steps = append(steps, setStep(set))
		}
	}
	if len(pods) > 0 {
		steps = append(steps, podSteps(pods[0].live, len(pods)-1)...)
	}
	return steps
}

// latest is the family without the Jobs before the last, and their Pods.
func (f family) latest() family {
	if len(f.sets) < 2 {
		return f
	}
	last := slices.MaxFunc(f.sets, func(a, b fields) int {
		return strings.Compare(a.text("metadata", "creationTimestamp"), b.text("metadata", "creationTimestamp"))
	})
	f.sets = []fields{last}
	f.pods = slices.DeleteFunc(slices.Clone(f.pods), func(pod fields) bool {
		return !ownedBy(&unstructured.Unstructured{Object: pod}, last.text("metadata", "uid"))
	})
	return f
}

// ailing are the Pods that suffer from the same heaviest cause or, where none
// tells a cause, the first that is not ready.
func (f family) ailing() []sick {
	pods, _ := f.worst()
	if len(pods) > 0 {
		return pods
	}
	for _, pod := range f.pods {
		if phase := pod.text("status", "phase"); pod.text("metadata", "deletionTimestamp") == "" && phase != "Succeeded" && !isReady(pod) {
			return []sick{{live: pod}}
		}
	}
	return nil
}

// setStep says how far a ReplicaSet or a Job has come, and what keeps it from
// making Pods.
func setStep(set fields) Step {
	noun, step := set.text("kind"), stepOf(set, "", "")
	var text, why string
	switch noun {
	case "Job":
		want := set.count(1, "spec", "completions")
		text = of(set.count(0, "status", "succeeded"), want, "Pod") + " completed"
		if failures := set.count(0, "status", "failed"); failures > 0 {
			text += fmt.Sprintf(", %d failed", failures)
		}
		if c, ok := set.condition("Failed"); ok && c.status == "True" {
			step.Reason, why = c.reason, c.because()
		}
	default:
		text = of(set.count(0, "status", "readyReplicas"), set.count(1, "spec", "replicas"), "Pod") + " ready"
		if c, ok := set.condition("ReplicaFailure"); ok && c.status == "True" {
			step.Reason, why = c.reason, c.because()
		}
	}
	step.Text = clip(noun + " " + set.text("metadata", "name") + ": " + text + why)
	return step
}

// podSteps are a Pod that is not ready and the containers that keep it so; alike
// is how many more Pods suffer from the same.
func podSteps(pod fields, alike int) []Step {
	why := podCause(pod)
	if isReady(pod) || pod.text("status", "phase") == "Succeeded" {
		return nil
	}
	containers := containerSteps(pod)
	text := "Pod " + pod.text("metadata", "name") + " is " + or(pod.text("status", "phase"), "not looked at yet")
	if node := pod.text("spec", "nodeName"); node != "" {
		text += " on " + node
	}
	// What no container tells: scheduling, eviction, readiness gates.
	if why.weight != nothing && (len(containers) == 0 || why.weight == unscheduled || why.weight == gated) {
		text += ": " + why.message
	}
	if alike > 0 {
		text += fmt.Sprintf("; %d more %s alike", alike, plural(alike, "Pod"))
	}
	return append([]Step{stepOf(pod, why.reason, text)}, containers...)
}

// containerSteps are the containers of a Pod that are not well.
func containerSteps(pod fields) []Step {
	var steps []Step
	for _, list := range []struct{ statuses, spec, noun string }{
		{"initContainerStatuses", "initContainers", "init container"},
		{"containerStatuses", "containers", "container"},
	} {
		for _, status := range pod.each("status", list.statuses) {
			why := containerCause(list.noun, status, pod)
			if why.weight == nothing || len(steps) == maxUnwellContainers {
				continue
			}
			step := stepOf(pod, why.reason, why.message+circumstances(pod, list.spec, status, why.message))
			step.Container = status.text("name")
			steps = append(steps, step)
		}
	}
	return steps
}

// circumstances of a container that is not well: its image, unless that has been
// told, and when it ended last.
func circumstances(pod fields, list string, status fields, told string) string {
	var parts []string
	image := status.text("image")
	for _, container := range pod.each("spec", list) {
		if container.text("name") == status.text("name") {
			image = or(container.text("image"), image)
		}
	}
	if image != "" && !strings.Contains(told, image) {
		parts = append(parts, "image "+image)
	}
	for _, state := range []string{"state", "lastState"} {
		if end := status.text(state, "terminated", "finishedAt"); end != "" {
			parts = append(parts, "last ended at "+end)
			break
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func stepOf(o fields, reason, text string) Step {
	live := &unstructured.Unstructured{Object: o}
	return Step{Object: object.Of(live), UID: string(live.GetUID()), Reason: reason, Text: clip(text)}
}

// Warnings are the newest warnings about an object, at most limit, that say more
// than what told says already: why an image cannot be pulled, what a probe was
// answered, which volume cannot be mounted.
func Warnings(about Step, events []*unstructured.Unstructured, told []Step, limit int) []Step {
	var warnings []fields
	for _, event := range events {
		if e := fields(event.Object); e.text("type") == "Warning" && eventAbout(e) == about.UID {
			warnings = append(warnings, e)
		}
	}
	slices.SortStableFunc(warnings, func(a, b fields) int { return strings.Compare(eventTime(b), eventTime(a)) })
	var steps []Step
	seen := map[string]bool{}
	for _, e := range warnings {
		reason, message := e.text("reason"), or(e.text("message"), e.text("note"))
		if seen[reason+message] || known(message, reason, told) {
			continue
		}
		seen[reason+message] = true
		text := "warning " + reason
		if n := max(e.count(1, "count"), e.count(1, "series", "count")); n > 1 {
			text += fmt.Sprintf(", %d times", n)
		}
		if at := eventTime(e); at != "" {
			text += ", last at " + at
		}
		if steps = append(steps, Step{Object: about.Object, UID: about.UID, Reason: reason, Text: clip(text + ": " + message), Warning: true}); len(steps) == limit {
			break
		}
	}
	return steps
}

// eventAbout is the uid of what an event is about.
func eventAbout(event fields) string {
	return or(event.text("involvedObject", "uid"), event.text("regarding", "uid"))
}

// known reports whether an event says nothing that the steps do not say: that it
// is waited before the next start, or what a container says once more behind
// other words, as in "Error: ErrImagePull".
func known(message, reason string, told []Step) bool {
	if reason == "BackOff" || message == "" {
		return true
	}
	_, behind, _ := strings.Cut(message, ": ")
	return slices.ContainsFunc(told, func(step Step) bool {
		return strings.Contains(step.Text, message) || behind != "" && strings.Contains(step.Text, behind)
	})
}

// clip bounds what others wrote.
func clip(text string) string {
	if len(text) <= maxStepText {
		return text
	}
	return strings.ToValidUTF8(text[:maxStepText], "") + "…"
}
