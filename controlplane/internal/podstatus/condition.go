package podstatus

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// verdict is what a condition says.
type verdict struct {
	holds   bool
	reason  string
	message string
}

// setConditions derives the conditions from containers and phase.
func (l *look) setConditions() {
	ended := l.endedVerdict()
	containers, initialized := ended, ended
	if ended == nil {
		containers, initialized = l.containersVerdict(), l.initializedVerdict()
	} else if l.status.Phase == corev1.PodSucceeded {
		initialized = &verdict{holds: true, reason: ended.reason}
	}
	ready := containers
	if containers.holds {
		ready = l.gatesVerdict()
	}
	l.setCondition(corev1.PodReadyToStartContainers, &verdict{holds: ended == nil && l.outcome.Kind != Pending})
	l.setCondition(corev1.PodInitialized, initialized)
	l.setCondition(corev1.PodReady, ready)
	l.setCondition(corev1.ContainersReady, containers)
}

// endedVerdict is nil while the pod lives.
func (l *look) endedVerdict() *verdict {
	switch l.status.Phase {
	case corev1.PodSucceeded:
		return &verdict{reason: "PodCompleted"}
	case corev1.PodFailed:
		return &verdict{reason: "PodFailed"}
	default:
		return nil
	}
}

func (l *look) initializedVerdict() *verdict {
	if l.initialized {
		return &verdict{holds: true}
	}
	var incomplete []string
	for i, status := range l.status.InitContainerStatuses {
		if status.State.Terminated == nil && !(isSidecar(&l.pod.Spec.InitContainers[i]) && status.State.Running != nil) {
			incomplete = append(incomplete, status.Name)
		}
	}
	return &verdict{reason: "ContainersNotInitialized", message: "containers with incomplete status: " + list(incomplete)}
}

func (l *look) containersVerdict() *verdict {
	var unready []string
	for i, status := range l.status.InitContainerStatuses {
		if isSidecar(&l.pod.Spec.InitContainers[i]) && !status.Ready {
			unready = append(unready, status.Name)
		}
	}
	for _, status := range l.status.ContainerStatuses {
		if !status.Ready {
			unready = append(unready, status.Name)
		}
	}
	if len(unready) == 0 {
		return &verdict{holds: true}
	}
	return &verdict{reason: "ContainersNotReady", message: "containers with unready status: " + list(unready)}
}

// gatesVerdict judges the readiness gates, whose conditions others set.
func (l *look) gatesVerdict() *verdict {
	var closed []string
	for _, gate := range l.pod.Spec.ReadinessGates {
		condition := l.condition(gate.ConditionType)
		switch {
		case condition == nil:
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case condition.Status != corev1.ConditionTrue:
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %s", gate.ConditionType, condition.Status))
		}
	}
	if len(closed) == 0 {
		return &verdict{holds: true}
	}
	return &verdict{reason: "ReadinessGatesNotReady", message: strings.Join(closed, ", ")}
}

func (l *look) setCondition(kind corev1.PodConditionType, says *verdict) {
	status := corev1.ConditionFalse
	if says.holds {
		status = corev1.ConditionTrue
	}
	condition := l.condition(kind)
	if condition == nil {
		l.status.Conditions = append(l.status.Conditions, corev1.PodCondition{Type: kind})
		condition = &l.status.Conditions[len(l.status.Conditions)-1]
	}
	if condition.Status != status {
		condition.LastTransitionTime = l.stamp
	}
	condition.Status, condition.Reason, condition.Message = status, says.reason, says.message
	condition.ObservedGeneration = l.pod.Generation
}

func (l *look) condition(kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range l.status.Conditions {
		if l.status.Conditions[i].Type == kind {
			return &l.status.Conditions[i]
		}
	}
	return nil
}

func list(names []string) string { return "[" + strings.Join(names, " ") + "]" }
