package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/differ"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
)

// parallel is how many requests one run makes at a time.
const parallel = 8

// apply runs the plan: all of it, or nothing of what the API server refuses
// when it is asked beforehand.
func (r *run) apply(ctx context.Context) error {
	if faults := r.predict(ctx); len(faults) > 0 {
		r.release()
		return r.several(faults)
	}
	if err := r.change(ctx); err != nil {
		return err
	}
	return r.verdict()
}

// change makes the changes of the plan, wave by wave, and ends the hold on
// their objects. What went wrong with an object is told in its outcome.
func (r *run) change(ctx context.Context) error {
	defer r.release()
	if len(r.plan.Waves) == 0 && !r.refersTo() {
		return nil
	}
	if err := r.finalize(ctx); err != nil {
		return err
	}
	if err := r.announce(ctx); err != nil {
		return err
	}
	established := true
	for _, wave := range r.plan.Waves {
		if r.superseded() {
			return errSuperseded
		}
		if !established {
			break // nothing is built on definitions that could not be applied
		}
		r.report.Phase = phaseOf(wave)
		if r.report.Phase == model.PhasePrune && r.failed() {
			break // nothing is deleted while something that should be there is not
		}
		r.wave(ctx, wave)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		established = !wave.Established || !r.stumbled()
	}
	return nil
}

// refersTo reports whether objects name the declared object as their owner:
// without a finalizer they would go with it unasked.
func (r *run) refersTo() bool { return r.spec.Ownership.Reference != nil && len(r.plan.Keeps) > 0 }

func phaseOf(w model.Wave) model.Phase {
	if v := w.Changes[0].Verb; v == model.Delete || v == model.Forget {
		return model.PhasePrune
	}
	return model.PhaseApply
}

// finalize makes sure that the declared object cannot vanish without us before
// anything of it exists.
func (r *run) finalize(ctx context.Context) error {
	if r.spec.Finalized || r.spec.Deleting || r.spec.Ownership.Finalizer == "" {
		return nil
	}
	if err := r.e.opts.Reporter.Finalize(ctx, r.spec.ID, r.spec.Ownership.Finalizer); err != nil {
		return asFault(err, "ReconciliationFailed")
	}
	r.spec.Finalized = true
	r.e.mu.Lock()
	r.d.spec.Finalized = true
	r.e.mu.Unlock()
	return nil
}

// announce writes down what is about to be owned, before it exists: a crash
// between the apply and the status must not lose an object.
func (r *run) announce(ctx context.Context) error {
	fresh := false
	for _, w := range r.plan.Waves {
		for _, c := range w.Changes {
			if c.Verb == model.Create || c.Verb == model.Adopt {
				r.e.opts.Journal.Put(r.d.cluster, r.spec.ID, c.Object, c.Version, model.Baseline{})
				fresh = true
			}
		}
	}
	if !fresh {
		return nil
	}
	if err := r.e.opts.Journal.Flush(ctx); err != nil {
		r.e.log.Warn("the journal cannot be written; deliveries go on without it", "error", err)
	}
	return nil
}

// predict asks the API server about every change to an existing object before
// any of them is made, so that a bad one does not leave the others half done.
// A single change needs no prediction: it happens whole or not at all.
func (r *run) predict(ctx context.Context) []model.Fault {
	var risky []model.Change
	redefined := r.redefined()
	for _, w := range r.plan.Waves {
		for _, c := range w.Changes {
			if redefined[c.Object.GroupKind()] {
				continue // the server would judge it by the definition that is about to change
			}
			if c.Verb == model.Update || (c.Verb == model.Adopt && c.UID != "") {
				risky = append(risky, c)
			}
		}
	}
	if len(risky) < 2 {
		return nil
	}
	var mu sync.Mutex
	var faults []model.Fault
	each(risky, func(c model.Change) {
		if f := r.predictOne(ctx, c); f != nil {
			mu.Lock()
			faults = append(faults, *f)
			mu.Unlock()
		}
	})
	return faults
}

func (r *run) predictOne(ctx context.Context, c model.Change) *model.Fault {
	kind, err := r.cluster.Resolve(ctx, schema.GroupVersionKind{Group: c.Object.Group, Version: c.Version, Kind: c.Object.Kind})
	if err != nil {
		return nil //nolint:nilerr // the apply waits for the kind, and says what is wrong
	}
	body, err := r.body(ctx, kind, c)
	if err == nil {
		_, err = r.session.Apply(ctx, kind, body, cluster.ApplyOptions{Manager: r.spec.Ownership.FieldManager, Force: true, DryRun: true})
	}
	switch {
	case err == nil, apierrors.IsNotFound(err):
		return nil
	case cluster.IsImmutable(err) && r.forces(c.Want):
		return nil
	}
	return r.explain(err, "dry-run", c)
}

