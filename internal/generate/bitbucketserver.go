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

// bitbucketServer speaks version 1.0 of the REST API of Bitbucket Server and
// Data Center (developer.atlassian.com/server/bitbucket/rest).
type bitbucketServer struct {
	*api
	forgeQuestion
}

func (a *Asker) bitbucketServer(q forgeQuestion) (forge, *api, error) {
	if q.API == "" {
		return nil, nil, errors.New("the address of the Bitbucket server is missing")
	}
	if err := q.check("Bitbucket Server", "the project", q.Project); err != nil {
		return nil, nil, err
	}
	c, err := a.connect("bitbucket-server", "Bitbucket", q.API, q.Credential)
	if err != nil {
		return nil, nil, err
	}
	if !strings.HasSuffix(c.base.Path, "/rest") {
		c.base = c.base.JoinPath("/rest")
	}
	c.base = c.base.JoinPath("/api/1.0")
	c.authorize = bearerOrBasic(q.Credential)
	return bitbucketServer{c, q}, c, nil
}

type stashRepository struct {
	ID      int64  `json:"id"`
	Slug    string `json:"slug"`
	Name    string `json:"name"`
	Project struct {
		Key string `json:"key"`
	} `json:"project"`
	Links struct {
		Clone []bitbucketLink `json:"clone"`
	} `json:"links"`
}

type stashBranch struct {
	DisplayID    string `json:"displayId"`
	LatestCommit string `json:"latestCommit"`
}

type stashPull struct {
	ID      int         `json:"id"`
	Title   string      `json:"title"`
	FromRef stashBranch `json:"fromRef"`
	ToRef   stashBranch `json:"toRef"`
	Author  struct {
		User struct {
			Name string `json:"name"`
		} `json:"user"`
	} `json:"author"`
}

// stashList lists what is at a path, 100 entries at a time.
func stashList[T any](b bitbucketServer, path string, name func(T) string) listing[T] {
	return listing[T]{name: name, page: func(ctx context.Context, at string) ([]T, string, error) {
		query := url.Values{"limit": {"100"}}
		if at != "" {
			query.Set("start", at)
		}
		var page struct {
			Values []T  `json:"values"`
			Last   bool `json:"isLastPage"`
			Next   *int `json:"nextPageStart"`
		}
		if _, err := b.get(ctx, request{path: path, query: query}, &page); err != nil {
			return nil, "", err
		}
		if page.Last || page.Next == nil {
			return page.Values, "", nil
		}
		return page.Values, strconv.Itoa(*page.Next), nil
	}}
}

func (b bitbucketServer) repositories(ctx context.Context) ([]repository, error) {
	byName := func(r stashRepository) string { return r.Name }
	all, err := stashList(b, "/projects"+seg(b.Project)+"/repos", byName).read(ctx, b.api)
	if err != nil {
		return nil, err
	}
	var found []repository
	for _, r := range all {
		ssh, _ := linkNamed(r.Links.Clone, "ssh") // may be switched off
		http, _ := linkNamed(r.Links.Clone, "http")
		address, err := cloneURL("Bitbucket Server", b.protocol, ssh, http)
		if err != nil {
			return nil, err
		}
		key := r.Slug
		if key == "" {
			key = r.Name
		}
		found = append(found, repository{key: key, Repository: model.Repository{
			Organization: r.Project.Key,
			Name:         r.Name,
			URL:          address,
			ID:           strconv.FormatInt(r.ID, 10),
		}})
	}
	return found, nil
}

func (b bitbucketServer) path(r repository) string {
	return "/projects" + seg(r.Organization) + "/repos" + seg(r.key)
}

// branches asks for the default branch first also when all are wanted, as
// upstream does: without one a repository is passed over.
func (b bitbucketServer) branches(ctx context.Context, r repository, all bool) ([]branch, error) {
	said, err := b.do(ctx, request{method: http.MethodGet, path: b.path(r) + "/branches/default"}, "")
	var no *refusal
	switch {
	case isMissing(err) && errors.As(err, &no) && pathMissing(no): // it is set and does not exist
		return nil, nil
	case err != nil:
		return nil, err
	case said.status == http.StatusNoContent || len(said.body) == 0: // none is set: no commits
		return nil, nil
	}
	var one stashBranch
	if err := b.decode(said.body, &one); err != nil {
		return nil, err
	}
	if all {
		byName := func(b stashBranch) string { return b.DisplayID }
		found, err := stashList(b, b.path(r)+"/branches", byName).read(ctx, b.api)
		return transform(found, stashBranch.branch), err
	}
	return []branch{one.branch()}, nil
}

func (b stashBranch) branch() branch { return branch{name: b.DisplayID, sha: b.LatestCommit} }

// pathMissing reports whether what is missing lies inside a repository.
func pathMissing(no *refusal) bool {
	return !strings.Contains(no.code, "NoSuchRepository") && !strings.Contains(no.code, "NoSuchProject")
}

func (b bitbucketServer) hasPath(ctx context.Context, r repository, at branch, path string) (bool, error) {
	return b.exists(ctx, request{
		method: http.MethodGet,
		path:   b.path(r) + "/browse" + seg(strings.Split(path, "/")...),
		query:  url.Values{"at": {at.sha}, "type": {"true"}, "limit": {"1"}},
	}, pathMissing)
}

func (b bitbucketServer) pullRequests(ctx context.Context) ([]model.PullRequest, error) {
	byNumber := func(p stashPull) string { return number(p.ID) }
	path := "/projects" + seg(b.Project) + "/repos" + seg(b.repository) + "/pull-requests"
	all, err := stashList(b, path, byNumber).read(ctx, b.api) // open ones: the default
	if err != nil {
		return nil, err
	}
	return transform(all, func(p stashPull) model.PullRequest {
		return model.PullRequest{
			Number: p.ID, Title: p.Title, Branch: p.FromRef.DisplayID, TargetBranch: p.ToRef.DisplayID,
			HeadSHA: p.FromRef.LatestCommit, Author: p.Author.User.Name,
		}
	}), nil
}
