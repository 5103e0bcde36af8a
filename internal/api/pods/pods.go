// Package pods reads what people want to know at a glance of Pods, and of the
// workloads that make them, from live objects: in the words of kubectl and of
// Argo CD.
package pods

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/engine"
)

// Pod is what a Pod is doing.
type Pod struct {
	Status     string // one word, as the column STATUS of kubectl get pods
	Node       string
	Ready, Of  int // containers that are ready, of those that go on
	Restarts   int
	Containers []Container // in the order in which they start
}

// The kinds of containers.
const (
	Init      = "init"
	Sidecar   = "sidecar" // an init container that goes on
	Ordinary  = "container"
	Ephemeral = "ephemeral"
)

// Container is one container of a Pod, or of the template of one.
type Container struct {
	Name, Kind, Image string
	State, Reason     string // "Waiting", "Running", "Terminated" or "" before it is known, and why
	Restarts          int
	Ready             bool
	Previous          bool // there was an instance before
	Default           bool // it is meant where nobody names one
	ID                string
}

// defaultContainer names the container that kubectl takes where none is named.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// Has reports whether objects of a kind are Pods or make them.
func Has(kind schema.GroupKind) bool { return engine.PodSpec(kind) != nil }

// specOf is the specification of the Pods of an object; false where it has none
// that can be read.
func specOf(o *unstructured.Unstructured) (*corev1.PodSpec, bool) {
	at := engine.PodSpec(o.GroupVersionKind().GroupKind())
	if at == nil {
		return nil, false
	}
	value, found, err := unstructured.NestedFieldNoCopy(o.Object, at...)
	fields, ok := value.(map[string]any)
	if err != nil || !found || !ok {
		return nil, false
	}
	spec := &corev1.PodSpec{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, spec); err != nil {
		return nil, false
	}
	return spec, true
}

// ContainersOf are the containers of a Pod or of what makes Pods; those of a Pod
// with what they are doing.
func ContainersOf(o *unstructured.Unstructured) []Container {
	if o.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Pod"}) {
		return Read(o).Containers
	}
	spec, ok := specOf(o)
	if !ok {
		return nil
	}
	return declared(spec, "")
}

// declared are the containers of a specification. chosen is the default one; "":
// the first that is no init container.
func declared(spec *corev1.PodSpec, chosen string) []Container {
	var all []Container
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		kind := Init
		if sidecar(c) {
			kind = Sidecar
		}
		all = append(all, Container{Name: c.Name, Kind: kind, Image: c.Image})
	}
	for i := range spec.Containers {
		all = append(all, Container{Name: spec.Containers[i].Name, Kind: Ordinary, Image: spec.Containers[i].Image})
	}
	for i := range spec.EphemeralContainers {
		c := &spec.EphemeralContainers[i]
		all = append(all, Container{Name: c.Name, Kind: Ephemeral, Image: c.Image})
	}
	at := slices.IndexFunc(all, func(c Container) bool { return c.Name == chosen })
	if at < 0 {
		at = slices.IndexFunc(all, func(c Container) bool { return c.Kind == Ordinary })
	}
	if at >= 0 {
		all[at].Default = true
	}
	return all
}

func sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// Images are those of a workload's or a Pod's containers, each once.
func Images(o *unstructured.Unstructured) []string {
	var images []string
	for _, c := range ContainersOf(o) {
		if c.Image != "" && !slices.Contains(images, c.Image) {
			images = append(images, c.Image)
		}
	}
	return images
}

// Read reads a live Pod. What cannot be understood of it is left out.
func Read(o *unstructured.Unstructured) Pod {
	pod := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, pod); err != nil {
		return Pod{Status: "Unknown"}
	}
	out := Pod{Node: pod.Spec.NodeName, Containers: declared(&pod.Spec, pod.Annotations[defaultContainer])}
	statuses := map[string]*corev1.ContainerStatus{}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			statuses[list[i].Name] = &list[i]
		}
	}
	for i := range out.Containers {
		c := &out.Containers[i]
		if s := statuses[c.Name]; s != nil {
			c.tell(s)
		}
		out.Restarts += c.Restarts
		if c.Kind == Ordinary || c.Kind == Sidecar {
			out.Of++
			if c.Ready {
				out.Ready++
			}
		}
	}
	out.Status = status(pod, out.Containers, statuses)
	return out
}

// tell fills in what a container is doing.
func (c *Container) tell(s *corev1.ContainerStatus) {
	c.Restarts, c.Ready, c.ID = int(s.RestartCount), s.Ready, s.ContainerID
	c.Previous = s.LastTerminationState.Terminated != nil
	switch {
	case s.State.Waiting != nil:
		c.State, c.Reason = "Waiting", s.State.Waiting.Reason
	case s.State.Running != nil:
		c.State = "Running"
	case s.State.Terminated != nil:
		c.State, c.Reason = "Terminated", ending(s.State.Terminated)
	}
}

