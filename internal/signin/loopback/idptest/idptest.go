// Package idptest is an identity provider in memory, for tests of those who sign
// in at one.
package idptest

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ClientID is the only client that it knows: a public one.
const ClientID = "plumb-cli"

// Provider is an identity provider: it lets everybody in as ann, for the client
// plumb-cli, and takes each refresh token once.
type Provider struct {
	// Refuse is an error of OAuth that sign-ins end with; "": none.
	Refuse string
	// Twist changes the claims of ID tokens; nil: it does not.
	Twist func(claims map[string]any)
	// Lifetime is how long ID tokens hold; 0 is an hour.
	Lifetime time.Duration

	t      *testing.T
	server *httptest.Server
	key    *rsa.PrivateKey

	mu        sync.Mutex
	scopes    string // of the last sign-in
	nonce     string
	challenge string
	refreshes map[string]bool // tokens that are good
	issued    int
	revoked   []string
}

// Issuer is its address.
func (p *Provider) Issuer() string { return p.server.URL }

// Scopes are those of the last sign-in.
func (p *Provider) Scopes() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.scopes
}

// Issued counts the sessions that were begun or renewed.
func (p *Provider) Issued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issued
}

// Revoked are the tokens that it was told of.
func (p *Provider) Revoked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.revoked)
}

// New starts one that ends with the test.
func New(t *testing.T) *Provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{t: t, key: key, refreshes: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]any{
			"issuer": p.server.URL, "authorization_endpoint": p.server.URL + "/auth", "token_endpoint": p.server.URL + "/token",
			"jwks_uri": p.server.URL + "/keys", "revocation_endpoint": p.server.URL + "/revoke",
			"scopes_supported": []string{"openid", "offline_access"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /auth", p.auth)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /revoke", func(_ http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.revoked = append(p.revoked, r.FormValue("token"))
	})
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	return p
}

func (p *Provider) answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		p.t.Error(err)
	}
}

func (p *Provider) auth(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scopes, p.nonce, p.challenge = query.Get("scope"), query.Get("nonce"), query.Get("code_challenge")
	if query.Get("code_challenge_method") != "S256" || query.Get("client_id") != ClientID {
		p.t.Errorf("asked for %v", query)
	}
	back := url.Values{"state": {query.Get("state")}, "code": {"a-code"}}
	if p.Refuse != "" {
		back = url.Values{"state": {query.Get("state")}, "error": {p.Refuse}, "error_description": {"ann may not"}}
	}
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.FormValue("grant_type") {
	case "authorization_code":
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if r.FormValue("code") != "a-code" || base64.RawURLEncoding.EncodeToString(sum[:]) != p.challenge {
			p.t.Error("the code comes without its verifier")
		}
	case "refresh_token":
		if !p.refreshes[r.FormValue("refresh_token")] {
			w.WriteHeader(http.StatusBadRequest)
			p.answer(w, map[string]any{"error": "invalid_grant", "error_description": "it was used: " + r.FormValue("refresh_token")})
			return
		}
		delete(p.refreshes, r.FormValue("refresh_token")) // each once
	}
	p.issued++
	refresh := fmt.Sprintf("refresh-%d", p.issued)
	p.refreshes[refresh] = true
	p.answer(w, map[string]any{"access_token": "an-access-token", "token_type": "Bearer", "refresh_token": refresh, "id_token": p.idToken()})
}

func (p *Provider) idToken() string {
	claims := map[string]any{
		"iss": p.server.URL, "sub": "ann", "aud": ClientID, "iat": time.Now().Unix(), "exp": time.Now().Add(cmp.Or(p.Lifetime, time.Hour)).Unix(), "nonce": p.nonce,
	}
	if p.Twist != nil {
		p.Twist(claims)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.key, KeyID: "one"}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}
