package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/source"
)

// Pauses between looks at a source that fails.
const (
	firstRetry = time.Second
	lastRetry  = 2 * time.Minute
)

// SetSource declares a source, or changes what is declared of it.
func (e *Engine) SetSource(spec model.Source, findings []model.Finding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setSource(spec, findings)
}

// setSource is SetSource. The caller holds e.mu.
func (e *Engine) setSource(spec model.Source, findings []model.Finding) {
	s := e.book.sources[spec.ID]
	if s != nil {
		if reflect.DeepEqual(s.spec, spec) {
			return
		}
		if s.spec.Suspended != spec.Suspended {
			e.heldUp(spec.ID)
		}
		e.unlinkSource(&s.spec)
		s.spec, s.findings = spec, findings
		e.linkSource(&s.spec)
		s.nudge()
		return
	}
	e.linkSource(&spec)
	ctx, stop := context.WithCancel(e.ctx)
	s = &sourceState{
		spec: spec, findings: findings, wake: make(chan struct{}, 1), stop: stop,
		after: e.book.leaving[spec.ID], ended: make(chan struct{}),
	}
	e.book.sources[spec.ID] = s
	delete(e.book.parting, spec.ID)
	if e.over {
		close(s.ended)
		return
	}
	e.tending.Go(func() { e.tend(ctx, s) })
}

// DropSource forgets a source whose declared object is gone. Deliveries that
// read it keep what they have.
func (e *Engine) DropSource(id object.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.book.sources[id]
	if s == nil {
		return
	}
	e.endSource(s)
	e.endUnread()
	for reader := range e.book.readers[id] {
		e.queue.add(reader, routine)
	}
}

// endUnread forgets the implied sources that nobody reads any more, and those that
// nothing else is made of. The caller holds e.mu.
func (e *Engine) endUnread() {
	for len(e.book.unread) > 0 { // one that ends may have been the last reader of another
		id := e.book.unread[0]
		e.book.unread = e.book.unread[1:]
		s := e.book.sources[id]
		switch {
		case len(e.book.readers[id]) > 0:
		case s == nil && len(e.book.madeOf[id]) == 0:
			e.part(id, nil) // its declared object went before its readers
		case s != nil && s.spec.Implied:
			e.endSource(s)
		}
	}
	e.book.unread = nil
}

// endSource forgets a source. The caller holds e.mu.
func (e *Engine) endSource(s *sourceState) {
	s.stop()
	e.unlinkSource(&s.spec)
	delete(e.book.sources, s.spec.ID)
	e.part(s.spec.ID, s.ended)
	if s.spec.Suspended {
		e.heldUp(s.spec.ID)
	}
}

// linkSource notes whose news a source waits for. The caller holds e.mu.
func (e *Engine) linkSource(spec *model.Source) {
	for _, id := range append(spec.Reads(), spec.After...) {
		link(e.book.madeOf, id, spec.ID)
	}
	if !spec.Same.IsZero() {
		link(e.book.madeOf, spec.Same, spec.ID)
	}
}

func (e *Engine) unlinkSource(spec *model.Source) {
	for _, id := range append(append(spec.Reads(), spec.After...), spec.Same) {
		unlink(e.book.madeOf, id, spec.ID)
		if !id.IsZero() && len(e.book.madeOf[id]) == 0 && e.book.sources[id] == nil {
			e.book.unread = append(e.book.unread, id)
		}
	}
}

// lookAgain looks at the implied sources of a delivery because a person asked
// for a refresh; its run waits for the answers. The caller holds e.mu.
func (e *Engine) lookAgain(d *delivery, spec *model.Delivery) {
	for i := range spec.Inputs {
		if s := e.book.sources[spec.Inputs[i].Source]; s != nil && s.spec.Implied {
			s.nudge()
			if d.awaiting == nil {
				d.awaiting = map[object.ID]uint64{}
			}
			d.awaiting[s.spec.ID] = s.asked
		}
	}
	if spec.WakeHard {
		d.trees, d.answers = nil, nil // what is remembered of renders holds by what they read
	}
}

// looking reports whether a look that the delivery waits for is under way. The
// caller holds e.mu.
func (e *Engine) looking(d *delivery) bool {
	for id, asked := range d.awaiting {
		s := e.book.sources[id]
		if s != nil && s.answered < asked {
			return true
		}
		delete(d.awaiting, id)
	}
	return false
}

// WakeSources looks now at every source that matches, and asks again what the
// expansions of its readers asked the outside. It returns how many matched.
func (e *Engine) WakeSources(matches func(*model.Source) bool) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, s := range e.book.sources {
		if matches(&s.spec) {
			s.nudge()
			n++
		}
	}
	return n
}

