package cli

import (
	"context"
	"fmt"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
)

// maxRounds is how often generators may ask for more, as in the engine.
const maxRounds = 16

// expand asks the dialect for the objects of a delivery that is made of
// answers, and finds these until no question is open. A local directory stands
// for the repository that the questions are about.
func (d *deriver) expand(ctx context.Context, out *derivation, local string) ([]model.Rendered, error) {
	answers := map[string]model.Answer{}
	asked := object.ID{}
	for range maxRounds {
		objects, questions, findings, err := out.words.Expand(out.declared, out.facts, answers, d.settings)
		if err != nil {
			return nil, err
		}
		if len(questions) == 0 {
			out.findings = append(out.findings, findings...)
			return objects, nil
		}
		for _, q := range questions {
			if local != "" && q.Git != nil {
				if id := q.Git.Input.Source; !asked.IsZero() && asked != id {
					return nil, advise(fmt.Errorf("%s reads several repositories, and a local directory stands for one", out.delivery.ID), "leave --path out: they are fetched")
				}
				asked = q.Git.Input.Source
			}
			answer, err := d.answer(ctx, q, local)
			if err != nil {
				return nil, err
			}
			answers[q.Key] = answer
		}
	}
	return nil, &model.Fault{
		Reason: "ErrorOccurred", Origin: out.delivery.Origin,
		Message: fmt.Sprintf("the generators ask for more than %d rounds of answers", maxRounds), Advice: "nest fewer generators",
	}
}

// answer finds the answer to one question, in a tree or outside.
func (d *deriver) answer(ctx context.Context, q model.Question, local string) (model.Answer, error) {
	if q.Git == nil && d.located != nil {
		return model.Answer{}, outsideOf("what the generator at %s would be answered", q.Origin.Field)
	}
	if q.Git == nil {
		d.say.waiting("asking for %s", q.Origin)
		return d.asker.Ask(ctx, q), nil
	}
	if local != "" {
		tree, err := render.Directory(local)
		if err != nil {
			return model.Answer{}, err
		}
		defer func() { _ = tree.Close() }()
		return render.Find(render.Record(ctx, tree, render.Limits{}), q.Git)
	}
	spec := q.Git.Source
	if spec.ID.IsZero() {
		var err error
		if spec, err = d.sourceSpec(ctx, q.Git.Input.Source); err != nil {
			return model.Answer{}, err
		}
	}
	tree, err := d.fetch(ctx, spec, nil)
	if err != nil {
		return model.Answer{}, err
	}
	return render.Find(render.Record(ctx, tree, render.Limits{}), q.Git)
}
