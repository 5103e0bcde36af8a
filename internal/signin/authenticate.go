package signin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode"

	"plumb.dev/plumb/internal/model"
)

// credential returns the token of a request and whether it came by cookie. The
// order is upstream's: gRPC metadata "token", the bearer token, the cookie.
func credential(r *http.Request) (token model.Secret, cookie bool) {
	if values := r.Header.Values("token"); len(values) > 0 && values[0] != "" {
		return model.NewSecret([]byte(values[0])), false
	}
	other := "" // a bearer token that is no JWT may be of a proxy in between
	for _, value := range r.Header.Values("Authorization") {
		scheme, token, ok := strings.Cut(value, " ")
		if token = strings.TrimSpace(token); !ok || token == "" || !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		if strings.Count(token, ".") == 2 {
			return model.NewSecret([]byte(token)), false
		}
		other = token
	}
	joined, err := joinCookie(CookieName, r.Cookies())
	switch {
	case err != nil:
		return model.NewSecret([]byte("?")), true // there is one, and it is not valid
	case joined != "":
		return model.NewSecret([]byte(joined)), true
	}
	return model.NewSecret([]byte(other)), false
}

// Authenticate returns who sent the request. Where anonymous callers are allowed,
// a request without a credential is anonymous, and so is one whose cookie is not
// valid any more; a token in a header that is not valid is an error always. The
// error is one of ErrNoSession, ErrInvalidSession, ErrExpired, ErrUnavailable and
// ErrNotReady.
func (d *Door) Authenticate(ctx context.Context, r *http.Request) (Principal, error) {
	setup, err := d.setup(ctx)
	if err != nil {
		return Principal{}, err
	}
	token, cookie := credential(r)
	if token.IsZero() {
		if setup.anonymous {
			return Principal{Kind: KindAnonymous}, nil
		}
		return Principal{}, ErrNoSession
	}
	var kept *session
	if cookie {
		kept = d.keptSession(setup, r)
	}
	caller, err := d.check(ctx, setup, string(token.Reveal()), kept)
	if err == nil {
		caller.Cookie = cookie
		return caller, nil
	}
	d.log.Info("refused a caller", "reason", reasonOf(err), "cookie", cookie)
	if cookie && setup.anonymous && !errors.Is(err, ErrUnavailable) {
		return Principal{Kind: KindAnonymous}, nil
	}
	return Principal{}, public(err)
}

// Holds reports why what the request carries is not good any more for the caller
// that it was found to be from; nil: it is. Unlike Authenticate it renews nothing:
// there is nobody to hand a new session to. What only a renewal could tell is
// ErrExpired.
func (d *Door) Holds(ctx context.Context, r *http.Request, caller Principal) error {
	setup, err := d.setup(ctx)
	if err != nil {
		return err
	}
	token, cookie := credential(r)
	if caller.Kind == KindAnonymous || token.IsZero() {
		if setup.anonymous {
			return nil
		}
		return ErrNoSession
	}
	if _, err = d.check(ctx, setup, string(token.Reveal()), nil); err == nil && cookie {
		err = d.sessionHolds(setup, r, digestOf(string(token.Reveal())))
	}
	if err != nil {
		d.log.Info("a call that goes on has lost its caller", "reason", reasonOf(err))
		return public(err)
	}
	return nil
}

// sessionHolds reports why the session of an ID token is not good any more. It may
// have got another token before it was signed out.
func (d *Door) sessionHolds(setup *setup, r *http.Request, token string) error {
	kept := d.keptSession(setup, r)
	if kept != nil && kept.Digest == token && d.revoked.has(kept.named(), d.options.Now()) {
		return refuse(ErrInvalidSession, "the session was signed out")
	}
	return nil
}

// AuthenticateToken returns whose token it is, for callers that have it from
// elsewhere than from a request.
func (d *Door) AuthenticateToken(ctx context.Context, token model.Secret) (Principal, error) {
	setup, err := d.setup(ctx)
	if err != nil {
		return Principal{}, err
	}
	caller, err := d.check(ctx, setup, string(token.Reveal()), nil)
	if err != nil {
		d.log.Info("refused a caller", "reason", reasonOf(err), "cookie", false)
		return Principal{}, public(err)
	}
	return caller, nil
}

// public cuts off everything that the log alone may know.
func public(err error) error {
	for _, known := range []error{ErrNoSession, ErrInvalidSession, ErrExpired, ErrUnavailable, ErrNotReady, ErrLogin, ErrBusy} {
		if errors.Is(err, known) {
			return known
		}
	}
	return ErrInvalidSession
}

