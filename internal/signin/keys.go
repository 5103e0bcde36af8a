package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	keysHold  = time.Hour        // how long keys are believed without asking again
	keysPause = 10 * time.Second // the least time between two looks for new keys
	maxKeys   = 100
)

var (
	errKeysUnavailable = errors.New("the keys cannot be fetched")
	errSignature       = errors.New("no key of the identity provider has signed this")
)

// keys are the public keys of the provider. They are fetched anew when a token
// names an unknown one, but not more often than every ten seconds, however many
// such tokens come. It is go-oidc's KeySet; that of go-oidc has no such bound.
type keys struct {
	url        string
	client     *http.Client
	algorithms []jose.SignatureAlgorithm
	now        func() time.Time

	turn    chan struct{} // held by whoever fetches
	mutex   sync.Mutex
	known   []jose.JSONWebKey
	fetched time.Time
	tried   time.Time
}

func newKeys(url string, client *http.Client, allowed []string, now func() time.Time) *keys {
	k := &keys{url: url, client: client, now: now, turn: make(chan struct{}, 1)}
	for _, algorithm := range allowed {
		k.algorithms = append(k.algorithms, jose.SignatureAlgorithm(algorithm))
	}
	return k
}

// VerifySignature returns the payload of a token that one of the keys has signed.
func (k *keys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, k.algorithms)
	if err != nil {
		return nil, fmt.Errorf("malformed or signed in a way that is not allowed: %w", err)
	}
	known, fetched := k.snapshot()
	if k.now().Sub(fetched) < keysHold {
		if payload, ok := verifyWith(signed, known); ok {
			return payload, nil
		}
	}
	fresh, err := k.fetchOnce(ctx, fetched)
	if payload, ok := verifyWith(signed, fresh); ok {
		return payload, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, errSignature
}

func verifyWith(signed *jose.JSONWebSignature, known []jose.JSONWebKey) ([]byte, bool) {
	name := signed.Signatures[0].Header.KeyID
	for i := range known {
		if name != "" && known[i].KeyID != name {
			continue
		}
		if payload, err := signed.Verify(&known[i]); err == nil {
			return payload, true
		}
	}
	return nil, false
}

func (k *keys) snapshot() ([]jose.JSONWebKey, time.Time) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.known, k.fetched
}

// fetchOnce returns newer keys than those of the time seen: what somebody else
// has fetched since, or what the provider says, or the old ones when it was asked
// a moment ago. With an error come the old ones.
func (k *keys) fetchOnce(ctx context.Context, seen time.Time) ([]jose.JSONWebKey, error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, errKeysUnavailable
	}
	known, fetched := k.snapshot()
	if fetched.After(seen) {
		return known, nil
	}
	now := k.now()
	k.mutex.Lock()
	again := k.tried.IsZero() || now.Sub(k.tried) >= keysPause
	k.mutex.Unlock()
	if !again {
		if len(known) == 0 {
			return nil, errKeysUnavailable
		}
		return known, nil
	}
	fresh, err := k.fetch(ctx)
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			k.tried = now
		}
		return known, fmt.Errorf("%w: %s", errKeysUnavailable, loggable(err))
	}
	k.tried, k.known, k.fetched = now, fresh, now
	return fresh, nil
}

func (k *keys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the keys are answered with %s", response.Status)
	}
	// One key that cannot be read (another curve, say) must not hide the others.
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil {
		return nil, errors.New("the keys are no JSON")
	}
	var known []jose.JSONWebKey
	for _, text := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(text) != nil || !key.Valid() || !key.IsPublic() || (key.Use != "" && key.Use != "sig") {
			continue
		}
		known = append(known, key)
	}
	if len(known) == 0 {
		return nil, errors.New("there is no key to check signatures with")
	}
	return known, nil
}
