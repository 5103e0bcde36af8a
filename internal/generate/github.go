package generate

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// github speaks the REST API of GitHub and GitHub Enterprise (docs.github.com,
// "REST API"), as argo-cd does through go-github.
type github struct {
	*api
	forgeQuestion
}

const githubAPI = "https://api.github.com"

func (a *Asker) github(q forgeQuestion) (forge, *api, error) {
	address := q.API
	if address == "" && q.Credential.App != nil {
		address = q.Credential.App.BaseURL
	}
	if err := q.check("GitHub", "the organization", q.Owner); err != nil {
		return nil, nil, err
	}
	c, err := a.connect("github", "GitHub", cmp.Or(address, githubAPI), q.Credential)
	if err != nil {
		return nil, nil, err
	}
	addEnterprisePath(c.base)
	c.accept = "application/vnd.github+json"
	c.authorize = a.githubAuthorize(c, q)
	c.rejected = func() { a.tokens.forget(tokenKey(c, q.Owner)) }
	return github{c, q}, c, nil
}

// addEnterprisePath completes the address of a GitHub Enterprise server by
// api/v3 unless it names an API already (go-github, WithEnterpriseURLs).
func addEnterprisePath(base *url.URL) {
	host := base.Hostname()
	if strings.HasPrefix(host, "api.") || strings.Contains(host, ".api.") || strings.HasSuffix(base.Path, "/api/v3") {
		return
	}
	base.Path += "/api/v3"
	if base.RawPath != "" {
		base.RawPath += "/api/v3"
	}
}

func (a *Asker) githubAuthorize(c *api, q forgeQuestion) func(context.Context, http.Header) error {
	return func(ctx context.Context, header http.Header) error {
		header.Set("X-GitHub-Api-Version", "2022-11-28")
		switch {
		case q.Credential.App != nil:
			token, err := a.tokens.get(ctx, c, *q.Credential.App, q.Owner)
			if err != nil {
				return err
			}
			header.Set("Authorization", "Bearer "+token)
		case !q.Credential.Token.IsZero():
			header.Set("Authorization", "Bearer "+string(q.Credential.Token.Reveal()))
		}
		return nil
	}
}

type githubRepository struct {
	ID            int64  `json:"id"`
	Name          string `json:"name"`
	DefaultBranch string `json:"default_branch"`
	SSHURL        string `json:"ssh_url"`
	CloneURL      string `json:"clone_url"`
	Archived      bool   `json:"archived"`
	Owner         struct {
		Login string `json:"login"`
	} `json:"owner"`
	Topics []string `json:"topics"`
}

type githubBranch struct {
	Name   string `json:"name"`
	Commit struct {
		SHA string `json:"sha"`
	} `json:"commit"`
}

// githubList lists what is at a path, 100 entries at a time.
func githubList[T any](g github, path string, name func(T) string) listing[T] {
	return listing[T]{name: name, page: func(ctx context.Context, at string) (items []T, next string, err error) {
		query := url.Values{"per_page": {"100"}}
		if at != "" {
			query.Set("page", at)
		}
		header, err := g.get(ctx, request{path: path, query: query}, &items)
		return items, nextPage(header), err
	}}
}

func (g github) repositories(ctx context.Context) ([]repository, error) {
	byName := func(r githubRepository) string { return r.Name }
	all, err := githubList(g, "/orgs"+seg(g.Owner)+"/repos", byName).read(ctx, g.api)
	if err != nil {
		return nil, err
	}
	var found []repository
	for _, r := range all {
		if r.Archived && !g.archived {
			continue
		}
		address, err := cloneURL(g.name, g.protocol, r.SSHURL, r.CloneURL)
		if err != nil {
			return nil, err
		}
		found = append(found, repository{key: r.Name, Repository: model.Repository{
			Organization: cmp.Or(r.Owner.Login, g.Owner),
			Name:         r.Name,
			URL:          address,
			Branch:       r.DefaultBranch,
			Labels:       r.Topics,
			ID:           strconv.FormatInt(r.ID, 10),
		}})
	}
	return found, nil
}

func (g github) branches(ctx context.Context, r repository, all bool) ([]branch, error) {
	path := "/repos" + seg(r.Organization, r.Name) + "/branches"
	if all {
		byName := func(b githubBranch) string { return b.Name }
		found, err := githubList(g, path, byName).read(ctx, g.api)
		return transform(found, githubBranch.branch), err
	}
	if r.Branch == "" {
		return nil, nil
	}
	return onlyBranch[githubBranch](ctx, g.api, path+seg(r.Branch))
}

func (b githubBranch) branch() branch { return branch{name: b.Name, sha: b.Commit.SHA} }

func (g github) hasPath(ctx context.Context, r repository, at branch, path string) (bool, error) {
	return g.exists(ctx, request{
		method: http.MethodGet,
		path:   "/repos" + seg(r.Organization, r.Name) + "/contents" + seg(strings.Split(path, "/")...),
		query:  url.Values{"ref": {at.sha}},
	}, nil)
}

func (g github) pullRequests(ctx context.Context) ([]model.PullRequest, error) {
	all, err := githubList(g, "/repos"+seg(g.Owner, g.repository)+"/pulls", hubPull.name).read(ctx, g.api)
	if err != nil {
		return nil, err
	}
	return hubPulls(all, g.labels), nil
}

// number names a pull request; "" is none.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// transform applies a function to every item.
func transform[T, R any](items []T, to func(T) R) []R {
	results := make([]R, len(items))
	for i, item := range items {
		results[i] = to(item)
	}
	return results
}
