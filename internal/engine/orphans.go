package engine

import (
	"context"
	"sort"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/object"
)

// maxOrphans bounds what is told of one namespace.
const maxOrphans = 1000

// lookForOrphans lists the objects in the target's namespace that nobody owns
// (AppProject spec.orphanedResources). It looks with the delivery's rights when
// a person asks for a refresh, at the first run and after a sync, never by a
// timer: an orphan harms nobody.
func (r *run) lookForOrphans(ctx context.Context, due bool) error {
	namespace := r.spec.Target.Namespace
	if o := r.spec.Sync.Orphans; o == nil || !o.Warn || namespace == "" {
		r.d.orphans = nil
		return nil
	}
	if !due && r.d.report != nil {
		return nil
	}
	served, err := r.cluster.APIs(ctx)
	if err != nil {
		return asFault(err, "ComparisonError")
	}
	var found []object.ID
	for _, gvk := range onePerKind(served.Kinds) {
		kind, err := r.cluster.Resolve(ctx, gvk)
		if err != nil || !kind.Namespaced || !kind.Watchable || derived[gvk.GroupKind()] {
			continue
		}
		_, err = r.session.List(ctx, kind, cluster.ListOptions{Namespace: namespace, MetadataOnly: true}, func(o *unstructured.Unstructured) error {
			id := object.Of(o)
			if id.Kind == "" {
				id.Group, id.Kind = gvk.Group, gvk.Kind
			}
			if len(found) < maxOrphans && len(o.GetOwnerReferences()) == 0 && !r.knownOrphan(id) {
				found = append(found, id)
			}
			return nil
		})
		switch {
		case apierrors.IsForbidden(err), apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
		case err != nil:
			return asFault(err, "ComparisonError")
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Less(found[j]) })
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.d.orphans = r.unowned(found)
	return nil
}

// derived are kinds whose objects are made by the cluster of other objects.
var derived = map[schema.GroupKind]bool{
	{Kind: "Event"}: true, {Group: "events.k8s.io", Kind: "Event"}: true,
	{Kind: "Endpoints"}: true, {Group: "discovery.k8s.io", Kind: "EndpointSlice"}: true,
	{Group: "coordination.k8s.io", Kind: "Lease"}: true, {Group: "apps", Kind: "ControllerRevision"}: true,
}

// onePerKind keeps the first version of each kind.
func onePerKind(kinds []schema.GroupVersionKind) []schema.GroupVersionKind {
	seen := map[schema.GroupKind]bool{}
	var out []schema.GroupVersionKind
	for _, gvk := range kinds {
		if !seen[gvk.GroupKind()] {
			seen[gvk.GroupKind()] = true
			out = append(out, gvk)
		}
	}
	return out
}

// knownOrphan reports whether an object belongs to nobody in every namespace,
// or the project says that it need not be told.
func (r *run) knownOrphan(id object.ID) bool {
	switch {
	case id.Kind == "ServiceAccount" && id.Group == "" && id.Name == "default",
		id.Kind == "ConfigMap" && id.Group == "" && id.Name == "kube-root-ca.crt",
		id.Kind == "Service" && id.Group == "" && id.Namespace == "default" && id.Name == "kubernetes",
		id.Kind == "Secret" && id.Group == "" && strings.HasPrefix(id.Name, "default-token-"):
		return true
	}
	matches := func(pattern, text string) bool { return pattern == "" || pattern == text || gate.Glob(pattern, text) }
	for _, rule := range r.spec.Sync.Orphans.Ignore {
		if matches(rule.Group, id.Group) && matches(rule.Kind, id.Kind) && matches(rule.Name, id.Name) {
			return true
		}
	}
	return false
}

// unowned leaves out what a delivery wants or owns. The caller holds e.mu.
func (r *run) unowned(found []object.ID) []object.ID {
	out := found[:0]
	for _, id := range found {
		k := key{r.d.cluster, id}
		if r.e.book.entries[k] == nil && len(r.e.book.wants[k]) == 0 && r.e.book.hooks[k] == nil && r.e.book.deliveries[id] == nil {
			out = append(out, id)
		}
	}
	return out
}
