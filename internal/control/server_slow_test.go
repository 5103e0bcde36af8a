package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections never leave the process, so that their
// deadlines go by the clock of a test.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// TestNobodyKeepsAServerWaiting: a header and a body must arrive in time, whoever
// trickles them; a stream to the client and a slow handler take as long as they
// like.
func TestNobodyKeepsAServerWaiting(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the body did not arrive", http.StatusRequestTimeout)
			return
		}
		_, _ = fmt.Fprintf(w, "%d bytes", len(body))
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		for i := range 10 {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(bodyTimeout / 2):
			}
			_, _ = fmt.Fprintf(w, "%d\n", i)
			_ = http.NewResponseController(w).Flush()
		}
	})
	serve := func(t *testing.T) *pipes {
		t.Helper()
		l := newPipes()
		server := newServer(mux)
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close(); <-done })
		return l
	}
	// connect is a connection of a client, and what it does beside reading.
	connect := func(t *testing.T) (net.Conn, *sync.WaitGroup) {
		t.Helper()
		c, beside := serve(t).dial(), &sync.WaitGroup{}
		t.Cleanup(func() { _ = c.Close(); beside.Wait() })
		return c, beside
	}
	// trickle sends a byte a second until the server has had enough.
	trickle := func(c net.Conn, text string) {
		for i := range len(text) {
			time.Sleep(time.Second)
			if _, err := c.Write([]byte(text[i : i+1])); err != nil {
				return
			}
		}
	}
	t.Run("a header", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, beside := connect(t)
			start := time.Now()
			beside.Go(func() { trickle(c, "GET /echo HTTP/1.1\r\nHost: a\r\nX-Slow: "+strings.Repeat("x", 1000)) })
			_, err := io.ReadAll(c)
			if took := time.Since(start); took > headerTimeout+time.Second {
				t.Errorf("a header that trickles is awaited for %s (%v)", took, err)
			}
		})
	})
	t.Run("a body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, beside := connect(t)
			start := time.Now()
			beside.Go(func() {
				_, _ = io.WriteString(c, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
				trickle(c, strings.Repeat("x", 1000))
			})
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			if took := time.Since(start); took > bodyTimeout+time.Second {
				t.Errorf("a body that trickles is awaited for %s", took)
			}
			if err == nil && answer.StatusCode != http.StatusRequestTimeout {
				t.Errorf("answered with %s", answer.Status)
			}
		})
	})
	t.Run("an idle connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, beside := connect(t)
			read := bufio.NewReader(c)
			for range 2 { // it can be used again before that
				beside.Go(func() {
					_, _ = io.WriteString(c, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
				})
				answer, err := http.ReadResponse(read, nil)
				if err != nil {
					t.Fatal(err)
				}
				if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "3 bytes" {
					t.Fatalf("%q, %v", body, err)
				}
				time.Sleep(idleTimeout / 2)
			}
			start := time.Now()
			if _, err := read.ReadByte(); !errors.Is(err, io.EOF) || time.Since(start) > idleTimeout {
				t.Errorf("it is kept for %s: %v", time.Since(start), err)
			}
		})
	})
	t.Run("a stream", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, beside := connect(t)
			beside.Go(func() {
				_, _ = io.WriteString(c, "POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
			})
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil || strings.Count(string(body), "\n") != 10 {
				t.Errorf("the stream ended after %q: %v", body, err)
			}
		})
	})
}
