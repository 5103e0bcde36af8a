// Package loopback signs somebody in at an identity provider from a command
// line, where there is no server to come back to: by an authorization code with
// PKCE (RFC 7636) that the browser brings to a port of this machine (RFC 8252),
// for the public client that the server's settings name (cliClientID). The ID
// token is what the server is then sent, as Argo CD's command line does it.
package loopback

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"plumb.dev/plumb/internal/model"
)

// Provider is the identity provider as the server tells of it.
type Provider struct {
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"clientID"`
	Scopes   []string `json:"scopes,omitempty"`
	Claims   string   `json:"claims,omitempty"` // the parameter "claims"; "" asks for none
}

// Session is what a sign-in yields.
type Session struct {
	Token   model.Secret // ID token
	Refresh model.Secret // zero: it cannot be renewed
	Expires time.Time    // of Token
}

// ErrEnded says that the provider does not renew a session any more.
var ErrEnded = errors.New("the session has ended")

// CallbackPath is where the browser comes back to, on "localhost": the address
// that Argo CD's users have registered for its command line.
const CallbackPath = "/auth/callback"

// DefaultPort is the port of that address.
const DefaultPort = 8085

// Options say how somebody signs in.
type Options struct {
	HTTP *http.Client // reaches the provider; nil: http.DefaultClient
	Port int          // of this machine, for the browser to come back to; 0: any that is free
	// Open shows an address to the user's browser.
	Open func(address string) error
}

// SignIn sends the browser to the provider and waits until it is back, or ctx
// ends.
func SignIn(ctx context.Context, p Provider, o Options) (Session, error) {
	ctx = bounded(ctx, o.HTTP)
	found, err := discover(ctx, p.Issuer)
	if err != nil {
		return Session{}, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port)))
	if err != nil {
		return Session{}, &model.Fault{
			Reason: "PortInUse", Message: fmt.Sprintf("the browser cannot come back: %v", err),
			Advice: "choose another port with --sso-port; the identity provider must know it",
		}
	}
	defer func() { _ = listener.Close() }()
	port := listener.Addr().(*net.TCPAddr).Port
	attempt := attempt{
		config: oauth2.Config{
			ClientID: p.ClientID, Endpoint: found.Endpoint(), Scopes: scopes(p, found),
			RedirectURL: fmt.Sprintf("http://localhost:%d%s", port, CallbackPath),
		},
		issuer: p.Issuer, state: random(), nonce: random(), verifier: oauth2.GenerateVerifier(),
		answers: make(chan answer, 1),
	}
	server := &http.Server{Handler: attempt, ReadHeaderTimeout: answerTime, MaxHeaderBytes: maxAnswer}
	go func() { _ = server.Serve(listener) }()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		_ = server.Shutdown(closing) // so that the browser gets its page
	}()
	if err := o.Open(attempt.address(p)); err != nil {
		return Session{}, err
	}
	select {
	case <-ctx.Done():
		return Session{}, fmt.Errorf("the browser has not come back: %w", ctx.Err())
	case got := <-attempt.answers:
		if got.err != nil {
			return Session{}, got.err
		}
		return attempt.redeem(ctx, found, got.code)
	}
}

// discover asks an identity provider about itself. Where it says to send codes and
// tokens must be as well encrypted as its own address is, and the browser is sent
// to web addresses only: the server that names the provider may be anybody's.
func discover(ctx context.Context, issuer string) (*oidc.Provider, error) {
	found, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, fmt.Errorf("the identity provider %s does not tell of itself: %w", issuer, err)
	}
	endpoint := found.Endpoint()
	for what, address := range map[string]string{"sign-in": endpoint.AuthURL, "tokens": endpoint.TokenURL} {
		if !asGood(issuer, address) {
			return nil, fmt.Errorf("the identity provider %s names an address for %s that is missing or not encrypted", issuer, what)
		}
	}
	return found, nil
}

// asGood reports whether an address is one of the web, and encrypted if the
// issuer's is.
func asGood(issuer, address string) bool {
	at, err := url.Parse(address)
	return err == nil && at.Host != "" && at.User == nil && (at.Scheme == "https" || at.Scheme == "http" && !strings.HasPrefix(issuer, "https://"))
}

// Bounds of what comes from elsewhere.
const (
	answerTime = 5 * time.Second
	maxAnswer  = 1 << 20
)

// scopes are those that the server asks for, and the one that lets a session be
// renewed, unless the provider says that it does not know it (as argocd does,
// util/oidc: OfflineAccess).
func scopes(p Provider, found *oidc.Provider) []string {
	asked := p.Scopes
	var told struct {
		Scopes []string `json:"scopes_supported"`
	}
	_ = found.Claims(&told) // what it does not tell, it does not know
	if !slices.Contains(asked, oidc.ScopeOfflineAccess) && (len(told.Scopes) == 0 || slices.Contains(told.Scopes, oidc.ScopeOfflineAccess)) {
		asked = append(slices.Clone(asked), oidc.ScopeOfflineAccess)
	}
	return asked
}

// attempt is one sign-in under way.
type attempt struct {
	config                         oauth2.Config
	issuer, state, nonce, verifier string
	answers                        chan answer // what the browser brings, once
}

type answer struct {
	code string
	err  error
}

// address is where the browser begins.
func (a attempt) address(p Provider) string {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.verifier), oidc.Nonce(a.nonce)}
	if p.Claims != "" {
		options = append(options, oauth2.SetAuthURLParam("claims", p.Claims))
	}
	return a.config.AuthCodeURL(a.state, options...)
}

// ServeHTTP takes what the browser brings back. What carries another state than
// ours was not begun here, and ends nothing.
func (a attempt) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch {
	case r.Method != http.MethodGet || r.URL.Path != CallbackPath:
		http.NotFound(w, r)
		return
	case subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(a.state)) != 1:
		page(w, http.StatusBadRequest, "This sign-in was not begun by the command that waits here.")
		return
	}
	var got answer
	switch {
	case query.Has("iss") && query.Get("iss") != a.issuer: // RFC 9207
		got.err = errors.New("the answer is of another identity provider")
	case query.Get("error") != "":
		got.err = fmt.Errorf("the identity provider refused the sign-in: %s", strings.TrimSuffix(query.Get("error")+": "+query.Get("error_description"), ": "))
	case query.Get("code") == "":
		got.err = errors.New("the browser came back without a code")
	default:
		got.code = query.Get("code")
	}
	if got.err != nil {
		page(w, http.StatusForbidden, "The sign-in was not completed. The command line says why.")
	} else {
		page(w, http.StatusOK, "Signed in. You can close this page and go back to the command line.")
	}
	select {
	case a.answers <- got:
	default: // it was answered before
	}
}

func page(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'")
	h.Set("Referrer-Policy", "no-referrer") // the address has a code in it
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<!doctype html><title>Plumb</title><p>"+html.EscapeString(text)+"</p>\n")
}

// redeem exchanges the code for tokens and checks them.
func (a attempt) redeem(ctx context.Context, found *oidc.Provider, code string) (Session, error) {
	told, err := a.config.Exchange(ctx, code, oauth2.VerifierOption(a.verifier))
	if err != nil {
		return Session{}, fmt.Errorf("the identity provider does not take the code: %w", withoutBody(err))
	}
	session, verified, err := checked(ctx, found, a.config.ClientID, told)
	switch {
	case err != nil:
		return Session{}, err
	case subtle.ConstantTimeCompare([]byte(verified.Nonce), []byte(a.nonce)) != 1:
		return Session{}, errors.New("the ID token is not for this sign-in (nonce)")
	}
	return session, nil
}

// checked takes the ID token out of an answer, once it has proved to be one of
// the provider's for this client.
func checked(ctx context.Context, found *oidc.Provider, client string, told *oauth2.Token) (Session, *oidc.IDToken, error) {
	token, _ := told.Extra("id_token").(string)
	if token == "" {
		return Session{}, nil, errors.New("the identity provider answers without an ID token")
	}
	verified, err := found.Verifier(&oidc.Config{ClientID: client}).Verify(ctx, token)
	if err != nil {
		return Session{}, nil, fmt.Errorf("the ID token cannot be trusted: %w", err)
	}
	return Session{Token: model.NewSecret([]byte(token)), Refresh: model.NewSecret([]byte(told.RefreshToken)), Expires: verified.Expiry}, verified, nil
}

// Renew uses a refresh token. A provider that gives out no new one goes on with
// the old. ErrEnded says that it takes the token no more.
func Renew(ctx context.Context, client *http.Client, p Provider, refresh model.Secret) (Session, error) {
	ctx = bounded(ctx, client)
	found, err := discover(ctx, p.Issuer)
	if err != nil {
		return Session{}, err
	}
	config := oauth2.Config{ClientID: p.ClientID, Endpoint: found.Endpoint()}
	told, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: string(refresh.Reveal())}).Token()
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode >= 400 && refused.Response.StatusCode < 500 && refused.Response.StatusCode != http.StatusTooManyRequests:
		return Session{}, fmt.Errorf("%w: the identity provider says %s", ErrEnded, refused.ErrorCode)
	case err != nil:
		return Session{}, fmt.Errorf("the session cannot be renewed: %w", withoutBody(err))
	}
	session, _, err := checked(ctx, found, p.ClientID, told)
	if err == nil && session.Refresh.IsZero() {
		session.Refresh = refresh
	}
	return session, err
}

// Revoke tells the provider that a refresh token is not used any more (RFC
// 7009). One that has no place to tell it is left alone.
func Revoke(ctx context.Context, client *http.Client, p Provider, refresh model.Secret) error {
	ctx = bounded(ctx, client)
	found, err := discover(ctx, p.Issuer)
	if err != nil {
		return err
	}
	var told struct {
		Revocation string `json:"revocation_endpoint"`
	}
	if err := found.Claims(&told); err != nil || told.Revocation == "" {
		return err
	}
	if !asGood(p.Issuer, told.Revocation) {
		return fmt.Errorf("the identity provider %s takes tokens back at an address that is not encrypted", p.Issuer)
	}
	form := url.Values{"token": {string(refresh.Reveal())}, "token_type_hint": {"refresh_token"}, "client_id": {p.ClientID}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, told.Revocation, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := httpOf(ctx).Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the identity provider answers %s", response.Status)
	}
	return nil
}

// bounded lets every call to the provider go through a client whose answers are
// bounded, and which follows no redirects: they could lead a code or a token away.
func bounded(ctx context.Context, client *http.Client) context.Context {
	if client == nil {
		client = http.DefaultClient
	}
	limited := *client
	limited.Transport = shortAnswers{client.Transport}
	limited.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return oidc.ClientContext(ctx, &limited)
}

func httpOf(ctx context.Context) *http.Client {
	client, _ := ctx.Value(oauth2.HTTPClient).(*http.Client)
	return client
}

// shortAnswers cuts answers off where no honest provider's are as long.
type shortAnswers struct{ next http.RoundTripper }

// RoundTrip passes a request on.
func (s shortAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	next := s.next
	if next == nil {
		next = http.DefaultTransport
	}
	response, err := next.RoundTrip(r)
	if err == nil {
		response.Body = shortBody{io.LimitReader(response.Body, maxAnswer), response.Body}
	}
	return response, err
}

type shortBody struct {
	io.Reader
	io.Closer
}

// withoutBody cuts the body of an answer off an error: it may hold tokens.
func withoutBody(err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return errors.New(strings.TrimSpace("it answers " + refused.ErrorCode + " " + refused.ErrorDescription))
	}
	return err
}

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand stops the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}
