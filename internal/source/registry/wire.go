package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"plumb.dev/plumb/internal/source/dial"
)

// patience is how often and when a request that failed is made again. The queue
// of the engine has more of it.
var patience = remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}

// wire carries the requests of a session. The registry itself sees the client
// certificate; a storage that it redirects to, or a server that hands out its
// tokens, does not. Answers are bounded in bytes and in silence.
type wire struct {
	*session
	host   string
	limits Limits
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	way := w.away
	if request.URL.Host == w.host {
		way = w.home
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	dog := time.AfterFunc(w.limits.Stall, func() { cancel(errStalled) })
	response, err := way.RoundTrip(request.WithContext(ctx))
	if err != nil {
		dog.Stop()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, err
	}
	response.Body = &body{
		Reader: dial.Bounded(response.Body, w.limit(request)),
		close:  response.Body,
		ctx:    ctx, cancel: cancel, dog: dog, stall: w.limits.Stall,
	}
	return response, nil
}

// limit is how many bytes the answer to a request may have. What is asked for
// is told by the first address, not by those that it was redirected to.
func (w *wire) limit(request *http.Request) int64 {
	for request.Response != nil && request.Response.Request != nil {
		request = request.Response.Request
	}
	switch path := request.URL.Path; {
	case strings.HasSuffix(path, "/tags/list"):
		return w.limits.PageBytes
	case strings.Contains(path, "/blobs/"):
		return w.limits.BlobBytes
	}
	return w.limits.ManifestBytes
}

// body ends when the server stops sending.
type body struct {
	io.Reader
	close  io.Closer
	ctx    context.Context // the request's, which lives as long as the body
	cancel context.CancelCauseFunc
	dog    *time.Timer
	stall  time.Duration
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.ctx.Err() != nil {
		return n, context.Cause(b.ctx)
	}
	if n > 0 {
		b.dog.Reset(b.stall)
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.dog.Stop()
	err := b.close.Close()
	b.cancel(nil)
	return err
}
