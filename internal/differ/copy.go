package differ

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Copy makes want leave alone what the rules leave to others
// (RespectIgnoreDifferences; argo-cd controller/sync.go,
// normalizeTargetResources): every path that is ignored takes the value that it
// has on the cluster, or goes where the cluster has none. What field managers
// own takes their value where want names it, and is not added otherwise, as
// applying it would take it from them. status is never copied. want is changed
// in place. Rules that are only about comparing are passed over.
func (r *Rules) Copy(want, live *unstructured.Unstructured) error {
	if r == nil || live == nil {
		return nil
	}
	for i := range r.rules {
		rule := &r.rules[i]
		if rule.CompareOnly || !rule.target.Selects(want) {
			continue
		}
		if err := rule.copy(want.Object, live); err != nil {
			return err
		}
	}
	return nil
}

func (r *rule) copy(want map[string]any, live *unstructured.Unstructured) error {
	if len(r.Managers) > 0 {
		keepOwned(want, live, r.Managers)
	}
	for _, tokens := range r.pointers {
		at, inWant := locate(want, tokens)
		from, inLive := locate(live.Object, tokens)
		newTransfer(want, live.Object, true).run(some(at, inWant), some(from, inLive))
	}
	for _, q := range r.queries {
		inWant, err := q.paths(want)
		if err != nil {
			return r.stopped(q, err)
		}
		inLive, err := q.paths(live.Object)
		if err != nil {
			return r.stopped(q, err)
		}
		newTransfer(want, live.Object, false).run(inWant, inLive)
	}
	return nil
}

func some(p place, ok bool) []place {
	if !ok {
		return nil
	}
	return []place{p}
}

// keepOwned gives the fields of want that the managers own the values that
// they have on the cluster.
func keepOwned(want map[string]any, live *unstructured.Unstructured, managers []string) {
	t := newTransfer(want, live.Object, false)
	for _, from := range owned(live.Object, live, managers) {
		if from[0] == "status" {
			continue
		}
		to, before, ok := t.counterpart(from)
		if !ok || before {
			continue
		}
		if _, named := to.get(want); !named {
			continue
		}
		if value, ok := from.get(live.Object); ok {
			to.set(want, clone(value))
		}
	}
}

// transfer carries values from a live object to a wanted one.
type transfer struct {
	want, live map[string]any
	byIndex    bool               // list items are the same where their index is; otherwise where their key is
	paired     map[string]pairing // by the pointer of the live list
}

// pairing says for each item of a live list which item of the wanted list is
// the same: its index, or -1.
type pairing []int

func newTransfer(want, live map[string]any, byIndex bool) *transfer {
	return &transfer{want: want, live: live, byIndex: byIndex, paired: map[string]pairing{}}
}

// edit is one change of a list in want, whose indexes are meant as the list was
// before the first of them.
type edit struct {
	at     place
	insert bool // before the item at that index; otherwise what is there goes
	value  any
}

// run carries the values at some places of live over, and removes those of
// want that live has no value for.
func (t *transfer) run(inWant, inLive []place) {
	type assignment struct {
		to    place
		value any
	}
	var assignments []assignment
	var edits []edit
	kept := map[string]bool{}
	for _, from := range inLive {
		value, exists := from.get(t.live)
		to, before, ok := t.counterpart(from)
		switch {
		case !ok || !exists || from[0] == "status":
		case before:
			edits = append(edits, edit{at: to, insert: true, value: clone(value)})
		default:
			kept[to.pointer()] = true
			assignments = append(assignments, assignment{to, clone(value)})
		}
	}
	for _, at := range inWant {
		if at[0] != "status" && !kept[at.pointer()] {
			edits = append(edits, edit{at: at})
		}
	}
	for _, a := range assignments {
		a.to.set(t.want, a.value)
	}
	t.edit(edits)
}

// edit makes changes from the end, so that the indexes of those before stay.
func (t *transfer) edit(edits []edit) {
	slices.SortStableFunc(edits, func(a, b edit) int {
		if c := comparePlaces(a.at, b.at); c != 0 || a.insert == b.insert {
			return c
		}
		if a.insert {
			return -1 // what goes at an index goes before something comes there
		}
		return 1
	})
	for i := len(edits) - 1; i >= 0; i-- {
		if edits[i].insert {
			insertAt(t.want, edits[i].at, edits[i].value)
		} else {
			removeAt(t.want, edits[i].at)
		}
	}
}

