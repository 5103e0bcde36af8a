package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const (
	// batchDelay is how long the first entry of a batch waits for others.
	batchDelay = 50 * time.Millisecond
	// batchSize is the number of entries that is not waited for.
	batchSize = 2000
	// firstRetry and lastRetry bound the pause after a failed write, which
	// doubles each time.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

var errClosed = errors.New("the journal is closed")

// write is the writer: the only one who writes to the database, until Close.
func (j *Journal) write() {
	defer close(j.done)
	pause := time.Duration(0)
	for {
		select {
		case <-j.stop:
			return
		case <-j.wake:
		}
		if !j.gather(max(batchDelay, pause)) {
			return
		}
		if err := j.save(); err != nil {
			if pause == 0 {
				j.report(err)
			}
			pause = min(max(2*pause, firstRetry), lastRetry)
			signal(j.wake)
			continue
		}
		if pause > 0 {
			j.report(nil)
			pause = 0
		}
	}
}

// gather lets a batch grow. It is false when the journal is closed meanwhile.
func (j *Journal) gather(delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-j.now:
	case <-j.stop:
		return false
	}
	return true
}

// save writes what is pending in one transaction and answers those who wait
// for it. When it fails everything is pending again.
func (j *Journal) save() error {
	j.mu.Lock()
	work, waiting := j.pending, j.waiting
	j.pending, j.waiting = batch{}, nil
	j.mu.Unlock()

	var err error
	if work.size() > 0 {
		err = j.store(work)
	}
	j.mu.Lock()
	switch {
	case err != nil:
		j.pending = work.before(j.pending)
	case len(work.history) > 0:
		close(j.news)
		j.news = make(chan struct{})
	}
	j.mu.Unlock()
	for _, answer := range waiting {
		answer <- err
	}
	return err
}

// storeTimeout bounds one transaction; a disk that does not answer is an error
// that is reported.
const storeTimeout = time.Minute

func (j *Journal) store(work batch) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	tx, err := j.db.BeginTx(ctx, nil)
	if err != nil {
		return writeFault(err)
	}
	kept := j.history
	if err := j.storeIn(ctx, tx, work); err != nil {
		j.history = kept
		// The first error tells more than what undoing says.
		_ = tx.Rollback()
		return writeFault(err)
	}
	if err := tx.Commit(); err != nil {
		j.history = kept
		return writeFault(err)
	}
	return nil
}

func (j *Journal) storeIn(ctx context.Context, tx *sql.Tx, work batch) error {
	if err := storeForgets(ctx, tx, work.forgets); err != nil {
		return err
	}
	if err := storeBaselines(ctx, tx, work.baselines); err != nil {
		return err
	}
	if err := storeStates(ctx, tx, work.states); err != nil {
		return err
	}
	return j.storeHistory(ctx, tx, work.history)
}

