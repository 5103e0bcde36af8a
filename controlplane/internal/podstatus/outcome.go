package podstatus

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// OutcomeAnnotation tells a pod how to fare.
const OutcomeAnnotation = "simulate.plumb.dev/outcome"

// OutcomeKind is a way to fare.
type OutcomeKind string

// The outcomes that the annotation can ask for.
const (
	Healthy    OutcomeKind = ""
	Pending    OutcomeKind = "pending"
	ImagePull  OutcomeKind = "image-pull"
	CrashLoop  OutcomeKind = "crash-loop"
	NeverReady OutcomeKind = "never-ready"
	Fail       OutcomeKind = "fail"
	Slow       OutcomeKind = "slow"
)

// Outcome is how a pod fares.
type Outcome struct {
	Kind OutcomeKind
	// Delay belongs to Slow.
	Delay time.Duration
}

// OutcomeOf reads the annotation of a pod. A value that means nothing is an
// error, and the pod is healthy.
func OutcomeOf(pod *corev1.Pod) (Outcome, error) {
	value := pod.Annotations[OutcomeAnnotation]
	switch kind := OutcomeKind(value); kind {
	case Healthy, Pending, ImagePull, CrashLoop, NeverReady, Fail:
		return Outcome{Kind: kind}, nil
	}
	if text, found := strings.CutPrefix(value, string(Slow)+":"); found {
		delay, err := time.ParseDuration(text)
		if err == nil && delay >= 0 {
			return Outcome{Kind: Slow, Delay: delay}, nil
		}
	}
	return Outcome{}, fmt.Errorf("annotation %s: %q means nothing; use pending, image-pull, crash-loop, never-ready, fail or slow:<duration>, for example slow:30s", OutcomeAnnotation, value)
}
