package control

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/object"
)

// World is what is declared and what is known of it, for those who show it.
type World struct {
	Engine  *engine.Engine
	Journal *journal.Journal
	Local   *cluster.Cluster // with the declared objects

	declared *declarations
}

// IDs are those of every declared object, in no order.
func (w *World) IDs() []object.ID {
	w.declared.mu.RLock()
	defer w.declared.mu.RUnlock()
	ids := make([]object.ID, 0, len(w.declared.objects))
	for id := range w.declared.objects {
		ids = append(ids, id)
	}
	return ids
}

// Declared is a declared object as last seen, without managed fields, and the
// dialect that understands it; nil when there is none. It must not be changed.
func (w *World) Declared(id object.ID) (o *unstructured.Unstructured, dialect string) {
	d := w.declared.get(id)
	if d == nil {
		return nil, ""
	}
	return d.current.Load(), d.dialect.Name()
}

// Of are the declared objects of a kind as last seen, in no order; false while
// not all of them have been seen. They must not be changed.
func (w *World) Of(gk schema.GroupKind) ([]*unstructured.Unstructured, bool) {
	w.declared.mu.RLock()
	defer w.declared.mu.RUnlock()
	var out []*unstructured.Unstructured
	for id, d := range w.declared.objects {
		if id.GroupKind() == gk {
			out = append(out, d.current.Load())
		}
	}
	return out, !w.declared.unread[gk]
}

// MadeBy is the declared object that made another one as its controller, such
// as the ApplicationSet of an Application; false when none did.
func (w *World) MadeBy(id object.ID) (object.ID, bool) {
	w.declared.mu.RLock()
	defer w.declared.mu.RUnlock()
	d := w.declared.objects[id]
	if d == nil || d.parent.IsZero() {
		return object.ID{}, false
	}
	return d.parent, true
}

// Unheard names something declared that has not been read or understood yet;
// "" when everything has.
func (w *World) Unheard() string { return w.declared.Unheard() }
