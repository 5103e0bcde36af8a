package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"

	"plumb.dev/plumb/internal/api/client"
	"plumb.dev/plumb/internal/cli/logins"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/signin/loopback"
)

// renewAhead is how long before its end a session is renewed; renewTime bounds
// the attempt.
const (
	renewAhead = time.Minute
	renewTime  = 20 * time.Second
)

// credential is the token of a login as it is at the time of a call: renewed
// where it would end, and that of the kubeconfig as the kubeconfig has it now.
func (a *app) credential(of *logins.Login) client.Credential {
	var mu sync.Mutex
	held := *of // calls that go on at a time read the login, and this one changes
	login := &held
	return func(ctx context.Context) (model.Secret, error) {
		mu.Lock()
		defer mu.Unlock()
		if login.Kubernetes != "" {
			return a.kubernetesToken(ctx, login.Kubernetes)
		}
		if login.Provider != nil && login.Refresh != "" && a.now().Add(renewAhead).After(login.Expires) {
			if err := a.renew(ctx, login); err != nil {
				return model.Secret{}, err
			}
		}
		if !login.Expires.IsZero() && a.now().After(login.Expires) {
			return model.Secret{}, signedOut(login)
		}
		return model.NewSecret([]byte(login.Token)), nil
	}
}

func signedOut(login *logins.Login) error {
	return advise(fmt.Errorf("the session at %s has ended", login), "sign in again: plumb login %s --name %s", login.Server, login.Name)
}

// renew uses the refresh token of a login. A provider may take each of them only
// once, so that commands which run at a time take turns, and the later ones use
// what the first has got.
func (a *app) renew(ctx context.Context, login *logins.Login) error {
	ctx, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err != nil {
		return err
	}
	err = shelf.Change(func(book *logins.Book) error {
		known, ok := book.Find(login.Name)
		if !ok {
			return nil // not kept yet, or not any more: it holds as long as it holds
		}
		if known.Provider == nil || known.Refresh == "" || !a.now().Add(renewAhead).After(known.Expires) {
			*login = *known // somebody has renewed it, or signed in in another way
			return nil
		}
		reach, err := known.Trust.ProviderClient()
		if err != nil {
			return err
		}
		next, err := loopback.Renew(ctx, reach, *known.Provider, model.NewSecret([]byte(known.Refresh)))
		if err != nil {
			return err
		}
		known.Token, known.Refresh, known.Expires = string(next.Token.Reveal()), string(next.Refresh.Reveal()), next.Expires
		*login = *known
		return nil
	})
	switch {
	case errors.Is(err, loopback.ErrEnded):
		return signedOut(login)
	case err != nil && a.now().Before(login.Expires):
		a.say.warning("the session at %s cannot be renewed now: %v", login, err)
		return nil
	}
	return err
}

// kubernetesToken is what the kubeconfig sends as bearer token in a context: one
// that stands there, lies in a file, or that a program hands out.
func (a *app) kubernetesToken(ctx context.Context, contextName string) (model.Secret, error) {
	overrides := clientcmd.ConfigOverrides{CurrentContext: contextName}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(a.kube.rules(a), &overrides).ClientConfig()
	if err != nil {
		return model.Secret{}, err
	}
	token, err := bearerOf(ctx, config)
	if err != nil {
		return model.Secret{}, err
	}
	if token == "" {
		return model.Secret{}, advise(fmt.Errorf("context %q of the kubeconfig signs in without a token", contextName),
			"a server of Plumb knows tokens only: make one with: kubectl create token SERVICEACCOUNT, and give it by --token")
	}
	return model.NewSecret([]byte(token)), nil
}

// bearerOf is the token that a kubeconfig sends; "" when it sends none.
func bearerOf(ctx context.Context, config *rest.Config) (string, error) {
	settings, err := config.TransportConfig()
	if err != nil {
		return "", err
	}
	var sent captured
	wrapped, err := transport.HTTPWrappersForConfig(settings, &sent)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host, nil)
	if err != nil {
		return "", err
	}
	response, err := wrapped.RoundTrip(request)
	if err != nil {
		return "", err
	}
	if err := response.Body.Close(); err != nil {
		return "", err
	}
	scheme, token, _ := strings.Cut(sent.authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	return token, nil
}

// captured is where a request ends that is never sent.
type captured struct{ authorization string }

// RoundTrip keeps what the request would have proved itself by.
func (c *captured) RoundTrip(r *http.Request) (*http.Response, error) {
	c.authorization = r.Header.Get("Authorization")
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}
