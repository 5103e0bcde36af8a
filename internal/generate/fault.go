package generate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// reason is what argo-cd writes when a generator fails
// (ApplicationSetReasonApplicationParamsGenerationError).
const reason = "ApplicationGenerationFromParamsError"

// refused makes the answer of a question that failed.
func refused(q model.Question, err error) model.Answer {
	fault := &model.Fault{Reason: reason, Message: err.Error(), Origin: q.Origin, Err: err}
	fault.Advice, fault.Retry = outlook(err)
	return model.Answer{Fault: fault}
}

// outlook says what to do about an error and whether to try again.
func outlook(err error) (advice string, retry bool) {
	var (
		told        advised
		no          *refusal
		limit       errLimit
		slow        errSlow
		astray      errAstray
		unreachable *errUnreachable
		garbled     *errGarbled
		changed     errChanged
	)
	switch {
	case errors.As(err, &told):
		return told.advice, false
	case errors.As(err, &no):
		return no.outlook()
	case errors.As(err, &limit):
		return "ask for less: narrow the filters, or split the generator", false
	case errors.As(err, &astray):
		return "declare the address that it redirects to", false
	case distrusted(err):
		return "name the certificate authority of the server in the generator, or allow it to be insecure", false
	case errors.Is(err, errLinkLocal):
		return "declare the address of the server itself", false
	case errors.As(err, &slow), errors.As(err, &unreachable), errors.As(err, &garbled), errors.As(err, &changed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "", true
	}
	return "", false
}

func distrusted(err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
	)
	return errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid) || errors.As(err, &verify)
}

// advised is an error whose remedy is known.
type advised struct {
	error
	advice string
}

func (e advised) Unwrap() error { return e.error }

// errLimit is a bound that was met.
type errLimit struct{ what string }

func (e errLimit) Error() string { return e.what }

// errSlow is a time that ran out.
type errSlow struct{ what string }

func (e errSlow) Error() string { return e.what }

// errChanged is a list that is never twice the same.
type errChanged struct{}

func (errChanged) Error() string { return "the list went on changing while it was read" }

// errUnreachable is a failure below HTTP.
type errUnreachable struct {
	server, host string
	err          error
	scrub        func(string) string
}

func (e *errUnreachable) Error() string {
	return fmt.Sprintf("%s cannot be reached at %s: %s", e.server, e.host, e.scrub(e.err.Error()))
}

func (e *errUnreachable) Unwrap() error { return e.err }

// errGarbled is an answer that is not what the API promises. What it says is
// not shown: it may be a page of anything.
type errGarbled struct {
	server string
	err    error
}

func (e *errGarbled) Error() string { return "the answer of " + e.server + " cannot be understood" }
func (e *errGarbled) Unwrap() error { return e.err }

// refusal is an answer that is none.
type refusal struct {
	server string
	status int
	said   string    // by the server, without credentials
	code   string    // name of the error, for servers that have names for them
	until  time.Time // the server wants to be left alone until then
}

func (r *refusal) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s answers %d", r.server, r.status)
	if text := http.StatusText(r.status); text != "" {
		b.WriteString(" " + text)
	}
	if r.said != "" && !strings.EqualFold(r.said, http.StatusText(r.status)) {
		b.WriteString(" (" + r.said + ")")
	}
	if !r.until.IsZero() {
		b.WriteString(" and wants to be asked again at " + r.until.UTC().Format(time.RFC3339))
	}
	return b.String()
}

func (r *refusal) outlook() (advice string, retry bool) {
	if !r.until.IsZero() {
		return "", true
	}
	switch r.status {
	case http.StatusUnauthorized, http.StatusNonAuthoritativeInfo:
		return "check that the Secret of the generator holds a credential that is valid", false
	case http.StatusForbidden:
		return "check that the credential of the generator may read what is asked for", false
	case http.StatusNotFound:
		return "check the names in the generator, and that its credential may see them", false
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return "", true
	}
	return "", r.status >= http.StatusInternalServerError
}

// isMissing reports whether a server says that something is not there.
// Azure DevOps has names for it and is free with the status.
func isMissing(err error) bool {
	var (
		no    *refusal
		token errToken
	)
	return !errors.As(err, &token) && errors.As(err, &no) && (no.status == http.StatusNotFound ||
		strings.HasPrefix(no.code, "ProjectDoesNotExist") || strings.HasPrefix(no.code, "GitRepositoryNotFound"))
}

// readRefusal finds the message and the name of an error in what a forge says:
// {"message"} GitHub, GitLab, Gitea; {"error"} GitLab; {"error": {"message"}}
// Bitbucket Cloud; {"errors": [{"message", "exceptionName"}]} Bitbucket Server;
// {"message", "typeKey"} Azure DevOps.
func readRefusal(body []byte) (said, code string) {
	var all struct {
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
		TypeKey string          `json:"typeKey"`
		Errors  json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &all) != nil {
		return "", ""
	}
	text := func(raw json.RawMessage) string {
		var plain string
		_ = json.Unmarshal(raw, &plain) // not a text: no message
		return plain
	}
	code = all.TypeKey
	if said = text(all.Message); said == "" {
		said = text(all.Error)
	}
	if said == "" {
		var inner struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(all.Error, &inner)
		said = inner.Message
	}
	var list []struct {
		Message       string `json:"message"`
		ExceptionName string `json:"exceptionName"`
	}
	if json.Unmarshal(all.Errors, &list) == nil && len(list) > 0 {
		if said == "" {
			said = list[0].Message
		}
		if code == "" {
			code = list[0].ExceptionName
		}
	}
	return firstSentence(said), code
}

// firstSentence cuts what differs from answer to answer (GitHub puts the id of
// the request behind it), so that a fault that goes on stays the same.
func firstSentence(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	text, _, _ = strings.Cut(text, ". ")
	return strings.TrimRight(strings.TrimSpace(text), ".")
}

// maskWord hides a credential that was made on the way, such as the token of
// a GitHub App.
func maskWord(text, word string) string {
	if word == "" {
		return text
	}
	return strings.ReplaceAll(text, word, "[secret]")
}

const maxSaid = 200

// scrubber returns a function that masks a credential in a text, also in the
// forms it is sent in, and makes the text fit for a message.
func scrubber(c model.Credential) func(string) string {
	token, password := string(c.Token.Reveal()), string(c.Password.Reveal())
	secrets := []string{token, password}
	for user, secret := range map[string]string{"": token, c.Username: password} {
		if secret != "" {
			secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(user+":"+secret)))
		}
	}
	return object.Scrubber(secrets, maxSaid)
}
