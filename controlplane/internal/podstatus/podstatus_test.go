package podstatus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A story is a pod and what is seen of it as time goes by. Each look is one
// line: seconds since the pod was seen first, then phase, containers and
// conditions, then events.
func TestStories(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	cases := map[string]struct {
		outcome string
		policy  corev1.RestartPolicy
		image   string
		init    []corev1.Container
		looks   []time.Duration
		want    []string
	}{
		"a service runs for ever": {
			looks: []time.Duration{0, time.Hour},
			want: []string{
				"0s Running main=running,ready | Initialized Ready ContainersReady",
				"1h0m0s Running main=running,ready | Initialized Ready ContainersReady",
			},
		},
		"a task runs and completes": {
			policy: corev1.RestartPolicyNever,
			looks:  []time.Duration{0, 2 * time.Second, time.Hour},
			want: []string{
				"0s Running main=running,ready | Initialized Ready ContainersReady, again in 1s",
				"2s Succeeded main=exit 0 | Initialized",
				"1h0m0s Succeeded main=exit 0 | Initialized",
			},
		},
		"a slow task": {
			outcome: "slow:3s", policy: corev1.RestartPolicyOnFailure,
			looks: []time.Duration{0, 3 * time.Second},
			want: []string{
				"0s Running main=running | Initialized, again in 3s",
				"3s Succeeded main=exit 0 | Initialized",
			},
		},
		"a slow service": {
			outcome: "slow:3s",
			looks:   []time.Duration{0, 3 * time.Second},
			want: []string{
				"0s Running main=running | Initialized, again in 3s",
				"3s Running main=running,ready | Initialized Ready ContainersReady",
			},
		},
		"a pod that stays pending": {
			outcome: "pending",
			looks:   []time.Duration{0, time.Hour},
			want: []string{
				"0s Pending main=ContainerCreating | Initialized",
				"1h0m0s Pending main=ContainerCreating | Initialized",
			},
		},
		"a pod that is never ready": {
			outcome: "never-ready",
			looks:   []time.Duration{0, time.Hour},
			want: []string{
				"0s Running main=running | Initialized, events Unhealthy",
				"1h0m0s Running main=running | Initialized",
			},
		},
		"a service that crashes is restarted with growing pauses": {
			outcome: "crash-loop",
			looks:   []time.Duration{0, 5 * time.Second, 10 * time.Second, 30 * time.Second},
			want: []string{
				"0s Running main=CrashLoopBackOff,restarts 1 | Initialized, again in 10s, events BackOff",
				"5s Running main=CrashLoopBackOff,restarts 1 | Initialized, again in 5s",
				"10s Running main=CrashLoopBackOff,restarts 2 | Initialized, again in 20s",
				"30s Running main=CrashLoopBackOff,restarts 3 | Initialized, again in 40s",
			},
		},
		"a task that crashes has failed": {
			outcome: "crash-loop", policy: corev1.RestartPolicyNever,
			looks: []time.Duration{0},
			want:  []string{"0s Failed main=exit 1 |"},
		},
		"a task that fails runs first": {
			outcome: "fail", policy: corev1.RestartPolicyNever,
			looks: []time.Duration{0, time.Second},
			want: []string{
				"0s Running main=running,ready | Initialized Ready ContainersReady, again in 1s",
				"1s Failed main=exit 1 |",
			},
		},
		"an image that cannot be pulled": {
			image: "nginx:nope",
			looks: []time.Duration{0, time.Second, time.Hour},
			want: []string{
				"0s Pending main=ErrImagePull | Initialized, again in 1s, events Pulling Failed Failed",
				"1s Pending main=ImagePullBackOff | Initialized, events BackOff Failed",
				"1h0m0s Pending main=ImagePullBackOff | Initialized",
			},
		},
		"an image that is no image": {
			image: "no image",
			looks: []time.Duration{0, time.Hour},
			want: []string{
				"0s Pending main=InvalidImageName | Initialized, events InspectFailed Failed",
				"1h0m0s Pending main=InvalidImageName | Initialized",
			},
		},
		"init containers complete, sidecars go on": {
			init:  []corev1.Container{{Name: "prepare", Image: "busybox"}, {Name: "proxy", Image: "envoy", RestartPolicy: &always}},
			looks: []time.Duration{0},
			want:  []string{"0s Running prepare=exit 0,ready proxy=running,ready main=running,ready | Initialized Ready ContainersReady"},
		},
		"sidecars end with the task": {
			policy: corev1.RestartPolicyNever,
			init:   []corev1.Container{{Name: "proxy", Image: "envoy", RestartPolicy: &always}},
			looks:  []time.Duration{0, time.Second},
			want: []string{
				"0s Running proxy=running,ready main=running,ready | Initialized Ready ContainersReady, again in 1s",
				"1s Succeeded proxy=exit 0 main=exit 0 | Initialized",
			},
		},
		"an init container that cannot start holds up the rest": {
			init:  []corev1.Container{{Name: "first", Image: "busybox:missing"}, {Name: "second", Image: "busybox"}},
			looks: []time.Duration{2 * time.Second},
			want: []string{
				"2s Pending first=ImagePullBackOff second=PodInitializing main=PodInitializing |, events Pulling Failed Failed BackOff Failed",
			},
		},
		"an outcome that means nothing": {
			outcome: "slow:ly",
			looks:   []time.Duration{0, time.Second},
			want: []string{
				"0s Running main=running,ready | Initialized Ready ContainersReady, events InvalidSimulation",
				"1s Running main=running,ready | Initialized Ready ContainersReady",
			},
		},
	}
	for name, story := range cases {
		t.Run(name, func(t *testing.T) {
			image := story.image
			if image == "" {
				image = "nginx"
			}
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: "default", UID: "uid", Annotations: map[string]string{OutcomeAnnotation: story.outcome}},
				Spec: corev1.PodSpec{
					RestartPolicy:  story.policy,
					InitContainers: story.init,
					Containers:     []corev1.Container{{Name: "main", Image: image}},
				},
			}
			for i, line := range tell(pod, story.looks) {
				if line != story.want[i] {
					t.Errorf("look %d:\n got %s\nwant %s", i, line, story.want[i])
				}
			}
		})
	}
}

