package signin

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// idp is an identity provider that does as it is told, also what no honest one
// does. Dex, which is honest, is in dex_test.go.
type idp struct {
	*httptest.Server
	t   *testing.T
	now func() time.Time

	mutex    sync.Mutex
	key      *rsa.PrivateKey
	kid      string
	fetches  int                              // of the keys
	renewals int                              // by refresh token
	forms    []url.Values                     // that asked for tokens
	claims   map[string]any                   // over the usual ones; nil takes one away
	token    func(good string) string         // what is handed out instead of an ID token
	answer   func(w http.ResponseWriter) bool // answers the token endpoint instead
	groups   http.HandlerFunc                 // userinfo
	nonces   map[string]string                // by code
	refresh  string                           // the only refresh token that is taken
	broken   bool
}

var testKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	var keys []*rsa.PrivateKey
	for range 2 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	return keys
})

func newIDP(t *testing.T) *idp {
	t.Helper()
	p := &idp{t: t, now: func() time.Time { return time.Unix(testIssued, 0) }, key: testKeys()[0], kid: "first", nonces: map[string]string{}, refresh: "canary-refresh-0"}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		if p.broken {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		writeJSON(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
			"jwks_uri": p.URL + "/keys", "userinfo_endpoint": p.URL + "/userinfo",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.fetches++
		if p.broken {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		writeJSON(w, map[string]any{"keys": []any{
			map[string]any{"kty": "strange", "kid": "unreadable"},
			jose.JSONWebKey{Key: &p.key.PublicKey, KeyID: p.kid, Use: "sig", Algorithm: "RS256"},
		}})
	})
	mux.HandleFunc("/token", p.serveTokens)
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if p.groups == nil || r.Header.Get("Authorization") != "Bearer canary-access-token" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		p.groups(w, r)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

// usual are the claims of a good ID token for somebody at testIssued.
func (p *idp) usual(change map[string]any) map[string]any {
	now := p.now().Unix()
	claims := map[string]any{
		"iss": p.URL, "sub": "subject-1", "aud": "plumb-client", "iat": now, "exp": now + 600,
		"email": "ann@example.com", "email_verified": true, "groups": []string{"team-a", "team-b"},
	}
	for _, changes := range []map[string]any{p.claims, change} {
		for name, value := range changes {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
	}
	return claims
}

// issue signs claims as the provider does.
func (p *idp) issue(change map[string]any) string { return p.sign(p.key, p.kid, p.usual(change)) }

func (p *idp) sign(key *rsa.PrivateKey, kid string, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		p.t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

func (p *idp) serveTokens(w http.ResponseWriter, r *http.Request) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_ = r.ParseForm()
	p.forms = append(p.forms, maps.Clone(r.PostForm))
	if p.answer != nil && p.answer(w) {
		return
	}
	change := map[string]any{}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		nonce, ok := p.nonces[r.PostForm.Get("code")]
		delete(p.nonces, r.PostForm.Get("code"))
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			writeJSON(w, map[string]any{"error": "invalid_grant", "error_description": "canary-description-99"})
			return
		}
		change["nonce"] = nonce
	case "refresh_token":
		if r.PostForm.Get("refresh_token") != p.refresh {
			w.WriteHeader(http.StatusBadRequest)
			writeJSON(w, map[string]any{"error": "invalid_grant"})
			return
		}
		p.renewals++
		p.refresh = fmt.Sprintf("canary-refresh-%d", p.renewals)
	}
	hash := sha256.Sum256([]byte("canary-access-token"))
	change["at_hash"] = base64.RawURLEncoding.EncodeToString(hash[:16])
	token := p.issue(change)
	if p.token != nil {
		token = p.token(token)
	}
	writeJSON(w, map[string]any{"access_token": "canary-access-token", "token_type": "bearer", "refresh_token": p.refresh, "id_token": token, "expires_in": 60})
}

// withProvider is a world that signs people in through the provider.
func withProvider(t *testing.T, p *idp, more string, config map[string]string) *world {
	t.Helper()
	all := map[string]string{"oidc.config": "name: Test\nissuer: " + p.URL + "\nclientID: plumb-client\nclientSecret: $oidc.test.clientSecret\ncliClientID: plumb-cli\n" + more}
	maps.Copy(all, config)
	w := newWorld(t, all)
	w.cluster.set(nil, map[string]string{"oidc.test.clientSecret": "canary-client-secret\n"})
	w.hide("canary-client-secret", "canary-access-token", "canary-refresh-0", "canary-refresh-1", "canary-refresh-2", "canary-description-99")
	p.now = w.clock.Now
	return w
}

func TestPeopleOfTheProvider(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "", nil)
	caller, err := w.call(p.issue(map[string]any{"jti": "id-1"}))
	if err != nil {
		t.Fatalf("%v\n%s", err, w.log)
	}
	if caller.Kind != KindOIDC || caller.Name != "ann@example.com" || caller.Subject != "subject-1" || caller.TokenID != "id-1" || caller.Issuer != p.URL ||
		caller.KubernetesUser != "oidc:ann@example.com" || !slices.Equal(caller.KubernetesGroups, []string{"oidc:team-a", "oidc:team-b"}) ||
		caller.Expires.Unix() != testIssued+600 || caller.Issued.Unix() != testIssued {
		t.Errorf("%+v", caller)
	}
	if got := caller.Scopes([]string{"groups", "email", "nothing"}); !slices.Equal(got, []string{"team-a", "team-b", "ann@example.com"}) {
		t.Errorf("scopes %v", got)
	}
	for name, c := range map[string]struct {
		change        map[string]any
		name, subject string
	}{
		"the command line's client": {map[string]any{"aud": []string{"other", "plumb-cli"}}, "ann@example.com", "subject-1"},
		"an unverified address":     {map[string]any{"email_verified": false}, "subject-1", "subject-1"},
		"unverified as a text":      {map[string]any{"email_verified": "false"}, "subject-1", "subject-1"},
		"no word about that":        {map[string]any{"email_verified": nil}, "ann@example.com", "subject-1"},
		"what Dex hands on":         {map[string]any{"federated_claims": map[string]any{"user_id": "42", "connector_id": "github"}}, "ann@example.com", "42"},
		"a clock that is behind":    {map[string]any{"exp": testIssued - 5}, "ann@example.com", "subject-1"},
	} {
		caller, err := w.call(p.issue(c.change))
		if err != nil || caller.Name != c.name || caller.Subject != c.subject {
			t.Errorf("%s: %q %q %v", name, caller.Name, caller.Subject, err)
		}
	}
}

