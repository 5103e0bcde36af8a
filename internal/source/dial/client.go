package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// ErrTooLarge is the error of an answer beyond its bound.
var ErrTooLarge = errors.New("larger than allowed")

// maxRedirects is where a chain of redirects counts as a circle.
const maxRedirects = 10

// Client asks the servers of one declared source.
type Client struct {
	home      *url.URL // whose host the credentials are meant for
	auth      *model.HTTPAuth
	agent     string
	http      *http.Client
	transport *http.Transport
	scrub     func(string) string
}

// New returns a client whose credentials are meant for the host of home, whose
// user and password stand in for those that auth does not have.
func New(home *url.URL, auth *model.HTTPAuth, agent string) (*Client, error) {
	transport, err := Transport(auth)
	if err != nil {
		return nil, err
	}
	c := &Client{agent: agent, transport: transport, scrub: Scrubber(Secrets(auth, home))}
	bare, own := *home, *auth
	if home.User != nil && own.Username == "" && own.Password.IsZero() {
		own.Username = home.User.Username()
		password, _ := home.User.Password()
		own.Password = model.NewSecret([]byte(password))
	}
	bare.User = nil
	c.home, c.auth = &bare, &own
	c.http = &http.Client{Transport: transport, CheckRedirect: c.redirect}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Scrub makes a text of a server fit for a message: without secrets, control
// characters and undue length.
func (c *Client) Scrub(text string) string { return c.scrub(text) }

// Get asks for an address, with the given headers and, where they are meant for
// its host, the credentials. The caller closes the body. Errors hold neither
// the address nor a secret.
func (c *Client) Get(ctx context.Context, address *url.URL, headers http.Header) (*http.Response, error) {
	bare := *address
	bare.User = nil
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, bare.String(), http.NoBody)
	if err != nil {
		return nil, errors.New("the address cannot be understood")
	}
	for name, values := range headers {
		request.Header[name] = values
	}
	request.Header.Set("User-Agent", c.agent)
	if c.auth.PassAll || c.trusts(request.URL) {
		c.authorize(request)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.plain(ctx, err)
	}
	return response, nil
}

// authorize sends the credentials before they are asked for: many servers ask
// nobody, and answer that there is nothing.
func (c *Client) authorize(request *http.Request) {
	switch {
	case !c.auth.BearerToken.IsZero():
		request.Header.Set("Authorization", "Bearer "+string(c.auth.BearerToken.Reveal()))
	case c.auth.Username != "" || !c.auth.Password.IsZero():
		request.SetBasicAuth(c.auth.Username, string(c.auth.Password.Reveal()))
	}
}

// trusts reports whether an address may see the credentials: the same scheme,
// host and port, or the same host by TLS instead of plain HTTP.
func (c *Client) trusts(address *url.URL) bool {
	if strings.EqualFold(origin(address), origin(c.home)) {
		return true
	}
	return c.home.Scheme == "http" && address.Scheme == "https" && strings.EqualFold(address.Hostname(), c.home.Hostname())
}

// origin is scheme, host and port, which counts also where it is not written.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + u.Hostname() + ":" + port
}

// redirect follows a redirect with the credentials only where they were meant
// for, also when they may be passed on: an address that a server makes up on
// the way, such as one that carries its own signature, was not declared.
func (c *Client) redirect(next *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= maxRedirects:
		return errors.New("the server redirects in circles")
	case next.URL.Scheme != "https" && next.URL.Scheme != via[len(via)-1].URL.Scheme:
		return fmt.Errorf("the server redirects to the scheme %q", next.URL.Scheme)
	}
	next.Header.Del("Authorization")
	next.Header.Del("Referer") // the address that was asked for may hold a token
	if c.trusts(next.URL) {
		c.authorize(next)
	}
	return nil
}

// plain drops the address from an error and says why a context ended.
func (c *Client) plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &scrubbed{text: c.scrub(err.Error()), err: err}
}

// scrubbed is an error whose text is free of secrets; its cause serves
// errors.Is and errors.As only.
type scrubbed struct {
	text string
	err  error
}

func (e *scrubbed) Error() string { return e.text }
func (e *scrubbed) Unwrap() error { return e.err }

// StatusError is an answer that is no success.
type StatusError struct {
	Code int
	Said string // what the server said in plain text, scrubbed; may be empty
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("the server answers %d %s", e.Code, http.StatusText(e.Code))
	if e.Said != "" {
		text += ": " + e.Said
	}
	return text
}

// Denied reports whether another credential could change the answer.
func (e *StatusError) Denied() bool {
	return e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden || e.Code == http.StatusProxyAuthRequired
}

// Lasting reports whether asking again without any change is of no use.
func (e *StatusError) Lasting() bool {
	return e.Code >= 400 && e.Code < 500 && e.Code != http.StatusRequestTimeout && e.Code != http.StatusTooEarly && e.Code != http.StatusTooManyRequests
}

// Refused makes an error of an answer that is no success.
func (c *Client) Refused(response *http.Response) *StatusError {
	e := &StatusError{Code: response.StatusCode}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 2*maxMessage))
		e.Said = c.scrub(string(said))
	}
	return e
}

// Bounded reads up to limit bytes and fails with ErrTooLarge beyond. A negative
// limit bounds nothing.
func Bounded(in io.Reader, limit int64) io.Reader {
	if limit < 0 {
		return in
	}
	return &bounded{in: in, left: limit}
}

type bounded struct {
	in   io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	// One byte more than allowed tells a long answer from one that just fits.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.in.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}
