package generate

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// gitea speaks version 1 of the API of Gitea and Forgejo (docs.gitea.com,
// "API"), as argo-cd does through gitea's SDK.
type gitea struct {
	*api
	forgeQuestion
}

func (a *Asker) gitea(q forgeQuestion) (forge, *api, error) {
	if q.API == "" {
		return nil, nil, errors.New("the address of the Gitea server is missing")
	}
	if err := q.check("Gitea", "the owner", q.Owner); err != nil {
		return nil, nil, err
	}
	c, err := a.connect("gitea", "Gitea", q.API, q.Credential)
	if err != nil {
		return nil, nil, err
	}
	c.base = c.base.JoinPath("/api/v1")
	c.authorize = tokenIn("Authorization", "token ", q.Credential)
	return gitea{c, q}, c, nil
}

type giteaRepository struct {
	ID            int64  `json:"id"`
	Name          string `json:"name"`
	DefaultBranch string `json:"default_branch"`
	SSHURL        string `json:"ssh_url"`
	HTMLURL       string `json:"html_url"`
	Archived      bool   `json:"archived"`
	Empty         bool   `json:"empty"` // it has no commits
}

type giteaLabel struct {
	Name string `json:"name"`
}

type giteaBranch struct {
	Name   string `json:"name"`
	Commit struct {
		ID string `json:"id"`
	} `json:"commit"`
}

// giteaList lists what is at a path. A server may give fewer entries per page
// than it is asked for (MAX_RESPONSE_ITEMS), and not every list says where it
// goes on: labels come with their number only, in older versions not even with
// that. Then pages are asked for until one brings nothing new.
func giteaList[T any](g gitea, path string, query url.Values, name func(T) string) listing[T] {
	return listing[T]{name: name, page: func(ctx context.Context, at string) (items []T, next string, err error) {
		if at == "" {
			at = "1"
		}
		query.Set("page", at)
		query.Set("limit", "50")
		header, err := g.get(ctx, request{path: path, query: query}, &items)
		if err != nil {
			return nil, "", err
		}
		total, err := strconv.Atoi(header.Get("X-Total-Count"))
		whole := at == "1" && err == nil && len(items) >= total
		next = nextPage(header)
		if header.Get("Link") == "" && !whole && len(items) > 0 {
			page, _ := strconv.Atoi(at) // our own number
			next = strconv.Itoa(page + 1)
		}
		return items, next, nil
	}}
}

func (g gitea) repositories(ctx context.Context) ([]repository, error) {
	byName := func(r giteaRepository) string { return r.Name }
	all, err := giteaList(g, "/orgs"+seg(g.Owner)+"/repos", url.Values{}, byName).read(ctx, g.api)
	if err != nil {
		return nil, err
	}
	var found []repository
	for _, r := range all {
		if r.Archived && !g.archived || r.Empty {
			continue
		}
		address, err := cloneURL("Gitea", g.protocol, r.SSHURL, r.HTMLURL)
		if err != nil {
			return nil, err
		}
		found = append(found, repository{key: r.Name, Repository: model.Repository{
			Organization: g.Owner,
			Name:         r.Name,
			URL:          address,
			Branch:       r.DefaultBranch,
			ID:           strconv.FormatInt(r.ID, 10),
		}})
	}
	return each(ctx, g.api, found, g.withLabels)
}

func (g gitea) withLabels(ctx context.Context, r repository) (repository, error) {
	all, err := giteaList(g, "/repos"+seg(g.Owner, r.Name)+"/labels", url.Values{}, giteaLabel.name).read(ctx, g.api)
	r.Labels = transform(all, giteaLabel.name)
	return r, err
}

func (l giteaLabel) name() string { return l.Name }

func (g gitea) branches(ctx context.Context, r repository, all bool) ([]branch, error) {
	path := "/repos" + seg(g.Owner, r.Name) + "/branches"
	if all {
		byName := func(b giteaBranch) string { return b.Name }
		found, err := giteaList(g, path, url.Values{}, byName).read(ctx, g.api)
		return transform(found, giteaBranch.branch), err
	}
	var one giteaBranch
	_, err := g.get(ctx, request{path: path + seg(strings.Split(r.Branch, "/")...)}, &one)
	if err != nil {
		return nil, err
	}
	return []branch{{name: r.Branch, sha: one.Commit.ID}}, nil
}

func (b giteaBranch) branch() branch { return branch{name: b.Name, sha: b.Commit.ID} }

func (g gitea) hasPath(ctx context.Context, r repository, at branch, path string) (bool, error) {
	return g.exists(ctx, request{
		method: http.MethodGet,
		path:   "/repos" + seg(g.Owner, r.Name) + "/contents" + seg(strings.Split(path, "/")...),
		query:  url.Values{"ref": {at.sha}},
	}, nil)
}

func (g gitea) pullRequests(ctx context.Context) ([]model.PullRequest, error) {
	query := url.Values{"state": {"open"}}
	all, err := giteaList(g, "/repos"+seg(g.Owner, g.repository)+"/pulls", query, hubPull.name).read(ctx, g.api)
	if err != nil {
		return nil, err
	}
	return hubPulls(all, g.labels), nil
}
