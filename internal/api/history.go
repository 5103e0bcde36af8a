package api

import (
	"context"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/policy"
)

// historySize is how many entries come without being asked for a number.
const historySize = 50

// GetHistory tells what was delivered before: what the journal holds and, of an
// Application, the syncs that it can be taken back to.
func (s deliveryService) GetHistory(ctx context.Context, m *plumbv1.GetHistoryRequest) (*plumbv1.GetHistoryResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	limit := int(m.GetPageSize())
	if limit <= 0 {
		limit = historySize
	}
	limit = min(limit, maxPageSize)
	id := rows.ID(m.GetRef())
	entries, err := w.Journal.History(ctx, id, limit)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	out := &plumbv1.GetHistoryResponse{}
	declared, _ := w.Declared.Declared(id)
	syncs := syncsOf(declared)
	may := callerOf(ctx).May(ctx, policy.Rollback, s.target(m.GetRef()))
	row, _ := s.deliveries.Get(id)
	url := row.GetSource().GetUrl()
	commits := map[string]*plumbv1.Commit{} // by revision, of all that the journal tells
	for i := range entries {
		entry := historyEntry(&entries[i], url)
		if entry.GetCommit() != nil {
			commits[entry.GetRevision()] = entry.GetCommit()
		}
		entry.CanRollback = &plumbv1.Permission{Reason: "only a sync of an Application that it keeps in its history can be gone back to"}
		if sync := syncs.of(&entries[i]); sync != nil {
			entry.Id = strconv.FormatInt(sync.id, 10)
			entry.CanRollback = &plumbv1.Permission{Allowed: may.Allowed, Reason: may.Reason}
			if sync.last {
				entry.CanRollback = &plumbv1.Permission{Reason: "it is what is delivered now"}
			}
			sync.told = true
		}
		out.Entries = append(out.Entries, entry)
	}
	out.Entries = append(out.Entries, syncs.untold(&plumbv1.Permission{Allowed: may.Allowed, Reason: may.Reason}, url)...)
	if row.GetCommit() != nil {
		commits[row.GetRevision()] = row.GetCommit()
	}
	for _, entry := range out.Entries {
		if entry.GetCommit() == nil { // another entry of the same revision may know
			entry.Commit = commits[entry.GetRevision()]
		}
	}
	return out, nil
}

// historyEntry is an entry of the journal as people see it. url is where the
// delivery's source is now.
func historyEntry(h *journal.History, url string) *plumbv1.HistoryEntry {
	out := &plumbv1.HistoryEntry{
		Time: rows.At(h.At), Revision: h.Revision, Result: h.Result, Message: h.Message, Actor: h.Actor, Omitted: int32(h.Omitted),
		Failed: failed(h.Result), Commit: rows.Commit(h.Commit), Chart: h.Chart, ChartVersion: h.ChartVersion, AppVersion: h.AppVersion,
		ShortRevision: rows.ShortRevision(h.Revision), RevisionUrl: rows.CommitURL(url, h.Revision),
	}
	for _, c := range h.Changes {
		out.Changes = append(out.Changes, &plumbv1.Change{Object: rows.Ref(c.Object, ""), Verb: string(c.Verb), Why: c.Why})
	}
	return out
}

// failed reports whether a result of the journal is a failure.
func failed(result string) bool {
	switch result {
	case "Succeeded", "Progressing", "":
		return false
	}
	return true
}

// syncEntry is an entry of an Application's own history.
type syncEntry struct {
	id       int64
	revision string
	at       time.Time
	by       string
	last     bool
	told     bool
}

type syncHistory []*syncEntry

// syncsOf reads status.history of an Application.
func syncsOf(o *unstructured.Unstructured) syncHistory {
	if o == nil || o.GetKind() != "Application" {
		return nil
	}
	items, _, _ := unstructured.NestedSlice(o.Object, "status", "history")
	var out syncHistory
	for i, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		e := &syncEntry{last: i == len(items)-1}
		e.id, _ = m["id"].(int64)
		e.revision, _ = m["revision"].(string)
		if list, ok := m["revisions"].([]any); ok && e.revision == "" && len(list) > 0 {
			e.revision, _ = list[0].(string)
		}
		e.by, _, _ = unstructured.NestedString(m, "initiatedBy", "username")
		text, _ := m["deployedAt"].(string)
		e.at, _ = time.Parse(time.RFC3339, text)
		out = append(out, e)
	}
	return out
}

// of is the sync that a run of the journal ended; nil when it ended none. The
// newest of a revision is the one, and each is told once.
func (h syncHistory) of(entry *journal.History) *syncEntry {
	if entry.Result != "Succeeded" {
		return nil
	}
	for i := len(h) - 1; i >= 0; i-- {
		if e := h[i]; !e.told && e.revision == entry.Revision {
			return e
		}
	}
	return nil
}

// untold are the syncs of which the journal has no entry any more.
func (h syncHistory) untold(may *plumbv1.Permission, url string) []*plumbv1.HistoryEntry {
	var out []*plumbv1.HistoryEntry
	for i := len(h) - 1; i >= 0; i-- {
		e := h[i]
		if e.told {
			continue
		}
		entry := &plumbv1.HistoryEntry{Id: strconv.FormatInt(e.id, 10), Time: rows.At(e.at), Revision: e.revision, Result: "Succeeded", Actor: e.by, CanRollback: may}
		entry.ShortRevision, entry.RevisionUrl = rows.ShortRevision(e.revision), rows.CommitURL(url, e.revision)
		if e.last {
			entry.CanRollback = &plumbv1.Permission{Reason: "it is what is delivered now"}
		}
		out = append(out, entry)
	}
	return out
}
