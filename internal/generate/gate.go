package generate

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// gates remember which server does not want to hear from a credential for a
// while, so that trying again early costs nobody anything.
type gates struct {
	mu     sync.Mutex
	closed map[string]*refusal // by identity; each with a time
}

// shut returns what the server said when it closed the gate; nil: it is open.
func (g *gates) shut(identity string, now time.Time) *refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	if no := g.closed[identity]; no != nil && no.until.After(now) {
		return no
	}
	return nil
}

func (g *gates) close(identity string, no *refusal, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = map[string]*refusal{}
	}
	for other, old := range g.closed {
		if !old.until.After(now) {
			delete(g.closed, other)
		}
	}
	if old := g.closed[identity]; old == nil || no.until.After(old.until) {
		g.closed[identity] = no
	}
}

// standardWait is for a server that wants to be left alone and does not say
// for how long (GitHub, "Rate limits for the REST API": at least a minute).
const standardWait = time.Minute

// askedToWait reads until when a refusal asks to wait; zero when it does not.
// Retry-After is RFC 9110; X-RateLimit-* are GitHub's and Bitbucket Cloud's,
// RateLimit-Reset is GitLab's, both in seconds since 1970.
func askedToWait(response *http.Response, said string, now time.Time) time.Time {
	header := response.Header
	exhausted := header.Get("X-RateLimit-Remaining") == "0" || header.Get("RateLimit-Remaining") == "0" ||
		strings.Contains(strings.ToLower(said), "rate limit")
	switch response.StatusCode {
	case http.StatusTooManyRequests:
	case http.StatusForbidden:
		if !exhausted && header.Get("Retry-After") == "" {
			return time.Time{}
		}
	case http.StatusServiceUnavailable:
		if header.Get("Retry-After") == "" {
			return time.Time{}
		}
	default:
		return time.Time{}
	}
	until := now.Add(standardWait)
	if at, ok := retryAfter(header.Get("Retry-After"), now); ok {
		until = at
	} else if exhausted {
		for _, name := range []string{"X-RateLimit-Reset", "RateLimit-Reset"} {
			if seconds, err := strconv.ParseInt(header.Get(name), 10, 64); err == nil {
				until = time.Unix(seconds, 0)
				break
			}
		}
	}
	return within(until, now)
}

func retryAfter(value string, now time.Time) (time.Time, bool) {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return now.Add(time.Duration(seconds) * time.Second), true
	}
	at, err := http.ParseTime(value)
	return at, err == nil
}

// maxWait bounds how long a server can silence us.
const maxWait = time.Hour

// within rounds up to seconds, so that the time is what a message says, and
// keeps it between now and maxWait.
func within(until, now time.Time) time.Time {
	first, last := now.Add(time.Second), now.Add(maxWait)
	switch {
	case until.Before(first):
		until = first
	case until.After(last):
		until = last
	}
	return until.Truncate(time.Second)
}
