package signin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// browser keeps cookies as browsers do, and follows nothing by itself.
type browser struct {
	w       *world
	t       *testing.T
	base    string
	cookies map[string]*http.Cookie
}

func newBrowser(w *world) *browser {
	return &browser{w: w, t: w.t, base: testURL, cookies: map[string]*http.Cookie{}}
}

func (b *browser) request(method, target string) *http.Request {
	request := httptest.NewRequest(method, target, nil)
	if strings.HasPrefix(b.base, "http://") {
		request.RemoteAddr = "127.0.0.1:50000"
	}
	for _, cookie := range b.cookies {
		request.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	return request
}

func (b *browser) keep(answer *httptest.ResponseRecorder) {
	for _, cookie := range answer.Result().Cookies() {
		if len(cookie.String()) > 4096 {
			b.t.Errorf("the cookie %s has %d bytes", cookie.Name, len(cookie.String()))
		}
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Secure != strings.HasPrefix(b.base, "https://") {
			b.t.Errorf("attributes of cookie %s: %+v", cookie.Name, cookie)
		}
		if cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
			continue
		}
		b.w.hide(cookie.Value)
		b.cookies[cookie.Name] = cookie
	}
}

func (b *browser) get(target string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	b.w.Handler().ServeHTTP(answer, b.request(http.MethodGet, target))
	b.keep(answer)
	return answer
}

// leave begins a sign-in and returns where the provider is asked.
func (b *browser) leave(returnURL string) *url.URL {
	b.t.Helper()
	target := b.base + "/auth/login"
	if returnURL != "" {
		target += "?return_url=" + url.QueryEscape(returnURL)
	}
	answer := b.get(target)
	location, err := answer.Result().Location()
	if err != nil || answer.Code != http.StatusSeeOther {
		b.t.Fatalf("sign-in answers %d %s\n%s", answer.Code, answer.Body, b.w.log)
	}
	return location
}

// approve is what the provider does when its user agrees.
func (p *idp) approve(asked *url.URL) url.Values {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	code := "canary-code-" + asked.Query().Get("state")[:8]
	p.nonces[code] = asked.Query().Get("nonce")
	return url.Values{"code": {code}, "state": {asked.Query().Get("state")}}
}

func (b *browser) signIn(p *idp, returnURL string) string {
	b.t.Helper()
	query := p.approve(b.leave(returnURL))
	b.w.hide(query.Get("code"), query.Get("state"))
	answer := b.get(b.base + "/auth/callback?" + query.Encode())
	if answer.Code != http.StatusSeeOther {
		b.t.Fatalf("the callback answers %d %s\n%s", answer.Code, answer.Body, b.w.log)
	}
	return answer.Header().Get("Location")
}

// who asks the server, through Identify, who the browser's user is.
func (b *browser) who() (Principal, error) {
	answer := httptest.NewRecorder()
	var caller Principal
	var err error
	b.w.Identify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err = Caller(r.Context())
		w.WriteHeader(http.StatusOK)
	})).ServeHTTP(answer, b.request(http.MethodGet, b.base+"/api/v1/session/userinfo"))
	b.keep(answer)
	return b.w.closed(caller, err)
}

func TestSignInInTheBrowser(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "requestedScopes: [openid, offline_access]\ndomainHint: example.com\nrequestedIDTokenClaims: {groups: {essential: true}}", nil)
	b := newBrowser(w)
	asked := b.leave(testURL + "/applications?x=1")
	query := asked.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "plumb-client", "redirect_uri": testURL + "/auth/callback", "scope": "openid offline_access",
		"code_challenge_method": "S256", "domain_hint": "example.com", "claims": `{"id_token":{"groups":{"essential":true}}}`,
	} {
		if query.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, query.Get(name), want)
		}
	}
	if len(query.Get("state")) < 40 || len(query.Get("nonce")) < 40 || len(query.Get("code_challenge")) != 43 {
		t.Errorf("state, nonce or challenge are missing or short: %v", query)
	}
	answer := b.get(testURL + "/auth/callback?" + p.approve(asked).Encode())
	if answer.Code != http.StatusSeeOther || answer.Header().Get("Location") != testURL+"/applications?x=1" {
		t.Fatalf("%d %s %s\n%s", answer.Code, answer.Header().Get("Location"), answer.Body, w.log)
	}
	if answer.Header().Get("Cache-Control") != "no-store" || answer.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers %v", answer.Header())
	}
	form := p.forms[len(p.forms)-1]
	if len(form.Get("code_verifier")) < 43 || form.Get("redirect_uri") != testURL+"/auth/callback" {
		t.Errorf("the code was redeemed with %v", form)
	}
	if caller, err := b.who(); err != nil || caller.Name != "ann@example.com" || !caller.Cookie {
		t.Errorf("%+v, %v", caller, err)
	}
	if _, there := b.cookies[stateCookieName]; there {
		t.Error("the state is kept")
	}
}

