package generate

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// bitbucketCloud speaks version 2.0 of Bitbucket Cloud's REST API
// (developer.atlassian.com/cloud/bitbucket/rest).
type bitbucketCloud struct {
	*api
	forgeQuestion
}

const bitbucketCloudAPI = "https://api.bitbucket.org/2.0"

func (a *Asker) bitbucketCloud(q forgeQuestion) (forge, *api, error) {
	if err := q.named("the workspace", q.Owner); err != nil {
		return nil, nil, err
	}
	c, err := a.connect("bitbucket-cloud", "Bitbucket", cmp.Or(q.API, bitbucketCloudAPI), q.Credential)
	if err != nil {
		return nil, nil, err
	}
	c.authorize = bearerOrBasic(q.Credential)
	return bitbucketCloud{c, q}, c, nil
}

// bearerOrBasic uses a token if there is one, else a user and a password.
func bearerOrBasic(c model.Credential) func(context.Context, http.Header) error {
	return func(_ context.Context, header http.Header) error {
		switch {
		case !c.Token.IsZero():
			header.Set("Authorization", "Bearer "+string(c.Token.Reveal()))
		case c.Username != "" || !c.Password.IsZero():
			basic(header, c.Username, string(c.Password.Reveal()))
		}
		return nil
	}
}

type bitbucketRepository struct {
	UUID       string `json:"uuid"`
	Slug       string `json:"slug"`
	MainBranch struct {
		Name string `json:"name"`
	} `json:"mainbranch"` // null: it has no commits
	Links struct {
		Clone []bitbucketLink `json:"clone"`
	} `json:"links"`
}

type bitbucketLink struct {
	Name string `json:"name"`
	Href string `json:"href"`
}

type bitbucketBranch struct {
	Name   string `json:"name"`
	Target struct {
		Hash string `json:"hash"`
	} `json:"target"`
}

type bitbucketPull struct {
	ID     int    `json:"id"`
	Title  string `json:"title"`
	Source struct {
		Branch struct {
			Name string `json:"name"`
		} `json:"branch"`
		Commit struct {
			Hash string `json:"hash"`
		} `json:"commit"`
	} `json:"source"`
	Destination struct {
		Branch struct {
			Name string `json:"name"`
		} `json:"branch"`
	} `json:"destination"`
	Author struct {
		Nickname string `json:"nickname"`
	} `json:"author"`
}

// bitbucketList lists what is at a path. The server names the next page by its
// address.
func bitbucketList[T any](b bitbucketCloud, path string, query url.Values, name func(T) string) listing[T] {
	return listing[T]{name: name, page: func(ctx context.Context, at string) ([]T, string, error) {
		r := request{path: path, query: query, address: at}
		if at != "" {
			next, err := url.Parse(at)
			if err != nil || next.User != nil || !sameOrigin(next, b.base) {
				return nil, "", advised{
					fmt.Errorf("%s goes on with a list at another server", b.name),
					"declare the address that the server itself uses",
				}
			}
		}
		var page struct {
			Values []T    `json:"values"`
			Next   string `json:"next"`
		}
		_, err := b.get(ctx, r, &page)
		return page.Values, page.Next, err
	}}
}

func (b bitbucketCloud) repositories(ctx context.Context) ([]repository, error) {
	query := url.Values{"pagelen": {"100"}}
	if b.Credential.Username != "" || !b.Credential.Token.IsZero() || !b.Credential.Password.IsZero() {
		query.Set("role", "member") // only a member can ask for it
	}
	bySlug := func(r bitbucketRepository) string { return r.Slug }
	all, err := bitbucketList(b, "/repositories"+seg(b.Owner), query, bySlug).read(ctx, b.api)
	if err != nil {
		return nil, err
	}
	var found []repository
	for _, r := range all {
		address, ok := linkNamed(r.Links.Clone, cmp.Or(b.protocol, "ssh"))
		if !ok {
			return nil, advised{fmt.Errorf("unknown clone protocol for Bitbucket cloud %s", b.protocol), "use ssh or https"}
		}
		if r.MainBranch.Name == "" {
			continue
		}
		found = append(found, repository{key: r.Slug, Repository: model.Repository{
			Organization: b.Owner, Name: r.Slug, URL: address, Branch: r.MainBranch.Name, ID: r.UUID,
		}})
	}
	return found, nil
}

func linkNamed(links []bitbucketLink, name string) (string, bool) {
	for _, link := range links {
		if link.Name == name {
			return link.Href, true
		}
	}
	return "", false
}

func (b bitbucketCloud) branches(ctx context.Context, r repository, all bool) ([]branch, error) {
	path := "/repositories" + seg(b.Owner, r.Name) + "/refs/branches"
	if all {
		byName := func(b bitbucketBranch) string { return b.Name }
		found, err := bitbucketList(b, path, url.Values{"pagelen": {"100"}}, byName).read(ctx, b.api)
		return transform(found, bitbucketBranch.branch), err
	}
	var one bitbucketBranch
	if _, err := b.get(ctx, request{path: path + seg(strings.Split(r.Branch, "/")...)}, &one); err != nil {
		return nil, err
	}
	return []branch{one.branch()}, nil
}

func (b bitbucketBranch) branch() branch { return branch{name: b.Name, sha: b.Target.Hash} }

func (b bitbucketCloud) hasPath(ctx context.Context, r repository, at branch, path string) (bool, error) {
	return b.exists(ctx, request{
		method: http.MethodGet,
		path:   "/repositories" + seg(b.Owner, r.Name) + "/src" + seg(at.sha) + seg(strings.Split(path, "/")...),
		query:  url.Values{"format": {"meta"}},
	}, nil)
}

func (b bitbucketCloud) pullRequests(ctx context.Context) ([]model.PullRequest, error) {
	byNumber := func(p bitbucketPull) string { return number(p.ID) }
	query := url.Values{"state": {"OPEN"}, "pagelen": {"50"}} // as many as it gives
	all, err := bitbucketList(b, "/repositories"+seg(b.Owner, b.repository)+"/pullrequests", query, byNumber).read(ctx, b.api)
	if err != nil {
		return nil, err
	}
	return transform(all, func(p bitbucketPull) model.PullRequest {
		return model.PullRequest{
			Number: p.ID, Title: p.Title, Branch: p.Source.Branch.Name, TargetBranch: p.Destination.Branch.Name,
			HeadSHA: p.Source.Commit.Hash, Author: p.Author.Nickname,
		}
	}), nil
}
