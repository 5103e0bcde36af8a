package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"plumb.dev/plumb/internal/githubapp"
	"plumb.dev/plumb/internal/model"
)

const (
	githubAPI        = "https://api.github.com"
	githubTokenUser  = "x-access-token" // GitHub: "Authenticating as a GitHub App installation"
	tokenSpare       = 5 * time.Minute  // a token is renewed this long before it ends
	maxTokenAnswer   = 1 << 20
	maxInstallations = 100 // pages
)

// appToken mints and keeps the installation token of one GitHub App.
type appToken struct {
	app    model.GitHubApp
	client *http.Client
	agent  string
	now    func() time.Time

	mu      sync.Mutex
	token   string
	expires time.Time
}

func newAppToken(r *remote, agent string) (*appToken, error) {
	transport, err := httpTransport(r)
	if err != nil {
		return nil, err
	}
	refuse := func(*http.Request, []*http.Request) error { return errors.New("the GitHub API redirects") }
	return &appToken{
		app:    *r.auth.GitHubApp,
		client: &http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: refuse},
		agent:  agent,
		now:    time.Now,
	}, nil
}

// credentials returns the user and password of a Git request.
func (t *appToken) credentials(ctx context.Context) (user, password, bearer string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == "" || t.now().After(t.expires.Add(-tokenSpare)) {
		if err := t.mint(ctx); err != nil {
			return "", "", "", errAppToken{err}
		}
	}
	return githubTokenUser, t.token, "", nil
}

// errAppToken is a failure to get a token, as opposed to one of the Git server.
type errAppToken struct{ err error }

func (e errAppToken) Error() string { return e.err.Error() }
func (e errAppToken) Unwrap() error { return e.err }

func (t *appToken) mint(ctx context.Context) error {
	claim, err := githubapp.Claim(t.app, t.now())
	if err != nil {
		return err
	}
	installation := t.app.InstallationID
	if installation == "" {
		if installation, err = t.installation(ctx, claim); err != nil {
			return err
		}
	}
	var answer struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	path := "/app/installations/" + url.PathEscape(installation) + "/access_tokens"
	if err := t.call(ctx, http.MethodPost, path, claim, http.StatusCreated, &answer); err != nil {
		return err
	}
	if answer.Token == "" {
		return errors.New("the GitHub API returns no token")
	}
	t.token, t.expires = answer.Token, answer.Expires
	return nil
}

// installation finds the installation of an owner.
func (t *appToken) installation(ctx context.Context, claim string) (string, error) {
	if t.app.InstallationOwner == "" {
		return "", errors.New("the GitHub App data names neither an installation nor its owner")
	}
	const perPage = 100
	for page := 1; page <= maxInstallations; page++ {
		var all []struct {
			ID      int64 `json:"id"`
			Account struct {
				Login string `json:"login"`
			} `json:"account"`
		}
		path := fmt.Sprintf("/app/installations?per_page=%d&page=%d", perPage, page)
		if err := t.call(ctx, http.MethodGet, path, claim, http.StatusOK, &all); err != nil {
			return "", err
		}
		for _, one := range all {
			if strings.EqualFold(one.Account.Login, t.app.InstallationOwner) {
				return strconv.FormatInt(one.ID, 10), nil
			}
		}
		if len(all) < perPage {
			break
		}
	}
	return "", fmt.Errorf("the GitHub App is not installed for %q", t.app.InstallationOwner)
}

func (t *appToken) call(ctx context.Context, method, path, claim string, expect int, into any) error {
	base := t.app.BaseURL
	if base == "" {
		base = githubAPI
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, nil)
	if err != nil {
		return errors.New("the address of the GitHub API cannot be understood")
	}
	request.Header.Set("Authorization", "Bearer "+claim)
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("User-Agent", t.agent)
	response, err := t.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the GitHub API: %w", plainURLError(err))
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTokenAnswer))
	if err != nil {
		return fmt.Errorf("ask the GitHub API: %w", err)
	}
	if response.StatusCode != expect {
		var said struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(body, &said) // an answer without a message stays without
		return fmt.Errorf("the GitHub API answers %d %s", response.StatusCode, said.Message)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("the answer of the GitHub API cannot be understood")
	}
	return nil
}
