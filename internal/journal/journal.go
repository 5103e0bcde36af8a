package journal

import (
	"bytes"
	"context"
	"database/sql"
	"sync"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Bounds of the history.
const (
	// KeptRuns is how many entries of one delivery are kept.
	KeptRuns = 100
	// KeptChanges is how many changes of one entry are kept; Omitted counts the rest.
	KeptChanges = 200
	// KeptText is how many bytes of a message or reason are kept.
	KeptText = 4 << 10
	// KeptHistory is how many bytes the entries of all deliveries may hold.
	KeptHistory = 32 << 20
)

// History is the account of one run of a delivery, or of what a person did to
// it.
type History struct {
	Delivery object.ID
	At       time.Time // kept to the nanosecond, in UTC
	Revision string
	Digest   string // of the desired set
	Result   string // one CamelCase word, such as "ReconciliationSucceeded"
	Message  string // free of secrets
	Actor    string // who asked for it; "" for Plumb itself
	Action   string // what a person did, such as "sync" or "login"; "" for a run
	Address  string // where that person came from; "" when it is not known
	Changes  []Change
	Omitted  int // changes that are not in Changes, because there were more than KeptChanges

	// Commit is that of Revision, as its source told of it then: no source need
	// have it any more. Zero: Revision is of no commit.
	Commit model.Commit
	// Chart is what a Helm release was made of, and AppVersion what it brings; "":
	// the run was none of a release.
	Chart, ChartVersion, AppVersion string
}

// Change is what a run did to one object.
type Change struct {
	Verb   model.Verb
	Object object.ID
	Why    string
}

// Journal is an open journal. Its methods may be called from any goroutine.
type Journal struct {
	db     *sql.DB
	notice string
	report func(error)

	mu      sync.Mutex
	pending batch
	waiting []chan error  // Flush calls that the next batch answers
	news    chan struct{} // closed when entries of the history are stored
	closed  bool

	wake chan struct{} // something is pending
	now  chan struct{} // write without waiting for more
	done chan struct{} // closed when the writer has returned
	stop chan struct{}

	history int64 // bytes in the history; -1 until counted; the writer's own
}

// Option changes how a journal is opened.
type Option func(*settings)

type settings struct {
	report   func(error)
	maxBytes int64
}

// OnError is called when writing begins to fail, as when the disk is full, and
// with nil when it works again. What could not be written is kept and tried
// again. The function must not call the journal.
func OnError(report func(error)) Option { return func(s *settings) { s.report = report } }

// MaxBytes bounds the size of the database file; 0 means no bound. Reaching it
// is an error like a full disk.
func MaxBytes(n int64) Option { return func(s *settings) { s.maxBytes = n } }

// Open opens the journal in the file at path, which it creates with its
// directory when it is missing; an empty path is a journal in memory. A file
// that is damaged, or that a newer Plumb wrote, is moved aside and a new one is
// started: Notice then says so. An error is a *model.Fault. ctx bounds the
// opening only.
func Open(ctx context.Context, path string, options ...Option) (*Journal, error) {
	set := settings{report: func(error) {}}
	for _, option := range options {
		option(&set)
	}
	db, notice, err := openDatabase(ctx, path, set.maxBytes)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		db:      db,
		notice:  notice,
		report:  set.report,
		news:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		now:     make(chan struct{}, 1),
		done:    make(chan struct{}),
		stop:    make(chan struct{}),
		history: -1,
	}
	go j.write()
	return j, nil
}

// Notice is what the operator should know about the opening, in one line, or
// "".
func (j *Journal) Notice() string { return j.notice }

// Put stores the baseline of an object on a cluster, with the delivery that
// owns it and the API version that it was applied in. Call it only with what
// the API server has acknowledged. An object has one baseline: the last owner's.
func (j *Journal) Put(cluster string, owner, id object.ID, version string, b model.Baseline) {
	j.add(func(pending *batch) { pending.put(cluster, owner, id, version, b) })
}

// Remove drops the baseline of an object, if it is the owner's: what another
// delivery has adopted since stays.
func (j *Journal) Remove(cluster string, owner, id object.ID) {
	j.add(func(pending *batch) { pending.remove(cluster, owner, id) })
}

// PutState stores the facts about a delivery that its next run after a restart
// wants to know. nil removes them.
func (j *Journal) PutState(delivery object.ID, state []byte) {
	j.add(func(pending *batch) { pending.states[delivery] = bytes.Clone(state) })
}

// Forget drops the baselines and facts of a delivery that is gone. Its history
// stays.
func (j *Journal) Forget(delivery object.ID) {
	j.add(func(pending *batch) { pending.forget(delivery) })
}

// Record appends to the history of a delivery. What exceeds the bounds is cut.
func (j *Journal) Record(entry History) {
	entry = bounded(entry)
	j.add(func(pending *batch) { pending.record(entry) })
}

// add changes what is pending. Calls after Close are dropped: nothing would
// write them.
func (j *Journal) add(change func(*batch)) {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return
	}
	j.pending.ready()
	change(&j.pending)
	full := j.pending.size() == batchSize
	j.mu.Unlock()
	signal(j.wake)
	if full {
		signal(j.now)
	}
}

// News is closed when entries of the history are stored after this.
func (j *Journal) News() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.news
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Flush waits until everything said before is stored, and returns why it could
// not be.
func (j *Journal) Flush(ctx context.Context) error {
	answer := make(chan error, 1)
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return errClosed
	}
	j.waiting = append(j.waiting, answer)
	j.mu.Unlock()
	signal(j.wake)
	signal(j.now)
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stores what is pending and closes the journal. It returns what could
// not be stored. Closing again does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	close(j.stop)
	<-j.done
	err := j.save()
	if closing := j.db.Close(); err == nil {
		err = closing
	}
	return err
}
