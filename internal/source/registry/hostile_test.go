package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

func TestHostileRegistry(t *testing.T) {
	endless := func(out http.ResponseWriter, next string, tags int) {
		if next != "" {
			out.Header().Set("Link", fmt.Sprintf("<%s>; rel=\"next\"", next))
		}
		_, _ = fmt.Fprintf(out, `{"name":"app","tags":[%s]}`, strings.TrimSuffix(strings.Repeat(`"1.0.0",`, tags), ","))
	}
	huge := func(out http.ResponseWriter) {
		for range 1 << 10 {
			if _, err := out.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	is := func(r *http.Request, method, part string) bool {
		return r.Method == method && strings.Contains(r.URL.Path, part)
	}
	for name, one := range map[string]struct {
		limits Limits
		semver string
		front  func(out http.ResponseWriter, r *http.Request) bool // true: answered
		reason string
		want   string
		retry  bool
	}{
		"huge manifest": {
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, http.MethodGet, "/manifests/") {
					huge(out)
					return true
				}
				return false
			},
			reason: reasonPull, want: "larger than allowed",
		},
		"huge layer": {
			limits: Limits{BlobBytes: 1 << 10},
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, http.MethodGet, "/blobs/") {
					huge(out)
					return true
				}
				return false
			},
			reason: reasonPull, want: "larger than allowed",
		},
		"another layer": {
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, http.MethodGet, "/blobs/") {
					_, _ = out.Write([]byte("contenT"))
					return true
				}
				return false
			},
			reason: reasonPull, want: "error verifying sha256 checksum", retry: true,
		},
		"another manifest": {
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, http.MethodGet, "/manifests/sha256:") {
					out.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
					_, _ = out.Write([]byte(`{"schemaVersion":2}`))
					return true
				}
				return false
			},
			reason: reasonPull, want: "does not match requested digest", retry: true,
		},
		"silence": {
			limits: Limits{Stall: 20 * time.Millisecond},
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, http.MethodGet, "/blobs/") {
					out.Header().Set("Content-Length", "7")
					_, _ = out.Write([]byte("con"))
					out.(http.Flusher).Flush()
					<-r.Context().Done()
					return true
				}
				return false
			},
			reason: reasonPull, want: "stopped sending", retry: true,
		},
		"pages without end": {
			semver: "*", limits: Limits{Pages: 20},
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, http.MethodGet, "/tags/list") {
					endless(out, r.URL.Path+"?last=again", 0)
					return true
				}
				return false
			},
			reason: reasonRead, want: "more than 20 pages",
		},
		"tags without end": {
			semver: "*", limits: Limits{Tags: 1000},
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, http.MethodGet, "/tags/list") {
					endless(out, r.URL.Path+"?last=again", 300)
					return true
				}
				return false
			},
			reason: reasonRead, want: "more than 1000 tags",
		},
		"huge page": {
			semver: "*", limits: Limits{PageBytes: 1 << 10},
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, http.MethodGet, "/tags/list") {
					endless(out, "", 1000)
					return true
				}
				return false
			},
			reason: reasonRead, want: "larger than allowed",
		},
		"pages elsewhere": {
			semver: "*",
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, http.MethodGet, "/tags/list") {
					endless(out, "http://169.254.169.254/latest", 1)
					return true
				}
				return false
			},
			reason: reasonRead, want: "SSRF", retry: true,
		},
		"it fails": {
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if is(r, "", "") || strings.Contains(r.URL.Path, "/manifests/") {
					out.WriteHeader(http.StatusInternalServerError)
					return true
				}
				return false
			},
			reason: reasonPull, want: "500 Internal Server Error", retry: true,
		},
		"a page of anything": {
			front: func(out http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/manifests/") {
					out.WriteHeader(http.StatusNotFound)
					_, _ = out.Write([]byte("<html>\x1b[31m" + strings.Repeat("x", 10_000)))
					return true
				}
				return false
			},
			reason: reasonPull, want: "404 Not Found", retry: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.push("app:latest", simple(t, "content"))
			w.stand(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
				if !one.front(out, r) {
					next.ServeHTTP(out, r)
				}
			})
			c, spec := quick(t, one.limits), w.source("app")
			spec.Ref.SemVer = one.semver
			got, err := c.Resolve(t.Context(), spec)
			if err == nil {
				_, err = pull(t.Context(), c, spec, got)
			}
			fault := wantFault(t, err, one.reason, one.want)
			if fault.Retry != one.retry {
				t.Errorf("retry %t, want %t", fault.Retry, one.retry)
			}
			if len(fault.Message) > 1000 || strings.ContainsRune(fault.Message, '\x1b') {
				t.Errorf("message of %d bytes: %q", len(fault.Message), fault.Message)
			}
		})
	}
}

func TestTooManyLayersAndAnnotations(t *testing.T) {
	w := newWorld(t)
	w.push("app:layers", artifact(t, nil, "c", layer("a", "x"), layer("b", "x"), layer("c", "x")))
	w.push("app:annotations", artifact(t, map[string]string{"a": strings.Repeat("x", maxAnnotations)}, "c", layer("a", "x")))
	c := quick(t, Limits{Layers: 2})
	for tag, want := range map[string]string{"layers": "has 3 layers, more than 2", "annotations": "the annotations of the artifact take"} {
		spec := w.source("app")
		spec.Ref.Tag = tag
		_, err := c.Resolve(t.Context(), spec)
		if wantFault(t, err, reasonPull, want).Retry {
			t.Error("retried")
		}
	}
}

func TestSpoolForgets(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	c, spec := quick(t, Limits{}), w.source("app")
	got := resolve(t, c, spec)
	first, err := c.Pull(t.Context(), spec, got)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Pull(t.Context(), spec, got)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = first.Close(), first.Close() // twice is once
	for key, one := range c.spool.held {
		if one.readers != 1 {
			t.Errorf("%d readers, want 1", one.readers)
		}
		c.spool.drop(key, one)
	}
	if len(c.spool.held) != 1 {
		t.Error("dropped although it is read")
	}
	_ = second.Close()
	for key, one := range c.spool.held {
		c.spool.drop(key, one)
	}
	if len(c.spool.held) != 0 || c.spool.idle != 0 {
		t.Errorf("%d kept, %d bytes", len(c.spool.held), c.spool.idle)
	}
	if content, err := pull(t.Context(), c, spec, got); err != nil || content != "content" || w.count(http.MethodGet, "/blobs/") != 2 {
		t.Errorf("got %q, %v", content, err)
	}
}

func TestMemoryForgetsTheOldest(t *testing.T) {
	m := newMemory[int](3 * (100 + 128 + 1))
	for i, key := range []string{"a", "b", "c", "d"} {
		m.put(key, i, 100)
	}
	if _, ok := m.get("a"); ok {
		t.Error("the oldest is kept")
	}
	if v, ok := m.get("d"); !ok || v != 3 || m.weight > m.limit {
		t.Errorf("got %d, %t at %d bytes", v, ok, m.weight)
	}
	m.put("e", 5, 10_000)
	if _, ok := m.get("e"); ok {
		t.Error("what is too heavy is kept")
	}
}

func TestSessionsAreBounded(t *testing.T) {
	c := quick(t, Limits{})
	for i := range maxSessions + 10 {
		if _, err := c.place("example.com/app", &model.HTTPAuth{Username: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.sessions) != maxSessions {
		t.Errorf("%d sessions", len(c.sessions))
	}
}