func TestWhereASignInMayReturnTo(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "", map[string]string{"url": testURL + "/gitops", "additionalUrls": "['https://second.example.com/']"})
	setup, err := w.setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                              testURL + "/gitops",
		"/gitops/apps?a=b#c":                            testURL + "/gitops/apps?a=b#c",
		testURL + "/gitops":                             testURL + "/gitops",
		testURL + "/gitops/apps":                        testURL + "/gitops/apps",
		"https://second.example.com/any":                "https://second.example.com/any",
		"https://second.example.com":                    "https://second.example.com",
		"/elsewhere":                                    "refused",
		testURL + "/gitops-evil":                        "refused",
		testURL + "/gitops/../elsewhere":                "refused",
		testURL + "/gitops/%2e%2e/elsewhere":            "refused",
		"http://gitops.example.com/gitops":              "refused",
		"https://gitops.example.com:444/gitops":         "refused",
		"https://evil.example.com/gitops":               "refused",
		"https://gitops.example.com@evil.com/":          "refused",
		"https://a:b@gitops.example.com/gitops":         "refused",
		"//evil.example.com/gitops":                     "refused",
		"/\\evil.example.com/gitops":                    "refused",
		"\\\\evil.example.com":                          "refused",
		"javascript:alert(1)":                           "refused",
		"gitops":                                        "refused",
		"/gitops\r\nSet-Cookie: x=y":                    "refused",
		"/gitops/" + strings.Repeat("x", 3000):          "refused",
		"https:gitops.example.com/gitops":               "refused",
		"https:///gitops":                               "refused",
		"data:text/html,<script>":                       "refused",
		"/gitops\tx":                                    "refused",
		"https://second.example.com.evil.com/":          "refused",
		"https://evil.com/?https://second.example.com/": "refused",
	} {
		got, ok := setup.returnURL(setup.urls[0], text)
		if !ok {
			got = "refused"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	answer := newBrowser(w).get(testURL + "/gitops/auth/login?return_url=https://evil.example.com")
	if answer.Code != http.StatusBadRequest || answer.Header().Get("Location") != "" || strings.Contains(answer.Body.String(), "evil") {
		t.Errorf("%d %v", answer.Code, answer.Header())
	}
}

func TestSignInsThatAreStopped(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *idp, b *browser, query url.Values)
		log    string
		status int
	}{
		"another state":         {func(_ *idp, _ *browser, q url.Values) { q.Set("state", q.Get("state")+"x") }, "not the one of this browser", 400},
		"no state":              {func(_ *idp, _ *browser, q url.Values) { q.Del("state") }, "not the one of this browser", 400},
		"another browser":       {func(_ *idp, b *browser, _ url.Values) { clear(b.cookies) }, "no state", 400},
		"a tampered cookie":     {func(_ *idp, b *browser, _ url.Values) { tamper(b.cookies[stateCookieName]) }, "not ours", 400},
		"somebody else's state": {func(p *idp, b *browser, _ url.Values) { b.cookies[stateCookieName] = stateOfAnother(b, p) }, "not the one of this browser", 400},
		"a session as state": {func(p *idp, b *browser, _ url.Values) {
			other := newBrowser(b.w)
			other.signIn(p, "")
			b.cookies[stateCookieName].Value = other.cookies[sessionCookieName].Value
		}, "not ours", 400},
		"too late":           {func(_ *idp, b *browser, _ url.Values) { b.w.clock.pass(5 * time.Minute) }, "expired", 400},
		"another issuer":     {func(_ *idp, _ *browser, q url.Values) { q.Set("iss", "https://evil.example.com") }, "another issuer", 400},
		"another code":       {func(_ *idp, _ *browser, q url.Values) { q.Set("code", "canary-other-code") }, "the code", 403},
		"no code":            {func(_ *idp, _ *browser, q url.Values) { q.Del("code") }, "no code", 403},
		"the user says no":   {func(_ *idp, _ *browser, q url.Values) { q.Del("code"); q.Set("error", "access_denied") }, "access_denied", 403},
		"an error as a text": {func(_ *idp, _ *browser, q url.Values) { q.Set("error", "<script>alert(1)</script>") }, "the provider answers", 403},
		"another nonce":      {func(p *idp, _ *browser, _ url.Values) { p.claims = map[string]any{}; p.spoilNonce() }, "nonce", 403},
		"no nonce":           {func(p *idp, _ *browser, _ url.Values) { p.token = func(string) string { return p.issue(nil) } }, "nonce", 403},
		"another audience":   {func(p *idp, _ *browser, _ url.Values) { p.claims = map[string]any{"aud": "x"} }, "another audience", 403},
		"an access token that does not belong": {func(p *idp, _ *browser, q url.Values) {
			nonce := p.nonces[q.Get("code")]
			p.token = func(string) string {
				return p.issue(map[string]any{"nonce": nonce, "at_hash": "AAAAAAAAAAAAAAAAAAAAAA"})
			}
		}, "does not belong", 403},
		"no ID token":         {func(p *idp, _ *browser, _ url.Values) { p.token = func(string) string { return "" } }, "no ID token", 403},
		"the provider breaks": {func(p *idp, _ *browser, _ url.Values) { p.answer = failing }, "503", 503},
		"an endless answer":   {func(p *idp, _ *browser, _ url.Values) { p.answer = endless }, "the code", 503},
	} {
		t.Run(name, func(t *testing.T) {
			p := newIDP(t)
			w := withProvider(t, p, "", nil)
			b := newBrowser(w)
			query := p.approve(b.leave(""))
			w.hide(query.Get("state"), query.Get("code"))
			c.change(p, b, query)
			answer := b.get(testURL + "/auth/callback?" + query.Encode())
			if answer.Code != c.status || answer.Header().Get("Location") != "" {
				t.Errorf("%d %s\n%s", answer.Code, answer.Body, w.log)
			}
			if !strings.Contains(w.log.String(), c.log) {
				t.Errorf("the log does not say %q:\n%s", c.log, w.log)
			}
			if _, err := b.who(); !errors.Is(err, ErrNoSession) {
				t.Errorf("there is a session: %v", err)
			}
			if body := answer.Body.String(); strings.Contains(body, "script") || strings.Contains(body, "canary") {
				t.Errorf("the page says %q", body)
			}
		})
	}
}

