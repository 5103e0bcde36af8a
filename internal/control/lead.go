package control

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// LeaseName is the Lease that the leading replica holds.
const LeaseName = "plumb-controller"

// The timing of the lease, as controller-runtime's defaults have it. A replica that cannot
// renew stops within renewDeadline, before another can lead: nothing is ever
// applied by two.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
	// returnTime is how long giving the lease back may take. When an API server does
	// not answer at the end, the lease runs out by itself.
	returnTime = 3 * time.Second
)

// lease is a lock that does not keep a replica that is about to end.
type lease struct {
	resourcelock.Interface
	ending atomic.Bool // nothing is left but to give it back
}

// Get reads the lock.
func (l *lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	return l.Interface.Get(ctx)
}

// Update writes the lock.
func (l *lease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	ctx, cancel := l.within(ctx)
	defer cancel()
	return l.Interface.Update(ctx, record)
}

func (l *lease) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if !l.ending.Load() {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, returnTime)
}

// lead waits for the lease, works while it is held, and gives it back once
// nothing is written any more (client-go, LeaderElectionConfig.ReleaseOnCancel:
// what the lease guards has to have ended before).
func lead(ctx context.Context, opts Options, cfg *rest.Config, work func(context.Context) error) error {
	client, err := coordination.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("client for leases: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "plumb"
	}
	lock := &lease{Interface: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: opts.Namespace, Name: LeaseName},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}}
	held, letGo := context.WithCancel(context.WithoutCancel(ctx))
	defer letGo()
	var settled atomic.Bool // whether there is work, or there will be none
	done := make(chan error, 1)
	told := context.AfterFunc(ctx, func() {
		if settled.CompareAndSwap(false, true) {
			close(done)
			letGo()
		}
	})
	defer told()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true, Name: LeaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				if !settled.CompareAndSwap(false, true) {
					return // told to stop just before
				}
				opts.Log.Info("leading", "lease", opts.Namespace+"/"+LeaseName)
				leading, stop := context.WithCancel(leading)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				done <- work(leading)
				lock.ending.Store(true)
				letGo()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	elector.Run(held)
	lost := held.Err() == nil
	// The lease may be gone, but its work ends before anything else begins. A
	// closed channel means that there never was any.
	if err := <-done; err != nil || !lost || ctx.Err() != nil {
		return err
	}
	return ErrLeaseLost
}