// forces reports whether an immutable conflict may be solved by recreation.
func (r *run) forces(want *model.Desired) bool {
	return r.spec.Policy.Force || want.Handle.Force || r.spec.Sync.Staged && (want.Handle.Replace || r.options(r.d.sync).Force || r.options(r.d.sync).Replace)
}

// wave makes the changes of one wave in parallel.
func (r *run) wave(ctx context.Context, w model.Wave) {
	within, cancel := context.WithTimeout(ctx, r.spec.Policy.Timeout)
	defer cancel()
	var mu sync.Mutex
	each(w.Changes, func(c model.Change) {
		out := r.one(within, c)
		mu.Lock()
		r.report.Objects = append(r.report.Objects, out)
		mu.Unlock()
	})
}

// one makes one change.
func (r *run) one(ctx context.Context, c model.Change) model.Outcome {
	out := model.Outcome{Object: c.Object, Verb: c.Verb, Why: c.Why}
	var err error
	switch c.Verb {
	case model.Forget:
		r.forget(c)
	case model.Delete:
		err = r.delete(ctx, c)
	default:
		out.Verb, err = r.write(ctx, c)
	}
	if err != nil {
		out.Fault = r.explain(err, string(c.Verb), c)
	}
	return out
}

// write applies one object and learns its baseline from the answer.
func (r *run) write(ctx context.Context, c model.Change) (model.Verb, error) {
	kind, err := r.kind(ctx, c)
	if err != nil {
		return c.Verb, err
	}
	if f := gate.Permits(&r.spec.Permit, c.Object, kind.Namespaced); f != nil {
		f.Object, f.Origin = c.Object, c.Want.Origin
		return c.Verb, f // its kind was not served when the others were judged
	}
	body, err := r.body(ctx, kind, c)
	if err != nil {
		return c.Verb, err
	}
	opts := cluster.ApplyOptions{Manager: r.spec.Ownership.FieldManager, Force: true}
	verb := c.Verb
	live, err := r.session.Apply(ctx, kind, body, opts)
	if !refused(err) {
		r.keep(c)
	}
	if cluster.IsImmutable(err) && r.forces(c.Want) {
		verb = model.Recreate
		r.keep(c)
		live, err = r.recreate(ctx, kind, c, body, opts)
	}
	if err != nil {
		return verb, err
	}
	if live, err = r.takeOver(ctx, kind, c, live, body, opts); err != nil {
		return verb, err
	}
	r.learn(c, live)
	return verb, nil
}

// refused reports whether an error says for certain that nothing was written.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout
}

// keep notes that an object may have been written: it is ours from now on.
func (r *run) keep(c model.Change) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.wrote[c.Object] = true
}

// kind resolves the kind of a change. One that this very delivery defines is
// waited for: its definition is established a moment after it was applied.
func (r *run) kind(ctx context.Context, c model.Change) (cluster.Kind, error) {
	gvk := schema.GroupVersionKind{Group: c.Object.Group, Version: c.Version, Kind: c.Object.Kind}
	kind, err := r.cluster.Resolve(ctx, gvk)
	var unknown *cluster.UnknownKindError
	if !errors.As(err, &unknown) {
		return kind, err
	}
	appears := make(chan struct{}, 1)
	stop := r.cluster.OnServed(gvk, func() {
		select {
		case appears <- struct{}{}:
		default:
		}
		r.e.queue.add(r.spec.ID, changed)
	})
	if !r.defines(gvk.GroupKind()) {
		r.e.awaitKind(r.d, stop)
		return kind, err
	}
	defer stop()
	for {
		if kind, err = r.cluster.Resolve(ctx, gvk); !errors.As(err, &unknown) {
			return kind, err
		}
		select {
		case <-appears:
		case <-ctx.Done():
			return kind, err
		}
	}
}

// defines reports whether the delivery wants the definition of a kind.
func (r *run) defines(gk schema.GroupKind) bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	for i := range r.d.desired {
		if defined, ok := definition(&r.d.desired[i]); ok && defined == gk {
			return true
		}
	}
	return false
}

// redefined are the kinds whose definitions the plan changes.
func (r *run) redefined() map[schema.GroupKind]bool {
	kinds := map[schema.GroupKind]bool{}
	for _, w := range r.plan.Waves {
		for _, c := range w.Changes {
			if c.Want == nil {
				continue
			}
			if gk, ok := definition(c.Want); ok {
				kinds[gk] = true
			}
		}
	}
	return kinds
}