func (p *idp) spoilNonce() {
	for code := range p.nonces {
		p.nonces[code] = "another"
	}
}

func failing(w http.ResponseWriter) bool {
	http.Error(w, "canary-description-99", http.StatusServiceUnavailable)
	return true
}

func endless(w http.ResponseWriter) bool {
	chunk := []byte(strings.Repeat("x", 64<<10))
	for range 64 {
		if _, err := w.Write(chunk); err != nil {
			break
		}
	}
	return true
}

func tamper(cookie *http.Cookie) {
	middle := len(cookie.Value) / 2
	changed := byte('A')
	if cookie.Value[middle] == 'A' {
		changed = 'B'
	}
	cookie.Value = cookie.Value[:middle] + string(changed) + cookie.Value[middle+1:]
}

func stateOfAnother(b *browser, _ *idp) *http.Cookie {
	other := newBrowser(b.w)
	other.leave("")
	return other.cookies[stateCookieName]
}

func TestAStateIsGoodOnce(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "", nil)
	b := newBrowser(w)
	asked := b.leave("")
	kept := b.cookies[stateCookieName]
	target := testURL + "/auth/callback?" + p.approve(asked).Encode()
	if answer := b.get(target); answer.Code != http.StatusSeeOther {
		t.Fatal(answer.Code)
	}
	again := newBrowser(w)
	again.cookies[stateCookieName] = kept
	p.approve(asked) // even if the provider took the code again
	if answer := again.get(target); answer.Code != http.StatusBadRequest || !strings.Contains(w.log.String(), "used before") {
		t.Errorf("%d\n%s", answer.Code, w.log)
	}
}

