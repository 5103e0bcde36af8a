package signin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxRevoked and maxRevokedOfOne bound the sign-outs that are kept, of all and
	// of one caller: 10,000 are some 500 KiB of the 1 MiB that a Secret holds.
	maxRevoked      = 10_000
	maxRevokedOfOne = 1_000
	signedOutKey    = "sessions"
	endedKey        = "ended"
	revokeTimeout   = 10 * time.Second // as upstream
)

// named is what can be signed out: a token, or a session of the identity provider
// with all its tokens.
type named struct {
	subject string // digest of whose it is
	name    string // digest of what names it
	issued  time.Time
}

// tokenOf is a token that is signed here, by its subject and ID.
func tokenOf(subject, id string, issued time.Time) named {
	return named{digest(6, "own", subject), digest(12, "id", id), issued}
}

// idTokenOf is an ID token of a person.
func idTokenOf(claims claimsOf, token string) named {
	issued, _ := claims.time("iat")
	return named{digest(6, claims.text("iss"), claims.text("sub")), digest(12, "token", digestOf(token)), issued}
}

// named is the session itself.
func (s *session) named() named {
	return named{digest(6, s.Issuer, s.Subject), digest(12, "session", s.ID), s.Started}
}

// digest is a text of a digest's first bytes, for a kind of thing and what it is.
func digest(bytes int, kind, what string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + what))
	return base64.RawURLEncoding.EncodeToString(sum[:bytes])
}

// signedOut are tokens and sessions that were signed out before they expired, in
// the form in which Secret plumb-signed-out holds them. Times are Unix seconds.
type signedOut struct {
	// Sessions are those that are known one by one, by the digests of whose they are
	// and what names them, with a dot between.
	Sessions map[string]lifetime
	// Ended says of callers who have signed out more often than is kept that all of
	// theirs has ended that began up to then; by the digest of whose it is.
	Ended map[string]lifetime
}

// lifetime is when something was issued, and until when it would be valid.
type lifetime [2]int64

func (l lifetime) issued() int64 { return l[0] }
func (l lifetime) until() int64  { return l[1] }

func newSignedOut() signedOut {
	return signedOut{Sessions: map[string]lifetime{}, Ended: map[string]lifetime{}}
}

func parseSignedOut(data map[string][]byte) signedOut {
	out := newSignedOut()
	for key, into := range map[string]*map[string]lifetime{signedOutKey: &out.Sessions, endedKey: &out.Ended} {
		var read map[string]lifetime
		if json.Unmarshal(data[key], &read) == nil && read != nil {
			*into = read
		}
	}
	return out
}

// add signs something out until it would have ended.
func (s signedOut) add(what named, until time.Time) {
	s.Sessions[what.subject+"."+what.name] = lifetime{what.issued.Unix(), until.Unix()}
}

// merge adds what another one has.
func (s signedOut) merge(other signedOut) {
	maps.Copy(s.Sessions, other.Sessions)
	for subject, ended := range other.Ended {
		s.end(subject, ended)
	}
}

func (s signedOut) end(subject string, ended lifetime) {
	was := s.Ended[subject]
	s.Ended[subject] = lifetime{max(was.issued(), ended.issued()), max(was.until(), ended.until())}
}

func (s signedOut) has(what named, now time.Time) bool {
	if s.Sessions[what.subject+"."+what.name].until() > now.Unix() {
		return true
	}
	ended := s.Ended[what.subject]
	return ended.until() > now.Unix() && what.issued.Unix() <= ended.issued()
}

// bound forgets what has expired. Nothing else is forgotten that would be valid
// again: of a caller who has signed out too often, the older sign-outs become one
// entry, by which everything of theirs from before has ended. Only where more
// callers than are kept have signed out, those go whose sessions end first.
func (s signedOut) bound(now time.Time) {
	expired := func(_ string, l lifetime) bool { return l.until() <= now.Unix() }
	maps.DeleteFunc(s.Sessions, expired)
	maps.DeleteFunc(s.Ended, expired)
	of := map[string][]string{}
	for entry := range s.Sessions {
		subject, _, _ := strings.Cut(entry, ".")
		of[subject] = append(of[subject], entry)
	}
	for subject, entries := range of {
		if len(entries) > maxRevokedOfOne {
			of[subject] = s.gather(subject, entries, maxRevokedOfOne/2)
		}
	}
	for len(s.Sessions) > maxRevoked {
		greediest := ""
		for subject, entries := range of {
			if len(entries) > len(of[greediest]) {
				greediest = subject
			}
		}
		if len(of[greediest]) < 2 {
			break
		}
		of[greediest] = s.gather(greediest, of[greediest], len(of[greediest])/2)
	}
	forgetFirst(s.Sessions)
	forgetFirst(s.Ended)
}

// gather makes one entry of those of a caller, but for so many of the newest, which
// it returns.
func (s signedOut) gather(subject string, entries []string, newest int) []string {
	slices.SortFunc(entries, func(a, b string) int { return cmp.Compare(s.Sessions[a].issued(), s.Sessions[b].issued()) })
	older := len(entries) - newest
	for _, entry := range entries[:older] {
		s.end(subject, s.Sessions[entry])
		delete(s.Sessions, entry)
	}
	return entries[older:]
}

// forgetFirst forgets what ends first while there are too many.
func forgetFirst(entries map[string]lifetime) {
	if len(entries) <= maxRevoked {
		return
	}
	order := slices.SortedFunc(maps.Keys(entries), func(a, b string) int { return cmp.Compare(entries[a].until(), entries[b].until()) })
	for _, entry := range order[:len(order)-maxRevoked] {
		delete(entries, entry)
	}
}

// revoked is what was signed out, as this replica knows it: what the Secret holds,
// and what was signed out here.
type revoked struct {
	mutex sync.Mutex
	known signedOut
}

func (r *revoked) has(what named, now time.Time) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.known.has(what, now)
}

func (r *revoked) merge(more signedOut, now time.Time) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.known.merge(more)
	r.known.bound(now)
}

// revoke signs out: here at once, and for the others through the Secret. That it
// could not be written is logged, and not undone.
func (d *Door) revoke(ctx context.Context, more signedOut) {
	now := d.options.Now()
	d.revoked.merge(more, now)
	if d.options.Writer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	_, err := d.edit(ctx, SignedOutSecretName, func(stored *Stored) error {
		all := parseSignedOut(stored.Data)
		all.merge(more)
		all.bound(now)
		for key, entries := range map[string]map[string]lifetime{signedOutKey: all.Sessions, endedKey: all.Ended} {
			text, err := json.Marshal(entries)
			if err != nil {
				return err
			}
			stored.Data[key] = text
		}
		return nil
	})
	if err != nil {
		d.log.Error("a sign-out is known to this replica only", "reason", loggable(err))
	}
}
