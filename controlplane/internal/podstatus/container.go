package podstatus

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// pullBackOffAfter is when a failing pull is reported as backing off.
	pullBackOffAfter = time.Second

	firstBackOff   = 10 * time.Second
	longestBackOff = 5 * time.Minute
)

// Waiting reasons, as kubelets write them.
const (
	containerCreating = "ContainerCreating"
	podInitializing   = "PodInitializing"
	invalidImageName  = "InvalidImageName"
	errImagePull      = "ErrImagePull"
	imagePullBackOff  = "ImagePullBackOff"
	crashLoopBackOff  = "CrashLoopBackOff"
)

// runInitContainers completes init containers in their order, up to one that
// cannot start.
func (l *look) runInitContainers() {
	statuses := make([]corev1.ContainerStatus, 0, len(l.pod.Spec.InitContainers))
	l.initialized = l.outcome.Kind != Pending || len(l.pod.Spec.InitContainers) == 0
	for i := range l.pod.Spec.InitContainers {
		spec := &l.pod.Spec.InitContainers[i]
		status := l.recall(spec, l.pod.Status.InitContainerStatuses)
		switch {
		case !l.initialized:
			l.wait(&status, podInitializing, "")
		case !l.pull(spec, &status):
			l.initialized = false
		case isSidecar(spec):
			l.run(&status, true)
		case status.State.Terminated == nil:
			l.terminate(&status, 0, "Completed")
			status.Ready = true
		}
		statuses = append(statuses, status)
	}
	l.status.InitContainerStatuses = nilIfEmpty(statuses)
}

func (l *look) runContainers() {
	statuses := make([]corev1.ContainerStatus, 0, len(l.pod.Spec.Containers))
	for i := range l.pod.Spec.Containers {
		spec := &l.pod.Spec.Containers[i]
		status := l.recall(spec, l.pod.Status.ContainerStatuses)
		switch {
		case !l.initialized:
			l.wait(&status, podInitializing, "")
		case l.outcome.Kind == Pending:
			l.wait(&status, containerCreating, "")
		case l.pull(spec, &status):
			l.live(spec, &status)
		}
		statuses = append(statuses, status)
	}
	l.status.ContainerStatuses = statuses
}

// runEphemeralContainers starts what kubectl debug adds.
func (l *look) runEphemeralContainers() {
	statuses := make([]corev1.ContainerStatus, 0, len(l.pod.Spec.EphemeralContainers))
	for i := range l.pod.Spec.EphemeralContainers {
		spec := corev1.Container(l.pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		status := l.recall(&spec, l.pod.Status.EphemeralContainerStatuses)
		if l.pull(&spec, &status) {
			l.run(&status, false)
			status.Started = nil
		}
		statuses = append(statuses, status)
	}
	l.status.EphemeralContainerStatuses = nilIfEmpty(statuses)
}

// live decides what a container does whose image is there.
func (l *look) live(spec *corev1.Container, status *corev1.ContainerStatus) {
	switch l.outcome.Kind {
	case CrashLoop:
		l.crash(spec, status)
	case Fail:
		if l.elapsed(l.at.RunFor) {
			l.crash(spec, status)
			return
		}
		l.run(status, true)
	case NeverReady:
		if status.State.Running == nil {
			l.event(corev1.EventTypeWarning, "Unhealthy", "Readiness probe failed: simulated by "+OutcomeAnnotation)
		}
		l.run(status, false)
	case Slow:
		if l.elapsed(l.outcome.Delay) {
			l.succeed(spec, status)
			return
		}
		l.run(status, false)
	default:
		if l.restartPolicy(spec) == corev1.ContainerRestartPolicyAlways || l.elapsed(l.at.RunFor) {
			l.succeed(spec, status)
			return
		}
		l.run(status, true)
	}
}

// succeed keeps a service running, and ends a task.
func (l *look) succeed(spec *corev1.Container, status *corev1.ContainerStatus) {
	if l.restartPolicy(spec) == corev1.ContainerRestartPolicyAlways {
		l.run(status, true)
		return
	}
	if status.State.Terminated == nil {
		l.terminate(status, 0, "Completed")
	}
}

// crash ends a container with code 1, and restarts it where the policy says
// so. What a restart would show for an instant (the container running) is left
// out: the next crash follows at once.
func (l *look) crash(spec *corev1.Container, status *corev1.ContainerStatus) {
	if l.restartPolicy(spec) == corev1.ContainerRestartPolicyNever {
		if status.State.Terminated == nil {
			l.terminate(status, 1, "Error")
		}
		return
	}
	if status.State.Waiting != nil && status.State.Waiting.Reason == crashLoopBackOff {
		last := status.LastTerminationState.Terminated
		if last != nil && l.now.Before(last.FinishedAt.Add(backOff(status.RestartCount))) {
			l.lookAgain(last.FinishedAt.Add(backOff(status.RestartCount)).Sub(l.now))
			return
		}
	} else {
		l.event(corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)",
			spec.Name, l.pod.Name, l.pod.Namespace, l.pod.UID))
	}
	l.terminate(status, 1, "Error")
	status.LastTerminationState = status.State
	status.RestartCount++
	l.wait(status, crashLoopBackOff, fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
		backOff(status.RestartCount), spec.Name, l.pod.Name, l.pod.Namespace, l.pod.UID))
	l.lookAgain(backOff(status.RestartCount))
}

