package signin

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Paths below the server's address that Handler serves.
const (
	LoginPath    = "/auth/login"
	CallbackPath = "/auth/callback"
	LogoutPath   = "/auth/logout"
)

const (
	stateHolds   = 5 * time.Minute // as upstream
	maxReturnURL = 2000
	// What logoutURL may hold. (upstream: server/logout)
	placeholderToken  = "{{token}}"
	placeholderReturn = "{{logoutRedirectURL}}"
)

// state is what a browser keeps, sealed, while its user is at the provider.
type state struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Return   string    `json:"u"`
	Redirect string    `json:"r"`
	Issuer   string    `json:"i"`
	Ends     time.Time `json:"e"`
}

// Handler serves sign-in in the browser: /auth/login?return_url=…, /auth/callback
// and /auth/logout, also below the path of the server's address. It guards itself
// against other sites, and must not stand behind RefuseForgery: "argocd logout"
// posts its token to /auth/logout as a cookie, and nothing else.
func (d *Door) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case strings.HasSuffix(r.URL.Path, LogoutPath) && (r.Method == http.MethodGet || r.Method == http.MethodPost):
			d.leave(w, r)
		case r.Method != http.MethodGet:
			http.Error(w, "only GET is served here", http.StatusMethodNotAllowed)
		case strings.HasSuffix(r.URL.Path, LoginPath):
			d.sendToProvider(w, r)
		case strings.HasSuffix(r.URL.Path, CallbackPath):
			d.comeBack(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// asked is the path that the browser asked for, whatever was stripped since.
func asked(r *http.Request) string {
	if uri, err := url.ParseRequestURI(r.RequestURI); err == nil {
		return uri.Path
	}
	return r.URL.Path
}

// turnAway answers a sign-in that does not go on; the log knows why.
func (d *Door) turnAway(w http.ResponseWriter, status int, say, reason string) {
	d.log.Warn("sign-in stopped", "reason", reason)
	http.Error(w, say, status)
}

const (
	sayNoProvider  = "Single sign-on is not configured."
	sayUnavailable = "The identity provider cannot be reached. Try again in a moment."
	sayAgain       = "The sign-in was not completed. Start again from the sign-in page."
)

func (d *Door) sendToProvider(w http.ResponseWriter, r *http.Request) {
	setup, err := d.setup(r.Context())
	if err != nil {
		d.turnAway(w, HTTPStatus(err), err.Error(), reasonOf(err))
		return
	}
	if setup.provider == nil {
		d.turnAway(w, http.StatusNotFound, sayNoProvider, "oidc.config is missing or cannot be used")
		return
	}
	own := setup.address(r.Host, asked(r))
	if own == nil {
		d.turnAway(w, http.StatusServiceUnavailable, "The server does not know its own address.", "url is missing in "+ConfigMapName)
		return
	}
	target, ok := setup.returnURL(own, r.URL.Query().Get("return_url"))
	if !ok {
		d.turnAway(w, http.StatusBadRequest, "Invalid return URL: it must be an address of this server.", "return_url leads elsewhere")
		return
	}
	connection := d.connect(setup)
	found, err := connection.discover(r.Context())
	if err != nil {
		d.turnAway(w, http.StatusServiceUnavailable, sayUnavailable, connection.unreachable(err).Error())
		return
	}
	attempt := state{
		State: random(32), Nonce: random(32), Verifier: oauth2.GenerateVerifier(),
		Return: target, Redirect: below(own, CallbackPath), Issuer: setup.provider.Issuer,
		Ends: d.options.Now().Add(stateHolds),
	}
	options, err := setup.provider.authOptions(attempt)
	if err == nil {
		err = d.keepState(w, r, setup, attempt)
	}
	if err != nil {
		d.turnAway(w, http.StatusInternalServerError, sayAgain, loggable(err))
		return
	}
	http.Redirect(w, r, connection.oauth(found, attempt.Redirect).AuthCodeURL(attempt.State, options...), http.StatusSeeOther)
}

func (c *providerConfig) authOptions(attempt state) ([]oauth2.AuthCodeOption, error) {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(attempt.Verifier), oidc.Nonce(attempt.Nonce)}
	if c.DomainHint != "" {
		options = append(options, oauth2.SetAuthURLParam("domain_hint", strings.TrimSpace(c.DomainHint)))
	}
	if len(c.RequestedIDTokenClaims) > 0 {
		claims, err := json.Marshal(map[string]any{"id_token": c.RequestedIDTokenClaims})
		if err != nil {
			return nil, err
		}
		options = append(options, oauth2.SetAuthURLParam("claims", string(claims)))
	}
	return options, nil
}

