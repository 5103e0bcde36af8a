package engine

import (
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/source"
)

// A declared source may show what an implied one holds (model.Source.Same): the
// HelmChart of a HelmRelease. It then asks nobody itself. Somebody who wakes it
// wakes the implied source, whose readers follow.

// shared says what a source has from the one that it is the same as.
type shared struct {
	with  bool // there is such a source; nothing is looked at here
	later bool // it has not answered yet; its answer wakes this one
	tree  *source.Tree
	err   error
}

// share takes what the implied source holds. The caller holds e.mu.
func (e *Engine) share(s *sourceState, spec *model.Source) shared {
	if spec.Same.IsZero() || spec.Suspended {
		return shared{}
	}
	twin := e.book.sources[spec.Same]
	switch {
	case twin == nil && e.opts.Declared.Unheard() != "":
		return shared{with: true, later: true} // it may come with what has not been heard of
	case twin == nil:
		return shared{}
	case spec.Wake != s.handled && spec.Wake != s.passed:
		s.passed = spec.Wake
		twin.nudge()
		s.awaits = twin.asked
		return shared{with: true, later: true}
	case !twin.looked, twin.answered < s.awaits:
		return shared{with: true, later: true}
	}
	s.awaits = 0
	out := shared{with: true}
	if twin.fault != nil {
		fault := *twin.fault
		fault.Origin.Declared, fault.Origin.Field = spec.ID, ""
		out.err = &fault
	}
	switch {
	case twin.tree == nil:
	case s.lent == twin.tree && s.borrowed != nil:
		out.tree = s.borrowed
	default:
		s.lent, s.borrowed = twin.tree, e.opts.Sources.Share(twin.tree, spec.ID)
		out.tree = s.borrowed
	}
	return out
}

// passOn wakes the sources that are the same as one that has just answered.
// Those that waited for it are told in any case, the others of news only. The
// caller holds e.mu.
func (e *Engine) passOn(s *sourceState, news bool) {
	if !s.spec.Implied {
		return
	}
	for id := range e.book.madeOf[s.spec.ID] {
		other := e.book.sources[id]
		if other != nil && other.spec.Same == s.spec.ID && (news || !other.looked || other.awaits > 0 && other.awaits <= s.answered) {
			other.nudge()
		}
	}
}

// farewell reports a source whose declared object is being deleted. Its readers
// go on with what they have.
func (e *Engine) farewell(spec *model.Source) {
	e.opts.Reporter.Source(&model.SourceReport{Source: spec.ID, Generation: spec.Generation, At: time.Now(), Deleted: true})
}

// sourceOf is the source that an input is read from now; nil when there is none.
// The caller holds e.mu.
func (e *Engine) sourceOf(in *model.Input) *sourceState {
	if shown := e.book.sources[in.Shown]; shown != nil && shown.spec.Suspended {
		return shown
	}
	return e.book.sources[in.Source]
}

// linkShown notes by which declared sources a delivery can be held up. The
// caller holds e.mu.
func (e *Engine) linkShown(d *delivery) {
	for i := range d.spec.Inputs {
		if shown := d.spec.Inputs[i].Shown; !shown.IsZero() {
			link(e.book.shown, shown, d.spec.ID)
		}
	}
}

func (e *Engine) unlinkShown(d *delivery) {
	for i := range d.spec.Inputs {
		unlink(e.book.shown, d.spec.Inputs[i].Shown, d.spec.ID)
	}
}

// heldUp wakes the deliveries that read a declared source only while it is
// suspended: it is now, or is no more. The caller holds e.mu.
func (e *Engine) heldUp(id object.ID) {
	for reader := range e.book.shown[id] {
		e.queue.add(reader, changed)
	}
}
