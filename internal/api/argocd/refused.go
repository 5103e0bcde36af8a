package argocd

import (
	"context"
	"strings"

	"connectrpc.com/connect"
)

// noting lets the calls tell whoever keeps account what they refuse.
func (s *server) noting(calls map[string]handler) map[string]handler {
	for key, h := range calls {
		name := key[strings.LastIndexByte(key, '/')+1:]
		if do := h.unary; do != nil {
			h.unary = func(ctx context.Context, c *call) (map[string]any, error) {
				value, err := do(ctx, c)
				s.noteRefusal(ctx, c, name, err)
				return value, err
			}
		}
		if do := h.stream; do != nil {
			h.stream = func(ctx context.Context, c *call, send func(map[string]any) error) error {
				err := do(ctx, c, send)
				s.noteRefusal(ctx, c, name, err)
				return err
			}
		}
		calls[key] = h
	}
	return calls
}

// noteRefusal notes an error if it says that the caller may not do that.
func (s *server) noteRefusal(ctx context.Context, c *call, name string, err error) {
	if err == nil {
		return
	}
	if code, text := coding(err); code == connect.CodePermissionDenied {
		s.note(ctx, Deed{Who: c.who, Action: name, Refused: true, Detail: text})
	}
}
