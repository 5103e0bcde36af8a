package registry

import "sync"

// memory remembers values up to a weight in bytes, the oldest forgotten first.
type memory[T any] struct {
	limit int64

	mu     sync.Mutex
	weight int64
	order  []string
	held   map[string]weighed[T]
}

type weighed[T any] struct {
	value  T
	weight int64
}

func newMemory[T any](limit int64) *memory[T] {
	return &memory[T]{limit: limit, held: map[string]weighed[T]{}}
}

func (m *memory[T]) get(key string) (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one, ok := m.held[key]
	return one.value, ok
}

// put remembers a value; its key and what holds it weigh too.
func (m *memory[T]) put(key string, value T, weight int64) {
	weight += int64(len(key)) + 128
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.held[key]; ok || weight > m.limit {
		return
	}
	m.held[key] = weighed[T]{value, weight}
	m.order = append(m.order, key)
	m.weight += weight
	for m.weight > m.limit {
		oldest := m.order[0]
		m.weight -= m.held[oldest].weight
		delete(m.held, oldest)
		m.order = m.order[1:]
	}
}
