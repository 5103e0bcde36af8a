package logins

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"encoding/pem"

	"plumb.dev/plumb/internal/model"
)

func shelf(t *testing.T) Shelf {
	t.Helper()
	at, err := ShelfIn(func(name string) string {
		return map[string]string{"XDG_CONFIG_HOME": filepath.Join(t.TempDir(), "config")}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestBook(t *testing.T) {
	at := shelf(t)
	if book, err := at.Read(); err != nil || len(book.Logins) > 0 {
		t.Fatalf("at first %v, %v", book, err)
	}
	expires := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	err := at.Change(func(b *Book) error {
		b.Put(Login{Name: "prod", Server: "https://plumb.example.org", Token: "one", Expires: expires})
		b.Put(Login{Name: "test", Server: "https://test.example.org", Token: "two"})
		b.Put(Login{Name: "prod", Server: "https://plumb.example.org", Token: "three", Expires: expires})
		b.Current = "prod"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	book, err := at.Read()
	if err != nil || len(book.Logins) != 2 {
		t.Fatalf("%v, %v", book, err)
	}
	for _, name := range []string{"prod", "https://plumb.example.org", "plumb.example.org", "HTTPS://Plumb.Example.org/"} {
		if found, ok := book.Find(strings.ToLower(name)); !ok || found.Token != "three" || !found.Expires.Equal(expires) {
			t.Errorf("%s: %v", name, found)
		}
	}
	if _, ok := book.Find("elsewhere"); ok {
		t.Error("found what is not there")
	}
	if !book.Delete("prod") || book.Current != "" || book.Delete("prod") {
		t.Error("delete")
	}
}

func TestBookIsPrivate(t *testing.T) {
	at := shelf(t)
	if err := at.Change(func(b *Book) error { b.Put(Login{Name: "prod", Token: "canary"}); return nil }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(at.File)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if text := fmt.Sprintf("%v %+v %#v %s", Login{Token: "canary"}, Login{Token: "canary"}, Login{Token: "canary"}, Login{Token: "canary"}); strings.Contains(text, "canary") {
		t.Errorf("a login prints its token: %s", text)
	}
	if err := os.WriteFile(at.File, []byte("logins: [{token: canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := at.Read(); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("broken: %v", err)
	}
	if err := os.Chmod(at.File, 0o644); err != nil {
		t.Fatal(err)
	}
	var fault *model.Fault
	if _, err := at.Read(); runtime.GOOS != "windows" && (!errors.As(err, &fault) || fault.Reason != "Exposed") {
		t.Errorf("readable by others: %v", err)
	}
}

// TestChangesTakeTurns: none of the changes that are made at a time is lost.
func TestChangesTakeTurns(t *testing.T) {
	at := shelf(t)
	const writers = 16
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			if err := at.Change(func(b *Book) error { b.Put(Login{Name: fmt.Sprint(i)}); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	book, err := at.Read()
	if err != nil || len(book.Logins) != writers {
		t.Errorf("%d logins, %v", len(book.Logins), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(at.File), ".logins-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFailedChangeChangesNothing(t *testing.T) {
	at, refused := shelf(t), errors.New("no")
	if err := at.Change(func(b *Book) error { b.Put(Login{Name: "x"}); return refused }); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if book, err := at.Read(); err != nil || len(book.Logins) > 0 {
		t.Errorf("%v, %v", book, err)
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"plumb.example.org":              "https://plumb.example.org",
		"Plumb.Example.Org:8443/":        "https://plumb.example.org:8443",
		"https://plumb.example.org/a/b/": "https://plumb.example.org/a/b",
		"http://127.0.0.1:8480":          "http://127.0.0.1:8480",
		"http://[::1]:8480":              "http://[::1]:8480",
		"http://localhost:8480":          "http://localhost:8480",
	} {
		if got, err := Address(in, false); err != nil || got != want {
			t.Errorf("%s: %s, %v; wanted %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "https://", "http://plumb.example.org", "http://127.0.0.1.example.org", "ftp://x", "https://ann:pw@x", "https://x?token=y", "https://x/#y"} {
		if got, err := Address(in, false); err == nil {
			t.Errorf("%q: %s", in, got)
		} else if strings.Contains(err.Error(), "pw") {
			t.Errorf("%q shows a password: %v", in, err)
		}
	}
	if got, err := Address("http://plumb.example.org", true); err != nil || got != "http://plumb.example.org" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestParseFingerprint(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	colons := strings.TrimSuffix(strings.Repeat("AB:", 32), ":")
	for _, in := range []string{sum, "SHA256:" + sum, "sha256:" + sum, colons, "sha256 Fingerprint=" + colons} {
		if got, err := ParseFingerprint(in); err != nil || got != "SHA256:"+sum {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "SHA256:", "abc", sum[2:], "MD5:" + sum} {
		if got, err := ParseFingerprint(in); err == nil {
			t.Errorf("%q: %s", in, got)
		}
	}
}

// TestTrust: a server is reached when its certificate is the one that is believed
// in the way that was chosen, and by no other.
func TestTrust(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	shown, err := Shown(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shown.Raw}))
	other := Fingerprint(&x509.Certificate{Raw: []byte("another")})
	for what, c := range map[string]struct {
		trust   Trust
		reaches bool
		another bool
	}{
		"the system's authorities": {trust: Trust{}},
		"its fingerprint":          {trust: Trust{Fingerprint: Fingerprint(shown)}, reaches: true},
		"another's fingerprint":    {trust: Trust{Fingerprint: other}, another: true},
		"its authority":            {trust: Trust{Authority: authority}, reaches: true},
		"anybody":                  {trust: Trust{Anybody: true}, reaches: true},
	} {
		client, err := c.trust.Client()
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Get(server.URL + "/away")
		if (err == nil) != c.reaches {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil {
			if errors.Is(err, ErrAnother) != c.another || Untrusted(err) == c.another {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
		if response.StatusCode != http.StatusFound {
			t.Errorf("%s: a redirect was followed", what)
		}
	}
	if _, err := (Trust{Authority: "no certificate"}).Client(); err == nil {
		t.Error("an authority that is none is believed")
	}
}
