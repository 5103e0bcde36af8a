package signin

import (
	"sync"
	"time"
)

// ledger remembers values until a time, and not more than most of them. A full
// one forgets what has expired, then an arbitrary tenth.
type ledger[V any] struct {
	mutex   *sync.Mutex
	most    int
	entries map[string]ledgerEntry[V]
}

type ledgerEntry[V any] struct {
	value V
	until time.Time
}

func newLedger[V any](most int) ledger[V] {
	return ledger[V]{mutex: new(sync.Mutex), most: most, entries: map[string]ledgerEntry[V]{}}
}

func (l ledger[V]) get(key string, now time.Time) (V, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	entry, ok := l.entries[key]
	if !ok || !now.Before(entry.until) {
		var none V
		return none, false
	}
	return entry.value, true
}

func (l ledger[V]) put(key string, value V, now, until time.Time) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.store(key, value, now, until)
}

// claim stores the key and reports whether it was not there yet.
func (l ledger[V]) claim(key string, value V, now, until time.Time) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if entry, ok := l.entries[key]; ok && now.Before(entry.until) {
		return false
	}
	l.store(key, value, now, until)
	return true
}

func (l ledger[V]) drop(key string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	delete(l.entries, key)
}

func (l ledger[V]) store(key string, value V, now, until time.Time) {
	if _, there := l.entries[key]; !there && len(l.entries) >= l.most {
		for old, entry := range l.entries {
			if !now.Before(entry.until) {
				delete(l.entries, old)
			}
		}
		for old := range l.entries {
			if len(l.entries) <= l.most-max(1, l.most/10) {
				break
			}
			delete(l.entries, old)
		}
	}
	l.entries[key] = ledgerEntry[V]{value: value, until: until}
}
