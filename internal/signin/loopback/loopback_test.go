package loopback

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/signin/loopback/idptest"
)

func providerOf(p *idptest.Provider) Provider {
	return Provider{Issuer: p.Issuer(), ClientID: idptest.ClientID, Scopes: []string{"openid", "groups"}}
}

// browser follows an address as a person's browser does.
func browser(t *testing.T, page *string) func(string) error {
	return func(address string) error {
		go func() {
			response, err := http.Get(address) //nolint:noctx // as a browser
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = response.Body.Close() }()
			if page != nil {
				*page = response.Status
			}
		}()
		return nil
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSignInAndRenew(t *testing.T) {
	p := idptest.New(t)
	session, err := SignIn(within(t), providerOf(p), Options{Open: browser(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if session.Token.IsZero() || string(session.Refresh.Reveal()) != "refresh-1" || time.Until(session.Expires) < 50*time.Minute {
		t.Errorf("got %v", session)
	}
	if p.Scopes() != "openid groups offline_access" {
		t.Errorf("scopes %q", p.Scopes())
	}
	next, err := Renew(within(t), nil, providerOf(p), session.Refresh)
	if err != nil || string(next.Refresh.Reveal()) != "refresh-2" {
		t.Fatalf("%v, %v", next, err)
	}
	if _, err := Renew(within(t), nil, providerOf(p), session.Refresh); !errors.Is(err, ErrEnded) || strings.Contains(err.Error(), "refresh-1") {
		t.Errorf("a refresh token that was used: %v", err)
	}
	if err := Revoke(within(t), nil, providerOf(p), next.Refresh); err != nil || !slices.Equal(p.Revoked(), []string{"refresh-2"}) {
		t.Errorf("revoked %v, %v", p.Revoked(), err)
	}
}

func TestSignInRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*idptest.Provider)
		want   string
	}{
		"the provider":    {func(p *idptest.Provider) { p.Refuse = "access_denied" }, "access_denied: ann may not"},
		"another client":  {func(p *idptest.Provider) { p.Twist = func(c map[string]any) { c["aud"] = "somebody-else" } }, "cannot be trusted"},
		"another attempt": {func(p *idptest.Provider) { p.Twist = func(c map[string]any) { c["nonce"] = "old" } }, "nonce"},
		"another issuer":  {func(p *idptest.Provider) { p.Twist = func(c map[string]any) { c["iss"] = "https://elsewhere.example" } }, "cannot be trusted"},
		"an old token": {func(p *idptest.Provider) {
			p.Twist = func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }
		}, "cannot be trusted"},
	} {
		t.Run(what, func(t *testing.T) {
			p := idptest.New(t)
			c.change(p)
			_, err := SignIn(within(t), providerOf(p), Options{Open: browser(t, nil)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, wanted %q", err, c.want)
			}
		})
	}
}

// TestStrangersAnswerNothing: an answer with another state, or at another path,
// does not end the sign-in that waits.
func TestStrangersAnswerNothing(t *testing.T) {
	p := idptest.New(t)
	session, err := SignIn(within(t), providerOf(p), Options{Open: func(address string) error {
		at, err := url.Parse(address)
		if err != nil {
			return err
		}
		back := at.Query().Get("redirect_uri")
		for path, want := range map[string]int{
			back + "?code=stolen&state=guessed":                              http.StatusBadRequest,
			back + "?code=stolen":                                            http.StatusBadRequest,
			strings.TrimSuffix(back, CallbackPath) + "/?code=x":              http.StatusNotFound,
			strings.TrimSuffix(back, CallbackPath) + "/favicon.ico":          http.StatusNotFound,
			strings.Replace(back, CallbackPath, CallbackPath+"/x?code=y", 1): http.StatusNotFound,
		} {
			response, err := http.Get(path) //nolint:noctx // as a browser
			if err != nil {
				return err
			}
			_ = response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("%s: %s", path, response.Status)
			}
		}
		return browser(t, nil)(address)
	}})
	if err != nil || session.Token.IsZero() {
		t.Errorf("%v, %v", session, err)
	}
}

