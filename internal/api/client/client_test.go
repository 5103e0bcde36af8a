package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/model"
)

// answering is a server that answers every call with a status and a body.
func answering(t *testing.T, answer func(call int, w http.ResponseWriter, r *http.Request)) (*Client, *atomic.Int32) {
	t.Helper()
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(int(calls.Add(1)), w, r)
	}))
	t.Cleanup(server.Close)
	return New(Options{Address: server.URL + "/", HTTP: server.Client(), Agent: "plumb/test", Credential: func(context.Context) (model.Secret, error) {
		return model.NewSecret([]byte("a.b.c")), nil
	}}), &calls
}

func told(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"code":"` + code + `","message":"so it is"}`))
}

func TestCallsAreSigned(t *testing.T) {
	c, _ := answering(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer a.b.c" || r.Header.Get("User-Agent") != "plumb/test" || !strings.HasPrefix(r.URL.Path, "/plumb.v1.") {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		told(w, http.StatusForbidden, "permission_denied")
	})
	_, err := c.Session.GetMe(t.Context(), &plumbv1.GetMeRequest{})
	if CodeOf(err) != PermissionDenied || err.Error() != "so it is" {
		t.Errorf("%s: %v", CodeOf(err), err)
	}
	stream, err := c.Deliveries.StreamLogs(t.Context(), &plumbv1.StreamLogsRequest{})
	if err == nil {
		for stream.Receive() {
			t.Error("a message came")
		}
		err = stream.Err()
	}
	if CodeOf(Explain(err)) != PermissionDenied {
		t.Errorf("stream: %v", err)
	}
}

// TestReadingIsTriedAgain: what only reads is asked again where the server, or a
// proxy before it, cannot answer; what acts is not.
func TestReadingIsTriedAgain(t *testing.T) {
	for what, c := range map[string]struct {
		answer func(http.ResponseWriter)
		calls  int32 // for a call that reads
	}{
		"the server does not lead":  {func(w http.ResponseWriter) { told(w, http.StatusServiceUnavailable, "unavailable") }, 2},
		"a proxy has no server":     {func(w http.ResponseWriter) { http.Error(w, "no upstream", http.StatusBadGateway) }, 2},
		"too many requests":         {func(w http.ResponseWriter) { http.Error(w, "slow down", http.StatusTooManyRequests) }, 2},
		"the caller is not allowed": {func(w http.ResponseWriter) { told(w, http.StatusForbidden, "permission_denied") }, 1},
	} {
		t.Run(what, func(t *testing.T) {
			client, calls := answering(t, func(call int, w http.ResponseWriter, _ *http.Request) {
				if call > 1 {
					w.Header().Set("Content-Type", "application/proto")
					return
				}
				c.answer(w)
			})
			_, err := client.Fleet.ListProjects(t.Context(), &plumbv1.ListProjectsRequest{})
			if calls.Load() != c.calls || (err == nil) != (c.calls > 1) {
				t.Errorf("asked %d times: %v", calls.Load(), err)
			}
			calls.Store(0)
			if _, err := client.Deliveries.Act(t.Context(), &plumbv1.ActRequest{}); err == nil || calls.Load() != 1 {
				t.Errorf("acted %d times: %v", calls.Load(), err)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	asked := 0
	c := New(Options{Address: server.URL, HTTP: &http.Client{}, Credential: func(context.Context) (model.Secret, error) {
		asked++
		return model.Secret{}, nil
	}})
	_, err := c.Session.GetMe(t.Context(), &plumbv1.GetMeRequest{})
	var none *unanswered
	if CodeOf(err) != Unavailable || !errors.As(err, &none) || Passing(err) || asked != 1 {
		t.Errorf("%s: %v", CodeOf(err), err)
	}
}

// TestNoCredential: where there is none to send, nothing is sent.
func TestNoCredential(t *testing.T) {
	ended := errors.New("the session has ended")
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
	defer server.Close()
	c := New(Options{Address: server.URL, HTTP: server.Client(), Credential: func(context.Context) (model.Secret, error) { return model.Secret{}, ended }})
	if _, err := c.Session.GetMe(t.Context(), &plumbv1.GetMeRequest{}); !errors.Is(err, ended) {
		t.Errorf("got %v", err)
	}
	stream, err := c.Deliveries.StreamLogs(t.Context(), &plumbv1.StreamLogsRequest{})
	if err == nil {
		stream.Receive()
		err = stream.Err()
	}
	if !errors.Is(err, ended) {
		t.Errorf("stream: %v", err)
	}
}
