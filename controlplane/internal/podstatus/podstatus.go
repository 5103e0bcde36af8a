// Package podstatus computes what a kubelet would report about a pod that no
// machine runs.
//
// It is pure: from a pod, the place it runs in and the time follow the next
// status, the events that go with the change and the time at which to look
// again. Nothing is kept between two looks but the status itself, so that a
// restart of the control plane goes on where it stopped.
//
// Containers start at once, and probes succeed at once. Pods that are to end
// (restart policy Never or OnFailure) succeed after a moment. A pod fails when
// its image says so (see image.go) or when the annotation
// simulate.plumb.dev/outcome says so:
//
//	pending          the containers are never created
//	image-pull       the images cannot be pulled
//	crash-loop       the containers exit with code 1 as soon as they start
//	never-ready      the containers run, and their readiness probes fail
//	fail             the containers run for a moment and exit with code 1
//	slow:<duration>  the containers become ready, or finish, after the duration
//
// After an exit the restart policy decides, as it does on a machine: with
// Never the pod has failed, otherwise its containers are restarted with a
// growing back-off. Init containers complete at once, and restartable ones
// keep running; the outcomes concern the containers proper, except that
// image-pull stops the first init container where there is one.
package podstatus

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Placement is where and since when a pod runs.
type Placement struct {
	HostIP string
	PodIP  string
	// Since is when the node first saw the pod.
	Since time.Time
	// RunFor is how long containers run that are to end.
	RunFor time.Duration
}

// Step is the result of one look at a pod.
type Step struct {
	Status corev1.PodStatus
	Events []Event
	// Again is how long until the status changes by itself; 0 for never.
	Again time.Duration
}

// Event is what a kubelet records beside a status.
type Event struct {
	Type    string
	Reason  string
	Message string
}

// Next computes a pod's status now.
func Next(pod *corev1.Pod, at Placement, now time.Time) Step {
	if Ended(pod) {
		return Step{Status: pod.Status}
	}
	look := &look{
		pod:    pod,
		at:     at,
		now:    now,
		stamp:  metav1.NewTime(now).Rfc3339Copy(),
		status: pod.Status.DeepCopy(),
	}
	look.readOutcome()
	look.place()
	look.runInitContainers()
	look.runContainers()
	look.runEphemeralContainers()
	look.settlePhase()
	look.setConditions()
	return Step{Status: *look.status, Events: look.events, Again: look.again}
}

// Killed is the last status of a pod that is deleted before it ended.
func Killed(pod *corev1.Pod, now time.Time) corev1.PodStatus {
	look := &look{pod: pod, now: now, stamp: metav1.NewTime(now).Rfc3339Copy(), status: pod.Status.DeepCopy()}
	const killed = 137
	for _, statuses := range [][]corev1.ContainerStatus{look.status.InitContainerStatuses, look.status.ContainerStatuses} {
		for i := range statuses {
			if statuses[i].State.Terminated == nil {
				look.terminate(&statuses[i], killed, "Error")
			}
		}
	}
	look.status.Phase = corev1.PodFailed
	look.setConditions()
	return *look.status
}

// Ended tells whether the pod has run to its end.
func Ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// look is one look at a pod while the status is being computed.
type look struct {
	pod     *corev1.Pod
	at      Placement
	now     time.Time
	stamp   metav1.Time
	outcome Outcome

	status      *corev1.PodStatus
	initialized bool
	events      []Event
	again       time.Duration
}

func (l *look) readOutcome() {
	outcome, err := OutcomeOf(l.pod)
	if err != nil && l.status.StartTime == nil {
		l.event(corev1.EventTypeWarning, "InvalidSimulation", err.Error())
	}
	l.outcome = outcome
}

func (l *look) place() {
	if l.status.StartTime == nil {
		l.status.StartTime = &l.stamp
	}
	l.status.ObservedGeneration = l.pod.Generation
	l.status.HostIP = l.at.HostIP
	l.status.HostIPs = []corev1.HostIP{{IP: l.at.HostIP}}
	if l.outcome.Kind == Pending {
		return
	}
	l.status.PodIP = l.at.PodIP
	l.status.PodIPs = []corev1.PodIP{{IP: l.at.PodIP}}
}

// settlePhase derives the phase from the containers proper.
func (l *look) settlePhase() {
	var waiting, ended, failed int
	for _, container := range l.status.ContainerStatuses {
		switch {
		case container.State.Terminated != nil:
			ended++
			if container.State.Terminated.ExitCode != 0 {
				failed++
			}
		case container.State.Waiting != nil && container.LastTerminationState.Terminated == nil:
			waiting++
		}
	}
	switch {
	case !l.initialized || waiting > 0:
		l.status.Phase = corev1.PodPending
	case ended < len(l.status.ContainerStatuses):
		l.status.Phase = corev1.PodRunning
	case failed > 0:
		l.status.Phase = corev1.PodFailed
		l.stopSidecars()
	default:
		l.status.Phase = corev1.PodSucceeded
		l.stopSidecars()
	}
}

func (l *look) stopSidecars() {
	for i := range l.status.InitContainerStatuses {
		if l.status.InitContainerStatuses[i].State.Running != nil {
			l.terminate(&l.status.InitContainerStatuses[i], 0, "Completed")
		}
	}
}

func (l *look) event(kind, reason, message string) {
	l.events = append(l.events, Event{Type: kind, Reason: reason, Message: message})
}

// lookAgain keeps the earliest of the times asked for.
func (l *look) lookAgain(after time.Duration) {
	if l.again == 0 || after < l.again {
		l.again = after
	}
}

// elapsed tells whether the pod is older than a duration, and asks for another
// look if it is not.
func (l *look) elapsed(duration time.Duration) bool {
	remaining := l.at.Since.Add(duration).Sub(l.now)
	if remaining <= 0 {
		return true
	}
	l.lookAgain(remaining)
	return false
}