func TestTokensOfTheProviderAreRefused(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "", nil)
	if _, err := w.call(p.issue(nil)); err != nil {
		t.Fatalf("the token that the others differ from is refused: %v\n%s", err, w.log)
	}
	public, err := x509.MarshalPKIXPublicKey(&p.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	unsigned := func(header string) string {
		payload, _ := json.Marshal(p.usual(nil))
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
	}
	good := strings.Split(p.issue(nil), ".")
	for name, c := range map[string]struct {
		token string
		want  error
		log   string
	}{
		"another issuer":             {p.issue(map[string]any{"iss": "https://elsewhere.example.com"}), ErrInvalidSession, "issuer"},
		"the issuer with a slash":    {p.issue(map[string]any{"iss": p.URL + "/"}), ErrInvalidSession, "issuer"},
		"another audience":           {p.issue(map[string]any{"aud": "somebody-else"}), ErrInvalidSession, "another audience"},
		"no audience":                {p.issue(map[string]any{"aud": nil}), ErrInvalidSession, "another audience"},
		"an empty audience":          {p.issue(map[string]any{"aud": ""}), ErrInvalidSession, "another audience"},
		"expired":                    {p.issue(map[string]any{"exp": testIssued - 11}), ErrExpired, "expired"},
		"no expiry":                  {p.issue(map[string]any{"exp": nil}), ErrExpired, "expired"},
		"not yet valid":              {p.issue(map[string]any{"nbf": testIssued + 301}), ErrInvalidSession, "nbf"},
		"issued in the future":       {p.issue(map[string]any{"iat": testIssued + 301}), ErrInvalidSession, "in the future"},
		"no subject":                 {p.issue(map[string]any{"sub": nil}), ErrInvalidSession, "no subject"},
		"no algorithm":               {unsigned(`{"alg":"none"}`), ErrInvalidSession, "not valid"},
		"an algorithm nobody knows":  {unsigned(`{"alg":"RS257"}`), ErrInvalidSession, "not valid"},
		"HS256 with the public key":  {handmade(`{"alg":"HS256","kid":"first"}`, p.usual(nil), publicPEM), ErrInvalidSession, "not valid"},
		"HS256 with the modulus":     {handmade(`{"alg":"HS256","kid":"first"}`, p.usual(nil), string(p.key.N.Bytes())), ErrInvalidSession, "not valid"},
		"HS256 with our key":         {handmade(hs256, p.usual(nil), testKey), ErrInvalidSession, "not valid"},
		"another key":                {p.sign(testKeys()[1], "first", p.usual(nil)), ErrInvalidSession, "not valid"},
		"a key of its own":           {p.sign(testKeys()[1], "mine", p.usual(nil)), ErrInvalidSession, "not valid"},
		"changed claims":             {good[0] + "." + strings.Split(p.issue(map[string]any{"sub": "boss"}), ".")[1] + "." + good[2], ErrInvalidSession, "not valid"},
		"no signature":               {good[0] + "." + good[1] + ".", ErrInvalidSession, "not valid"},
		"issued by us, it says":      {p.issue(map[string]any{"iss": "argocd", "sub": "admin:login", "jti": "1"}), ErrInvalidSession, "not a token of ours"},
		"reads as admin":             {p.issue(map[string]any{"sub": "admin"}), ErrInvalidSession, "reserved"},
		"reads as a project":         {p.issue(map[string]any{"federated_claims": map[string]any{"user_id": "proj:shop:deploy"}}), ErrInvalidSession, "reserved"},
		"reads as a service account": {p.issue(map[string]any{"sub": "system:serviceaccount:kube-system:x"}), ErrInvalidSession, "reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.log.String())
			if caller, err := w.call(c.token); !errors.Is(err, c.want) {
				t.Errorf("got %+v, %v; want %v", caller, err, c.want)
			}
			if logged := w.log.String()[before:]; !strings.Contains(logged, c.log) {
				t.Errorf("the log says %q, not %q", logged, c.log)
			}
		})
	}
}

