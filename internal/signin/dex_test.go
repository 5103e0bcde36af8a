package signin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/oauth2"
)

// dexProgram returns a real Dex: the one that $PLUMB_DEX names, which "make test"
// has built, or one that is built now, from the module dextest (three minutes the
// first time, seconds from then on).
func dexProgram(t *testing.T) string {
	t.Helper()
	if program := os.Getenv("PLUMB_DEX"); program != "" {
		return program
	}
	if program, err := filepath.Abs("../../bin/tools/dex"); err == nil {
		if _, err := os.Stat(program); err == nil {
			return program
		}
	}
	program := filepath.Join(t.TempDir(), "dex")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "dextest", "-o", program, "github.com/dexidp/dex/cmd/dex")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("there is no Dex, and it cannot be built: %v\n%s", err, output)
	}
	return program
}

// dex is a running Dex.
type dex struct {
	t      *testing.T
	issuer string
}

const dexConfig = `
issuer: %s
storage: {type: memory}
web: {http: %s}
logger: {level: error}
oauth2: {skipApprovalScreen: true}
expiry: {idTokens: 10m, signingKeys: 6h}
enablePasswordDB: true
staticPasswords:
- {email: ann@example.com, hash: '%[3]s', username: ann, userID: user-ann, emailVerified: true, groups: [admins, team-a]}
- {email: bob@example.com, hash: '%[3]s', username: bob, userID: user-bob, emailVerified: true, groups: [readers]}
staticClients:
- {id: plumb, name: Plumb, secret: canary-client-secret, redirectURIs: ['%[4]s/auth/callback']}
- {id: plumb-cli, name: argocd, public: true, redirectURIs: ['http://localhost:8085/auth/callback']}
- {id: stranger, name: Stranger, secret: canary-stranger-secret, redirectURIs: ['http://localhost:8085/auth/callback']}
`

// dexHash is the password of everybody at Dex, which refuses cheap hashes.
func dexHash(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(testPassword), bcrypt.DefaultCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func startDex(t *testing.T, own string) *dex {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	d := &dex{t: t, issuer: "http://" + address + "/dex"}
	file := filepath.Join(t.TempDir(), "dex.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, dexConfig, d.issuer, address, dexHash(t), own), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	program := exec.CommandContext(ctx, dexProgram(t), "serve", file)
	var output syncBuffer
	program.Stdout, program.Stderr, program.WaitDelay = &output, &output, time.Second
	if err := program.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = program.Wait(); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })

	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for {
		answer, err := http.Get(d.issuer + "/.well-known/openid-configuration")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return d
			}
		}
		select {
		case <-ticker.C:
		case <-ended:
			t.Fatalf("Dex ended:\n%s", output.String())
		case <-deadline:
			t.Fatalf("Dex does not answer: %v\n%s", err, output.String())
		}
	}
}

// formAction finds where the sign-in page of Dex sends its form.
var formAction = regexp.MustCompile(`<form method="post" action="([^"]+)"`)

// enter is a person at Dex: follows address, fills in the form, and returns the
// address that Dex sends the browser to in the end, without following that.
func (d *dex) enter(address, email string) *url.URL {
	d.t.Helper()
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), d.issuer) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	page, err := client.Get(address)
	if err != nil {
		d.t.Fatal(err)
	}
	body, _ := io.ReadAll(page.Body)
	page.Body.Close()
	action := formAction.FindSubmatch(body)
	if action == nil {
		d.t.Fatalf("Dex shows no form at %s: %d\n%s", address, page.StatusCode, body)
	}
	target, err := page.Request.URL.Parse(html.UnescapeString(string(action[1])))
	if err != nil {
		d.t.Fatal(err)
	}
	answer, err := client.PostForm(target.String(), url.Values{"login": {email}, "password": {testPassword}})
	if err != nil {
		d.t.Fatal(err)
	}
	answer.Body.Close()
	location, err := answer.Location()
	if err != nil {
		d.t.Fatalf("Dex answers %d: %v", answer.StatusCode, err)
	}
	return location
}

// idToken signs in as a command line does: by itself, with a client of its own.
func (d *dex) idToken(client, secret, email string) string {
	d.t.Helper()
	config := oauth2.Config{
		ClientID: client, ClientSecret: secret, RedirectURL: "http://localhost:8085/auth/callback", Scopes: []string{"openid", "email", "groups"},
		Endpoint: oauth2.Endpoint{AuthURL: d.issuer + "/auth", TokenURL: d.issuer + "/token"},
	}
	verifier := oauth2.GenerateVerifier()
	back := d.enter(config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), email)
	token, err := config.Exchange(d.t.Context(), back.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		d.t.Fatal(err)
	}
	text, _ := token.Extra("id_token").(string)
	return text
}

