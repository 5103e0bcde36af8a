package signin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	maxRevoked    = 10_000
	signedOutKey  = "tokens"
	revokeTimeout = 10 * time.Second // as upstream
)

// revoked are tokens that were signed out before they expired: digests of what
// names them, and until when they would be valid (Unix seconds). They are kept
// in memory and in Secret plumb-signed-out, so that a restart and the other
// replicas know them. When there are too many, those that end first are
// forgotten first.
type revoked struct {
	mutex   sync.Mutex
	entries map[string]int64
}

func revocation(kind, id string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + id))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func revocationOfID(id string) string        { return revocation("id", id) }
func revocationOfToken(digest string) string { return revocation("token", digest) }
func revocationOfSession(id string) string   { return revocation("session", id) }

func (r *revoked) has(entry string, now time.Time) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.entries[entry] > now.Unix()
}

func (r *revoked) merge(entries map[string]int64, now time.Time) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for entry, until := range entries {
		r.entries[entry] = max(r.entries[entry], until)
	}
	bound(r.entries, now)
}

// bound forgets what has expired, and what ends first while there are too many.
func bound(entries map[string]int64, now time.Time) {
	maps.DeleteFunc(entries, func(_ string, until int64) bool { return until <= now.Unix() })
	if len(entries) <= maxRevoked {
		return
	}
	ends := slices.Sorted(maps.Values(entries))
	threshold := ends[len(ends)-maxRevoked]
	maps.DeleteFunc(entries, func(_ string, until int64) bool { return until < threshold })
	for entry, until := range entries {
		if len(entries) <= maxRevoked {
			return
		}
		if until == threshold {
			delete(entries, entry)
		}
	}
}

func parseSignedOut(data map[string][]byte) map[string]int64 {
	var entries map[string]int64
	if json.Unmarshal(data[signedOutKey], &entries) != nil {
		return nil
	}
	return entries
}

// revoke signs out the entries: here at once, and for the others through the
// Secret. That it could not be written is logged, and not undone.
func (d *Door) revoke(ctx context.Context, entries map[string]int64) {
	now := d.options.Now()
	d.revoked.merge(entries, now)
	if d.options.Writer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	_, err := d.edit(ctx, SignedOutSecretName, func(stored *Stored) error {
		all := parseSignedOut(stored.Data)
		if all == nil {
			all = map[string]int64{}
		}
		maps.Copy(all, entries)
		bound(all, now)
		text, err := json.Marshal(all)
		if err != nil {
			return err
		}
		stored.Data[signedOutKey] = text
		return nil
	})
	if err != nil {
		d.log.Error("a sign-out is known to this replica only", "reason", loggable(err))
	}
}
