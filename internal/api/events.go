package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// whole tells of a delivery itself: as it is declared, with the events about it
// and about all that belongs to it.
func (s deliveryService) whole(ctx context.Context, w *World, delivery object.ID) (*plumbv1.GetObjectResponse, error) {
	declared, _ := w.Declared.Declared(delivery)
	if declared == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", delivery))
	}
	out := &plumbv1.GetObjectResponse{Live: manifestOf(w, declared)}
	own := eventReader{session: w.Local.As(model.Identity{}), of: map[types.UID]bool{declared.GetUID(): true}}
	if err := own.read(ctx, delivery.Namespace, false); err != nil {
		return nil, err
	}
	events := own.events
	if k, ok := w.Engine.Known(delivery); ok {
		objects, namespaces := belongings(&k)
		session, err := w.Engine.Session(delivery)
		if err != nil {
			namespaces = nil // its target cannot be looked at, and its own events say why
		}
		theirs := eventReader{session: session, of: objects}
		for _, namespace := range namespaces {
			if err := theirs.read(ctx, namespace, true); err != nil {
				return nil, err
			}
		}
		events = append(events, theirs.events...)
	}
	slices.SortStableFunc(events, func(a, b *plumbv1.Event) int { return b.GetLast().AsTime().Compare(a.GetLast().AsTime()) })
	out.Events = events[:min(len(events), maxDeliveryEvents)]
	return out, nil
}

// maxDeliveryEvents bounds the events of a delivery that are shown.
const maxDeliveryEvents = 500

// belongings are the objects that a delivery has, and the namespaces where they
// are. What another delivery has is that one's to tell of.
func belongings(k *engine.Known) (objects map[types.UID]bool, namespaces []string) {
	objects = map[types.UID]bool{}
	in := map[string]bool{}
	for i := range k.Objects {
		o := &k.Objects[i]
		if o.UID == "" || !o.Foreign.IsZero() {
			continue
		}
		objects[types.UID(o.UID)] = true
		in[cmp.Or(o.ID.Namespace, metav1.NamespaceDefault)] = true
	}
	namespaces = slices.Sorted(maps.Keys(in))
	return objects, namespaces[:min(len(namespaces), maxNamespaces)]
}

// eventReader gathers the events about objects, as one identity may read them.
type eventReader struct {
	session *cluster.Session
	of      map[types.UID]bool
	events  []*plumbv1.Event
}

// read takes the events of a namespace that are about the objects and, where
// that is asked for, about what the cluster made of them. It takes none where
// they may not be listed.
func (r *eventReader) read(ctx context.Context, namespace string, children bool) error {
	var unknown []*unstructured.Unstructured
	err := r.list(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, namespace, func(e *unstructured.Unstructured) {
		switch kind := aboutOf(e, "kind"); {
		case r.of[types.UID(aboutOf(e, "uid"))]:
			r.events = append(r.events, eventOf(e))
		case children && len(unknown) < maxNodes && slices.ContainsFunc(childKinds, func(c schema.GroupVersionKind) bool { return c.Kind == kind }):
			unknown = append(unknown, e)
		}
	})
	if err != nil || len(unknown) == 0 {
		return err
	}
	for _, gvk := range childKinds {
		err := r.list(ctx, gvk, namespace, func(child *unstructured.Unstructured) {
			if owner := metav1.GetControllerOf(child); owner != nil && r.of[owner.UID] {
				r.of[child.GetUID()] = true
			}
		})
		if err != nil {
			return err
		}
	}
	for _, e := range unknown {
		if r.of[types.UID(aboutOf(e, "uid"))] {
			r.events = append(r.events, eventOf(e))
		}
	}
	return nil
}

// list hands over the objects of a kind in a namespace; none where they may not
// be listed.
func (r *eventReader) list(ctx context.Context, gvk schema.GroupVersionKind, namespace string, each func(*unstructured.Unstructured)) error {
	kind, err := r.session.Cluster().Resolve(ctx, gvk)
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	_, err = r.session.List(ctx, kind, cluster.ListOptions{Namespace: namespace}, func(o *unstructured.Unstructured) error {
		each(o)
		return nil
	})
	if apierrors.IsForbidden(err) {
		return nil
	}
	return answered(err)
}

// aboutOf is one field of the reference of an event to what it is about.
func aboutOf(e *unstructured.Unstructured, field string) string {
	text, _, _ := unstructured.NestedString(e.Object, "involvedObject", field)
	return text
}
