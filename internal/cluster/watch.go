package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/model"
)

// WatchSpec says what to watch. Equal specs share one stream per cluster.
type WatchSpec struct {
	GVK           schema.GroupVersionKind
	Namespace     string // "": all
	LabelSelector string
	FieldSelector string
	// MetadataOnly asks for apiVersion, kind and metadata without managedFields.
	MetadataOnly bool
}

// Handler is told what a watch sees. Calls come one after another, from the
// watch's own goroutine, and must not block for long. Objects are shared with
// other subscribers of the same spec: read only.
//
// After its first call of Synced a handler knows every object. When a stream
// had to start again, it gets the differences only; an object that vanished in
// between is Deleted with nothing but kind, name, namespace and UID. Before
// Synced, Added and Deleted may repeat, and Deleted may name an object that was
// never Added.
type Handler interface {
	// Event has type Added, Modified or Deleted.
	Event(typ watch.EventType, o *unstructured.Unstructured)
	// Synced comes once after everything there is was Added, and again in that
	// way after Gone.
	Synced()
	// Gone says that nothing is known any more: the kind is not served
	// (*UnknownKindError) or may not be watched (Forbidden). Nothing was
	// deleted by it. The watch goes on by itself when that changes: with Added
	// for all there is, then Synced.
	Gone(err error)
}

// Staller is for handlers that want to know about a stream that fails. What
// was known stays known, and what happens meanwhile is told later.
type Staller interface {
	// Stalled has the reason when attempts fail again and again, and nil once
	// the stream is back after it ended before its time.
	Stalled(err error)
}

const (
	watchTime      = 40 * time.Minute // asked for, give or take half of it
	firstSilence   = 10 * time.Second // without an event, a server does not know streaming lists
	longSilence    = 5 * time.Minute  // bookmarks come every minute
	firstBackoff   = 50 * time.Millisecond
	longBackoff    = 10 * time.Second
	refusedBackoff = 30 * time.Second // after Forbidden: permissions are not announced
	longRefused    = 5 * time.Minute
	shortLife      = time.Second // a watch that ends sooner without an event has failed
)

// Watch subscribes to a shared stream, run as Plumb itself, until the context
// ends or stop is called. A call of the handler that is under way when stop
// returns still ends; no other follows.
func (c *Cluster) Watch(ctx context.Context, spec WatchSpec, h Handler) (stop func()) {
	leave := c.watches.add(spec, h)
	unhook := context.AfterFunc(ctx, leave)
	return func() {
		unhook()
		leave()
	}
}

// watches are the streams of one cluster.
type watches struct {
	c       *Cluster
	mu      sync.Mutex
	streams map[WatchSpec]*stream
	silence time.Duration // firstSilence, shorter in tests
}

func newWatches(c *Cluster) *watches {
	return &watches{c: c, streams: map[WatchSpec]*stream{}, silence: firstSilence}
}

func (ws *watches) add(spec WatchSpec, h Handler) (leave func()) {
	sub := &subscription{handler: h}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.streams[spec]
	if w == nil {
		w = &stream{c: ws.c, spec: spec, joined: make(chan struct{}, 1), known: map[string]sighting{}, silence: ws.silence}
		w.ctx, w.cancel = context.WithCancel(ws.c.ctx)
		ws.streams[spec] = w
		w.join(sub)
		go w.run()
	} else {
		w.join(sub)
	}
	return func() {
		if sub.stopped.Swap(true) {
			return
		}
		ws.mu.Lock()
		defer ws.mu.Unlock()
		if w.leave(sub) == 0 && ws.streams[spec] == w {
			delete(ws.streams, spec)
			w.cancel()
		}
	}
}

// subscription is one handler of a stream. Its fields belong to the stream's
// goroutine, but for stopped.
type subscription struct {
	handler Handler
	stopped atomic.Bool
	active  bool // takes part in the list that is or was read
	synced  bool
	gone    bool // was told so
}

