package engine

import (
	"time"

	"plumb.dev/plumb/internal/object"
)

// What was fetched for a source that nobody declares and nobody reads any more is
// kept for a while, since it may come back, as the chart of a release does whose
// template is changed to and fro. Then it goes: mirrors, contents and archives, of
// which the store knows who else needs them.

// lingering is how long that is by default.
const lingering = 10 * time.Minute

// maxParting bounds how many sources are waited for: of more, what was fetched goes
// with them.
const maxParting = 4096

// parting is a source that has gone.
type parting struct {
	due   time.Time
	ended <-chan struct{} // closed once the last look at it has ended; nil: it has
}

// part notes that a source has gone, and has been without readers since now. The
// caller holds e.mu.
func (e *Engine) part(id object.ID, ended <-chan struct{}) {
	if ended == nil {
		ended = e.book.parting[id].ended // it went a while ago
	}
	due := time.Now()
	if len(e.book.parting) < maxParting {
		due = due.Add(e.opts.Linger)
	}
	e.book.parting[id] = parting{due, ended}
	e.partLater(time.Until(due))
}

// partLater looks again after a pause, unless that is due sooner. The caller holds
// e.mu.
func (e *Engine) partLater(pause time.Duration) {
	at := time.Now().Add(pause)
	if e.partTimer != nil && !at.Before(e.partsAt) {
		return
	}
	if e.partTimer != nil {
		e.partTimer.Stop()
	}
	e.partsAt, e.partTimer = at, time.AfterFunc(max(pause, 0), e.forgetParted)
}

// forgetParted drops what was fetched for the sources that have been gone for long
// enough. While something declared has not been understood, as in the first moments
// after a start, nothing is dropped: it may be what reads them.
func (e *Engine) forgetParted() {
	e.mu.Lock()
	e.partTimer = nil
	if e.ctx.Err() != nil || e.over {
		e.mu.Unlock()
		return
	}
	e.tending.Add(1)
	defer e.tending.Done()
	if e.opts.Declared.Unheard() != "" {
		e.partLater(e.opts.Linger)
		e.mu.Unlock()
		return
	}
	goes := e.partingNow()
	keeps, first := []object.ID(nil), !e.tidied
	if first {
		e.tidied = true
		for id := range e.book.sources {
			keeps = append(keeps, id)
		}
		for id := range e.book.parting {
			keeps = append(keeps, id)
		}
	}
	e.mu.Unlock()
	for id, left := range goes {
		if err := e.opts.Sources.Forget(id); err != nil {
			e.log.Warn("what was fetched for a source that is gone cannot be removed", "source", id.String(), "error", err)
		}
		e.mu.Lock()
		delete(e.book.leaving, id)
		e.mu.Unlock()
		close(left)
	}
	if first {
		if err := e.opts.Sources.Retain(keeps); err != nil {
			e.log.Warn("artifacts of sources that are gone cannot be removed", "error", err)
		}
	}
}

// partingNow takes the sources that are due from those that have gone; whoever
// declares one of them meanwhile waits for the channel. The caller holds e.mu.
func (e *Engine) partingNow() map[object.ID]chan struct{} {
	goes, now := map[object.ID]chan struct{}{}, time.Now()
	for id, p := range e.book.parting {
		switch {
		case len(e.book.readers[id]) > 0 || len(e.book.madeOf[id]) > 0:
			delete(e.book.parting, id) // until they do not any more
		case now.Before(p.due):
			e.partLater(p.due.Sub(now))
		case !p.over():
			e.partLater(e.opts.Linger)
		default:
			delete(e.book.parting, id)
			goes[id] = make(chan struct{})
			e.book.leaving[id] = goes[id]
		}
	}
	return goes
}

// over reports whether nobody looks at the source any more.
func (p parting) over() bool {
	if p.ended == nil {
		return true
	}
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}