// definition is the kind that a CustomResourceDefinition defines.
func definition(want *model.Desired) (schema.GroupKind, bool) {
	if want.ID.Kind != "CustomResourceDefinition" {
		return schema.GroupKind{}, false
	}
	o := &unstructured.Unstructured{}
	if o.UnmarshalJSON(want.JSON) != nil {
		return schema.GroupKind{}, false
	}
	group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
	return schema.GroupKind{Group: group, Kind: kind}, true
}

// body is what is sent for a change. Where the delivery leaves paths to others,
// an existing object keeps what it has there: a value that somebody else owns
// is left out, one that only we own is sent as it is.
func (r *run) body(ctx context.Context, kind cluster.Kind, c model.Change) ([]byte, error) {
	if r.spec.Sync.Staged && !r.correcting {
		return r.leaving(ctx, kind, c)
	}
	if len(r.spec.Policy.Ignore) == 0 {
		return c.Want.JSON, nil
	}
	want := &unstructured.Unstructured{}
	if err := want.UnmarshalJSON(c.Want.JSON); err != nil {
		return nil, err
	}
	r.e.mu.Lock()
	queries := r.d.judgement.queries
	r.e.mu.Unlock()
	pointers := ignored(r.spec.Policy.Ignore, r.correcting, want)
	if len(pointers) == 0 && !queries.Any(want) {
		return c.Want.JSON, nil
	}
	live, err := r.session.Get(ctx, kind, c.Object.Namespace, c.Object.Name)
	if apierrors.IsNotFound(err) {
		return c.Want.JSON, nil
	}
	if err != nil {
		return nil, err
	}
	if err := object.LeavePaths(want.Object, live, pointers, r.spec.Ownership.FieldManager); err != nil {
		return nil, err
	}
	if err := queries.Copy(want, live); err != nil {
		return nil, err
	}
	return object.Canonical(want.Object)
}

// leaving is the body of a staged delivery's change. Ignored differences are
// left alone where the policy says so (RespectIgnoreDifferences), and where the
// delivery itself wants an autoscaler.
func (r *run) leaving(ctx context.Context, kind cluster.Kind, c model.Change) ([]byte, error) {
	rules := r.respected()
	if rules == nil || c.Verb == model.Create {
		return c.Want.JSON, nil
	}
	want := &unstructured.Unstructured{}
	if err := want.UnmarshalJSON(c.Want.JSON); err != nil {
		return nil, err
	}
	if !rules.Any(want) {
		return c.Want.JSON, nil
	}
	live, err := r.session.Get(ctx, kind, c.Object.Namespace, c.Object.Name)
	if apierrors.IsNotFound(err) {
		return c.Want.JSON, nil
	}
	if err != nil {
		return nil, err
	}
	if err := rules.Copy(want, live); err != nil {
		return nil, err
	}
	return object.Canonical(want.Object)
}

// respected are the rules whose paths are not written; nil when there are none.
func (r *run) respected() *differ.Rules {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.options(r.d.sync).LeaveIgnored {
		return r.d.judgement.rules
	}
	return r.d.judgement.implicit
}

// recreate deletes an object and applies it anew, because a field that cannot
// change has to.
func (r *run) recreate(ctx context.Context, kind cluster.Kind, c model.Change, body []byte, opts cluster.ApplyOptions) (*unstructured.Unstructured, error) {
	err := r.session.Delete(ctx, kind, c.Object.Namespace, c.Object.Name, cluster.DeleteOptions{UID: c.UID, Propagation: metav1.DeletePropagationBackground})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if err := r.gone(ctx, kind, c.Object); err != nil {
		return nil, &model.Fault{
			Reason: "ReconciliationFailed", Retry: true,
			Message: fmt.Sprintf("%s has to be recreated; it is being deleted and not gone yet", c.Object),
			Advice:  "look at its finalizers",
		}
	}
	return r.session.Apply(ctx, kind, body, opts)
}

// takeOver gives us the fields of kubectl and of earlier managers of an object
// that existed before we knew it, and applies once more, so that what left the
// desired state leaves the object.
func (r *run) takeOver(ctx context.Context, kind cluster.Kind, c model.Change, live *unstructured.Unstructured, body []byte, opts cluster.ApplyOptions) (*unstructured.Unstructured, error) {
	if c.Verb != model.Adopt || c.Want.Handle.Merge {
		return live, nil
	}
	_, did, err := r.session.TakeOver(ctx, kind, live, cluster.TakeOver{
		As: r.spec.Ownership.FieldManager, From: r.spec.Ownership.TakeOver, Annotations: r.spec.Ownership.TakeOverAnnotations, Labels: r.spec.Ownership.TakeOverObjectLabels,
	})
	if err != nil || !did {
		return live, err
	}
	return r.session.Apply(ctx, kind, body, opts)
}

