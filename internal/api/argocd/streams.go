package argocd

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

const (
	// streamTime is how long a call may go on. Then the caller asks again.
	streamTime = 30 * time.Minute
	// rechecked is how long one goes on without a look at who its caller is.
	rechecked = 30 * time.Second
)

// lasting answers a call that goes on. It is counted, it does not outlive the
// session that began it, and nothing is sent to those who have lost what they
// had: it is looked again before a message when the policy is another one, and
// every half minute whether there are messages or not.
func (s *server) lasting(ctx context.Context, h handler, c *call, send func(map[string]any) error) error {
	if s.Begin != nil {
		end, ok := s.Begin(c.who)
		if !ok {
			return failed(connect.CodeResourceExhausted, "too many streams go on: end some of them")
		}
		defer end()
	}
	until := time.Now().Add(streamTime)
	if ends := c.who.Expires; c.signedIn && !ends.IsZero() && ends.Before(until) {
		until = ends
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	w := &watchman{server: s, handler: h, call: c, policy: s.Guard.Policy(), looked: time.Now()}
	go func() {
		clock := time.NewTicker(rechecked)
		defer clock.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-clock.C:
				if w.look(ctx) != nil {
					cancel()
				}
			}
		}
	}()
	err := h.stream(ctx, c, func(value map[string]any) error {
		if err := w.look(ctx); err != nil {
			cancel()
			return err
		}
		return send(value)
	})
	if refused := w.verdict(); refused != nil {
		return refused
	}
	return err
}

// watchman looks after one call that goes on.
type watchman struct {
	server  *server
	handler handler
	call    *call

	mu      sync.Mutex
	policy  *policy.Policy
	looked  time.Time
	refused error // why it ended
}

func (w *watchman) verdict() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

// look says why the call may not go on; nil: it may.
func (w *watchman) look(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, policy := time.Now(), w.server.Guard.Policy()
	if w.refused != nil || w.policy == policy && now.Sub(w.looked) < rechecked {
		return w.refused
	}
	w.policy, w.looked = policy, now
	if err := w.again(ctx); err != nil && ctx.Err() == nil {
		w.refused = err
	}
	return w.refused
}

// again asks who calls, and whether they may, as it was asked when the call
// began.
func (w *watchman) again(ctx context.Context) error {
	c := *w.call
	if c.signedIn && c.request != nil {
		who, err := w.server.Door.Authenticate(ctx, c.request)
		if err != nil {
			return err
		}
		if c.who = who; who.Kind == signin.KindAnonymous {
			return signin.ErrInvalidSession
		}
	}
	if w.handler.may == nil {
		return nil
	}
	return w.handler.may(ctx, &c)
}
