package api

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// settled is how long rows that change are gathered, so that a burst costs one
// row each.
const settled = 50 * time.Millisecond

// Noticed tells that a declared object may look different. It returns at once.
func (s *Server) Noticed(id object.ID) {
	s.mu.Lock()
	s.dirty[id] = true
	s.mu.Unlock()
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Lead shows a world until ctx ends.
func (s *Server) Lead(ctx context.Context, w *World) {
	s.world.Store(w)
	defer s.world.Store(nil)
	s.noticeAll(w)
	var all sync.WaitGroup
	all.Go(func() { s.followSettings(ctx, w) })
	all.Go(func() { s.keepRows(ctx, w) })
	all.Wait()
}

// noticeAll has every row worked out anew, also those of what is not there any
// more: another replica may have led meanwhile.
func (s *Server) noticeAll(w *World) {
	ids := w.Declared.IDs()
	s.deliveries.Each(func(d *plumbv1.Delivery) { ids = append(ids, rows.ID(d.GetRef())) })
	s.sources.Each(func(r *plumbv1.Source) { ids = append(ids, rows.ID(r.GetRef())) })
	for _, id := range ids {
		s.Noticed(id)
	}
}

// keepRows works out anew the rows of what was noticed.
func (s *Server) keepRows(ctx context.Context, w *World) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.woken:
		}
		s.mu.Lock()
		dirty := s.dirty
		s.dirty = make(map[object.ID]bool, len(dirty))
		s.mu.Unlock()
		for id := range dirty {
			s.keepRow(w, id)
			s.onlookers.wake(id)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settled):
		}
	}
}

// keepRow works out one row, and puts it where it differs from what was there.
func (s *Server) keepRow(w *World, id object.ID) {
	kind, known := s.kinds[id.GroupKind()]
	if !known || notDeliveries[id.Kind] {
		return
	}
	o, dialect := w.Declared.Declared(id)
	if o == nil {
		s.deliveries.Remove(id)
		s.sources.Remove(id)
		return
	}
	declared := rows.Declared{Object: o, Dialect: dialect}
	declared.MadeBy, _ = w.Declared.MadeBy(id)
	if !kind.delivery {
		k, ok := w.Engine.KnownSource(id)
		row := rows.Source(declared, &k, ok)
		was, _ := s.sources.Get(id)
		if !differs(s.sources.Get, id, row) {
			return
		}
		s.sources.Put(id, row)
		if was.GetUrl() != row.GetUrl() || was.GetTargetRevision() != row.GetTargetRevision() {
			for _, reader := range k.Readers { // their rows tell of it
				s.Noticed(reader)
			}
		}
		return
	}
	if declared.MadeBy.IsZero() {
		declared.MadeBy, _ = w.Engine.OwnerOf(id)
	}
	k, ok := w.Engine.Known(id)
	if ok && len(k.Delivery.Inputs) > 0 {
		declared.Source, declared.From = specOf(w, k.Delivery.Inputs[0].Source), nil
		if chart := declared.Source; chart != nil && chart.Chart != nil {
			declared.From = specOf(w, chart.Chart.From)
		}
	}
	if row := rows.Delivery(declared, &k, ok); differs(s.deliveries.Get, id, row) {
		s.deliveries.Put(id, row)
	}
}

// specOf is what a source reads; nil where there is none of that name.
func specOf(w *World, id object.ID) *model.Source {
	if spec, ok := w.Engine.SourceSpec(id); ok {
		return &spec
	}
	return nil
}

func differs[T proto.Message](get func(object.ID) (T, bool), id object.ID, row T) bool {
	was, ok := get(id)
	return !ok || !proto.Equal(was, row)
}