func TestASessionLivesAsLongAsTheProviderSays(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "", map[string]string{"users.session.duration": "1h"})
	b := newBrowser(w)
	b.signIn(p, "")
	old := b.cookies[CookieName].Value
	oldSession := *b.cookies[sessionCookieName]
	w.clock.pass(11 * time.Minute)

	// Several requests are sent before the browser has the new cookies.
	results := make(chan error, 5)
	for range 5 {
		request := b.request(http.MethodGet, testURL+"/")
		go func() {
			_, err := w.Authenticate(t.Context(), request)
			results <- err
		}()
	}
	for range 5 {
		if err := <-results; err != nil {
			t.Errorf("while the session is renewed: %v\n%s", err, w.log)
		}
	}
	if p.renewals != 1 {
		t.Errorf("the refresh token was used %d times", p.renewals)
	}
	if caller, err := b.who(); err != nil || caller.Name != "ann@example.com" || b.cookies[CookieName].Value == old || p.renewals != 1 {
		t.Errorf("%+v, %v, %d renewals", caller, err, p.renewals)
	}
	if _, err := w.call(old); !errors.Is(err, ErrExpired) {
		t.Errorf("the old token alone: %v", err)
	}
	w.clock.pass(11 * time.Minute)
	p.mutex.Lock()
	p.claims = map[string]any{"groups": []string{"team-c"}}
	p.mutex.Unlock()
	if caller, err := b.who(); err != nil || !slices.Equal(caller.Groups, []string{"team-c"}) || p.renewals != 2 {
		t.Errorf("%v, %v, %d renewals", caller.Groups, err, p.renewals)
	}

	mixed := newBrowser(w)
	mixed.cookies[CookieName] = &http.Cookie{Name: CookieName, Value: p.issue(map[string]any{"exp": w.clock.Now().Unix() - 60, "sub": "boss"})}
	mixed.cookies[sessionCookieName] = &oldSession
	if _, err := mixed.who(); !errors.Is(err, ErrExpired) {
		t.Errorf("a token with the session of another: %v", err)
	}

	w.clock.pass(11 * time.Minute)
	p.mutex.Lock()
	p.claims = map[string]any{"sub": "somebody-else"}
	p.mutex.Unlock()
	if _, err := b.who(); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("renewed as somebody else: %v", err)
	}
	p.mutex.Lock()
	p.claims = nil
	p.mutex.Unlock()
	fresh := newBrowser(w)
	fresh.signIn(p, "")
	w.clock.pass(11 * time.Minute)
	p.mutex.Lock()
	p.refresh = "taken back"
	p.mutex.Unlock()
	if _, err := fresh.who(); !errors.Is(err, ErrExpired) {
		t.Errorf("a refresh token that was taken back: %v", err)
	}
}

func TestASessionIsNotRenewedForEver(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "refreshTokenThreshold: 5m", map[string]string{"users.session.duration": "30m"})
	b := newBrowser(w)
	b.signIn(p, "")
	w.clock.pass(6 * time.Minute)
	if caller, err := b.who(); err != nil || p.renewals != 1 || caller.Expires.Sub(w.clock.Now()) != 10*time.Minute {
		t.Errorf("%v, %v, %d renewals: not renewed ahead of time", caller.Expires, err, p.renewals)
	}
	p.mutex.Lock()
	p.answer = failing
	p.mutex.Unlock()
	w.clock.pass(6 * time.Minute)
	if _, err := b.who(); err != nil {
		t.Errorf("a token that is good still, while the provider fails: %v", err)
	}
	w.clock.pass(6 * time.Minute)
	if _, err := b.who(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an expired token, while the provider fails: %v", err)
	}
	p.mutex.Lock()
	p.answer = nil
	p.mutex.Unlock()
	if _, err := b.who(); err != nil {
		t.Errorf("when it is back: %v\n%s", err, w.log)
	}
	w.clock.pass(15 * time.Minute)
	if _, err := b.who(); !errors.Is(err, ErrExpired) {
		t.Errorf("after users.session.duration: %v", err)
	}
}

