package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/source"
)

// hook is an object that runs as a hook: it is neither compared nor owned, and
// it is watched until it is complete.
type hook struct {
	owner   object.ID
	uid     string
	message string
	phase   model.OperationPhase
	at      model.SyncPhase // that it runs in
	spent   bool            // of an operation, or a try of it, that has ended: the next one needs another
}

// runHooks starts the hooks of a step that do not run yet, and keeps how all of
// them are doing.
func (r *run) runHooks(ctx context.Context, op *syncing, s *step) error {
	if err := r.placeHooks(ctx, s); err != nil {
		return err
	}
	var failed error
	each(s.hooks, func(want model.Desired) {
		res, err := r.runHook(ctx, op, s.at.phase, &want)
		r.e.mu.Lock()
		defer r.e.mu.Unlock()
		if err != nil {
			res.HookPhase, res.Code, res.Message = model.OperationFailed, model.ResultFailed, err.Error()
			if failed == nil {
				failed = err
			}
		}
		op.results[resultKey{s.at.phase, want.ID}] = res
	})
	return failed
}

// placeHooks settles the namespace of hooks whose kinds were not served when they
// were rendered: what is synced before them may bring the definition.
func (r *run) placeHooks(ctx context.Context, s *step) error {
	for i := range s.hooks {
		want := &s.hooks[i]
		if want.ID.Namespace != "" || r.spec.Target.Namespace == "" {
			continue
		}
		kind, err := r.kindOfHook(ctx, s.at.phase, want)
		if err != nil || !kind.Namespaced {
			continue // that it is not served is told by the hook itself
		}
		placed := model.Rendered{ID: want.ID, Version: want.Version, JSON: want.JSON}
		if err := replace(&placed, r.spec.Target.Namespace); err != nil {
			return err
		}
		r.e.mu.Lock()
		for j := range r.d.hooks {
			if h := &r.d.hooks[j]; h.ID == want.ID && bytes.Equal(h.JSON, want.JSON) {
				h.ID, h.JSON = placed.ID, placed.JSON
			}
		}
		r.e.mu.Unlock()
		want.ID, want.JSON = placed.ID, placed.JSON
	}
	return nil
}

// kindOfHook resolves the kind of a hook. One that the delivery itself defines is
// waited for, once its definition has been applied.
func (r *run) kindOfHook(ctx context.Context, phase model.SyncPhase, want *model.Desired) (cluster.Kind, error) {
	gvk := schema.GroupVersionKind{Group: want.ID.Group, Version: want.Version, Kind: want.ID.Kind}
	if phase == model.PreSync || !r.defines(gvk.GroupKind()) {
		return r.cluster.Resolve(ctx, gvk)
	}
	within, cancel := context.WithTimeout(ctx, r.spec.Policy.Timeout)
	defer cancel()
	return r.kind(within, model.Change{Object: want.ID, Version: want.Version})
}

