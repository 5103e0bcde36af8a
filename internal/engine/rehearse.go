package engine

import (
	"context"

	"plumb.dev/plumb/internal/model"
)

// rehearse predicts every change of a dry run.
func (r *run) rehearse(ctx context.Context, op *syncing) error {
	for _, w := range r.plan.Waves {
		for _, c := range w.Changes {
			res := model.SyncResult{Object: c.Object, Version: c.Version, Phase: model.Sync, Code: model.ResultSynced, Message: resultMessage(model.Outcome{Object: c.Object, Verb: c.Verb}) + " (dry run)"}
			if c.Verb == model.Delete {
				res.Code, res.Message = model.ResultPruned, "pruned (dry run)"
			} else if c.Want != nil {
				if f := r.predictOne(ctx, c); f != nil {
					res.Code, res.Message = model.ResultFailed, f.Error()
					op.failed = f.Error()
				}
			}
			op.results[resultKey{model.Sync, c.Object}] = res
		}
	}
	if op.failed != "" {
		return r.complete(ctx, op, model.OperationFailed, "one or more objects failed to dry run: "+op.failed)
	}
	return r.complete(ctx, op, model.OperationSucceeded, "successfully synced (dry run)")
}
