package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/cloud"
	"plumb.dev/plumb/internal/source/faulttest"
	"plumb.dev/plumb/internal/source/registry/signtest"
)

const canary = "pass-canary-word"

func secret(text string) model.Secret { return model.NewSecret([]byte(text)) }

// basic asks for one user and password.
func basic(user, password string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			out.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			out.WriteHeader(http.StatusUnauthorized)
			// Nothing that was sent may come back in a message.
			_, _ = fmt.Fprintf(out, `{"errors":[{"code":"UNAUTHORIZED","message":"not %s nor %s"}]}`, p, r.Header.Get("Authorization"))
			return
		}
		next.ServeHTTP(out, r)
	}
}

func dockerConfig(auths string) model.Secret { return secret(`{"auths":{` + auths + `}}`) }

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	w.push("team/app:latest", simple(t, "content"))
	w.stand(basic("user", canary))
	encoded := base64.StdEncoding.EncodeToString([]byte("user:" + canary))
	for name, one := range map[string]struct {
		auth  model.HTTPAuth
		fails bool
	}{
		"none":             {fails: true},
		"basic":            {auth: model.HTTPAuth{Username: "user", Password: secret(canary)}},
		"wrong":            {auth: model.HTTPAuth{Username: "user", Password: secret(canary + "x")}, fails: true},
		"docker config":    {auth: model.HTTPAuth{DockerConfig: []model.Secret{dockerConfig(fmt.Sprintf(`%q:{"auth":%q}`, w.host, encoded))}}},
		"user in config":   {auth: model.HTTPAuth{DockerConfig: []model.Secret{dockerConfig(fmt.Sprintf(`"http://%s/v2/":{"username":"user","password":%q}`, w.host, canary))}}},
		"old dockercfg":    {auth: model.HTTPAuth{DockerConfig: []model.Secret{secret(fmt.Sprintf(`{%q:{"auth":%q}}`, w.host, encoded))}}},
		"second secret":    {auth: model.HTTPAuth{DockerConfig: []model.Secret{dockerConfig(`"ghcr.io":{"auth":"eDp5"}`), dockerConfig(fmt.Sprintf(`%q:{"auth":%q}`, w.host, encoded))}}},
		"the longest path": {auth: model.HTTPAuth{DockerConfig: []model.Secret{dockerConfig(fmt.Sprintf(`%q:{"auth":"eDp5"},%q:{"auth":%q}`, w.host, w.host+"/team", encoded))}}},
		"another's path":   {auth: model.HTTPAuth{DockerConfig: []model.Secret{dockerConfig(fmt.Sprintf(`%q:{"auth":%q}`, w.host+"/te", encoded))}}, fails: true},
		"of no host":       {auth: model.HTTPAuth{DockerConfig: []model.Secret{dockerConfig(`"ghcr.io":{"auth":"eDp5"}`)}}, fails: true},
		"pattern":          {auth: model.HTTPAuth{DockerConfig: []model.Secret{dockerConfig(fmt.Sprintf(`"127.*.0.1:%s":{"auth":%q}`, w.host[strings.Index(w.host, ":")+1:], encoded))}}},
	} {
		t.Run(name, func(t *testing.T) {
			c, spec := quick(t, Limits{}), w.source("team/app")
			spec.Auth = one.auth
			got, err := c.Resolve(t.Context(), spec)
			if one.fails {
				if fault := wantFault(t, err, reasonPull, "UNAUTHORIZED"); !strings.Contains(fault.Advice, "credential") || strings.Contains(fault.Error(), canary) || strings.Contains(fault.Error(), encoded) {
					t.Errorf("fault %q", fault.Error())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if content, err := pull(t.Context(), c, spec, got); err != nil || content != "content" {
				t.Errorf("got %q, %v", content, err)
			}
		})
	}
}

func TestBrokenCredentials(t *testing.T) {
	for name, one := range map[string]struct {
		auth model.HTTPAuth
		want string
	}{
		"no JSON":   {model.HTTPAuth{DockerConfig: []model.Secret{secret(canary)}}, "docker config"},
		"no base64": {model.HTTPAuth{DockerConfig: []model.Secret{dockerConfig(`"ghcr.io":{"auth":"` + canary + `"}`)}}, "docker config"},
		"no CA":     {model.HTTPAuth{CA: []byte(canary)}, "holds no certificate"},
		"half TLS":  {model.HTTPAuth{ClientKey: secret(canary)}, "client certificate"},
		"no proxy":  {model.HTTPAuth{Proxy: &model.Proxy{Address: "ftp://proxy"}}, `proxies of scheme "ftp"`},
		"no cloud":  {model.HTTPAuth{Workload: &model.WorkloadIdentity{Provider: "aws"}}, "credentials of aws cannot be had here"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := quick(t, Limits{}).Resolve(t.Context(), &model.OCISource{URL: "ghcr.io/app", Auth: one.auth})
			if fault := wantFault(t, err, reasonAuthentication, one.want); strings.Contains(fault.Error(), canary) {
				t.Errorf("the secret stands in %q", fault.Error())
			}
		})
	}
}