func TestAudiencesAsConfigured(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "allowedAudiences: [shared]\nskipAudienceCheckWhenTokenHasNoAudience: true", nil)
	for audience, ok := range map[string]bool{"shared": true, "plumb-client": false} {
		if _, err := w.call(p.issue(map[string]any{"aud": audience})); (err == nil) != ok {
			t.Errorf("%s: %v", audience, err)
		}
	}
	if _, err := w.call(p.issue(map[string]any{"aud": nil})); err != nil {
		t.Errorf("none: %v", err)
	}
}

func TestKeysOfTheProvider(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "", nil)
	old := p.issue(nil)
	if _, err := w.call(old); err != nil {
		t.Fatal(err)
	}
	forged := p.sign(testKeys()[1], "unknown", p.usual(nil))
	for range 50 {
		if _, err := w.call(forged); !errors.Is(err, ErrInvalidSession) {
			t.Fatal(err)
		}
	}
	if p.fetches != 1 {
		t.Errorf("the keys were fetched %d times", p.fetches)
	}
	p.key, p.kid = testKeys()[1], "second" // rotated
	w.clock.pass(11 * time.Second)
	if _, err := w.call(p.issue(nil)); err != nil || p.fetches != 2 {
		t.Errorf("a token of the new key: %v after %d fetches", err, p.fetches)
	}
	if _, err := w.call(old); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("a token of the key that is gone: %v", err)
	}
	p.broken = true
	if _, err := w.call(p.issue(nil)); err != nil {
		t.Errorf("while the provider is down, with known keys: %v", err)
	}
	w.clock.pass(2 * time.Hour)
	if _, err := w.call(p.issue(nil)); err != nil {
		t.Errorf("while the provider is down for long: %v", err)
	}
	fresh := withProvider(t, p, "", nil)
	if _, err := fresh.call(p.issue(nil)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("when nothing is known of the provider: %v", err)
	}
	if err := reachable(t, fresh.Door); err == nil || !strings.Contains(err.Error(), "oidc.config") {
		t.Errorf("what is wrong with it: %v", err)
	}
	p.broken = false
	fresh.clock.pass(11 * time.Second)
	if err := reachable(t, fresh.Door); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

// reachable asks the provider about itself.
func reachable(t *testing.T, d *Door) error {
	t.Helper()
	setup, err := d.setup(t.Context())
	if err != nil {
		return err
	}
	connection := d.connect(setup)
	if _, err := connection.discover(t.Context()); err != nil {
		return connection.unreachable(err)
	}
	return nil
}

