package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// makers keeps the declared objects that are there because of other declared
// objects (model.Edits.Makes), such as the HelmChart of a HelmRelease. They only
// show what is delivered without them, so they come behind deliveries and statuses, in the
// background lane. Whether one is as it should be is read from what the watch
// says its maker asked for in it: at rest nothing is written, and a restart has
// nothing to remember.
type makers struct {
	w       *writer
	changed chan struct{}

	mu     sync.Mutex
	of     map[*declared]*maker
	claims map[object.ID][]*maker // made object → who asks for it, in the order of asking
	due    []*maker
}

// Bounds of the work.
const (
	makersAtOnce  = 4
	makersPause   = time.Minute     // at the longest, behind deliveries and statuses
	makersCalm    = time.Second     // nothing has been done for so long: a burst is over
	makerPatience = 5 * time.Second // while the delivery is at work
	makerLongest  = 5 * time.Minute // between two tries
)

// maker is what one declared object asks for.
type maker struct {
	about  *declared
	busy   sync.Mutex // held while something is written for it
	makes  []making
	queued bool
	since  time.Time // in the queue
	later  *time.Timer
	failed int
}

// making is one object that is asked for.
type making struct {
	id     object.ID
	object *unstructured.Unstructured
	digest string // of what is asked for

	// What the last apply came to: what the server has of it when that is something
	// else, and the version from which on the watch tells of it.
	applied, answer, version string
}

func newMakers(w *writer) *makers {
	return &makers{w: w, changed: make(chan struct{}, 1), of: map[*declared]*maker{}, claims: map[object.ID][]*maker{}}
}

func (ms *makers) nudge() {
	select {
	case ms.changed <- struct{}{}:
	default:
	}
}

// want replaces what a declared object asks for. While its delivery is at work
// that can wait.
func (ms *makers) want(d *declared, objects []*unstructured.Unstructured, working bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.maker(d, len(objects) > 0)
	if m == nil {
		return
	}
	ms.replace(m, objects)
	switch {
	case ms.settled(m):
	case working && m.later == nil:
		m.later = time.AfterFunc(makerPatience, func() { ms.enqueue(m) })
	case !working:
		ms.queue(m)
	}
}

// maker is what is known of what a declared object asks for, begun if it is to be
// and the object is still there: gone forgets it under the same lock. The caller
// holds ms.mu.
func (ms *makers) maker(d *declared, begin bool) *maker {
	m := ms.of[d]
	if m == nil && begin && ms.w.ds.get(d.id) == d {
		m = &maker{about: d}
		ms.of[d] = m
	}
	return m
}

// replace is for want: what is asked for as before keeps what is known of it.
// The caller holds ms.mu.
func (ms *makers) replace(m *maker, objects []*unstructured.Unstructured) {
	before := m.makes
	m.makes = make([]making, len(objects))
	for i, o := range objects {
		spec, _ := o.Object["spec"].(map[string]any)
		m.makes[i] = making{id: object.Of(o), object: o, digest: *formOf(o.GetLabels(), o.GetAnnotations(), spec)}
		for _, was := range before {
			if was.id == m.makes[i].id {
				m.makes[i].applied, m.makes[i].answer, m.makes[i].version = was.applied, was.answer, was.version
			}
		}
		if !slices.Contains(ms.claims[m.makes[i].id], m) {
			ms.claims[m.makes[i].id] = append(ms.claims[m.makes[i].id], m)
		}
	}
	for _, was := range before {
		if !slices.ContainsFunc(m.makes, func(now making) bool { return now.id == was.id }) {
			ms.unclaim(was.id, m)
		}
	}
}

// unclaim forgets that somebody asks for an object. The caller holds ms.mu.
func (ms *makers) unclaim(id object.ID, m *maker) {
	rest := slices.DeleteFunc(ms.claims[id], func(other *maker) bool { return other == m })
	if len(rest) == 0 {
		delete(ms.claims, id)
		return
	}
	ms.claims[id] = rest
}

func (ms *makers) enqueue(m *maker) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.queue(m)
}

// queue has the work done. The caller holds ms.mu.
func (ms *makers) queue(m *maker) {
	if m.later != nil {
		m.later.Stop()
		m.later = nil
	}
	if m.queued || ms.of[m.about] != m {
		return
	}
	m.queued, m.since = true, time.Now()
	ms.due = append(ms.due, m)
	ms.nudge()
}

// settled reports whether everything is as it is asked for. The caller holds
// ms.mu.
func (ms *makers) settled(m *maker) bool {
	for i := range m.makes {
		if !ms.there(&m.makes[i]) {
			return false
		}
	}
	return true
}