func TestDockerHubHasOneName(t *testing.T) {
	var ring dockerRing
	if err := ring.add([]byte(`{"auths":{"https://index.docker.io/v1/":{"username":"hub","password":"x"},"*.example.com":{"username":"star","password":"x"},"quay.io/one":{"username":"one","password":"x"}}}`)); err != nil {
		t.Fatal(err)
	}
	ring.order()
	for address, want := range map[string]string{
		"bitnami/nginx": "hub", "docker.io/bitnami/nginx": "hub", "a.example.com/x": "star", "b.a.example.com/x": "", "quay.io/one/x": "one", "quay.io/onetwo": "",
	} {
		repo, err := parseRepository(address, false)
		if err != nil {
			t.Fatal(err)
		}
		found, err := ring.Resolve(repo)
		if err != nil {
			t.Fatal(err)
		}
		login, err := found.Authorization()
		if err != nil || login.Username != want {
			t.Errorf("%s: got %q, %v, want %q", address, login.Username, err, want)
		}
	}
}

// TestBearer walks the token protocol: the registry names a realm, which hands
// out tokens for the declared login.
func TestBearer(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	w.stand(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == "/token" {
			if u, p, _ := r.BasicAuth(); u != "user" || p != canary || r.URL.Query().Get("scope") != "repository:app:pull" {
				out.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = io.WriteString(out, `{"token":"short-lived"}`)
			return
		}
		if r.Header.Get("Authorization") != "Bearer short-lived" && r.Header.Get("Authorization") != "Bearer declared" {
			out.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="registry"`, w.host))
			out.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(out, r)
	})
	for name, auth := range map[string]model.HTTPAuth{
		"exchanged": {Username: "user", Password: secret(canary)},
		"declared":  {BearerToken: secret("declared")},
	} {
		t.Run(name, func(t *testing.T) {
			c, spec := quick(t, Limits{}), w.source("app")
			spec.Auth = auth
			for range 3 {
				resolve(t, c, spec)
			}
			if n := w.count(http.MethodGet, "/token"); n != 1 && name == "exchanged" {
				t.Errorf("%d tokens for three looks", n)
			}
		})
	}
}

// logins is a cloud.
type logins struct {
	mu    sync.Mutex
	asked []string
	err   error
}

func (l *logins) RegistryLogin(_ context.Context, caller cloud.Caller, host string) (cloud.Login, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, caller.Identity.Provider+" "+caller.Identity.Account+" "+host)
	return cloud.Login{Username: "user", Password: secret(canary)}, l.err
}

func TestWorkloadIdentity(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	w.stand(basic("user", canary))
	given := &logins{}
	c := New(Options{Dir: t.TempDir(), Cloud: given})
	spec := w.source("app")
	spec.Auth.Workload = &model.WorkloadIdentity{Provider: "aws", Account: "reader", Namespace: "apps"}
	resolve(t, c, spec)
	if want := "aws reader " + w.host; len(given.asked) == 0 || given.asked[0] != want {
		t.Errorf("asked %q, want %q", given.asked, want)
	}
	// A Secret goes before the cloud.
	asked := len(given.asked)
	spec.Auth.Username, spec.Auth.Password = "user", secret(canary)
	if resolve(t, c, spec); len(given.asked) != asked {
		t.Error("the cloud was asked although there is a Secret")
	}
	given.err = &model.Fault{Reason: reasonAuthentication, Message: "failed to get credential from aws: no"}
	spec.Auth = model.HTTPAuth{Workload: &model.WorkloadIdentity{Provider: "aws", Account: "other"}}
	_, err := c.Resolve(t.Context(), spec)
	faulttest.Expect(t, err, reasonAuthentication, "failed to get credential from aws: no")
}

// authority signs certificates for a test.
type authority struct {
	*signtest.Authority
	t *testing.T
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	return &authority{must(signtest.NewAuthority())(t), t}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	return must(signtest.NewKey())(t)
}

// pair is a certificate for a server or client and its key, in PEM.
func (a *authority) pair() (cert, key []byte) {
	a.t.Helper()
	private := newKey(a.t)
	signed := must(a.Issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &private.PublicKey))(a.t)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// secured serves a handler by TLS, asking for client certificates but not
// insisting.
func (a *authority) secured(handler http.Handler) *httptest.Server {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.pair())
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	a.t.Cleanup(server.Close)
	return server
}

// TestCredentialsStayAtHome: the registry sees the login and the client
// certificate, the storage that it redirects to sees neither.
func TestCredentialsStayAtHome(t *testing.T) {
	w, ca := newWorld(t), newAuthority(t)
	w.push("app:latest", simple(t, "content"))
	var seen struct {
		sync.Mutex
		home, away, leaks int
	}
	storage := ca.secured(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		seen.Lock()
		seen.away++
		if r.Header.Get("Authorization") != "" || len(r.TLS.PeerCertificates) > 0 || r.Header.Get("Cookie") != "" {
			seen.leaks++
		}
		seen.Unlock()
		_, _ = io.WriteString(out, "content")
	}))
	home := ca.secured(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			out.WriteHeader(http.StatusForbidden)
			return
		}
		seen.Lock()
		seen.home++
		seen.Unlock()
		if strings.Contains(r.URL.Path, "/blobs/") {
			if _, _, ok := r.BasicAuth(); !ok {
				out.WriteHeader(http.StatusForbidden)
				return
			}
			http.Redirect(out, r, storage.URL+"/signed?token=of-the-storage", http.StatusTemporaryRedirect)
			return
		}
		basic("user", canary)(out, r, w.inner)
	}))
	cert, key := ca.pair()
	spec := &model.OCISource{URL: strings.TrimPrefix(home.URL, "https://") + "/app", Auth: model.HTTPAuth{
		Username: "user", Password: secret(canary), CA: ca.PEM(), ClientCert: cert, ClientKey: model.NewSecret(key),
	}}
	c := quick(t, Limits{})
	if content, err := pull(t.Context(), c, spec, resolve(t, c, spec)); err != nil || content != "content" {
		t.Fatalf("got %q, %v", content, err)
	}
	if seen.home == 0 || seen.away != 1 || seen.leaks != 0 {
		t.Errorf("home was asked %d times, the storage %d times with %d leaks", seen.home, seen.away, seen.leaks)
	}

	spec.Auth.CA = nil
	_, err := c.Resolve(t.Context(), spec)
	if fault := wantFault(t, err, reasonPull, "certificate"); fault.Retry {
		t.Errorf("a certificate that is not trusted is asked for again: %v", fault)
	}
	spec.Auth.Insecure = true
	resolve(t, c, spec)
}

// TestRedirectKeepsItsSecrets: what a storage answers is told without the
// address that it was reached by, which is a credential.
func TestRedirectKeepsItsSecrets(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	storage := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusForbidden) }))
	defer storage.Close()
	w.stand(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			// By name: a redirect from a private address to another is refused anyway.
			http.Redirect(out, r, strings.Replace(storage.URL, "127.0.0.1", "localhost", 1)+"/x?X-Amz-Signature="+canary, http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(out, r)
	})
	c, spec := quick(t, Limits{}), w.source("app")
	_, err := pull(t.Context(), c, spec, resolve(t, c, spec))
	if fault := wantFault(t, err, reasonPull, "403 Forbidden"); strings.Contains(fault.Error(), canary) {
		t.Errorf("the signature stands in %q", fault.Error())
	}
}

func TestRedirectToAMetadataServer(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	w.stand(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(out, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(out, r)
	})
	c, spec := quick(t, Limits{}), w.source("app")
	_, err := pull(t.Context(), c, spec, resolve(t, c, spec))
	faulttest.Expect(t, err, reasonPull, "denied")
}

// TestPlainByProxy: a registry that is reached only by a proxy and speaks plain
// HTTP, which must be asked for.
func TestPlainByProxy(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	behind, err := url.Parse(w.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(behind)
	proxy := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("way:"+canary)); r.Header.Get("Proxy-Authorization") != want {
			out.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method == http.MethodConnect { // no TLS
			out.WriteHeader(http.StatusBadGateway)
			return
		}
		forward.ServeHTTP(out, r)
	}))
	defer proxy.Close()
	spec := &model.OCISource{URL: "registry.example.com/app", Auth: model.HTTPAuth{
		Plain: true, Proxy: &model.Proxy{Address: proxy.URL, Username: "way", Password: secret(canary)},
	}}
	c := quick(t, Limits{})
	if content, err := pull(t.Context(), c, spec, resolve(t, c, spec)); err != nil || content != "content" {
		t.Errorf("got %q, %v", content, err)
	}
	spec.Auth.Plain = false
	_, err = c.Resolve(t.Context(), spec)
	faulttest.Expect(t, err, reasonPull, "Bad Gateway")
}

func TestCallerGivesUp(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	held := make(chan struct{})
	defer close(held)
	entered := make(chan struct{}, 8)
	w.stand(func(out http.ResponseWriter, r *http.Request, _ http.Handler) {
		entered <- struct{}{}
		select {
		case <-held:
		case <-r.Context().Done():
		}
	})
	why := errors.New("superseded")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-entered
		cancel(why)
	}()
	if _, err := quick(t, Limits{Timeout: time.Minute}).Resolve(ctx, w.source("app")); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}