// sighting is what a stream keeps of an object.
type sighting struct {
	uid     string
	version uint64 // resource version, or a hash of one that is no number
	round   uint32 // of the list that saw it last
}

// stream is one watch and its subscribers. It has one goroutine.
type stream struct {
	c       *Cluster
	spec    WatchSpec
	ctx     context.Context
	cancel  context.CancelFunc
	joined  chan struct{} // holds a token when somebody joined
	silence time.Duration

	mu        sync.Mutex
	subs      []*subscription
	interrupt context.CancelCauseFunc // ends the request under way for a newcomer; nil while a list is read

	// What follows belongs to the goroutine.
	known    map[string]sighting
	round    uint32
	version  string // to go on from; "": list first
	paged    bool   // the server does not know streaming lists
	failures int    // in a row
	expiries int    // in a row, without an event between them
	stalled  bool
	ended    bool // the last request ended before its time
}

var (
	errJoined  = errors.New("somebody joined")
	errSilence = errors.New("the API server was silent for too long")
	errNoList  = errors.New("the API server does not stream lists")
)

func (w *stream) join(sub *subscription) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subs = append(w.subs, sub)
	select {
	case w.joined <- struct{}{}:
	default:
	}
	if w.interrupt != nil {
		w.interrupt(errJoined)
	}
}

// leave returns how many are left.
func (w *stream) leave(sub *subscription) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subs = slices.DeleteFunc(slices.Clone(w.subs), func(s *subscription) bool { return s == sub })
	return len(w.subs)
}

// audience is who listens now. The slice is never changed, only replaced.
func (w *stream) audience() []*subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.subs[:len(w.subs):len(w.subs)]
}

func (w *stream) run() {
	for w.ctx.Err() == nil {
		err := w.turn()
		if w.ctx.Err() != nil {
			return
		}
		w.conclude(err)
	}
}

// turn lists, or goes on with watching, until that ends.
func (w *stream) turn() error {
	kind, err := w.kind()
	if err != nil {
		return err
	}
	if w.newcomers() {
		w.version = ""
	}
	if w.version != "" {
		return w.follow(kind, false)
	}
	w.beginList()
	if !w.paged {
		return w.follow(kind, true)
	}
	return w.list(kind)
}

// kind resolves what is watched. The kinds by which the others are known are
// known themselves.
func (w *stream) kind() (Kind, error) {
	switch w.spec.GVK {
	case crdKind.GVK:
		return crdKind, nil
	case apiServiceKind.GVK:
		return apiServiceKind, nil
	}
	ctx, cancel := context.WithTimeout(w.ctx, w.c.opts.Timeout)
	defer cancel()
	return w.c.Resolve(ctx, w.spec.GVK)
}

// conclude judges how a turn ended and waits as long as that calls for.
func (w *stream) conclude(err error) {
	var unknown *UnknownKindError
	switch {
	case err == nil, errors.Is(err, errJoined):
		return
	case errors.Is(err, errNoList):
		w.paged = true
		return
	case errors.As(err, &unknown):
		w.lose(err)
		w.awaitKind()
		return
	case expired(err):
		w.version = ""
		w.ended = true
		if w.expiries++; w.expiries > 1 { // a server that never lets us go on
			w.wait(backoff(firstBackoff, longBackoff, w.expiries-1))
		}
		return
	case apierrors.IsNotFound(err):
		w.missing(err)
		return
	case apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
		w.failures++
		w.lose(err)
		w.wait(backoff(refusedBackoff, longRefused, w.failures))
		return
	}
	w.ended = true
	w.failures++
	if w.failures == 2 {
		w.stall(err)
	}
	w.wait(backoff(firstBackoff, longBackoff, w.failures))
}

// expired reports whether the server does not know the version to go on from:
// it is too old, or the server was restored from a backup and it is too new.
func expired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}

