package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/pods"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/object"
)

// Bounds of logs.
const (
	logLines      = 500
	maxLogLines   = 10000
	maxLogPods    = 10
	maxShownPods  = 50
	maxLogReaders = 40 // containers that are read at a time
	maxLogLine    = 16 << 10
	maxLogBytes   = 16 << 20 // of a container that is not followed
	maxSince      = 366 * 24 * 3600
	logBatch      = 200
	logPause      = 100 * time.Millisecond
	logLook       = time.Second // between two looks at which Pods there are
)

var podKind = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}

// StreamLogs sends the lines of the Pods of one object, as the delivery may
// read them.
func (s deliveryService) StreamLogs(ctx context.Context, m *plumbv1.StreamLogsRequest, out *connect.ServerStream[plumbv1.StreamLogsResponse]) error {
	w, err := s.leads()
	if err != nil {
		return err
	}
	delivery := rows.ID(m.GetRef())
	f, err := s.find(ctx, w, delivery, m.GetObject())
	if err != nil {
		return err
	}
	if f.live == nil {
		return connect.NewError(connect.CodeFailedPrecondition, errors.New(f.id.String()+" is not there: nothing of it runs"))
	}
	session, err := w.Engine.Session(delivery)
	if err != nil {
		return engineError(err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := &logReading{
		of: f.live, ask: m, session: session, lines: make(chan *plumbv1.LogLine, logBatch), ended: make(chan logEnd, maxLogReaders),
		moved: make(chan struct{}, 1), started: map[logKey]bool{}, broken: map[logKey]time.Time{}, told: map[string]bool{},
		list: func(ctx context.Context) ([]*unstructured.Unstructured, error) { return podsOf(ctx, session, f.live) },
		open: func(ctx context.Context, pod string, opts cluster.LogOptions) (io.ReadCloser, error) {
			return session.Logs(ctx, f.live.GetNamespace(), pod, opts)
		},
		simulated: func(ctx context.Context, node string) bool { return simulatedNode(ctx, session, node) },
	}
	return r.run(ctx, out.Send)
}

// podsOf lists the Pods of an object, newest first: itself, or those below it.
func podsOf(ctx context.Context, session *cluster.Session, o *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if o.GroupVersionKind().GroupKind() == podKind.GroupKind() {
		kind, err := session.Cluster().Resolve(ctx, podKind)
		if err != nil {
			return nil, connect.NewError(connect.CodeUnavailable, err)
		}
		pod, err := session.Get(ctx, kind, o.GetNamespace(), o.GetName())
		if err != nil {
			return nil, answered(err)
		}
		return []*unstructured.Unstructured{pod}, nil
	}
	above := map[types.UID]bool{o.GetUID(): true}
	var found []*unstructured.Unstructured
	for _, gvk := range childKinds {
		kind, err := session.Cluster().Resolve(ctx, gvk)
		if err != nil {
			return nil, connect.NewError(connect.CodeUnavailable, err)
		}
		_, err = session.List(ctx, kind, cluster.ListOptions{Namespace: o.GetNamespace()}, func(child *unstructured.Unstructured) error {
			owner := metav1.GetControllerOf(child)
			if owner == nil || !above[owner.UID] {
				return nil
			}
			above[child.GetUID()] = true
			if gvk.Kind == "Pod" {
				found = append(found, child)
			}
			return nil
		})
		if err != nil {
			return nil, answered(err)
		}
	}
	slices.SortFunc(found, func(a, b *unstructured.Unstructured) int {
		if c := b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time); c != 0 {
			return c
		}
		return strings.Compare(a.GetName(), b.GetName())
	})
	return found, nil
}

// shownPods are the Pods whose logs can be chosen from.
func shownPods(list []*unstructured.Unstructured) []*plumbv1.Pod {
	var out []*plumbv1.Pod
	for _, o := range list[:min(len(list), maxShownPods)] {
		p := pods.Read(o)
		pod := &plumbv1.Pod{Object: rows.Ref(object.Of(o), podKind.Version), Status: p.Status, Created: rows.At(o.GetCreationTimestamp().Time), Node: p.Node}
		for _, c := range p.Containers {
			pod.Containers = append(pod.Containers, &plumbv1.Container{
				Name: c.Name, Kind: c.Kind, Image: c.Image, State: c.State, Reason: c.Reason, Restarts: int32(c.Restarts), Ready: c.Ready, Previous: c.Previous, Default: c.Default,
			})
		}
		out = append(out, pod)
	}
	return out
}

// logReading is one stream of logs: a reader for each container, of Pods that
// come and go.
type logReading struct {
	of      *unstructured.Unstructured
	ask     *plumbv1.StreamLogsRequest
	session *cluster.Session

	list      func(context.Context) ([]*unstructured.Unstructured, error)
	open      func(ctx context.Context, pod string, opts cluster.LogOptions) (io.ReadCloser, error)
	simulated func(ctx context.Context, node string) bool

	lines   chan *plumbv1.LogLine
	ended   chan logEnd
	moved   chan struct{} // Pods may be others
	readers sync.WaitGroup

	started map[logKey]bool      // containers that are or were read
	broken  map[logKey]time.Time // of which a following reader has ended, with the time of its last line
	told    map[string]bool      // troubles that were told, by their message
	pods    []string             // that are read
	going   int                  // readers
	worked  int                  // readers that began well
	failed  *plumbv1.Fault       // the first trouble that will not pass
}

// logKey is one instance of a container: each is read once.
type logKey struct {
	pod       types.UID
	container string
	instance  int
}

// logEnd tells that a reader has ended, and why it could not begin.
type logEnd struct {
	of      logKey
	last    time.Time // of the lines that were read of it; zero: there was none
	trouble *plumbv1.Fault
}

// run sends what is read until all of it was, or as long as somebody follows.
func (r *logReading) run(ctx context.Context, send func(*plumbv1.StreamLogsResponse) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer r.readers.Wait()
	defer stop()
	message := &plumbv1.StreamLogsResponse{}
	if err := r.look(ctx, message); err != nil {
		return err
	}
	if r.ask.GetFollow() {
		r.watch(ctx)
	}
	flush := time.NewTicker(logPause)
	defer flush.Stop()
	again := time.NewTicker(logLook)
	defer again.Stop()
	var moved <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case line := <-r.lines:
			message.Lines = append(message.Lines, line)
			if len(message.Lines) < logBatch {
				continue
			}
		case end := <-r.ended:
			r.going--
			r.tell(message, end.trouble)
			r.mend(end)
		case <-again.C: // looks are not closer together than this
			moved = r.moved
			continue
		case <-moved:
			moved = nil
			if err := r.look(ctx, message); err != nil {
				return err
			}
		case <-flush.C:
		}
		over, err := r.over(message)
		if (over || !proto.Equal(message, &plumbv1.StreamLogsResponse{})) && ctx.Err() == nil {
			if failed := send(message); failed != nil {
				return failed
			}
			message = &plumbv1.StreamLogsResponse{}
		}
		if over {
			return err
		}
	}
}

