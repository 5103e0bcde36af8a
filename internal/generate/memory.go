package generate

import (
	"container/list"
	"crypto/sha256"
	"net/http"
	"sync"
)

// memory holds what servers said, within a budget of bytes. What was not used
// for longest goes first. It is a cache: losing it costs requests only.
type memory struct {
	budget int64

	mu     sync.Mutex
	used   int64
	recent *list.List // of *memo, the last used in front
	byKey  map[[sha256.Size]byte]*list.Element
}

// memo is an answer with its entity tag, or a lasting fact about a commit.
type memo struct {
	key    [sha256.Size]byte
	tag    string
	header http.Header // what paging needs
	body   []byte
}

// memoOverhead is about what a memo costs beside its bytes.
const memoOverhead = 300

func (m *memo) size() int64 {
	size := int64(memoOverhead + len(m.tag) + len(m.body))
	for name, values := range m.header {
		size += int64(len(name))
		for _, value := range values {
			size += int64(len(value))
		}
	}
	return size
}

func newMemory(budget int64) *memory {
	return &memory{budget: budget, recent: list.New(), byKey: map[[sha256.Size]byte]*list.Element{}}
}

// recall returns what is remembered, or nil. It must not be changed.
func (m *memory) recall(key [sha256.Size]byte) *memo {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.byKey[key]
	if at == nil {
		return nil
	}
	m.recent.MoveToFront(at)
	return at.Value.(*memo)
}

// keep remembers one answer. One that would push out most others is not kept.
func (m *memory) keep(one *memo) {
	const share = 4
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.byKey[one.key])
	if one.size() > m.budget/share {
		return
	}
	m.byKey[one.key] = m.recent.PushFront(one)
	m.used += one.size()
	for m.used > m.budget {
		m.drop(m.recent.Back())
	}
}

func (m *memory) drop(at *list.Element) {
	if at == nil {
		return
	}
	one := m.recent.Remove(at).(*memo)
	delete(m.byKey, one.key)
	m.used -= one.size()
}
