package engine

import (
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
)

// standing says what the other deliveries say of an object that d owns or
// wants. peer is pendingPeer of d. The caller holds e.mu.
func (e *Engine) standing(d *delivery, id object.ID, peer func() string) plan.Standing {
	k := key{d.cluster, id}
	var st plan.Standing
	if en := e.book.entries[k]; en != nil && en.owner != d.spec.ID {
		other := e.book.deliveries[en.owner]
		switch {
		case other == nil && (e.opts.Declared.Object(en.owner) != nil || e.opts.Declared.Unheard() != ""):
			// Declared, but not understood: it keeps what it had.
			st.Owner, st.Pending = en.owner, en.owner.String()
		case other != nil:
			st.Owner = en.owner
			switch {
			case en.busy:
				st.Pending = en.owner.String()
			case e.book.wants[k][en.owner]:
				st.Wanted = !e.book.stale[en.owner]
				if e.book.stale[en.owner] {
					st.Pending = en.owner.String()
				}
			case e.book.stale[en.owner] && !other.tried():
				st.Pending = en.owner.String()
			case other.fault != nil, other.spec.Suspended && other.trees == nil:
				st.Wanted = true // one that failed, or was never asked, keeps what it had
			}
		}
	}
	if e.book.wants[k][d.spec.ID] {
		if !st.Owner.IsZero() && !st.Wanted && st.Pending == "" {
			st.Pending = peer()
		}
		return st // what follows is about deletions
	}
	if st.Owner.IsZero() {
		st.Dweller = e.dweller(d, id)
	}
	st.Heir, st.Idle = e.heir(d, k, st.Owner)
	if st.Pending == "" {
		st.Pending = peer()
	}
	return st
}

// heir is another delivery that wants an object that d owns; idle: it takes it
// only when somebody asks it to. One that takes it by itself goes before. The
// caller holds e.mu.
func (e *Engine) heir(d *delivery, k key, owner object.ID) (heir object.ID, idle bool) {
	for id := range e.book.wants[k] {
		if en := e.book.entries[k]; en != nil && en.refused[id] || id == d.spec.ID || id == owner {
			continue // it may not write it, or has it
		}
		idles := false
		if other := e.book.deliveries[id]; other != nil {
			if other.spec.Deleting {
				continue
			}
			idles = other.spec.Sync.Manual && other.sync == nil && other.requested() == nil
		}
		if heir.IsZero() || idle && !idles || idle == idles && id.Less(heir) {
			heir, idle = id, idles
		}
	}
	return heir, idle
}

// dweller is another delivery that has, or is to have, objects which would go along
// with a Namespace or a CustomResourceDefinition. The caller holds e.mu.
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
		if k.cluster != d.cluster || !inside(k.id) {
			continue
		}
		who := en.owner
		if who == d.spec.ID {
			who, _ = e.heir(d, k, object.ID{})
		}
		if e.book.deliveries[who] != nil && (first.IsZero() || who.Less(first)) {
			first = who
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
// evaluated yet: one that reads the same source, that the same parent or d
// itself declared, or that is about to be declared. The caller holds e.mu.
func (e *Engine) pendingPeer(d *delivery) string {
	if unheard := e.opts.Declared.Unheard(); unheard != "" {
		return unheard
	}
	parent := e.parent(d.spec.ID)
	var first object.ID
	for id := range e.book.stale {
		peer := e.book.deliveries[id]
		if id == d.spec.ID || peer == nil || peer.spec.Suspended || peer.spec.Deleting || peer.tried() {
			continue
		}
		of := e.parent(id)
		if sharesSource(&peer.spec, &d.spec) || id == parent || of == d.spec.ID || (!parent.IsZero() && of == parent) {
			if first.IsZero() || id.Less(first) {
				first = id
			}
		}
	}
	if first.IsZero() {
		first = e.undeclared(d, parent)
	}
	if first.IsZero() {
		return ""
	}
	return first.String()
}

// undeclared is a delivery that d, its parent or a reader of the same source
// declares, in a form that has not arrived yet: what it will want is not known.
// A delivery that moves objects to a new one is the usual case. The caller
// holds e.mu.
func (e *Engine) undeclared(d *delivery, parent object.ID) object.ID {
	var first object.ID
	look := func(id object.ID) {
		p := e.book.deliveries[id]
		if p == nil || p.cluster != "" || p.spec.Suspended || p.spec.Deleting {
			return
		}
		for i := range p.desired {
			want := &p.desired[i]
			if want.ID.GroupKind() == d.spec.ID.GroupKind() && want.ID != d.spec.ID && e.onItsWay(p, p == d, want) && (first.IsZero() || want.ID.Less(first)) {
				first = want.ID
			}
		}
	}
	look(d.spec.ID)
	look(parent)
	for i := range d.spec.Inputs {
		for id := range e.book.readers[d.spec.Inputs[i].Source] {
			if id != d.spec.ID && id != parent {
				look(id)
			}
		}
	}
	return first
}

// sharesSource reports whether two deliveries read one source.
func sharesSource(a, b *model.Delivery) bool {
	for i := range a.Inputs {
		for j := range b.Inputs {
			if a.Inputs[i].Source == b.Inputs[j].Source {
				return true
			}
		}
	}
	return false
}

// onItsWay reports whether a delivery that p declares has yet to arrive in the
// form that p wants. One whose apply was tried in a whole run of p and did not
// happen is not waited for, except by p itself. The caller holds e.mu.
func (e *Engine) onItsWay(p *delivery, itself bool, want *model.Desired) bool {
	child := e.book.deliveries[want.ID]
	unknown := child == nil && e.opts.Declared.Object(want.ID) == nil
	en := e.book.entries[key{"", want.ID}]
	switch {
	case want.Handle.Disabled || en != nil && (en.handle.Disabled || en.handle.IfNotPresent):
		return false
	case en != nil && en.owner == p.spec.ID && en.base.Inputs == want.Digest:
		return unknown && !en.missing || child != nil && child.spec.Generation < en.made
	case !itself && slices.Equal(p.ranTrees, p.trees) && p.ranVersion == p.version:
		return false
	}
	return unknown || en != nil && en.owner == p.spec.ID
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
	if d.spec.Release != nil {
		return d.sync != nil
	}
	if d.spec.Policy.Wait || d.spec.Sync.Staged {
		return true
	}
	for i := range d.spec.Policy.HealthChecks {
		if d.spec.Policy.HealthChecks[i].Object == id {
			return true
		}
	}
	return false
}

// weight is how many objects go when this one is deleted: itself, what the
// delivery owns that it declares, and so on. The caller holds e.mu.
func (e *Engine) weight(id object.ID) int { return e.weigh(id, map[object.ID]bool{}) }

func (e *Engine) weigh(id object.ID, counted map[object.ID]bool) int {
	d := e.book.deliveries[id]
	if d == nil || counted[id] || d.spec.Suspended || d.spec.Policy.OnDelete == model.OrphanObjects {
		return 1
	}
	counted[id] = true
	if !d.claimed { // it has not run yet: its status says what it owns
		return 1 + max(len(e.book.owned[id]), len(d.spec.Claims))
	}
	n := 1
	for k := range e.book.owned[id] {
		if k.cluster == "" {
			n += e.weigh(k.id, counted)
		} else {
			n++
		}
	}
	return n
}
