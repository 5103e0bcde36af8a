package signin

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// Whatever a browser or a program sends, it is nobody unless it holds a token
// that was signed here, and nothing breaks.
func FuzzCredentials(f *testing.F) {
	good := handmade(hs256, argoClaims("alice:login", map[string]any{"exp": testIssued + 3600}), testKey)
	parts := strings.Split(good, ".")
	f.Add("argocd.token="+good, "", "")
	f.Add("argocd.token=2:"+good[:9]+"; argocd.token-1="+good[9:], "", "")
	f.Add("argocd.token=20:; argocd.token-1=x; plumb.session=AAAA", "Bearer "+good, "")
	f.Add("argocd.token=-1:x", "Bearer ..", good)
	f.Add("argocd.token=99999999999999999999:x", "bearer a.b.c", "\x00")
	f.Add("", "", parts[0]+"."+parts[1]+".")
	f.Add("", "Bearer eyJhbGciOiJub25lIn0."+parts[1]+".", "")
	f.Add("", "", `{"payload":"`+parts[1]+`","protected":"`+parts[0]+`","signature":"`+parts[2]+`"}`)
	settings := NewFeed()
	settings.Put(Data{
		Config: map[string]string{"url": testURL, "accounts.alice": "login", "oidc.config": "issuer: http://127.0.0.1:1\nclientID: x"},
		Secret: map[string][]byte{"server.secretkey": []byte(testKey)},
	})
	clock := &clock{now: unix(testIssued)}
	door := New(Options{Settings: settings, Now: clock.Now, Transport: nowhere{}})
	f.Fuzz(func(t *testing.T, cookies, authorization, token string) {
		request := httptest.NewRequest(http.MethodPost, testURL+"/auth/logout", nil)
		request.Header = http.Header{"Cookie": {cookies}, "Authorization": {authorization}, "Token": {token}}
		caller, err := door.Authenticate(t.Context(), request)
		if err == nil && (caller.Kind != KindAccount || caller.Name != "alice" || caller.TokenID != "7d3c5b1a-0000-4000-8000-000000000001") {
			t.Fatalf("%+v", caller)
		}
		if err != nil && caller.Kind != "" {
			t.Fatalf("an error and %+v", caller)
		}
		door.keptSession(&setup{key: []byte(testKey)}, request)
	})
}

type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) { return nil, http.ErrServerClosed }

// A value comes back from the cookies that it was cut into, and joining what
// nobody has cut does no harm.
func FuzzCookies(f *testing.F) {
	f.Add("value", "2:x", "1")
	f.Add(strings.Repeat("a", 9000), "0:", "-1")
	f.Fuzz(func(t *testing.T, value, first, second string) {
		cookies, err := splitCookie(http.Cookie{Name: CookieName, Path: "/"}, value)
		if err == nil && !strings.Contains(value, ":") {
			if joined, err := joinCookie(CookieName, cookies); err != nil || joined != value {
				t.Fatalf("%q came back as %q, %v", value, joined, err)
			}
		}
		_, _ = joinCookie(CookieName, []*http.Cookie{{Name: CookieName, Value: first}, {Name: CookieName + "-1", Value: second}})
	})
}

// What was not sealed here, or for another purpose, does not open.
func FuzzUnseal(f *testing.F) {
	sealed, err := seal([]byte(testKey), purposeState, state{State: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var s state
		if err := unseal([]byte(testKey), purposeSession, text, &s); err == nil {
			t.Fatal("opened for another purpose")
		}
		if err := unseal([]byte(testKey), purposeState, text, &s); err == nil && s != (state{State: "x"}) {
			t.Fatalf("%q opens as %+v", text, s)
		}
	})
}

// No return address leads away from the server, however a browser reads it.
func FuzzReturnURL(f *testing.F) {
	for _, seed := range []string{"/gitops/x", "//evil", "/\\evil", "https://gitops.example.com/gitops", "https://evil/gitops", "/gitops/../..//evil", "https:/gitops.example.com", "/gitops/%5c%5cevil"} {
		f.Add(seed)
	}
	own, err := url.Parse(testURL + "/gitops")
	if err != nil {
		f.Fatal(err)
	}
	s := &setup{urls: []*url.URL{own}}
	f.Fuzz(func(t *testing.T, text string) {
		target, ok := s.returnURL(own, text)
		if !ok {
			return
		}
		parsed, err := url.Parse(target)
		if err != nil || parsed.Scheme != "https" || !strings.EqualFold(parsed.Host, "gitops.example.com") || parsed.User != nil || strings.ContainsAny(target, "\\\r\n\t") {
			t.Fatalf("%q leads to %q", text, target)
		}
	})
}

// Settings that nobody has checked are read without harm, and nothing in them
// lets an account in that is not declared.
func FuzzSettings(f *testing.F) {
	f.Add("oidc.config", "issuer: https://x\nclientID: $a:b", "admin.password", "x")
	f.Add("accounts.a.enabled", "yes", "accounts.a.tokens", "[{}]")
	f.Add("users.session.duration", "99999999999d", "admin.passwordMtime", "never")
	f.Add("additionalUrls", "[http://a, {}]", "tokens", "{")
	f.Fuzz(func(_ *testing.T, key, value, secretKey, secret string) {
		parse(Data{
			Config: map[string]string{key: value}, Secret: map[string][]byte{secretKey: []byte(secret)},
			SignedOut: map[string][]byte{secretKey: []byte(secret)},
		}, "http://localhost", "argocd")
	})
}
