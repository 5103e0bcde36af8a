package generate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"plumb.dev/plumb/internal/githubapp"
	"plumb.dev/plumb/internal/model"
)

// appTokens mints and keeps installation tokens of GitHub Apps (docs.github.com,
// "Authenticating as a GitHub App installation").
type appTokens struct {
	mu   sync.Mutex
	kept map[string]*appToken // by identity and owner
}

type appToken struct {
	mu      sync.Mutex // held while it is minted: others wait for the same token
	token   string
	expires time.Time
}

// tokenSpare is how long before its end a token is renewed.
const tokenSpare = 5 * time.Minute

func (t *appTokens) get(ctx context.Context, c *api, app model.GitHubApp, owner string) (string, error) {
	now := c.asker.now()
	one := t.slot(tokenKey(c, owner), now)
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.token != "" && now.Before(one.expires.Add(-tokenSpare)) {
		return one.token, nil
	}
	m := minter{app: app, owner: owner, now: now, api: &api{
		asker: c.asker, name: c.name, base: c.base, identity: c.identity + "/app", client: c.client,
		accept: c.accept, scrub: c.scrub, timeout: c.timeout,
	}}
	token, expires, err := m.mint(ctx)
	if err != nil {
		return "", errToken{err}
	}
	one.token, one.expires = token, expires
	return token, nil
}

// forget drops a token that GitHub does not accept any more.
func (t *appTokens) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.kept, key)
}

// errToken is a failure to get a token, as opposed to one to use it: that an
// installation is missing says nothing of a repository.
type errToken struct{ err error }

func (e errToken) Error() string { return "get a token of the GitHub App: " + e.err.Error() }
func (e errToken) Unwrap() error { return e.err }

func tokenKey(c *api, owner string) string { return c.identity + "/" + owner }

func (t *appTokens) slot(key string, now time.Time) *appToken {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one := t.kept[key]; one != nil {
		return one
	}
	if t.kept == nil {
		t.kept = map[string]*appToken{}
	}
	for other, old := range t.kept {
		if old.mu.TryLock() {
			if !now.Before(old.expires) {
				delete(t.kept, other)
			}
			old.mu.Unlock()
		}
	}
	one := &appToken{}
	t.kept[key] = one
	return one
}

// minter makes one token.
type minter struct {
	app   model.GitHubApp
	owner string // whose installation is meant when the app's data does not say
	now   time.Time
	api   *api
}

func (m minter) mint(ctx context.Context) (token string, expires time.Time, err error) {
	claim, err := githubapp.Claim(m.app, m.now)
	if err != nil {
		return "", time.Time{}, err
	}
	m.api.authorize = func(_ context.Context, header http.Header) error {
		header.Set("Authorization", "Bearer "+claim)
		return nil
	}
	installation := m.app.InstallationID
	if installation == "" || installation == "0" {
		if installation, err = m.installation(ctx); err != nil {
			return "", time.Time{}, err
		}
	}
	if err := plainName("the installation of the GitHub App", installation); err != nil {
		return "", time.Time{}, err
	}
	said, err := m.api.do(ctx, request{method: http.MethodPost, path: "/app/installations" + seg(installation) + "/access_tokens"}, "")
	if err != nil {
		return "", time.Time{}, err
	}
	var minted struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	if err := m.api.decode(said.body, &minted); err != nil {
		return "", time.Time{}, err
	}
	if minted.Token == "" {
		return "", time.Time{}, errors.New("GitHub returns none")
	}
	return minted.Token, minted.Expires, nil
}

type githubInstallation struct {
	ID      int64 `json:"id"`
	Account struct {
		Login string `json:"login"`
	} `json:"account"`
}

// installation finds the installation for an owner.
func (m minter) installation(ctx context.Context) (string, error) {
	owner := m.app.InstallationOwner
	if owner == "" {
		owner = m.owner
	}
	byID := func(i githubInstallation) string { return strconv.FormatInt(i.ID, 10) }
	all := listing[githubInstallation]{name: byID, page: func(ctx context.Context, at string) (items []githubInstallation, next string, err error) {
		query := url.Values{"per_page": {"100"}}
		if at != "" {
			query.Set("page", at)
		}
		header, err := m.api.get(ctx, request{path: "/app/installations", query: query}, &items)
		return items, nextPage(header), err
	}}
	found, _, err := all.once(ctx, m.api)
	if err != nil {
		return "", err
	}
	for _, one := range found {
		if strings.EqualFold(one.Account.Login, owner) {
			return byID(one), nil
		}
	}
	return "", advised{fmt.Errorf("it is not installed for %q", owner), "install it there, or name its installation in the Secret"}
}
