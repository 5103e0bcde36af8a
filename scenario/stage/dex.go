package stage

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
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A Dex is a running Dex: an identity provider with people of a story.
type Dex struct {
	issuer  string
	log     *Log
	process *Process
}

// A Person can sign in at a Dex.
type Person struct {
	Email  string
	Groups []string
}

// DexPassword is the password of everybody at Dex.
const DexPassword = "a password at Dex"

// dexGrace is how long Dex may take to begin, and to end.
const dexGrace = 30 * time.Second

// The command line's client is public, and may name any port of its machine.
const dexConfig = `
issuer: %[1]s
storage: {type: memory}
web: {http: %[2]s}
logger: {level: error}
oauth2: {skipApprovalScreen: true}
enablePasswordDB: true
staticPasswords:
%[3]s
staticClients:
- {id: plumb, name: Plumb, secret: a-client-secret, redirectURIs: ['http://127.0.0.1/auth/callback']}
- {id: plumb-cli, name: argocd, public: true}
`

// StartDex starts the Dex at program, with its files in dir, and waits until it
// answers. hash is that of DexPassword.
func StartDex(ctx context.Context, program, dir string, hash []byte, people []Person) (*Dex, error) {
	var passwords strings.Builder
	for _, p := range people {
		name, _, _ := strings.Cut(p.Email, "@")
		fmt.Fprintf(&passwords, "- {email: %s, hash: '%s', username: %s, userID: user-%[3]s, emailVerified: true, groups: [%s]}\n", p.Email, hash, name, strings.Join(p.Groups, ", "))
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	d := &Dex{issuer: "http://" + address + "/dex", log: NewLog(nil)}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "dex.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, dexConfig, d.issuer, address, passwords.String()), 0o600); err != nil {
		return nil, err
	}
	if d.process, err = Start(Command{Name: "Dex", Args: []string{program, "serve", file}, Log: d.log}); err != nil {
		return nil, err
	}
	return d, d.ready(ctx)
}

func (d *Dex) ready(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, dexGrace)
	defer stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.issuer+"/.well-known/openid-configuration", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("Dex does not answer; it said:\n%s", d.log.Tail(20))
		case <-d.process.Done():
			return fmt.Errorf("Dex has ended; it said:\n%s", d.log.Tail(20))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Issuer is its address.
func (d *Dex) Issuer() string { return d.issuer }

// Close ends it.
func (d *Dex) Close() { _ = d.process.Stop(dexGrace) }

// formAction finds where the page of Dex sends its form.
var formAction = regexp.MustCompile(`<form method="post" action="([^"]+)"`)

// SignIn is a person in a browser: it follows an address to the form, fills that
// in, and goes wherever it is sent until somebody answers with a page.
func (d *Dex) SignIn(ctx context.Context, address, email string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar}
	page, at, err := visit(ctx, browser, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	action := formAction.FindSubmatch(page)
	if action == nil {
		return fmt.Errorf("Dex shows no form:\n%s", page)
	}
	target, err := at.Parse(html.UnescapeString(string(action[1])))
	if err != nil {
		return err
	}
	page, at, err = visit(ctx, browser, http.MethodPost, target.String(), url.Values{"login": {email}, "password": {DexPassword}})
	if err != nil {
		return err
	}
	if strings.HasPrefix(at.String(), d.issuer) {
		return fmt.Errorf("Dex lets nobody in as %s:\n%s", email, page)
	}
	return nil
}

// maxPage bounds a page.
const maxPage = 1 << 20

// visit gets a page, and where it was found in the end.
func visit(ctx context.Context, browser *http.Client, method, address string, form url.Values) ([]byte, *url.URL, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader([]byte(form.Encode())))
	if err != nil {
		return nil, nil, err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := browser.Do(request)
	if err != nil {
		return nil, nil, err
	}
	page, err := io.ReadAll(io.LimitReader(answer.Body, maxPage))
	return page, answer.Request.URL, errors.Join(err, answer.Body.Close())
}
