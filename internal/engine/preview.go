package engine

import (
	"context"
	"fmt"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
)

// Reach tells whether a Git repository can be read as a source says, which need
// not be declared. Nothing of it is kept. Errors are faults.
func (e *Engine) Reach(ctx context.Context, spec model.Source) error {
	return e.opts.Sources.Reach(ctx, spec)
}

// Answer answers a question of a generator for somebody who previews what it
// makes: no delivery rests on the answer, and what had to be fetched for it is
// forgotten.
func (e *Engine) Answer(ctx context.Context, q model.Question) (model.Answer, error) {
	if q.Git != nil {
		return e.answerFromGit(ctx, q)
	}
	if e.opts.Asker == nil {
		return model.Answer{}, &model.Fault{Reason: "ErrorOccurred", Origin: q.Origin, Message: "this generator has to ask the outside, which is not possible here"}
	}
	answer := e.opts.Asker.Ask(ctx, q)
	return answer, ctx.Err()
}

func (e *Engine) answerFromGit(ctx context.Context, q model.Question) (model.Answer, error) {
	spec := q.Git.Source
	if spec.ID.IsZero() {
		declared, ok := e.SourceSpec(q.Git.Input.Source)
		if !ok {
			return model.Answer{}, &model.Fault{Reason: "ErrorOccurred", Origin: q.Origin, Message: fmt.Sprintf("%s is not declared", q.Git.Input.Source)}
		}
		spec = declared
	}
	spec.ID = object.ID{Group: "plumb.dev", Kind: "Preview", Name: fmt.Sprint(e.previews.Add(1))}
	tree, err := e.opts.Sources.Fetch(ctx, spec, nil, nil)
	if err != nil {
		return model.Answer{}, err
	}
	if err := e.opts.Sources.Forget(spec.ID); err != nil { // the tree stays readable
		e.log.Warn("what was fetched for a preview cannot be removed", "error", err)
	}
	return render.Find(render.Record(ctx, tree, render.Limits{}), q.Git)
}
