package signin

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"golang.org/x/oauth2"

	"plumb.dev/plumb/internal/model"
)

// What a caller is told. Why exactly is in the log only: each of these is the
// same for every cause, so that it cannot be used to find out what exists.
var (
	// ErrNoSession: nothing was presented, and nobody may be anonymous. 401.
	ErrNoSession = errors.New("no session information")
	// ErrInvalidSession: what was presented is not valid. 401.
	ErrInvalidSession = errors.New("invalid session")
	// ErrExpired: what was presented was genuine, and is no longer valid. 401.
	ErrExpired = errors.New("the session has expired, sign in again")
	// ErrLogin: wrong name, wrong password, too many attempts, or an account that
	// must not sign in. 401.
	ErrLogin = errors.New("invalid username or password")
	// ErrBusy: too many sign-ins at a time; try again. 429.
	ErrBusy = errors.New("too many sign-ins at this moment, try again")
	// ErrUnavailable: the party that could tell (identity provider, API server)
	// did not answer; the session may be good. 503.
	ErrUnavailable = errors.New("the session cannot be checked at this moment")
	// ErrNotReady: there is no signing key yet. 503.
	ErrNotReady = errors.New("sign-in is not set up yet")
)

// ErrConflict is returned by a Writer when the object is not the version that
// was read any more, or exists already.
var ErrConflict = errors.New("changed by somebody else in the meantime")

// HTTPStatus returns the status that answers err: 401 for a refused caller, 429,
// 503, 400 for a *model.Fault, else 500.
func HTTPStatus(err error) int {
	var fault *model.Fault
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, ErrNoSession), errors.Is(err, ErrInvalidSession), errors.Is(err, ErrExpired), errors.Is(err, ErrLogin):
		return http.StatusUnauthorized
	case errors.Is(err, ErrBusy):
		return http.StatusTooManyRequests
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrNotReady):
		return http.StatusServiceUnavailable
	case errors.As(err, &fault):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// refusal is a public error with the reason that only the log is told.
type refusal struct {
	public error
	reason string
}

func (r *refusal) Error() string { return r.public.Error() }
func (r *refusal) Unwrap() error { return r.public }

func refuse(public error, reason string) error { return &refusal{public: public, reason: reason} }

func refuseFor(public error, reason string, err error) error {
	return &refusal{public: public, reason: reason + ": " + loggable(err)}
}

// reasonOf is what the log is told of err.
func reasonOf(err error) string {
	var r *refusal
	if errors.As(err, &r) {
		return r.reason
	}
	return loggable(err)
}

// maxReason bounds what one error of a library may put into the log, in bytes.
const maxReason = 400

// tokenLike finds what looks like a token, a code or a key in a text.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9_\-+/=.~]{24,}`)

// loggable is the text of a library's error without what may be secret in it:
// answers of a token endpoint, queries of URLs, and long runs of characters.
func loggable(err error) string {
	var fault *model.Fault
	if errors.As(err, &fault) {
		return fault.Message
	}
	var retrieve *oauth2.RetrieveError
	if errors.As(err, &retrieve) {
		text := "the token endpoint refused"
		if retrieve.Response != nil {
			text += " with status " + strconv.Itoa(retrieve.Response.StatusCode)
		}
		if retrieve.ErrorCode != "" {
			text += " (" + cut(tokenLike.ReplaceAllString(retrieve.ErrorCode, "…"), 100) + ")"
		}
		return text
	}
	var address *url.Error
	if errors.As(err, &address) {
		where := "the address"
		if parsed, parseErr := url.Parse(address.URL); parseErr == nil {
			where = parsed.Scheme + "://" + parsed.Host
		}
		return address.Op + " " + where + ": " + cut(tokenLike.ReplaceAllString(address.Err.Error(), "…"), maxReason)
	}
	return cut(tokenLike.ReplaceAllString(err.Error(), "…"), maxReason)
}

func cut(text string, length int) string {
	if len(text) > length {
		return text[:length] + "…"
	}
	return text
}
