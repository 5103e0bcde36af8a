// Package apiserver runs kube-apiserver inside the process, on loopback only.
//
// It is the real server with its default admission plugins, RBAC, aggregation
// and, when asked for, an audit log. Limits that protect a shared server from
// its clients (priority and fairness, requests in flight) are off: there is
// one user, and a limit would only make a local cluster slower than it is
// (priority and fairness alone takes about a twentieth of the throughput).
package apiserver

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"plumb.dev/plumb/controlplane/internal/credentials"
	"plumb.dev/plumb/controlplane/internal/datadir"
	"plumb.dev/plumb/controlplane/internal/flagset"
)

const readinessPoll = 20 * time.Millisecond

// auditPolicy records who did what to which object, without bodies, once per
// request.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// Config is what the API server depends on.
type Config struct {
	Dir         *datadir.Dir
	Credentials *credentials.Credentials
	Listener    net.Listener
	Etcd        string
	AuditLog    string
}

// Run serves until the context ends.
func Run(ctx context.Context, config Config) error {
	arguments, err := arguments(config)
	if err != nil {
		return err
	}
	server := options.NewServerRunOptions()
	if err := flagset.Parse(server.Flags(), arguments); err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	server.SecureServing.Listener = config.Listener
	if err := server.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("kube-apiserver: feature gates: %w", err)
	}
	// The server is its own client in places, and need not warn itself.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})

	completed, err := server.Complete(ctx)
	if err != nil {
		return fmt.Errorf("kube-apiserver: complete options: %w", err)
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return fmt.Errorf("kube-apiserver: options: %w", utilerrors.NewAggregate(errs))
	}
	if err := app.Run(ctx, completed); err != nil && ctx.Err() == nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	return nil
}

// AwaitReady returns when the server says that it is ready.
func AwaitReady(ctx context.Context, client *rest.Config) error {
	transport, err := rest.HTTPClientFor(client)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(readinessPoll)
	defer ticker.Stop()
	last := "no answer yet"
	for {
		if last = probe(ctx, transport, client.Host+"/readyz"); last == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server (%s): %w", last, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// probe returns what is wrong, or nothing.
func probe(ctx context.Context, client *http.Client, url string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "/readyz answers " + response.Status
	}
	return ""
}

func arguments(config Config) ([]string, error) {
	port := config.Listener.Addr().(*net.TCPAddr).Port
	keys := config.Credentials
	flags := []string{
		// where
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/12",
		"--http2-max-streams-per-connection=1000",
		"--shutdown-delay-duration=0s",
		// storage
		"--etcd-servers=" + config.Etcd,
		"--etcd-count-metric-poll-period=0",
		"--etcd-db-metric-poll-interval=0",
		"--storage-media-type=application/vnd.kubernetes.protobuf",
		// who and what
		"--tls-cert-file=" + keys.ServingCertFile,
		"--tls-private-key-file=" + keys.ServingKeyFile,
		"--token-auth-file=" + keys.TokenFile,
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + keys.ServiceAccountKeyFile,
		"--service-account-signing-key-file=" + keys.ServiceAccountKeyFile,
		// aggregation
		"--proxy-client-cert-file=" + keys.FrontProxyCertFile,
		"--proxy-client-key-file=" + keys.FrontProxyKeyFile,
		"--requestheader-client-ca-file=" + keys.CAFile,
		"--requestheader-allowed-names=" + credentials.FrontProxyName,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		// no limits
		"--enable-priority-and-fairness=false",
		"--max-requests-inflight=0",
		"--max-mutating-requests-inflight=0",
	}
	if config.AuditLog == "" {
		return flags, nil
	}
	audit, err := auditArguments(config)
	return append(flags, audit...), err
}

func auditArguments(config Config) ([]string, error) {
	policy := config.Dir.Path("audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, fmt.Errorf("write the audit policy: %w", err)
	}
	log, err := filepath.Abs(config.AuditLog)
	if err != nil {
		return nil, fmt.Errorf("audit log %q: %w", config.AuditLog, err)
	}
	return []string{
		"--audit-policy-file=" + policy,
		"--audit-log-path=" + log,
		// A rotated log would lose events from whoever counts them; 10 GiB
		// bounds the file all the same.
		"--audit-log-maxsize=10240",
		"--audit-log-maxbackup=1",
	}, nil
}
