package health

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
)

// Deeper judges a workload like Of, and when that leaves it unhealthy looks for
// the root cause among what it made: children are any of its ReplicaSets, Jobs,
// Pods, and Events about those; others are left out. The result has the reason
// of the cause, and a message that begins with what Of says and ends with what
// one pod suffers from. A workload in progress is Failed if one of its pods is,
// as in the pod controllers of kstatus.
func Deeper(parent *unstructured.Unstructured, children []*unstructured.Unstructured) model.Health {
	health := Of(parent)
	if health.State != model.InProgress && health.State != model.Unhealthy {
		return health
	}
	if health.Reason == notObserved {
		return health // what there is was made for an earlier spec
	}
	family := familyOf(parent, children)
	pods, failing := family.worst()
	if len(pods) == 0 || pods[0].cause.weight < unscheduled {
		if health, found := family.cannotCreate(health); found {
			return health
		}
	}
	if len(pods) == 0 {
		return health
	}
	root := pods[0]
	message := "pod " + root.live.text("metadata", "name") + ": " + root.cause.message
	if event := family.warning(root); event != "" {
		message += " (" + event + ")"
	}
	if alike := len(pods) - 1; alike > 0 {
		message += fmt.Sprintf("; %d more %s alike", alike, plural(alike, "pod"))
	}
	health.Message = strings.TrimSuffix(health.Message, ".") + "; " + message
	if health.Reason != "ProgressDeadlineExceeded" {
		health.Reason = root.cause.reason
	}
	if failing {
		health.State = model.Unhealthy
	}
	return health
}

// sick is a pod that is not ready, with why.
type sick struct {
	live  fields
	cause cause
}

// family is a workload's children, by kind.
type family struct {
	sets   []fields // ReplicaSets and Jobs that make pods for the workload now
	pods   []fields
	events []fields
}

// familyOf sorts the children of a workload. Of a Deployment's ReplicaSets only
// the newest counts, with its pods: the old ones are on their way out.
func familyOf(parent *unstructured.Unstructured, children []*unstructured.Unstructured) family {
	var f family
	for _, child := range children {
		if child == nil {
			continue
		}
		switch child.GetKind() {
		case "ReplicaSet", "Job":
			if ownedBy(child, string(parent.GetUID())) {
				f.sets = append(f.sets, child.Object)
			}
		case "Pod":
			f.pods = append(f.pods, child.Object)
		case "Event":
			f.events = append(f.events, child.Object)
		}
	}
	if parent.GetKind() == "Deployment" && len(f.sets) > 1 {
		f.sets = []fields{slices.MaxFunc(f.sets, func(a, b fields) int { return int(revision(a) - revision(b)) })}
	}
	f.pods = slices.DeleteFunc(f.pods, func(pod fields) bool {
		return !f.includes(&unstructured.Unstructured{Object: pod}, parent)
	})
	slices.SortFunc(f.pods, func(a, b fields) int {
		return strings.Compare(a.text("metadata", "name"), b.text("metadata", "name"))
	})
	return f
}

// includes reports whether a pod belongs to the workload, directly or through
// one of the sets that count.
func (f family) includes(pod, parent *unstructured.Unstructured) bool {
	if len(pod.GetOwnerReferences()) == 0 || parent.GetUID() == "" {
		return true // the caller has selected it
	}
	if ownedBy(pod, string(parent.GetUID())) {
		return true
	}
	for _, set := range f.sets {
		if uid := set.text("metadata", "uid"); uid != "" && ownedBy(pod, uid) {
			return true
		}
	}
	return len(f.sets) == 0 && parent.GetKind() != "Pod"
}

// ownedBy reports whether uid is among the owners; what names no owners is
// taken to have been selected by the caller.
func ownedBy(child *unstructured.Unstructured, uid string) bool {
	owners := child.GetOwnerReferences()
	if len(owners) == 0 || uid == "" {
		return true
	}
	for _, owner := range owners {
		if string(owner.UID) == uid {
			return true
		}
	}
	return false
}

func revision(set fields) int64 {
	// A malformed revision counts as the oldest.
	n, _ := strconv.ParseInt(set.text("metadata", "annotations", "deployment.kubernetes.io/revision"), 10, 32)
	return n
}

// worst returns the pods with the heaviest cause, those alike after the first,
// and whether a pod has failed for good.
func (f family) worst() (pods []sick, failing bool) {
	for _, pod := range f.pods {
		if pod.text("metadata", "deletionTimestamp") != "" {
			continue
		}
		if state := Of(&unstructured.Unstructured{Object: pod}).State; state == model.Unhealthy {
			failing = true
		}
		found := podCause(pod)
		if found.weight == nothing || isReady(pod) {
			continue
		}
		switch {
		case len(pods) == 0 || found.weight > pods[0].cause.weight:
			pods = []sick{{pod, found}}
		case found.weight == pods[0].cause.weight && found.reason == pods[0].cause.reason:
			pods = append(pods, sick{pod, found})
		}
	}
	return pods, failing
}

func isReady(pod fields) bool {
	ready, _ := pod.condition("Ready")
	return ready.status == "True"
}

// cannotCreate explains a workload whose pods cannot even be made.
func (f family) cannotCreate(health model.Health) (model.Health, bool) {
	for _, set := range f.sets {
		c, ok := set.condition("ReplicaFailure")
		if !ok || c.status != "True" {
			continue
		}
		if !strings.Contains(health.Message, c.message) {
			health.Message = strings.TrimSuffix(health.Message, ".") + "; ReplicaSet " + set.text("metadata", "name") + c.because()
		}
		if health.Reason != "ProgressDeadlineExceeded" {
			health.Reason = or(c.reason, "ReplicaFailure")
		}
		return health, true
	}
	return health, false
}

// warning is the last warning event about a pod, which tells what its status
// does not: a volume that cannot be mounted, the answer to a probe.
func (f family) warning(pod sick) string {
	if pod.cause.weight != starting && pod.cause.weight != unready {
		return ""
	}
	var last fields
	for _, event := range f.events {
		about := event.sub("involvedObject")
		if about == nil {
			about = event.sub("regarding")
		}
		if event.text("type") != "Warning" || about.text("kind") != "Pod" ||
			about.text("name") != pod.live.text("metadata", "name") {
			continue
		}
		if last == nil || eventTime(event) >= eventTime(last) {
			last = event
		}
	}
	if last == nil {
		return ""
	}
	return last.text("reason") + ": " + or(last.text("message"), last.text("note"))
}

// eventTime is when an event was last seen, in RFC 3339, which sorts as text.
func eventTime(event fields) string {
	for _, path := range [][]string{{"series", "lastObservedTime"}, {"lastTimestamp"}, {"eventTime"}, {"deprecatedLastTimestamp"}} {
		if at := event.text(path...); at != "" {
			return at
		}
	}
	return event.text("metadata", "creationTimestamp")
}