// check sends the token to the party that it says it is from.
func (d *Door) check(ctx context.Context, setup *setup, token string, kept *session) (Principal, error) {
	if len(token) > maxToken {
		return Principal{}, refuse(ErrInvalidSession, "the token is too long")
	}
	claims, err := unverified(token)
	if err != nil {
		return Principal{}, refuseFor(ErrInvalidSession, "the token cannot be read", err)
	}
	switch issuer := claims.text("iss"); {
	case issuer == Issuer:
		return d.own(ctx, setup, token)
	case strings.HasPrefix(claims.text("sub"), serviceAccountPrefix) && (setup.provider == nil || issuer != setup.provider.Issuer):
		return d.serviceAccount(ctx, token, claims)
	case setup.provider != nil && !setup.provider.issued(issuer):
		return Principal{}, refuse(ErrInvalidSession, "the issuer of the token is "+cut(issuer, 200)+", which is neither ours nor that of oidc.config")
	case setup.provider != nil:
		return d.person(ctx, setup, token, claims, kept)
	}
	return Principal{}, refuse(ErrInvalidSession, "nobody here issues such tokens")
}

// Identify finds out who calls before next is asked; Caller tells it to the
// handlers. It refuses nobody, and hands renewed sessions to the browser.
func (d *Door) Identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := d.Authenticate(r.Context(), r)
		if err == nil {
			if renewErr := d.Renew(w, r, caller); renewErr != nil {
				d.log.Error("a session could not be renewed", "reason", loggable(renewErr))
			}
		}
		found := identified{caller: caller, err: err}
		if err != nil {
			found.claimant = claimant(r)
		}
		ctx := context.WithValue(r.Context(), callerKey{}, found)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// longestClaim bounds what is told of a credential that is not valid, in bytes.
const longestClaim = 100

// claimant is whom a credential says it is of, whether that is so or not.
func claimant(r *http.Request) string {
	token, _ := credential(r)
	text := string(token.Reveal())
	if text == "" || len(text) > maxToken {
		return ""
	}
	claims, err := unverified(text)
	if err != nil {
		return ""
	}
	name := claims.text("email")
	if name == "" {
		name = claims.text("sub")
	}
	return cut(strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return -1
	}, strings.ToValidUTF8(name, "")), longestClaim)
}

// Logout ends the session that the request carries, for every replica. A request
// without one is fine.
func (d *Door) Logout(ctx context.Context, r *http.Request) error {
	_, err := d.signOut(ctx, r)
	return err
}

// signOut revokes the token of the request and returns whose it was.
func (d *Door) signOut(ctx context.Context, r *http.Request) (Principal, error) {
	setup, err := d.setup(ctx)
	if err != nil {
		return Principal{}, err
	}
	token, cookie := credential(r)
	if token.IsZero() {
		return Principal{}, nil
	}
	var kept *session
	if cookie {
		kept = d.keptSession(setup, r)
	}
	ending := newSignedOut()
	if kept != nil {
		ending.add(kept.named(), kept.Started.Add(setup.session))
	}
	text := string(token.Reveal())
	// Without the session beside it: it must not be renewed to be signed out.
	caller, err := d.check(ctx, setup, text, nil)
	switch {
	case err == nil && caller.Kind == KindAccount, err == nil && caller.Kind == KindOIDC:
		until := caller.Expires
		if until.IsZero() {
			return caller, &model.Fault{Reason: "InvalidArgument", Message: "a token that never expires is not a session", Advice: "delete the token instead"}
		}
		ending.add(caller.token, until.Add(leeway)) // one renewal may be under way
	case err == nil:
		return caller, &model.Fault{Reason: "InvalidArgument", Message: "only a session can be signed out", Advice: "delete the token instead"}
	case errors.Is(err, ErrUnavailable) && kept != nil && kept.Digest == digestOf(text):
		// The provider cannot confirm the token now, but it is the one that it gave.
		if claims, err := unverified(text); err == nil {
			ending.add(idTokenOf(claims, text), d.options.Now().Add(setup.session))
		}
	}
	if len(ending.Sessions) > 0 {
		d.revoke(ctx, ending)
		d.log.Info("signed out", "name", caller.Name, "kind", string(caller.Kind))
	}
	return caller, nil
}
