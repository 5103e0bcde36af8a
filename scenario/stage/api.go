package stage

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	"plumb.dev/plumb/internal/api/plumbv1"
)

// An API speaks to a server as somebody does with curl: JSON over HTTP.
type API struct {
	Address string // host:port
	Token   string // "": anonymous
}

// APIError is what a server answers when it does not do what was asked.
type APIError struct{ Code, Message string }

func (e *APIError) Error() string { return e.Code + ": " + e.Message }

// A Method is one call of the API.
type Method struct {
	Path   string // /SERVICE/NAME
	Name   string
	Stream bool
}

// Methods are all calls, in the order of the .proto files.
func Methods() []Method {
	var all []Method
	for _, file := range []protoreflect.FileDescriptor{plumbv1.File_plumb_v1_session_proto, plumbv1.File_plumb_v1_deliveries_proto, plumbv1.File_plumb_v1_declarations_proto, plumbv1.File_plumb_v1_fleet_proto} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				all = append(all, Method{Path: "/" + string(service.FullName()) + "/" + string(m.Name()), Name: string(m.Name()), Stream: m.IsStreamingServer()})
			}
		}
	}
	return all
}

func methodNamed(name string) (Method, error) {
	for _, m := range Methods() {
		if m.Name == name {
			return m, nil
		}
	}
	return Method{}, fmt.Errorf("the API has no call %s", name)
}

// maxAnswer bounds one answer.
const maxAnswer = 64 << 20

// Call makes a call and returns its answer: of a stream, the first message.
func (a *API) Call(ctx context.Context, name string, body []byte) ([]byte, error) {
	m, err := methodNamed(name)
	if err != nil {
		return nil, err
	}
	if m.Stream {
		var first []byte
		err := a.stream(ctx, m, body, func(message []byte) bool { first = message; return false })
		return first, err
	}
	response, err := a.post(ctx, m.Path, "application/json", body)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, apiError(response.Status, content)
	}
	return content, nil
}

// Follow hands over the messages of a stream until each returns false, the
// stream ends, or ctx does.
func (a *API) Follow(ctx context.Context, name string, body []byte, each func([]byte) bool) error {
	m, err := methodNamed(name)
	if err != nil {
		return err
	}
	return a.stream(ctx, m, body, each)
}

func (a *API) post(ctx context.Context, path, contentType string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.Address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", contentType)
	if a.Token != "" {
		request.Header.Set("Authorization", "Bearer "+a.Token)
	}
	return http.DefaultClient.Do(request)
}

func apiError(status string, content []byte) error {
	told := struct{ Code, Message string }{}
	if json.Unmarshal(content, &told) != nil || told.Code == "" {
		return &APIError{Code: status, Message: strings.TrimSpace(string(content))}
	}
	return &APIError{Code: told.Code, Message: told.Message}
}

// The frames of a stream, as Connect has them: a byte of flags, four of length.
const (
	frameHead = 5
	frameEnd  = 2
)

func (a *API) stream(ctx context.Context, m Method, body []byte, each func([]byte) bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	frame := make([]byte, frameHead, frameHead+len(body))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(body)))
	response, err := a.post(ctx, m.Path, "application/connect+json", append(frame, body...))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		content, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		return apiError(response.Status, content)
	}
	for {
		head := make([]byte, frameHead)
		if _, err := io.ReadFull(response.Body, head); err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size > maxAnswer {
			return fmt.Errorf("a message of %d bytes", size)
		}
		message := make([]byte, size)
		if _, err := io.ReadFull(response.Body, message); err != nil {
			return err
		}
		if head[0]&frameEnd != 0 {
			end := struct{ Error json.RawMessage }{}
			if json.Unmarshal(message, &end) == nil && len(end.Error) > 0 {
				return apiError("error", end.Error)
			}
			return nil
		}
		if !each(message) {
			return nil
		}
	}
}

// A Stream keeps the messages of a call that goes on.
type Stream struct {
	mu       sync.Mutex
	messages [][]byte
	err      error
	news     chan struct{}
	stop     context.CancelFunc
}

// Open begins a call that goes on until Close.
func (a *API) Open(name string, body []byte) *Stream {
	ctx, stop := context.WithCancel(context.Background())
	s := &Stream{news: make(chan struct{}), stop: stop}
	go func() {
		err := a.Follow(ctx, name, body, func(message []byte) bool { s.note(message, nil); return true })
		s.note(nil, errors.Join(errors.New("the stream has ended"), err))
	}()
	return s
}

func (s *Stream) note(message []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if message != nil {
		s.messages = append(s.messages, message)
	}
	s.err = err
	close(s.news)
	s.news = make(chan struct{})
}

// Await takes messages until one matches, and returns that one.
func (s *Stream) Await(ctx context.Context, pattern *regexp.Regexp) ([]byte, error) {
	for {
		s.mu.Lock()
		for len(s.messages) > 0 {
			message := s.messages[0]
			s.messages = s.messages[1:]
			if pattern.Match(message) {
				s.mu.Unlock()
				return message, nil
			}
		}
		err, news := s.err, s.news
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no message of the stream matches %s: %w", pattern, ctx.Err())
		case <-news:
		}
	}
}

// Close ends the call.
func (s *Stream) Close() { s.stop() }

// What differs from run to run in an answer.
var (
	moments = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"`)
	digests = regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{40})\b`)
	epochs  = regexp.MustCompile(`"[0-9a-f]{12}\.\d+(\.[0-9a-z]+)?"`)
	ports   = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

// SteadyJSON indents an answer, and writes what differs from run to run by
// name: TIME, HASH, REVISION, and what known says (value → name).
func SteadyJSON(answer []byte, known map[string]string) (string, error) {
	var indented bytes.Buffer
	if err := json.Indent(&indented, answer, "", "  "); err != nil {
		return "", err
	}
	text := indented.String()
	longestFirst := slices.SortedFunc(maps.Keys(known), func(a, b string) int { return len(b) - len(a) })
	for _, value := range longestFirst {
		text = strings.ReplaceAll(text, value, known[value])
	}
	text = moments.ReplaceAllString(text, `"TIME"`)
	text = digests.ReplaceAllString(text, "HASH")
	text = epochs.ReplaceAllString(text, `"REVISION"`)
	return ports.ReplaceAllString(text, "ADDRESS"), nil
}
