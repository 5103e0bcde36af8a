package argocd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	kubejson "k8s.io/apimachinery/pkg/util/json"

	"plumb.dev/plumb/internal/api/argocd/wire"
	"plumb.dev/plumb/internal/signin"
)

// Bounds of messages. Upstream's is 200 MB; what is larger than this is no
// Application.
const (
	requestBytes = 32 << 20
	answerBytes  = 200 << 20
)

// message is a message of a known type.
type message struct {
	kind    *wire.Type
	value   map[string]any
	unknown []string // fields that were sent and are not known
}

// protoCodec and jsonCodec are how messages travel. The second is for Connect's
// own protocol.
type (
	protoCodec struct{}
	jsonCodec  struct{}
)

func (protoCodec) Name() string { return "proto" }

func (protoCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("%T is no message", v)
	}
	return m.kind.Marshal(m.value), nil
}

func (protoCodec) Unmarshal(data []byte, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("%T is no message", v)
	}
	var err error
	m.value, m.unknown, err = m.kind.Unmarshal(data)
	return err
}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("%T is no message", v)
	}
	return json.Marshal(m.value)
}

func (jsonCodec) Unmarshal(data []byte, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("%T is no message", v)
	}
	value := map[string]any{}
	if len(data) > 0 {
		if err := kubejson.Unmarshal(data, &value); err != nil {
			return err
		}
	}
	var err error
	m.value, m.unknown, err = m.kind.Unmarshal(m.kind.Marshal(value))
	return err
}

// serve mounts every call for gRPC and gRPC-Web.
func (s *server) serve(mux *http.ServeMux) {
	for key, m := range s.tasks {
		mux.Handle("POST "+m.Path(), s.rpc(key, m))
	}
}

// requestKey is where the HTTP request of a call is kept.
type requestKey struct{}

func (s *server) rpc(key string, m *wire.Method) http.Handler {
	h := s.calls[key]
	options := []connect.HandlerOption{
		connect.WithCodec(protoCodec{}), connect.WithCodec(jsonCodec{}), connect.WithSchema(m.Descriptor),
		connect.WithRequestInitializer(func(_ connect.Spec, v any) error {
			request, ok := v.(*message)
			if !ok {
				return fmt.Errorf("%T is no message", v)
			}
			request.kind = m.Input
			return nil
		}),
		connect.WithReadMaxBytes(requestBytes), connect.WithSendMaxBytes(answerBytes),
	}
	var inner http.Handler
	switch {
	case m.ClientStream:
		inner = connect.NewClientStreamHandler(m.Path(), func(ctx context.Context, in *connect.ClientStream[message]) (*connect.Response[message], error) {
			value, err := s.gather(ctx, key, h, in)
			if err != nil {
				return nil, asError(err)
			}
			return connect.NewResponse(&message{kind: m.Output, value: value}), nil
		}, options...)
	case m.ServerStream:
		inner = connect.NewServerStreamHandler(m.Path(), func(ctx context.Context, in *connect.Request[message], out *connect.ServerStream[message]) error {
			c, err := s.admit(ctx, key, h, *in.Msg, requestOf(ctx))
			if err != nil {
				return asError(err)
			}
			return asError(s.lasting(ctx, h, c, func(value map[string]any) error {
				return out.Send(&message{kind: m.Output, value: value})
			}))
		}, options...)
	default:
		inner = connect.NewUnaryHandler(m.Path(), func(ctx context.Context, in *connect.Request[message]) (*connect.Response[message], error) {
			c, err := s.admit(ctx, key, h, *in.Msg, requestOf(ctx))
			if err != nil {
				return nil, asError(err)
			}
			value, err := h.unary(ctx, c)
			if err != nil {
				return nil, asError(err)
			}
			answer := connect.NewResponse(&message{kind: m.Output, value: value})
			if c.signedIn && !c.who.Renewal.IsZero() {
				answer.Header().Set("renew-token", string(c.who.Renewal.Reveal()))
			}
			return answer, nil
		}, options...)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc-web") {
			// argocd hands over its inner client's readiness to take compressed
			// messages, and cannot take them itself (pkg/apiclient/grpcproxy.go)
			r.Header.Del("Grpc-Accept-Encoding")
		}
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, r)))
	})
}

// gather takes in the messages of a call that sends many: the files of a local
// directory. They are counted and dropped: the call refuses them.
func (s *server) gather(ctx context.Context, key string, h handler, in *connect.ClientStream[message]) (map[string]any, error) {
	if !in.Receive() {
		if err := in.Err(); err != nil {
			return nil, err
		}
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("invalid request: no message was sent"))
	}
	c, err := s.admit(ctx, key, h, *in.Msg(), requestOf(ctx))
	if err != nil {
		return nil, err
	}
	return h.unary(ctx, c)
}

func requestOf(ctx context.Context) *http.Request {
	r, _ := ctx.Value(requestKey{}).(*http.Request)
	return r
}

// admit lets a call in: it knows who calls, and that they may call at all.
func (s *server) admit(ctx context.Context, key string, h handler, m message, r *http.Request) (*call, error) {
	who, err := s.Caller(ctx)
	c := &call{message: m, who: who, signedIn: err == nil && who.Kind != signin.KindAnonymous, request: r, procedure: key}
	if err != nil && !h.open {
		return nil, err
	}
	if len(m.unknown) > 0 {
		s.Log.Warn("a call has fields that are not known, and that were left out", "call", key, "fields", strings.Join(m.unknown, ", "))
	}
	return c, nil
}
