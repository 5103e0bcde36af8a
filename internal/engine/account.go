package engine

import (
	"slices"
	"sort"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
)

// account puts the state of every object of a staged delivery into the report.
// The caller holds e.mu.
func (r *run) account() {
	d, rep := r.d, r.report
	rep.Operation = d.last
	if d.sync != nil {
		rep.Operation = d.sync.tell()
	}
	if r.plan == nil || d.fault != nil || r.own() {
		// Nothing was compared: what is known of the objects stands, not that
		// they are as Git wants them.
		if d.fault != nil {
			rep.Compared, rep.Sync = false, model.SyncUnknown
		}
		return
	}
	rep.Compared, rep.Sync, rep.Images, rep.Orphans = true, model.Synced, d.images, d.orphans
	resources := make([]model.Resource, 0, len(d.desired))
	wanted := make(map[object.ID]bool, len(d.desired))
	for i := range d.desired {
		want := &d.desired[i]
		if want.Handle.Disabled {
			continue
		}
		wanted[want.ID] = true
		resources = append(resources, r.resource(want))
	}
	for k, version := range r.e.book.owned[r.spec.ID] {
		if k.cluster == d.cluster && !wanted[k.id] {
			resources = append(resources, r.extra(k, version))
		}
	}
	worst := 0
	for i := range resources {
		res := &resources[i]
		if res.Sync == model.OutOfSync && (!res.Prune || !r.ignoresExtraneous(res.ID)) {
			rep.Sync = model.OutOfSync
		}
		if en := r.e.book.entries[key{d.cluster, res.ID}]; en != nil && !res.Prune {
			rep.ExternalURLs = append(rep.ExternalURLs, en.links...)
		}
		if res.Health != nil && !res.Weightless && !res.Prune {
			worst = max(worst, severity[res.Health.State])
		}
	}
	slices.Sort(rep.ExternalURLs)
	rep.ExternalURLs = slices.Compact(rep.ExternalURLs)
	healthy := worst == 0
	rep.Healthy = &healthy
	for i := range d.hooks {
		if h := &d.hooks[i]; slices.Contains(h.Stage.Hooks, model.PreDelete) || slices.Contains(h.Stage.Hooks, model.PostDelete) {
			resources = append(resources, model.Resource{ID: h.ID, Version: h.Version, Sync: model.Synced, Stage: h.Stage, Weightless: true})
		}
	}
	sort.Slice(resources, func(i, j int) bool { return resources[i].ID.Less(resources[j].ID) })
	rep.Resources = resources
}

// account is what there is to tell of an operation now.
func (s *syncing) account() *model.OperationReport {
	rep := &model.OperationReport{Operation: s.op, Phase: model.OperationRunning, Message: s.waiting, Started: s.started, Retries: s.retries}
	if s.op.Terminate {
		rep.Phase = model.OperationTerminating
	}
	for _, tree := range s.trees {
		rep.Revisions = append(rep.Revisions, tree.Revision())
	}
	for _, res := range s.results {
		rep.Results = append(rep.Results, res)
	}
	order := map[model.SyncPhase]int{model.PreSync: 0, model.Sync: 1, model.PostSync: 2, model.SyncFail: 3, model.PreDelete: 4, model.PostDelete: 5}
	sort.Slice(rep.Results, func(i, j int) bool {
		a, b := &rep.Results[i], &rep.Results[j]
		if a.Phase != b.Phase {
			return order[a.Phase] < order[b.Phase]
		}
		return a.Object.Less(b.Object)
	})
	return rep
}

// tell keeps the account of now for those who ask, and returns it. The caller
// holds e.mu.
func (s *syncing) tell() *model.OperationReport {
	s.told = s.account()
	return s.told
}

// progress tells how far an operation has come.
func (r *run) progress(op *syncing) *model.OperationReport {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return op.tell()
}

// severity ranks health as Argo CD does: the worst of an application's objects
// is its own.
var severity = map[model.Healthiness]int{
	model.Current: 0, model.Paused: 1, model.InProgress: 2, model.Terminating: 2, model.NotFound: 3, model.Unhealthy: 4, model.Unknown: 5,
}