// runHook starts one hook, or tells how it is doing.
func (r *run) runHook(ctx context.Context, op *syncing, phase model.SyncPhase, want *model.Desired) (model.SyncResult, error) {
	r.e.mu.Lock()
	res, known := op.results[resultKey{phase, want.ID}]
	id := hookID(op, phase, want, r.trees)
	running, spent := r.e.book.hooks[key{r.d.cluster, id}], ""
	if running != nil && (running.spent || running.at != phase && running.phase.Completed()) {
		running, spent = nil, running.uid // of another operation, or of an earlier phase: it runs in each
	}
	if known && running != nil {
		res.HookPhase, res.Message = running.phase, running.message
	}
	r.e.mu.Unlock()
	if known && res.HookPhase.Completed() || running != nil {
		return res, nil
	}
	res = model.SyncResult{Object: id, Version: want.Version, Code: model.ResultSynced, Hook: phase, Phase: phase, HookPhase: model.OperationRunning}
	kind, err := r.cluster.Resolve(ctx, schema.GroupVersionKind{Group: id.Group, Version: want.Version, Kind: id.Kind})
	if err != nil {
		return res, cluster.Explain(err, "discover", id, want.Origin)
	}
	live, err := r.ofThisOperation(ctx, op, kind, id, want, spent)
	if err != nil {
		return res, err
	}
	r.listen(id, want.Version, phase)
	if live == nil {
		r.e.mu.Lock()
		if op.tried != nil {
			op.tried[id] = true
		}
		r.e.mu.Unlock()
		if live, err = r.start(ctx, kind, id, want); err != nil {
			r.e.mu.Lock()
			delete(r.e.book.hooks, key{r.d.cluster, id})
			r.e.mu.Unlock()
			return res, err
		}
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if h := r.e.book.hooks[key{r.d.cluster, id}]; h != nil {
		r.e.judgeHook(r.d, h, live)
		res.HookPhase, res.Message = h.phase, h.message
	}
	return res, nil
}

// hookID is the identity of a hook in an operation. One without a name gets one
// that the same operation finds again.
func hookID(op *syncing, phase model.SyncPhase, want *model.Desired, trees []*source.Tree) object.ID {
	id := want.ID
	if id.Name != "" {
		return id
	}
	o := &unstructured.Unstructured{}
	if o.UnmarshalJSON(want.JSON) != nil {
		return id
	}
	revision := "none"
	if len(trees) > 0 {
		revision = trees[0].Commit().Hash
	}
	const short = 7
	id.Name = strings.ToLower(fmt.Sprintf("%s%s-%s-%d", o.GetGenerateName(), revision[:min(short, len(revision))], phase, op.started.Unix()))
	return id
}

// ofThisOperation is the hook as it is, if this operation made it; what an
// earlier one left goes first, as its delete policy says. spent is the uid of
// one that is known to be an earlier one's: times have whole seconds only. Nor has
// an operation that this process began made what it has not tried to make.
func (r *run) ofThisOperation(ctx context.Context, op *syncing, kind cluster.Kind, id object.ID, want *model.Desired, spent string) (*unstructured.Unstructured, error) {
	live, err := r.session.Get(ctx, kind, id.Namespace, id.Name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, cluster.Explain(err, "get", id, want.Origin)
	}
	if !r.isHook(live) {
		return nil, &model.Fault{
			Reason: "SyncError", Object: id, Origin: want.Origin,
			Message: fmt.Sprintf("hook %s would take the place of an object that no sync of %s made", id, r.spec.ID),
			Advice:  "give the hook another name, or delete the object",
		}
	}
	r.e.mu.Lock()
	may := op.tried == nil || op.tried[id]
	r.e.mu.Unlock()
	if may && live.GetDeletionTimestamp() == nil && string(live.GetUID()) != spent && !live.GetCreationTimestamp().Time.Before(op.started) {
		return live, nil
	}
	policies := want.Stage.OnDelete
	if len(policies) > 0 && !slices.Contains(policies, model.BeforeHookCreation) && live.GetDeletionTimestamp() == nil {
		return nil, nil // applied over
	}
	return nil, r.removeHook(ctx, kind, id, string(live.GetUID()), want.Origin, true)
}

// isHook reports whether a live object is a hook of the delivery. Those of a
// Helm release have its name only in the records.
func (r *run) isHook(live *unstructured.Unstructured) bool {
	if r.spec.Release != nil {
		_, role := helm.ReadHook(live.GetKind(), live.GetName(), live.GetAnnotations())
		return role == helm.Hooked
	}
	_, stage := r.e.opts.Words.Handling(r.spec.Origin.Dialect, live)
	return marked(live, &r.spec.Ownership) && stage.Hook()
}

// start applies a hook.
func (r *run) start(ctx context.Context, kind cluster.Kind, id object.ID, want *model.Desired) (*unstructured.Unstructured, error) {
	body := want.JSON
	if want.ID.Name == "" {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(body); err != nil {
			return nil, asFault(err, "SyncError")
		}
		o.SetName(id.Name)
		o.SetGenerateName("")
		Mark(&r.spec.Ownership, o)
		var err error
		if body, err = object.Canonical(o.Object); err != nil {
			return nil, asFault(err, "SyncError")
		}
	}
	live, err := r.session.Apply(ctx, kind, body, cluster.ApplyOptions{Manager: r.spec.Ownership.FieldManager, Force: true})
	switch {
	case err != nil && want.Secret:
		return nil, cluster.ExplainSensitive(err, "create", id, want.Origin)
	case err != nil:
		return nil, cluster.Explain(err, "create", id, want.Origin)
	}
	return live, nil
}

// listen watches a hook from before it exists.
func (r *run) listen(id object.ID, version string, phase model.SyncPhase) {
	e := r.e
	e.mu.Lock()
	defer e.mu.Unlock()
	e.book.hooks[key{r.d.cluster, id}] = &hook{owner: r.spec.ID, phase: model.OperationRunning, at: phase}
	e.follow(r.cluster, schema.GroupVersionKind{Group: id.Group, Version: version, Kind: id.Kind})
}

// hearHook judges what a watch says of a hook. The caller holds e.mu.
func (e *Engine) hearHook(h *hook, o *unstructured.Unstructured, deleted bool) {
	if h.spent || h.phase.Completed() || h.uid != "" && h.uid != string(o.GetUID()) {
		return
	}
	if deleted {
		if h.uid != "" {
			h.phase, h.message = model.OperationFailed, "the hook was deleted before it was complete"
			e.queue.add(h.owner, changed)
		}
		return
	}
	d := e.book.deliveries[h.owner]
	if d == nil || o.GetDeletionTimestamp() != nil && h.uid == "" {
		return // of an earlier operation
	}
	if was := h.phase; h.uid != "" {
		e.judgeHook(d, h, o)
		if h.phase != was {
			e.queue.add(h.owner, changed)
		}
	}
}

// judgeHook derives the phase of a hook from its health; one of a kind without
// health is complete once it exists. The caller holds e.mu.
func (e *Engine) judgeHook(d *delivery, h *hook, live *unstructured.Unstructured) {
	h.uid = string(live.GetUID())
	if d.spec.Release != nil {
		h.phase, h.message = hookOfRelease(live)
		return
	}
	health := e.judgeHealth(d, live)
	h.message = health.Message
	switch health.State {
	case "", model.Current:
		h.phase = model.OperationSucceeded
	case model.Unhealthy, model.Unknown:
		h.phase = model.OperationFailed
	default:
		h.phase = model.OperationRunning
	}
}

// hookOfRelease is the phase of a hook as Helm judges it: Jobs and Pods have to
// be complete, anything else only has to exist (Helm, WatchUntilReady).
func hookOfRelease(live *unstructured.Unstructured) (model.OperationPhase, string) {
	switch live.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "batch", Kind: "Job"}:
		conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		for _, item := range conditions {
			condition, _ := item.(map[string]any)
			if condition["status"] != "True" {
				continue
			}
			message, _ := condition["message"].(string)
			switch condition["type"] {
			case "Complete":
				return model.OperationSucceeded, message
			case "Failed":
				reason, _ := condition["reason"].(string)
				return model.OperationFailed, "job " + live.GetName() + " failed: " + reason
			}
		}
		return model.OperationRunning, ""
	case schema.GroupKind{Kind: "Pod"}:
		message, _, _ := unstructured.NestedString(live.Object, "status", "message")
		switch phase, _, _ := unstructured.NestedString(live.Object, "status", "phase"); phase {
		case "Succeeded":
			return model.OperationSucceeded, message
		case "Failed":
			return model.OperationFailed, "pod " + live.GetName() + " failed"
		}
		return model.OperationRunning, message
	}
	return model.OperationSucceeded, ""
}

