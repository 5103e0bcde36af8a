package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

const (
	advertisePath = "/info/refs"
	uploadPack    = "git-upload-pack"
)

// httpLink talks smart HTTP over connections that are kept alive between
// looks.
type httpLink struct {
	remote *remote
	client *http.Client
	// credentials returns the user and password, or the bearer token, of a
	// request.
	credentials func(ctx context.Context) (user, password, bearer string, err error)
	agent       string
	limits      Limits
}

func newHTTPLink(r *remote, agent string, limits Limits) (*httpLink, error) {
	transport, err := httpTransport(r)
	if err != nil {
		return nil, err
	}
	l := &httpLink{remote: r, agent: agent, limits: limits}
	l.client = &http.Client{Transport: transport, CheckRedirect: l.redirect}
	l.credentials = func(context.Context) (string, string, string, error) {
		return r.username, r.password, string(r.auth.BearerToken.Reveal()), nil
	}
	return l, nil
}

// httpTransport applies certificates and proxy.
func httpTransport(r *remote) (*http.Transport, error) {
	a := r.auth
	t, err := dial.Transport(&model.HTTPAuth{ClientCert: a.ClientCert, ClientKey: a.ClientKey, CA: a.CA, Insecure: a.Insecure, Proxy: a.Proxy})
	if err != nil {
		return nil, err
	}
	t.DisableCompression = false // long advertisements shrink well
	return t, nil
}

const maxRedirects = 10

// redirect follows a redirected look, and nothing else. Credentials go only
// where they were meant for.
func (l *httpLink) redirect(next *http.Request, via []*http.Request) error {
	switch {
	case next.Method != http.MethodGet:
		return errors.New("the server redirects the fetch itself")
	case len(via) >= maxRedirects:
		return errors.New("the server redirects in circles")
	case next.URL.Scheme != "https" && next.URL.Scheme != l.remote.scheme:
		return fmt.Errorf("the server redirects to the scheme %q", next.URL.Scheme)
	}
	if !l.trusts(next.URL) {
		next.Header.Del("Authorization")
	}
	return nil
}

// trusts reports whether a URL may see the credentials: the declared host, or
// the same host reached by TLS instead of plain HTTP.
func (l *httpLink) trusts(u *url.URL) bool {
	if l.remote.sameHost(u) {
		return true
	}
	return l.remote.scheme == "http" && u.Scheme == "https" && strings.EqualFold(u.Hostname(), l.remote.url.Hostname())
}

func (l *httpLink) look(ctx context.Context) (*advert, error) {
	base := strings.TrimSuffix(l.remote.url.String(), "/")
	address := base + advertisePath + "?service=" + uploadPack
	body, answered, err := l.send(ctx, http.MethodGet, address, nil, true, l.limits.RefBytes)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	seen, err := readAdvert(body)
	if err != nil {
		return nil, err
	}
	// What follows the last reference must be read for the connection to be
	// used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 4<<10))
	at := *answered
	if !strings.HasSuffix(at.Path, advertisePath) {
		return nil, errors.New("the server redirects to something that is no repository")
	}
	at.Path, at.RawPath, at.RawQuery = strings.TrimSuffix(at.Path, advertisePath), "", ""
	seen.base, seen.trusted = at.String(), l.trusts(answered)
	return seen, nil
}

func (l *httpLink) pull(ctx context.Context, seen *advert, request []byte) (io.ReadCloser, error) {
	body, _, err := l.send(ctx, http.MethodPost, seen.base+"/"+uploadPack, request, seen.trusted, l.limits.FetchBytes)
	return body, err
}

// send makes one request and returns a watched body and the final URL.
func (l *httpLink) send(ctx context.Context, method, address string, content []byte, trusted bool, limit int64) (io.ReadCloser, *url.URL, error) {
	ctx, dog := watch(ctx, l.limits.Stall, limit)
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(content))
	if err != nil {
		dog.stop()
		return nil, nil, err
	}
	request.Header.Set("User-Agent", l.agent)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-"+uploadPack+"-request")
		request.Header.Set("Accept", "application/x-"+uploadPack+"-result")
	}
	if trusted {
		if err := l.authorize(ctx, request); err != nil {
			dog.stop()
			return nil, nil, err
		}
	}
	response, err := l.client.Do(request) //nolint:bodyclose // closed with the watched body, here or by the caller
	if err != nil {
		err = cause(ctx, err)
		dog.stop()
		return nil, nil, plainURLError(err)
	}
	body := dog.reader(ctx, response.Body)
	if err := statusError(response, body); err != nil {
		_ = body.Close()
		return nil, nil, err
	}
	return body, response.Request.URL, nil
}

// authorize adds the credentials before they are asked for: many servers ask
// nobody, and answer that there is no such repository.
func (l *httpLink) authorize(ctx context.Context, request *http.Request) error {
	user, password, bearer, err := l.credentials(ctx)
	switch {
	case err != nil:
		return err
	case bearer != "":
		request.Header.Set("Authorization", "Bearer "+bearer)
	case user != "" || password != "":
		request.SetBasicAuth(user, password)
	}
	return nil
}

// errAccess is an answer that another credential could change.
type errAccess struct{ text string }

func (e errAccess) Error() string { return e.text }

// statusError turns an answer that is no success into an error.
func statusError(response *http.Response, body io.Reader) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	var said string
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") {
		quoted, _ := io.ReadAll(io.LimitReader(body, 2*maxMessage))
		if len(quoted) > 0 {
			said = ": " + strings.TrimSpace(string(quoted))
		}
	}
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return errAccess{"authentication required" + said}
	case http.StatusForbidden:
		return errAccess{"authorization failed" + said}
	case http.StatusNotFound:
		return errAccess{"repository not found" + said}
	}
	return fmt.Errorf("the server answers %d %s%s", response.StatusCode, http.StatusText(response.StatusCode), said)
}

// plainURLError drops the URL from an error: it may carry credentials, and the
// message names the repository anyway.
func plainURLError(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func (l *httpLink) hangUp() { l.client.CloseIdleConnections() }
