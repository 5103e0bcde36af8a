package argocd

import (
	"context"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
)

// InCluster reads and writes the objects of a cluster, as Plumb itself: who may
// ask for what was judged before. local returns nil while this process does not
// lead.
func InCluster(local func() *cluster.Cluster) Objects { return inCluster{local, &feeds{}} }

type inCluster struct {
	local func() *cluster.Cluster
	feeds *feeds
}

// manager is the field manager of what people change by this API, as upstream's
// server has it.
const manager = "argocd-server"

// errNotLeading is for a process that is starting, or that another one replaces.
var errNotLeading = failed(connect.CodeUnavailable, "this replica does not lead, or is just starting; try again in a moment")

func (o inCluster) session(ctx context.Context, kind Kind) (*cluster.Session, cluster.Kind, error) {
	local := o.local()
	if local == nil {
		return nil, cluster.Kind{}, errNotLeading
	}
	served, err := local.Resolve(ctx, schema.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind})
	if err != nil {
		return nil, cluster.Kind{}, err
	}
	return local.As(model.Identity{}), served, nil
}

// Get reads one object.
func (o inCluster) Get(ctx context.Context, kind Kind, namespace, name string) (*unstructured.Unstructured, error) {
	session, served, err := o.session(ctx, kind)
	if err != nil {
		return nil, err
	}
	return session.Get(ctx, served, namespace, name)
}

// List lists objects.
func (o inCluster) List(ctx context.Context, kind Kind, namespace string, selector labels.Selector) ([]*unstructured.Unstructured, string, error) {
	session, served, err := o.session(ctx, kind)
	if err != nil {
		return nil, "", err
	}
	opts := cluster.ListOptions{Namespace: namespace}
	if selector != nil {
		opts.LabelSelector = selector.String()
	}
	seen := map[types.UID]int{}
	var out []*unstructured.Unstructured
	version, err := session.List(ctx, served, opts, func(found *unstructured.Unstructured) error {
		if i, again := seen[found.GetUID()]; again { // the list had to start anew
			out[i] = found
			return nil
		}
		seen[found.GetUID()] = len(out)
		out = append(out, found)
		return nil
	})
	return out, version, err
}

// Create stores a new object.
func (o inCluster) Create(ctx context.Context, kind Kind, wanted *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	session, served, err := o.session(ctx, kind)
	if err != nil {
		return nil, err
	}
	return session.Create(ctx, served, wanted, cluster.WriteOptions{Manager: manager})
}

// Update replaces an object.
func (o inCluster) Update(ctx context.Context, kind Kind, wanted *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	session, served, err := o.session(ctx, kind)
	if err != nil {
		return nil, err
	}
	return session.Update(ctx, served, wanted, cluster.WriteOptions{Manager: manager})
}

// Patch changes an object.
func (o inCluster) Patch(ctx context.Context, kind Kind, namespace, name string, patch types.PatchType, body []byte) (*unstructured.Unstructured, error) {
	session, served, err := o.session(ctx, kind)
	if err != nil {
		return nil, err
	}
	return session.Patch(ctx, served, namespace, name, cluster.PatchOptions{Type: patch, Manager: manager}, body)
}

// Delete asks for a deletion.
func (o inCluster) Delete(ctx context.Context, kind Kind, namespace, name string) error {
	session, served, err := o.session(ctx, kind)
	if err != nil {
		return err
	}
	return session.Delete(ctx, served, namespace, name, cluster.DeleteOptions{})
}

// Watch follows objects on a feed that is shared with everybody who looks at the
// same kind.
func (o inCluster) Watch(ctx context.Context, kind Kind, namespace string, each func(watch.EventType, *unstructured.Unstructured), synced func()) error {
	local := o.local()
	if local == nil {
		return errNotLeading
	}
	f, leave := o.feeds.join(feedOf{local, kind}, func(h cluster.Handler) func() {
		return local.Watch(context.Background(), cluster.WatchSpec{GVK: schema.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind}}, h)
	})
	defer leave()
	return f.follow(ctx, func() bool { return o.local() == local }, func(typ watch.EventType, found *unstructured.Unstructured) {
		if namespace == "" || found.GetNamespace() == namespace {
			each(typ, found)
		}
	}, synced)
}