// there reports whether one object is as it is asked for, or will be seen to be.
// The caller holds ms.mu.
func (ms *makers) there(made *making) bool {
	d := ms.w.ds.get(made.id)
	if made.applied == made.digest && made.version != "" {
		if d == nil || object.Older(d.current.Load().GetResourceVersion(), made.version) {
			return true // the watch has not told of it yet
		}
	}
	if d == nil || d.current.Load().GetDeletionTimestamp() != nil {
		return false
	}
	live := d.made.Load()
	return live != nil && (*live == made.digest || made.applied == made.digest && *live == made.answer)
}

// heard looks after an object that has changed: if nobody who asks for it finds
// it as it should be, it is made again. Where several ask for one object, the
// last that has got its way keeps it.
func (ms *makers) heard(id object.ID) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.contented(id, nil) {
		return
	}
	for _, m := range ms.claims[id] {
		ms.queue(m)
	}
}

// seen looks after the objects of a kind, all of which are known now.
func (ms *makers) seen(gk schema.GroupKind) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for id, claimants := range ms.claims {
		if id.GroupKind() != gk || ms.contented(id, nil) {
			continue
		}
		for _, m := range claimants {
			ms.queue(m)
		}
	}
}

// contented reports whether an object is as somebody, who is not the one named,
// asks for it. The caller holds ms.mu.
func (ms *makers) contented(id object.ID, but *maker) bool {
	for _, m := range ms.claims[id] {
		for i := range m.makes {
			if m != but && m.makes[i].id == id && ms.there(&m.makes[i]) {
				return true
			}
		}
	}
	return false
}

// gone forgets a declared object: what it has asked for, and that it was made.
func (ms *makers) gone(d *declared) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m := ms.of[d]; m != nil {
		for i := range m.makes {
			ms.unclaim(m.makes[i].id, m)
		}
		if m.later != nil {
			m.later.Stop()
		}
		delete(ms.of, d)
	}
	for _, m := range ms.claims[d.id] {
		for i := range m.makes {
			if m.makes[i].id == d.id {
				m.makes[i].version = ""
			}
		}
		ms.queue(m)
	}
}

// run makes what is due while there is nothing else to do, and after a pause even
// then.
func (ms *makers) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ms.changed:
		}
		for ms.pending() && ctx.Err() == nil {
			ms.hold(ctx)
			ms.makeSome(ctx)
		}
	}
}

func (ms *makers) pending() bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return len(ms.due) > 0
}