// mend lets the next look go on with a container that is followed. Its log may have
// ended with it, or only the connection, as it does when an API server restarts.
func (r *logReading) mend(end logEnd) {
	if !r.ask.GetFollow() || r.ask.GetPrevious() || end.trouble != nil && end.last.IsZero() {
		return
	}
	r.broken[end.of] = end.last
	select {
	case r.moved <- struct{}{}:
	default:
	}
}

// over reports whether nothing is to come any more, and why nothing has come.
// What was read before is in the message then.
func (r *logReading) over(message *plumbv1.StreamLogsResponse) (bool, error) {
	if r.going > 0 || r.ask.GetFollow() && (r.failed == nil || r.worked > 0) {
		return false, nil
	}
	for len(r.lines) > 0 {
		message.Lines = append(message.Lines, <-r.lines)
	}
	if r.worked == 0 && r.failed != nil {
		text := strings.TrimRight(r.failed.GetMessage(), ".")
		if advice := r.failed.GetAdvice(); advice != "" {
			text += ": " + advice
		}
		return true, connect.NewError(connect.CodeFailedPrecondition, errors.New(text))
	}
	return true, nil
}

// watch looks again whenever a Pod of the namespace is another one. The
// delivery's identity has shown that it may list them.
func (r *logReading) watch(ctx context.Context) {
	if r.session != nil {
		r.session.Cluster().Watch(ctx, cluster.WatchSpec{GVK: podKind, Namespace: r.of.GetNamespace()}, podWatch{r.moved})
	}
}

