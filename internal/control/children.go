package control

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// childrenPause gathers what is heard of the children of one declared object
// before it is told: their states change together.
const childrenPause = time.Second

// controllerOf is the object that one names as its controller; zero when there
// is none.
func controllerOf(o *unstructured.Unstructured) object.ID {
	if o == nil {
		return object.ID{}
	}
	ref := metav1.GetControllerOf(o)
	if ref == nil {
		return object.ID{}
	}
	gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	return object.ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: ref.Name}
}

// adopt keeps an object, or forgets one that is gone, under its controller, and
// has the controller's status tell of it. Only the watch of its kind calls this.
func (ds *declarations) adopt(d *declared, now *unstructured.Unstructured) {
	parent := controllerOf(now)
	ds.mu.Lock()
	was := d.parent
	d.parent = parent
	if was != parent {
		delete(ds.children[was], d.id)
		if len(ds.children[was]) == 0 {
			delete(ds.children, was)
		}
	}
	if !parent.IsZero() {
		if ds.children[parent] == nil {
			ds.children[parent] = map[object.ID]*declared{}
		}
		ds.children[parent][d.id] = d
	}
	ds.mu.Unlock()
	for _, id := range slices.Compact([]object.ID{was, parent}) {
		if owner := ds.get(id); owner != nil && owner.expands.Load() {
			ds.writer.tellAgain(owner)
		}
	}
}

// related are the groups of what declared objects of another group make.
var related = map[string]string{"source.extensions.fluxcd.io": "source.toolkit.fluxcd.io"}

// childrenOf are the declared objects of the kinds that are all known which
// name this very object as their controller, by name; nil while a kind is not
// known.
func (ds *declarations) childrenOf(o *unstructured.Unstructured) []*unstructured.Unstructured {
	id := object.Of(o)
	ds.mu.RLock()
	defer ds.mu.RUnlock()
	for unread := range ds.unread {
		if unread.Group == id.Group || related[id.Group] == unread.Group {
			return nil
		}
	}
	out := []*unstructured.Unstructured{}
	for _, d := range ds.children[id] {
		child := d.current.Load()
		if ref := metav1.GetControllerOf(child); ref != nil && ref.UID == o.GetUID() {
			out = append(out, child)
		}
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

// tellAgain writes what is known of a declared object once more, in a moment:
// one of its children has changed.
func (w *writer) tellAgain(d *declared) {
	if d.last.Load() == nil || !d.due.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(childrenPause, func() {
		d.due.Store(false)
		if !d.refused.Load() {
			w.put(d, job{delivery: d.last.Load()})
		}
	})
}

// withChildren adds to a report what has become of the objects that the
// delivery makes.
func (w *writer) withChildren(d *declared, r *model.Report) *model.Report {
	if !d.expands.Load() {
		return r
	}
	told := *r
	told.Children = w.ds.childrenOf(d.current.Load())
	return &told
}
