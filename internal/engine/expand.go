package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/source"
)

// answered is the answer to a question that the outside was asked.
type answered struct {
	question model.Question
	answer   model.Answer
	until    time.Time // ask again then; zero: never
}

// maxRounds is how often the generators of an expansion may ask for more.
const maxRounds = 16

// expands reports whether the dialect makes the objects itself.
func (r *run) expands() bool { return r.spec.Expands }

// expand asks the dialect for the objects, and answers what it has to know
// until no question is open.
func (r *run) expand(ctx context.Context, w *wanted) ([]model.Rendered, error) {
	answers := map[string]model.Answer{}
	defer r.remembersOnly(answers)
	for range maxRounds {
		objects, questions, findings, err := r.e.opts.Words.Expand(r.spec.ID, r.facts, answers)
		if err != nil {
			return nil, err
		}
		if len(questions) == 0 {
			w.withheld = append(w.withheld, findings...)
			return objects, nil
		}
		for i := range questions {
			answer, err := r.answer(ctx, w, &questions[i])
			if err != nil {
				return nil, err
			}
			answers[questions[i].Key] = answer
		}
	}
	return nil, &model.Fault{
		Reason: "ErrorOccurred", Origin: model.Origin{Declared: r.spec.ID},
		Message: fmt.Sprintf("the generators ask for more than %d rounds of answers", maxRounds),
		Advice:  "nest fewer generators",
	}
}

// remembersOnly forgets the answers to questions that the last expansion did
// not ask any more: nobody would ask them again.
func (r *run) remembersOnly(asked map[string]model.Answer) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	for key := range r.d.answers {
		if _, ok := asked[key]; !ok {
			delete(r.d.answers, key)
		}
	}
}

// answer finds the answer to one question, in a tree or outside.
func (r *run) answer(ctx context.Context, w *wanted, q *model.Question) (model.Answer, error) {
	if q.Git != nil {
		return r.answerFromTree(ctx, w, q)
	}
	e, d := r.e, r.d
	e.mu.Lock()
	known, ok := d.answers[q.Key]
	e.mu.Unlock()
	if ok && known.answer.Fault == nil && (known.until.IsZero() || time.Now().Before(known.until)) {
		return known.answer, nil
	}
	if e.opts.Asker == nil {
		return model.Answer{}, &model.Fault{Reason: "ErrorOccurred", Origin: q.Origin, Message: "this generator has to ask the outside, which is not possible here"}
	}
	r.asking(q)
	answer := e.opts.Asker.Ask(ctx, *q)
	if ctx.Err() != nil {
		return model.Answer{}, ctx.Err()
	}
	// The dialect says what a failed answer means: never an empty one. It is kept
	// only to ask again in time.
	known = answered{question: *q, answer: answer}
	if q.Requeue > 0 {
		known.until = time.Now().Add(q.Requeue)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if mark, still := d.answers[q.Key]; !still || !mark.until.IsZero() {
		known.until = longAgo // somebody wanted it asked again meanwhile
	}
	if d.answers == nil {
		d.answers = map[string]answered{}
	}
	d.answers[q.Key] = known
	return answer, nil
}

// longAgo outdates an answer.
var longAgo = time.Unix(1, 0)

// asking marks a question as being asked, so that a webhook that comes before
// the answer is not lost.
func (r *run) asking(q *model.Question) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.d.answers == nil {
		r.d.answers = map[string]answered{}
	}
	r.d.answers[q.Key] = answered{question: *q, answer: model.Answer{Fault: &model.Fault{Reason: "ErrorOccurred", Message: "it is being asked", Origin: q.Origin, Retry: true}}}
}

// outdated reports whether one of the answers that the last evaluation rests on
// has to be asked for again. The caller holds e.mu.
func (d *delivery) outdated() bool {
	now := time.Now()
	for _, a := range d.answers {
		if !a.until.IsZero() && now.After(a.until) {
			return true
		}
	}
	return false
}

