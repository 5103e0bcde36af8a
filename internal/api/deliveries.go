package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"k8s.io/apimachinery/pkg/labels"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/policy"
)

// deliveryService answers for deliveries.
type deliveryService struct{ *Server }

// Bounds of pages.
const (
	pageSize    = 100
	maxPageSize = 1000
)

// ListDeliveries lists what the caller may see.
func (s deliveryService) ListDeliveries(ctx context.Context, m *plumbv1.ListDeliveriesRequest) (*plumbv1.ListDeliveriesResponse, error) {
	if _, err := s.leads(); err != nil {
		return nil, err
	}
	q, err := queryOf(m.GetQuery(), m.GetFacets())
	if err != nil {
		return nil, err
	}
	page, err := s.deliveries.List(q, s.visibleDeliveries(ctx, callerOf(ctx)))
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	mask, err := maskOf(m.GetReadMask())
	if err != nil {
		return nil, err
	}
	out := &plumbv1.ListDeliveriesResponse{TotalSize: int32(page.Total), Facets: facetsOf(page.Facets), Revision: page.Revision}
	for _, row := range page.Rows {
		out.Deliveries = append(out.Deliveries, mask.cut(row))
	}
	out.NextPageToken = nextPage(q, page.Total, len(page.Rows))
	return out, nil
}

// Bounds of a query: every word, value and requirement of it is held against every
// row.
const (
	maxSearch   = 1 << 10 // bytes
	maxWords    = 32
	maxSelector = 4 << 10 // bytes
	maxWhere    = 1000    // values of all fields
)

// tooLong refuses a query that is out of bounds.
func tooLong(m *plumbv1.Query) error {
	values := 0
	for _, wanted := range m.GetWhere() {
		values += len(wanted.GetValues())
	}
	switch {
	case len(m.GetSearch()) > maxSearch:
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the text to search for is longer than %d bytes", maxSearch))
	case len(strings.Fields(m.GetSearch())) > maxWords:
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the text to search for has more than %d words", maxWords))
	case len(m.GetLabelSelector()) > maxSelector:
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("label_selector is longer than %d bytes", maxSelector))
	case values > maxWhere:
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("where has more than %d values", maxWhere))
	}
	return nil
}

// queryOf reads a query.
func queryOf(m *plumbv1.Query, facets bool) (board.Query, error) {
	if err := tooLong(m); err != nil {
		return board.Query{}, err
	}
	q := board.Query{Search: m.GetSearch(), Where: map[string][]string{}, OrderBy: m.GetOrderBy(), Limit: int(m.GetPageSize()), Skip: int(m.GetSkip()), Facets: facets}
	for field, values := range m.GetWhere() {
		q.Where[field] = values.GetValues()
	}
	if text := m.GetLabelSelector(); text != "" {
		selector, err := labels.Parse(text)
		if err != nil {
			return q, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("label_selector: %w", err))
		}
		q.Selector = selector
	}
	if q.Limit <= 0 {
		q.Limit = pageSize
	}
	q.Limit = min(q.Limit, maxPageSize)
	if token := m.GetPageToken(); token != "" {
		text, err := base64.RawURLEncoding.DecodeString(token)
		start, numErr := strconv.Atoi(string(text))
		if err != nil || numErr != nil || start < 0 {
			return q, connect.NewError(connect.CodeInvalidArgument, errors.New("page_token is not one of an earlier answer"))
		}
		q.Skip += start
	}
	return q, nil
}

// nextPage is the token of the page behind this one; "" when it is the last.
func nextPage(q board.Query, total, count int) string {
	if next := q.Skip + count; next < total && count > 0 {
		return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(next)))
	}
	return ""
}

func facetsOf(facets []board.Facet) []*plumbv1.Facet {
	out := make([]*plumbv1.Facet, 0, len(facets))
	for _, f := range facets {
		facet := &plumbv1.Facet{Field: f.Field}
		for _, v := range f.Values {
			facet.Values = append(facet.Values, &plumbv1.FacetValue{Value: v.Value, Count: int32(v.Rows)})
		}
		out = append(out, facet)
	}
	return out
}

// rowMask are the fields of a delivery that are wanted; nil: all.
type rowMask []protoreflect.FieldDescriptor

// maskOf reads a field mask over the fields of Delivery.
func maskOf(m *fieldmaskpb.FieldMask) (rowMask, error) {
	if len(m.GetPaths()) == 0 {
		return nil, nil
	}
	fields := (&plumbv1.Delivery{}).ProtoReflect().Descriptor().Fields()
	mask := rowMask{fields.ByName("ref")}
	for _, path := range m.GetPaths() {
		f := fields.ByName(protoreflect.Name(path))
		if f == nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("read_mask: a delivery has no field %q", path))
		}
		mask = append(mask, f)
	}
	return mask, nil
}

