package source

import (
	"runtime"
	"sync"
	"weak"

	"github.com/go-git/go-git/v5/plumbing"
)

// directories shares the nodes of whole directories between trees: a thousand
// sources of one chart hold it in memory once. A directory goes when the last
// tree that holds it is gone.
type directories struct {
	mu  sync.Mutex
	all map[plumbing.Hash]weak.Pointer[dir]
}

// shared returns the nodes of a directory of the content depot of which nothing
// is left out, made by build unless some tree holds them.
func (s *Store) shared(root plumbing.Hash, build func() (*dir, error)) (*dir, error) {
	if d := s.dirs.find(root); d != nil {
		return d, nil
	}
	d, err := build()
	if err != nil {
		return nil, err
	}
	return s.dirs.keep(root, d), nil
}

func (c *directories) find(root plumbing.Hash) *dir {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[root].Value()
}

// keep remembers a directory, or returns the one that came first.
func (c *directories) keep(root plumbing.Hash, d *dir) *dir {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.all[root].Value(); first != nil {
		return first
	}
	if c.all == nil {
		c.all = map[plumbing.Hash]weak.Pointer[dir]{}
	}
	c.all[root] = weak.Make(d)
	runtime.AddCleanup(d, c.drop, root)
	return d
}

// drop forgets a directory that nobody holds.
func (c *directories) drop(root plumbing.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all[root].Value() == nil {
		delete(c.all, root)
	}
}
