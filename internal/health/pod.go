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
