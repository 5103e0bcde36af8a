// Package scheduler runs kube-scheduler, so that node selectors, taints,
// affinities, resource requests and volume topology decide as they do in any
// cluster, and a pod that fits nowhere says so.
package scheduler

import (
	"context"
	"fmt"

	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"plumb.dev/plumb/controlplane/internal/flagset"
)

// Run schedules pods until the context ends.
func Run(ctx context.Context, kubeconfig string) error {
	scheduler := options.NewOptions()
	err := flagset.Parse(*scheduler.Flags, []string{
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=-1",
	})
	if err != nil {
		return fmt.Errorf("kube-scheduler: %w", err)
	}
	config, instance, err := app.Setup(ctx, scheduler)
	if err != nil {
		return fmt.Errorf("kube-scheduler: options: %w", err)
	}
	// Without leader election the scheduler's return always is an error, even
	// when it was told to end.
	if err := app.Run(ctx, config, instance); err != nil && ctx.Err() == nil {
		return fmt.Errorf("kube-scheduler: %w", err)
	}
	return nil
}