// hold waits until there has been nothing else to do for a moment, or until the
// first that is due has waited long enough.
func (ms *makers) hold(ctx context.Context) {
	enough := time.After(makersPause - ms.waited())
	for {
		rest, calm := ms.w.ds.engine.AtRest(), (<-chan time.Time)(nil)
		busy := rest
		if closed(rest) {
			busy = nil
			if ms.w.events.quiet() {
				calm = time.After(makersCalm)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-enough:
			return
		case <-calm:
			if rest == ms.w.ds.engine.AtRest() && ms.w.events.quiet() {
				return
			}
		case <-ms.changed: // something more is due, or the last status has been written
		case <-busy:
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// waited is how long the first that is due has been so.
func (ms *makers) waited() time.Duration {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if len(ms.due) == 0 {
		return 0
	}
	return time.Since(ms.due[0].since)
}

// makeSome makes the first that are due, a few at a time.
func (ms *makers) makeSome(ctx context.Context) {
	ms.mu.Lock()
	n := min(len(ms.due), 4*makersAtOnce)
	batch := slices.Clone(ms.due[:n])
	if ms.due = ms.due[n:]; len(ms.due) == 0 {
		ms.due = nil
	}
	ms.mu.Unlock()
	next := make(chan *maker)
	var all sync.WaitGroup
	for range makersAtOnce {
		all.Go(func() {
			for m := range next {
				ms.done(ctx, m, ms.make(ctx, m))
			}
		})
	}
	for _, m := range batch {
		next <- m
	}
	close(next)
	all.Wait()
}

// done has a failure tried again, if that can help.
func (ms *makers) done(ctx context.Context, m *maker, err error) {
	if err == nil || ctx.Err() != nil {
		m.failed = 0
		return
	}
	lasting := apierrors.IsInvalid(err) || apierrors.IsForbidden(err)
	ms.w.log.Warn("an object is not made", "for", m.about.id.String(), "error", err, "again", !lasting)
	if lasting {
		return
	}
	m.failed++
	pause := min(100*time.Millisecond<<min(m.failed, 16), makerLongest)
	time.AfterFunc(pause, func() { ms.enqueue(m) })
}

// make applies what is not as it is asked for.
func (ms *makers) make(ctx context.Context, m *maker) error {
	m.busy.Lock()
	defer m.busy.Unlock()
	for _, made := range ms.open(m) {
		answer, err := ms.apply(ctx, made.object)
		if err != nil {
			return fmt.Errorf("apply %s: %w", made.id, err)
		}
		ms.note(m, made, answer)
	}
	return nil
}

// open takes a maker from the queue, and lists what is to be done for it. What
// somebody else asks for too, and has, is not taken away from there without news.
func (ms *makers) open(m *maker) []making {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m.queued = false
	if ms.of[m.about] != m || ms.w.ds.get(m.about.id) != m.about || m.about.refused.Load() {
		return nil
	}
	var open []making
	for i := range m.makes {
		made := &m.makes[i]
		switch d := ms.w.ds.get(made.id); {
		case ms.there(made), !ms.w.ds.seen(made.id.GroupKind()):
		case d != nil && d.current.Load().GetDeletionTimestamp() != nil: // once it is gone
		case made.applied == made.digest && ms.contented(made.id, m):
		default:
			open = append(open, *made)
		}
	}
	return open
}

// note keeps what an apply came to.
func (ms *makers) note(m *maker, done making, answer *unstructured.Unstructured) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for i := range m.makes {
		if made := &m.makes[i]; made.id == done.id {
			made.applied, made.version, made.answer = done.digest, answer.GetResourceVersion(), ""
			if form := madeForm(answer, ms.kind(done.id).MadeBy); form != nil {
				made.answer = *form
			}
		}
	}
}

// apply is a server-side apply by the manager that upstream has for it.
func (ms *makers) apply(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(o.Object)
	if err != nil {
		return nil, err
	}
	kind, err := ms.w.ds.cluster.Resolve(ctx, o.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	session := ms.w.ds.cluster.As(model.Identity{}).Background()
	return session.Apply(ctx, kind, body, cluster.ApplyOptions{Manager: ms.kind(object.Of(o)).MadeBy, Force: true})
}

// kind is what the dialects know of the kind of an object.
func (ms *makers) kind(id object.ID) dialect.Kind {
	for _, room := range ms.w.ds.dialects {
		for _, k := range room.Kinds() {
			if k.GroupKind == id.GroupKind() {
				return k
			}
		}
	}
	return dialect.Kind{}
}

// drop deletes what a declared object does not ask for any more, before its
// status forgets it. What lies in another namespace stays where such references
// are not allowed.
func (ms *makers) drop(ctx context.Context, session *cluster.Session, d *declared, ids []object.ID) error {
	if len(ids) == 0 {
		return nil
	}
	ms.mu.Lock()
	m := ms.maker(d, false)
	if m != nil {
		ms.replace(m, nil)
	}
	ms.mu.Unlock()
	if m != nil {
		m.busy.Lock() // what is being made is there before it is deleted
		defer m.busy.Unlock()
	}
	for _, id := range ids {
		known := ms.kind(id)
		if known.MadeBy == "" || id.Namespace != d.id.Namespace && ms.w.ds.settings.NoCrossNamespaceRefs {
			continue
		}
		kind, err := ms.w.ds.cluster.Resolve(ctx, known.GroupKind.WithVersion(known.Versions[0]))
		if err != nil {
			return err
		}
		if err := gone(session.Delete(ctx, kind, id.Namespace, id.Name, cluster.DeleteOptions{})); err != nil {
			return fmt.Errorf("delete %s: %w", id, err)
		}
	}
	return nil
}

// madeForm digests what a manager asks for in an object, by what the server
// says that it owns: labels, annotations and fields of the spec, each as it is
// now. Nil when it owns nothing.
func madeForm(o *unstructured.Unstructured, manager string) *string {
	owned := ownedFields(o, manager)
	if owned == nil {
		return nil
	}
	metadata, _ := owned["f:metadata"].(map[string]any)
	spec, _ := o.Object["spec"].(map[string]any)
	return formOf(named(o.GetLabels(), metadata["f:labels"]), named(o.GetAnnotations(), metadata["f:annotations"]), named(spec, owned["f:spec"]))
}

// ownedFields are the fields that a manager has applied.
func ownedFields(o *unstructured.Unstructured, manager string) map[string]any {
	if manager == "" {
		return nil
	}
	about, _ := o.Object["metadata"].(map[string]any)
	entries, _ := about["managedFields"].([]any)
	for _, item := range entries {
		entry, _ := item.(map[string]any)
		if entry["manager"] != manager || entry["operation"] != "Apply" || entry["subresource"] != nil && entry["subresource"] != "" {
			continue
		}
		fields, _ := entry["fieldsV1"].(map[string]any)
		return fields
	}
	return nil
}

// named are the entries whose names stand in a part of managed fields.
func named[V any](all map[string]V, fields any) map[string]V {
	names, _ := fields.(map[string]any)
	out := map[string]V{}
	for field := range names {
		name, _ := strings.CutPrefix(field, "f:")
		if value, ok := all[name]; ok {
			out[name] = value
		}
	}
	return out
}

// formOf digests labels, annotations and a spec.
func formOf(labels, annotations map[string]string, spec map[string]any) *string {
	text, err := json.Marshal([]any{orNone(labels), orNone(annotations), spec})
	if err != nil {
		text = nil // what is no JSON is nobody's object
	}
	digest := object.Digest(text)
	return &digest
}

// orNone makes no difference between no map and an empty one.
func orNone(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}