// missing handles a 404 for a kind that should be served: it may just have
// been removed, or is not ready on this server yet.
func (w *stream) missing(err error) {
	w.failures++
	w.ended = true
	if w.spec.GVK == crdKind.GVK || w.spec.GVK == apiServiceKind.GVK {
		w.lose(&UnknownKindError{GVK: w.spec.GVK})
		w.wait(backoff(refusedBackoff, longRefused, w.failures))
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, w.c.opts.Timeout)
	defer cancel()
	w.c.kinds.suspect(ctx, w.spec.GVK)
	if w.failures == 8 {
		w.stall(err)
	}
	w.wait(backoff(firstBackoff, longBackoff, w.failures))
}

// awaitKind waits until the kind is served, or somebody joins who has to be
// told that it is not.
func (w *stream) awaitKind() {
	served := make(chan struct{})
	stop := w.c.kinds.onKind(w.spec.GVK, func() { close(served) })
	defer stop()
	select {
	case <-served:
	case <-w.joined:
	case <-w.ctx.Done():
	}
}

func (w *stream) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.joined: // a newcomer may try at once
	case <-w.ctx.Done():
	}
}

func backoff(first, longest time.Duration, failures int) time.Duration {
	return jitter(min(first<<min(failures-1, 16), longest))
}

// newcomers reports whether somebody has not been part of a list yet.
func (w *stream) newcomers() bool {
	return slices.ContainsFunc(w.audience(), func(s *subscription) bool { return !s.active })
}

// beginList makes everybody take part in the list that follows.
func (w *stream) beginList() {
	select {
	case <-w.joined:
	default:
	}
	w.round++
	for _, s := range w.audience() {
		s.active = true
	}
}

// allow lets newcomers interrupt the request from now on, unless one waits
// already.
func (w *stream) allow(interrupt context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupt = interrupt
	if slices.ContainsFunc(w.subs, func(s *subscription) bool { return !s.active }) {
		interrupt(errJoined)
	}
}

func (w *stream) forbidInterrupts() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupt = nil
}

// list reads pages, for servers that do not stream lists.
func (w *stream) list(kind Kind) error {
	call := w.call("list", kind)
	if err := w.c.opts.Intercept.beforeRead(w.ctx, call); err != nil {
		return err
	}
	version, err := w.c.list(w.ctx, model.Identity{}, kind, ListOptions{
		Namespace: w.spec.Namespace, LabelSelector: w.spec.LabelSelector,
		FieldSelector: w.spec.FieldSelector, MetadataOnly: w.spec.MetadataOnly,
	}, func(o *unstructured.Unstructured) error {
		w.observe(o)
		return w.ctx.Err()
	})
	if err != nil {
		return err
	}
	w.version = version
	w.failures = 0
	w.settle()
	return nil
}

func (w *stream) call(verb string, kind Kind) Call {
	return Call{Verb: verb, Kind: kind, Namespace: w.spec.Namespace}
}

// follow watches: from the version that was seen last, or with everything
// there is at the beginning.
func (w *stream) follow(kind Kind, initial bool) error {
	if err := w.c.opts.Intercept.beforeRead(w.ctx, w.call("watch", kind)); err != nil {
		return err
	}
	r, err := w.watchRequest(kind, initial)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	defer w.forbidInterrupts()
	silence := longSilence
	if initial {
		silence = w.silence
	} else {
		w.allow(cancel)
	}
	quiet := time.AfterFunc(silence, func() { cancel(errSilence) })
	defer quiet.Stop()

	err = w.receive(ctx, r, initial, func(synced bool) {
		if !initial || synced {
			silence = longSilence
		}
		quiet.Reset(silence)
		if initial && synced {
			w.allow(cancel)
		}
	})
	cause := context.Cause(ctx)
	switch {
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case errors.Is(cause, errSilence) && initial && w.version == "":
		return errNoList
	case cause != nil:
		return cause
	}
	return err
}