func (d *Door) keepState(w http.ResponseWriter, r *http.Request, setup *setup, attempt state) error {
	sealed, err := seal(setup.key, purposeState, attempt)
	if err != nil {
		return err
	}
	cookie := d.template(setup, r, stateCookieName)
	cookie.Value, cookie.MaxAge = sealed, int(stateHolds.Seconds())
	http.SetCookie(w, &cookie)
	return nil
}

// below returns the address of a path of the server.
func below(own *url.URL, suffix string) string {
	address := *own
	address.Path = path.Join("/", own.Path, suffix)
	return address.String()
}

// returnURL returns where to go after the sign-in: text, which may be relative,
// if that is an address of ours, and the start page for none.
func (s *setup) returnURL(own *url.URL, text string) (string, bool) {
	if text == "" {
		return below(own, "/"), true
	}
	if len(text) > maxReturnURL || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
		return "", false
	}
	wanted, err := url.Parse(text)
	if err != nil || wanted.User != nil || wanted.Opaque != "" {
		return "", false
	}
	// "/apps" is one of our paths; "//elsewhere" and "apps" are not.
	if wanted.Scheme == "" && wanted.Host == "" {
		if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") {
			return "", false
		}
		wanted.Scheme, wanted.Host = own.Scheme, own.Host
	}
	clean := path.Clean("/" + wanted.Path)
	for _, candidate := range s.urls {
		if wanted.Scheme == candidate.Scheme && strings.EqualFold(wanted.Host, candidate.Host) && within(clean, candidate.Path) {
			return wanted.String(), true
		}
	}
	return "", false
}

// comeBack ends the flow: it is the browser that began it, the answer is the
// provider's, and the ID token is for this very attempt.
func (d *Door) comeBack(w http.ResponseWriter, r *http.Request) {
	setup, err := d.setup(r.Context())
	if err != nil {
		d.turnAway(w, HTTPStatus(err), err.Error(), reasonOf(err))
		return
	}
	if setup.provider == nil {
		d.turnAway(w, http.StatusNotFound, sayNoProvider, "oidc.config is missing or cannot be used")
		return
	}
	attempt, reason := d.takeState(w, r, setup)
	if reason != "" {
		d.turnAway(w, http.StatusBadRequest, sayAgain, reason)
		return
	}
	query := r.URL.Query()
	if code := query.Get("error"); code != "" {
		say := sayAgain
		if errorCode.MatchString(code) {
			say = "The identity provider refused the sign-in: " + code + "."
		}
		d.turnAway(w, http.StatusForbidden, say, "the provider answers "+cut(code, 60)+": "+loggable(errors.New(query.Get("error_description"))))
		d.options.SignedIn(r, "", ErrInvalidSession)
		return
	}
	renewal, err := d.redeem(r, setup, attempt, query.Get("code"))
	if err != nil {
		say, status := sayAgain, http.StatusForbidden
		if errors.Is(err, ErrUnavailable) {
			say, status = sayUnavailable, http.StatusServiceUnavailable
		}
		d.turnAway(w, status, say, reasonOf(err))
		d.options.SignedIn(r, "", public(err))
		return
	}
	d.groups.drop(groupsKey(setup.provider, renewal.verified.Subject)) // memberships may have changed
	err = d.storeSession(w, r, setup, renewal.session)
	if err == nil {
		err = d.setCookie(w, r, d.template(setup, r, CookieName), renewal.token)
	}
	if err != nil {
		d.turnAway(w, http.StatusInternalServerError, "The session does not fit into the cookies of a browser.", loggable(err))
		return
	}
	d.log.Info("signed in", "issuer", renewal.verified.Issuer, "subject", renewal.verified.Subject, "email", renewal.claims.text("email"))
	d.options.SignedIn(r, nameIn(renewal.verified, renewal.claims), nil)
	http.Redirect(w, r, attempt.Return, http.StatusSeeOther)
}

// errorCode is the form of an error of OAuth 2.0 that may be shown.
var errorCode = regexp.MustCompile(`^[a-z_]{1,60}$`)

