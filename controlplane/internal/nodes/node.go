package nodes

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/version"
)

const (
	// simulatedLabel marks the nodes that belong to the fleet.
	simulatedLabel = "simulate.plumb.dev/node"

	hostIP = "127.0.0.1"

	// zones spreads nodes over as many zones, for topology constraints.
	zones = 3
)

func nodeName(index int) string { return fmt.Sprintf("node-%d", index) }

// Register makes the Node objects agree with the fleet: missing ones are
// created, surplus ones of an earlier start removed.
func (f *Fleet) Register(ctx context.Context) error {
	for index := 1; index <= len(f.names); index++ {
		if err := f.registerNode(ctx, index); err != nil {
			return fmt.Errorf("register node %s: %w", nodeName(index), err)
		}
	}
	return f.removeSurplus(ctx)
}

func (f *Fleet) registerNode(ctx context.Context, index int) error {
	nodes := f.client.CoreV1().Nodes()
	node, err := nodes.Create(ctx, newNode(index), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		node, err = nodes.Get(ctx, nodeName(index), metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	// Admission taints every new node until its kubelet says that it is ready.
	if taints := withoutNotReady(node.Spec.Taints); len(taints) != len(node.Spec.Taints) {
		node.Spec.Taints = taints
		if node, err = nodes.Update(ctx, node, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	status := nodeStatus(node)
	if apiequality.Semantic.DeepEqual(node.Status, status) {
		return nil
	}
	node.Status = status
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

func (f *Fleet) removeSurplus(ctx context.Context) error {
	registered, err := f.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: simulatedLabel})
	if err != nil {
		return fmt.Errorf("list the simulated nodes: %w", err)
	}
	for i := range registered.Items {
		name := registered.Items[i].Name
		if f.names[name] {
			continue
		}
		err := f.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("remove surplus node %s: %w", name, err)
		}
	}
	return nil
}

func newNode(index int) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: nodeName(index),
		Labels: map[string]string{
			simulatedLabel:                   "true",
			corev1.LabelHostname:             nodeName(index),
			corev1.LabelOSStable:             "linux",
			corev1.LabelArchStable:           "amd64",
			corev1.LabelTopologyRegion:       "local",
			corev1.LabelTopologyZone:         fmt.Sprintf("local-%d", (index-1)%zones+1),
			"node-role.kubernetes.io/worker": "",
		},
	}}
}

// nodeStatus is the status of a large and healthy machine. It is the same at
// every start, apart from versions, so that a resumed cluster writes nothing.
func nodeStatus(node *corev1.Node) corev1.NodeStatus {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             resource.MustParse("5000"),
	}
	return corev1.NodeStatus{
		Capacity:    capacity,
		Allocatable: capacity.DeepCopy(),
		Conditions: []corev1.NodeCondition{
			nodeCondition(node, corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
			nodeCondition(node, corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
			nodeCondition(node, corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
			nodeCondition(node, corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
		},
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: hostIP},
			{Type: corev1.NodeHostName, Address: node.Name},
		},
		NodeInfo: corev1.NodeSystemInfo{
			KubeletVersion:          version.Get().GitVersion,
			ContainerRuntimeVersion: "simulated://1",
			OperatingSystem:         "linux",
			Architecture:            "amd64",
			OSImage:                 "Plumb simulated node",
			KernelVersion:           "simulated",
		},
	}
}

func nodeCondition(node *corev1.Node, kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
	return corev1.NodeCondition{
		Type:               kind,
		Status:             status,
		Reason:             reason,
		Message:            "simulated node",
		LastHeartbeatTime:  node.CreationTimestamp,
		LastTransitionTime: node.CreationTimestamp,
	}
}

func withoutNotReady(taints []corev1.Taint) []corev1.Taint {
	var kept []corev1.Taint
	for _, taint := range taints {
		if taint.Key != corev1.TaintNodeNotReady {
			kept = append(kept, taint)
		}
	}
	return kept
}
