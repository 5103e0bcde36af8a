package signin

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"plumb.dev/plumb/internal/model"
)

// session is what the browser keeps, sealed, beside the ID token: what renews it.
// It is bound to that very token, so that neither can be used with another.
type session struct {
	ID       string    `json:"id"`
	Issuer   string    `json:"iss"`
	Subject  string    `json:"sub"`
	Digest   string    `json:"dig"` // of the ID token
	Refresh  string    `json:"ref,omitempty"`
	Access   string    `json:"acc,omitempty"` // only when groups are asked for with it
	Until    time.Time `json:"unt"`           // the access token's end; zero when not known
	Redirect string    `json:"red"`
	Started  time.Time `json:"sta"`
}

// String hides the tokens.
func (s *session) String() string { return "a session of " + s.Issuer }

// GoString hides the tokens.
func (s *session) GoString() string { return s.String() }

// keptSession returns what the browser keeps, or nil.
func (d *Door) keptSession(setup *setup, r *http.Request) *session {
	sealed, err := joinCookie(sessionCookieName, r.Cookies())
	if err != nil || sealed == "" {
		return nil
	}
	kept := new(session)
	if err := unseal(setup.key, purposeSession, sealed, kept); err != nil {
		d.log.Info("a session cookie is not ours", "reason", loggable(err))
		return nil
	}
	return kept
}

func (d *Door) storeSession(w http.ResponseWriter, r *http.Request, setup *setup, kept *session) error {
	sealed, err := seal(setup.key, purposeSession, kept)
	if err != nil {
		return err
	}
	return d.setCookie(w, r, d.template(setup, r, sessionCookieName), sealed)
}

// person checks a token of the identity provider, and renews the session that it
// belongs to when it has expired or is about to. claimed are its claims before
// anybody has checked them.
func (d *Door) person(ctx context.Context, setup *setup, token string, claimed claimsOf, kept *session) (Principal, error) {
	now := d.options.Now()
	if d.revoked.has(idTokenOf(claimed, token), now) {
		return Principal{}, refuse(ErrInvalidSession, "the ID token was signed out")
	}
	if kept != nil {
		switch {
		case kept.Digest != digestOf(token) || kept.Issuer != setup.provider.Issuer:
			kept = nil // of another token
		case d.revoked.has(kept.named(), now):
			return Principal{}, refuse(ErrInvalidSession, "the session was signed out")
		}
	}
	connection := d.connect(setup)
	verified, claims, err := connection.verify(ctx, token)
	due := err == nil && setup.provider.refreshBefore > 0 && verified.Expiry.Sub(now) < setup.provider.refreshBefore
	if errors.Is(err, ErrExpired) || due {
		renewed, renewErr := d.renewed(ctx, setup, connection, kept)
		switch {
		case renewErr == nil:
			return d.renewedCaller(ctx, setup, connection, renewed)
		case errors.Is(err, ErrExpired) && kept != nil:
			return Principal{}, renewErr
		case kept != nil:
			d.log.Warn("a session could not be renewed ahead of time", "reason", reasonOf(renewErr))
		}
	}
	if err != nil {
		return Principal{}, err
	}
	return d.personOf(ctx, setup, connection, verified, claims, token, kept)
}

func (d *Door) renewedCaller(ctx context.Context, setup *setup, connection *provider, renewed *renewal) (Principal, error) {
	caller, err := d.personOf(ctx, setup, connection, renewed.verified, renewed.claims, renewed.token, renewed.session)
	if err != nil {
		return Principal{}, err
	}
	caller.Renewal, caller.renewed = model.NewSecret([]byte(renewed.token)), renewed.session
	return caller, nil
}

// personOf is the caller that a verified ID token stands for.
func (d *Door) personOf(ctx context.Context, setup *setup, connection *provider, verified *oidc.IDToken, claims claimsOf, token string, kept *session) (Principal, error) {
	// A policy cannot tell who issued a subject: one that reads as somebody else's
	// must not come from a provider, where people may choose their own.
	subject := claims.subject()
	if _, _, project := projectOf(subject); project || subject == Admin || strings.HasPrefix(subject, serviceAccountPrefix) {
		return Principal{}, refuse(ErrInvalidSession, "the subject of the ID token is reserved: it reads as admin, a project's role or a service account")
	}
	groups, access, err := d.groupsOf(ctx, setup, connection, verified, claims, kept)
	if err != nil {
		return Principal{}, err
	}
	if !slices.Equal(groups, texts(claims["groups"])) { // policies read the claim
		claims = maps.Clone(claims)
		claims["groups"] = groups
	}
	caller := Principal{
		Kind: KindOIDC, Subject: subject, Groups: groups, Claims: claims,
		Issuer: verified.Issuer, Issued: verified.IssuedAt, Expires: verified.Expiry,
		TokenID: tokenID(claims, token), token: idTokenOf(claims, token),
	}
	caller.Name = nameIn(verified, claims)
	caller.KubernetesUser = "oidc:" + caller.Name
	for _, group := range groups {
		caller.KubernetesGroups = append(caller.KubernetesGroups, "oidc:"+group)
	}
	if access != nil { // asking for the groups has renewed the session
		caller.Renewal, caller.renewed = model.NewSecret([]byte(access.token)), access.session
	}
	return caller, nil
}

