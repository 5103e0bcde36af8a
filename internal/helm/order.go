package helm

import "slices"

// installOrder is the order that Helm installs kinds in (helm.sh/helm/v4
// pkg/release/v1/util, InstallOrder).
var installOrder = []string{
	"PriorityClass", "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodSecurityPolicy",
	"PodDisruptionBudget", "ServiceAccount", "Secret", "SecretList", "ConfigMap", "StorageClass",
	"PersistentVolume", "PersistentVolumeClaim", "CustomResourceDefinition", "ClusterRole", "ClusterRoleList",
	"ClusterRoleBinding", "ClusterRoleBindingList", "Role", "RoleList", "RoleBinding", "RoleBindingList",
	"Service", "DaemonSet", "Pod", "ReplicationController", "ReplicaSet", "Deployment",
	"HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob", "IngressClass", "Ingress", "APIService",
	"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
}

// uninstallOrder goes through it backwards, but that Services go before what is
// behind them (UninstallOrder).
var uninstallOrder = func() []string {
	order := make([]string, 0, len(installOrder))
	for _, kind := range slices.Backward(installOrder) {
		if kind != "Service" {
			order = append(order, kind)
		}
		if kind == "IngressClass" {
			order = append(order, "Service")
		}
	}
	return order
}()

var installRanks, uninstallRanks = ranks(installOrder), ranks(uninstallOrder)

func ranks(order []string) map[string]int {
	out := make(map[string]int, len(order))
	for i, kind := range order {
		out[kind] = i
	}
	return out
}

// InstallRank is the place of a kind in an install, lowest first. Kinds that
// Helm does not know share the last place; among each other they are in the
// order of their names, see [InstallsBefore].
func InstallRank(kind string) int {
	if rank, ok := installRanks[kind]; ok {
		return rank
	}
	return len(installOrder)
}

// UninstallRank is the place of a kind in an uninstall, lowest first; kinds that
// Helm does not know are last.
func UninstallRank(kind string) int {
	if rank, ok := uninstallRanks[kind]; ok {
		return rank
	}
	return len(uninstallOrder)
}

// InstallsBefore reports whether objects of one kind are installed before those
// of another. It is false for two of a kind, whose order is to be kept: sort
// stably.
func InstallsBefore(a, b string) bool {
	if x, y := InstallRank(a), InstallRank(b); x != y || x < len(installOrder) {
		return x < y
	}
	return a < b
}
