package engine

import (
	"context"
	"sort"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// place is where a step stands in an operation. The zero value is before all.
type place struct {
	phase  model.SyncPhase
	wave   int
	prunes bool // the deletions, after every wave of Sync
}

// before reports whether p comes before q.
func (p place) before(q place) bool {
	rank := map[model.SyncPhase]int{model.PreSync: 1, model.Sync: 2, model.PostSync: 3, model.SyncFail: 4}
	switch {
	case p.phase != q.phase:
		return rank[p.phase] < rank[q.phase]
	case p.prunes != q.prunes:
		return q.prunes
	}
	return p.wave < q.wave
}

// step is one wave of one phase: its changes, its hooks, and the objects whose
// health it answers for.
type step struct {
	at      place
	waves   []model.Wave
	hooks   []model.Desired
	objects []object.ID
}

// busy reports whether the step has anything to do.
func (s *step) busy() bool { return len(s.waves) > 0 || len(s.hooks) > 0 }

// steps orders an operation. Steps that have nothing to do are left out.
func (r *run) steps() []step {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	found := map[place]*step{}
	at := func(p place) *step {
		s := found[p]
		if s == nil {
			s = &step{at: p}
			found[p] = s
		}
		return s
	}
	for _, w := range r.plan.Waves {
		s := at(place{phase: model.Sync, wave: w.Step, prunes: w.Prunes})
		s.waves = append(s.waves, w)
	}
	for i := range r.d.desired {
		want := &r.d.desired[i]
		p := place{phase: model.Sync, wave: want.Stage.Wave}
		if _, changed := r.syncingResult(want.ID); changed || r.d.sync != nil && r.d.sync.waits {
			at(p)
		}
		if s := found[p]; s != nil {
			s.objects = append(s.objects, want.ID)
		}
	}
	if r.runsHooks() {
		r.addHooks(at, model.PreSync, model.Sync, model.PostSync)
	}
	return sorted(found)
}

// syncingResult is what the operation has done to an object so far. The caller
// holds e.mu.
func (r *run) syncingResult(id object.ID) (model.SyncResult, bool) {
	if r.d.sync == nil {
		return model.SyncResult{}, false
	}
	res, ok := r.d.sync.results[resultKey{model.Sync, id}]
	return res, ok
}

// runsHooks reports whether the operation runs hooks: neither a selective sync
// nor one with the strategy "apply" does (Argo CD, "Selective Sync"). The
// caller holds e.mu.
func (r *run) runsHooks() bool {
	op := r.d.sync
	return op != nil && !op.op.NoHooks && len(op.op.Objects) == 0
}

func (r *run) addHooks(at func(place) *step, phases ...model.SyncPhase) {
	for i := range r.d.hooks {
		for _, phase := range r.d.hooks[i].Stage.Hooks {
			for _, wanted := range phases {
				if phase == wanted {
					s := at(place{phase: phase, wave: r.d.hooks[i].Stage.Wave})
					s.hooks = append(s.hooks, r.d.hooks[i])
				}
			}
		}
	}
}

func sorted(found map[place]*step) []step {
	steps := make([]step, 0, len(found))
	for _, s := range found {
		steps = append(steps, *s)
	}
	sort.Slice(steps, func(i, j int) bool {
		a, b := &steps[i], &steps[j]
		if a.at.prunes && b.at.prunes {
			return a.at.wave < b.at.wave
		}
		return a.at.before(b.at)
	})
	return steps
}

var namespaces = schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}

// ensureNamespace makes the target's namespace before anything goes into it
// (syncOption CreateNamespace). It is nobody's afterwards: a namespace is not
// deleted with the delivery that asked for it.
func (r *run) ensureNamespace(ctx context.Context, op *syncing) error {
	options := r.options(op)
	name := r.spec.Target.Namespace
	if !options.CreateNamespace || name == "" || r.wantsNamespace(name) {
		return nil
	}
	id := object.ID{Kind: "Namespace", Name: name}
	if f := gate.Permits(&r.spec.Permit, id, false); f != nil {
		f.Object, f.Origin = id, r.spec.Origin
		return f
	}
	kind, err := r.cluster.Resolve(ctx, namespaces)
	if err != nil {
		return cluster.Explain(err, "discover", id, r.spec.Origin)
	}
	live, err := r.session.Get(ctx, kind, "", name)
	managed := len(options.NamespaceLabels) > 0 || len(options.NamespaceNotes) > 0
	switch {
	case err == nil && (!managed || holds(live.GetLabels(), options.NamespaceLabels) && holds(live.GetAnnotations(), options.NamespaceNotes)):
		return nil
	case err != nil && !apierrors.IsNotFound(err):
		return cluster.Explain(err, "get", id, r.spec.Origin)
	}
	body, err := object.Canonical(map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "labels": anyMap(options.NamespaceLabels), "annotations": anyMap(options.NamespaceNotes)},
	})
	if err != nil {
		return asFault(err, "SyncError")
	}
	if _, err := r.session.Apply(ctx, kind, body, cluster.ApplyOptions{Manager: r.spec.Ownership.FieldManager, Force: true}); err != nil {
		return cluster.Explain(err, "create", id, r.spec.Origin)
	}
	return nil
}

// options are those of the operation, or else of the policy.
func (r *run) options(op *syncing) *model.SyncOptions {
	if op != nil && op.op.Options != nil {
		return op.op.Options
	}
	return &r.spec.Sync.Options
}

// wantsNamespace reports whether the namespace is among what is rendered.
func (r *run) wantsNamespace(name string) bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	for i := range r.d.desired {
		if id := r.d.desired[i].ID; id.Kind == "Namespace" && id.Group == "" && id.Name == name {
			return true
		}
	}
	return false
}

func holds(has, want map[string]string) bool {
	for k, v := range want {
		if has[k] != v {
			return false
		}
	}
	return true
}

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