// learn keeps the baseline of an object as the server stored it, and judges
// the events that arrived meanwhile.
func (r *run) learn(c model.Change, live *unstructured.Unstructured) {
	e, d := r.e, r.d
	e.mu.Lock()
	defer e.mu.Unlock()
	k := key{d.cluster, c.Object}
	en := e.own(k, r.spec.ID, c.Version)
	base, ok := e.baseline(d, live, func() *unstructured.Unstructured { return d.wanted(c.Object) })
	if ok {
		base.Inputs, base.Sealed = c.Want.Digest, c.Want.Secret
		en.base = base
		e.opts.Journal.Put(k.cluster, r.spec.ID, c.Object, c.Version, base)
	}
	delete(en.refused, r.spec.ID)
	en.seen, en.read, en.missing, en.deleting, en.drift = true, true, false, live.GetDeletionTimestamp() != nil, ""
	en.handle, en.wave = e.handling(&d.spec, live)
	en.health = e.judgeHealth(d, live)
	if d.spec.Sync.Staged {
		en.links = linksOf(live)
	}
	en.made = live.GetGeneration()
	if c.Verb == model.Correct {
		en.heals++
		en.healed = time.Now()
		e.opts.Meter.Healed()
	}
	e.follow(r.cluster, schema.GroupVersionKind{Group: c.Object.Group, Version: c.Version, Kind: c.Object.Kind})
	e.unhold(k, en)
}

// unhold ends a write and judges the last event that came while it ran. The
// caller holds e.mu.
func (e *Engine) unhold(k key, en *entry) {
	en.busy = false
	held, gone := en.held, en.gone
	en.held, en.gone = nil, false
	if held != nil {
		e.hear(k, en, held, gone)
	}
}

// release ends the hold on everything that the plan was about to write. What
// was not written goes back to whom it was: wanting an object that one may not
// write must not keep it from others.
func (r *run) release() {
	e := r.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range r.plan.Waves {
		for _, c := range w.Changes {
			k := key{r.d.cluster, c.Object}
			en := e.book.entries[k]
			if en != nil && en.busy {
				e.unhold(k, en)
			}
			if was, others := r.before[c.Object]; en != nil && others && !r.wrote[c.Object] {
				e.giveBack(k, en, was)
				if en.refused == nil {
					en.refused = map[object.ID]bool{}
				}
				en.refused[r.spec.ID] = true
			}
			for id, objects := range e.book.blocked {
				if objects[c.Object] && id != r.spec.ID {
					e.queue.add(id, changed)
				}
			}
		}
	}
}

// giveBack makes an object what it was before a plan took hold of it. The
// caller holds e.mu.
func (e *Engine) giveBack(k key, en *entry, was holding) {
	if e.book.deliveries[was.owner] == nil {
		e.disown(k)
		return
	}
	e.own(k, was.owner, was.version)
	e.opts.Journal.Put(k.cluster, was.owner, k.id, was.version, en.base)
}

// delete asks for the deletion of one object. Only the incarnation that is
// ours goes.
func (r *run) delete(ctx context.Context, c model.Change) error {
	kind, err := r.served(ctx, c.Object, c.Version)
	var unknown *cluster.UnknownKindError
	if errors.As(err, &unknown) {
		r.forget(c)
		return nil
	}
	if err != nil {
		return err
	}
	err = r.session.Delete(ctx, kind, c.Object.Namespace, c.Object.Name, cluster.DeleteOptions{UID: c.UID, Propagation: r.propagation()})
	switch {
	case err == nil && r.spec.Deleting && r.spec.Policy.OnDelete == model.DeleteAndWait:
		return nil // stays owned until the watch says that it is gone
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		r.forget(c)
		return nil
	}
	return err
}

// propagation is how deletions reach what an object has made.
func (r *run) propagation() metav1.DeletionPropagation {
	wanted := ""
	switch {
	case r.spec.Deleting:
		wanted = r.spec.Policy.Cascade
	case r.spec.Release != nil: // what an upgrade takes away, whenever that is (Helm, pkg/kube, Update)
	case r.spec.Sync.Staged:
		if wanted = r.options(r.d.sync).Propagation; wanted == "" {
			wanted = "foreground"
		}
	}
	switch strings.ToLower(wanted) {
	case "foreground":
		return metav1.DeletePropagationForeground
	case "orphan":
		return metav1.DeletePropagationOrphan
	}
	return metav1.DeletePropagationBackground
}

