package source

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"plumb.dev/plumb/internal/model"
)

const canary = "c4n4ry-s3cr3t"

func secret(s string) model.Secret { return model.NewSecret([]byte(s)) }

// noSecret fails when an error shows the canary in any form.
func noSecret(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%q", err)} {
		if strings.Contains(text, canary) {
			t.Errorf("the error shows a secret: %s", text)
		}
	}
}

func TestHTTPCredentials(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	srv := serve(t, r.dir)
	srv.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, basic := r.BasicAuth()
		if basic && user == "ada" && password == canary || r.Header.Get("Authorization") == "Bearer "+canary {
			return false
		}
		// A server that repeats what it was sent.
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, "no entry for %s %s %s", user, password, r.Header.Get("Authorization"))
		return true
	})
	store := openStore(t, t.TempDir(), Limits{})
	fetch := func(address string, auth model.GitAuth) error {
		_, err := store.Fetch(context.Background(), gitSource(address, func(s *model.Source) { s.Git.Auth = auth }), nil, nil)
		return err
	}
	for name, err := range map[string]error{
		"basic":  fetch(srv.url, model.GitAuth{Username: "ada", Password: secret(canary)}),
		"bearer": fetch(srv.url, model.GitAuth{BearerToken: secret(canary)}),
		"url":    fetch(strings.Replace(srv.url, "//", "//ada:"+canary+"@", 1), model.GitAuth{}),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"nobody":      fetch(srv.url, model.GitAuth{}),
		"wrong user":  fetch(srv.url, model.GitAuth{Username: "eve", Password: secret(canary)}),
		"wrong token": fetch(srv.url, model.GitAuth{BearerToken: secret(canary + "x")}),
		"token user":  fetch(strings.Replace(srv.url, "//", "//"+canary+"@", 1), model.GitAuth{}),
	} {
		mustFail(t, err, "GitOperationFailed", "authentication required", "spec.secretRef")
		noSecret(t, err)
		if name == "nobody" && !strings.Contains(err.Error(), srv.url) {
			t.Errorf("the message does not name the repository: %s", err)
		}
	}
	for _, auth := range []model.GitAuth{
		{Password: secret(canary)},
		{Username: "ada", Password: secret(canary), BearerToken: secret(canary)},
		{ClientCert: []byte("x")},
		{ClientCert: []byte("x"), ClientKey: secret(canary)},
		{CA: []byte("x")},
		{Proxy: &model.Proxy{Address: "gopher://" + canary}},
		{GitHubApp: &model.GitHubApp{AppID: "1", InstallationID: "2", PrivateKey: secret(canary)}},
	} {
		err := fetch(srv.url, auth)
		mustFail(t, err, "AuthenticationFailed", "failed to configure authentication options: ")
		noSecret(t, err)
	}
	for _, bad := range []string{"file:///etc", "ext::sh -c x", "git://host/x", "http://", "/etc"} {
		mustFail(t, fetch(bad, model.GitAuth{}), "URLInvalid")
	}
}

