// Package cluster assembles the control plane: a data directory, etcd, the API
// server, then the controllers, the scheduler and what is simulated; stopped
// in the reverse order.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"plumb.dev/plumb/controlplane/internal/apiserver"
	"plumb.dev/plumb/controlplane/internal/controllers"
	"plumb.dev/plumb/controlplane/internal/credentials"
	"plumb.dev/plumb/controlplane/internal/datadir"
	"plumb.dev/plumb/controlplane/internal/etcd"
	"plumb.dev/plumb/controlplane/internal/loadbalancer"
	"plumb.dev/plumb/controlplane/internal/namespaces"
	"plumb.dev/plumb/controlplane/internal/nodes"
	"plumb.dev/plumb/controlplane/internal/scheduler"
	"plumb.dev/plumb/controlplane/internal/storage"
)

const (
	loopback = "127.0.0.1"

	// startupLimit is generous: a loaded machine with two cores needs ten
	// seconds, and a start that hangs should end with its reason.
	startupLimit = 2 * time.Minute

	// Stopping is bounded, part by part: nothing that has to be saved is lost
	// when one of them is cut short.
	componentsGrace = 700 * time.Millisecond
	serverGrace     = 1200 * time.Millisecond
	etcdGrace       = 500 * time.Millisecond

	servicePoll = 20 * time.Millisecond
)

// Options say what to start.
type Options struct {
	// Dir is locked by the caller and closed by Stop.
	Dir *datadir.Dir
	// Port to serve on; 0 for the last one, or any free one.
	Port int
	// Kubeconfig is the file to write for the administrator.
	Kubeconfig string
	// AuditLog is a file to append audit events to; none if empty.
	AuditLog string
	// Nodes is the number of simulated nodes.
	Nodes int
	// RunFor is how long simulated containers run that are to end.
	RunFor time.Duration
	// EtcdLogLevel is a level of etcd's own logger.
	EtcdLogLevel string
}

// Cluster is a running control plane.
type Cluster struct {
	options  Options
	listener net.Listener
	keys     *credentials.Credentials
	etcd     *etcd.Etcd
	server   *component
	parts    []*component
	failures chan error
}