// spendHooks notes that the hooks which a delivery has run are those of an
// operation that has ended. The caller holds e.mu.
func (e *Engine) spendHooks(owner object.ID) {
	for _, h := range e.book.hooks {
		if h.owner == owner {
			h.spent = true
		}
	}
}

// dropHooks forgets the hooks of a delivery. The caller holds e.mu.
func (e *Engine) dropHooks(owner object.ID) {
	for k, h := range e.book.hooks {
		if h.owner == owner {
			delete(e.book.hooks, k)
		}
	}
}

// failHooks runs the SyncFail hooks of an operation that failed, and says what
// it waits for.
func (r *run) failHooks(ctx context.Context, op *syncing) (string, error) {
	r.e.mu.Lock()
	found := map[place]*step{}
	if r.runsHooks() {
		r.addHooks(func(p place) *step {
			if found[p] == nil {
				found[p] = &step{at: p}
			}
			return found[p]
		}, model.SyncFail)
	}
	steps := sorted(found)
	r.e.mu.Unlock()
	for i := range steps {
		err := r.runHooks(ctx, op, &steps[i])
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		var waiting string
		if err == nil {
			waiting, err = r.settledStep(op, &steps[i], false)
		}
		if err != nil {
			return "", nil //nolint:nilerr // the operation has failed for another reason already
		}
		if waiting != "" {
			return waiting, nil
		}
	}
	return "", nil
}

// leftover is a hook that is to be deleted after its operation.
type leftover struct {
	id      object.ID
	version string
}

// leftovers lists the hooks of an operation that their delete policies want
// gone. The caller holds e.mu.
func (r *run) leftovers(rep *model.OperationReport) []leftover {
	policies := map[object.ID][]model.HookDeletePolicy{}
	for i := range r.d.hooks {
		policies[r.d.hooks[i].ID] = r.d.hooks[i].Stage.OnDelete
	}
	var out []leftover
	for _, res := range rep.Results {
		if res.Hook == "" {
			continue
		}
		of := policies[res.Object]
		if of == nil { // a generated name: its policies are those of the hook of that kind
			for id, p := range policies {
				if id.Name == "" && id.GroupKind() == res.Object.GroupKind() && id.Namespace == res.Object.Namespace {
					of = p
				}
			}
		}
		if res.HookPhase == model.OperationSucceeded && slices.Contains(of, model.HookSucceeded) ||
			res.HookPhase == model.OperationFailed && slices.Contains(of, model.HookFailed) {
			out = append(out, leftover{res.Object, res.Version})
		}
	}
	return out
}