// insertAt puts an item into a list.
func insertAt(at any, p place, value any) any {
	child, _ := place{p[0]}.get(at)
	switch step := p[0].(type) {
	case string:
		if fields, ok := at.(map[string]any); ok {
			if child == nil && len(p) == 2 {
				child = []any{}
			}
			fields[step] = insertAt(child, p[1:], value)
		}
	case int:
		items, _ := at.([]any)
		switch {
		case len(p) == 1:
			return slices.Insert(slices.Clone(items), min(step, len(items)), value)
		case step < len(items):
			items[step] = insertAt(child, p[1:], value)
		}
	}
	return at
}

// counterpart finds the place in want that is the same as one in live. An item
// that want does not have comes before the index that is returned, behind the
// one that it stands behind in live. It is false when something on the way is
// no part of want.
func (t *transfer) counterpart(from place) (to place, before, ok bool) {
	var wanted, there any = t.want, t.live
	to = make(place, 0, len(from))
	for n, step := range from {
		switch s := step.(type) {
		case string:
			fields, ok := wanted.(map[string]any)
			if !ok && wanted != nil {
				return nil, false, false
			}
			to = append(to, s)
			wanted = fields[s]
			there, _ = place{s}.get(there)
		case int:
			theirs, _ := there.([]any)
			ours, ok := wanted.([]any)
			if !ok && wanted != nil || s >= len(theirs) {
				return nil, false, false
			}
			pairs := t.pair(from[:n], ours, theirs)
			i := pairs[s]
			if i < 0 {
				return append(to, pairs.behind(s)), true, n == len(from)-1 && n > 0
			}
			to = append(to, i)
			wanted, there = ours[i], theirs[s]
		}
	}
	return to, false, true
}

// behind is the index of want at which an item of live comes that want does not
// have.
func (p pairing) behind(i int) int {
	for i--; i >= 0; i-- {
		if p[i] >= 0 {
			return p[i] + 1
		}
	}
	return 0
}

// pair pairs the items of two lists: by key where they have one, sets of
// scalars by value, others by index.
func (t *transfer) pair(at place, ours, theirs []any) pairing {
	name := at.pointer()
	if known, ok := t.paired[name]; ok {
		return known
	}
	pairs := make(pairing, len(theirs))
	field := ""
	if !t.byIndex && len(ours) > 0 {
		field = keyField(ours, theirs)
	}
	index := listIndex{items: ours}
	for i, item := range theirs {
		switch {
		case t.byIndex:
			pairs[i] = within(i, ours)
		case field != "":
			fields, _ := item.(map[string]any)
			pairs[i] = first(index.find([]string{field}, fields))
		case isScalar(item):
			pairs[i] = first(index.find(nil, map[string]any{"": item}))
		default:
			pairs[i] = within(i, ours)
		}
	}
	t.paired[name] = pairs
	return pairs
}

func within(i int, list []any) int {
	if i < len(list) {
		return i
	}
	return -1
}

func first(found []any) int {
	if len(found) == 0 {
		return -1
	}
	i, _ := found[0].(int)
	return i
}

func isScalar(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

// usualKeys are the merge keys of the built-in kinds (k8s.io/api, tags
// patchMergeKey and listMapKey) and those that other kinds take, the most
// telling first.
var usualKeys = []string{"name", "containerPort", "port", "mountPath", "devicePath", "host", "uid", "ip", "topologyKey", "type", "key", "id"}

// keyField is the field by which the items of both lists are told apart: every
// item has it, with a value of its own. It is "" when there is none.
func keyField(lists ...[]any) string {
	for _, field := range usualKeys {
		if distinct(field, lists) {
			return field
		}
	}
	return ""
}

func distinct(field string, lists [][]any) bool {
	for _, list := range lists {
		seen := make(map[any]bool, len(list))
		for _, item := range list {
			fields, _ := item.(map[string]any)
			switch value := fields[field].(type) {
			case string, int64, float64:
				seen[value] = true
			}
		}
		if len(seen) != len(list) {
			return false
		}
	}
	return true
}