func storeForgets(ctx context.Context, tx *sql.Tx, forgets map[object.ID]bool) error {
	for delivery := range forgets {
		owner := encodeID(delivery)
		if _, err := tx.ExecContext(ctx, `DELETE FROM baselines WHERE owner = ?`, owner); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM states WHERE delivery = ?`, owner); err != nil {
			return err
		}
	}
	return nil
}

func storeBaselines(ctx context.Context, tx *sql.Tx, baselines map[baselineKey]baselineOp) (err error) {
	if len(baselines) == 0 {
		return nil
	}
	put, err := tx.PrepareContext(ctx, `INSERT INTO baselines (cluster, object, owner, version, uid, resource_version, inputs, paths, cut, sealed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (cluster, object) DO UPDATE SET owner = excluded.owner, version = excluded.version, uid = excluded.uid,
			resource_version = excluded.resource_version, inputs = excluded.inputs, paths = excluded.paths, cut = excluded.cut,
			sealed = excluded.sealed`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, put.Close()) }()
	for key, op := range baselines {
		id := encodeID(key.id)
		switch b := op.baseline; {
		case !op.gone:
			_, err = put.ExecContext(ctx, key.cluster, id, encodeID(op.owner), op.version,
				b.UID, b.ResourceVersion, b.Inputs, b.Paths, b.Cut, b.Sealed)
		case op.whatever:
			_, err = tx.ExecContext(ctx, `DELETE FROM baselines WHERE cluster = ? AND object = ?`, key.cluster, id)
		default:
			_, err = tx.ExecContext(ctx, `DELETE FROM baselines WHERE cluster = ? AND object = ? AND owner = ?`,
				key.cluster, id, encodeID(op.owner))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func storeStates(ctx context.Context, tx *sql.Tx, states map[object.ID][]byte) error {
	for delivery, state := range states {
		var err error
		if state == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM states WHERE delivery = ?`, encodeID(delivery))
		} else {
			_, err = tx.ExecContext(ctx, `INSERT INTO states (delivery, state) VALUES (?, ?)
				ON CONFLICT (delivery) DO UPDATE SET state = excluded.state`, encodeID(delivery), state)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// storedChange is a Change as it stands in the database.
type storedChange struct {
	Verb   model.Verb `json:"verb"`
	Object string     `json:"object"`
	Why    string     `json:"why,omitempty"`
}

// storedOrigin is what an entry was made of, as it stands in the database.
type storedOrigin struct {
	Commit       *model.Commit `json:"commit,omitempty"`
	Chart        string        `json:"chart,omitempty"`
	ChartVersion string        `json:"chartVersion,omitempty"`
	AppVersion   string        `json:"appVersion,omitempty"`
}

// originOf encodes what an entry was made of; "" where nothing is known of it.
func originOf(entry *History) (string, error) {
	origin := storedOrigin{Chart: entry.Chart, ChartVersion: entry.ChartVersion, AppVersion: entry.AppVersion}
	if entry.Commit != (model.Commit{}) {
		origin.Commit = &entry.Commit
	}
	if origin == (storedOrigin{}) {
		return "", nil
	}
	text, err := json.Marshal(origin)
	return string(text), err
}

// storeHistory appends entries and drops the oldest where there are too many.
func (j *Journal) storeHistory(ctx context.Context, tx *sql.Tx, entries []History) error {
	if len(entries) == 0 {
		return nil
	}
	if j.history < 0 {
		row := tx.QueryRowContext(ctx, `SELECT coalesce(sum(bytes), 0) FROM history`)
		if err := row.Scan(&j.history); err != nil {
			return err
		}
	}
	touched := map[string]bool{}
	for _, entry := range entries {
		changes := make([]storedChange, len(entry.Changes))
		for i, change := range entry.Changes {
			changes[i] = storedChange{change.Verb, encodeID(change.Object), change.Why}
		}
		encoded, err := json.Marshal(changes)
		if err != nil {
			return err
		}
		origin, err := originOf(&entry)
		if err != nil {
			return err
		}
		delivery := encodeID(entry.Delivery)
		touched[delivery] = true
		bytes := int64(rowOverhead + len(delivery) + len(entry.Revision) + len(entry.Digest) + len(entry.Result) +
			len(entry.Message) + len(entry.Actor) + len(entry.Action) + len(entry.Address) + len(encoded) + len(origin))
		if _, err := tx.ExecContext(ctx, `INSERT INTO history (delivery, at, revision, digest, result, message, actor, action, address, changes, omitted, origin, bytes)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			delivery, entry.At.UnixNano(), entry.Revision, entry.Digest, entry.Result, entry.Message, entry.Actor,
			entry.Action, entry.Address, string(encoded), entry.Omitted, origin, bytes); err != nil {
			return err
		}
		j.history += bytes
	}
	for delivery := range touched {
		if err := j.dropHistory(ctx, tx, `DELETE FROM history WHERE delivery = ?1 AND id <=
			(SELECT id FROM history WHERE delivery = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2) RETURNING bytes`, delivery, KeptRuns); err != nil {
			return err
		}
	}
	for j.history > KeptHistory {
		if err := j.dropHistory(ctx, tx, `DELETE FROM history WHERE id IN
			(SELECT id FROM history ORDER BY id LIMIT 100) RETURNING bytes`); err != nil {
			return err
		}
	}
	return nil
}

// rowOverhead is roughly what a row of the history takes beside its texts.
const rowOverhead = 64

// dropHistory deletes entries and takes their bytes off the count.
func (j *Journal) dropHistory(ctx context.Context, tx *sql.Tx, statement string, args ...any) (err error) {
	rows, err := tx.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var bytes int64
		if err := rows.Scan(&bytes); err != nil {
			return err
		}
		j.history -= bytes
	}
	return rows.Err()
}

func writeFault(err error) error {
	fault := &model.Fault{
		Reason:  "StorageOperationFailed",
		Message: fmt.Sprintf("the journal cannot be written: %v", err),
		Advice:  "check the volume that holds it; deliveries go on, but what is not stored is worked out again after a restart",
		Retry:   true,
		Err:     err,
	}
	if isFull(err) {
		fault.Advice = "free space on the volume that holds it, or enlarge it; deliveries go on, but what is not stored is worked out again after a restart"
	}
	return fault
}
