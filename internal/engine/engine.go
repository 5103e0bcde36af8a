package engine

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
	"plumb.dev/plumb/internal/release"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/source"
	"plumb.dev/plumb/internal/source/cloud"
)

// Reporter takes the accounts of what happened to where people see them.
// Delivery and Source must return at once; a later report of the same object
// replaces one that has not been written yet.
type Reporter interface {
	Delivery(*model.Report)
	Source(*model.SourceReport)
	// Finalize puts the finalizer on the declared object, now.
	Finalize(ctx context.Context, declared object.ID, finalizer string) error
	// Persist writes a report before it returns: what follows must not happen
	// twice, and only the declared object can tell that it happened.
	Persist(context.Context, *model.Report) error
}

// Words are what the engine asks the dialect of a delivery.
type Words interface {
	// Handling reads what the annotations of an object ask for.
	Handling(dialect string, o *unstructured.Unstructured) (model.Handling, model.Stage)
	// Override changes how an input is rendered by a file in its directory.
	Override(dialect string, render model.Render, file string, content []byte) (model.Render, error)
	// Expand makes the objects of a delivery that is rendered by expansion.
	Expand(delivery object.ID, facts model.Facts, answers map[string]model.Answer) ([]model.Rendered, []model.Question, []model.Finding, error)
}

// Asker answers questions that the outside has to answer.
type Asker interface {
	Ask(context.Context, model.Question) model.Answer
}

// Declared answers questions about declared objects as they would be read
// after every pending report has been written.
type Declared interface {
	// Object is the declared object; nil when there is none.
	Object(object.ID) *unstructured.Unstructured
	// Ready is the dialect's own judgement.
	Ready(object.ID) bool
	// Unheard names something declared of which it is not known yet what it
	// asks for; "" when everything has been read, and compiled or refused.
	Unheard() string
}

// Meter counts what the engine does.
type Meter interface {
	// Ran counts a run of a delivery, or a look at a declared source.
	Ran(kind, namespace, name string, took time.Duration, ok bool)
	Rendered(hit bool)
	Healed()
	// Heard counts a watch event of a kind on a cluster, by its key.
	Heard(cluster string, kind schema.GroupKind)
	// Synced counts an operation that has ended.
	Synced(delivery object.ID, op *model.OperationReport)
	// Looked counts a look at a source; moved: something was fetched.
	Looked(url string, took time.Duration, moved bool)
}

// Options are what an engine is made of.
type Options struct {
	Clusters *cluster.Set
	Sources  *source.Store
	Journal  *journal.Journal
	Reporter Reporter
	Declared Declared
	Words    Words
	Asker    Asker
	Clouds   *cloud.Broker // lends identities to the key services of clouds; nil: they are not asked
	Meter    Meter
	Log      *slog.Logger

	// Noticed is told that a delivery or a source looks different to people. It
	// must return at once and not call the engine; nil: nobody follows.
	Noticed func(object.ID)

	// Key keys every digest of content that may hold secrets.
	Key []byte
	// Withhold recognises rendered objects that are never applied: the
	// installation of a controller that Plumb replaces.
	Withhold func(*unstructured.Unstructured) bool
	// Workers is the number of runs at a time; default 16. Runs mostly wait
	// for the API server, whose load cluster.Options bounds.
	Workers int
	// MemoBytes bounds remembered render results; default 24 MiB.
	MemoBytes int64
	// Guard bounds deletions that nobody approved; the zero value means
	// DefaultGuard.
	Guard plan.Guard
	// Linger is how long what was fetched for a source is kept when it has gone;
	// default ten minutes.
	Linger time.Duration
}

// DefaultGuard lets ten deletions pass, and any number that is at most half of
// what a delivery owns.
var DefaultGuard = plan.Guard{Count: 10, Fraction: 0.5}

// chartBytes bounds the charts that are kept ready for release records.
const chartBytes = 32 << 20