// cut is a row with the fields that are wanted. The row itself is shared.
func (m rowMask) cut(row *plumbv1.Delivery) *plumbv1.Delivery {
	if m == nil {
		return row
	}
	out := &plumbv1.Delivery{}
	from, to := row.ProtoReflect(), out.ProtoReflect()
	for _, f := range m {
		if from.Has(f) {
			to.Set(f, from.Get(f))
		}
	}
	return out
}

// WatchDeliveries sends what changes, until the caller has had enough.
func (s deliveryService) WatchDeliveries(ctx context.Context, m *plumbv1.WatchDeliveriesRequest, out *connect.ServerStream[plumbv1.WatchDeliveriesResponse]) error {
	q, err := queryOf(m.GetQuery(), m.GetFacets())
	if err != nil {
		return err
	}
	mask, err := maskOf(m.GetReadMask())
	if err != nil {
		return err
	}
	f, err := s.deliveries.Follow(q, m.GetSince())
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	stream := followed[*plumbv1.Delivery]{server: s.Server, rows: f, target: targetOf, send: func(delta board.Delta[*plumbv1.Delivery], _ *access.Caller) error {
		message := &plumbv1.WatchDeliveriesResponse{Reset_: delta.Reset, TotalSize: int32(delta.Total), Facets: facetsOf(delta.Facets), Revision: delta.Revision}
		for _, row := range delta.Changed {
			message.Changed = append(message.Changed, mask.cut(row))
		}
		for _, id := range delta.Removed {
			message.Removed = append(message.Removed, rows.Ref(id, ""))
		}
		return out.Send(message)
	}}
	return stream.run(ctx)
}

// GetDelivery tells all that is known of one delivery.
func (s deliveryService) GetDelivery(ctx context.Context, m *plumbv1.GetDeliveryRequest) (*plumbv1.GetDeliveryResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	id := rows.ID(m.GetRef())
	declared, _ := w.Declared.Declared(id)
	row, ok := s.deliveries.Get(id)
	if declared == nil || !ok {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", id))
	}
	out := &plumbv1.GetDeliveryResponse{Delivery: row, Conditions: rows.Conditions(declared), Manifest: manifestOf(w, declared)}
	out.Actions = s.permissions(ctx, callerOf(ctx), row)
	k, ok := w.Engine.Known(id)
	if !ok {
		return out, nil
	}
	s.detail(ctx, w, out, &k)
	return out, nil
}

// permissions says what the caller may do with a delivery, and why not.
func (s *Server) permissions(ctx context.Context, caller *access.Caller, row *plumbv1.Delivery) map[string]*plumbv1.Permission {
	target := s.target(row.GetRef())
	onObject := actionOf(&plumbv1.ActRequest{Ref: row.GetRef(), Action: &plumbv1.ActRequest_ObjectAction{
		ObjectAction: &plumbv1.ObjectAction{Name: restart, Object: &plumbv1.ObjectRef{Group: "apps", Kind: "Deployment"}}, // the most common one
	}})
	out := map[string]*plumbv1.Permission{}
	for name, action := range map[string]string{
		"sync": policy.Sync, "refresh": policy.Refresh, "suspend": policy.Suspend, "resume": policy.Resume, "approve": policy.Approve,
		"rollback": policy.Rollback, "terminate": policy.Terminate, "delete": policy.Delete, "lift": policy.Rollback, "object_action": onObject,
		"logs": policy.ReadLogs,
	} {
		p := caller.May(ctx, action, target)
		if p.Allowed {
			if why := senseless(name, row); why != "" {
				p = access.Permission{Reason: why}
			}
		}
		out[name] = &plumbv1.Permission{Allowed: p.Allowed, Reason: p.Reason}
	}
	return out
}

// senseless says why an action means nothing for a delivery as it is; "" when
// it means something.
func senseless(action string, row *plumbv1.Delivery) string {
	kind := row.GetRef().GetKind()
	switch {
	case action == "suspend" && row.GetSuspended():
		return "it is suspended already"
	case action == "resume" && !row.GetSuspended():
		return "it is not suspended"
	case action == "approve" && row.GetHold() == nil:
		return "nothing waits for an approval"
	case (action == "suspend" || action == "resume") && kind == "ApplicationSet":
		return "an ApplicationSet has no suspension"
	case (action == "rollback" || action == "terminate" || action == "lift") && kind != "Application":
		return "only an Application can be taken back by a click: revert the commit, or for a HelmRelease use its remediation"
	case action == "sync" && row.GetSuspended():
		return "it is suspended: resume it first"
	case action == "sync" && kind == "ApplicationSet":
		return "an ApplicationSet makes Applications by itself: refresh it"
	case action == "terminate" && !row.GetRunning():
		return "no operation is under way"
	}
	return ""
}
