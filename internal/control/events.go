package control

import (
	"context"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// events tells people what happened, as Events of the declared objects. They
// come last: while statuses are being written, they wait.
type events struct {
	w       *writer
	changed chan struct{}

	mu      sync.Mutex
	waiting []telling
	dropped int
}

// telling is one event that has not been written yet.
type telling struct {
	about *unstructured.Unstructured
	event model.Event
	at    time.Time
}

// Bounds of what waits. Events are a courtesy: when there are too many, the
// oldest go.
const (
	maxEvents    = 4096
	eventWriters = 2
	eventPause   = 250 * time.Millisecond // at the longest, behind a stream of statuses
	eventLength  = 1024                   // the API server's bound of a message
)

func newEvents(w *writer) *events {
	return &events{w: w, changed: make(chan struct{}, 1)}
}

func (es *events) add(about *unstructured.Unstructured, list []model.Event) {
	if len(list) == 0 {
		return
	}
	now := time.Now()
	es.mu.Lock()
	for _, ev := range list {
		es.waiting = append(es.waiting, telling{about: about, event: ev, at: now})
	}
	if over := len(es.waiting) - maxEvents; over > 0 {
		es.waiting = append([]telling(nil), es.waiting[over:]...)
		es.dropped += over
	}
	es.mu.Unlock()
	es.nudge()
}

// tell makes events of findings about an object that no report is made of.
func (w *writer) tell(about *unstructured.Unstructured, findings []model.Finding) {
	list := make([]model.Event, 0, len(findings))
	for _, f := range findings {
		kind := "Warning"
		if f.Severity == model.Info {
			kind = "Normal"
		}
		list = append(list, model.Event{Type: kind, Reason: f.Reason, Message: f.Origin.Field + ": " + f.Message})
	}
	w.events.add(about, list)
}

func (es *events) nudge() {
	select {
	case es.changed <- struct{}{}:
	default:
	}
}

// run writes events while no status waits, and after a pause even then.
func (es *events) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-es.changed:
		}
		for es.pending() {
			es.hold(ctx)
			es.writeSome(ctx)
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// hold waits until no status waits, for a while.
func (es *events) hold(ctx context.Context) {
	timer := time.NewTimer(eventPause)
	defer timer.Stop()
	for !es.quiet() {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-es.changed:
		}
	}
}

func (es *events) quiet() bool {
	es.w.mu.Lock()
	defer es.w.mu.Unlock()
	return es.w.idle()
}

func (es *events) pending() bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	return len(es.waiting) > 0
}

// writeSome writes the oldest events, a few at a time.
func (es *events) writeSome(ctx context.Context) {
	es.mu.Lock()
	n := min(len(es.waiting), 8*eventWriters)
	batch := append([]telling(nil), es.waiting[:n]...)
	es.waiting = es.waiting[n:]
	if len(es.waiting) == 0 {
		es.waiting = nil
	}
	dropped := es.dropped
	es.dropped = 0
	es.mu.Unlock()
	if dropped > 0 {
		es.w.log.Warn("events were dropped, because too many happened at once", "count", dropped)
	}
	session := es.w.ds.cluster.As(model.Identity{}).Background()
	next := make(chan telling)
	var all sync.WaitGroup
	for range eventWriters {
		all.Go(func() {
			for t := range next {
				if err := es.write(ctx, session, t); err != nil && ctx.Err() == nil {
					es.w.log.Warn("event not written", "object", object.Of(t.about).String(), "reason", t.event.Reason, "error", err)
				}
			}
		})
	}
	for _, t := range batch {
		next <- t
	}
	close(next)
	all.Wait()
}

func (es *events) write(ctx context.Context, session *cluster.Session, t telling) error {
	kind, err := es.w.ds.cluster.Resolve(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"})
	if err != nil {
		return err
	}
	namespace := t.about.GetNamespace()
	if namespace == "" {
		namespace = "default"
	}
	stamp := t.at.UTC().Format(time.RFC3339)
	message := t.event.Message
	if len(message) > eventLength {
		message = message[:eventLength-3] + "..."
	}
	component := es.w.component(t.about)
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Event",
		"metadata": map[string]any{
			"name":      eventName(t.about.GetName(), time.Now()),
			"namespace": namespace,
		},
		"involvedObject": map[string]any{
			"apiVersion": t.about.GetAPIVersion(), "kind": t.about.GetKind(),
			"name": t.about.GetName(), "namespace": t.about.GetNamespace(),
			"uid": string(t.about.GetUID()), "resourceVersion": t.about.GetResourceVersion(),
		},
		"type": t.event.Type, "reason": t.event.Reason, "message": message,
		"source":             map[string]any{"component": component},
		"reportingComponent": component, "reportingInstance": "",
		"firstTimestamp": stamp, "lastTimestamp": stamp, "count": int64(1),
	}}
	if len(t.event.Annotations) > 0 {
		o.SetAnnotations(t.event.Annotations)
	}
	_, err = session.Create(ctx, kind, o, cluster.WriteOptions{Manager: es.w.manager})
	return err
}

// eventName is how client-go names events: the object's name and a moment.
func eventName(name string, at time.Time) string {
	const longest = 253 - 17
	return name[:min(len(name), longest)] + "." + strconv.FormatInt(at.UnixNano(), 16)
}

// component is the name under which events of an object are found: the
// upstream controller's own, where there is one.
func (w *writer) component(about *unstructured.Unstructured) string {
	d := w.ds.get(object.Of(about))
	if d == nil {
		return w.manager
	}
	for _, c := range d.dialect.Controllers(w.ds.settings) {
		for _, gk := range c.Kinds {
			if gk == d.kind.GroupKind {
				return c.Deployment.Name
			}
		}
	}
	return w.manager
}
