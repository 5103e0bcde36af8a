package control

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
)

// leases is an API server with one Lease.
type leases struct {
	mu     sync.Mutex
	stored map[string]any
}

func (l *leases) holder() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	spec, _ := l.stored["spec"].(map[string]any)
	name, _ := spec["holderIdentity"].(string)
	return name
}

func (l *leases) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodGet {
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &l.stored); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	if l.stored == nil {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		return
	}
	_ = json.NewEncoder(w).Encode(l.stored)
}

// Another replica may lead as soon as the lease is free, so everything has to
// have ended by then.
func TestTheLeaseIsHeldUntilTheWorkHasEnded(t *testing.T) {
	api := &leases{}
	server := httptest.NewServer(api)
	defer server.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := false
	err := lead(ctx, Options{Namespace: "plumb-system", Log: slog.New(slog.DiscardHandler)},
		&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}},
		func(ctx context.Context) error {
			stop()
			<-ctx.Done()
			if api.holder() == "" {
				t.Error("the lease was given back while there was work")
			}
			ended = true
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if !ended {
		t.Error("the work goes on")
	}
	if api.holder() != "" {
		t.Error("the lease was not given back")
	}
}

func TestAReplicaThatNeverLedEnds(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not now", http.StatusInternalServerError)
	}))
	defer server.Close()
	ctx, stop := context.WithCancel(context.Background())
	stop()
	err := lead(ctx, Options{Namespace: "plumb-system", Log: slog.New(slog.DiscardHandler)}, &rest.Config{Host: server.URL}, func(context.Context) error {
		t.Error("it leads")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// silence answers like an API server with one Lease, until it does not answer any
// more.
type silence struct {
	api   leases
	begun atomic.Bool
}

func (s *silence) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.begun.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	answer := httptest.NewRecorder()
	s.api.ServeHTTP(answer, r)
	return answer.Result(), nil
}

func TestAReplicaEndsThoughNobodyTakesTheLeaseBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &silence{}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var ended time.Time
		err := lead(ctx, Options{Namespace: "plumb-system", Log: slog.New(slog.DiscardHandler)},
			&rest.Config{Host: "http://api.test", Transport: api, ContentConfig: rest.ContentConfig{ContentType: "application/json"}},
			func(context.Context) error {
				api.begun.Store(true)
				stop()
				ended = time.Now()
				return nil
			})
		if took := time.Since(ended); err != nil || took > returnTime+time.Second {
			t.Errorf("it took %s: %v", took, err)
		}
	})
}
