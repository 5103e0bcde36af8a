package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/policy"
)

// activityScan bounds the entries that one answer looks at.
const activityScan = 20000

// ListActivity tells what people and Plumb did. Entries about a delivery come to
// those who may see it.
func (s fleetService) ListActivity(ctx context.Context, m *plumbv1.ListActivityRequest) (*plumbv1.ListActivityResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	q, err := queryOf(&plumbv1.Query{PageSize: m.GetQuery().GetPageSize()}, false)
	if err != nil {
		return nil, err
	}
	before := int64(0)
	if token := m.GetQuery().GetPageToken(); token != "" {
		text, err := base64.RawURLEncoding.DecodeString(token)
		if before, _ = strconv.ParseInt(string(text), 10, 64); err != nil || before <= 0 {
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("page_token is not one of an earlier answer"))
		}
	}
	wanted, err := activityFilter(m)
	if err != nil {
		return nil, err
	}
	everything := callerOf(ctx).MayUse(policy.Plumb, policy.Get, policy.Activity).Allowed
	sees := s.seesEntries(ctx, everything)
	out := &plumbv1.ListActivityResponse{}
	scanned := 0
	err = w.Journal.Activity(ctx, before, func(number int64, h journal.History) bool {
		if len(out.Activities) == q.Limit || scanned == activityScan {
			out.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(number+1, 10)))
			return false
		}
		scanned++
		if m.GetSince() != nil && h.At.Before(m.GetSince().AsTime()) {
			return false
		}
		if a := activityOf(&h); wanted(a) && sees(&h) {
			if !everything {
				a.Address = "" // where colleagues work from is nobody's business
			}
			out.Activities = append(out.Activities, a)
		}
		return true
	})
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return out, nil
}

// seesEntries judges entries for the caller.
func (s *Server) seesEntries(ctx context.Context, everything bool) func(*journal.History) bool {
	caller := callerOf(ctx)
	return func(h *journal.History) bool {
		if _, declared := s.kinds[h.Delivery.GroupKind()]; !declared {
			return everything
		}
		return caller.May(ctx, policy.Get, s.target(rows.Ref(h.Delivery, ""))).Allowed
	}
}

// activityOf is an entry as people see it.
func activityOf(h *journal.History) *plumbv1.Activity {
	return &plumbv1.Activity{
		Time: rows.At(h.At), Actor: h.Actor, Action: cmp.Or(h.Action, "run"), Object: rows.Ref(h.Delivery, ""), Revision: h.Revision,
		Result: h.Result, Failed: failed(h.Result), Message: h.Message, Changes: int32(len(h.Changes) + h.Omitted), Address: h.Address,
	}
}

// activityFilter reads what entries are wanted.
func activityFilter(m *plumbv1.ListActivityRequest) (func(*plumbv1.Activity) bool, error) {
	fields := map[string]func(*plumbv1.Activity) string{
		"kind":      func(a *plumbv1.Activity) string { return a.GetObject().GetKind() },
		"namespace": func(a *plumbv1.Activity) string { return a.GetObject().GetNamespace() },
		"delivery":  func(a *plumbv1.Activity) string { return a.GetObject().GetName() },
		"actor":     func(a *plumbv1.Activity) string { return a.GetActor() },
		"result":    func(a *plumbv1.Activity) string { return a.GetResult() },
		"action":    func(a *plumbv1.Activity) string { return a.GetAction() },
		"failed":    func(a *plumbv1.Activity) string { return strconv.FormatBool(a.GetFailed()) },
	}
	for field := range m.GetQuery().GetWhere() {
		if fields[field] == nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("activity is narrowed by kind, namespace, delivery, actor, result, action and failed, not by "+field))
		}
	}
	words := strings.Fields(strings.ToLower(m.GetQuery().GetSearch()))
	var until time.Time
	if m.GetUntil() != nil {
		until = m.GetUntil().AsTime()
	}
	return func(a *plumbv1.Activity) bool {
		if !until.IsZero() && !a.GetTime().AsTime().Before(until) {
			return false
		}
		for field, values := range m.GetQuery().GetWhere() {
			if len(values.GetValues()) > 0 && !slices.Contains(values.GetValues(), fields[field](a)) {
				return false
			}
		}
		text := strings.ToLower(strings.Join([]string{a.GetActor(), a.GetAction(), a.GetObject().GetKind(), a.GetObject().GetNamespace(), a.GetObject().GetName(), a.GetMessage(), a.GetRevision(), a.GetResult()}, "\n"))
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	}, nil
}
