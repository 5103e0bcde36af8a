package bucket

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// Bounds of what is no object.
const (
	maxPage  = 32 << 20 // one page of a listing, or a token
	maxError = 1 << 20  // what comes with a refusal
	// minPage is how many objects a page holds on the average, so that a listing
	// that brings nothing does not go on for ever.
	minPage = 10
	// patience is for a server that answers nothing at all.
	patience = 30 * time.Second
)

var (
	errTooMany  = errors.New("it holds more objects than are accepted")
	errEndless  = errors.New("the listing does not come to an end")
	errNoBucket = errors.New("not found")
)

// wire carries requests to a store. Everything but objects is bounded here; who
// reads an object bounds it.
type wire struct {
	transport *http.Transport
	agent     string
}

// connection returns the way to a store that its source describes.
func (c *Client) connection(auth *model.HTTPAuth) (*wire, error) {
	transport, err := dial.Transport(auth)
	if err != nil {
		return nil, err
	}
	transport.ResponseHeaderTimeout = patience
	return &wire{transport: transport, agent: c.options.UserAgent}, nil
}

// client is for libraries that make requests on their own, such as for tokens.
// It follows no redirect: a secret in a body would be sent along.
func (w *wire) client() *http.Client {
	return &http.Client{Transport: w, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (w *wire) close() { w.transport.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	if w.agent != "" && request.Header.Get("User-Agent") == "" {
		request = request.Clone(request.Context())
		request.Header.Set("User-Agent", w.agent)
	}
	page := isPage(request)
	if page {
		if left, ok := request.Context().Value(pagesKey{}).(*atomic.Int64); ok && left.Add(-1) < 0 {
			return nil, errEndless
		}
	}
	response, err := w.transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	switch {
	case response.StatusCode >= http.StatusMultipleChoices:
		response.Body = limited{dial.Bounded(response.Body, maxError), response.Body}
	case page || request.Method != http.MethodGet:
		response.Body = limited{dial.Bounded(response.Body, maxPage), response.Body}
	}
	return response, nil
}

// limited is a body that is not read as it comes.
type limited struct {
	io.Reader
	io.Closer
}

// isPage reports whether a request asks for a part of a listing, in any of the
// three protocols, or where a bucket is.
func isPage(request *http.Request) bool {
	query := request.URL.Query()
	for _, name := range []string{"list-type", "prefix", "location", "comp"} {
		if query.Has(name) {
			return true
		}
	}
	return strings.HasSuffix(request.URL.Path, "/o") // Google
}

type pagesKey struct{}

// withPages bounds how many pages a listing may have.
func withPages(ctx context.Context, objects int) context.Context {
	var left atomic.Int64
	left.Store(int64(objects/minPage) + 100)
	return context.WithValue(ctx, pagesKey{}, &left)
}

// object is the body of an answer that is an object. One that is stored packed
// is handed out unpacked, as the SDKs of the stores do it that keep that apart
// from the content; who reads it bounds it.
func object(response *http.Response) (io.ReadCloser, error) {
	if response.Header.Get("Content-Encoding") != "gzip" {
		return response.Body, nil
	}
	plain, err := gzip.NewReader(response.Body)
	if err != nil {
		return nil, errors.Join(err, response.Body.Close())
	}
	return limited{plain, response.Body}, nil
}
