package control

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
)

// errUpstreamBack ends the work because an upstream controller came alive.
var errUpstreamBack = errors.New("an upstream controller is alive again")

// watchUpstream follows the controllers of other projects that act on the same
// objects. Two controllers with one field manager would undo each other. A
// controller is alive while its Lease is renewed or its Deployment has
// available pods.
func watchUpstream(ctx context.Context, c *cluster.Cluster, dialects []dialect.Dialect, log *slog.Logger) *upstream {
	u := &upstream{log: log, alive: map[string]bool{}, leaseEnd: map[string]time.Time{}, changed: make(chan struct{}, 1)}
	for _, d := range dialects {
		for _, controller := range d.Controllers() {
			u.follow(ctx, c, controller)
		}
	}
	return u
}

// wait returns once everything has been heard of and nobody is alive, or when
// the context ends.
func (u *upstream) wait(ctx context.Context) {
	told := map[string]bool{}
	for {
		waiting, who, until := u.state(time.Now())
		if !waiting {
			return
		}
		if who != "" && !told[who] {
			u.log.Warn("an upstream controller is alive; Plumb only reads until it is stopped (plumb adopt does that)", "controller", who)
			told[who] = true
		}
		timer := time.NewTimer(until)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-u.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// back tells when somebody comes alive again.
func (u *upstream) back(ctx context.Context) <-chan error {
	out := make(chan error, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-u.changed:
				if waiting, who, _ := u.state(time.Now()); waiting {
					u.log.Warn("an upstream controller came alive; Plumb stops writing", "controller", who)
					out <- errUpstreamBack
					return
				}
			}
		}
	}()
	return out
}

// upstream is what is known of the controllers of other projects.
type upstream struct {
	log     *slog.Logger
	changed chan struct{}

	mu       sync.Mutex
	watched  int
	synced   int
	alive    map[string]bool      // Deployments that have available pods
	leaseEnd map[string]time.Time // Leases, and when they end
}

func (u *upstream) follow(ctx context.Context, c *cluster.Cluster, controller dialect.Controller) {
	namespace, deployment := controller.Deployment.Namespace, controller.Deployment.Name
	u.mu.Lock()
	u.watched++
	u.mu.Unlock()
	c.Watch(ctx, cluster.WatchSpec{
		GVK:       schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: workload(controller.Deployment.Kind)},
		Namespace: namespace, FieldSelector: "metadata.name=" + deployment,
	}, &aliveWatch{u: u, name: deployment, judge: availableDeployment})
	if controller.Lease == "" {
		return
	}
	u.mu.Lock()
	u.watched++
	u.mu.Unlock()
	c.Watch(ctx, cluster.WatchSpec{
		GVK:       schema.GroupVersionKind{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"},
		Namespace: namespace, FieldSelector: "metadata.name=" + controller.Lease,
	}, &aliveWatch{u: u, name: deployment + " (lease)", judge: heldLease})
}

// workload is the kind that an upstream controller runs as.
func workload(kind string) string {
	if kind == "" {
		return "Deployment"
	}
	return kind
}

// state says whether to wait, for whom, and when to look again at the latest.
func (u *upstream) state(now time.Time) (waiting bool, who string, until time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	until = time.Hour
	for name := range u.alive {
		waiting, who = true, name
	}
	for name, end := range u.leaseEnd {
		if left := end.Sub(now); left > 0 {
			waiting, who, until = true, name, min(until, left+100*time.Millisecond)
		}
	}
	return waiting || u.synced < u.watched, who, until
}

// aliveWatch follows one object that shows that a controller is alive.
type aliveWatch struct {
	u      *upstream
	name   string
	judge  func(*unstructured.Unstructured) (alive bool, until time.Time)
	synced bool
}

// Event judges the object.
func (w *aliveWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	alive, until := false, time.Time{}
	if typ != watch.Deleted {
		alive, until = w.judge(o)
	}
	w.u.mu.Lock()
	delete(w.u.alive, w.name)
	delete(w.u.leaseEnd, w.name)
	if alive {
		w.u.alive[w.name] = true
	}
	if !until.IsZero() {
		w.u.leaseEnd[w.name] = until
	}
	w.u.mu.Unlock()
	w.u.nudge()
}

// Synced counts the watch as heard.
func (w *aliveWatch) Synced() { w.heard() }

// Gone counts the watch as heard too: what may not be read cannot be waited for.
func (w *aliveWatch) Gone(error) { w.heard() }

func (w *aliveWatch) heard() {
	w.u.mu.Lock()
	if !w.synced {
		w.synced = true
		w.u.synced++
	}
	w.u.mu.Unlock()
	w.u.nudge()
}

func (u *upstream) nudge() {
	select {
	case u.changed <- struct{}{}:
	default:
	}
}

func availableDeployment(o *unstructured.Unstructured) (bool, time.Time) {
	n, _, _ := unstructured.NestedInt64(o.Object, "status", "availableReplicas")
	return n > 0, time.Time{}
}

func heldLease(o *unstructured.Unstructured) (bool, time.Time) {
	holder, _, _ := unstructured.NestedString(o.Object, "spec", "holderIdentity")
	seconds, _, _ := unstructured.NestedInt64(o.Object, "spec", "leaseDurationSeconds")
	text, _, _ := unstructured.NestedString(o.Object, "spec", "renewTime")
	renewed, err := time.Parse(time.RFC3339Nano, text)
	if holder == "" || err != nil {
		return false, time.Time{}
	}
	return false, renewed.Add(time.Duration(seconds) * time.Second)
}