func TestTLS(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	count := &server{}
	h := httptest.NewUnstartedServer(count.handler(t, r.dir))
	certificate, key := clientCertificate(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	h.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	h.Config.ErrorLog = quiet()
	h.StartTLS()
	t.Cleanup(h.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	store := openStore(t, t.TempDir(), Limits{})
	fetch := func(auth model.GitAuth) error {
		_, err := store.Fetch(context.Background(), gitSource(h.URL, func(s *model.Source) { s.Git.Auth = auth }), nil, nil)
		return err
	}
	if err := fetch(model.GitAuth{CA: ca, ClientCert: certificate, ClientKey: model.NewSecret(key)}); err != nil {
		t.Error(err)
	}
	mustFail(t, fetch(model.GitAuth{ClientCert: certificate, ClientKey: model.NewSecret(key)}), "GitOperationFailed", "certificate")
	mustFail(t, fetch(model.GitAuth{CA: ca}), "GitOperationFailed")
}

func TestRedirectsKeepCredentialsAtHome(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	elsewhere := serve(t, r.dir)
	var leaked atomic.Bool
	elsewhere.onRequest(func(_ http.ResponseWriter, r *http.Request) bool {
		leaked.Store(leaked.Load() || r.Header.Get("Authorization") != "")
		return false
	})
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			t.Error("the declared host must see the credentials")
		}
		http.Redirect(w, r, strings.Replace(elsewhere.url, "127.0.0.1", "localhost", 1)+r.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(home.Close)
	store := openStore(t, t.TempDir(), Limits{})
	mustFetch(t, store, gitSource(home.URL, func(s *model.Source) {
		s.Git.Auth = model.GitAuth{Username: "ada", Password: secret(canary)}
	}), nil)
	if leaked.Load() {
		t.Error("credentials followed a redirect to another host")
	}
}

func TestHTTPProxy(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	srv := serve(t, r.dir)
	var used atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		user, password, _ := parseProxyAuth(request)
		if user != "p" || password != canary {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		used.Add(1)
		request.RequestURI = ""
		request.Header.Del("Proxy-Authorization")
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = response.Body.Close() }()
		w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body)
	}))
	t.Cleanup(proxy.Close)
	store := openStore(t, t.TempDir(), Limits{})
	through := func(password string) model.Source {
		return gitSource(srv.url, func(s *model.Source) {
			s.Git.Auth.Proxy = &model.Proxy{Address: proxy.URL, Username: "p", Password: secret(password)}
		})
	}
	mustFetch(t, store, through(canary), nil)
	if used.Load() == 0 {
		t.Error("the proxy was not used")
	}
	_, err := store.Fetch(context.Background(), through(canary+"wrong"), nil, nil)
	mustFail(t, err, "GitOperationFailed", "407")
	noSecret(t, err)
}

func parseProxyAuth(r *http.Request) (user, password string, ok bool) {
	clone := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	return clone.BasicAuth()
}

// sshServer runs git-upload-pack for one key.
type sshServer struct {
	address     string
	knownHosts  []byte
	connections atomic.Int64
	closeAll    func()
}

func newSSHServer(t *testing.T, client ssh.PublicKey) *sshServer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), client.Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sshServer{address: listener.Addr().String()}
	s.knownHosts = []byte(knownhosts.Line([]string{s.address}, host.PublicKey()) + "\n")
	open := make(chan net.Conn, 100)
	s.closeAll = func() {
		for {
			select {
			case c := <-open:
				_ = c.Close()
			default:
				return
			}
		}
	}
	t.Cleanup(func() { _ = listener.Close(); s.closeAll() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			open <- conn
			go serveSSH(conn, config)
		}
	}()
	return s
}

func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			for request := range requests {
				if request.Type != "exec" {
					_ = request.Reply(false, nil)
					continue
				}
				var payload struct{ Command string }
				_ = ssh.Unmarshal(request.Payload, &payload)
				_ = request.Reply(true, nil)
				go runSSHCommand(channel, payload.Command)
			}
		}()
	}
}

