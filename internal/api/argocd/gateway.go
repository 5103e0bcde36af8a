package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"connectrpc.com/connect"
	kubejson "k8s.io/apimachinery/pkg/util/json"

	"plumb.dev/plumb/internal/api/argocd/wire"
)

func trimSlashes(path string) string { return strings.Trim(path, "/") }

// placeholder is a part of a path that is a field: {a.b} or {a...}.
var placeholder = regexp.MustCompile(`\{([A-Za-z.]+?)(\.\.\.)?\}`)

// gateway mounts the calls for JSON over HTTP.
func (s *server) gateway(mux *http.ServeMux) {
	for _, r := range routes {
		fields := map[string]string{} // wildcard of the mux → field
		pattern := placeholder.ReplaceAllStringFunc(r.path, func(found string) string {
			parts := placeholder.FindStringSubmatch(found)
			name := fmt.Sprintf("p%d", len(fields))
			fields[name] = parts[1]
			return "{" + name + parts[2] + "}"
		})
		mux.Handle(r.verb+" "+pattern, s.plain(r, fields))
	}
}

// plain answers one route.
func (s *server) plain(r route, fields map[string]string) http.Handler {
	h, m := s.calls[r.call], s.tasks[r.call]
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		value, err := parse(r, m.Input, fields, w, request)
		if err != nil {
			refuse(w, connect.NewError(connect.CodeInvalidArgument, err))
			return
		}
		ctx := request.Context()
		c, err := s.admit(ctx, r.call, h, message{kind: m.Input, value: value}, request)
		if err != nil {
			refuse(w, err)
			return
		}
		c.response = w
		if h.stream != nil {
			err = stream(w, request, func(send func(map[string]any) error) error {
				return s.lasting(ctx, h, c, func(value map[string]any) error { return send(shown(m.Output, value)) })
			})
		} else {
			value, err = h.unary(ctx, c)
			if err == nil {
				answer(w, http.StatusOK, shown(m.Output, value))
			}
		}
		if err != nil {
			refuse(w, err)
		}
	})
}

// shown is an answer as a typed server has it: fields of the message alone. A
// list without an item is a list all the same.
func shown(t *wire.Type, value map[string]any) map[string]any {
	out, _, err := t.Unmarshal(t.Marshal(value))
	if err != nil {
		return value
	}
	if _, listed := value["items"]; listed && out["items"] == nil {
		out["items"] = []any{}
	}
	return out
}

// parse makes the message of a request: path, query and body.
func parse(r route, t *wire.Type, fields map[string]string, w http.ResponseWriter, request *http.Request) (map[string]any, error) {
	value := map[string]any{}
	if r.body != "" {
		body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, requestBytes))
		if err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
		if err := decode(value, r.body, body); err != nil {
			return nil, err
		}
	}
	for name, texts := range request.URL.Query() {
		if t.Field(name) {
			if err := t.Set(value, name, texts); err != nil {
				return nil, err
			}
		}
	}
	for wildcard, name := range fields {
		if err := t.Set(value, name, []string{request.PathValue(wildcard)}); err != nil {
			return nil, err
		}
	}
	value, _, err := t.Unmarshal(t.Marshal(value))
	return value, err
}

// decode puts a body into the message, or into a field of it.
func decode(value map[string]any, field string, body []byte) error {
	if len(body) == 0 {
		return nil
	}
	var content any
	if err := kubejson.Unmarshal(body, &content); err != nil {
		return fmt.Errorf("the body is no JSON: %w", err)
	}
	if field != "*" {
		value[field] = content
		return nil
	}
	whole, ok := content.(map[string]any)
	if !ok {
		return errors.New("the body is no JSON object")
	}
	for k, v := range whole {
		value[k] = v
	}
	return nil
}

func answer(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// refuse answers with an error, in the form of grpc-gateway.
func refuse(w http.ResponseWriter, err error) {
	code, text := coding(err)
	answer(w, httpStatus(code), map[string]any{"error": text, "code": int(code), "message": text})
}

func coding(err error) (connect.Code, string) {
	var e *connect.Error
	if errors.As(asError(err), &e) {
		return e.Code(), e.Message()
	}
	return connect.CodeUnknown, err.Error()
}

// stream sends results one by one: as events where the caller asks for that, as
// lines otherwise. An error before the first of them is returned.
func stream(w http.ResponseWriter, r *http.Request, produce func(send func(map[string]any) error) error) error {
	events := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	control := http.NewResponseController(w)
	begun := false
	send := func(value map[string]any) error {
		body, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/json")
			if events {
				w.Header().Set("Content-Type", "text/event-stream")
			}
			w.Header().Set("Cache-Control", "no-store")
		}
		if events {
			_, err = fmt.Fprintf(w, "data: %s\n\n", body)
		} else {
			_, err = fmt.Fprintf(w, "%s\n", body)
		}
		if err != nil {
			return err
		}
		return control.Flush()
	}
	err := produce(func(value map[string]any) error { return send(map[string]any{"result": value}) })
	if err == nil || !begun {
		return err
	}
	code, text := coding(err)
	_ = send(map[string]any{"error": map[string]any{"grpc_code": int(code), "http_code": httpStatus(code), "message": text}})
	return nil
}