// Start returns when a client can create anything.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startupLimit)
	defer cancel()
	c := &Cluster{options: options, failures: make(chan error, 1)}
	err := c.startStore(ctx)
	if err == nil {
		err = c.startServer(ctx)
	}
	if err == nil {
		err = c.startParts(ctx)
	}
	if err == nil {
		err = c.awaitDefaults(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Server is the URL of the API server.
func (c *Cluster) Server() string { return "https://" + c.listener.Addr().String() }

// Failures reports a component that ended without being told to.
func (c *Cluster) Failures() <-chan error { return c.failures }

// Stop ends every component, within three seconds, and gives the data
// directory up.
func (c *Cluster) Stop() error {
	for _, part := range c.parts {
		part.cancel()
	}
	await(componentsGrace, c.parts...)
	if c.server != nil {
		c.server.cancel()
		await(serverGrace, c.server)
	} else if c.listener != nil {
		_ = c.listener.Close()
	}
	if c.etcd != nil {
		await(etcdGrace, run(func(context.Context) { c.etcd.Stop() }))
	}
	return c.options.Dir.Close()
}

// startStore prepares the keys and the port and starts etcd.
func (c *Cluster) startStore(ctx context.Context) error {
	var err error
	if err = credentials.CheckKubeconfig(c.options.Kubeconfig); err != nil {
		return err
	}
	if c.keys, err = credentials.Prepare(c.options.Dir); err != nil {
		return err
	}
	if c.listener, err = listen(c.options.Port, c.options.Dir.Port()); err != nil {
		return err
	}
	if err = c.options.Dir.SavePort(c.listener.Addr().(*net.TCPAddr).Port); err != nil {
		return err
	}
	if c.etcd, err = etcd.Start(ctx, c.options.Dir, c.options.EtcdLogLevel); err != nil {
		return err
	}
	go func() {
		if err, failed := <-c.etcd.Err(); failed {
			c.report(fmt.Errorf("etcd: %w", err))
		}
	}()
	return nil
}

func (c *Cluster) startServer(ctx context.Context) error {
	config := apiserver.Config{
		Dir:         c.options.Dir,
		Credentials: c.keys,
		Listener:    c.listener,
		Etcd:        c.etcd.Endpoint(),
		AuditLog:    c.options.AuditLog,
	}
	c.server = c.run(func(ctx context.Context) error { return apiserver.Run(ctx, config) })
	return c.unlessFailed(ctx, func(ctx context.Context) error {
		return apiserver.AwaitReady(ctx, c.client(credentials.Admin))
	})
}

// startParts starts what works through the API.
func (c *Cluster) startParts(ctx context.Context) error {
	managerConfig, schedulerConfig, err := c.writeKubeconfigs()
	if err != nil {
		return err
	}
	fleet, err := nodes.New(c.client(credentials.Nodes), c.options.Nodes, c.options.RunFor)
	if err != nil {
		return err
	}
	volumes, err := storage.New(c.client(credentials.Storage))
	if err != nil {
		return err
	}
	balancer, err := loadbalancer.New(c.client(credentials.LoadBalancer))
	if err != nil {
		return err
	}
	c.parts = append(c.parts,
		c.run(func(ctx context.Context) error { return controllers.Run(ctx, managerConfig, c.keys) }),
		c.run(func(ctx context.Context) error { return scheduler.Run(ctx, schedulerConfig) }),
		c.run(func(ctx context.Context) error { return namespaces.Run(ctx, c.client(credentials.Namespaces)) }))
	err = c.unlessFailed(ctx, func(ctx context.Context) error {
		return errors.Join(fleet.Register(ctx), volumes.EnsureClass(ctx))
	})
	if err != nil {
		return err
	}
	c.parts = append(c.parts, c.run(fleet.Run), c.run(volumes.Run), c.run(balancer.Run))
	return nil
}

func (c *Cluster) writeKubeconfigs() (manager, scheduler string, err error) {
	manager, scheduler = c.options.Dir.Path("controller-manager.kubeconfig"), c.options.Dir.Path("scheduler.kubeconfig")
	return manager, scheduler, errors.Join(
		c.keys.WriteKubeconfig(manager, c.Server(), credentials.ControllerManager),
		c.keys.WriteKubeconfig(scheduler, c.Server(), credentials.Scheduler),
		c.keys.WriteKubeconfig(c.options.Kubeconfig, c.Server(), credentials.Admin),
	)
}

// awaitDefaults waits for the service account without which no pod can be
// created in the default namespace.
func (c *Cluster) awaitDefaults(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.client(credentials.Admin))
	if err != nil {
		return err
	}
	return c.unlessFailed(ctx, func(ctx context.Context) error {
		for {
			_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
			if err == nil || !apierrors.IsNotFound(err) {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the default service account: %w", context.Cause(ctx))
			case <-time.After(servicePoll):
			}
		}
	})
}

func (c *Cluster) client(user credentials.User) *rest.Config {
	return c.keys.Client(c.Server(), user)
}

// unlessFailed does a piece of work, and gives up when a component fails.
func (c *Cluster) unlessFailed(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- work(ctx) }()
	select {
	case err := <-result:
		return err
	case err := <-c.failures:
		return err
	}
}

// run starts a component whose end is reported unless it was asked for.
func (c *Cluster) run(work func(context.Context) error) *component {
	return run(func(ctx context.Context) {
		err := work(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("a component of the control plane ended by itself")
		}
		c.report(err)
	})
}

// report keeps the first failure, which is the one to act on.
func (c *Cluster) report(failure error) {
	select {
	case c.failures <- failure:
	default:
	}
}

// component is a goroutine that can be ended.
type component struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func run(work func(context.Context)) *component {
	ctx, cancel := context.WithCancel(context.Background())
	c := &component{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		work(ctx)
	}()
	return c
}

// await waits for components, but no longer than a grace.
func await(grace time.Duration, components ...*component) {
	var group sync.WaitGroup
	for _, c := range components {
		group.Go(func() { <-c.done })
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(grace):
	}
}

// listen takes the port asked for, or else the last one if it is free, or else
// any.
func listen(asked, last int) (net.Listener, error) {
	if asked != 0 {
		listener, err := listenOn(asked)
		if err != nil {
			return nil, fmt.Errorf("port %d: %w: choose another --port, or 0 for a free one", asked, err)
		}
		return listener, nil
	}
	if last != 0 {
		if listener, err := listenOn(last); err == nil {
			return listener, nil
		}
	}
	listener, err := listenOn(0)
	if err != nil {
		return nil, fmt.Errorf("find a free port on %s: %w", loopback, err)
	}
	return listener, nil
}

func listenOn(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
}
