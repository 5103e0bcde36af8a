// Package controllers runs the standard controllers of Kubernetes.
//
// It is kube-controller-manager with an explicit list. Left out are the
// controllers that need real machines (node life cycle, IP address management,
// volume attachment) or a cloud, and the namespace controller, whose work
// package namespaces does without its pauses. The node life cycle controller in particular
// would need a Lease renewed for every simulated node, which is traffic for
// nothing in a cluster whose nodes cannot fail.
package controllers

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"

	"plumb.dev/plumb/controlplane/internal/credentials"
	"plumb.dev/plumb/controlplane/internal/flagset"
)

var enabled = []string{
	// workloads
	names.DeploymentController,
	names.ReplicaSetController,
	names.ReplicationControllerController,
	names.StatefulSetController,
	names.DaemonSetController,
	names.JobController,
	names.CronJobController,
	names.TTLAfterFinishedController,
	names.HorizontalPodAutoscalerController,
	names.DisruptionController,
	names.PodGarbageCollectorController,
	// services
	names.EndpointsController,
	names.EndpointSliceController,
	names.EndpointSliceMirroringController,
	names.ServiceCIDRController,
	// identity and access
	names.ServiceAccountController,
	names.ServiceAccountTokenController,
	names.RootCACertificatePublisherController,
	names.ClusterRoleAggregationController,
	// volumes
	names.PersistentVolumeBinderController,
	names.PersistentVolumeClaimProtectionController,
	names.PersistentVolumeProtectionController,
	names.EphemeralVolumeController,
	// the API itself
	names.GarbageCollectorController,
	names.ResourceQuotaController,
	names.ValidatingAdmissionPolicyStatusController,
}

// Run runs the controllers until the context ends.
func Run(ctx context.Context, kubeconfig string, keys *credentials.Credentials) error {
	manager, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return fmt.Errorf("kube-controller-manager: %w", err)
	}
	known, disabled, aliases := app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases()
	err = flagset.Parse(manager.Flags(known, disabled, aliases), []string{
		"--kubeconfig=" + kubeconfig,
		"--controllers=" + strings.Join(enabled, ","),
		"--root-ca-file=" + keys.CAFile,
		"--service-account-private-key-file=" + keys.ServiceAccountKeyFile,
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=-1",
		"--controller-shutdown-timeout=1s",
	})
	if err != nil {
		return fmt.Errorf("kube-controller-manager: %w", err)
	}
	config, err := manager.Config(ctx, known, disabled, aliases)
	if err != nil {
		return fmt.Errorf("kube-controller-manager: options: %w", err)
	}
	if err := app.Run(ctx, config.Complete()); err != nil && ctx.Err() == nil {
		return fmt.Errorf("kube-controller-manager: %w", err)
	}
	return nil
}