// podWatch wakes a reading.
type podWatch struct{ moved chan<- struct{} }

// Event wakes the reading.
func (w podWatch) Event(watch.EventType, *unstructured.Unstructured) {
	select {
	case w.moved <- struct{}{}:
	default:
	}
}

// Synced is of no news: the reading has looked.
func (w podWatch) Synced() {}

// Gone leaves what is read.
func (w podWatch) Gone(error) {}

// look begins to read the containers that are not read yet.
func (r *logReading) look(ctx context.Context, message *plumbv1.StreamLogsResponse) error {
	list, err := r.list(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		r.tell(message, &plumbv1.Fault{
			Reason: "NoPods", Severity: "info", Waiting: r.ask.GetFollow(), Message: object.Of(r.of).String() + " has no Pods",
			Advice: "it is scaled to nothing, has not started yet, or its Pods cannot be created: its events say which",
		})
	}
	chosen := r.choose(list)
	names := make([]string, 0, len(chosen))
	for _, pod := range chosen {
		names = append(names, pod.GetName())
		r.begin(ctx, pod, message)
	}
	if omitted := len(list) - len(chosen); len(r.ask.GetPods()) == 0 && omitted > 0 {
		message.Omitted = int32(omitted)
	}
	if !slices.Equal(names, r.pods) {
		r.pods, message.Pods = names, names
	}
	return nil
}

// choose takes the Pods that are asked for, or the newest ones.
func (r *logReading) choose(list []*unstructured.Unstructured) []*unstructured.Unstructured {
	if wanted := r.ask.GetPods(); len(wanted) > 0 {
		list = slices.DeleteFunc(slices.Clone(list), func(pod *unstructured.Unstructured) bool { return !slices.Contains(wanted, pod.GetName()) })
	}
	return list[:min(len(list), maxLogPods)]
}

// begin reads the containers of a Pod that are wanted.
func (r *logReading) begin(ctx context.Context, pod *unstructured.Unstructured, message *plumbv1.StreamLogsResponse) {
	known := pods.Read(pod)
	name := "Pod " + pod.GetName()
	chosen := r.containers(known.Containers)
	if len(chosen) == 0 {
		var names []string
		for _, c := range known.Containers {
			names = append(names, c.Name)
		}
		r.tell(message, &plumbv1.Fault{
			Reason: "ContainerNotFound", Severity: "warning", Message: name + " has no container " + r.ask.GetContainer(),
			Advice: "it has " + strings.Join(names, ", "),
		})
	}
	for _, c := range chosen {
		key := logKey{pod.GetUID(), c.Name, c.Restarts}
		last, broken := r.broken[key]
		switch {
		case r.started[key] && (!broken || c.State != "Running"):
		case r.ask.GetPrevious() && !c.Previous:
			r.tell(message, &plumbv1.Fault{
				Reason: "NoPrevious", Severity: "info", Message: "container " + c.Name + " of " + name + " has not ended before: there is no earlier log",
				Advice: "look at the log of the one that runs",
			})
		case !r.ask.GetPrevious() && !c.Previous && (c.State == "" || c.State == "Waiting"):
			why := "it has not started"
			if c.Reason != "" {
				why = c.Reason
			} else if known.Status != "" {
				why = known.Status
			}
			r.tell(message, &plumbv1.Fault{
				Reason: "NotStarted", Severity: "info", Waiting: r.ask.GetFollow(), Message: "container " + c.Name + " of " + name + " has no log yet: " + why,
				Advice: "the events of the Pod say what it waits for",
			})
		case r.going >= maxLogReaders:
			r.tell(message, &plumbv1.Fault{
				Reason: "TooManyContainers", Severity: "warning", Message: "more than " + strconv.Itoa(maxLogReaders) + " containers are not read at a time", Advice: "choose a Pod or a container",
			})
		default:
			r.started[key] = true
			delete(r.broken, key)
			r.going++
			r.readers.Go(func() {
				end := logEnd{of: key, last: last}
				end.trouble = r.read(ctx, pod.GetName(), c, known.Node, &end.last)
				r.ended <- end
			})
		}
	}
}

