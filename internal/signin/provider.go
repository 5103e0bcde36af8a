package signin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"plumb.dev/plumb/internal/model"
)

const (
	providerTimeout = 20 * time.Second
	maxAnswer       = 1 << 20   // bytes of one answer of the provider
	discoveryHolds  = time.Hour // how long what discovery said is believed
	discoveryRetry  = 10 * time.Second
	// issuedAhead is by how much a provider's clock may be ahead of ours.
	issuedAhead = 5 * time.Minute
)

// algorithms are those that a provider may sign with: all of them have a public
// key, so that none can be forged with what is published.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512,
	oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// provider is the connection to the identity provider of one configuration.
type provider struct {
	config *providerConfig
	client *http.Client
	now    func() time.Time

	turn   chan struct{} // held by whoever asks for discovery
	mutex  sync.Mutex
	found  *discovery
	tried  time.Time
	failed error
}

// discovery is what the provider says about itself.
type discovery struct {
	at       time.Time
	endpoint oauth2.Endpoint
	userInfo string
	keys     *keys
	verifier func(now time.Time, expired bool) *oidc.IDTokenVerifier
}

// connect returns the provider of the settings.
func (d *Door) connect(setup *setup) *provider {
	known := d.provider.Load()
	if known != nil && known.config.digest == setup.provider.digest {
		return known
	}
	fresh := &provider{
		config: setup.provider, now: d.options.Now, turn: make(chan struct{}, 1),
		client: d.clientFor(setup.provider),
	}
	d.provider.CompareAndSwap(known, fresh)
	return fresh
}

// clientFor returns the HTTP client that asks the provider: bounded, and never
// led from encryption to plain text.
func (d *Door) clientFor(config *providerConfig) *http.Client {
	transport := d.options.Transport
	if transport == nil {
		tlsConfig := &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: config.insecureTLS, // oidc.tls.insecure.skip.verify; a finding says so
		}
		if config.RootCA != "" {
			pool := x509.NewCertPool()
			if pool.AppendCertsFromPEM([]byte(config.RootCA)) {
				tlsConfig.RootCAs = pool
			} else {
				d.log.Error("rootCA in oidc.config holds no certificate; the system's are used")
			}
		}
		transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       tlsConfig,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: providerTimeout,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   4,
			ForceAttemptHTTP2:     true,
		}
	}
	if config.Azure != nil && config.Azure.UseWorkloadIdentity {
		transport = &asserting{next: transport, token: d.options.FederatedToken}
	}
	return &http.Client{
		Transport: &bounded{next: transport},
		Timeout:   providerTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 5 || (via[0].URL.Scheme == "https" && r.URL.Scheme != "https") {
				return errors.New("the identity provider redirects too often, or to plain text")
			}
			return nil
		},
	}
}

// bounded refuses answers that are longer than any honest one.
type bounded struct{ next http.RoundTripper }

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = &boundedBody{body: response.Body, left: maxAnswer}
	return response, nil
}

type boundedBody struct {
	body io.ReadCloser
	left int
}

var errLongAnswer = errors.New("the answer of the identity provider is too long")

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLongAnswer
	}
	n, err := b.body.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (b *boundedBody) Close() error { return b.body.Close() }

// asserting adds the assertion of workload identity to requests for tokens, which
// stands for the client's secret. (upstream: azure.useWorkloadIdentity)
type asserting struct {
	next  http.RoundTripper
	token func() ([]byte, error)
}

func (a *asserting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return a.next.RoundTrip(r)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	assertion, err := a.token()
	if err != nil {
		return nil, err
	}
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", string(bytes.TrimSpace(assertion)))
	asserted := r.Clone(r.Context())
	text := form.Encode()
	asserted.Body = io.NopCloser(strings.NewReader(text))
	asserted.ContentLength = int64(len(text))
	asserted.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return a.next.RoundTrip(asserted)
}

// discover returns what the provider says about itself, asked at most every ten
// seconds when it fails, and every hour when it does not.
func (p *provider) discover(ctx context.Context) (*discovery, error) {
	if found, done, err := p.discovered(); done {
		return found, err
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, refuse(ErrUnavailable, "discovery takes too long")
	}
	if found, done, err := p.discovered(); done {
		return found, err
	}
	found, err := p.ask(ctx)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err != nil && ctx.Err() != nil && p.found == nil {
		return nil, refuseFor(ErrUnavailable, "discovery of the identity provider", err) // says nothing about the provider
	}
	p.tried = p.now()
	if err != nil {
		p.failed = refuseFor(ErrUnavailable, "discovery of the identity provider", err)
		if p.found != nil {
			return p.found, nil
		}
		return nil, p.failed
	}
	p.found, p.failed = found, nil
	return found, nil
}