func (w *stream) watchRequest(kind Kind, initial bool) (*request, error) {
	p, err := collectionPath(kind, w.spec.Namespace)
	if err != nil {
		return nil, err
	}
	q := selectorQuery(w.spec.LabelSelector, w.spec.FieldSelector)
	q.Set("watch", "true")
	q.Set("allowWatchBookmarks", "true")
	q.Set("timeoutSeconds", strconv.Itoa(int(jitter(watchTime)/time.Second)))
	if initial {
		q.Set("sendInitialEvents", "true")
		q.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchNotOlderThan))
	} else {
		q.Set("resourceVersion", w.version)
	}
	r := &request{method: http.MethodGet, path: p, query: q.Encode(), call: w.call("watch", kind)}
	if w.spec.MetadataOnly {
		r.accept = metaType
	}
	return r, nil
}

// receive sends the request and handles events until the stream ends. A clean
// end is nil. heard is called at every event, with true at the one that ends
// the initial ones.
func (w *stream) receive(ctx context.Context, r *request, initial bool, heard func(synced bool)) error {
	started := time.Now()
	resp, err := w.c.roundTrip(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return w.refusal(r, resp, initial)
	}
	if !initial {
		w.recover()
	}
	defer func() {
		if time.Since(started) > shortLife {
			w.failures, w.expiries = 0, 0
		}
	}()
	stream := newFrames(resp.Body)
	for events := 0; ; events++ {
		text, err := stream.next()
		if errors.Is(err, io.EOF) && (events > 0 || time.Since(started) > shortLife) {
			w.ended = time.Since(started) < watchTime/2
			return nil
		}
		if err != nil {
			return err
		}
		typ, content, err := decodeEvent(text, w.spec.MetadataOnly)
		if err != nil {
			return err
		}
		synced, err := w.handle(watch.EventType(typ), content, initial)
		if err != nil {
			return err
		}
		w.failures = 0
		if !initial {
			w.expiries = 0
		}
		heard(synced)
	}
}

// refusal is the error of a watch that was not begun.
func (w *stream) refusal(r *request, resp *http.Response, initial bool) error {
	var buf bytes.Buffer
	if err := readAll(&buf, resp); err != nil {
		return err
	}
	err := w.c.statusError(r, resp, buf.Bytes())
	// Servers that do not stream lists call the parameters invalid.
	if initial && (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)) {
		return errNoList
	}
	return err
}

// handle takes in one event and reports whether it ended the initial ones.
func (w *stream) handle(typ watch.EventType, content map[string]any, initial bool) (bool, error) {
	o := &unstructured.Unstructured{Object: content}
	switch typ {
	case watch.Added, watch.Modified:
		w.observe(o)
	case watch.Deleted:
		w.vanish(o)
	case watch.Bookmark:
		if initial && w.version == "" {
			if o.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" {
				return false, nil
			}
			w.version = o.GetResourceVersion()
			w.recover()
			w.settle()
			return true, nil
		}
	case watch.Error:
		return false, streamError(content)
	default:
		return false, fmt.Errorf("unknown watch event %q", typ)
	}
	// The initial events come in no order of versions: going on from one of
	// them would miss others.
	if v := o.GetResourceVersion(); v != "" && (!initial || w.version != "") {
		w.version = v
	}
	return false, nil
}

func streamError(content map[string]any) error {
	var status metav1.Status
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &status); err != nil || status.Kind != "Status" {
		return errors.New("the API server ended the watch with an error that it did not explain")
	}
	return &apierrors.StatusError{ErrStatus: status}
}