// resource is the account of one wanted object. The caller holds e.mu.
func (r *run) resource(want *model.Desired) model.Resource {
	en := r.e.book.entries[key{r.d.cluster, want.ID}]
	res := model.Resource{ID: want.ID, Version: want.Version, Sync: model.OutOfSync, Stage: want.Stage, Weightless: want.Handle.Weightless}
	seen, looked := r.seen[want.ID]
	switch {
	case en != nil && en.owner == r.spec.ID && en.hasBase():
		if en.base.Inputs == want.Digest && en.drift == "" && !en.missing {
			res.Sync = model.Synced
		}
		res.Health = healthOf(en.health)
	case en != nil && en.owner != r.spec.ID && en.seen && !en.missing:
		res.Health = healthOf(en.health) // another delivery has it
	case en != nil && en.missing, looked && seen.Presence == plan.Missing:
		res.Health = &model.Health{State: model.NotFound, Reason: "NotFound"}
	case looked:
		if seen.Same {
			res.Sync = model.Synced
		}
		if seen.live != nil {
			seen.health = r.e.judgeHealth(r.d, seen.live)
		}
		res.Health = healthOf(seen.health)
	default:
		res.Health = &model.Health{State: model.NotFound, Reason: "NotFound"}
	}
	if en != nil && en.handle.IfNotPresent && !en.missing {
		res.Sync = model.Synced
	}
	return res
}

// extra is the account of an object that is owned and no longer wanted. The
// caller holds e.mu.
func (r *run) extra(k key, version string) model.Resource {
	en := r.e.book.entries[k]
	return model.Resource{
		ID: k.id, Version: version, Sync: model.OutOfSync, Prune: true,
		Health: healthOf(en.health), Confirm: en.handle.Confirm && !r.spec.Confirmed, Weightless: true,
	}
}

// ignoresExtraneous reports whether an object that is not wanted any more is no
// difference. The caller holds e.mu.
func (r *run) ignoresExtraneous(id object.ID) bool {
	en := r.e.book.entries[key{r.d.cluster, id}]
	return r.spec.Policy.Compare.IgnoreExtraneous || en != nil && en.handle.IgnoreExtraneous
}

func healthOf(h model.Health) *model.Health {
	if h.State == "" {
		return nil
	}
	return &h
}

// imagesOf lists the images of wanted workloads.
func imagesOf(objects []model.Desired) []string {
	var images []string
	for i := range objects {
		at := PodSpec(objects[i].ID.GroupKind())
		if at == nil {
			continue
		}
		o := &unstructured.Unstructured{}
		if o.UnmarshalJSON(objects[i].JSON) != nil {
			continue
		}
		spec, _, _ := unstructured.NestedMap(o.Object, at...)
		for _, list := range []string{"initContainers", "containers"} {
			containers, _, _ := unstructured.NestedSlice(spec, list)
			for _, c := range containers {
				if m, ok := c.(map[string]any); ok {
					if image, ok := m["image"].(string); ok && image != "" {
						images = append(images, image)
					}
				}
			}
		}
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// PodSpec says where a workload keeps the specification of its pods; nil where it
// is none. The path must not be changed.
func PodSpec(kind schema.GroupKind) []string { return podTemplates[kind.String()] }

var podTemplates = map[string][]string{
	"Pod":                   {"spec"},
	"Deployment.apps":       {"spec", "template", "spec"},
	"StatefulSet.apps":      {"spec", "template", "spec"},
	"DaemonSet.apps":        {"spec", "template", "spec"},
	"ReplicaSet.apps":       {"spec", "template", "spec"},
	"Job.batch":             {"spec", "template", "spec"},
	"CronJob.batch":         {"spec", "jobTemplate", "spec", "template", "spec"},
	"Rollout.argoproj.io":   {"spec", "template", "spec"},
	"ReplicationController": {"spec", "template", "spec"},
}
