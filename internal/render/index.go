package render

import (
	"slices"
	"sync"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Index finds the users whose renders a change of a source may touch. It holds
// their traces inverted, so that the cost of a question grows with the changes
// and with what they touch, not with the number of users. It may answer with a
// user whose trace still holds (the memo finds that out), never leave one out.
// The zero value is ready to use, by several goroutines.
type Index struct {
	mu    sync.RWMutex
	users map[object.ID][]placed
	// watched is inverted: source and path, then who reads it and how.
	watched map[spot]map[object.ID]interest
}

// Reading is what a render read of one source.
type Reading struct {
	Source object.ID
	Trace  model.Trace
}

// placed is where a user stands in the index, for one source.
type placed struct {
	source object.ID
	paths  []string
}

type spot struct {
	source object.ID
	path   string
}

// interest is a set of the kinds of change that matter to a reader of a path.
type interest uint8

const (
	content interest = 1 << iota // this very file: changed, gone, or there at last
	listing                      // names and types in this directory
	below                        // anything at or below the path
	shape                        // whether something stands here, and of what type
)

// Set records what the last render of user read; it replaces what was recorded
// for user before. A source may be read several times.
func (x *Index) Set(user object.ID, readings ...Reading) {
	interests := make(map[object.ID]map[string]interest, len(readings))
	for _, r := range readings {
		of := interests[r.Source]
		if of == nil {
			of = make(map[string]interest, len(r.Trace))
			interests[r.Source] = of
		}
		for _, read := range r.Trace {
			of[read.Path] |= interestOf(read.Kind)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(user)
	if x.users == nil {
		x.users = map[object.ID][]placed{}
		x.watched = map[spot]map[object.ID]interest{}
	}
	for source, of := range interests {
		paths := make([]string, 0, len(of))
		for p, wanted := range of {
			paths = append(paths, p)
			at := spot{source, p}
			if x.watched[at] == nil {
				x.watched[at] = make(map[object.ID]interest, 1)
			}
			x.watched[at][user] = wanted
		}
		x.users[user] = append(x.users[user], placed{source: source, paths: paths})
	}
}

// Remove forgets a user.
func (x *Index) Remove(user object.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(user)
}

func (x *Index) remove(user object.ID) {
	for _, was := range x.users[user] {
		for _, p := range was.paths {
			at := spot{was.source, p}
			delete(x.watched[at], user)
			if len(x.watched[at]) == 0 {
				delete(x.watched, at)
			}
		}
	}
	delete(x.users, user)
}

// Touched returns the users of source that read anything of what changed,
// sorted.
func (x *Index) Touched(source object.ID, changes []model.PathChange) []object.ID {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := map[object.ID]struct{}{}
	climbed := map[string]interest{} // directories whose readers were collected, and of what
	collect := func(p string, change interest) {
		for user, wanted := range x.watched[spot{source, p}] {
			if wanted&change != 0 {
				found[user] = struct{}{}
			}
		}
	}
	climb := func(from string, change interest) {
		for dir := from; ; dir = parent(dir) {
			if climbed[dir]&change == change {
				return
			}
			climbed[dir] |= change
			collect(dir, change)
			if dir == "" {
				return
			}
		}
	}
	for _, change := range changes {
		switch change.Kind {
		case model.PathChanged:
			collect(change.Path, content|below|shape)
			climb(parent(change.Path), below)
		case model.PathListed:
			collect(change.Path, listing|below|shape)
		default:
			// A directory appears with its first file and goes with its last,
			// which is a change of shape for it and of listing for its parent.
			collect(change.Path, content|listing|below|shape)
			climb(parent(change.Path), listing|below|shape)
		}
	}
	users := make([]object.ID, 0, len(found))
	for user := range found {
		users = append(users, user)
	}
	slices.SortFunc(users, func(a, b object.ID) int {
		switch {
		case a.Less(b):
			return -1
		case b.Less(a):
			return 1
		}
		return 0
	})
	return users
}

func interestOf(kind model.ReadKind) interest {
	switch kind {
	case model.ReadFile:
		return content | shape
	case model.ReadList:
		return listing | shape
	case model.ReadTree:
		return below | shape
	}
	return shape
}
