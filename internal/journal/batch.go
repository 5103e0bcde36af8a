package journal

import (
	"maps"
	"unicode/utf8"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// batch is what waits to be written: the last word on each baseline and state,
// and the history in order. Forgets come first when it is written.
type batch struct {
	forgets   map[object.ID]bool
	baselines map[baselineKey]baselineOp
	states    map[object.ID][]byte
	history   []History
}

type baselineKey struct {
	cluster string
	id      object.ID
}

// baselineOp is a baseline to store or, with gone, to drop: whoever's it is
// when whatever, else only the owner's.
type baselineOp struct {
	owner    object.ID
	version  string
	baseline model.Baseline
	gone     bool
	whatever bool
}

func (b *batch) ready() {
	if b.baselines == nil {
		b.forgets = map[object.ID]bool{}
		b.baselines = map[baselineKey]baselineOp{}
		b.states = map[object.ID][]byte{}
	}
}

func (b *batch) size() int {
	return len(b.forgets) + len(b.baselines) + len(b.states) + len(b.history)
}

func (b *batch) put(cluster string, owner, id object.ID, version string, baseline model.Baseline) {
	b.baselines[baselineKey{cluster, id}] = baselineOp{owner: owner, version: version, baseline: baseline}
}

func (b *batch) remove(cluster string, owner, id object.ID) {
	key := baselineKey{cluster, id}
	last, ok := b.baselines[key]
	switch {
	case !ok:
		b.baselines[key] = baselineOp{owner: owner, gone: true}
	case last.owner == owner || last.gone:
		// The database may still have an owner from before the last put.
		b.baselines[key] = baselineOp{owner: owner, gone: true, whatever: !last.gone || last.whatever}
	}
}

func (b *batch) forget(delivery object.ID) {
	b.forgets[delivery] = true
	delete(b.states, delivery)
	for key, op := range b.baselines {
		if op.owner == delivery && !op.gone {
			b.baselines[key] = baselineOp{owner: delivery, gone: true, whatever: true}
		}
	}
}

func (b *batch) record(entry History) {
	if len(b.history) >= keptPending {
		b.history = b.history[1:]
	}
	b.history = append(b.history, entry)
}

// before puts a batch that could not be written under what has come since.
func (b *batch) before(later batch) batch {
	if later.baselines == nil {
		return *b
	}
	for delivery := range later.forgets {
		b.forget(delivery)
	}
	for key, op := range later.baselines {
		if op.gone {
			last, ok := b.baselines[key]
			if ok && last.owner != op.owner && !op.whatever && !last.gone {
				continue // a removal by someone who no longer owned it
			}
			op.whatever = op.whatever || (ok && (!last.gone || last.whatever))
		}
		b.baselines[key] = op
	}
	maps.Copy(b.states, later.states)
	b.history = append(b.history, later.history...)
	if over := len(b.history) - keptPending; over > 0 {
		b.history = b.history[over:]
	}
	return *b
}

// keptPending is how many entries of the history wait for a disk that takes
// nothing, before the oldest are dropped.
const keptPending = 1000

// bounded cuts an entry down to what is kept of it.
func bounded(entry History) History {
	entry.Message = cut(entry.Message)
	entry.Revision, entry.Digest = cut(entry.Revision), cut(entry.Digest)
	entry.Result, entry.Actor = cut(entry.Result), cut(entry.Actor)
	entry.Action, entry.Address = cut(entry.Action), cut(entry.Address)
	entry.Chart, entry.ChartVersion, entry.AppVersion = cut(entry.Chart), cut(entry.ChartVersion), cut(entry.AppVersion)
	entry.Commit.Hash, entry.Commit.Author = cut(entry.Commit.Hash), cut(entry.Commit.Author)
	entry.Commit.Message, entry.Commit.Signature = cut(entry.Commit.Message), cut(entry.Commit.Signature)
	entry.Commit.When = entry.Commit.When.UTC()
	kept := entry.Changes
	if over := len(kept) - KeptChanges; over > 0 {
		kept = kept[:KeptChanges]
		entry.Omitted += over
	}
	entry.Changes = append([]Change(nil), kept...)
	for i := range entry.Changes {
		entry.Changes[i].Why = cut(entry.Changes[i].Why)
	}
	return entry
}

// cut shortens a text to the bytes that are kept, at the end of a character.
func cut(text string) string {
	const ellipsis = "…"
	if len(text) <= KeptText {
		return text
	}
	end := KeptText - len(ellipsis)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}
