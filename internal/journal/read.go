package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// LoadBaselines hands over every baseline, in no order, and stops at the first
// error that each returns. each must not read the journal or wait
// for it.
func (j *Journal) LoadBaselines(ctx context.Context, each func(cluster string, owner, id object.ID, version string, b model.Baseline) error) error {
	return j.query(ctx, `SELECT cluster, object, owner, version, uid, resource_version, inputs, paths, cut, sealed FROM baselines`,
		func(rows *sql.Rows) error {
			var cluster, id, owner, version string
			var b model.Baseline
			if err := rows.Scan(&cluster, &id, &owner, &version, &b.UID, &b.ResourceVersion, &b.Inputs, &b.Paths, &b.Cut, &b.Sealed); err != nil {
				return err
			}
			return each(cluster, decodeID(owner), decodeID(id), version, b)
		})
}

// LoadStates hands over the facts of every delivery, in no order, and stops at
// the first error that each returns. each must not read the journal or wait
// for it.
func (j *Journal) LoadStates(ctx context.Context, each func(delivery object.ID, state []byte) error) error {
	return j.query(ctx, `SELECT delivery, state FROM states`, func(rows *sql.Rows) error {
		var delivery string
		var state []byte
		if err := rows.Scan(&delivery, &state); err != nil {
			return err
		}
		return each(decodeID(delivery), state)
	})
}

// History returns the last entries of a delivery, newest first, at most limit
// of them (0: all that are kept).
func (j *Journal) History(ctx context.Context, delivery object.ID, limit int) ([]History, error) {
	if limit <= 0 || limit > KeptRuns {
		limit = KeptRuns
	}
	var out []History
	err := j.query(ctx, selectHistory+` WHERE delivery = ? ORDER BY id DESC LIMIT ?`, func(rows *sql.Rows) error {
		entry, _, err := readHistory(rows)
		out = append(out, entry)
		return err
	}, encodeID(delivery), limit)
	return out, err
}

// Activity hands over entries of all deliveries, newest first, from the one
// before the entry numbered before (0: from the newest), until each returns
// false. each must not read the journal or wait for it.
func (j *Journal) Activity(ctx context.Context, before int64, each func(number int64, entry History) bool) error {
	if before <= 0 {
		before = math.MaxInt64
	}
	for more := true; more; {
		read := 0
		err := j.query(ctx, selectHistory+` WHERE id < ? ORDER BY id DESC LIMIT ?`, func(rows *sql.Rows) error {
			entry, number, err := readHistory(rows)
			if err != nil || !more {
				return err
			}
			read, before = read+1, number
			more = each(number, entry)
			return nil
		}, before, activityPage)
		if err != nil {
			return err
		}
		more = more && read == activityPage
	}
	return nil
}

// Place names a moment of the history: after the entry of this number, which was
// made at this time. The zero value is before everything.
type Place struct {
	Number int64
	At     time.Time
}

// Newest is the place after everything that is stored.
func (j *Journal) Newest(ctx context.Context) (Place, error) {
	var p Place
	err := j.query(ctx, `SELECT id, at FROM history ORDER BY id DESC LIMIT 1`, func(rows *sql.Rows) (err error) {
		p, err = readPlace(rows)
		return err
	})
	return p, err
}

// After returns the entries after a place, oldest first, with their numbers: at
// most limit of them. It is false when that is not to be known: the entry at the
// place is not kept any more, or it is of another journal, or there are more.
func (j *Journal) After(ctx context.Context, p Place, limit int) (entries []History, numbers []int64, ok bool, err error) {
	known := p.Number == 0
	if !known {
		err := j.query(ctx, `SELECT id, at FROM history WHERE id = ?`, func(rows *sql.Rows) error {
			found, err := readPlace(rows)
			known = found.At.Equal(p.At)
			return err
		}, p.Number)
		if err != nil || !known {
			return nil, nil, false, err
		}
	}
	err = j.query(ctx, selectHistory+` WHERE id > ? ORDER BY id LIMIT ?`, func(rows *sql.Rows) error {
		entry, number, err := readHistory(rows)
		entries, numbers = append(entries, entry), append(numbers, number)
		return err
	}, p.Number, limit+1)
	if err != nil || len(entries) > limit {
		return nil, nil, false, err
	}
	return entries, numbers, true, nil
}

func readPlace(rows *sql.Rows) (Place, error) {
	var p Place
	var at int64
	err := rows.Scan(&p.Number, &at)
	p.At = time.Unix(0, at).UTC()
	return p, err
}

// activityPage is how many entries are read at a time.
const activityPage = 500

const selectHistory = `SELECT id, delivery, at, revision, digest, result, message, actor, action, address, changes, omitted, origin FROM history`

// readHistory reads a row of selectHistory, and its number.
func readHistory(rows *sql.Rows) (History, int64, error) {
	var entry History
	var number, at int64
	var delivery, changes, origin string
	if err := rows.Scan(&number, &delivery, &at, &entry.Revision, &entry.Digest, &entry.Result, &entry.Message, &entry.Actor,
		&entry.Action, &entry.Address, &changes, &entry.Omitted, &origin); err != nil {
		return entry, number, err
	}
	entry.Delivery, entry.At = decodeID(delivery), time.Unix(0, at).UTC()
	var stored []storedChange
	if err := json.Unmarshal([]byte(changes), &stored); err != nil {
		return entry, number, fmt.Errorf("the changes of a run are damaged: %w", err)
	}
	for _, change := range stored {
		entry.Changes = append(entry.Changes, Change{change.Verb, decodeID(change.Object), change.Why})
	}
	return entry, number, readOrigin(&entry, origin)
}

// readOrigin reads what originOf has written.
func readOrigin(entry *History, text string) error {
	if text == "" {
		return nil
	}
	var origin storedOrigin
	if err := json.Unmarshal([]byte(text), &origin); err != nil {
		return fmt.Errorf("what a run was made of is damaged: %w", err)
	}
	if origin.Commit != nil {
		entry.Commit = *origin.Commit
	}
	entry.Chart, entry.ChartVersion, entry.AppVersion = origin.Chart, origin.ChartVersion, origin.AppVersion
	return nil
}

// query reads rows, once what is pending is stored. Where that fails, as the
// callback of OnError tells, what was stored before is still worth reading.
func (j *Journal) query(ctx context.Context, statement string, each func(*sql.Rows) error, args ...any) (err error) {
	if err := j.Flush(ctx); errors.Is(err, errClosed) {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	rows, err := j.db.QueryContext(ctx, statement, args...)
	if err != nil {
		return readFault(err)
	}
	defer func() {
		if closing := rows.Close(); err == nil && closing != nil {
			err = readFault(closing)
		}
	}()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return readFault(err)
	}
	return nil
}

func readFault(err error) error {
	return &model.Fault{
		Reason:  "StorageOperationFailed",
		Message: fmt.Sprintf("the journal cannot be read: %v", err),
		Advice:  "restart Plumb: a damaged journal is then moved aside, and a new one started",
		Retry:   true,
		Err:     err,
	}
}

// encodeID writes an identity as group/kind/namespace/name. None of the parts
// has a slash, apart from the name of a few kinds, which comes last.
func encodeID(id object.ID) string {
	return id.Group + "/" + id.Kind + "/" + id.Namespace + "/" + id.Name
}

func decodeID(s string) object.ID {
	parts := strings.SplitN(s, "/", 4)
	for len(parts) < 4 {
		parts = append(parts, "")
	}
	return object.ID{Group: parts[0], Kind: parts[1], Namespace: parts[2], Name: parts[3]}
}