// containers are those that are asked for.
func (r *logReading) containers(all []pods.Container) []pods.Container {
	return slices.DeleteFunc(slices.Clone(all), func(c pods.Container) bool {
		switch {
		case r.ask.GetAllContainers():
			return false
		case r.ask.GetContainer() != "":
			return c.Name != r.ask.GetContainer()
		}
		return !c.Default
	})
}

// tell puts a trouble into the message, once.
func (r *logReading) tell(message *plumbv1.StreamLogsResponse, trouble *plumbv1.Fault) {
	switch {
	case trouble == nil:
		r.worked++
		return
	case !trouble.GetWaiting() && r.failed == nil:
		r.failed = trouble
	}
	if text := trouble.GetReason() + trouble.GetMessage(); !r.told[text] && len(r.told) < maxShownPods*maxLogReaders {
		r.told[text] = true
		message.Troubles = append(message.Troubles, trouble)
	}
}

// read hands over the lines of one container that come behind last, which it moves
// on, and says why there are none.
func (r *logReading) read(ctx context.Context, pod string, c pods.Container, node string, last *time.Time) *plumbv1.Fault {
	opts := cluster.LogOptions{
		Container: c.Name, Previous: r.ask.GetPrevious(), Follow: r.ask.GetFollow(), TailLines: logLines, Since: min(int(max(r.ask.GetSinceSeconds(), 0)), maxSince),
	}
	if n := int(r.ask.GetTailLines()); n > 0 {
		opts.TailLines = min(n, maxLogLines)
	}
	if !opts.Follow {
		opts.MaxBytes = maxLogBytes
	}
	if !last.IsZero() {
		opts.From, opts.Since, opts.TailLines = *last, 0, maxLogLines
	}
	after := *last // what is not younger was read before
	log, err := r.open(ctx, pod, opts)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return logTrouble(err, "container "+c.Name+" of Pod "+pod, node, func() bool { return r.simulated(ctx, node) })
	}
	defer func() { _ = log.Close() }()
	read := bufio.NewReaderSize(log, maxLogLine)
	for {
		text, err := read.ReadSlice('\n')
		if line := logLine(pod, c.Name, string(text)); len(text) > 0 && (line.Time == nil || line.Time.AsTime().After(after)) {
			select {
			case r.lines <- line:
			case <-ctx.Done():
				return nil
			}
			if line.Time != nil {
				*last = line.Time.AsTime()
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a line that is too long
			_, err = read.ReadSlice('\n')
		}
		if err != nil { // the end, or a connection that broke: what follows looks again
			return nil
		}
	}
}

// logLine takes the time off a line.
func logLine(pod, container, text string) *plumbv1.LogLine {
	text = strings.ToValidUTF8(strings.TrimRight(text, "\r\n"), "�")
	line := &plumbv1.LogLine{Pod: pod, Container: container, Text: text}
	if stamp, rest, found := strings.Cut(text, " "); found {
		if t, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			line.Time, line.Text = rows.At(t), rest
		}
	}
	return line
}