// ending says in a word how a container ended.
func ending(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return "Signal:" + strconv.Itoa(int(t.Signal))
	}
	return "ExitCode:" + strconv.Itoa(int(t.ExitCode))
}

// status is the word that kubectl has for a Pod (printers, printPod).
func status(pod *corev1.Pod, containers []Container, statuses map[string]*corev1.ContainerStatus) string {
	word := string(pod.Status.Phase)
	if pod.Status.Reason != "" {
		word = pod.Status.Reason
	}
	if reason := conditionReason(pod, corev1.PodScheduled); reason == corev1.PodReasonSchedulingGated {
		word = reason
	}
	if first := beginning(pod, containers, statuses); first != "" && !holds(pod, corev1.PodInitialized) {
		word = first
	} else {
		word = going(pod, containers, word)
	}
	switch {
	case pod.DeletionTimestamp == nil:
	case pod.Status.Reason == "NodeLost":
		word = "Unknown"
	case pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed:
		word = "Terminating"
	}
	return word
}

// beginning is what the first init container that has not done its work is at;
// "" when all have.
func beginning(pod *corev1.Pod, containers []Container, statuses map[string]*corev1.ContainerStatus) string {
	of := len(pod.Spec.InitContainers)
	for i, c := range containers[:of] {
		s := statuses[c.Name]
		switch {
		case s == nil:
		case s.State.Terminated != nil && s.State.Terminated.ExitCode == 0:
			continue
		case c.Kind == Sidecar && s.Started != nil && *s.Started:
			continue
		case s.State.Terminated != nil:
			return "Init:" + c.Reason
		case c.State == "Waiting" && c.Reason != "" && c.Reason != "PodInitializing":
			return "Init:" + c.Reason
		}
		if s != nil || pod.Status.InitContainerStatuses != nil {
			return fmt.Sprintf("Init:%d/%d", i, of)
		}
		return ""
	}
	return ""
}

// going is what the containers are at: the first one that waits or has ended says
// it.
func going(pod *corev1.Pod, containers []Container, word string) string {
	runs := false
	for _, c := range slices.Backward(containers) {
		switch {
		case c.Kind != Ordinary:
		case (c.State == "Waiting" || c.State == "Terminated") && c.Reason != "":
			word = c.Reason
		case c.State == "Running" && c.Ready:
			runs = true
		}
	}
	if word == "Completed" && runs {
		if holds(pod, corev1.PodReady) {
			return "Running"
		}
		return "NotReady"
	}
	return word
}

func holds(pod *corev1.Pod, condition corev1.PodConditionType) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == condition && c.Status == corev1.ConditionTrue
	})
}

func conditionReason(pod *corev1.Pod, condition corev1.PodConditionType) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == condition {
			return c.Reason
		}
	}
	return ""
}

// Replicas are how many Pods a workload has.
type Replicas struct{ Desired, Ready, Updated int }

// ReplicasOf counts the Pods of a workload; false for what counts none.
func ReplicasOf(o *unstructured.Unstructured) (Replicas, bool) {
	number := func(otherwise int, path ...string) int {
		n, found, err := unstructured.NestedInt64(o.Object, path...)
		if !found || err != nil {
			return otherwise
		}
		return int(n)
	}
	switch o.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "apps", Kind: "DaemonSet"}:
		return Replicas{number(0, "status", "desiredNumberScheduled"), number(0, "status", "numberReady"), number(0, "status", "updatedNumberScheduled")}, true
	case schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}, schema.GroupKind{Kind: "ReplicationController"}:
		desired := number(1, "spec", "replicas")
		return Replicas{desired, number(0, "status", "readyReplicas"), number(0, "status", "replicas")}, true
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}, schema.GroupKind{Group: "apps", Kind: "StatefulSet"}, schema.GroupKind{Group: "argoproj.io", Kind: "Rollout"}:
		return Replicas{number(1, "spec", "replicas"), number(0, "status", "readyReplicas"), number(0, "status", "updatedReplicas")}, true
	case schema.GroupKind{Group: "batch", Kind: "Job"}:
		// Of a Job, those that have done their work.
		return Replicas{number(1, "spec", "completions"), number(0, "status", "succeeded"), 0}, true
	}
	return Replicas{}, false
}

// Revision is which rollout of its Deployment a ReplicaSet is; 0 for others.
func Revision(o *unstructured.Unstructured) int64 {
	if o.GetKind() != "ReplicaSet" {
		return 0
	}
	n, err := strconv.ParseInt(o.GetAnnotations()["deployment.kubernetes.io/revision"], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// The marks of nodes that run nothing: those of plumb up, and those of kwok.
const (
	simulatedLabel = "simulate.plumb.dev/node"
	kwokAnnotation = "kwok.x-k8s.io/node"
)

// Simulated reports whether a Node runs no programs, so that its Pods have no
// logs.
func Simulated(node *unstructured.Unstructured) bool {
	_, kwok := node.GetAnnotations()[kwokAnnotation]
	return kwok || node.GetLabels()[simulatedLabel] != ""
}
