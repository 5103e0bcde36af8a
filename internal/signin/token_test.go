package signin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTokensOfArgoCD(t *testing.T) {
	w := newWorld(t, nil, func(o *Options) {
		o.Projects = projects{
			"shop/deploy": {{ID: "p-1", IssuedAt: testIssued}, {IssuedAt: testIssued - 100}},
		}
	})
	for _, c := range []struct {
		name   string
		claims map[string]any
		want   Principal
	}{
		{"a session", argoClaims("alice:login", map[string]any{"exp": testIssued + 3600}),
			Principal{Kind: KindAccount, Name: "alice", Subject: "alice", KubernetesUser: "account:alice"}},
		{"an API token", argoClaims("bot:apiKey", map[string]any{"jti": "bot-1"}),
			Principal{Kind: KindAccount, Name: "bot", Subject: "bot", KubernetesUser: "account:bot"}},
		{"an API token of an old version", argoClaims("bot", map[string]any{"jti": "bot-1", "nbf": nil}),
			Principal{Kind: KindAccount, Name: "bot", Subject: "bot", KubernetesUser: "account:bot"}},
		{"a project's token", argoClaims("proj:shop:deploy", map[string]any{"jti": "p-1"}),
			Principal{Kind: KindProject, Name: "proj:shop:deploy", Subject: "proj:shop:deploy", Project: "shop", Role: "deploy", KubernetesUser: "project:shop:deploy"}},
		{"a project's token without an ID", argoClaims("proj:shop:deploy", map[string]any{"jti": nil}),
			Principal{Kind: KindProject, Name: "proj:shop:deploy", Subject: "proj:shop:deploy", Project: "shop", Role: "deploy", KubernetesUser: "project:shop:deploy"}},
		{"a project's token that is listed without an ID", argoClaims("proj:shop:deploy", map[string]any{"jti": "later", "iat": testIssued - 100}),
			Principal{Kind: KindProject, Name: "proj:shop:deploy", Subject: "proj:shop:deploy", Project: "shop", Role: "deploy", KubernetesUser: "project:shop:deploy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := w.call(handmade(hs256, c.claims, testKey))
			if err != nil {
				t.Fatalf("%v\n%s", err, w.log)
			}
			if got.Issuer != "argocd" || got.Issued.IsZero() || got.Claims["iss"] != "argocd" {
				t.Errorf("issuer %q, issued %v, claims %v", got.Issuer, got.Issued, got.Claims)
			}
			got.Issuer, got.Issued, got.Expires, got.Claims, got.TokenID, got.token = "", time.Time{}, time.Time{}, nil, "", named{}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestTokensAreRefused(t *testing.T) {
	w := newWorld(t, map[string]string{"accounts.gone": "login", "accounts.gone.enabled": "false"}, func(o *Options) {
		o.Projects = projects{"shop/deploy": {{ID: "p-1", IssuedAt: testIssued}}}
	})
	w.cluster.set(nil, map[string]string{"accounts.alice.passwordMtime": time.Unix(testIssued-50, 0).UTC().Format(time.RFC3339)})
	session := argoClaims("alice:login", map[string]any{"exp": testIssued + 3600})
	good := handmade(hs256, session, testKey)
	if _, err := w.call(good); err != nil {
		t.Fatalf("the token that the others differ from is refused: %v", err)
	}
	with := func(name string, value any) string {
		return handmade(hs256, argoClaims("alice:login", map[string]any{"exp": testIssued + 3600, name: value}), testKey)
	}
	parts := strings.Split(good, ".")
	header := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	for name, c := range map[string]struct {
		token string
		want  error
		log   string
	}{
		"another key":             {handmade(hs256, session, "another key another key another key"), ErrInvalidSession, "signature"},
		"an empty key":            {handmade(hs256, session, ""), ErrInvalidSession, "signature"},
		"no algorithm":            {header(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".", ErrInvalidSession, "not a token of ours"},
		"no algorithm, signature": {header(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + "." + parts[2], ErrInvalidSession, "not a token of ours"},
		"another HMAC":            {handmade(`{"alg":"HS512","typ":"JWT"}`, session, testKey), ErrInvalidSession, "not a token of ours"},
		"a public key's alg":      {handmade(`{"alg":"RS256","typ":"JWT"}`, session, testKey), ErrInvalidSession, "not a token of ours"},
		"changed claims":          {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"argocd","sub":"admin:login","iat":1800000000,"jti":"x"}`)) + "." + parts[2], ErrInvalidSession, "signature"},
		"expired":                 {with("exp", testIssued-1), ErrExpired, "expired"},
		"expires now":             {with("exp", testIssued), ErrExpired, "expired"},
		"not yet valid":           {with("nbf", testIssued+60), ErrInvalidSession, "not valid yet"},
		"expiry is a text":        {with("exp", "never"), ErrInvalidSession, "a time in the token"},
		"expiry is huge":          {with("exp", 1e300), ErrInvalidSession, "a time in the token"},
		"no time of issue":        {with("iat", nil), ErrInvalidSession, "a time in the token"},
		"no ID":                   {with("jti", nil), ErrInvalidSession, "no ID"},
		"unknown account":         {with("sub", "mallory:login"), ErrInvalidSession, "no such account"},
		"disabled account":        {with("sub", "gone:login"), ErrInvalidSession, "disabled"},
		"capability missing":      {with("sub", "bot:login"), ErrInvalidSession, "capability login"},
		"unlisted API token":      {with("sub", "alice:apiKey"), ErrInvalidSession, "does not list"},
		"before the password":     {with("iat", testIssued-100), ErrInvalidSession, "password was changed"},
		"deleted project token":   {handmade(hs256, argoClaims("proj:shop:deploy", map[string]any{"jti": "p-2"}), testKey), ErrInvalidSession, "does not list"},
		"another role's token":    {handmade(hs256, argoClaims("proj:shop:admin", map[string]any{"jti": "p-1"}), testKey), ErrInvalidSession, "does not list"},
		"unknown project":         {handmade(hs256, argoClaims("proj:other:deploy", map[string]any{"jti": "p-1"}), testKey), ErrInvalidSession, "does not list"},
		"another issuer":          {with("iss", "https://idp.example.com"), ErrInvalidSession, "nobody here issues"},
		"not a token":             {"a.b.c", ErrInvalidSession, "cannot be read"},
		"two parts":               {parts[0] + "." + parts[1], ErrInvalidSession, "cannot be read"},
		"too long":                {parts[0] + "." + strings.Repeat("A", maxToken) + "." + parts[2], ErrInvalidSession, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.log.String())
			caller, err := w.call(c.token)
			if !errors.Is(err, c.want) {
				t.Errorf("got %+v, %v; want %v", caller, err, c.want)
			}
			if !reflect.DeepEqual(caller, Principal{}) {
				t.Errorf("with the error comes %+v", caller)
			}
			if logged := w.log.String()[before:]; !strings.Contains(logged, c.log) {
				t.Errorf("the log says %q, not %q", logged, c.log)
			}
		})
	}
}

func TestOurTokensAreArgoCDs(t *testing.T) {
	w := newWorld(t, map[string]string{"users.session.duration": "1d12h"})
	token := w.login("alice")
	parts := strings.Split(token, ".")
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	if string(header) != `{"alg":"HS256","typ":"JWT"}` {
		t.Errorf("header %s", header)
	}
	id, _ := got["jti"].(string)
	if len(id) != 36 || strings.Count(id, "-") != 4 || id[14] != '4' {
		t.Errorf("jti %q is no random UUID", id)
	}
	delete(got, "jti")
	want := map[string]any{"iss": "argocd", "sub": "alice:login", "iat": float64(testIssued), "nbf": float64(testIssued), "exp": float64(testIssued + 36*3600)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if same := handmade(hs256, claims, testKey); strings.Split(same, ".")[0] != parts[0] {
		t.Errorf("the header differs from golang-jwt's")
	}
}

func TestASessionIsRenewed(t *testing.T) {
	w := newWorld(t, nil)
	token := w.login("alice")
	first, err := w.call(token)
	if err != nil || !first.Renewal.IsZero() {
		t.Fatalf("a fresh session: %v, renewal %v", err, !first.Renewal.IsZero())
	}
	w.clock.pass(24*time.Hour - 4*time.Minute)
	late, err := w.call(token)
	if err != nil || late.Renewal.IsZero() {
		t.Fatalf("a session that is about to end is not renewed: %v", err)
	}
	w.clock.pass(10 * time.Minute)
	if _, err := w.call(token); !errors.Is(err, ErrExpired) {
		t.Errorf("the old token: %v", err)
	}
	if again, err := w.call(reveal(late.Renewal)); err != nil || again.Name != "alice" {
		t.Errorf("the renewed token: %v", err)
	}
	if caller, err := w.call(handmade(hs256, argoClaims("bot:apiKey", map[string]any{"jti": "bot-1", "exp": w.clock.Now().Unix() + 60}), testKey)); err != nil || !caller.Renewal.IsZero() {
		t.Errorf("an API token: %v, renewed %v", err, !caller.Renewal.IsZero())
	}
}

func TestWhereATokenIsLookedFor(t *testing.T) {
	w := newWorld(t, nil)
	alice, admin := w.login("alice"), w.login("admin")
	for _, c := range []struct {
		name   string
		header http.Header
		want   string
		cookie bool
	}{
		{"nothing", http.Header{}, "", false},
		{"bearer", http.Header{"Authorization": {"Bearer " + alice}}, "alice", false},
		{"metadata of gRPC", http.Header{"Token": {alice}}, "alice", false},
		{"metadata before bearer", http.Header{"Token": {alice}, "Authorization": {"Bearer " + admin}}, "alice", false},
		{"cookie", http.Header{"Cookie": {"argocd.token=" + alice}}, "alice", true},
		{"bearer before cookie", http.Header{"Authorization": {"Bearer " + alice}, "Cookie": {"argocd.token=" + admin}}, "alice", false},
		{"a proxy's bearer is no token of ours", http.Header{"Authorization": {"Bearer opaque"}, "Cookie": {"argocd.token=" + admin}}, "admin", true},
		{"basic authentication of a proxy", http.Header{"Authorization": {"Basic Zm9vOmJhcg=="}, "Cookie": {"argocd.token=" + admin}}, "admin", true},
		{"a cookie in parts", http.Header{"Cookie": {"argocd.token-1=" + alice[20:] + "; argocd.token=2:" + alice[:20]}}, "alice", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := httptest.NewRequest(http.MethodGet, testURL+"/", nil)
			request.Header = c.header
			caller, err := w.closed(w.Authenticate(t.Context(), request))
			if c.want == "" {
				if !errors.Is(err, ErrNoSession) {
					t.Errorf("got %v, %v", caller, err)
				}
				return
			}
			if err != nil || caller.Name != c.want || caller.Cookie != c.cookie {
				t.Errorf("got %q, cookie %v, %v", caller.Name, caller.Cookie, err)
			}
		})
	}
}

func TestAnonymous(t *testing.T) {
	w := newWorld(t, map[string]string{"users.anonymous.enabled": "true"})
	ask := func(header, value string) (Principal, error) {
		request := httptest.NewRequest(http.MethodGet, testURL+"/", nil)
		if header != "" {
			request.Header.Set(header, value)
		}
		return w.closed(w.Authenticate(t.Context(), request))
	}
	for _, cookie := range []string{"", "argocd.token=stale", "argocd.token=3:stale"} {
		header := "Cookie"
		if cookie == "" {
			header = ""
		}
		caller, err := ask(header, cookie)
		if err != nil || caller.Kind != KindAnonymous || caller.KubernetesUser != "" {
			t.Errorf("cookie %q: %+v, %v", cookie, caller, err)
		}
	}
	if _, err := ask("Authorization", "Bearer stale"); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("a wrong token in a header: %v", err)
	}
}

func TestWithoutAKeyNothingIsValid(t *testing.T) {
	w := newWorld(t, nil)
	w.cluster.set(nil, map[string]string{"server.secretkey": ""})
	if _, err := w.call(handmade(hs256, argoClaims("alice:login", nil), "")); !errors.Is(err, ErrNotReady) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Login(t.Context(), "alice", testPassword); !errors.Is(err, ErrNotReady) {
		t.Errorf("sign-in: %v", err)
	}
}

// What was signed out must not come back in another spelling: the last letter of
// a part may have bits that stand for nothing, and signatures differ.
func TestATokenIsKnownInEverySpelling(t *testing.T) {
	if digestOf("YQ.Yg.one") != digestOf("YR.Yh.two") {
		t.Error("another spelling is another token")
	}
	seen := map[string]string{}
	for _, token := range []string{"YQ.Yg.x", "YQ.Yw.x", "Yg.YQ.x", "YQ.x", "YQ", "", "YWI..x", ".YWI.x", "YQ.?.x"} {
		if other, known := seen[digestOf(token)]; known {
			t.Errorf("%q and %q are taken for one", token, other)
		}
		seen[digestOf(token)] = token
	}
}
