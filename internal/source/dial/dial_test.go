package dial

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"plumb.dev/plumb/internal/model"
)

func parse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func client(t *testing.T, home string, auth *model.HTTPAuth) *Client {
	t.Helper()
	c, err := New(parse(t, home), auth, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func get(t *testing.T, c *Client, address string) string {
	t.Helper()
	response, err := c.Get(t.Context(), parse(t, address), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// mirror answers with the credentials that it was given.
func mirror(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, r.Header.Get("Authorization")+r.Header.Get("Referer"))
}

func TestCredentialsGoWhereTheyWereMeantFor(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(mirror))
	defer other.Close()
	var home *httptest.Server
	home = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL+"/x", http.StatusFound)
		case "/back":
			http.Redirect(w, r, other.URL+"/home", http.StatusFound)
		case "/inside":
			http.Redirect(w, r, home.URL+"/x", http.StatusFound)
		default:
			mirror(w, r)
		}
	}))
	defer home.Close()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:word"))
	auth := &model.HTTPAuth{Username: "ada", Password: model.NewSecret([]byte("word"))}
	all := *auth
	all.PassAll = true
	withUser := strings.Replace(home.URL, "http://", "http://ada:word@", 1)
	for _, c := range []struct {
		name, home, address string
		auth                *model.HTTPAuth
		want                string
	}{
		{"home", home.URL, home.URL + "/x", auth, basic},
		{"home by address", withUser, home.URL + "/x", &model.HTTPAuth{}, basic},
		{"bearer", home.URL, home.URL + "/x", &model.HTTPAuth{BearerToken: model.NewSecret([]byte("token"))}, "Bearer token"},
		{"another host", home.URL, other.URL + "/x", auth, ""},
		{"another host, passed on", home.URL, other.URL + "/x", &all, basic},
		{"redirected away", home.URL, home.URL + "/away?token=1", auth, ""},
		{"redirected away, though passed on", home.URL, home.URL + "/away", &all, ""},
		{"redirected inside", home.URL, home.URL + "/inside?token=1", auth, basic},
		{"user of another address", home.URL, strings.Replace(other.URL, "http://", "http://x:y@", 1), auth, ""},
	} {
		if got := get(t, client(t, c.home, c.auth), c.address); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	var plain *httptest.Server
	plain = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusFound)
	}))
	defer plain.Close()
	if _, err := client(t, plain.URL, &model.HTTPAuth{}).Get(t.Context(), parse(t, plain.URL), nil); err == nil || !strings.Contains(err.Error(), "circles") {
		t.Errorf("circles: %v", err)
	}
	safe := httptest.NewTLSServer(plain.Config.Handler)
	defer safe.Close()
	auth := &model.HTTPAuth{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: safe.Certificate().Raw})}
	if _, err := client(t, safe.URL, auth).Get(t.Context(), parse(t, safe.URL), nil); err == nil || !strings.Contains(err.Error(), `scheme "http"`) {
		t.Errorf("out of TLS: %v", err)
	}
}

func TestTrustOfPorts(t *testing.T) {
	for _, c := range []struct {
		home, address string
		want          bool
	}{
		{"https://a.example/x", "https://A.example:443/y", true},
		{"https://a.example/x", "https://a.example:8443/y", false},
		{"https://a.example/x", "http://a.example/y", false},
		{"http://a.example/x", "https://a.example/y", true},
		{"https://a.example/x", "https://b.a.example/y", false},
	} {
		if got := client(t, c.home, &model.HTTPAuth{}).trusts(parse(t, c.address)); got != c.want {
			t.Errorf("%s trusts %s: %t", c.home, c.address, got)
		}
	}
}

func TestErrorsTellNoSecret(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no\x00 "+r.Header.Get("Authorization")+" "+r.URL.String()+strings.Repeat(" more", 1000))
	}))
	defer server.Close()
	auth := &model.HTTPAuth{Username: "ada", Password: model.NewSecret([]byte("pass word/1"))}
	c := client(t, server.URL+"?key=query-token", auth)
	response, err := c.Get(t.Context(), parse(t, server.URL+"?p=pass+word%2F1&key=query-token"), nil)
	if err != nil {
		t.Fatal(err)
	}
	refused := c.Refused(response)
	_ = response.Body.Close()
	text := refused.Error()
	for _, secret := range []string{"pass word", "pass+word", "query-token", base64.StdEncoding.EncodeToString([]byte("ada:pass word/1")), "\x00"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is told: %s", secret, text)
		}
	}
	if !refused.Denied() || !refused.Lasting() || len(text) > 2*maxMessage {
		t.Errorf("%+v", refused)
	}
	if got := Display(parse(t, "https://ada:word@a.example/p?q=1#f")); got != "https://a.example/p" {
		t.Error(got)
	}
}