// nameIn is what people call somebody: the email address, or the subject where the
// provider gives no verified one.
func nameIn(verified *oidc.IDToken, claims claimsOf) string {
	if mail := claims.text("email"); mail != "" && claims.mailIsVerified() {
		return mail
	}
	return verified.Subject
}

// mailIsVerified reports whether the address may stand for the person. Many
// providers do not say; some say it as a text.
func (c claimsOf) mailIsVerified() bool {
	verified, said := c["email_verified"]
	return !said || verified == true || verified == "true"
}

// tokenID names a token of the provider: jti, Entra's uti, at_hash as Dex needs
// it, else a digest.
func tokenID(claims claimsOf, token string) string {
	for _, name := range []string{"jti", "uti", "at_hash"} {
		if id := claims.text(name); id != "" {
			return id
		}
	}
	return digestOf(token)
}

// renewal is a session after its refresh token was used.
type renewal struct {
	session  *session
	token    string // the new ID token
	verified *oidc.IDToken
	claims   claimsOf
}

// renewalHolds is how long the outcome of a renewal is remembered, for requests
// that were sent before the browser had the new cookies: a refresh token can
// often be used once only.
const renewalHolds = time.Minute

// flights are renewals under way, and those that have just come back.
type flights struct {
	mutex sync.Mutex
	known map[string]*flight
}

type flight struct {
	done    chan struct{}
	landed  time.Time // zero while under way; written before done is closed
	renewal *renewal
	err     error
}

// join returns the flight of key, and whether the caller is the one to fly it.
func (f *flights) join(key string, now time.Time) (*flight, bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.known == nil {
		f.known = map[string]*flight{}
	}
	for old, known := range f.known {
		if !known.landed.IsZero() && now.Sub(known.landed) > renewalHolds {
			delete(f.known, old)
		}
	}
	if known, ok := f.known[key]; ok {
		return known, false
	}
	fresh := &flight{done: make(chan struct{})}
	f.known[key] = fresh
	return fresh, true
}

func (f *flights) land(key string, landed *flight, now time.Time, keep bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	landed.landed = now
	if !keep {
		delete(f.known, key)
	}
	close(landed.done)
}

// renewed uses the refresh token of a session, once for all requests that come
// with it.
func (d *Door) renewed(ctx context.Context, setup *setup, connection *provider, kept *session) (*renewal, error) {
	switch {
	case kept == nil || kept.Refresh == "":
		return nil, refuse(ErrExpired, "there is no refresh token (offline_access in requestedScopes asks for one)")
	case !d.options.Now().Before(kept.Started.Add(setup.session)):
		return nil, refuse(ErrExpired, "the session is older than "+keySessionDuration)
	}
	key := digest(16, "refresh", kept.Refresh)
	flight, mine := d.refreshes.join(key, d.options.Now())
	if mine {
		// Not the request's context: giving up half-way could lose the next token.
		go func() {
			detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), providerTimeout)
			defer cancel()
			flight.renewal, flight.err = d.refresh(detached, connection, kept)
			d.refreshes.land(key, flight, d.options.Now(), !errors.Is(flight.err, ErrUnavailable))
		}()
	}
	select {
	case <-flight.done:
		return flight.renewal, flight.err
	case <-ctx.Done():
		return nil, refuse(ErrUnavailable, "renewing the session takes too long")
	}
}

func (d *Door) refresh(ctx context.Context, connection *provider, kept *session) (*renewal, error) {
	found, err := connection.discover(ctx)
	if err != nil {
		return nil, err
	}
	source := connection.oauth(found, kept.Redirect).TokenSource(
		oidc.ClientContext(ctx, connection.client), &oauth2.Token{RefreshToken: kept.Refresh})
	answer, err := source.Token()
	if err != nil {
		return nil, refuseFor(endedOrUnavailable(err), "the refresh token", err)
	}
	token, _ := answer.Extra("id_token").(string)
	if token == "" || len(token) > maxToken {
		return nil, refuse(ErrExpired, "the identity provider renews without an ID token")
	}
	verified, claims, err := connection.verify(ctx, token)
	switch {
	case err != nil:
		return nil, err
	case verified.Subject != kept.Subject:
		return nil, refuse(ErrInvalidSession, "the renewed ID token is of somebody else")
	}
	next := *kept
	next.Digest = digestOf(token)
	if answer.RefreshToken != "" {
		next.Refresh = answer.RefreshToken
	}
	next.keepAccess(connection.config, answer, d.options.Now())
	d.log.Info("session renewed", "issuer", kept.Issuer, "subject", kept.Subject)
	return &renewal{session: &next, token: token, verified: verified, claims: claims}, nil
}

// keepAccess keeps the access token when it will be needed: it is long.
func (s *session) keepAccess(config *providerConfig, answer *oauth2.Token, now time.Time) {
	s.Access, s.Until = "", time.Time{}
	if !config.needsAccess() {
		return
	}
	s.Access = answer.AccessToken
	if answer.ExpiresIn > 0 {
		s.Until = now.Add(time.Duration(answer.ExpiresIn) * time.Second)
	}
}

// endedOrUnavailable tells an answer of the provider from none.
func endedOrUnavailable(err error) error {
	var retrieve *oauth2.RetrieveError
	if errors.As(err, &retrieve) && retrieve.Response != nil && retrieve.Response.StatusCode >= 400 && retrieve.Response.StatusCode < 500 &&
		retrieve.Response.StatusCode != http.StatusTooManyRequests {
		return ErrExpired
	}
	return ErrUnavailable
}