func TestSignInIsGivenUp(t *testing.T) {
	p := idptest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := SignIn(ctx, providerOf(p), Options{Open: func(string) error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestPortIsTaken(t *testing.T) {
	p := idptest.New(t)
	taken := p.Issuer()
	at, err := url.Parse(taken)
	if err != nil {
		t.Fatal(err)
	}
	port := 0
	if _, err := fmt.Sscan(at.Port(), &port); err != nil {
		t.Fatal(err)
	}
	_, err = SignIn(within(t), providerOf(p), Options{Port: port, Open: browser(t, nil)})
	var fault *model.Fault
	if !errors.As(err, &fault) || !strings.Contains(fault.Advice, "--sso-port") {
		t.Errorf("got %v", err)
	}
}

// TestEndpointsAreAsGoodAsTheIssuer: who names the provider may be anybody, and so
// may the provider: it has no program started, and nothing sent in the clear.
func TestEndpointsAreAsGoodAsTheIssuer(t *testing.T) {
	for what, c := range map[string]struct{ auth, token, revocation string }{
		"a program":            {auth: "file:///usr/bin/true", token: "https://idp.example.org/token"},
		"a script":             {auth: "javascript:alert(1)", token: "https://idp.example.org/token"},
		"an option":            {auth: "--version", token: "https://idp.example.org/token"},
		"a sign-in in clear":   {auth: "http://idp.example.org/auth", token: "https://idp.example.org/token"},
		"tokens in clear":      {auth: "https://idp.example.org/auth", token: "http://idp.example.org/token"},
		"a user in an address": {auth: "https://idp.example.org@elsewhere.example/auth", token: "https://idp.example.org/token"},
		"a revocation in clear": {
			auth: "https://idp.example.org/auth", token: "https://idp.example.org/token", revocation: "http://idp.example.org/revoke",
		},
	} {
		t.Run(what, func(t *testing.T) {
			var provider *httptest.Server
			provider = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/.well-known/openid-configuration" {
					t.Errorf("%s was asked for", r.URL)
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"revocation_endpoint":%q,"jwks_uri":%q}`, provider.URL, c.auth, c.token, c.revocation, provider.URL+"/keys")
			}))
			defer provider.Close()
			p := Provider{Issuer: provider.URL, ClientID: "plumb-cli"}
			if err := Revoke(within(t), provider.Client(), p, model.NewSecret([]byte("refresh"))); err == nil {
				t.Error("a refresh token is taken back there")
			}
			if c.revocation != "" {
				return
			}
			_, err := SignIn(within(t), p, Options{HTTP: provider.Client(), Open: func(address string) error {
				t.Errorf("the browser is sent to %s", address)
				return errors.New("enough")
			}})
			if err == nil || !strings.Contains(err.Error(), "not encrypted") {
				t.Errorf("signing in: %v", err)
			}
			if _, err := Renew(within(t), provider.Client(), p, model.NewSecret([]byte("refresh"))); err == nil || !strings.Contains(err.Error(), "not encrypted") {
				t.Errorf("renewing: %v", err)
			}
		})
	}
}

// TestTokensAreNotLedAway: an endpoint that redirects gets nothing sent on.
func TestTokensAreNotLedAway(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked for with %s", r.URL, r.FormValue("refresh_token"))
	}))
	defer elsewhere.Close()
	var provider *httptest.Server
	provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q}`, provider.URL, provider.URL+"/auth", provider.URL+"/token")
	}))
	defer provider.Close()
	if _, err := Renew(within(t), nil, Provider{Issuer: provider.URL, ClientID: "plumb-cli"}, model.NewSecret([]byte("refresh"))); err == nil {
		t.Error("it is renewed")
	}
}

// TestAnswersAreBounded: a provider that never ends its answer is cut off.
func TestAnswersAreBounded(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 64<<10)
		for range 64 { // 4 MiB
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	response, err := httpOf(bounded(t.Context(), nil)).Get(endless.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	n := int64(0)
	for block := make([]byte, 32<<10); ; {
		read, err := response.Body.Read(block)
		n += int64(read)
		if err != nil {
			break
		}
	}
	if n != maxAnswer {
		t.Errorf("%d bytes", n)
	}
}