func TestTransportErrors(t *testing.T) {
	for name, c := range map[string]struct {
		auth model.HTTPAuth
		want string
	}{
		"authority":     {model.HTTPAuth{CA: []byte("none")}, "ca.crt"},
		"half a pair":   {model.HTTPAuth{ClientCert: []byte("x")}, "tls.key"},
		"proxy":         {model.HTTPAuth{Proxy: &model.Proxy{Address: "::"}}, "proxy"},
		"kind of proxy": {model.HTTPAuth{Proxy: &model.Proxy{Address: "ftp://h"}}, "ftp"},
	} {
		if _, err := Transport(&c.auth); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyTellsAuthApart(t *testing.T) {
	seen := map[string]int{}
	for i, auth := range []model.HTTPAuth{
		{}, {Username: "a"}, {Password: model.NewSecret([]byte("a"))}, {BearerToken: model.NewSecret([]byte("a"))},
		{CA: []byte("a")}, {Insecure: true}, {Plain: true}, {PassAll: true}, {Proxy: &model.Proxy{}}, {Proxy: &model.Proxy{Address: "a"}},
		{Workload: &model.WorkloadIdentity{}}, {Workload: &model.WorkloadIdentity{Annotations: map[string]string{"a": "b"}}},
		{DockerConfig: []model.Secret{model.NewSecret([]byte("a"))}},
	} {
		key := Key(&auth, "https://a.example")
		if other, ok := seen[key]; ok {
			t.Errorf("%d and %d have one key", i, other)
		}
		if seen[key] = i; key != Key(&auth, "https://a.example") || key == Key(&auth, "https://a.example", "") {
			t.Errorf("%d: the key does not tell what is asked", i)
		}
	}
}

func TestBounded(t *testing.T) {
	for _, limit := range []int64{0, 4, 5, 6, -1} {
		got, err := io.ReadAll(iotest.OneByteReader(Bounded(strings.NewReader("12345"), limit)))
		whole := limit < 0 || limit >= 5
		if whole != (err == nil) || !whole && (!errors.Is(err, ErrTooLarge) || int64(len(got)) != limit) {
			t.Errorf("limit %d: %q, %v", limit, got, err)
		}
	}
	cut := Bounded(bytes.NewReader(make([]byte, 10)), 3)
	_, _ = io.ReadAll(cut)
	if n, err := cut.Read(make([]byte, 10)); n != 0 || !errors.Is(err, ErrTooLarge) {
		t.Errorf("read on: %d, %v", n, err)
	}
}

func TestSharedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Shared[int]
		var calls atomic.Int64
		work := func(ctx context.Context) (int, error) {
			n := int(calls.Add(1))
			select {
			case <-time.After(time.Second):
				return n, nil
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
		answers := make(chan int, 3)
		ask := func(notBefore time.Time) {
			n, err := s.Ask(t.Context(), notBefore, work)
			if err != nil {
				t.Error(err)
			}
			answers <- n
		}
		go ask(time.Now())
		go ask(time.Now())
		synctest.Wait()
		time.Sleep(500 * time.Millisecond)
		go ask(time.Now()) // the question under way is older than it wants
		if a, b, c := <-answers, <-answers, <-answers; a != 1 || b != 1 || c != 2 {
			t.Errorf("answers %d %d %d", a, b, c)
		}

		// One gives up, the other waits on; when both have, work ends.
		hasty, cancel := context.WithCancelCause(t.Context())
		gaveUp := errors.New("gave up")
		refused := make(chan error, 2)
		go ask(time.Now())
		go func() {
			_, err := s.Ask(hasty, time.Now(), work)
			refused <- err
		}()
		synctest.Wait()
		cancel(gaveUp)
		if err, n := <-refused, <-answers; !errors.Is(err, gaveUp) || n != 3 {
			t.Errorf("%v, %d", err, n)
		}
		short, cancelShort := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancelShort()
		if _, err := s.Ask(short, time.Now(), work); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if n, err := s.Ask(t.Context(), time.Now(), work); n != 5 || err != nil {
			t.Errorf("after everybody had left: %d, %v", n, err)
		}
	})
}
