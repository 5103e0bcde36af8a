package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// pod is Current when it is ready or has run to its end, whichever end, and
// Failed when a container of a running pod crashes over and over. kstatus also
// fails a pod that could not be scheduled for 15 seconds; nodes can be added,
// so that it is in progress here until the deadline of whoever waits.
func pod(live fields) model.Health {
	switch phase := live.text("status", "phase"); phase {
	case "Succeeded":
		return current("the pod has completed")
	case "Failed":
		return current("the pod has completed, but not successfully%s", ended(live))
	case "Running":
		return runningPod(live)
	case "Pending":
		if cause := podCause(live); cause.reason != "" {
			return inProgress(cause.reason, "%s", cause.message)
		}
		return inProgress("PodPending", "the pod is pending")
	case "":
		return inProgress("PodNotObserved", "the pod has not been looked at yet")
	default:
		return model.Health{State: model.Unknown, Reason: "UnknownPhase", Message: "the pod is in phase " + phase}
	}
}

func runningPod(live fields) model.Health {
	if ready, _ := live.condition("Ready"); ready.status == "True" {
		return current("the pod is ready")
	}
	cause := podCause(live)
	if looping := crashLooping(live); len(looping) > 0 {
		if cause.reason == crashLoop {
			return failed("ContainerCrashLooping", "%s", cause.message)
		}
		return failed("ContainerCrashLooping", "%s %s crashing over and over",
			plural(len(looping), "container")+" "+strings.Join(looping, ", "), isAre(len(looping)))
	}
	if cause.reason != "" {
		return inProgress(cause.reason, "%s", cause.message)
	}
	return inProgress("PodRunningNotReady", "the pod is running but not ready")
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// crashLooping lists the containers that wait for their next start after a
// crash. Like kstatus it leaves out init containers, which keep a pod pending.
func crashLooping(live fields) []string {
	var names []string
	for _, c := range live.each("status", "containerStatuses") {
		if c.text("state", "waiting", "reason") == crashLoop {
			names = append(names, c.text("name"))
		}
	}
	return names
}

// ended says why a pod failed.
func ended(live fields) string {
	if reason := live.text("status", "reason"); reason != "" {
		return condition{reason: reason, message: live.text("status", "message")}.because()
	}
	for _, list := range []string{"initContainerStatuses", "containerStatuses"} {
		for _, c := range live.each("status", list) {
			if end := c.sub("state", "terminated"); end != nil && end.count(0, "exitCode") != 0 {
				return ": container " + c.text("name") + " " + exit(end)
			}
		}
	}
	return ""
}

// assessPod is Argo CD's judgement. It differs from [pod] in that a container
// that cannot start is a failure at once, that a pod which ended badly has
// failed, and that a pod with a finite life (restartPolicy OnFailure or Never),
// which usually is a hook, is in progress for as long as it runs.
func assessPod(live fields) model.Health {
	lasting := livesOn(live)
	if lasting {
		if health, broken := brokenContainer(live); broken {
			return health
		}
	}
	cause := podCause(live)
	reason, message := or(cause.reason, "PodPending"), or(cause.message, "the pod is pending")
	switch phase := live.text("status", "phase"); phase {
	case "Pending":
		return inProgress(reason, "%s", message)
	case "Succeeded":
		return current("the pod has completed")
	case "Failed":
		return failed(or(live.text("status", "reason"), "PodFailed"), "the pod failed%s", ended(live))
	case "Running":
		return assessRunningPod(live, lasting, cause)
	default:
		return unknown("UnknownPhase", "the pod is in phase %s", or(phase, "none"))
	}
}

func assessRunningPod(live fields, lasting bool, why cause) model.Health {
	if !lasting {
		return inProgress("PodRunning", "the pod runs to its end")
	}
	if isReady(live) {
		return current("the pod is ready")
	}
	for _, c := range live.each("status", "containerStatuses") {
		if last := c.sub("lastState", "terminated"); last != nil {
			return failed(or(why.reason, "ContainerRestarted"), "%s",
				or(why.message, "container "+c.text("name")+" "+exit(last)+", and is not ready again"))
		}
	}
	return inProgress(or(why.reason, "PodRunningNotReady"), "%s", or(why.message, "the pod is running but not ready"))
}

// livesOn reports whether a pod is meant to run on: by its restart policy, or
// by an annotation that hooks cannot use.
func livesOn(live fields) bool {
	if or(live.text("spec", "restartPolicy"), "Always") == "Always" {
		return true
	}
	return live.text("metadata", "annotations", "argocd.argoproj.io/ignore-restart-policy") == "true" && !isHook(live)
}

// isHook reports whether an object runs as a hook, by Argo CD's annotation or by
// Helm's.
func isHook(live fields) bool {
	annotations := live.sub("metadata", "annotations")
	if annotations.has("argocd.argoproj.io/hook") {
		return strings.TrimSpace(annotations.text("argocd.argoproj.io/hook")) != "Skip"
	}
	return annotations.has("helm.sh/hook") && annotations.text("helm.sh/hook") != "crd-install"
}

// brokenContainer finds a container that waits because of an error.
func brokenContainer(live fields) (model.Health, bool) {
	for _, c := range live.each("status", "containerStatuses") {
		reason := c.text("state", "waiting", "reason")
		if strings.HasPrefix(reason, "Err") || strings.HasSuffix(reason, "Error") || strings.HasSuffix(reason, "BackOff") {
			found := containerCause("container", c, live)
			return failed(found.reason, "%s", found.message), true
		}
	}
	return model.Health{}, false
}
