package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/cli/logins"
	"plumb.dev/plumb/internal/signin/loopback"
	"plumb.dev/plumb/internal/signin/loopback/idptest"
)

// What a server may do to those who ask it.

// escape clears a terminal, and gives its window another title.
const escape = "\x1b[2J\x1b]0;owned\x07\u202e"

// TestServersDoNotSteerTerminals: nothing that a server says is more than text.
func TestServersDoNotSteerTerminals(t *testing.T) {
	f := newFakeServer(t, false)
	m := newTerminalOf(t).signedIn(f)
	tame := func(args ...string) {
		t.Helper()
		_, out, complaint := m.plumb(args...)
		if strings.ContainsAny(out+complaint, "\x1b\x07\u202e") || !strings.Contains(out+complaint, "owned") {
			t.Errorf("plumb %v prints %q", args, out+complaint)
		}
	}
	f.refuse = connect.NewError(connect.CodePermissionDenied, errors.New(escape))
	tame("suspend", "kustomization", "apps")
	tame("get", "clusters")
	f.refuse = nil
	f.signIn = &plumbv1.GetSignInResponse{Local: true, Hint: escape}
	m.input = "wrong\n"
	tame("login", f.address, "--username", "ann", "--password-stdin")
	f.manifest = strings.ReplaceAll(f.manifest, "message: done", `message: "\e[2J\e]0;owned\a"`)
	tame("get", "kustomizations")
}

// TestServersDoNotChooseWhoIsAsked: the browser is sent to identity providers of the
// web only, which the user is told of, and not where everybody can listen.
func TestServersDoNotChooseWhoIsAsked(t *testing.T) {
	f, p := newFakeServer(t, false), idptest.New(t)
	m := newTerminalOf(t)
	opened := ""
	m.app = func(a *app) {
		a.browse = func(address string) error { opened = address; return errors.New("not today") }
	}
	for issuer, want := range map[string]string{
		"http://idp.example.org": "not encrypted", "file:///etc": "no address", "": "no address", "https://ann@idp.example.org": "user name",
	} {
		f.signIn = &plumbv1.GetSignInResponse{OidcName: "Corp", Provider: &plumbv1.Provider{Issuer: issuer, ClientId: idptest.ClientID}}
		m.refused([]string{want}, "login", f.address, "--sso")
	}
	if opened != "" {
		t.Errorf("the browser was sent to %s", opened)
	}
	f.signIn = &plumbv1.GetSignInResponse{OidcName: "Corp", Provider: &plumbv1.Provider{Issuer: p.Issuer(), ClientId: idptest.ClientID}}
	m.refused([]string{p.Issuer(), f.address}, "login", f.address, "--sso", "--sso-port", "0", "--timeout", "100ms")
	if !strings.HasPrefix(opened, p.Issuer()) {
		t.Errorf("the browser was sent to %q", opened)
	}
}

// TestServersComeToAnEnd: one that has always another page is left.
func TestServersComeToAnEnd(t *testing.T) {
	f := newFakeServer(t, false)
	m := newTerminalOf(t).signedIn(f)
	f.endless = true
	m.refused([]string{"sends more kustomizations than a command can hold"}, "get", "kustomizations", "-A", "--timeout", "60s")
	if n := f.count("ListDeclarations"); n != maxPages {
		t.Errorf("it was asked %d times", n)
	}
}

// TestTokensStayWithTheirServer: a redirect takes a token nowhere.
func TestTokensStayWithTheirServer(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked for with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	redirecting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer redirecting.Close()
	m := newTerminalOf(t)
	m.env["PLUMB_SERVER"], m.env["PLUMB_AUTH_TOKEN"] = redirecting.URL, servedToken
	for _, args := range [][]string{{"get", "kustomizations"}, {"whoami"}, {"logs", "kustomization", "apps"}} {
		m.refused(nil, args...)
	}
}

// TestSignedInAnewMeanwhile: a command that goes on takes the session that somebody
// else has begun in its place, of whatever kind that is.
func TestSignedInAnewMeanwhile(t *testing.T) {
	f := newFakeServer(t, false)
	m := newTerminalOf(t)
	a := newApp(Streams{Getenv: func(name string) string { return m.env[name] }})
	a.now = func() time.Time { return testNow }
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	old := &logins.Login{
		Name: "prod", Server: f.address, Token: "canary.old", Refresh: "canary", Session: true, Expires: testNow.Add(time.Second),
		Provider: &loopback.Provider{Issuer: "https://idp.example.org"},
	}
	credential := a.credential(old)
	if err := shelf.Change(func(b *logins.Book) error {
		b.Put(logins.Login{Name: "prod", Server: f.address, Token: servedToken})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	token, err := credential(context.Background())
	if err != nil || fmt.Sprint(string(token.Reveal())) != servedToken {
		t.Errorf("got %v", err)
	}
	if old.Token != "canary.old" {
		t.Error("a login that others read was changed")
	}
}