// discovered answers from memory when that is good enough.
func (p *provider) discovered() (found *discovery, done bool, err error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := p.now()
	switch {
	case p.found != nil && now.Sub(p.found.at) < discoveryHolds:
		return p.found, true, nil
	case !p.tried.IsZero() && now.Sub(p.tried) < discoveryRetry:
		if p.found != nil {
			return p.found, true, nil
		}
		return nil, true, p.failed
	}
	return nil, false, nil
}

func (p *provider) ask(ctx context.Context) (*discovery, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), providerTimeout)
	defer cancel()
	answer, err := oidc.NewProvider(ctx, p.config.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		Keys        string   `json:"jwks_uri"`
		Algorithms  []string `json:"id_token_signing_alg_values_supported"`
		AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := answer.Claims(&more); err != nil {
		return nil, err
	}
	endpoint := answer.Endpoint()
	for _, address := range []string{more.Keys, endpoint.TokenURL, endpoint.AuthURL} {
		if !webAddress(address) || (strings.HasPrefix(p.config.Issuer, "https://") && !strings.HasPrefix(address, "https://")) {
			return nil, errors.New("discovery names an endpoint that is missing or not encrypted")
		}
	}
	switch {
	case p.config.ClientSecret == "",
		slices.Contains(more.AuthMethods, "client_secret_post") && !slices.Contains(more.AuthMethods, "client_secret_basic"):
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	allowed := allowedAlgorithms(more.Algorithms)
	found := &discovery{
		at: p.now(), endpoint: endpoint, userInfo: answer.UserInfoEndpoint(),
		keys: newKeys(more.Keys, p.client, allowed, p.now),
	}
	p.mutex.Lock()
	if p.found != nil && p.found.keys.url == found.keys.url {
		found.keys = p.found.keys
	}
	p.mutex.Unlock()
	found.verifier = func(now time.Time, expired bool) *oidc.IDTokenVerifier {
		return oidc.NewVerifier(p.config.Issuer, found.keys, &oidc.Config{
			SkipClientIDCheck:    true, // verify checks the audience: there are several
			SupportedSigningAlgs: allowed,
			SkipExpiryCheck:      expired,
			Now:                  func() time.Time { return now.Add(-leeway) },
		})
	}
	return found, nil
}

// allowedAlgorithms are those of ours that the provider announces; RS256 when it
// announces none, as the standard has it.
func allowedAlgorithms(announced []string) []string {
	var allowed []string
	for _, algorithm := range algorithms {
		if slices.Contains(announced, algorithm) {
			allowed = append(allowed, algorithm)
		}
	}
	if len(allowed) == 0 {
		return []string{oidc.RS256}
	}
	return allowed
}

// verify checks an ID token: issuer, algorithm, signature, times and audience.
// (upstream: providerImpl.Verify)
func (p *provider) verify(ctx context.Context, token string) (*oidc.IDToken, claimsOf, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return nil, nil, err
	}
	now := p.now()
	verified, err := found.verifier(now, false).Verify(ctx, token)
	var expired *oidc.TokenExpiredError
	switch {
	case errors.As(err, &expired):
		return nil, nil, refuse(ErrExpired, "the ID token has expired")
	case errors.Is(err, errKeysUnavailable):
		return nil, nil, refuseFor(ErrUnavailable, "the keys of the identity provider", err)
	case err != nil:
		return nil, nil, refuseFor(ErrInvalidSession, "the ID token is not valid", err)
	case !p.meant(verified.Audience):
		return nil, nil, refuse(ErrInvalidSession, "the ID token is made for another audience")
	case verified.IssuedAt.After(now.Add(issuedAhead)):
		return nil, nil, refuse(ErrInvalidSession, "the ID token is issued in the future")
	case verified.Subject == "":
		return nil, nil, refuse(ErrInvalidSession, "the ID token has no subject")
	}
	var claims claimsOf
	if err := verified.Claims(&claims); err != nil {
		return nil, nil, refuseFor(ErrInvalidSession, "the claims of the ID token", err)
	}
	return verified, claims, nil
}

func (p *provider) meant(audience []string) bool {
	if len(audience) == 0 {
		return p.config.SkipAudienceCheck
	}
	allowed := p.config.audiences()
	return slices.ContainsFunc(audience, func(a string) bool { return a != "" && slices.Contains(allowed, a) })
}

// oauth returns the client's side of the authorisation code flow.
func (p *provider) oauth(found *discovery, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret,
		Endpoint: found.endpoint, Scopes: p.config.scopes(), RedirectURL: redirect,
	}
}

// unreachable turns a failure of discovery into what an administrator can act on.
func (p *provider) unreachable(err error) *model.Fault {
	return &model.Fault{
		Reason: "ProviderUnavailable", Message: "the identity provider " + p.config.Issuer + " cannot be asked: " + reasonOf(err), Retry: true,
		Advice: "issuer in oidc.config must be exactly what <issuer>/.well-known/openid-configuration says, a trailing slash included, and be reachable from the server",
		Err:    err,
	}
}