// takeState returns the attempt that the browser began, which can be done once,
// or why it is none.
func (d *Door) takeState(w http.ResponseWriter, r *http.Request, setup *setup) (state, string) {
	var attempt state
	cookie, err := r.Cookie(stateCookieName)
	if err != nil {
		return state{}, "the browser has no state: it began elsewhere, or too long ago"
	}
	gone := d.template(setup, r, stateCookieName)
	gone.MaxAge = -1
	http.SetCookie(w, &gone)
	if err := unseal(setup.key, purposeState, cookie.Value, &attempt); err != nil {
		return state{}, "the state is not ours"
	}
	query := r.URL.Query()
	now := d.options.Now()
	switch {
	case attempt.State == "" || subtle.ConstantTimeCompare([]byte(attempt.State), []byte(query.Get("state"))) != 1:
		return state{}, "the state is not the one of this browser"
	case !now.Before(attempt.Ends):
		return state{}, "the state has expired"
	case attempt.Issuer != setup.provider.Issuer:
		return state{}, "the identity provider was changed in the meantime"
	case query.Has("iss") && query.Get("iss") != attempt.Issuer: // RFC 9207
		return state{}, "the answer is of another issuer"
	case !d.states.claim(attempt.State, struct{}{}, now, attempt.Ends):
		return state{}, "the state was used before"
	}
	return attempt, ""
}

// redeem exchanges the code for tokens and checks them.
func (d *Door) redeem(r *http.Request, setup *setup, attempt state, code string) (*renewal, error) {
	if code == "" {
		return nil, refuse(ErrInvalidSession, "the answer holds no code")
	}
	connection := d.connect(setup)
	found, err := connection.discover(r.Context())
	if err != nil {
		return nil, err
	}
	ctx := oidc.ClientContext(r.Context(), connection.client)
	answer, err := connection.oauth(found, attempt.Redirect).Exchange(ctx, code, oauth2.VerifierOption(attempt.Verifier))
	if err != nil {
		return nil, refuseFor(endedOrUnavailable(err), "the code", err)
	}
	token, _ := answer.Extra("id_token").(string)
	if token == "" || len(token) > maxToken {
		return nil, refuse(ErrInvalidSession, "the answer holds no ID token")
	}
	verified, claims, err := connection.verify(r.Context(), token)
	switch {
	case err != nil:
		return nil, err
	case subtle.ConstantTimeCompare([]byte(verified.Nonce), []byte(attempt.Nonce)) != 1:
		return nil, refuse(ErrInvalidSession, "the ID token is not for this attempt (nonce)")
	case verified.AccessTokenHash != "" && verified.VerifyAccessToken(answer.AccessToken) != nil:
		return nil, refuse(ErrInvalidSession, "the access token does not belong to the ID token")
	}
	kept := &session{
		ID: random(16), Issuer: verified.Issuer, Subject: verified.Subject, Digest: digestOf(token),
		Refresh: answer.RefreshToken, Redirect: attempt.Redirect, Started: d.options.Now(),
	}
	kept.keepAccess(setup.provider, answer, d.options.Now())
	return &renewal{session: kept, token: token, verified: verified, claims: claims}, nil
}

// leave signs the browser out, here and, where logoutURL is set, at the provider.
func (d *Door) leave(w http.ResponseWriter, r *http.Request) {
	setup, err := d.setup(r.Context())
	if err != nil {
		d.turnAway(w, HTTPStatus(err), err.Error(), reasonOf(err))
		return
	}
	if reason := d.fromElsewhere(r); reason != "" {
		d.turnAway(w, http.StatusForbidden, "Only this site can sign you out.", reason)
		return
	}
	token, cookie := credential(r)
	kept := d.keptSession(setup, r)
	caller, err := d.signOut(r.Context(), r)
	if err != nil {
		d.log.Warn("a session could not be signed out", "reason", reasonOf(err))
	}
	for _, name := range []string{CookieName, sessionCookieName} {
		if err := d.setCookie(w, r, d.template(setup, r, name), ""); err != nil {
			d.log.Error("a cookie cannot be taken away", "reason", loggable(err))
		}
	}
	home := "/"
	if own := setup.address(r.Host, asked(r)); own != nil {
		home = strings.TrimSuffix(own.String(), "/")
	}
	atProvider := cookie && setup.provider != nil && setup.provider.LogoutURL != "" && (caller.Kind == KindOIDC || kept != nil)
	if !atProvider {
		http.Redirect(w, r, home, http.StatusSeeOther)
		return
	}
	target := strings.ReplaceAll(setup.provider.LogoutURL, placeholderToken, url.QueryEscape(string(token.Reveal())))
	target = strings.ReplaceAll(target, placeholderReturn, url.QueryEscape(home))
	http.Redirect(w, r, target, http.StatusSeeOther)
}