// Engine keeps deliveries true.
type Engine struct {
	opts  Options
	key   []byte
	log   *slog.Logger
	memo  *render.Memo
	codec *release.Codec
	index render.Index
	queue *queue
	ctx   context.Context // ends with Run

	archive chan object.ID // sources whose artifact is to be built

	mu       sync.Mutex
	book     book
	watching map[string]*watches // by cluster key
	missing  map[schema.GroupKind]bool

	tending sync.WaitGroup // whoever looks at a source, or forgets some
	over    bool           // nobody begins to, any more

	partTimer *time.Timer // until sources that have gone are forgotten; nil: none are
	partsAt   time.Time   // when that is
	tidied    bool        // what an earlier process kept for such has been removed

	previews atomic.Uint64 // counts what was fetched for a preview
}

// New makes an engine. Nothing happens before Run.
func New(ctx context.Context, opts Options) *Engine {
	if opts.Workers == 0 {
		opts.Workers = 16
	}
	if opts.MemoBytes == 0 {
		opts.MemoBytes = 24 << 20
	}
	if opts.Guard == (plan.Guard{}) {
		opts.Guard = DefaultGuard
	}
	if opts.Linger == 0 {
		opts.Linger = lingering
	}
	return &Engine{
		opts:     opts,
		key:      opts.Key,
		log:      opts.Log,
		memo:     render.NewMemo(opts.MemoBytes),
		codec:    release.NewCodec(chartBytes),
		queue:    newQueue(),
		ctx:      ctx,
		archive:  make(chan object.ID, 1024),
		book:     newBook(),
		watching: map[string]*watches{},
		missing:  map[schema.GroupKind]bool{},
	}
}

// Load takes what the journal knows of managed objects into the book. It is
// called once, before the first declaration.
func (e *Engine) Load(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.opts.Journal.LoadBaselines(ctx, func(clusterKey string, owner, id object.ID, version string, b model.Baseline) error {
		e.own(key{clusterKey, id}, owner, version).base = b
		return nil
	})
}

// Run works until the context that the engine was made with ends. Then nothing
// of the engine uses the store of sources any more.
func (e *Engine) Run() {
	var all sync.WaitGroup
	for range e.opts.Workers {
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				id, ok := e.queue.next()
				if !ok {
					return
				}
				e.run(e.ctx, id)
				e.queue.done(id)
			}
		}()
	}
	all.Add(1)
	go func() {
		defer all.Done()
		e.archiveLoop()
	}()
	e.mu.Lock()
	e.partLater(e.opts.Linger) // for what an earlier process has left
	e.mu.Unlock()
	<-e.ctx.Done()
	e.queue.close()
	all.Wait()
	e.mu.Lock()
	e.over = true
	e.mu.Unlock()
	e.tending.Wait()
}

// Queued is the number of deliveries that wait for a worker.
func (e *Engine) Queued() int { return e.queue.depth() }

// AtRest is closed once no delivery waits for a worker or has one. What begins
// afterwards has another channel.
func (e *Engine) AtRest() <-chan struct{} { return e.queue.atRest() }

