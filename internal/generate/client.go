package generate

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"plumb.dev/plumb/internal/model"
)

// api is one server as seen with one credential, for one question.
type api struct {
	asker    *Asker
	name     string // for messages, such as "GitHub"
	base     *url.URL
	identity string // digest of server and credential: whose answers these are
	client   *http.Client
	scrub    func(string) string // removes the credential from a text
	accept   string
	// authorize puts the credential into a request.
	authorize func(context.Context, http.Header) error
	timeout   time.Duration // of one request
	rejected  func()        // told of a credential that is not accepted; may be nil
	requests  atomic.Int64  // made for the question so far
}

// connect prepares to talk to a server. address must be an absolute HTTP URL;
// kind and name say what it is.
func (a *Asker) connect(kind, name, address string, c model.Credential) (*api, error) {
	base, err := parseBase(name, address)
	if err != nil {
		return nil, err
	}
	transport, err := a.transports.get(c.CA, c.Insecure)
	if err != nil {
		return nil, err
	}
	return &api{
		asker:     a,
		name:      name,
		base:      base,
		identity:  identityOf(kind, base, c),
		client:    &http.Client{Transport: transport, CheckRedirect: stayHome},
		scrub:     scrubber(c),
		accept:    "application/json",
		timeout:   a.limits.Request,
		authorize: func(context.Context, http.Header) error { return nil },
	}, nil
}

func parseBase(name, address string) (*url.URL, error) {
	base, err := url.Parse(address)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https":
		return nil, advised{
			fmt.Errorf("the address of %s cannot be understood", name),
			"write it as https://host/path",
		}
	case base.User != nil:
		return nil, advised{
			fmt.Errorf("the address of %s carries a user name or a password", name),
			"put the credential into a Secret and name it",
		}
	}
	base.RawQuery, base.ForceQuery, base.Fragment, base.RawFragment = "", false, "", ""
	base.Path, base.RawPath = strings.TrimRight(base.Path, "/"), strings.TrimRight(base.RawPath, "/")
	return base, nil
}

// identityOf is the digest by which answers are kept apart. It is never shown.
func identityOf(kind string, base *url.URL, c model.Credential) string {
	app := model.GitHubApp{}
	if c.App != nil {
		app = *c.App
	}
	insecure := []byte{0}
	if c.Insecure {
		insecure[0] = 1
	}
	sum := digest(
		[]byte(kind), []byte(base.String()),
		c.Token.Reveal(), []byte(c.Username), c.Password.Reveal(),
		[]byte(app.AppID), []byte(app.InstallationID), []byte(app.InstallationOwner), []byte(app.BaseURL), app.PrivateKey.Reveal(),
		c.CA, insecure,
	)
	return hex.EncodeToString(sum[:])
}

// request is one call of an API. path is escaped and starts with a slash;
// address is used instead of it when it is set.
type request struct {
	method  string
	path    string
	query   url.Values
	address string
	body    []byte
	glance  bool // only the status counts: a long answer is not read to its end
}

const glanceBytes = 64 << 10

func (c *api) address(r request) string {
	if r.address != "" {
		return r.address
	}
	address := c.base.String() + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	return address
}

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get reads a JSON document into a value and returns the response's headers.
// An answer that the server says is unchanged comes from memory.
func (c *api) get(ctx context.Context, r request, into any) (http.Header, error) {
	r.method = http.MethodGet
	key := digest([]byte("answer"), []byte(c.identity), []byte(c.address(r)))
	known := c.asker.memory.recall(key)
	tag := ""
	if known != nil {
		tag = known.tag
	}
	said, err := c.do(ctx, r, tag)
	if err != nil {
		return nil, err
	}
	switch {
	case said.status == http.StatusNotModified && known != nil:
		said.header, said.body = known.header, known.body
	case said.status != http.StatusOK:
		// Azure DevOps answers 203 with a page to sign in.
		return nil, &refusal{server: c.name, status: said.status}
	default:
		if tag := said.header.Get("Etag"); tag != "" {
			c.asker.memory.keep(&memo{key: key, tag: tag, header: pagingHeaders(said.header), body: said.body})
		}
	}
	return said.header, c.decode(said.body, into)
}