// sweep deletes hooks after their operation. It may happen twice: only what the
// operation itself made goes.
func (r *run) sweep(ctx context.Context, rep *model.OperationReport, hooks []leftover) error {
	for _, h := range hooks {
		kind, err := r.served(ctx, h.id, h.version)
		var unknown *cluster.UnknownKindError
		if errors.As(err, &unknown) {
			continue
		}
		if err != nil {
			return cluster.Explain(err, "discover", h.id, r.spec.Origin)
		}
		live, err := r.session.Get(ctx, kind, h.id.Namespace, h.id.Name)
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return cluster.Explain(err, "get", h.id, r.spec.Origin)
		case live.GetCreationTimestamp().Time.Before(rep.Started.Truncate(time.Second)) || !marked(live, &r.spec.Ownership):
			continue
		}
		if err := r.removeHook(ctx, kind, h.id, string(live.GetUID()), r.spec.Origin, false); err != nil {
			return err
		}
	}
	r.e.mu.Lock()
	r.d.swept = rep.Started
	r.e.mu.Unlock()
	return nil
}

// sweepLast deletes what the last operation before a restart has left.
func (r *run) sweepLast(ctx context.Context) error {
	r.e.mu.Lock()
	last := r.spec.Finished
	if last == nil || r.d.last != nil || !r.d.swept.IsZero() {
		r.e.mu.Unlock()
		return nil
	}
	r.d.swept = last.Started
	left := r.leftovers(last)
	r.e.mu.Unlock()
	return r.sweep(ctx, last, left)
}

// stopHooks deletes the hooks that still run.
func (r *run) stopHooks(ctx context.Context, op *syncing) error {
	for k, res := range op.results {
		if res.Hook == "" || res.HookPhase.Completed() {
			continue
		}
		kind, err := r.served(ctx, res.Object, res.Version)
		if err != nil {
			return cluster.Explain(err, "discover", res.Object, r.spec.Origin)
		}
		if err := r.removeHook(ctx, kind, res.Object, "", r.spec.Origin, false); err != nil {
			return err
		}
		res.HookPhase, res.Message = model.OperationFailed, "terminated"
		op.results[k] = res
	}
	return nil
}

// removeHook deletes a hook, and waits until it is gone if its place is needed.
func (r *run) removeHook(ctx context.Context, kind cluster.Kind, id object.ID, uid string, origin model.Origin, wait bool) error {
	err := r.session.Delete(ctx, kind, id.Namespace, id.Name, cluster.DeleteOptions{UID: uid, Propagation: metav1.DeletePropagationBackground})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return cluster.Explain(err, "delete", id, origin)
	}
	if !wait {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, r.spec.Policy.Timeout)
	defer cancel()
	if err := r.gone(within, kind, id); err != nil {
		return &model.Fault{
			Reason: "SyncError", Retry: true, Object: id, Origin: origin,
			Message: fmt.Sprintf("hook %s of an earlier sync is being deleted and not gone yet", id), Advice: "look at its finalizers",
		}
	}
	return nil
}

// gone waits until an object is gone.
func (r *run) gone(ctx context.Context, kind cluster.Kind, id object.ID) error {
	for pause := 20 * time.Millisecond; ; pause = min(pause*2, time.Second) {
		if _, err := r.session.Get(ctx, kind, id.Namespace, id.Name); apierrors.IsNotFound(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// hooksLeft lists the hooks that syncs may have left: they go with the delivery
// as everything does that carries its marks. Those of the deletion itself go
// where their delete policies say so, and else stay, for people to see how it
// went.
func (r *run) hooksLeft() []leftover {
	if !r.spec.Sync.Staged {
		return nil
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	versions := map[object.ID]string{}
	for i := range r.d.hooks {
		h := &r.d.hooks[i]
		if ofDeletion := slices.Contains(h.Stage.Hooks, model.PreDelete) || slices.Contains(h.Stage.Hooks, model.PostDelete); h.ID.Name != "" && !ofDeletion {
			versions[h.ID] = h.Version
		}
	}
	for _, op := range []*model.OperationReport{r.spec.Finished, r.d.last} {
		if op == nil {
			continue
		}
		for _, res := range op.Results {
			if res.Hook != "" {
				versions[res.Object] = res.Version
			}
		}
	}
	left := make([]leftover, 0, len(versions))
	for id, version := range versions {
		left = append(left, leftover{id, version})
	}
	if r.d.ending != nil {
		left = append(left, r.leftovers(r.d.ending.account())...)
	}
	return left
}
