// Command plumb-controlplane is a whole Kubernetes control plane in one
// process, for `plumb up` and for tests: etcd, kube-apiserver, the standard
// controllers, kube-scheduler, simulated volumes and simulated nodes whose
// pods become Ready. It needs no container, no root and nothing installed, and
// it listens on loopback only.
//
// It is a module of its own, so that the main module requires nothing of
// k8s.io/kubernetes. All staging modules are required at the version that
// belongs to it, and there are no replace lines. Build it with
//
//	cd controlplane && go build -trimpath -ldflags "$(cat ldflags.txt)" -o ../bin/plumb-controlplane .
//
// The first build takes several minutes and 4 GB of build cache; later ones
// take seconds. ldflags.txt names the Kubernetes version that the API server
// reports and must change with go.mod. Test with the same flags
// (go test -trimpath ./...), or everything is compiled a second time.
//
// # Serving
//
//	plumb-controlplane serve --data-dir DIR --kubeconfig FILE
//
// starts a cluster, or resumes the one in the data directory with the same
// certificate authority, tokens and, if it is free, port. When clients can use
// it, one line of JSON is written to standard output (type Ready); logs go to
// standard error. SIGTERM and SIGINT end it within three seconds. A parent
// process checks `plumb-controlplane version -o json` first: the two must
// speak the same protocol.
//
// # What is simulated
//
// The API is the real one. Pods run nowhere: package internal/podstatus says
// what they report, and how a pod is told to fail by annotation or image.
// Nothing routes to pods, Services or node addresses, so webhooks and API
// services that live in the cluster cannot be reached; those given by URL can.
// There is no log, exec or port-forward, and no metrics API: autoscalers
// report that they have no metrics.
//
// # What is kept
//
// The data directory holds the database, keys and tokens, readable by its
// owner only. etcd does not flush to the disk (see package internal/etcd): a
// killed process loses nothing, a loss of power may.
//
// # Packages
//
//	internal/cluster      assembles the parts, in order
//	internal/datadir      the data directory and its lock
//	internal/credentials  certificates, tokens, kubeconfig files
//	internal/etcd         the store
//	internal/apiserver    kube-apiserver
//	internal/controllers  kube-controller-manager
//	internal/scheduler    kube-scheduler
//	internal/namespaces   deletion of namespaces, without pauses
//	internal/storage      the volume provisioner
//	internal/loadbalancer addresses for Services and Ingresses
//	internal/nodes        nodes and their kubelets
//	internal/podstatus    what a kubelet reports; pure
//	internal/flagset      command lines of components
//	internal/workloop     queue, workers and retries
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	if err := newCommand().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "plumb-controlplane:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	command := &cobra.Command{
		Use:               "plumb-controlplane",
		Short:             "A Kubernetes control plane in one process, with simulated nodes",
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	command.AddCommand(newServeCommand(), newVersionCommand())
	return command
}