func runSSHCommand(channel ssh.Channel, command string) {
	defer func() { _ = channel.Close() }()
	quoted, ok := strings.CutPrefix(command, "git-upload-pack ")
	if !ok {
		_, _ = fmt.Fprintf(channel.Stderr(), "not allowed: %s\n", command)
		return
	}
	cmd := exec.Command("sh", "-c", "git upload-pack "+quoted)
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	go func() { _, _ = io.Copy(in, channel); _ = in.Close() }()
	status := uint32(0)
	if err := cmd.Run(); err != nil {
		status = 128
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

// lockedSSHKey is a key pair whose private key is encrypted with the canary. It
// is a file since making and reading one is slow on purpose, and many times so
// under the race detector: this one has a single round (ssh-keygen -a 1).
func lockedSSHKey(t *testing.T) (ssh.PublicKey, []byte) {
	t.Helper()
	private, err := os.ReadFile(filepath.Join("testdata", "ssh", "locked"))
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(filepath.Join("testdata", "ssh", "locked.pub"))
	if err != nil {
		t.Fatal(err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func sshKey(t *testing.T) (ssh.PublicKey, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer.PublicKey(), pem.EncodeToMemory(block)
}

func TestSSH(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1", "b.yaml", "1")
	public, private := lockedSSHKey(t)
	srv := newSSHServer(t, public)
	store := openStore(t, t.TempDir(), Limits{})
	spec := func(change func(*model.GitAuth)) model.Source {
		return gitSource("ssh://git@"+srv.address+r.dir, func(s *model.Source) {
			s.Git.Auth = model.GitAuth{SSHKey: model.NewSecret(private), SSHKeyPassphrase: secret(canary), KnownHosts: srv.knownHosts}
			change(&s.Git.Auth)
		})
	}
	good := spec(func(*model.GitAuth) {})
	tree := mustFetch(t, store, good, nil)
	hash := r.commit("a.yaml", "2")
	next := mustFetch(t, store, good, tree)
	if next.Revision() != "main@sha1:"+hash || read(t, next, "a.yaml") != "2" || read(t, next, "b.yaml") != "1" {
		t.Error("wrong content")
	}
	if n := srv.connections.Load(); n != 1 {
		t.Errorf("%d connections: one is kept", n)
	}
	srv.closeAll()
	if again := mustFetch(t, store, good, next); again != next {
		t.Error("a lost connection must be replaced")
	}
	if n := srv.connections.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}

	_, other := sshKey(t)
	stranger := newSSHServer(t, public)
	for name, c := range map[string]struct {
		auth   func(*model.GitAuth)
		reason string
		want   string
	}{
		"no key":           {func(a *model.GitAuth) { a.SSHKey = model.Secret{} }, "AuthenticationFailed", "'identity' is required"},
		"no known_hosts":   {func(a *model.GitAuth) { a.KnownHosts = nil }, "AuthenticationFailed", "'known_hosts' is required"},
		"no passphrase":    {func(a *model.GitAuth) { a.SSHKeyPassphrase = model.Secret{} }, "AuthenticationFailed", "no 'password' field"},
		"wrong passphrase": {func(a *model.GitAuth) { a.SSHKeyPassphrase = secret(canary + "x") }, "AuthenticationFailed", "cannot be decrypted"},
		"no PEM":           {func(a *model.GitAuth) { a.SSHKey = secret(canary) }, "AuthenticationFailed", "cannot be parsed"},
		"unknown host":     {func(a *model.GitAuth) { a.KnownHosts = []byte("# nobody\n") }, "GitOperationFailed", "key is unknown"},
		"bad known_hosts":  {func(a *model.GitAuth) { a.KnownHosts = []byte(canary + " x y\n") }, "AuthenticationFailed", "cannot be parsed"},
		"key of another":   {func(a *model.GitAuth) { a.SSHKey = model.NewSecret(other); a.SSHKeyPassphrase = model.Secret{} }, "GitOperationFailed", "accepts none of the keys"},
		"changed host key": {func(a *model.GitAuth) {
			a.KnownHosts = []byte(strings.Replace(string(stranger.knownHosts), stranger.address[10:], srv.address[10:], 1))
		}, "GitOperationFailed", "key mismatch"},
		"unknown proxy": {func(a *model.GitAuth) { a.Proxy = &model.Proxy{Address: "ftp://x"} }, "AuthenticationFailed", "proxies of scheme"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := store.Fetch(context.Background(), spec(c.auth), nil, nil)
			mustFail(t, err, c.reason, c.want)
			noSecret(t, err)
		})
	}
	missing := spec(func(*model.GitAuth) {})
	missing.Git.URL = "ssh://git@" + srv.address + "/no/such'; repository"
	_, err := store.Fetch(context.Background(), missing, nil, nil)
	mustFail(t, err, "GitOperationFailed", "does not appear to be a git repository")
}

func TestSSHThroughProxies(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	public, private := sshKey(t)
	srv := newSSHServer(t, public)
	for scheme, start := range map[string]func(*testing.T) string{"http": connectProxy, "socks5": socksProxy} {
		t.Run(scheme, func(t *testing.T) {
			address := start(t)
			store := openStore(t, t.TempDir(), Limits{})
			with := func(password string) model.Source {
				return gitSource("ssh://git@"+srv.address+r.dir, func(s *model.Source) {
					s.Git.Auth = model.GitAuth{SSHKey: model.NewSecret(private), KnownHosts: srv.knownHosts}
					s.Git.Auth.Proxy = &model.Proxy{Address: scheme + "://" + address, Username: "p", Password: secret(password)}
				})
			}
			mustFetch(t, store, with(canary), nil)
			_, err := store.Fetch(context.Background(), with(canary+"wrong"), nil, nil)
			mustFail(t, err, "GitOperationFailed")
			noSecret(t, err)
		})
	}
}

func connectProxy(t *testing.T) string {
	t.Helper()
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := parseProxyAuth(r); r.Method != http.MethodConnect || user != "p" || password != canary {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		relay(client, to)
	}))
	t.Cleanup(h.Close)
	return strings.TrimPrefix(h.URL, "http://")
}

func relay(a, b net.Conn) {
	go func() { _, _ = io.Copy(a, b); _ = a.Close() }()
	_, _ = io.Copy(b, a)
	_ = b.Close()
}

// socksProxy speaks as much of RFC 1928 and 1929 as a client with a password
// and an IPv4 target needs.
func socksProxy(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				in := bufio.NewReader(conn)
				head := make([]byte, 2)
				_, _ = io.ReadFull(in, head)
				_, _ = in.Discard(int(head[1]))
				_, _ = conn.Write([]byte{5, 2})
				_, _ = io.ReadFull(in, head)
				user := make([]byte, head[1])
				_, _ = io.ReadFull(in, user)
				n, _ := in.ReadByte()
				password := make([]byte, n)
				_, _ = io.ReadFull(in, password)
				if string(user) != "p" || string(password) != canary {
					_, _ = conn.Write([]byte{1, 1})
					_ = conn.Close()
					return
				}
				_, _ = conn.Write([]byte{1, 0})
				request := make([]byte, 10)
				_, _ = io.ReadFull(in, request)
				to, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: request[4:8], Port: int(request[8])<<8 | int(request[9])})
				if err != nil {
					_ = conn.Close()
					return
				}
				_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
				relay(conn, to)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestGitHubApp(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	srv := serve(t, r.dir)
	srv.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "x-access-token" && password == canary {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var minted atomic.Int64
	lifetime := time.Hour
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !validClaim(r.Header.Get("Authorization"), &key.PublicKey, "42") {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"message":"A JSON web token could not be decoded"}`)
			return
		}
		switch r.URL.RequestURI() {
		case "/app/installations?per_page=100&page=1":
			_, _ = io.WriteString(w, `[{"id":6,"account":{"login":"other"}},{"id":7,"account":{"login":"Acme"}}]`)
		case "/app/installations/7/access_tokens":
			minted.Add(1)
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(map[string]any{"token": canary, "expires_at": time.Now().Add(lifetime)})
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"Not Found"}`)
		}
	}))
	t.Cleanup(api.Close)
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	store := openStore(t, t.TempDir(), Limits{})
	spec := func(change func(*model.GitHubApp)) model.Source {
		return gitSource(srv.url, func(s *model.Source) {
			s.Git.Auth.GitHubApp = &model.GitHubApp{AppID: "42", InstallationID: "7", PrivateKey: model.NewSecret(text), BaseURL: api.URL}
			change(s.Git.Auth.GitHubApp)
		})
	}
	first := mustFetch(t, store, spec(func(*model.GitHubApp) {}), nil)
	mustFetch(t, store, spec(func(*model.GitHubApp) {}), first)
	if minted.Load() != 1 {
		t.Errorf("%d tokens were minted", minted.Load())
	}
	mustFetch(t, store, spec(func(a *model.GitHubApp) { a.InstallationID, a.InstallationOwner = "", "acme" }), nil)
	lifetime = tokenSpare - time.Second
	short := openStore(t, t.TempDir(), Limits{})
	minted.Store(0)
	mustFetch(t, short, spec(func(*model.GitHubApp) {}), nil)
	if minted.Load() != 2 {
		t.Errorf("%d tokens: one that is about to end must be renewed", minted.Load())
	}
	for want, change := range map[string]func(*model.GitHubApp){
		"404 Not Found":                func(a *model.GitHubApp) { a.InstallationID = "8" },
		"401 A JSON web token":         func(a *model.GitHubApp) { a.AppID = "43" },
		"not installed for \"nobody\"": func(a *model.GitHubApp) { a.InstallationID, a.InstallationOwner = "", "nobody" },
		"neither an installation":      func(a *model.GitHubApp) { a.InstallationID = "" },
		"not an RSA key":               func(a *model.GitHubApp) { a.PrivateKey = secret(canary) },
	} {
		_, err := store.Fetch(context.Background(), spec(change), nil, nil)
		mustFail(t, err, "AuthenticationFailed", want)
		noSecret(t, err)
	}
}

func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