// observe compares an object with what was known and tells each subscriber
// what that means to it.
func (w *stream) observe(o *unstructured.Unstructured) {
	w.name(o)
	key := w.keyOf(o)
	now := sighting{uid: string(o.GetUID()), version: versionNumber(o.GetResourceVersion()), round: w.round}
	old, had := w.known[key]
	w.known[key] = now
	replaced := had && old.uid != now.uid
	same := had && !replaced && old.version == now.version
	for _, s := range w.audience() {
		switch {
		case !s.active || s.stopped.Load():
		case !s.synced || !had:
			s.handler.Event(watch.Added, o)
		case same:
		case replaced:
			s.handler.Event(watch.Deleted, w.tombstone(key, old.uid))
			s.handler.Event(watch.Added, o)
		default:
			s.handler.Event(watch.Modified, o)
		}
	}
}

func (w *stream) vanish(o *unstructured.Unstructured) {
	w.name(o)
	delete(w.known, w.keyOf(o))
	w.tell(watch.Deleted, o)
}

func (w *stream) tell(typ watch.EventType, o *unstructured.Unstructured) {
	for _, s := range w.audience() {
		if s.active && !s.stopped.Load() {
			s.handler.Event(typ, o)
		}
	}
}

// settle ends a complete list: what was known and not seen in it is gone.
func (w *stream) settle() {
	for key, s := range w.known {
		if s.round != w.round {
			delete(w.known, key)
			w.tell(watch.Deleted, w.tombstone(key, s.uid))
		}
	}
	if len(w.known) == 0 { // a map never shrinks by itself
		w.known = map[string]sighting{}
	} else if w.round > 1 {
		w.known = maps.Clone(w.known)
	}
	for _, s := range w.audience() {
		if s.active && !s.synced && !s.stopped.Load() {
			s.synced, s.gone = true, false
			s.handler.Synced()
		}
	}
	w.recover()
}

// recover notes that the server answers again.
func (w *stream) recover() {
	back := w.ended || w.stalled
	w.ended, w.stalled = false, false
	if back {
		w.tellStalled(nil)
	}
}

func (w *stream) stall(err error) {
	w.stalled = true
	w.c.opts.Log.Warn("watch fails", "host", w.c.Host(), "kind", w.spec.GVK.Kind, "group", w.spec.GVK.Group, "namespace", w.spec.Namespace, "error", err)
	w.tellStalled(err)
}

func (w *stream) tellStalled(err error) {
	for _, s := range w.audience() {
		if h, ok := s.handler.(Staller); ok && !s.stopped.Load() {
			h.Stalled(err)
		}
	}
}

// lose tells everybody once that nothing is known any more.
func (w *stream) lose(err error) {
	w.known = map[string]sighting{}
	w.version = ""
	for _, s := range w.audience() {
		if s.gone || s.stopped.Load() {
			continue
		}
		s.gone, s.synced = true, false
		s.handler.Gone(err)
	}
}

// name gives the object the kind that was asked for: metadata-only answers
// come as PartialObjectMetadata.
func (w *stream) name(o *unstructured.Unstructured) {
	if o.Object == nil {
		o.Object = map[string]any{}
	}
	if w.spec.MetadataOnly || o.GetKind() == "" {
		o.Object["apiVersion"] = w.spec.GVK.GroupVersion().String()
		o.Object["kind"] = w.spec.GVK.Kind
	}
}

func (w *stream) keyOf(o *unstructured.Unstructured) string {
	if ns := o.GetNamespace(); ns != "" {
		return ns + "/" + o.GetName()
	}
	return o.GetName()
}

func (w *stream) tombstone(key, uid string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(w.spec.GVK)
	for i := 0; i < len(key); i++ {
		if key[i] == '/' {
			o.SetNamespace(key[:i])
			key = key[i+1:]
			break
		}
	}
	o.SetName(key)
	if uid != "" {
		meta, _ := o.Object["metadata"].(map[string]any)
		meta["uid"] = uid
	}
	return o
}

func versionNumber(rv string) uint64 {
	if n, err := strconv.ParseUint(rv, 10, 64); err == nil {
		return n
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, rv) // a hash never fails
	return h.Sum64()
}