// nudge asks for a look. The caller holds e.mu.
func (s *sourceState) nudge() {
	s.asked++
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// tend looks at a source whenever it is woken, and at its interval.
func (e *Engine) tend(ctx context.Context, s *sourceState) {
	defer close(s.ended)
	if s.after != nil {
		select {
		case <-s.after:
		case <-ctx.Done():
			return
		}
	}
	failures := 0
	for {
		ok, interval := e.look(ctx, s)
		var pause time.Duration
		switch {
		case ctx.Err() != nil:
			return
		case ok:
			failures = 0
			pause = jitter(interval)
		default:
			pause = min(backoff(failures, firstRetry, lastRetry), interval)
			failures++
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// look fetches once, tells the readers if the tree moved, and reports.
func (e *Engine) look(ctx context.Context, s *sourceState) (ok bool, interval time.Duration) {
	e.mu.Lock()
	spec, last := s.spec, s.tree
	asked := s.asked
	if spec.Implied && spec.Chart != nil && len(spec.After) == 0 && asked != s.answered {
		chart := *spec.Chart // somebody asked for a look: no index that is remembered will do
		chart.Fresh = 0
		spec.Chart = &chart
	}
	included, missing := e.included(spec)
	same := e.share(s, &spec)
	e.mu.Unlock()

	if spec.Deleting {
		e.farewell(&spec)
		return true, spec.Interval
	}
	if same.later {
		return e.opts.Declared.Unheard() == "", spec.Interval
	}
	if spec.Suspended {
		e.rest(ctx, s, spec, included, last)
		return true, spec.Interval
	}
	defer e.looked(s, asked)
	var tree *source.Tree
	var err error
	began := time.Now()
	switch {
	case same.with:
		tree, err = same.tree, same.err
	case missing != nil:
		err = missing
	case spec.External != nil && spec.External.URL == "":
		err = &model.Fault{Reason: "NoSourceArtifact", Waiting: true, Origin: spec.Origin, Message: "there is no artifact yet", Advice: "whoever makes it writes it into the status"}
	default:
		within, cancel := context.WithTimeout(ctx, spec.Timeout)
		tree, err = e.opts.Sources.Fetch(within, spec, included, last)
		cancel()
		if spec.Git != nil {
			e.opts.Meter.Looked(spec.Git.URL, time.Since(began), err == nil && tree != last)
		}
	}
	took := time.Since(began)
	recalled := e.recall(ctx, spec, included, last, err)
	e.mu.Lock()
	if ctx.Err() != nil { // asked under the lock, under which sources end: another one may have the name
		e.mu.Unlock()
		return false, spec.Interval
	}
	first := !s.looked
	s.looked = true
	s.answered = asked
	before := s.fault
	s.fault = asFault(err, fetchFailed(&spec))
	news := first || !sameFault(before, s.fault) || spec.Wake != s.handled || spec.Generation != s.observed
	s.handled, s.observed = spec.Wake, spec.Generation
	if recalled != nil {
		tree = recalled
	}
	if (err == nil || recalled != nil || same.tree != nil) && tree != last {
		s.tree = tree
		news = true
		e.moved(spec.ID, last, tree)
	} else if first || (spec.Implied || spec.External != nil) && !sameFault(before, s.fault) {
		for reader := range e.book.readers[spec.ID] {
			e.queue.add(reader, routine)
		}
	}
	e.passOn(s, news)
	e.mu.Unlock()

	if !spec.Implied {
		e.opts.Meter.Ran(spec.ID.Kind, spec.ID.Namespace, spec.ID.Name, took, err == nil)
	}
	if news && !spec.Implied {
		select {
		case e.archive <- spec.ID:
		case <-ctx.Done():
		}
	}
	return err == nil, spec.Interval
}

// rest gives the readers of a suspended source what it held when it was
// suspended. Nobody is asked, and its status stays as it is.
func (e *Engine) rest(ctx context.Context, s *sourceState, spec model.Source, included map[object.ID]*source.Tree, last *source.Tree) {
	if last != nil || spec.Last == nil {
		return
	}
	tree, err := e.opts.Sources.Recall(ctx, spec, included, spec.Last.Revision)
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	s.looked = true
	if err != nil {
		s.fault = asFault(err, fetchFailed(&spec))
		return
	}
	s.tree = tree
	e.moved(spec.ID, nil, tree)
	e.heldUp(spec.ID)
}

// recall finds the last good revision in the mirror when the remote cannot be
// reached after a restart, so that drift is healed meanwhile; nil otherwise.
func (e *Engine) recall(ctx context.Context, spec model.Source, included map[object.ID]*source.Tree, last *source.Tree, failed error) *source.Tree {
	if failed == nil || last != nil || spec.Last == nil {
		return nil
	}
	tree, err := e.opts.Sources.Recall(ctx, spec, included, spec.Last.Revision)
	if err != nil {
		return nil // what failed first is what there is to say
	}
	return tree
}

// included gathers the trees that a source is made of. The caller holds e.mu.
func (e *Engine) included(spec model.Source) (map[object.ID]*source.Tree, *model.Fault) {
	ids := spec.Reads()
	if len(ids) == 0 {
		return nil, nil
	}
	trees := map[object.ID]*source.Tree{}
	for i, id := range ids {
		other := e.book.sources[id]
		if other == nil || other.tree == nil {
			return nil, unavailable(&spec, i, id)
		}
		trees[id] = other.tree
	}
	return trees, nil
}

// unavailable is the fault of a source that is made of another one, the i-th
// that it reads, which has no tree yet.
func unavailable(spec *model.Source, i int, id object.ID) *model.Fault {
	f := &model.Fault{
		Origin: model.Origin{Declared: spec.ID}, Retry: true, Waiting: true,
		Message: fmt.Sprintf("no artifact available for %s source '%s'", id.Kind, id.Name),
		Advice:  "its own status says why",
	}
	switch {
	case i < len(spec.Include):
		f.Reason, f.Origin.Field = "IncludeUnavailable", fmt.Sprintf("spec.include[%d]", i)
		f.Message = fmt.Sprintf("could not get the artifact of %s: it has none yet", id)
	case spec.Chart != nil:
		f.Reason, f.Origin.Field = "NoSourceArtifact", "spec.sourceRef"
	default:
		f.Reason, f.Origin.Field = "SourceFetchFailed", fmt.Sprintf("spec.sources[%d]", i-len(spec.Include))
	}
	return f
}

// fetchFailed is the reason of a look that failed without saying more (the
// conditions of source-controller).
func fetchFailed(spec *model.Source) string {
	switch {
	case spec.OCI != nil:
		return "OCIArtifactPullFailed"
	case spec.Bucket != nil:
		return "BucketOperationFailed"
	case spec.Index != nil:
		return "IndexationFailed"
	case spec.Chart != nil:
		return "ChartPullError"
	case spec.External != nil, spec.Generated != nil:
		return "SourceFetchFailed"
	}
	return "GitOperationFailed"
}

// moved tells the readers of a source that its tree changed. Those whose
// recorded reads changed are evaluated again; for the others the new revision
// is all there is to say. The caller holds e.mu.
func (e *Engine) moved(id object.ID, from, to *source.Tree) {
	touched, known := map[object.ID]bool{}, false
	if from != nil {
		if changes, ok := to.Changes(from); ok {
			known = true
			for _, reader := range e.index.Touched(id, changes) {
				touched[reader] = true
			}
		}
	}
	var unmoved []*delivery
	for reader := range e.book.readers[id] {
		d := e.book.deliveries[reader]
		switch {
		case d == nil:
		case known && !touched[reader] && d.spec.Release == nil && d.current(id, from):
			unmoved = append(unmoved, d)
		default:
			e.book.stale[reader] = true
			e.queue.add(reader, changed)
		}
	}
	for _, d := range unmoved {
		d.replace(id, to)
		if d.report == nil || d.report.Phase != model.PhaseDone {
			e.queue.add(d.spec.ID, routine)
			continue
		}
		next := *d.report
		next.Objects = nil
		d.describe(&next)
		if !d.spec.Sync.Staged {
			next.Applied = next.Revision
		}
		next.At = time.Now()
		d.report = &next
		e.opts.Reporter.Delivery(&next)
		e.notice(next.Delivery)
	}
	for other := range e.book.madeOf[id] {
		if s := e.book.sources[other]; s != nil && other != id {
			s.nudge()
		}
	}
}

// archiveLoop builds artifacts, one at a time and behind other work, and
// reports the sources they belong to.
func (e *Engine) archiveLoop() {
	for {
		select {
		case <-e.ctx.Done():
			return
		case id := <-e.archive:
			e.reportSource(id)
		}
	}
}

func (e *Engine) reportSource(id object.ID) {
	e.mu.Lock()
	s := e.book.sources[id]
	if s == nil {
		e.mu.Unlock()
		return
	}
	tree, spec, fault, handled, artifact := s.tree, s.spec, s.fault, s.handled, s.artifact
	findings, read := s.findings, ""
	if spec.Chart != nil {
		for _, id := range append(spec.Reads(), spec.After...) {
			if from := e.book.sources[id]; from != nil && from.tree != nil {
				read = from.tree.Revision()
			}
		}
	}
	e.mu.Unlock()

	defer e.notice(id)
	report := &model.SourceReport{
		Source: id, Generation: spec.Generation, At: time.Now(), Fault: fault, Handled: handled,
		Findings: findings, Suspended: spec.Suspended, Artifact: artifact,
	}
	if spec.Index != nil && spec.Index.OCI {
		e.opts.Reporter.Source(report) // there is nothing to serve
		return
	}
	if tree != nil {
		built, err := tree.Archive(e.ctx)
		switch {
		case err == nil:
			report.Artifact = &built
		case fault == nil:
			report.Fault = asFault(err, "ArchiveOperationFailed")
		}
		seen := tree.Observed()
		report.Commit, report.Verified, report.Includes = tree.Commit(), tree.Verified(), seen.Includes
		report.SparsePaths, report.Recursed = seen.SparsePaths, seen.Recursed
		report.Chart, report.ValuesFiles, report.ReadRevision, report.Files = tree.Chart(), seen.ValuesFiles, read, tree.Files()
	}
	e.mu.Lock()
	if now := e.book.sources[id]; now == s {
		s.artifact = report.Artifact
	}
	e.mu.Unlock()
	e.opts.Reporter.Source(report)
}

// asFault makes a fault of any error.
func asFault(err error, reason string) *model.Fault {
	if err == nil {
		return nil
	}
	var f *model.Fault
	if errors.As(err, &f) {
		return f
	}
	return &model.Fault{Reason: reason, Message: err.Error(), Retry: true, Err: err}
}

func sameFault(a, b *model.Fault) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Reason == b.Reason && a.Message == b.Message
}

// jitter spreads an interval by five per cent either way, as upstream does.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.95 + 0.1*rand.Float64()))
}

// backoff doubles from first to last.
func backoff(failures int, first, last time.Duration) time.Duration {
	if failures > 20 {
		return last
	}
	return min(first<<failures, last)
}

// mute reports whether what is wrong with a source is told on its readers alone,
// which it therefore stops also while there is an earlier tree: nothing is
// written on an object that tells of what others serve. The caller holds e.mu.
func (s *sourceState) mute() bool { return s.spec.External != nil && s.fault != nil }

// looked wakes the deliveries that a look was asked for: the answer is there,
// whatever it is.
func (e *Engine) looked(s *sourceState, asked uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.answered = max(s.answered, asked)
	for reader := range e.book.readers[s.spec.ID] {
		if d := e.book.deliveries[reader]; d != nil && d.awaiting[s.spec.ID] > 0 && d.awaiting[s.spec.ID] <= s.answered {
			e.queue.add(reader, changed)
		}
	}
}

// current reports whether the last evaluation read exactly this tree of a
// source, well, and nothing else has happened since.
func (d *delivery) current(id object.ID, tree *source.Tree) bool {
	if d.at != d.version || d.fault != nil || d.sync != nil || len(d.trees) != len(d.spec.Inputs) || len(d.asks) > 0 {
		return false
	}
	for i := range d.spec.Inputs {
		if d.spec.Inputs[i].Source == id && d.trees[i] != tree {
			return false
		}
	}
	return true
}

// replace notes that a newer tree of a source gives the same answer.
func (d *delivery) replace(id object.ID, tree *source.Tree) {
	trees := append([]*source.Tree(nil), d.trees...)
	for i := range d.spec.Inputs {
		if d.spec.Inputs[i].Source == id {
			trees[i] = tree
		}
	}
	d.trees = trees
}

// describe puts the revisions that the last evaluation read into a report.
func (d *delivery) describe(rep *model.Report) {
	if len(d.trees) == 0 || d.trees[0] == nil {
		return
	}
	rep.Revision, rep.OriginRevision, rep.Commit = d.trees[0].Revision(), d.trees[0].OriginRevision(), d.trees[0].Commit()
	rep.Inputs = make([]model.InputReport, len(d.trees))
	for i, tree := range d.trees {
		if i < len(d.inputs) {
			rep.Inputs[i] = d.inputs[i]
		}
		rep.Inputs[i].Revision, rep.Inputs[i].Commit = tree.Revision(), tree.Commit()
	}
}