func (r *run) forget(c model.Change) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	k := key{r.d.cluster, c.Object}
	if en := r.e.book.entries[k]; en != nil && en.owner == r.spec.ID {
		r.e.disown(k)
	}
}

// superseded reports whether the inputs of the run have changed.
func (r *run) superseded() bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.d.version != r.version {
		return true
	}
	return !r.spec.Deleting && r.e.book.stale[r.spec.ID] && !r.pinned() && r.moved()
}

// moved reports whether one of the inputs has another tree by now. The caller
// holds e.mu.
func (r *run) moved() bool {
	for i := range r.inputs {
		if s := r.e.sourceOf(&r.inputs[i]); s != nil && len(r.trees) > i && s.tree != r.trees[i] {
			return true
		}
	}
	return false
}

// stumbled reports whether a change has failed.
func (r *run) stumbled() bool {
	for i := range r.report.Objects {
		if r.report.Objects[i].Fault != nil {
			return true
		}
	}
	return false
}

// failed reports whether something that should be there is not.
func (r *run) failed() bool {
	if r.stumbled() {
		return true
	}
	for i := range r.plan.Blocked {
		if r.plan.Blocked[i].Reason != plan.PruneWaits {
			return true
		}
	}
	return false
}

// verdict is the fault of a run that has made its changes: those that failed,
// those that could not be made, those that wait for a person.
func (r *run) verdict() error {
	var faults []model.Fault
	for i := range r.report.Objects {
		if f := r.report.Objects[i].Fault; f != nil {
			faults = append(faults, *f)
		}
	}
	faults = append(faults, r.plan.Blocked...)
	if len(faults) > 0 {
		return r.several(faults)
	}
	if h := r.plan.Held; h != nil {
		return &model.Fault{
			Reason: "PruneHeld", Waiting: true,
			Message: fmt.Sprintf("%s; nothing is deleted until somebody approves it", h.Why),
			Advice:  fmt.Sprintf("approve with: plumb approve %s %s -n %s, or the annotation plumb.dev/approve=%s", strings.ToLower(r.spec.ID.Kind), r.spec.ID.Name, r.spec.ID.Namespace, h.Token),
		}
	}
	return nil
}

// several makes one fault of many: the first that is not merely waiting, with
// the number of the others.
func (r *run) several(faults []model.Fault) *model.Fault {
	sortFaults(faults)
	f := faults[0]
	f.Message = f.Error()
	f.Advice, f.Origin = "", model.Origin{Declared: r.spec.ID}
	for i := 1; i < len(faults) && i < 5; i++ {
		f.Message += "\n" + faults[i].Error()
	}
	if n := len(faults) - 5; n > 0 {
		f.Message += fmt.Sprintf("\nand %d more", n)
	}
	for i := range faults {
		f.Retry = f.Retry || faults[i].Retry
	}
	return &f
}

func (r *run) explain(err error, verb string, c model.Change) *model.Fault {
	var unknown *cluster.UnknownKindError
	origin := model.Origin{Declared: r.spec.ID}
	if c.Want != nil {
		origin = c.Want.Origin
	}
	if errors.As(err, &unknown) {
		return &model.Fault{
			Reason: "ReconciliationFailed", Waiting: true, Object: c.Object, Origin: origin, Err: err,
			Message: fmt.Sprintf("%s: %v", c.Object, err),
			Advice:  "it is applied as soon as the kind is served",
		}
	}
	explain := cluster.Explain
	if c.Want != nil && c.Want.Secret {
		explain = cluster.ExplainSensitive
	}
	f := explain(err, verb, c.Object, origin)
	if cluster.IsImmutable(err) {
		f.Advice = fmt.Sprintf("set spec.force of %s, or the annotation %s: enabled on the object, to have it recreated", r.spec.ID, r.spec.Ownership.Control.Force)
	}
	return f
}

// each calls do for every item, a few at a time.
func each[T any](items []T, do func(T)) {
	if len(items) == 1 {
		do(items[0])
		return
	}
	var wg sync.WaitGroup
	next := make(chan T)
	for range min(parallel, len(items)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for it := range next {
				do(it)
			}
		}()
	}
	for _, it := range items {
		next <- it
	}
	close(next)
	wg.Wait()
}
