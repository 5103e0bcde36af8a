package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/transport"

	"plumb.dev/plumb/internal/model"
)

const (
	jsonType = "application/json"

	maxAnswer  = 64 << 20 // bytes of one answer; a page of 500 objects stays far below
	maxAttempt = 6
	firstPause = 40 * time.Millisecond
	longPause  = 2 * time.Second
	// maxRetryAfter is how long a server may ask us to wait inside a call. If it
	// asks for more, the caller gets the error and decides.
	maxRetryAfter = 15 * time.Second
)

// again says which failures of a request may be answered by sending it again.
type again uint8

const (
	unsent again = iota // only those that prove that the server did not act
	always              // sending twice is the same as sending once
)

// request is one call of the API, before it is sent.
type request struct {
	method      string
	path        string
	query       string // encoded
	body        []byte
	contentType string // of body
	accept      string // default JSON
	retry       again
	write       bool
	background  bool
	who         model.Identity
	call        Call
}

// do sends a request until it succeeds, fails for good, or the attempts or the
// context end. decode gets the answer's body, which it must not keep.
func (c *Cluster) do(ctx context.Context, r *request, decode func([]byte) error) error {
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx, r, decode)
		if err == nil {
			return nil
		}
		pause, ok := retryPause(err, r.retry, attempt)
		if !ok || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		case <-c.ctx.Done():
			return err
		}
	}
}

// attempt sends once. A write holds its slot until the answer is read.
func (c *Cluster) attempt(ctx context.Context, r *request, decode func([]byte) error) error {
	if r.write {
		release, err := c.limit.acquire(ctx, r.background)
		if err != nil {
			return err
		}
		defer release()
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	resp, err := c.roundTrip(ctx, r) //nolint:bodyclose // drain does
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	buf := buffers.Get().(*bytes.Buffer)
	defer recycle(buf)
	if err := readAll(buf, resp); err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.statusError(r, resp, buf.Bytes())
	}
	if decode == nil {
		return nil
	}
	if err := decode(buf.Bytes()); err != nil {
		return fmt.Errorf("%s %s: answer of the API server: %w", r.method, r.path, err)
	}
	return nil
}

// roundTrip sends one request and returns the answer with its body unread.
func (c *Cluster) roundTrip(ctx context.Context, r *request) (*http.Response, error) {
	u := &url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: c.base.Path, RawQuery: r.query}
	u.Path = joinPath(c.base.Path, r.path)
	req := (&http.Request{
		Method: r.method, URL: u, Host: u.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, 4),
	}).WithContext(ctx)
	accept := r.accept
	if accept == "" {
		accept = jsonType
	}
	req.Header["Accept"] = []string{accept}
	if r.body != nil {
		req.Header["Content-Type"] = []string{r.contentType}
		req.ContentLength = int64(len(r.body))
		req.Body = io.NopCloser(bytes.NewReader(r.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
	}
	c.impersonate(req.Header, r.who)

	started := time.Now()
	resp, err := c.client.RoundTrip(req)
	if m := c.opts.Meter; m != nil {
		code := 0
		if resp != nil {
			code = resp.StatusCode
		}
		m.Request(r.method, u.Host, code, time.Since(started))
	}
	c.contact.note(ctx, err)
	if err != nil {
		return nil, &url.Error{Op: r.method, URL: u.Redacted(), Err: err}
	}
	return resp, nil
}

func joinPath(base, p string) string {
	for len(base) > 0 && base[len(base)-1] == '/' {
		base = base[:len(base)-1]
	}
	return base + p
}

// impersonate makes the request act as an identity. A kubeconfig that itself
// impersonates somebody does so only for Plumb's own calls.
func (c *Cluster) impersonate(h http.Header, who model.Identity) {
	if name := who.Username(); name != "" {
		h[transport.ImpersonateUserHeader] = []string{name}
		return
	}
	if c.self.UserName == "" {
		return
	}
	h[transport.ImpersonateUserHeader] = []string{c.self.UserName}
	if c.self.UID != "" {
		h[http.CanonicalHeaderKey(transport.ImpersonateUIDHeader)] = []string{c.self.UID}
	}
	for _, group := range c.self.Groups {
		h.Add(transport.ImpersonateGroupHeader, group)
	}
	for key, values := range c.self.Extra {
		for _, v := range values {
			h.Add(transport.ImpersonateUserExtraHeaderPrefix+url.PathEscape(key), v)
		}
	}
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// recycle keeps buffers of ordinary objects; the one of a large page is left
// to the collector.
func recycle(buf *bytes.Buffer) {
	if buf.Cap() <= 256<<10 {
		buf.Reset()
		buffers.Put(buf)
	}
}

func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 4<<10) // lets the connection be used again
	_ = body.Close()
}

