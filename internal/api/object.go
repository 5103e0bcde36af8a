package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/pods"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
)

// found is one object that belongs to a delivery.
type found struct {
	id    object.ID
	known *engine.KnownObject        // nil for what the cluster made
	live  *unstructured.Unstructured // nil when it is not there; nothing in it is masked
	above object.ID                  // of what the cluster made: the object of the delivery that it made it of
}

// maxOwners bounds the way from a Pod up to what was delivered.
const maxOwners = 8

// find reads an object as the delivery, and makes sure that it belongs to it: a
// caller who may see the delivery sees its objects and what the cluster made of
// them, and nothing else that the delivery could read.
func (s *Server) find(ctx context.Context, w *World, delivery object.ID, ref *plumbv1.ObjectRef) (*found, error) {
	id := rows.ID(ref)
	k, ok := w.Engine.Known(delivery)
	if !ok {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", delivery))
	}
	out := &found{id: id}
	for i := range k.Objects {
		if k.Objects[i].ID == id {
			out.known = &k.Objects[i]
		}
	}
	if out.known != nil && !out.known.Foreign.IsZero() {
		return out, nil // it is wanted, and another delivery's: nothing of the live one is shown
	}
	version := ref.GetVersion()
	if out.known != nil {
		version = out.known.Version
	}
	live, err := w.Engine.Live(ctx, delivery, schema.GroupVersionKind{Group: id.Group, Version: version, Kind: id.Kind}, id.Namespace, id.Name)
	notFound := connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is no object of %s", id, delivery))
	switch {
	case out.known != nil && err != nil:
		return nil, engineError(err)
	case out.known != nil:
		out.live = live
		return out, nil
	case err != nil || live == nil:
		return nil, notFound // whether it exists, and whose it is, is not told
	}
	out.live = live
	at := live
	for range maxOwners {
		owner := metav1.GetControllerOf(at)
		if owner == nil {
			return nil, notFound
		}
		gv, err := schema.ParseGroupVersion(owner.APIVersion)
		if err != nil {
			return nil, notFound
		}
		above := object.ID{Group: gv.Group, Kind: owner.Kind, Namespace: at.GetNamespace(), Name: owner.Name}
		next, err := w.Engine.Live(ctx, delivery, gv.WithKind(owner.Kind), above.Namespace, above.Name)
		if err != nil || next == nil || next.GetUID() != owner.UID {
			return nil, notFound
		}
		if slices.ContainsFunc(k.Objects, func(o engine.KnownObject) bool { return o.ID == above && o.Foreign.IsZero() }) {
			out.above = above
			return out, nil
		}
		at = next
	}
	return nil, notFound
}

// GetObject tells of one object as it is and as it is wanted, with its events.
func (s deliveryService) GetObject(ctx context.Context, m *plumbv1.GetObjectRequest) (*plumbv1.GetObjectResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	delivery := rows.ID(m.GetRef())
	if m.GetObject().GetName() == "" {
		return s.whole(ctx, w, delivery)
	}
	f, err := s.find(ctx, w, delivery, m.GetObject())
	if err != nil {
		return nil, err
	}
	out := &plumbv1.GetObjectResponse{Live: printed(w.Engine.MaskBelow(delivery, f.live, f.above)), Actions: actionsOf(f.live)}
	if f.known != nil {
		out.Desired = printed(w.Engine.Desired(delivery, f.id))
		out.Resource = resourceOf(f.known)
	}
	if f.live != nil {
		if err := s.logsOf(ctx, w, delivery, f.live, out); err != nil {
			return nil, err
		}
		if out.Events, err = eventsOf(ctx, w, delivery, f.live); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// logsOf tells which logs there are of an object: those of its containers, in the
// Pods that it is or has.
func (s *Server) logsOf(ctx context.Context, w *World, delivery object.ID, live *unstructured.Unstructured, out *plumbv1.GetObjectResponse) error {
	if !pods.Has(live.GroupVersionKind().GroupKind()) {
		return nil
	}
	for _, c := range pods.ContainersOf(live) {
		out.Containers = append(out.Containers, c.Name)
	}
	session, err := w.Engine.Session(delivery)
	if err != nil {
		return engineError(err)
	}
	list, err := podsOf(ctx, session, live)
	if connect.CodeOf(err) == connect.CodePermissionDenied {
		return nil // the logs themselves say so
	}
	out.Pods = shownPods(list)
	return err
}

// restart is the action of workloads whose Pods can be replaced.
const restart = "restart"

// actionsOf are the actions of an object.
func actionsOf(o *unstructured.Unstructured) []string {
	if o == nil {
		return nil
	}
	switch o.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}, schema.GroupKind{Group: "apps", Kind: "StatefulSet"}, schema.GroupKind{Group: "apps", Kind: "DaemonSet"}:
		return []string{restart}
	}
	return nil
}

// maxEvents bounds the events of one object that are shown.
const maxEvents = 100

// eventsOf are the events about an object, newest first, as the delivery may
// read them.
func eventsOf(ctx context.Context, w *World, delivery object.ID, o *unstructured.Unstructured) ([]*plumbv1.Event, error) {
	session, err := w.Engine.Session(delivery)
	if err != nil {
		return nil, engineError(err)
	}
	kind, err := session.Cluster().Resolve(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"})
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	var events []*plumbv1.Event
	_, err = session.List(ctx, kind, cluster.ListOptions{
		Namespace: cmp.Or(o.GetNamespace(), metav1.NamespaceDefault), FieldSelector: "involvedObject.uid=" + string(o.GetUID()),
	}, func(e *unstructured.Unstructured) error {
		events = append(events, eventOf(e))
		return nil
	})
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, answered(err)
	}
	slices.SortFunc(events, func(a, b *plumbv1.Event) int { return b.GetLast().AsTime().Compare(a.GetLast().AsTime()) })
	return events[:min(len(events), maxEvents)], nil
}

// eventOf is an event of the cluster as people see it.
func eventOf(e *unstructured.Unstructured) *plumbv1.Event {
	word := func(path ...string) string { text, _, _ := unstructured.NestedString(e.Object, path...); return text }
	moment := func(path ...string) time.Time {
		t, _ := time.Parse(time.RFC3339, word(path...))
		return t
	}
	count, _, _ := unstructured.NestedInt64(e.Object, "count")
	gv, err := schema.ParseGroupVersion(aboutOf(e, "apiVersion"))
	if err != nil {
		gv = schema.GroupVersion{}
	}
	last := moment("lastTimestamp")
	if last.IsZero() {
		last = moment("eventTime")
	}
	if last.IsZero() {
		last = e.GetCreationTimestamp().Time
	}
	return &plumbv1.Event{
		Type: word("type"), Reason: word("reason"), Message: object.WithoutCredentials(word("message")), Count: int32(max(count, 1)), Last: rows.At(last),
		From: cmp.Or(word("source", "component"), word("reportingComponent")),
		About: &plumbv1.ObjectRef{
			Group: gv.Group, Version: gv.Version, Kind: aboutOf(e, "kind"), Namespace: aboutOf(e, "namespace"), Name: aboutOf(e, "name"),
		},
	}
}
