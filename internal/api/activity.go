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

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/object"
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
	newest, err := w.Journal.Newest(ctx) // before what is listed: what comes between is told twice rather than never
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	judge := s.entriesFor(ctx, callerOf(ctx))
	out := &plumbv1.ListActivityResponse{Revision: revisionOfPlace(newest)}
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
		if a := judge(number, &h, wanted); a != nil {
			out.Activities = append(out.Activities, a)
		}
		return true
	})
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return out, nil
}

// entriesFor judges entries for a caller: what they see of one, nil where that is
// nothing or not wanted.
func (s *Server) entriesFor(ctx context.Context, caller *access.Caller) func(number int64, h *journal.History, wanted func(*plumbv1.Activity) bool) *plumbv1.Activity {
	everything := caller.MayUse(policy.Plumb, policy.Get, policy.Activity).Allowed
	gone := map[object.ID]bool{} // whether the caller sees what is told of objects that are not there any more
	sees := func(h *journal.History) bool {
		kind, declared := s.kinds[h.Delivery.GroupKind()]
		if !declared {
			return everything
		}
		if !kind.delivery || s.declared(h.Delivery) {
			return caller.Look(ctx, s.target(rows.Ref(h.Delivery, ""))) // as in lists: by its kind and namespace, not one by one
		}
		seen, known := gone[h.Delivery]
		if !known {
			seen = s.looksBack(ctx, caller, h.Delivery)
			gone[h.Delivery] = seen
		}
		return seen
	}
	return func(number int64, h *journal.History, wanted func(*plumbv1.Activity) bool) *plumbv1.Activity {
		a := activityOf(number, h)
		if !wanted(a) || !sees(h) {
			return nil
		}
		if !everything {
			a.Address = "" // where colleagues work from is nobody's business
		}
		return a
	}
}

// looksBack reports whether a caller sees what is told of a delivery that is not
// there any more. Its project went with it, and any may have been it.
func (s *Server) looksBack(ctx context.Context, caller *access.Caller, id object.ID) bool {
	return !slices.ContainsFunc(s.projectsOf(id), func(project string) bool {
		return !caller.Look(ctx, access.Target{ID: id, Project: project})
	})
}

// activityBurst bounds the entries that a stream sends at once; behind that the
// list is asked for again.
const activityBurst = 500

// WatchActivity sends what is done, until the caller has had enough.
func (s fleetService) WatchActivity(ctx context.Context, m *plumbv1.WatchActivityRequest, out *connect.ServerStream[plumbv1.WatchActivityResponse]) error {
	w, err := s.leads()
	if err != nil {
		return err
	}
	wanted, err := activityFilter(&plumbv1.ListActivityRequest{Query: m.GetQuery()})
	if err != nil {
		return err
	}
	at, known := placeOf(m.GetAfter())
	if m.GetAfter() == "" {
		if at, err = w.Journal.Newest(ctx); err != nil {
			return connect.NewError(connect.CodeInternal, err)
		}
		known = true
	}
	for first := true; ; first = false {
		news := w.Journal.News() // taken before the look, so that nothing is missed
		message, err := s.activityAfter(ctx, w, &at, known, wanted)
		if err != nil {
			return err
		}
		known = true
		if first || message.GetReset_() || len(message.GetActivities()) > 0 {
			if err := out.Send(message); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gathered):
		}
	}
}

// activityAfter is what was done after a place, which it moves on. Where that is
// not to be told (known is false, or the journal cannot go on from there), the
// answer is a reset.
func (s *Server) activityAfter(ctx context.Context, w *World, at *journal.Place, known bool, wanted func(*plumbv1.Activity) bool) (*plumbv1.WatchActivityResponse, error) {
	message := &plumbv1.WatchActivityResponse{Reset_: true}
	if known {
		entries, numbers, ok, err := w.Journal.After(ctx, *at, activityBurst)
		if err != nil {
			return nil, connect.NewError(connect.CodeInternal, err)
		}
		if ok {
			message.Reset_ = false
			judge := s.entriesFor(ctx, s.guard.Caller(callerOf(ctx).Principal))
			for i := range entries {
				*at = journal.Place{Number: numbers[i], At: entries[i].At}
				if a := judge(numbers[i], &entries[i], wanted); a != nil {
					message.Activities = append(message.Activities, a)
				}
			}
			slices.Reverse(message.Activities)
		}
	}
	if message.GetReset_() {
		newest, err := w.Journal.Newest(ctx)
		if err != nil {
			return nil, connect.NewError(connect.CodeInternal, err)
		}
		*at = newest
	}
	message.Revision = revisionOfPlace(*at)
	return message, nil
}

// revisionOfPlace names a place of the journal. Its time tells it from one of
// another journal.
func revisionOfPlace(p journal.Place) string {
	if p.Number == 0 {
		return "0.0"
	}
	return strconv.FormatInt(p.Number, 10) + "." + strconv.FormatInt(p.At.UnixNano(), 10)
}

// placeOf reads it; false where it names none.
func placeOf(revision string) (journal.Place, bool) {
	number, at, found := strings.Cut(revision, ".")
	n, err := strconv.ParseInt(number, 10, 64)
	nanos, atErr := strconv.ParseInt(at, 10, 64)
	if !found || err != nil || atErr != nil || n < 0 {
		return journal.Place{}, false
	}
	return journal.Place{Number: n, At: time.Unix(0, nanos).UTC()}, true
}

// activityOf is an entry as people see it.
func activityOf(number int64, h *journal.History) *plumbv1.Activity {
	return &plumbv1.Activity{
		Id: strconv.FormatInt(number, 10), ShortRevision: rows.ShortRevision(h.Revision),
		Time: rows.At(h.At), Actor: h.Actor, Action: cmp.Or(h.Action, "run"), Object: rows.Ref(h.Delivery, ""), Revision: h.Revision,
		Result: h.Result, Failed: failed(h.Result), Message: h.Message, Changes: int32(len(h.Changes) + h.Omitted), Address: h.Address,
	}
}

// activityFilter reads what entries are wanted.
func activityFilter(m *plumbv1.ListActivityRequest) (func(*plumbv1.Activity) bool, error) {
	if err := tooLong(m.GetQuery()); err != nil {
		return nil, err
	}
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
