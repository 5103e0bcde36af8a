package engine

import (
	"strings"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
)

// standing says what the other deliveries say of an object that d owns or
// wants. The caller holds e.mu.
func (e *Engine) standing(d *delivery, id object.ID) plan.Standing {
	k := key{d.cluster, id}
	var st plan.Standing
	if en := e.book.entries[k]; en != nil && en.owner != d.spec.ID {
		if other := e.book.deliveries[en.owner]; other != nil {
			st.Owner = en.owner
			switch {
			case e.book.wants[k][en.owner]:
				st.Wanted = !e.book.stale[en.owner]
				if e.book.stale[en.owner] {
					st.Pending = en.owner.String()
				}
			case e.book.stale[en.owner] && !other.tried():
				st.Pending = en.owner.String()
			case other.fault != nil:
				st.Wanted = true // a failed delivery keeps what it had
			}
		}
	}
	if st.Owner.IsZero() {
		st.Heir = e.dweller(d, id)
	}
	for id := range e.book.wants[k] {
		if id != d.spec.ID && (st.Heir.IsZero() || id.Less(st.Heir)) && id != st.Owner {
			st.Heir = id
		}
	}
	if st.Pending == "" {
		st.Pending = e.pendingPeer(d)
	}
	return st
}

// dweller is another delivery that has objects which would go along with a
// Namespace or a CustomResourceDefinition. The caller holds e.mu.
func (e *Engine) dweller(d *delivery, id object.ID) object.ID {
	var inside func(object.ID) bool
	switch {
	case id.Group == "" && id.Kind == "Namespace":
		inside = func(other object.ID) bool { return other.Namespace == id.Name }
	case id.Group == "apiextensions.k8s.io" && id.Kind == "CustomResourceDefinition":
		_, group, _ := strings.Cut(id.Name, ".")
		inside = func(other object.ID) bool { return other.Group == group && e.resource(d, other) == id.Name }
	default:
		return object.ID{}
	}
	var first object.ID
	for k, en := range e.book.entries {
		if k.cluster == d.cluster && en.owner != d.spec.ID && inside(k.id) && e.book.deliveries[en.owner] != nil {
			if first.IsZero() || en.owner.Less(first) {
				first = en.owner
			}
		}
	}
	return first
}

// resource is the name of the definition of an object's kind, plural.group.
func (e *Engine) resource(d *delivery, id object.ID) string {
	w := e.watching[d.cluster]
	if w == nil {
		return ""
	}
	kind, ok := w.resolved[id.GroupKind()]
	if !ok {
		return ""
	}
	return kind.Resource + "." + kind.Group
}

// pendingPeer names a delivery that may want objects of d and has not been
// evaluated yet: one that reads the same source, or that the same parent
// declared. The caller holds e.mu.
func (e *Engine) pendingPeer(d *delivery) string {
	parent := e.parent(d.spec.ID)
	for id := range e.book.stale {
		peer := e.book.deliveries[id]
		if id == d.spec.ID || peer == nil || peer.spec.Suspended || peer.spec.Deleting || peer.tried() {
			continue
		}
		if peer.spec.Source == d.spec.Source || (!parent.IsZero() && e.parent(id) == parent) {
			return id.String()
		}
	}
	return ""
}

// parent is the delivery that applied the object which declares another one.
// The caller holds e.mu.
func (e *Engine) parent(declared object.ID) object.ID {
	if en := e.book.entries[key{"", declared}]; en != nil {
		return en.owner
	}
	return object.ID{}
}

// tried reports whether an evaluation for the present inputs has ended, badly.
func (d *delivery) tried() bool { return d.fault != nil && d.at == d.version }

// awaits reports whether the delivery waits for the health of an object, or
// answers for it after having waited.
func (d *delivery) awaits(id object.ID) bool {
	if d.spec.Policy.Wait {
		return true
	}
	for i := range d.spec.Policy.HealthChecks {
		if d.spec.Policy.HealthChecks[i].Object == id {
			return true
		}
	}
	return false
}

// weight is how many objects go when this one is deleted: itself, and what the
// delivery owns that it declares. The caller holds e.mu.
func (e *Engine) weight(id object.ID) int {
	n := 1
	if d := e.book.deliveries[id]; d != nil && d.spec.Policy.OnDelete != model.OrphanObjects {
		n += len(e.book.owned[id])
	}
	return n
}
