// Package client speaks to the API server of Plumb: the calls of the .proto
// files with a credential, within bounds, tried again where the server cannot
// answer for a moment, and with errors in the server's own words.
package client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
	"plumb.dev/plumb/internal/model"
)

// Credential returns the token to send with a call, as it is now; a zero one
// sends none.
type Credential func(ctx context.Context) (model.Secret, error)

// Options are what a client is made of. Address and HTTP must be given.
type Options struct {
	Address    string // of the server, such as https://plumb.example.org/below
	HTTP       *http.Client
	Credential Credential // nil: calls are anonymous
	Agent      string     // User-Agent
}

// Client has the services of one server. It is safe for concurrent use.
type Client struct {
	Deliveries   plumbv1connect.DeliveryServiceClient
	Declarations plumbv1connect.DeclarationServiceClient
	Fleet        plumbv1connect.FleetServiceClient
	Session      plumbv1connect.SessionServiceClient
}

// answerBytes bounds one message of the server, which itself sends no larger ones.
const answerBytes = 64 << 20

// New makes a client. It asks nothing.
func New(o Options) *Client {
	options := []connect.ClientOption{
		connect.WithReadMaxBytes(answerBytes), connect.WithInterceptors(caller{o}),
	}
	address, reach := strings.TrimRight(o.Address, "/"), marking(o.HTTP)
	return &Client{
		Deliveries:   plumbv1connect.NewDeliveryServiceClient(reach, address, options...),
		Declarations: plumbv1connect.NewDeclarationServiceClient(reach, address, options...),
		Fleet:        plumbv1connect.NewFleetServiceClient(reach, address, options...),
		Session:      plumbv1connect.NewSessionServiceClient(reach, address, options...),
	}
}

// Code is the kind of an error of the server, as the API has it.
type Code string

// The codes that callers tell apart.
const (
	Unauthenticated  Code = "unauthenticated"
	PermissionDenied Code = "permission_denied"
	NotFound         Code = "not_found"
	Unavailable      Code = "unavailable"
	Unimplemented    Code = "unimplemented"
	Precondition     Code = "failed_precondition"
	Invalid          Code = "invalid_argument"
	Exhausted        Code = "resource_exhausted"
	Aborted          Code = "aborted"
)

// Error is what the server, or the way to it, answers instead of what was asked
// for.
type Error struct {
	Code    Code
	Message string
	cause   error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns what went wrong on the way, such as an error of TLS.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf is the code of an error of a call; "" when it is of something else.
func CodeOf(err error) Code {
	var told *Error
	if errors.As(err, &told) {
		return told.Code
	}
	return ""
}

// Explain puts an error of a call into an *Error; calls that are no streams do
// it by themselves. Other errors come back as they are.
func Explain(err error) error {
	var told *connect.Error
	var explained *Error
	if err == nil || errors.As(err, &explained) || !errors.As(err, &told) {
		return err
	}
	return &Error{Code: Code(told.Code().String()), Message: told.Message(), cause: told.Unwrap()}
}

// Passing reports whether an error of a call, as Explain has it, may pass by
// itself: the server, or what stands before it, has answered that it cannot for a
// moment. That nobody listens there, or that its certificate is not trusted, does
// not.
func Passing(err error) bool {
	var told *Error
	var none *unanswered
	if errors.As(err, &none) || !errors.As(err, &told) {
		return false
	}
	switch told.Code {
	case Unavailable, Exhausted, Aborted:
		return true
	}
	return false
}

// The pauses between attempts at a call that only reads.
const (
	attempts   = 5
	firstPause = 200 * time.Millisecond
)

// caller sends every call with what it needs.
type caller struct{ options Options }

// WrapUnary sends a call, and again where the server cannot answer now and
// nothing is changed by asking twice.
func (c caller) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		if err := c.sign(ctx, request.Header()); err != nil {
			return nil, err
		}
		for attempt, pause := 1, firstPause; ; attempt, pause = attempt+1, 2*pause {
			answer, err := next(ctx, request)
			again := attempt < attempts && request.Spec().IdempotencyLevel == connect.IdempotencyNoSideEffects && Passing(Explain(err))
			if err == nil || !again {
				return answer, Explain(err)
			}
			select {
			case <-ctx.Done():
				return nil, Explain(err)
			case <-time.After(pause):
			}
		}
	}
}

// WrapStreamingClient sends the call that begins a stream.
func (c caller) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		if err := c.sign(ctx, conn.RequestHeader()); err != nil {
			return refusing{StreamingClientConn: conn, err: err}
		}
		return conn
	}
}

// WrapStreamingHandler is for servers.
func (c caller) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// sign adds the credential to the header of a call.
func (c caller) sign(ctx context.Context, header http.Header) error {
	if c.options.Agent != "" {
		header.Set("User-Agent", c.options.Agent)
	}
	if c.options.Credential == nil {
		return nil
	}
	token, err := c.options.Credential(ctx)
	if err != nil || token.IsZero() {
		return err
	}
	header.Set("Authorization", "Bearer "+string(token.Reveal()))
	return nil
}

// refusing is a stream without a credential: nothing is sent.
type refusing struct {
	connect.StreamingClientConn
	err error
}

// Send tells why there is no credential.
func (r refusing) Send(any) error { return r.err }

// CloseRequest would send the headers of a call.
func (r refusing) CloseRequest() error { return nil }

// CloseResponse would wait for the answer to them.
func (r refusing) CloseResponse() error { return nil }

// marking is a client that marks the errors of requests that nobody has answered.
func marking(c *http.Client) *http.Client {
	marked := *c
	marked.Transport = way{c.Transport}
	return &marked
}

type way struct{ next http.RoundTripper }

// RoundTrip sends a request.
func (w way) RoundTrip(r *http.Request) (*http.Response, error) {
	next := w.next
	if next == nil {
		next = http.DefaultTransport
	}
	response, err := next.RoundTrip(r)
	if err != nil {
		return nil, &unanswered{err}
	}
	return response, nil
}

// unanswered is why nobody has.
type unanswered struct{ error }

func (u *unanswered) Unwrap() error { return u.error }