func TestSignOutInTheBrowser(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "logoutURL: https://idp.example.com/bye?id_token_hint={{token}}&back={{logoutRedirectURL}}", nil)
	b := newBrowser(w)
	b.signIn(p, "")
	token, session := *b.cookies[CookieName], *b.cookies[sessionCookieName]
	elsewhere := b.request(http.MethodGet, testURL+"/auth/logout")
	elsewhere.Header.Set("Sec-Fetch-Site", "cross-site")
	refused := httptest.NewRecorder()
	w.Handler().ServeHTTP(refused, elsewhere)
	if refused.Code != http.StatusForbidden {
		t.Errorf("another site may sign out: %d", refused.Code)
	}
	answer := b.get(testURL + "/auth/logout")
	if want := "https://idp.example.com/bye?id_token_hint=" + token.Value + "&back=https%3A%2F%2Fgitops.example.com"; answer.Header().Get("Location") != want {
		t.Errorf("sent to %s", answer.Header().Get("Location"))
	}
	if len(b.cookies) != 0 {
		t.Errorf("kept %v", b.cookies)
	}
	b.cookies[CookieName], b.cookies[sessionCookieName] = &token, &session
	if _, err := b.who(); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("the old cookies: %v", err)
	}
	w.clock.pass(11 * time.Minute)
	if _, err := b.who(); !errors.Is(err, ErrInvalidSession) || p.renewals != 0 {
		t.Errorf("the old cookies when the token has expired: %v, %d renewals", err, p.renewals)
	}

	local := newBrowser(w)
	local.cookies[CookieName] = &http.Cookie{Name: CookieName, Value: w.login("alice")}
	if answer := local.get(testURL + "/auth/logout"); answer.Header().Get("Location") != testURL || len(local.cookies) != 0 {
		t.Errorf("a local account is sent to %s, kept %v", answer.Header().Get("Location"), local.cookies)
	}
}

func TestLongTokensAreCutIntoCookies(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "", nil)
	groups := make([]string, 300)
	for i := range groups {
		groups[i] = "00000000-0000-4000-8000-0123456789ab"
	}
	p.claims = map[string]any{"groups": groups}
	b := newBrowser(w)
	b.signIn(p, "")
	if _, cutUp := b.cookies[CookieName+"-1"]; !cutUp {
		t.Fatalf("the token fits into %v", b.cookies)
	}
	if caller, err := b.who(); err != nil || len(caller.Groups) != 300 {
		t.Errorf("%d groups, %v", len(caller.Groups), err)
	}
	delete(b.cookies, CookieName+"-1")
	if _, err := b.who(); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("with a part missing: %v", err)
	}
	p.claims = nil
	b.signIn(p, "")
	for name := range b.cookies {
		if strings.HasPrefix(name, CookieName+"-") {
			t.Errorf("the part %s of the longer token is left", name)
		}
	}
	if _, err := b.who(); err != nil {
		t.Error(err)
	}
}

func TestCookiesOnLoopback(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "", map[string]string{"url": "http://127.0.0.1:8080"})
	b := newBrowser(w)
	b.base = "http://127.0.0.1:8080"
	if home := b.signIn(p, "/deliveries"); home != "http://127.0.0.1:8080/deliveries" {
		t.Errorf("sent to %s", home)
	}
	if caller, err := b.who(); err != nil || caller.Kind != KindOIDC {
		t.Errorf("%v, %v", caller.Kind, err)
	}
}

func TestCookiesTravelEncrypted(t *testing.T) {
	for _, c := range []struct {
		target, from, header string
		secure               bool
	}{
		{"http://127.0.0.1:8080/", "127.0.0.1:50000", "", false},
		{"http://localhost/", "[::1]:50000", "", false},
		{"https://localhost/", "127.0.0.1:50000", "", true},
		{"http://localhost/", "127.0.0.1:50000", "https", true}, // a proxy on this machine
		{"http://localhost/", "10.0.0.1:50000", "", true},       // a proxy that changes the host
		{"http://gitops.example.com/", "127.0.0.1:50000", "", true},
		{"http://localhost.example.com/", "127.0.0.1:50000", "", true},
		{"http://127.0.0.1:8080/", "nonsense", "", true},
	} {
		request := httptest.NewRequest(http.MethodGet, c.target, nil)
		request.RemoteAddr = c.from
		request.Header.Set("X-Forwarded-Proto", c.header)
		if got := secure(request); got != c.secure {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestPathsOfTheHandler(t *testing.T) {
	w := newWorld(t, nil)
	for target, want := range map[string]int{
		"GET /auth/login": 404, "GET /auth/callback": 404, "POST /auth/login": 405, "GET /elsewhere": 404, "GET /auth/logout": 303, "POST /auth/logout": 303, "DELETE /auth/logout": 405,
	} {
		method, path, _ := strings.Cut(target, " ")
		answer := httptest.NewRecorder()
		w.Handler().ServeHTTP(answer, httptest.NewRequest(method, testURL+path, nil))
		if answer.Code != want {
			t.Errorf("%s: %d", target, answer.Code)
		}
	}
}
