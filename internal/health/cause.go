package health

import (
	"fmt"
	"strings"
)

// weight orders causes: the heavier explains more.
type weight int

const (
	nothing     weight = iota
	starting           // on its way
	unready            // runs, but its probes do not succeed
	gated              // waits for something that others do
	unscheduled        // no node takes it
	badEnd             // ran to a bad end
	broken             // cannot start, or crashes, until someone changes something
)

// cause is why a pod is not ready.
type cause struct {
	reason  string // CamelCase, "" when nothing is known
	message string
	weight  weight
}

// crashLoop is the kubelet's word for a container that it waits to restart.
const crashLoop = "CrashLoopBackOff"

// podCause finds what keeps a pod from being ready: the heaviest cause, the
// first of equals.
func podCause(live fields) cause {
	worst := cause{}
	consider := func(c cause) {
		if c.weight > worst.weight {
			worst = c
		}
	}
	if live.text("status", "phase") == "Failed" {
		reason := or(live.text("status", "reason"), "PodFailed")
		consider(cause{reason, "the pod failed" + ended(live), badEnd})
	}
	consider(schedulingCause(live))
	for _, list := range []string{"initContainerStatuses", "containerStatuses"} {
		noun := "container"
		if list == "initContainerStatuses" {
			noun = "init container"
		}
		for _, status := range live.each("status", list) {
			consider(containerCause(noun, status, live))
		}
	}
	if worst.weight == nothing && live.text("status", "phase") == "Running" {
		for _, c := range live.conditions() {
			if c.status == "False" && c.kind != "Ready" && c.kind != "ContainersReady" && c.kind != "DisruptionTarget" {
				consider(cause{or(c.reason, c.kind), "condition " + c.kind + " is false" + c.because(), unready})
			}
		}
	}
	return worst
}

func schedulingCause(live fields) cause {
	scheduled, ok := live.condition("PodScheduled")
	if !ok || scheduled.status != "False" {
		return cause{}
	}
	if scheduled.reason == "SchedulingGated" {
		return cause{scheduled.reason, "scheduling is gated" + (condition{message: scheduled.message}).because(), gated}
	}
	return cause{or(scheduled.reason, "Unschedulable"), "no node takes the pod" + (condition{message: scheduled.message}).because(), unscheduled}
}

// containerCause judges one container status. What containers write into their
// termination message is theirs, and may hold secrets: it is not repeated.
func containerCause(noun string, status fields, live fields) cause {
	name := noun + " " + status.text("name")
	restarts := status.count(0, "restartCount")
	if waiting := status.sub("state", "waiting"); waiting != nil {
		reason := waiting.text("reason")
		switch reason {
		case "", "ContainerCreating", "PodInitializing":
			if last := status.sub("lastState", "terminated"); last != nil && last.count(0, "exitCode") != 0 {
				return cause{or(last.text("reason"), "Error"), name + " " + exit(last) + again(restarts), broken}
			}
			if reason == "PodInitializing" {
				return cause{} // the init container that it waits for tells more
			}
			return cause{or(reason, "Waiting"), name + ": " + or(waiting.text("message"), "it is being created"), starting}
		case crashLoop:
			message := name + ": " + crashLoop
			if last := status.sub("lastState", "terminated"); last != nil {
				message += ": it " + exit(last)
			}
			return cause{crashLoop, message + again(restarts), broken}
		default:
			return cause{reason, name + (condition{reason: reason, message: waiting.text("message")}).because(), broken}
		}
	}
	if end := status.sub("state", "terminated"); end != nil {
		if end.count(0, "exitCode") == 0 {
			return cause{}
		}
		return cause{or(end.text("reason"), "Error"), name + " " + exit(end) + again(restarts), broken}
	}
	if status.sub("state", "running") != nil && !status.flag("ready") && noun == "container" {
		return unreadyCause(name, status, live)
	}
	return cause{}
}

// unreadyCause says what a running container that is not ready waits for, and
// whether it is being restarted meanwhile.
func unreadyCause(name string, status fields, live fields) cause {
	reason, message := "ReadinessProbe", name+" runs, but its readiness probe has not succeeded"
	if !probed(live, status.text("name"), "readinessProbe") {
		reason, message = "ContainersNotReady", name+" runs, but is not ready"
	}
	if probed(live, status.text("name"), "startupProbe") && !status.flag("started") {
		reason, message = "StartupProbe", name+" runs, but its startup probe has not succeeded"
	}
	if last := status.sub("lastState", "terminated"); last != nil && status.count(0, "restartCount") > 0 {
		message += "; before, it " + exit(last) + again(status.count(0, "restartCount"))
	}
	return cause{reason, message, unready}
}

// probed reports whether a container of the pod's spec has a probe.
func probed(live fields, name, probe string) bool {
	for _, container := range live.each("spec", "containers") {
		if container.text("name") == name {
			return container.sub(probe) != nil
		}
	}
	return false
}

// exit says how a container ended, such as "ended with exit code 1 (Error)".
func exit(end fields) string {
	text := fmt.Sprintf("ended with exit code %d", end.count(0, "exitCode"))
	reason := end.text("reason")
	if reason != "" && reason != "Error" && reason != "Completed" {
		text += " (" + reason + ")"
	}
	// Written by the container runtime, not by the container.
	if message := strings.TrimSpace(end.text("message")); message != "" && (reason == "StartError" || reason == "ContainerCannotRun") {
		text += ": " + message
	}
	return text
}

func again(restarts int64) string {
	switch restarts {
	case 0:
		return ""
	case 1:
		return ", restarted once"
	}
	return fmt.Sprintf(", restarted %d times", restarts)
}
