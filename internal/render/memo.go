package render

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"plumb.dev/plumb/internal/model"
)

// Renderer names the code that renders. It is part of every key, so that no
// result outlives the code that made it.
const Renderer = "kustomize v0.21.2, jsonnet v0.22.0, helm v4.3.1, plumb 3"

// Key names what a result depends on besides the tree.
type Key struct {
	Renderer string
	Options  string // digest of what has a part in it of model.Render
	Dir      string // in the tree, "" for the root
	Limits   Limits
}

// Memo remembers renders with the answers of the tree that they came from. A
// remembered result is used for another tree exactly when that tree gives the
// same answers. Faults are remembered too, unless a retry may help, so that a
// broken directory is not built again by every commit that does not touch it.
//
// A result that is Pinned (it used randomness or the clock) is remembered like
// any other: while its trace holds it is never made anew. When a memo loses it,
// to its budget or to a restart, the next render differs with unchanged inputs;
// who applies objects must therefore keep what was applied for a pinned result
// and the key it had, and not rely on the memo alone.
//
// Results may hold secrets; they stay in memory. A Memo may be used by several
// goroutines.
type Memo struct {
	budget int64

	mu      sync.Mutex
	used    int64
	entries map[Key][]*list.Element // of *remembered, last used first
	order   *list.List              // last used first
}

type remembered struct {
	key      Key
	base     string // origin.Field of the call, which the fields of origins are below
	trace    model.Trace
	manifest *model.Manifest
	fault    *model.Fault
	cost     int64
}

// perKey is how many results of one key are kept: a few branches, and the
// commits between which a revert goes back and forth.
const perKey = 8

// NewMemo returns a memo that holds about budget bytes.
func NewMemo(budget int64) *Memo {
	return &Memo{budget: budget, entries: map[Key][]*list.Element{}, order: list.New()}
}

// Render returns the remembered result for key whose trace holds in tree, or
// calls render with a recorder of tree and remembers what came out. hit says
// which. origin is put on the objects and on a fault, whose own origins keep
// their file and line, and what their field is below that of origin. The manifest is the caller's; the JSON in it is
// shared and must not be changed.
func (m *Memo) Render(ctx context.Context, key Key, origin model.Origin, tree Tree, render func(*Recorder) (*model.Manifest, error)) (result *model.Manifest, hit bool, err error) {
	known, err := m.recall(key, tree)
	if err != nil {
		return nil, false, err
	}
	if known != nil {
		if known.fault != nil {
			return nil, true, faultAt(known.fault, origin, known.base)
		}
		return at(known.manifest, origin, known.base), true, nil
	}
	recorder := Record(ctx, tree, key.Limits)
	manifest, err := render(recorder)
	if recorder.Failed() == nil && ctx.Err() == nil {
		m.remember(&remembered{key: key, base: origin.Field, trace: recorder.Trace(), manifest: manifest}, err)
	}
	if err != nil {
		return nil, false, err
	}
	return at(manifest, origin, origin.Field), false, nil
}

// Bytes is what the memo holds now, by its own estimate.
func (m *Memo) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// recall finds the entry whose trace holds. The tree is asked without the lock.
func (m *Memo) recall(key Key, tree Tree) (*remembered, error) {
	m.mu.Lock()
	candidates := slices.Clone(m.entries[key])
	m.mu.Unlock()
	for _, element := range candidates {
		entry, _ := element.Value.(*remembered)
		holds, err := Holds(tree, entry.trace)
		if err != nil {
			return nil, err
		}
		if holds {
			m.touch(key, element)
			return entry, nil
		}
	}
	return nil, nil
}

func (m *Memo) touch(key Key, element *list.Element) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.Index(m.entries[key], element)
	if at < 0 { // evicted meanwhile
		return
	}
	m.order.MoveToFront(element)
	same := m.entries[key]
	copy(same[1:at+1], same[:at])
	same[0] = element
}

func (m *Memo) remember(entry *remembered, err error) {
	key := entry.key
	if err != nil {
		var fault *model.Fault
		if !errors.As(err, &fault) || fault.Retry {
			return
		}
		entry.manifest, entry.fault = nil, fault
	}
	entry.cost = costOf(entry)
	m.mu.Lock()
	defer m.mu.Unlock()
	if entry.cost > m.budget {
		return
	}
	element := m.order.PushFront(entry)
	m.entries[key] = slices.Insert(m.entries[key], 0, element)
	m.used += entry.cost
	if same := m.entries[key]; len(same) > perKey {
		m.drop(same[len(same)-1])
	}
	for m.used > m.budget {
		m.drop(m.order.Back())
	}
}

func (m *Memo) drop(element *list.Element) {
	entry, _ := m.order.Remove(element).(*remembered)
	m.used -= entry.cost
	rest := slices.DeleteFunc(m.entries[entry.key], func(e *list.Element) bool { return e == element })
	if len(rest) == 0 {
		delete(m.entries, entry.key)
		return
	}
	m.entries[entry.key] = rest
}

// costOf estimates the bytes that an entry keeps alive.
func costOf(entry *remembered) int64 {
	const perEntry, perRead, perObject = 512, 120, 400
	cost := int64(perEntry + len(entry.key.Dir))
	for _, read := range entry.trace {
		cost += int64(perRead + len(read.Path) + len(read.Digest))
	}
	if entry.fault != nil {
		cost += int64(len(entry.fault.Message) + len(entry.fault.Advice))
	}
	if entry.manifest != nil {
		cost += int64(len(entry.manifest.Notes))
		for _, rendered := range entry.manifest.Objects {
			cost += int64(perObject + len(rendered.JSON))
		}
	}
	return cost
}

// At returns a manifest with the same objects whose origins are origin, with
// the file and line they had.
func At(m *model.Manifest, origin model.Origin) *model.Manifest { return at(m, origin, "") }

func at(m *model.Manifest, origin model.Origin, base string) *model.Manifest {
	moved := *m
	moved.Objects = slices.Clone(m.Objects)
	for i := range moved.Objects {
		moved.Objects[i].Origin = originAt(moved.Objects[i].Origin, origin, base)
	}
	return &moved
}

func faultAt(fault *model.Fault, origin model.Origin, base string) *model.Fault {
	moved := *fault
	moved.Origin = originAt(fault.Origin, origin, base)
	return &moved
}

// originAt moves an origin to another declaring object. A field below base is
// below the field of that one.
func originAt(was, now model.Origin, base string) model.Origin {
	if was.File != "" {
		now.File, now.Line = was.File, was.Line
	}
	below, ok := strings.CutPrefix(was.Field, base)
	switch {
	case ok && base != "":
		now.Field += below
	case was.Field != "":
		now.Field = was.Field
	}
	return now
}