func TestReadinessGates(t *testing.T) {
	pod := newPod("nginx")
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/gate"}}
	if line := tell(pod, []time.Duration{0})[0]; line != "0s Running main=running,ready | Initialized ContainersReady" {
		t.Error(line)
	}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: "example.com/gate", Status: corev1.ConditionTrue})
	if line := tell(pod, []time.Duration{0})[0]; line != "0s Running main=running,ready | Initialized Ready ContainersReady example.com/gate" {
		t.Error(line)
	}
}

func TestImageChangedInPlaceStartsTheContainerAnew(t *testing.T) {
	pod := newPod("nginx:1")
	tell(pod, []time.Duration{0})
	first := pod.Status.ContainerStatuses[0]
	pod.Spec.Containers[0].Image = "nginx:2"
	tell(pod, []time.Duration{time.Second})
	second := pod.Status.ContainerStatuses[0]
	if second.Image != "docker.io/library/nginx:2" || second.RestartCount != 1 || second.ContainerID == first.ContainerID {
		t.Errorf("%+v", second)
	}
}

func TestKilledPodHasFailed(t *testing.T) {
	pod := newPod("nginx")
	tell(pod, []time.Duration{0})
	pod.Status = Killed(pod, time.Unix(1000, 0))
	if line := describe(0, pod, Step{}); line != "0s Failed main=exit 137 |" {
		t.Error(line)
	}
}

// Nothing is written for a pod at rest: a second look at the same time must
// change nothing, whatever the pod.
func TestSecondLookChangesNothing(t *testing.T) {
	for _, outcome := range []string{"", "pending", "image-pull", "crash-loop", "never-ready", "fail", "slow:1h"} {
		for _, policy := range []corev1.RestartPolicy{corev1.RestartPolicyAlways, corev1.RestartPolicyNever} {
			pod := newPod("nginx")
			pod.Spec.RestartPolicy = policy
			pod.Annotations = map[string]string{OutcomeAnnotation: outcome}
			now := time.Unix(5000, 0)
			at := Placement{HostIP: "127.0.0.1", PodIP: "10.128.0.1", Since: now.Add(-time.Minute), RunFor: time.Second}
			pod.Status = Next(pod, at, now).Status
			again := Next(pod, at, now)
			if !apiequality.Semantic.DeepEqual(again.Status, pod.Status) {
				t.Errorf("outcome %q, policy %s:\n%+v\n%+v", outcome, policy, pod.Status, again.Status)
			}
			if len(again.Events) > 0 {
				t.Errorf("outcome %q, policy %s: %v", outcome, policy, again.Events)
			}
		}
	}
}

func newPod(image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: "default", UID: "uid"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
}

// tell looks at a pod several times, and keeps the last status in it.
func tell(pod *corev1.Pod, looks []time.Duration) []string {
	began := time.Unix(1_000_000, 0)
	at := Placement{HostIP: "127.0.0.1", PodIP: "10.128.0.1", Since: began, RunFor: time.Second}
	var lines []string
	for _, after := range looks {
		step := Next(pod, at, began.Add(after))
		pod.Status = step.Status
		lines = append(lines, describe(after, pod, step))
	}
	return lines
}

func describe(after time.Duration, pod *corev1.Pod, step Step) string {
	words := []string{after.String(), string(pod.Status.Phase)}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, status := range statuses {
			words = append(words, status.Name+"="+describeContainer(status))
		}
	}
	words = append(words, "|")
	for _, condition := range pod.Status.Conditions {
		if condition.Status == corev1.ConditionTrue && condition.Type != corev1.PodReadyToStartContainers {
			words = append(words, string(condition.Type))
		}
	}
	line := strings.Join(words, " ")
	if step.Again > 0 {
		line += ", again in " + step.Again.String()
	}
	if len(step.Events) > 0 {
		line += ", events"
		for _, event := range step.Events {
			line += " " + event.Reason
		}
	}
	return line
}

func describeContainer(status corev1.ContainerStatus) string {
	var text string
	switch {
	case status.State.Running != nil:
		text = "running"
	case status.State.Terminated != nil:
		text = fmt.Sprintf("exit %d", status.State.Terminated.ExitCode)
	case status.State.Waiting != nil:
		text = status.State.Waiting.Reason
	}
	if status.Ready {
		text += ",ready"
	}
	if status.RestartCount > 0 {
		text += fmt.Sprintf(",restarts %d", status.RestartCount)
	}
	return text
}
