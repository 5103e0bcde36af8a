package cluster

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
)

// TestContact: since when a server answers, or does not, is the first of the
// requests that ended so in a row.
func TestContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		c := contact{changed: func() { told++ }}
		refused := errors.New("connection refused")
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		start := time.Now()
		for i, step := range []struct {
			ctx       context.Context
			err       error
			reachable bool
			since     time.Duration
			told      int
		}{
			{context.Background(), nil, true, 0, 1},
			{context.Background(), nil, true, 0, 1},
			{ended, context.Canceled, true, 0, 1},
			{context.Background(), refused, false, 3 * time.Second, 2},
			{context.Background(), refused, false, 3 * time.Second, 2},
			{context.Background(), nil, true, 5 * time.Second, 3},
		} {
			c.note(step.ctx, step.err)
			if got := c.last; got.Reachable != step.reachable || got.Since.Sub(start) != step.since || told != step.told || step.reachable != (got.Err == nil) {
				t.Errorf("step %d: %+v after %s, told %d times", i, got, got.Since.Sub(start), told)
			}
			time.Sleep(time.Second)
		}
	})
}

// TestContactOfACluster: any answer is a sign of life, and the set tells when
// there are none any more.
func TestContactOfACluster(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer server.Close()
	set, err := NewSet(&rest.Config{Host: server.URL}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if got := set.Local().Contact(); got != (Contact{}) {
		t.Errorf("before anything was asked: %+v", got)
	}
	for _, reachable := range []bool{true, false} {
		if !reachable {
			server.Close()
		}
		news := set.Contacts()
		if _, err := set.Local().Version(t.Context()); err == nil {
			t.Error("there is a version")
		}
		if got := set.Local().Contact(); !got.Asked || got.Reachable != reachable || got.Since.IsZero() {
			t.Errorf("reachable is to be %v: %+v", reachable, got)
		}
		select {
		case <-news:
		default:
			t.Errorf("nobody was told that reachable is %v", reachable)
		}
	}
}
