// Package roots follows an object that is not healthy down to the root of it: to
// the ReplicaSets, Jobs and Pods that the cluster has made of it, and to the
// warnings about them. What is read is bounded, and read with the rights of
// whoever asks: the command line's user, or the delivery that has the object.
package roots

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"plumb.dev/plumb/internal/api/pods"
	"plumb.dev/plumb/internal/health"
	"plumb.dev/plumb/internal/object"
)

// Query says what is listed.
type Query struct {
	Kind          schema.GroupVersionKind
	Namespace     string
	LabelSelector string
	FieldSelector string
}

// List hands over the objects that a query finds, until each returns an error,
// which it returns. What may not be listed is apierrors.IsForbidden; a kind that
// nothing serves is meta.IsNoMatchError or apierrors.IsNotFound.
type List func(ctx context.Context, q Query, each func(*unstructured.Unstructured) error) error

// Root is what was found.
type Root struct {
	Steps    []health.Step                // from the object down
	Children []*unstructured.Unstructured // what the object has made, and the events that were read, as health.Deeper takes them
	Unread   []string                     // kinds that whoever asks may not list, such as "pods"
}

// Bounds of what is read for one object.
const (
	maxSets     = 100 // ReplicaSets of a Deployment, or Jobs of a CronJob
	maxPods     = 500
	maxRead     = 2000 // objects of one list that are looked at
	maxEvents   = 200  // about one object
	maxAsked    = 4    // objects whose events are read
	maxWarnings = 2    // told about one object
)

var (
	replicaSets = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}
	jobs        = schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
	podKind     = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	eventKind   = schema.GroupVersionKind{Version: "v1", Kind: "Event"}
)

// Follow looks for what an object suffers from. Errors are those of list that
// are neither a missing right nor a missing kind.
func Follow(ctx context.Context, list List, o *unstructured.Unstructured) (*Root, error) {
	f := &following{list: list, root: &Root{}}
	if err := f.below(ctx, o); err != nil {
		return nil, err
	}
	f.root.Steps = health.Trail(o, f.root.Children)
	return f.root, f.warned(ctx, o)
}

// following is one look.
type following struct {
	list List
	root *Root
}

// below reads what the cluster has made of an object.
func (f *following) below(ctx context.Context, o *unstructured.Unstructured) error {
	switch o.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}:
		sets, err := f.children(ctx, replicaSets, o, selectorOf(o), maxSets)
		if err != nil {
			return err
		}
		for _, set := range newest(sets) {
			if _, err := f.children(ctx, podKind, set, selectorOf(set), maxPods); err != nil {
				return err
			}
		}
	case schema.GroupKind{Group: "batch", Kind: "CronJob"}:
		made, err := f.children(ctx, jobs, o, "", maxSets)
		if err != nil {
			return err
		}
		for _, job := range newest(made) {
			if _, err := f.children(ctx, podKind, job, selectorOf(job), maxPods); err != nil {
				return err
			}
		}
	case schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}, schema.GroupKind{Group: "apps", Kind: "StatefulSet"},
		schema.GroupKind{Group: "apps", Kind: "DaemonSet"}, schema.GroupKind{Group: "batch", Kind: "Job"}:
		_, err := f.children(ctx, podKind, o, selectorOf(o), maxPods)
		return err
	}
	return nil
}

// newest is the last one of several that was made; none of none. Of a
// Deployment's ReplicaSets that is the one with the highest revision, which an
// undone rollout gives to an old one.
func newest(made []*unstructured.Unstructured) []*unstructured.Unstructured {
	if len(made) == 0 {
		return nil
	}
	return []*unstructured.Unstructured{slices.MaxFunc(made, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(pods.Revision(a), pods.Revision(b)), a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time))
	})}
}

// errEnough ends a list at its bound.
var errEnough = errors.New("enough")

// children keeps the objects of a kind that a parent controls, at most as many
// as the bound. A selector only narrows what is read: the owner reference
// decides, so that nothing of somebody else is told.
func (f *following) children(ctx context.Context, kind schema.GroupVersionKind, parent *unstructured.Unstructured, selector string, bound int) ([]*unstructured.Unstructured, error) {
	var found []*unstructured.Unstructured
	err := f.read(ctx, Query{Kind: kind, Namespace: parent.GetNamespace(), LabelSelector: selector}, func(child *unstructured.Unstructured) error {
		if owner := metav1.GetControllerOf(child); owner == nil || owner.UID != parent.GetUID() {
			return nil
		}
		if found = append(found, child); len(found) == bound {
			return errEnough
		}
		return nil
	})
	f.root.Children = append(f.root.Children, found...)
	return found, err
}

// warned adds the warnings about the object, and about each object that the
// steps name, behind its last step.
func (f *following) warned(ctx context.Context, o *unstructured.Unstructured) error {
	about := []health.Step{{Object: object.Of(o), UID: string(o.GetUID())}}
	for _, step := range f.root.Steps {
		if !slices.ContainsFunc(about, func(a health.Step) bool { return a.UID == step.UID }) {
			about = append(about, step)
		}
	}
	for _, at := range about[:min(len(about), maxAsked)] {
		found, err := f.eventsAbout(ctx, o.GetNamespace(), at.UID)
		if err != nil {
			return err
		}
		f.root.Children = append(f.root.Children, found...)
		behind := 0
		for i, step := range f.root.Steps {
			if step.UID == at.UID {
				behind = i + 1
			}
		}
		f.root.Steps = slices.Insert(f.root.Steps, behind, health.Warnings(at, found, f.root.Steps, maxWarnings)...)
	}
	return nil
}

// eventsAbout reads the events about one object. Those about what lives in no
// namespace are in "default".
func (f *following) eventsAbout(ctx context.Context, namespace, uid string) ([]*unstructured.Unstructured, error) {
	if uid == "" {
		return nil, nil
	}
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	var found []*unstructured.Unstructured
	err := f.read(ctx, Query{Kind: eventKind, Namespace: namespace, FieldSelector: "involvedObject.uid=" + uid}, func(e *unstructured.Unstructured) error {
		if found = append(found, e); len(found) == maxEvents {
			return errEnough
		}
		return nil
	})
	return found, err
}

// read lists, and notes what may not be listed.
func (f *following) read(ctx context.Context, q Query, each func(*unstructured.Unstructured) error) error {
	seen := map[types.UID]bool{} // a list that has to begin again hands out the same again
	err := f.list(ctx, q, func(o *unstructured.Unstructured) error {
		switch uid := o.GetUID(); {
		case len(seen) == maxRead:
			return errEnough
		case seen[uid]:
			return nil
		default:
			seen[uid] = true
			return each(o)
		}
	})
	switch {
	case err == nil, errors.Is(err, errEnough), meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err):
		if kind := strings.ToLower(q.Kind.Kind) + "s"; !slices.Contains(f.root.Unread, kind) {
			f.root.Unread = append(f.root.Unread, kind)
		}
		return nil
	}
	return err
}

// selectorOf is the label selector of what makes Pods, as text; "" where it has
// none that can be read.
func selectorOf(o *unstructured.Unstructured) string {
	value, found, err := unstructured.NestedMap(o.Object, "spec", "selector")
	if !found || err != nil {
		return ""
	}
	selector := &metav1.LabelSelector{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(value, selector); err != nil {
		return ""
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return ""
	}
	return parsed.String()
}