var errTooLarge = errors.New("the answer is too large")

func readAll(buf *bytes.Buffer, resp *http.Response) error {
	if resp.ContentLength > maxAnswer {
		return errTooLarge
	}
	if n := resp.ContentLength; n > 0 {
		buf.Grow(int(n) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if n > maxAnswer {
		return errTooLarge
	}
	return nil
}

// statusError is the API error in an answer that is no success. What is no
// metav1.Status (a proxy's page, say) is not repeated.
func (c *Cluster) statusError(r *request, resp *http.Response, body []byte) error {
	var status metav1.Status
	if json.Unmarshal(body, &status) != nil || status.Kind != "Status" || status.Status == metav1.StatusSuccess {
		gr := schema.GroupResource{Group: r.call.Kind.GVR.Group, Resource: r.call.Kind.GVR.Resource}
		e := apierrors.NewGenericServerResponse(resp.StatusCode, r.method, gr, r.call.Name, "", 0, true)
		status = e.ErrStatus
	}
	if status.Code == 0 {
		status.Code = int32(resp.StatusCode)
	}
	if secs := retryAfter(resp.Header); secs > 0 {
		if status.Details == nil {
			status.Details = &metav1.StatusDetails{}
		}
		if status.Details.RetryAfterSeconds == 0 {
			status.Details.RetryAfterSeconds = int32(secs)
		}
	}
	return &apierrors.StatusError{ErrStatus: status}
}

func retryAfter(h http.Header) int {
	secs, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || secs < 0 || secs > 24*3600 {
		return 0
	}
	return secs
}

// retryPause says whether and after how long a failed attempt is repeated.
func retryPause(err error, class again, attempt int) (time.Duration, bool) {
	if attempt >= maxAttempt {
		return 0, false
	}
	pause := jitter(min(firstPause<<(attempt-1), longPause))
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		if !transientStatus(&status.ErrStatus, class) {
			return 0, false
		}
		if d := status.ErrStatus.Details; d != nil && d.RetryAfterSeconds > 0 {
			asked := time.Duration(d.RetryAfterSeconds) * time.Second
			if asked > maxRetryAfter {
				return 0, false
			}
			pause = asked + rand.N(asked/4)
		}
		return pause, true
	}
	return pause, transientNetwork(err, class)
}

// transientStatus tells the answers that may turn out differently by
// themselves. 429 proves that nothing was done; so does 503 from the API
// server's own filters, but not necessarily from a proxy or an aggregated one.
func transientStatus(s *metav1.Status, class again) bool {
	switch s.Code {
	case http.StatusTooManyRequests:
		// An eviction refused by a disruption budget is an answer.
		return s.Details == nil || !hasCause(s.Details, "DisruptionBudget")
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return class == always && (s.Details == nil || !hasCause(s.Details, metav1.CauseTypeResourceVersionTooLarge))
	case http.StatusInternalServerError:
		return class == always && s.Details != nil && s.Details.RetryAfterSeconds > 0
	}
	return false
}

func hasCause(d *metav1.StatusDetails, cause metav1.CauseType) bool {
	for _, c := range d.Causes {
		if c.Type == cause {
			return true
		}
	}
	return false
}

func transientNetwork(err error, class again) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTooLarge) {
		return false
	}
	if utilnet.IsConnectionRefused(err) {
		return true // nobody listened, so nobody acted
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsTemporary || dns.IsTimeout
	}
	if class != always {
		return false
	}
	var netErr net.Error
	return utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) || utilnet.IsHTTP2ConnectionLost(err) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF) ||
		(errors.As(err, &netErr) && netErr.Timeout())
}

// jitter spreads d over 50 % to 150 %, so that many callers do not come back at once.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d+1)
}
