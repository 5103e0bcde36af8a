package api

import (
	"context"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
)

// GetDiff asks the API server what applying the wanted objects would change.
func (s deliveryService) GetDiff(ctx context.Context, m *plumbv1.GetDiffRequest) (*plumbv1.GetDiffResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	var only []object.ID
	if m.GetObject().GetName() != "" {
		only = []object.ID{rows.ID(m.GetObject())}
	}
	compared, err := s.compare(ctx, w, rows.ID(m.GetRef()), only)
	if err != nil {
		return nil, err
	}
	out := &plumbv1.GetDiffResponse{}
	if row, ok := s.deliveries.Get(rows.ID(m.GetRef())); ok {
		out.Revision = row.GetRevision()
	}
	for i := range compared {
		c := &compared[i]
		if c.Fault != nil {
			fault := rows.Fault(c.Fault)
			fault.Object = rows.Ref(c.Object, c.Version)
			out.Failed = append(out.Failed, fault)
			continue
		}
		if c.Verb != "" || c.Ignored || m.GetAll() || len(only) > 0 {
			out.Objects = append(out.Objects, objectDiff(c))
		}
	}
	return out, nil
}

// compare asks the engine, in turn.
func (s *Server) compare(ctx context.Context, w *World, id object.ID, only []object.ID) ([]engine.Comparison, error) {
	give, err := s.comparing.take(ctx, payer(ctx))
	if err != nil {
		return nil, exhausted("too many comparisons go on: try again in a moment")
	}
	defer give()
	compared, err := w.Engine.Compare(ctx, id, only)
	if err != nil {
		return nil, engineError(err)
	}
	return compared, nil
}

// objectDiff is one comparison as people see it.
func objectDiff(c *engine.Comparison) *plumbv1.ObjectDiff {
	out := &plumbv1.ObjectDiff{
		Object: rows.Ref(c.Object, c.Version), Desired: printed(c.Desired), Live: printed(c.Live), Predicted: printed(c.Predicted),
		File: c.Origin.File, Line: int32(c.Origin.Line), Ignored: c.Ignored,
	}
	out.Change = changeOf(c)
	return out
}

// changeOf is what would become of an object.
func changeOf(c *engine.Comparison) *plumbv1.Change {
	verb := string(c.Verb)
	if verb == "update" {
		verb = "apply"
	}
	diff := c.Diff
	if live, predicted := veiled(c.Live), veiled(c.Predicted); diff != "" && (live != c.Live || predicted != c.Predicted) {
		if diff = object.Diff(live, predicted); diff == "" {
			diff = "  a secret value changes\n"
		}
	}
	switch {
	case diff != "":
	case c.Predicted != nil || c.Verb == "delete":
		diff = object.Diff(veiled(c.Live), veiled(c.Predicted))
	case c.Verb == "create":
		diff = object.Diff(nil, veiled(c.Desired))
	}
	return &plumbv1.Change{Object: rows.Ref(c.Object, c.Version), Verb: verb, Diff: diff}
}

// engineError is an error of the engine as a caller sees it.
func engineError(err error) error {
	if engine.IsNoDelivery(err) {
		return connect.NewError(connect.CodeNotFound, err)
	}
	return connect.NewError(connect.CodeFailedPrecondition, err)
}
