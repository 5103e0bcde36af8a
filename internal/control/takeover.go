package control

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
)

// errUpstreamMoved ends the work because an upstream controller came alive, or
// stopped: other dialects are to be delivered than before.
var errUpstreamMoved = errors.New("an upstream controller came alive, or stopped")

// watchUpstream follows the controllers of other projects that act on the same
// objects. Two controllers with one field manager would undo each other, so
// that the dialect of one that is alive is only read. A controller is alive
// while its Lease is renewed or its workload has available pods.
func watchUpstream(ctx context.Context, c *cluster.Cluster, dialects []dialect.Dialect, settings dialect.Settings, log *slog.Logger) *upstream {
	u := &upstream{log: log, dialects: dialects, alive: map[claimant]bool{}, leaseEnd: map[claimant]time.Time{}, told: map[claimant]bool{}, changed: make(chan struct{}, 1)}
	for _, d := range dialects {
		for _, controller := range d.Controllers(settings) {
			u.follow(ctx, c, d.Name(), controller)
		}
	}
	return u
}

// free waits until everything has been heard of and at least one dialect is
// nobody else's, and returns those; none when the context ends.
func (u *upstream) free(ctx context.Context) []dialect.Dialect {
	for {
		taken, heard, until := u.state(time.Now())
		if heard {
			u.tell(taken)
			if rest := u.others(taken); len(rest) > 0 {
				return rest
			}
		}
		timer := time.NewTimer(until)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-u.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// moved tells when other dialects are free than were.
func (u *upstream) moved(ctx context.Context, were []dialect.Dialect) <-chan error {
	out := make(chan error, 1)
	go func() {
		for {
			taken, _, until := u.state(time.Now())
			if len(u.others(taken)) != len(were) || slices.ContainsFunc(were, func(d dialect.Dialect) bool { return taken[d.Name()] != claimant{} }) {
				out <- errUpstreamMoved
				return
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
	}()
	return out
}

// others are the dialects of which no controller is alive.
func (u *upstream) others(taken map[string]claimant) []dialect.Dialect {
	var rest []dialect.Dialect
	for _, d := range u.dialects {
		if taken[d.Name()] == (claimant{}) {
			rest = append(rest, d)
		}
	}
	return rest
}

// tell says once who is alive.
func (u *upstream) tell(taken map[string]claimant) {
	for _, who := range taken {
		if !u.told[who] {
			u.log.Warn("an upstream controller is alive; Plumb only reads its kinds until it is stopped (plumb adopt does that)", "dialect", who.dialect, "controller", who.name)
			u.told[who] = true
		}
	}
}

// claimant is one controller, or its Lease, that acts on the kinds of a dialect.
type claimant struct{ dialect, name string }

// upstream is what is known of the controllers of other projects.
type upstream struct {
	log      *slog.Logger
	dialects []dialect.Dialect
	changed  chan struct{}
	told     map[claimant]bool // used by one goroutine

	mu       sync.Mutex
	watched  int
	synced   int
	alive    map[claimant]bool      // workloads that have available pods
	leaseEnd map[claimant]time.Time // Leases, and when they end
}

func (u *upstream) follow(ctx context.Context, c *cluster.Cluster, name string, controller dialect.Controller) {
	namespace, workload := controller.Deployment.Namespace, controller.Deployment.Name
	u.mu.Lock()
	u.watched++
	u.mu.Unlock()
	c.Watch(ctx, cluster.WatchSpec{
		GVK:       schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: kindOf(controller)},
		Namespace: namespace, FieldSelector: "metadata.name=" + workload,
	}, &aliveWatch{u: u, who: claimant{name, kindOf(controller) + " " + workload}, judge: availableDeployment})
	if controller.Lease == "" {
		return
	}
	u.mu.Lock()
	u.watched++
	u.mu.Unlock()
	c.Watch(ctx, cluster.WatchSpec{
		GVK:       schema.GroupVersionKind{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"},
		Namespace: namespace, FieldSelector: "metadata.name=" + controller.Lease,
	}, &aliveWatch{u: u, who: claimant{name, workload + " (lease)"}, judge: heldLease})
}

// kindOf is the kind that an upstream controller runs as.
func kindOf(controller dialect.Controller) string {
	if controller.Deployment.Kind == "" {
		return "Deployment"
	}
	return controller.Deployment.Kind
}

// state says which dialects are somebody else's and whose, whether everything
// has been heard of, and when to look again at the latest.
func (u *upstream) state(now time.Time) (taken map[string]claimant, heard bool, until time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, taken = time.Hour, map[string]claimant{}
	for who := range u.alive {
		taken[who.dialect] = who
	}
	for who, end := range u.leaseEnd {
		if left := end.Sub(now); left > 0 {
			taken[who.dialect] = who
			until = min(until, left+100*time.Millisecond)
		}
	}
	return taken, u.synced >= u.watched, until
}

// aliveWatch follows one object that shows that a controller is alive.
type aliveWatch struct {
	u      *upstream
	who    claimant
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
	delete(w.u.alive, w.who)
	delete(w.u.leaseEnd, w.who)
	if alive {
		w.u.alive[w.who] = true
	}
	if !until.IsZero() {
		w.u.leaseEnd[w.who] = until
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
