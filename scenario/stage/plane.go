package stage

import (
	"context"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"plumb.dev/plumb/internal/controlplane"
)

// planeGrace is how long a control plane may take to end.
const planeGrace = 20 * time.Second

// A Plane is a Kubernetes control plane with simulated nodes: one child
// process that ends with this one.
type Plane struct {
	opts    controlplane.Options
	cluster *controlplane.Cluster
}

// StartPlane starts a control plane that keeps everything below dir, and waits
// until it can be used. It listens on port, or on any that is free if that is 0.
// With audit it also writes an audit log.
func StartPlane(ctx context.Context, dir string, port int, audit bool) (*Plane, error) {
	p := &Plane{opts: controlplane.Options{
		Port:       port,
		DataDir:    filepath.Join(dir, "data"),
		Kubeconfig: filepath.Join(dir, "kubeconfig"),
	}}
	if audit {
		p.opts.AuditLog = filepath.Join(dir, "audit.log")
	}
	return p, p.start(ctx)
}

func (p *Plane) start(ctx context.Context) (err error) {
	p.cluster, err = controlplane.Start(ctx, p.opts)
	return err
}

// Restart stops the API server with everything behind it, and starts it again
// with the same data, on the same address.
func (p *Plane) Restart(ctx context.Context) error {
	if err := p.Stop(); err != nil {
		return err
	}
	return p.start(ctx)
}

// Stop ends the control plane.
func (p *Plane) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), planeGrace)
	defer cancel()
	return p.cluster.Stop(ctx)
}

// PID is the process id.
func (p *Plane) PID() int { return p.cluster.PID }

// ReadyAfter is how long the last start took.
func (p *Plane) ReadyAfter() time.Duration { return p.cluster.ReadyAfter }

// Kubeconfig is the file with an administrator's credentials.
func (p *Plane) Kubeconfig() string { return p.opts.Kubeconfig }

// AuditLog is the file of audit events, or "".
func (p *Plane) AuditLog() string { return p.opts.AuditLog }

// Config is a connection without client-side rate limit.
func (p *Plane) Config() (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig())
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	return cfg, nil
}
