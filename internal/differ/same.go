package differ

import (
	"encoding/json"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// mostDifferences bounds what Same lists.
const mostDifferences = 50

// Same reports whether a live object is as it is wanted, and where not: at most
// fifty JSON pointers, sorted, without any value; indexes of lists count what is
// not left to others. It compares live with what the
// server predicts after an apply. Without a prediction, what is wanted is held
// against live: everything that it names must be there, list items that have a
// key may stand among others, and what the last-applied annotation names must
// be gone when it is not wanted any more.
//
// What never counts: metadata that servers write, the watch label and the marks
// that Compile was told of, last-applied annotations, status unless the rules
// say otherwise, what the rules leave to others, and the form in which servers
// write a value (fields of known types, stringData, the order of Endpoints).
// A rule whose query is stopped is passed over here; Strip returns its fault.
// An object that does not exist differs as a whole, which is the pointer "".
func Same(want, predicted, live *unstructured.Unstructured, rules *Rules) (same bool, paths []string) {
	target := predicted
	if target == nil {
		target = want
	}
	if target == nil || live == nil {
		if target == nil && live == nil {
			return true, nil
		}
		return false, []string{""}
	}
	c := comparison{
		left:  rules.normalise(target, live, predicted == nil),
		right: rules.normalise(live, live, predicted == nil),
	}
	if predicted != nil {
		c.equal(c.left.fields, c.right.fields, nil)
	} else {
		c.within(c.left.fields, c.right.fields, lastApplied(live), nil)
	}
	slices.Sort(c.paths)
	return len(c.paths) == 0, c.paths
}

// comparison collects where two objects differ.
type comparison struct {
	left, right normal
	paths       []string
}

func (c *comparison) differs(at place) {
	if len(c.paths) < mostDifferences {
		c.paths = append(c.paths, at.pointer())
	}
}

func (c *comparison) full() bool { return len(c.paths) >= mostDifferences }

// equal compares values that must be the same throughout. Null is the same as
// nothing.
func (c *comparison) equal(left, right any, at place) {
	if c.full() {
		return
	}
	switch l := left.(type) {
	case map[string]any:
		if r, ok := right.(map[string]any); ok {
			c.fields(l, r, at)
			return
		}
	case []any:
		if r, ok := right.([]any); ok {
			if len(l) != len(r) {
				c.differs(at)
				return
			}
			for i := range l {
				c.equal(l[i], r[i], at.with(i))
			}
			return
		}
	}
	c.scalar(left, right, at)
}

func (c *comparison) fields(left, right map[string]any, at place) {
	for _, key := range unionOfKeys(left, right) {
		l, inLeft := left[key]
		r, inRight := right[key]
		next := at.with(key)
		switch {
		case inLeft && inRight:
			c.equal(l, r, next)
		case inLeft && l != nil && !c.left.emptiedAt(next):
			c.differs(next)
		case inRight && r != nil && !c.right.emptiedAt(next):
			c.differs(next)
		}
	}
}

func (n *normal) emptiedAt(at place) bool { return n.emptied != nil && n.emptied[at.pointer()] }

// scalar compares what is no pair of maps or lists.
func (c *comparison) scalar(left, right any, at place) {
	if left == nil && size(right) == 0 && c.right.emptiedAt(at) || right == nil && size(left) == 0 && c.left.emptiedAt(at) {
		return
	}
	_, isMap := left.(map[string]any)
	_, isList := left.([]any)
	if isMap || isList || !sameScalar(left, right) {
		c.differs(at)
	}
}

// within compares what is wanted with a live value that may hold more. last is
// what was applied last, or nil.
func (c *comparison) within(want, live, last any, at place) {
	if c.full() {
		return
	}
	switch w := want.(type) {
	case nil: // it may be anything that a server makes of nothing
		return
	case map[string]any:
		if l, ok := live.(map[string]any); ok {
			before, _ := last.(map[string]any)
			c.fieldsWithin(w, l, before, at)
			return
		}
	case []any:
		if l, ok := live.([]any); ok {
			before, _ := last.([]any)
			c.itemsWithin(w, l, before, at)
			return
		}
	}
	c.scalar(want, live, at)
}

func (c *comparison) fieldsWithin(want, live, last map[string]any, at place) {
	for _, key := range sortedKeys(want) {
		next := at.with(key)
		if l, ok := live[key]; ok {
			c.within(want[key], l, last[key], next)
		} else if want[key] != nil && !c.left.emptiedAt(next) {
			c.differs(next)
		}
	}
	for _, key := range sortedKeys(last) {
		_, wanted := want[key]
		if _, there := live[key]; there && !wanted && last[key] != nil && !identifies(at.with(key)) && !c.right.emptiedAt(at.with(key)) {
			c.differs(at.with(key))
		}
	}
}

// itemsWithin compares lists: by key where the items of both have one, as a
// whole otherwise.
func (c *comparison) itemsWithin(want, live, last []any, at place) {
	field := ""
	if len(want) > 0 && len(live) > 0 {
		field = keyField(want, live)
	}
	if field == "" {
		if len(want) != len(live) {
			c.differs(at)
			return
		}
		for i := range want {
			c.within(want[i], live[i], nil, at.with(i))
		}
		return
	}
	wanted, there, before := listIndex{items: want}, listIndex{items: live}, listIndex{items: last}
	missing := false
	for _, item := range want {
		n := withKey(&there, field, item)
		if n < 0 {
			missing = true
			continue
		}
		var previous any
		if o := withKey(&before, field, item); o >= 0 {
			previous = last[o]
		}
		c.within(item, live[n], previous, at.with(n))
	}
	if missing {
		c.differs(at) // indexes are those of the live list
	}
	for _, item := range last {
		if n := withKey(&there, field, item); n >= 0 && withKey(&wanted, field, item) < 0 {
			c.differs(at.with(n))
		}
	}
}

// withKey is the index of the item that has the same key, or -1.
func withKey(list *listIndex, field string, item any) int {
	fields, _ := item.(map[string]any)
	if _, ok := fields[field]; !ok {
		return -1
	}
	return first(list.find([]string{field}, fields))
}

// lastApplied reads the annotation that client-side apply leaves; nil when
// there is none, or none that can be read. It counts only where the live object
// still has what it names, so that what never counts in live does not count in
// it either.
func lastApplied(live *unstructured.Unstructured) any {
	text := live.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"]
	var last map[string]any
	if text == "" || json.Unmarshal([]byte(text), &last) != nil {
		return nil
	}
	delete(last, "status")
	if data, ok := last["stringData"].(map[string]any); ok && live.GetKind() == "Secret" {
		folded, _ := last["data"].(map[string]any)
		if folded == nil {
			folded = map[string]any{}
		}
		for key := range data {
			folded[key] = ""
		}
		last["data"] = folded
		delete(last, "stringData")
	}
	return last
}

func unionOfKeys(a, b map[string]any) []string {
	keys := sortedKeys(a)
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
