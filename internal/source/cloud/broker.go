package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// Tokens asks the Kubernetes API for a token of a service account
// (TokenRequest) that only the given audiences accept.
type Tokens interface {
	ServiceAccountToken(ctx context.Context, namespace, name string, audiences []string) (string, error)
}

// Options configure a Broker.
type Options struct {
	// Tokens serves identities that name a service account; nil: they are
	// refused.
	Tokens Tokens
	// Transport reaches the clouds; nil: one that goes through the caller's
	// proxy.
	Transport http.RoundTripper
	// Timeout of one exchange; 30 s when zero.
	Timeout time.Duration
	// Now is the clock that credentials grow old by; time.Now when nil.
	Now func() time.Time
}

// Broker hands out credentials. It is safe for concurrent use; callers that ask
// for the same at the same time share one exchange.
type Broker struct {
	options Options
	cluster gkeCluster
	flights singleflight.Group

	mu   sync.Mutex
	kept map[string]kept
}

// kept is a credential that may be handed out until a time.
type kept struct {
	credential any
	until      time.Time
}

// maxKept bounds how many credentials are remembered.
const maxKept = 1024

// New returns a broker. Nothing is asked before a credential is.
func New(o Options) *Broker {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Broker{options: o, kept: map[string]kept{}}
}

// Caller is who wants a credential, and the way to the cloud.
type Caller struct {
	Identity model.WorkloadIdentity
	Proxy    *model.Proxy // nil: that of the environment
}

// Token is a bearer token.
type Token struct {
	Value   model.Secret
	Expires time.Time
}

// AWSCredentials sign requests to AWS.
type AWSCredentials struct {
	AccessKeyID     string
	SecretAccessKey model.Secret
	SessionToken    model.Secret // may be empty
	Expires         time.Time    // zero: they do not expire
}

// Login is what a registry takes for basic authentication.
type Login struct {
	Username string
	Password model.Secret
	Expires  time.Time
}

// The providers, as spec.provider names them.
const (
	providerAWS   = "aws"
	providerAzure = "azure"
	providerGCP   = "gcp"
)

// AWS returns credentials for a region. An empty region is that of the process
// (AWS_REGION), and an error for an identity that names a service account.
// stsEndpoint replaces the region's STS address; it must be one of AWS.
//
// Errors are *model.Fault with the reason AuthenticationFailed, as those of all
// methods.
func (b *Broker) AWS(ctx context.Context, caller Caller, region, stsEndpoint string) (AWSCredentials, error) {
	return handOut(ctx, b, caller, providerAWS, []string{"credentials", region, stsEndpoint}, func(ctx context.Context, w *way) (AWSCredentials, time.Time, error) {
		credentials, err := b.awsCredentials(ctx, caller.Identity, w, region, stsEndpoint)
		return credentials, credentials.Expires, err
	})
}

// Google returns an access token of the scope cloud-platform.
func (b *Broker) Google(ctx context.Context, caller Caller) (Token, error) {
	return handOut(ctx, b, caller, providerGCP, []string{"token"}, func(ctx context.Context, w *way) (Token, time.Time, error) {
		token, err := b.googleToken(ctx, caller.Identity, w)
		return token, token.Expires, err
	})
}

// Scopes of Azure tokens.
const (
	AzureBlobStorage = "https://storage.azure.com/.default"
	AzureKeyVault    = "https://vault.azure.net/.default"
)

// Azure returns a Microsoft Entra access token for a scope, such as
// AzureBlobStorage.
func (b *Broker) Azure(ctx context.Context, caller Caller, scope string) (Token, error) {
	return handOut(ctx, b, caller, providerAzure, []string{"token", scope}, func(ctx context.Context, w *way) (Token, time.Time, error) {
		token, err := b.azureToken(ctx, caller.Identity, w, scope)
		return token, token.Expires, err
	})
}

// RegistryLogin returns a login for a registry, host[:port]. The host must be a
// registry of the identity's cloud: a credential goes nowhere else.
func (b *Broker) RegistryLogin(ctx context.Context, caller Caller, host string) (Login, error) {
	var login func(context.Context, Caller, *way, string) (Login, error)
	switch caller.Identity.Provider {
	case providerAWS:
		login = b.ecrLogin
	case providerAzure:
		login = b.acrLogin
	case providerGCP:
		login = b.googleLogin
	}
	return handOut(ctx, b, caller, caller.Identity.Provider, []string{"registry", host}, func(ctx context.Context, w *way) (Login, time.Time, error) {
		if login == nil {
			return Login{}, time.Time{}, advised{
				fmt.Errorf("the provider %q has no registries that Plumb knows", caller.Identity.Provider), "use aws, azure, gcp or generic"}
		}
		one, err := login(ctx, caller, w, host)
		return one, one.Expires, err
	})
}

