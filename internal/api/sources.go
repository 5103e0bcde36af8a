package api

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// ListSources lists the sources that the caller may see.
func (s fleetService) ListSources(ctx context.Context, m *plumbv1.ListSourcesRequest) (*plumbv1.ListSourcesResponse, error) {
	if _, err := s.leads(); err != nil {
		return nil, err
	}
	q, err := queryOf(m.GetQuery(), m.GetFacets())
	if err != nil {
		return nil, err
	}
	page, err := s.sources.List(q, s.visibleSources(ctx, callerOf(ctx)))
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return &plumbv1.ListSourcesResponse{
		Sources: page.Rows, TotalSize: int32(page.Total), Facets: facetsOf(page.Facets), NextPageToken: nextPage(q, page.Total, len(page.Rows)),
		Revision: page.Revision,
	}, nil
}

// WatchSources sends what changes, until the caller has had enough.
func (s fleetService) WatchSources(ctx context.Context, m *plumbv1.WatchSourcesRequest, out *connect.ServerStream[plumbv1.WatchSourcesResponse]) error {
	q, err := queryOf(m.GetQuery(), m.GetFacets())
	if err != nil {
		return err
	}
	f, err := s.sources.Follow(q, m.GetSince())
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	stream := followed[*plumbv1.Source]{server: s.Server, rows: f, target: sourceTarget, send: func(delta board.Delta[*plumbv1.Source], _ *access.Caller) error {
		message := &plumbv1.WatchSourcesResponse{
			Reset_: delta.Reset, Changed: delta.Changed, TotalSize: int32(delta.Total), Facets: facetsOf(delta.Facets), Revision: delta.Revision,
		}
		for _, id := range delta.Removed {
			message.Removed = append(message.Removed, rows.Ref(id, ""))
		}
		return out.Send(message)
	}}
	return stream.run(ctx)
}

// WatchSource sends all that is known of one source whenever it is something
// else. A source that goes ends the stream.
func (s fleetService) WatchSource(ctx context.Context, m *plumbv1.WatchSourceRequest, out *connect.ServerStream[plumbv1.GetSourceResponse]) error {
	var sent *plumbv1.GetSourceResponse
	for {
		sources, deliveries := s.sources.News(), s.deliveries.News() // taken before the look, so that nothing is missed
		answer, err := s.source(ctx, s.guard.Caller(callerOf(ctx).Principal), rows.ID(m.GetRef()))
		if err != nil {
			return err
		}
		if sent == nil || !proto.Equal(sent, answer) {
			if err := out.Send(answer); err != nil {
				return err
			}
			sent = answer
		}
		select {
		case <-ctx.Done():
			return nil
		case <-sources:
		case <-deliveries: // its readers
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gathered):
		}
	}
}

// GetSource tells all that is known of one source.
func (s fleetService) GetSource(ctx context.Context, m *plumbv1.GetSourceRequest) (*plumbv1.GetSourceResponse, error) {
	return s.source(ctx, callerOf(ctx), rows.ID(m.GetRef()))
}

// source is all that is known of a source, for a caller.
func (s *Server) source(ctx context.Context, caller *access.Caller, id object.ID) (*plumbv1.GetSourceResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	declared, _ := w.Declared.Declared(id)
	row, ok := s.sources.Get(id)
	if declared == nil || !ok {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", id))
	}
	out := &plumbv1.GetSourceResponse{
		Source: row, Conditions: rows.Conditions(declared), Manifest: manifestOf(w, declared), Verified: row.GetCommit().GetSignedBy(),
		Actions: s.sourcePermissions(ctx, caller, row),
	}
	known, ok := w.Engine.KnownSource(id)
	if !ok {
		return out, nil
	}
	out.Fault = rows.Fault(known.Fault)
	for i := range known.Findings {
		out.Findings = append(out.Findings, rows.Finding(&known.Findings[i]))
	}
	for _, reader := range known.Readers {
		if d, ok := s.deliveries.Get(reader); ok && caller.May(ctx, policy.Get, s.target(d.GetRef())).Allowed {
			out.Readers = append(out.Readers, d)
		}
	}
	return out, nil
}

// sourcePermissions says what the caller may do with a source, and why not.
func (s *Server) sourcePermissions(ctx context.Context, caller *access.Caller, row *plumbv1.Source) map[string]*plumbv1.Permission {
	out := map[string]*plumbv1.Permission{}
	for name, action := range map[string]string{"refresh": policy.Refresh, "suspend": policy.Suspend, "resume": policy.Resume} {
		p := caller.May(ctx, action, s.target(row.GetRef()))
		switch {
		case !p.Allowed:
		case name == "suspend" && row.GetSuspended():
			p = access.Permission{Reason: "it is suspended already"}
		case name == "resume" && !row.GetSuspended():
			p = access.Permission{Reason: "it is not suspended"}
		case name == "refresh" && row.GetSuspended():
			p = access.Permission{Reason: "it is suspended: resume it first"}
		}
		out[name] = &plumbv1.Permission{Allowed: p.Allowed, Reason: p.Reason}
	}
	return out
}