// exists asks whether something is there. missing says whether a 404 means
// that it is not; nil: always.
func (c *api) exists(ctx context.Context, r request, missing func(*refusal) bool) (bool, error) {
	r.glance = true
	said, err := c.do(ctx, r, "")
	var no *refusal
	switch {
	case isMissing(err) && errors.As(err, &no) && (missing == nil || missing(no)):
		return false, nil
	case err != nil:
		return false, err
	case said.status != http.StatusOK:
		return false, &refusal{server: c.name, status: said.status}
	}
	return true, nil
}

func (c *api) decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return &errGarbled{server: c.name, err: err}
	}
	return nil
}

// do makes one request and reads the answer whole. A status that is neither
// 2xx nor 304 is a refusal.
func (c *api) do(ctx context.Context, r request, tag string) (*answer, error) {
	if no := c.asker.gates.shut(c.identity, c.asker.now()); no != nil {
		return nil, no
	}
	if c.requests.Add(1) > int64(c.asker.limits.Requests) {
		return nil, errLimit{fmt.Sprintf("more than %d requests are needed", c.asker.limits.Requests)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errSlow{fmt.Sprintf("%s does not answer within %s", c.name, c.timeout)})
	defer cancel()
	outgoing, err := c.compose(ctx, r, tag)
	if err != nil {
		return nil, err
	}
	response, err := c.client.Do(outgoing)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	limit := c.asker.limits.ResponseBytes
	if r.glance {
		limit = min(limit, glanceBytes)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, c.unreachable(ctx, err)
	case int64(len(body)) > limit && !r.glance:
		return nil, errLimit{fmt.Sprintf("an answer of %s is larger than %d bytes", c.name, limit)}
	case response.StatusCode/100 != 2 && response.StatusCode != http.StatusNotModified:
		return nil, c.refused(response, body)
	}
	return &answer{status: response.StatusCode, header: response.Header, body: body}, nil
}

func (c *api) compose(ctx context.Context, r request, tag string) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	outgoing, err := http.NewRequestWithContext(ctx, r.method, c.address(r), body)
	if err != nil {
		return nil, fmt.Errorf("the address of %s cannot be understood", c.name)
	}
	outgoing.Header.Set("Accept", c.accept)
	outgoing.Header.Set("User-Agent", c.asker.options.UserAgent)
	if r.body != nil {
		outgoing.Header.Set("Content-Type", "application/json")
	}
	if tag != "" {
		outgoing.Header.Set("If-None-Match", tag)
	}
	if err := c.authorize(ctx, outgoing.Header); err != nil {
		return nil, err
	}
	return outgoing, nil
}

// refused reads why a server does not answer, and closes the gate if it wants
// to be left alone.
func (c *api) refused(response *http.Response, body []byte) *refusal {
	no := &refusal{server: c.name, status: response.StatusCode}
	no.said, no.code = readRefusal(body)
	_, sent, _ := strings.Cut(response.Request.Header.Get("Authorization"), " ")
	no.said = c.scrub(maskWord(no.said, sent))
	if no.status == http.StatusUnauthorized && c.rejected != nil {
		c.rejected()
	}
	no.until = askedToWait(response, no.said, c.asker.now())
	if !no.until.IsZero() {
		c.asker.gates.close(c.identity, no, c.asker.now())
	}
	return no
}

// unreachable strips the address, which net/http puts into errors.
func (c *api) unreachable(ctx context.Context, err error) error {
	var slow errSlow
	if cause := context.Cause(ctx); errors.As(cause, &slow) {
		return slow
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &errUnreachable{server: c.name, host: c.base.Host, err: err, scrub: c.scrub}
}

// pagingHeaders are the headers that have to be remembered with an answer.
func pagingHeaders(all http.Header) http.Header {
	kept := http.Header{}
	for _, name := range []string{"Link", "X-Next-Page", "X-Total-Count", azureContinuation} {
		if value := all.Get(name); value != "" {
			kept.Set(name, value)
		}
	}
	return kept
}

// seg joins path segments, each escaped, with a leading slash. Segments that a
// server could read as a way up are refused by plainName before.
func seg(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(part))
	}
	return b.String()
}

// plainName refuses what would leave its place in a path.
func plainName(what, name string) error {
	switch name {
	case "":
		return fmt.Errorf("%s is missing", what)
	case ".", "..":
		return fmt.Errorf("%s must not be %q", what, name)
	}
	return nil
}

// basic is the header value of HTTP's basic authentication.
func basic(header http.Header, user, password string) {
	r := http.Request{Header: header}
	r.SetBasicAuth(user, password)
}