// way is how one exchange reaches the cloud.
type way struct {
	client *http.Client
	proxy  func(*http.Request) (*url.URL, error) // nil: the transport was given
	hide   func(secret string)                   // keeps a secret of this exchange out of its error
}

// handOut returns a remembered credential, or exchanges for one.
func handOut[T any](ctx context.Context, b *Broker, caller Caller, provider string, asked []string, exchange func(context.Context, *way) (T, time.Time, error)) (T, error) {
	var none T
	if caller.Identity.Provider != provider {
		return none, refused(caller, fmt.Errorf("a credential of %s is wanted, but the identity is one of %q", provider, caller.Identity.Provider), nil)
	}
	auth := &model.HTTPAuth{Workload: &caller.Identity, Proxy: caller.Proxy}
	key := dial.Key(auth, asked...)
	if one, ok := b.remembered(key); ok {
		return one.(T), nil
	}
	answer := b.flights.DoChan(key, func() (any, error) {
		// Others may wait for it when the first caller has gone.
		if one, ok := b.remembered(key); ok { // another exchange has ended meanwhile
			return one, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.options.Timeout)
		defer cancel()
		w, err := b.way(auth)
		if err != nil {
			return none, refused(caller, err, nil)
		}
		defer w.client.CloseIdleConnections()
		hidden := dial.Secrets(auth)
		w.hide = func(secret string) { hidden = append(hidden, secret) }
		one, expires, err := exchange(ctx, w)
		if err != nil {
			return none, refused(caller, err, hidden)
		}
		b.remember(key, one, expires)
		return one, nil
	})
	select {
	case landed := <-answer:
		if fault := (*model.Fault)(nil); errors.As(landed.Err, &fault) {
			mine := *fault // whoever gets one completes it
			return none, &mine
		}
		return landed.Val.(T), nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

func (b *Broker) way(auth *model.HTTPAuth) (*way, error) {
	if b.options.Transport != nil {
		return &way{client: &http.Client{Transport: b.options.Transport, CheckRedirect: stay}}, nil
	}
	transport, err := dial.Transport(&model.HTTPAuth{Proxy: auth.Proxy})
	if err != nil {
		return nil, err
	}
	return &way{client: &http.Client{Transport: bounded{transport}, CheckRedirect: stay}, proxy: transport.Proxy}, nil
}

// stay refuses redirects: no cloud redirects an exchange, and what is sent is a
// credential.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (b *Broker) remembered(key string) (any, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, ok := b.kept[key]
	if !ok || !b.options.Now().Before(one.until) {
		return nil, false
	}
	return one.credential, true
}

// remember keeps a credential for four fifths of the life it has left, as
// fluxcd/pkg cache does; one that does not expire for a quarter of an hour,
// after which the process may have been given another.
func (b *Broker) remember(key string, credential any, expires time.Time) {
	now := b.options.Now()
	life := 15 * time.Minute
	if !expires.IsZero() {
		life = expires.Sub(now) / 5 * 4
	}
	if life <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.kept) >= maxKept {
		for other, old := range b.kept {
			if !now.Before(old.until) {
				delete(b.kept, other)
			}
		}
		for other := range b.kept { // any: it is exchanged again when it is needed
			if len(b.kept) < maxKept {
				break
			}
			delete(b.kept, other)
		}
	}
	b.kept[key] = kept{credential: credential, until: now.Add(life)}
}

// token is a Kubernetes token of the identity's service account.
func (b *Broker) token(ctx context.Context, id model.WorkloadIdentity, w *way, audience string) (string, error) {
	if b.options.Tokens == nil {
		return "", advised{
			fmt.Errorf("no token can be had for service account '%s/%s' here", id.Namespace, id.Account),
			"workload identity of service accounts works inside a cluster"}
	}
	token, err := b.options.Tokens.ServiceAccountToken(ctx, id.Namespace, id.Account, []string{audience})
	if err != nil {
		return "", fmt.Errorf("failed to create kubernetes token for service account '%s/%s': %w", id.Namespace, id.Account, err)
	}
	w.hide(token)
	return token, nil
}

// advised is an error whose remedy is known, and which no retry mends.
type advised struct {
	error
	advice string
}

func (e advised) Unwrap() error { return e.error }

// refused makes the fault of a failed exchange. What the cloud said is shown
// without the secrets that it was told.
func refused(caller Caller, err error, hidden []string) *model.Fault {
	fault := &model.Fault{
		Reason: "AuthenticationFailed",
		Message: fmt.Sprintf("failed to get credential from %s: %s", caller.Identity.Provider,
			dial.Scrubber(hidden)(strings.Join(strings.Fields(err.Error()), " "))),
		Retry: true,
		Err:   err,
	}
	if told, ok := err.(advised); ok { //nolint:errorlint // only the outermost error is a verdict on the whole exchange
		fault.Advice, fault.Retry = told.advice, false
	} else {
		fault.Advice = "check that the identity exists in the cloud and trusts this cluster and service account"
	}
	return fault
}