// askAgain is how long until the first answer of the delivery is outdated; 0
// when none ever is. After a run that failed, those that are outdated by now
// wait for its retry. The caller holds e.mu.
func (d *delivery) askAgain(failed bool) time.Duration {
	var first time.Duration
	for _, a := range d.answers {
		if a.until.IsZero() || failed && time.Now().After(a.until) {
			continue
		}
		if left := max(time.Until(a.until), time.Millisecond); first == 0 || left < first {
			first = left
		}
	}
	return first
}

// answerFromTree reads the paths that a question names. A source that nobody
// declares is declared while somebody asks.
func (r *run) answerFromTree(ctx context.Context, w *wanted, q *model.Question) (model.Answer, error) {
	tree := r.treeFor(q.Git.Input.Source)
	if tree == nil {
		w.asks = append(w.asks, q.Git.Source)
		found, err := r.lookNow(q)
		if err != nil {
			return model.Answer{}, err
		}
		tree = found
	} else if !r.reads(q.Git.Input.Source) {
		w.asks = append(w.asks, q.Git.Source)
	}
	recorder := render.Record(ctx, tree, render.Limits{})
	answer, err := render.Find(recorder, q.Git)
	if err != nil {
		return model.Answer{}, err
	}
	w.readings = append(w.readings, render.Reading{Source: q.Git.Input.Source, Trace: recorder.Trace()})
	return answer, nil
}

// reads reports whether a source is one of the inputs.
func (r *run) reads(id object.ID) bool {
	for i := range r.inputs {
		if r.inputs[i].Source == id {
			return true
		}
	}
	return false
}

func (r *run) treeFor(id object.ID) *source.Tree {
	for i := range r.inputs {
		if r.inputs[i].Source == id {
			return r.trees[i]
		}
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if s := r.e.book.sources[id]; s != nil {
		return s.tree
	}
	return nil
}

// lookNow declares the source that a question names and ends the run: the end
// of the first look wakes the delivery.
func (r *run) lookNow(q *model.Question) (*source.Tree, error) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return r.treeNow(&q.Git.Source, q.Origin, "ErrorOccurred")
}

// treeNow is the tree of an implied source that the delivery asks for, which is
// declared if it is not yet. The caller holds e.mu.
func (r *run) treeNow(spec *model.Source, origin model.Origin, reason string) (*source.Tree, error) {
	e, d := r.e, r.d
	s := e.book.sources[spec.ID]
	if !slices.Contains(d.asks, spec.ID) && !r.reads(spec.ID) {
		link(e.book.readers, spec.ID, d.spec.ID)
		d.asks = append(d.asks, spec.ID)
	}
	if s == nil {
		e.setSource(*spec, nil)
		return nil, errNotYet
	}
	switch {
	case s.tree != nil:
		return s.tree, nil
	case s.fault != nil:
		f := *s.fault
		f.Reason, f.Origin = reason, origin
		return nil, &f
	}
	return nil, errNotYet
}

// ask replaces the sources that expansions of the delivery asked to read. The
// caller holds e.mu.
func (e *Engine) ask(d *delivery, sources []model.Source) {
	if len(sources) == 0 && len(d.asks) == 0 {
		return
	}
	e.unlinkDelivery(d)
	d.asks = nil
	for i := range sources {
		d.asks = append(d.asks, sources[i].ID)
	}
	e.linkDelivery(d)
	for i := range sources {
		e.setSource(sources[i], nil)
	}
	e.endUnread()
}

// AskAgain asks the outside again what matches, for every delivery that rests
// on such an answer. It returns how many answers that were.
func (e *Engine) AskAgain(matches func(*model.Question) bool) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for id, d := range e.book.deliveries {
		for key, a := range d.answers {
			if matches(&a.question) {
				a.until = longAgo
				d.answers[key] = a
				n++
				e.queue.add(id, changed)
			}
		}
	}
	return n
}