// backOff doubles with every restart.
func backOff(restarts int32) time.Duration {
	delay := firstBackOff
	for ; restarts > 1 && delay < longestBackOff; restarts-- {
		delay *= 2
	}
	return min(delay, longestBackOff)
}

// pull makes the image of a container available, or says why it cannot.
func (l *look) pull(spec *corev1.Container, status *corev1.ContainerStatus) bool {
	found, fault := inspect(spec.Image)
	if fault == nil && l.outcome.Kind == ImagePull {
		fault = &imageFault{message: notFound(found.name)}
	}
	switch {
	case fault == nil:
		status.Image, status.ImageID = found.name, found.id
		return true
	case fault.invalidName:
		l.refuseName(status, fault)
	default:
		l.failPull(spec, status, fault)
	}
	return false
}

func (l *look) refuseName(status *corev1.ContainerStatus, fault *imageFault) {
	if !waitsFor(status, invalidImageName) {
		l.event(corev1.EventTypeWarning, "InspectFailed", fault.message)
		l.event(corev1.EventTypeWarning, "Failed", "Error: "+invalidImageName)
	}
	l.wait(status, invalidImageName, fault.message)
}

func (l *look) failPull(spec *corev1.Container, status *corev1.ContainerStatus, fault *imageFault) {
	if !waitsFor(status, errImagePull) && !waitsFor(status, imagePullBackOff) {
		l.event(corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", spec.Image))
		l.event(corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", spec.Image, fault.message))
		l.event(corev1.EventTypeWarning, "Failed", "Error: "+errImagePull)
	}
	if !l.elapsed(pullBackOffAfter) {
		l.wait(status, errImagePull, fault.message)
		return
	}
	if !waitsFor(status, imagePullBackOff) {
		l.event(corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", spec.Image))
		l.event(corev1.EventTypeWarning, "Failed", "Error: "+imagePullBackOff)
	}
	l.wait(status, imagePullBackOff, fmt.Sprintf("Back-off pulling image %q: %s: %s", spec.Image, errImagePull, fault.message))
}

// recall finds the last status of a container, or starts a new one. A
// container whose image was changed in place starts anew.
func (l *look) recall(spec *corev1.Container, statuses []corev1.ContainerStatus) corev1.ContainerStatus {
	fresh := corev1.ContainerStatus{Name: spec.Name, Image: spec.Image}
	for i := range statuses {
		if statuses[i].Name != spec.Name {
			continue
		}
		last := statuses[i].DeepCopy()
		if last.Image == spec.Image || last.Image == normalized(spec.Image) {
			return *last
		}
		if last.ContainerID != "" {
			fresh.RestartCount = last.RestartCount + 1
		}
		break
	}
	return fresh
}

func (l *look) wait(status *corev1.ContainerStatus, reason, message string) {
	status.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	status.Ready = false
	status.Started = new(bool)
}

func (l *look) run(status *corev1.ContainerStatus, ready bool) {
	if status.State.Running == nil {
		status.ContainerID = l.containerID(status)
		status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: l.stamp}}
	}
	started := true
	status.Ready, status.Started = ready, &started
}

func (l *look) terminate(status *corev1.ContainerStatus, code int32, reason string) {
	startedAt := l.stamp
	if status.State.Running != nil {
		startedAt = status.State.Running.StartedAt
	} else {
		status.ContainerID = l.containerID(status)
	}
	status.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, StartedAt: startedAt, FinishedAt: l.stamp, ContainerID: status.ContainerID,
	}}
	status.Ready = false
	status.Started = new(bool)
}

func (l *look) containerID(status *corev1.ContainerStatus) string {
	return "containerd://" + sum(fmt.Sprintf("%s/%s/%d", l.pod.UID, status.Name, status.RestartCount))
}

// restartPolicy is the container's own, or else the pod's.
func (l *look) restartPolicy(spec *corev1.Container) corev1.ContainerRestartPolicy {
	if spec.RestartPolicy != nil {
		return *spec.RestartPolicy
	}
	if l.pod.Spec.RestartPolicy == "" {
		return corev1.ContainerRestartPolicyAlways
	}
	return corev1.ContainerRestartPolicy(l.pod.Spec.RestartPolicy)
}

func isSidecar(spec *corev1.Container) bool {
	return spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func waitsFor(status *corev1.ContainerStatus, reason string) bool {
	return status.State.Waiting != nil && status.State.Waiting.Reason == reason
}

func nilIfEmpty(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	if len(statuses) == 0 {
		return nil
	}
	return statuses
}