// TestDex signs in with a real Dex, in the browser and as a command line, over
// real connections.
func TestDex(t *testing.T) {
	var door *Door
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/auth/") {
			door.Handler().ServeHTTP(w, r)
			return
		}
		door.Identify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, err := Caller(r.Context())
			if err != nil {
				http.Error(w, err.Error(), HTTPStatus(err))
				return
			}
			fmt.Fprintf(w, "%s %s", caller.Name, strings.Join(caller.Groups, ","))
		})).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	d := startDex(t, server.URL)
	w := newWorld(t, map[string]string{"url": server.URL, "oidc.config": fmt.Sprintf(
		"name: Dex\nissuer: %s\nclientID: plumb\nclientSecret: $oidc.dex.clientSecret\ncliClientID: plumb-cli\nrefreshTokenThreshold: 5m\nrequestedScopes: [openid, profile, email, groups, offline_access, 'federated:id']", d.issuer)})
	w.cluster.set(nil, map[string]string{"oidc.dex.clientSecret": "canary-client-secret"})
	w.hide("canary-client-secret")
	w.clock.mutex.Lock()
	w.clock.now = time.Now()
	w.clock.mutex.Unlock()
	door = w.Door
	if err := reachable(t, door); err != nil {
		t.Fatal(err)
	}

	signIn := func(email string) *http.Client {
		jar, _ := cookiejar.New(nil)
		client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if !strings.HasPrefix(r.URL.String(), server.URL) {
				return http.ErrUseLastResponse
			}
			return nil
		}}
		first, err := client.Get(server.URL + "/auth/login?return_url=/whoami")
		if err != nil {
			t.Fatal(err)
		}
		first.Body.Close()
		atDex, err := first.Location()
		if err != nil {
			t.Fatalf("%d\n%s", first.StatusCode, w.log)
		}
		back := d.enter(atDex.String(), email)
		w.hide(back.Query().Get("code"), back.Query().Get("state"))
		end, err := client.Get(back.String())
		if err != nil {
			t.Fatal(err)
		}
		end.Body.Close()
		if end.Request.URL.Path != "/whoami" || end.StatusCode != http.StatusOK {
			t.Fatalf("the sign-in ends at %s with %d\n%s", end.Request.URL.Path, end.StatusCode, w.log)
		}
		return client
	}
	who := func(client *http.Client) string {
		answer, err := client.Get(server.URL + "/whoami")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		own, _ := url.Parse(server.URL)
		for _, cookie := range client.Jar.Cookies(own) {
			w.hide(cookie.Value)
		}
		return string(bytes.TrimSpace(body))
	}
	ann, bob := signIn("ann@example.com"), signIn("bob@example.com")
	for client, want := range map[*http.Client]string{ann: "ann@example.com admins,team-a", bob: "bob@example.com readers"} {
		if got := who(client); got != want {
			t.Errorf("got %q, want %q\n%s", got, want, w.log)
		}
	}

	// Twice, since Dex gives another refresh token each time.
	w.clock.pass(6 * time.Minute)
	for round := 1; round <= 2; round++ {
		if got := who(ann); got != "ann@example.com admins,team-a" || strings.Count(w.log.String(), "session renewed") != round {
			t.Errorf("when the token is about to end: %q\n%s", got, w.log)
		}
	}

	// A command line: client of its own, the ID token as bearer.
	cli := d.idToken("plumb-cli", "", "ann@example.com")
	caller, err := w.call(cli)
	if err != nil || caller.Subject == "" || !slices.Equal(caller.Groups, []string{"admins", "team-a"}) || caller.KubernetesUser != "oidc:ann@example.com" {
		t.Errorf("the command line: %+v, %v\n%s", caller, err, w.log)
	}
	if _, err := w.call(d.idToken("stranger", "canary-stranger-secret", "ann@example.com")); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("a token that Dex has issued for somebody else's program: %v", err)
	}
	out, err := bob.Get(server.URL + "/auth/logout")
	if err != nil {
		t.Fatal(err)
	}
	out.Body.Close()
	if got := who(bob); got != ErrNoSession.Error() {
		t.Errorf("after signing out: %q", got)
	}
}
