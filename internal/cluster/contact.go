package cluster

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Contact is whether an API server answers, as the last request to it tells. No
// request is made for it: watches ask often enough.
type Contact struct {
	Asked     bool // a request has ended
	Reachable bool
	Since     time.Time // it is reachable, or not
	Err       error     // why the last request got no answer; it may name addresses, and no credentials
}

// contact remembers how requests ended.
type contact struct {
	mu      sync.Mutex
	last    Contact
	changed func() // told when reachable becomes something else; nil: nobody
}

// Contact tells whether the API server answers.
func (c *Cluster) Contact() Contact {
	c.contact.mu.Lock()
	defer c.contact.mu.Unlock()
	return c.contact.last
}

// note takes what became of a request: any answer is one. What was given up says
// nothing.
func (c *contact) note(ctx context.Context, err error) {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	c.mu.Lock()
	other := !c.last.Asked || c.last.Reachable != (err == nil)
	if other {
		c.last.Asked, c.last.Reachable, c.last.Since = true, err == nil, time.Now()
	}
	c.last.Err = err
	tell := c.changed
	c.mu.Unlock()
	if other && tell != nil {
		tell()
	}
}