// SetDelivery declares a delivery, or changes what is declared of it. implied
// are the sources that it reads and that nobody declares.
func (e *Engine) SetDelivery(spec model.Delivery, implied []model.Source, facts model.Facts, findings []model.Finding) {
	if spec.Release != nil {
		spec.Sync.Staged = true // its changes are made in the steps of Helm's actions
	}
	rules, fault := judgements(&spec)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range implied {
		e.setSource(s, nil)
	}
	d := e.book.deliveries[spec.ID]
	if d != nil && d.spec.UID != spec.UID {
		e.drop(d) // another object of the same name
		d = nil
	}
	if d != nil && d.version > 0 && d.refusal == nil && sameDelivery(d, &spec, facts, findings) {
		return
	}
	if d == nil {
		d = &delivery{}
		e.book.deliveries[spec.ID] = d
	} else {
		e.unlinkDelivery(d)
		// A request to look, or another judgement of health, that concerns
		// objects which were judged before.
		asked := spec.Wake != "" && spec.Wake != d.spec.Wake && d.report != nil
		d.recheck = d.recheck || asked || !judgedAlike(&d.spec, &spec)
		if spec.Suspended || d.spec.Identity != spec.Identity || !reflect.DeepEqual(d.spec.Target, spec.Target) || !reflect.DeepEqual(d.spec.Policy, spec.Policy) {
			d.endHealth() // what is watched was allowed to another identity, or is not asked for
		}
		if asked {
			e.lookAgain(d, &spec)
		}
	}
	if spec.Operation == nil {
		d.done = "" // what comes next is another request, even of the same content
	}
	d.spec, d.findings, d.judgement, d.badRules, d.refusal = spec, findings, rules, fault, nil
	if spec.Target.Cluster.Local() {
		e.claim(d, "")
	}
	d.facts = facts
	d.version++
	e.linkDelivery(d)
	e.endUnread()
	if !spec.Suspended && !spec.Deleting {
		e.book.stale[spec.ID] = true
	}
	how := changed
	switch {
	case spec.Deleting:
		how = urgent
	case d.report == nil:
		how = routine
	}
	e.queue.add(spec.ID, how)
}

// sameDelivery reports whether a declaration says what is known already: a
// fact may have changed only in what nobody reads of it.
func sameDelivery(d *delivery, spec *model.Delivery, facts model.Facts, findings []model.Finding) bool {
	was, now := d.spec, *spec
	was.Claims, was.Applied, was.Finalized, was.Finished = nil, "", false, nil // written by ourselves
	now.Claims, now.Applied, now.Finalized, now.Finished = nil, "", false, nil
	was.Operation, now.Operation = nil, nil
	was.Release, now.Release = declaredRelease(was.Release, now.Release), declaredRelease(now.Release, now.Release)
	if !sameOperation(d.spec.Operation, spec.Operation) {
		return false
	}
	if !reflect.DeepEqual(was, now) || !reflect.DeepEqual(d.findings, findings) || len(d.facts) != len(facts) {
		return false
	}
	for need, fact := range facts {
		before, ok := d.facts[need]
		if !ok || before.State != fact.State || !sameContent(before.Object, fact.Object) || len(before.Objects) != len(fact.Objects) {
			return false
		}
		for i := range fact.Objects {
			if !sameContent(before.Objects[i], fact.Objects[i]) {
				return false
			}
		}
	}
	return true
}

// sameContent reports whether two objects that facts brought say the same to
// those who read facts while they render. What a dialect reads when it compiles
// shows in what it compiles.
func sameContent(a, b *unstructured.Unstructured) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || reflect.DeepEqual(a.Object["data"], b.Object["data"]) && reflect.DeepEqual(a.Object["status"], b.Object["status"]) &&
		reflect.DeepEqual(a.Object["spec"], b.Object["spec"]) && reflect.DeepEqual(a.GetLabels(), b.GetLabels()) && reflect.DeepEqual(a.GetAnnotations(), b.GetAnnotations())
}

// sameOperation leaves out what the engine itself has written of it.
func sameOperation(a, b *model.Operation) bool {
	if a == nil || b == nil {
		return a == b
	}
	was, now := *a, *b
	was.Started, was.Results, was.Retries = time.Time{}, nil, 0
	now.Started, now.Results, now.Retries = time.Time{}, nil, 0
	return reflect.DeepEqual(was, now)
}