func TestGroupsFromElsewhere(t *testing.T) {
	p := newIDP(t)
	asked := 0
	subject := "subject-1"
	p.groups = func(w http.ResponseWriter, _ *http.Request) {
		asked++
		writeJSON(w, map[string]any{"sub": subject, "groups": []string{"from-userinfo"}})
	}
	w := withProvider(t, p, "enableUserInfoGroups: true\nuserInfoPath: /userinfo\nuserInfoCacheExpiration: 5m", nil)
	if _, err := w.call(p.issue(nil)); !errors.Is(err, ErrExpired) {
		t.Errorf("without an access token: %v", err)
	}
	browser := newBrowser(w)
	browser.signIn(p, "")
	for range 3 {
		caller, err := browser.who()
		if err != nil || !slices.Equal(caller.Groups, []string{"from-userinfo"}) || !slices.Equal(caller.Scopes([]string{"groups"}), caller.Groups) || !slices.Equal(texts(caller.Claims["groups"]), caller.Groups) {
			t.Fatalf("%v, %v\n%s", caller.Groups, err, w.log)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if caller, err := w.call(p.issue(nil)); err != nil || !slices.Equal(caller.Groups, []string{"from-userinfo"}) {
		t.Errorf("the command line of somebody who has signed in: %v, %v", caller.Groups, err)
	}
	w.clock.pass(5*time.Minute + time.Second) // the access token has expired by now, too
	subject = "somebody-else"
	if _, err := browser.who(); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("groups of somebody else: %v", err)
	}
	if p.renewals != 1 {
		t.Errorf("%d renewals", p.renewals)
	}
}

func TestSettingsOfTheProvider(t *testing.T) {
	for name, c := range map[string]struct{ config, field, finding string }{
		"dex alone":         {"", "dex.config", "point oidc.config at it"},
		"no issuer":         {"clientID: x", "oidc.config", "issuer"},
		"no client":         {"issuer: https://idp.example.com", "oidc.config", "clientID"},
		"no YAML":           {"{", "oidc.config", "no YAML"},
		"a wrong type":      {"issuer: https://idp.example.com\nclientID: [x]", "oidc.config", "wrong type"},
		"a lost reference":  {"issuer: https://idp.example.com\nclientID: x\nclientSecret: $nowhere", "oidc.config", "$nowhere"},
		"plain text":        {"issuer: http://idp.example.com\nclientID: x", "oidc.config", "without encryption"},
		"a graph elsewhere": {"issuer: https://idp.example.com\nclientID: x\nazure: {enableUserGroupOverageClaim: true, graphApiEndpoint: 'https://evil.example.com'}", "oidc.config", "no address of Microsoft Graph"},
		"a bad duration":    {"issuer: https://idp.example.com\nclientID: x\nrefreshTokenThreshold: soon", "oidc.config", "refreshTokenThreshold"},
	} {
		t.Run(name, func(t *testing.T) {
			config := map[string]string{"oidc.config": c.config}
			if c.config == "" {
				config = map[string]string{"dex.config": "connectors: []"}
			}
			w := newWorld(t, config)
			findings, err := w.Findings(t.Context())
			if err != nil || len(findings) != 1 || !strings.Contains(findings[0].Message, c.finding) || !strings.Contains(findings[0].Origin.Field, c.field) {
				t.Errorf("%+v, %v", findings, err)
			}
		})
	}
	p := newIDP(t)
	w := withProvider(t, p, "requestedIDTokenClaims: {groups: {essential: true}}", nil)
	w.cluster.mutex.Lock()
	w.cluster.others = map[string]map[string][]byte{"my-secret": {"id": []byte("from-a-reference")}}
	w.cluster.mutex.Unlock()
	w.cluster.set(map[string]string{"oidc.config": "issuer: " + p.URL + "\nclientID: $my-secret:id\nrequestedIDTokenClaims: {groups: {essential: true}}"}, nil)
	ways, err := w.Ways(t.Context())
	if err != nil || ways.Provider == nil || ways.Provider.ClientID != "from-a-reference" || !ways.Provider.IDTokenClaims["groups"].Essential || !ways.Passwords || ways.URL != testURL {
		t.Errorf("%+v %+v, %v", ways, ways.Provider, err)
	}
	if _, err := w.call(p.issue(map[string]any{"aud": "from-a-reference"})); err != nil {
		t.Errorf("after the settings have changed: %v", err)
	}
}