// reads lists the sources of a delivery: those of its inputs, of an operation
// that brings its own, and those that it was asked to read while it expanded.
func (d *delivery) reads() []object.ID {
	var ids []object.ID
	seen := map[object.ID]bool{}
	add := func(id object.ID) {
		if !seen[id] && !id.IsZero() {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for i := range d.spec.Inputs {
		add(d.spec.Inputs[i].Source)
	}
	if op := d.spec.Operation; op != nil {
		for i := range op.Inputs {
			add(op.Inputs[i].Source)
		}
	}
	for _, id := range d.asks {
		add(id)
	}
	return ids
}

func (e *Engine) linkDelivery(d *delivery) {
	for _, id := range d.reads() {
		link(e.book.readers, id, d.spec.ID)
		e.notice(id)
	}
	e.linkShown(d)
	for _, dep := range d.spec.DependsOn {
		link(e.book.dependants, dep.On, d.spec.ID)
	}
}

func (e *Engine) unlinkDelivery(d *delivery) {
	for _, id := range d.reads() {
		unlink(e.book.readers, id, d.spec.ID)
		e.notice(id)
		if len(e.book.readers[id]) == 0 {
			e.book.unread = append(e.book.unread, id)
		}
	}
	e.unlinkShown(d)
	for _, dep := range d.spec.DependsOn {
		unlink(e.book.dependants, dep.On, d.spec.ID)
	}
}

// Refuse stops a staged delivery whose declared object, as it stands now, may
// not be acted on: what it was allowed before is no permission any more. It
// keeps what it owns. A delivery that follows Git at all times goes on in its
// last good form, as upstream has it.
func (e *Engine) Refuse(id object.ID, fault *model.Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.book.deliveries[id]
	if d == nil || !d.spec.Sync.Staged {
		return
	}
	d.refusal, d.sync = fault, nil
	d.version++
	e.queue.add(id, changed)
}

// DropDelivery forgets a delivery whose declared object is gone. What it still
// owns stays on the cluster.
func (e *Engine) DropDelivery(id object.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.book.deliveries[id]
	if d == nil {
		return
	}
	e.drop(d)
	e.endUnread()
	e.evaluated()
	e.edges(id)
}

// drop takes a delivery out of the book. A run that is under way ends before
// its next step. The caller holds e.mu.
func (e *Engine) drop(d *delivery) {
	id := d.spec.ID
	d.version++
	e.unlinkDelivery(d)
	e.want(d, nil)
	for k := range e.book.owned[id] {
		e.disown(k)
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	d.endHealth()
	d.endKindWaits()
	e.dropHooks(id)
	e.forgetStorage(d)
	e.forgetLookups(d)
	e.index.Remove(id)
	delete(e.book.deliveries, id)
	delete(e.book.stale, id)
	delete(e.book.blocked, id)
	e.leave(d.cluster)
}

// claim takes what the delivery owned by its last status into the book, once
// for each cluster: an object that nobody else owns by now is ours. What it
// owned on another cluster stays there, as upstream has it; the same names are
// owned on this one, since it may well be the same cluster with another
// kubeconfig. The caller holds e.mu.
func (e *Engine) claim(d *delivery, at string) {
	if d.claimed && d.cluster == at {
		return
	}
	var claims []model.Claim
	if !d.claimed {
		claims = append(claims, ownable(&d.spec)...)
	}
	for k, version := range e.book.owned[d.spec.ID] {
		if k.cluster != at {
			claims = append(claims, model.Claim{ID: k.id, Version: version})
			e.disown(k)
		}
	}
	if from := d.cluster; from != at {
		e.forgetLookups(d)
		e.want(d, nil) // nothing known of the other cluster holds
		if d.release != nil {
			e.forgetStorage(d)
			d.release.storage, d.release.wanted, d.release.acting = storage{}, "", nil
		}
		d.compared, d.sync, d.failed = nil, nil, attempt{}
		d.at = 0
		d.endHealth()
		d.cluster = at
		e.leave(from)
	}
	d.claimed, d.followed = true, false
	for _, c := range claims {
		if k := (key{at, c.ID}); e.book.entries[k] == nil {
			e.own(k, d.spec.ID, c.Version)
		}
	}
}

// leave ends the watches of a remote cluster that no delivery goes to any more,
// and its connections. The caller holds e.mu.
func (e *Engine) leave(at string) {
	if at == "" {
		return
	}
	used := map[string]bool{}
	for _, d := range e.book.deliveries {
		used[d.cluster] = true
	}
	if used[at] {
		return
	}
	if w := e.watching[at]; w != nil {
		for _, kw := range w.kinds {
			kw.stop()
		}
		for _, stop := range w.plain {
			stop()
		}
		for _, stop := range []func(){w.stopAPIs, w.stopStorage} {
			if stop != nil {
				stop()
			}
		}
		delete(e.watching, at)
	}
	e.opts.Clusters.Retain(func(key string) bool { return used[key] })
}

// own makes owner the owner of an object and returns its entry. The caller
// holds e.mu.
func (e *Engine) own(k key, owner object.ID, version string) *entry {
	en := e.book.entries[k]
	if en == nil {
		en = &entry{}
		e.book.entries[k] = en
		e.book.changes++
	}
	if en.owner != owner && !en.owner.IsZero() {
		delete(e.book.owned[en.owner], k)
	}
	en.owner, en.version = owner, version
	if e.book.owned[owner] == nil {
		e.book.owned[owner] = map[key]string{}
	}
	e.book.owned[owner][k] = version
	return en
}

// disown forgets an object. The caller holds e.mu.
func (e *Engine) disown(k key) {
	en := e.book.entries[k]
	if en == nil {
		return
	}
	delete(e.book.owned[en.owner], k)
	if len(e.book.owned[en.owner]) == 0 {
		delete(e.book.owned, en.owner)
	}
	delete(e.book.entries, k)
	e.book.changes++
	e.opts.Journal.Remove(k.cluster, en.owner, k.id)
}

// want replaces what a delivery wants. Whether there was a secret in what it wants
// no more is remembered as long as it is there. The caller holds e.mu.
func (e *Engine) want(d *delivery, desired []model.Desired) {
	for i := range d.desired {
		k := key{d.cluster, d.desired[i].ID}
		unlink(e.book.wants, k, d.spec.ID)
		if en := e.book.entries[k]; en != nil && en.owner == d.spec.ID {
			// What was wanted last need not have been applied: then both count.
			applied := en.base.Inputs == d.desired[i].Digest
			en.base.Sealed = d.desired[i].Secret || en.base.Sealed && !applied
		}
	}
	d.desired = desired
	for i := range desired {
		if !desired[i].Handle.Disabled {
			link(e.book.wants, key{d.cluster, desired[i].ID}, d.spec.ID)
		}
	}
}

// evaluated wakes the deliveries that wait to hear what others want. The
// caller holds e.mu.
func (e *Engine) evaluated() {
	for id := range e.book.blocked {
		e.queue.add(id, changed)
	}
}

// edges wakes the deliveries that depend on one. The caller holds e.mu.
func (e *Engine) edges(id object.ID) {
	for dependant := range e.book.dependants[id] {
		if d := e.book.deliveries[dependant]; d != nil && (d.report == nil || d.report.Phase != model.PhaseDone) {
			e.queue.add(dependant, changed)
		}
	}
}

// follow makes sure that a kind is watched on a cluster. The caller holds e.mu.
func (e *Engine) follow(c *cluster.Cluster, gvk schema.GroupVersionKind) *kindWatch {
	return e.watchesOf(c).follow(gvk)
}

// watchesOf is what is watched on a cluster. The caller holds e.mu.
func (e *Engine) watchesOf(c *cluster.Cluster) *watches {
	w := e.watching[c.Key()]
	if w == nil {
		w = &watches{e: e, cluster: c, kinds: map[schema.GroupVersionKind]*kindWatch{}, resolved: map[schema.GroupKind]schema.GroupResource{}}
		e.watching[c.Key()] = w
	}
	return w
}

// Heard tells that something declared is understood now, or was refused: who
// waits to hear what others want looks again.
func (e *Engine) Heard() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.evaluated()
}

// Touched wakes the deliveries that judge a declared object by an expression
// over its status.
func (e *Engine) Touched(id object.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.edges(id)
}
