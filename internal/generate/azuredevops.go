package generate

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// azureDevOps speaks the Git part of Azure DevOps' REST API
// (learn.microsoft.com/rest/api/azure/devops/git).
type azureDevOps struct {
	*api
	forgeQuestion
}

const (
	azureAPI          = "https://dev.azure.com"
	azureVersion      = "7.1"
	azureContinuation = "X-Ms-Continuationtoken"
)

func (a *Asker) azureDevOps(q forgeQuestion) (forge, *api, error) {
	if err := q.named("the organization", q.Owner, "the project", q.Project); err != nil {
		return nil, nil, err
	}
	if !q.pulls && q.Credential.Token.IsZero() {
		return nil, nil, advised{errors.New("no access token provided"), "name a Secret that holds a personal access token"}
	}
	c, err := a.connect("azuredevops", "Azure DevOps", cmp.Or(q.API, azureAPI), q.Credential)
	if err != nil {
		return nil, nil, err
	}
	c.authorize = func(_ context.Context, header http.Header) error {
		if !q.Credential.Token.IsZero() {
			basic(header, "", string(q.Credential.Token.Reveal()))
		}
		return nil
	}
	return azureDevOps{c, q}, c, nil
}

type azureRepository struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	DefaultBranch string `json:"defaultBranch"` // refs/heads/…; "": it has no commits
	RemoteURL     string `json:"remoteUrl"`
	Disabled      bool   `json:"isDisabled"`
}

type azureBranch struct {
	Name   string `json:"name"` // without refs/heads/
	Commit struct {
		ID string `json:"commitId"`
	} `json:"commit"`
}

type azurePull struct {
	ID     int    `json:"pullRequestId"`
	Title  string `json:"title"`
	Source string `json:"sourceRefName"`
	Target string `json:"targetRefName"`
	Head   struct {
		ID string `json:"commitId"`
	} `json:"lastMergeSourceCommit"`
	Author struct {
		UniqueName string `json:"uniqueName"`
	} `json:"createdBy"`
	Labels []struct {
		Name string `json:"name"`
	} `json:"labels"`
}

// git is the path of the Git API of the project.
func (z azureDevOps) git() string { return seg(z.Owner, z.Project) + "/_apis/git/repositories" }

func azureQuery(pairs ...string) url.Values {
	query := url.Values{"api-version": {azureVersion}}
	for i := 0; i < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	return query
}

// azureList lists what is at a path. These lists come whole, or go on where a
// continuation token says.
func azureList[T any](z azureDevOps, path string, name func(T) string) listing[T] {
	return listing[T]{name: name, page: func(ctx context.Context, at string) ([]T, string, error) {
		query := azureQuery()
		if at != "" {
			query.Set("continuationToken", at)
		}
		var page struct {
			Value []T `json:"value"`
		}
		header, err := z.get(ctx, request{path: path, query: query}, &page)
		return page.Value, header.Get(azureContinuation), err
	}}
}

func (z azureDevOps) repositories(ctx context.Context) ([]repository, error) {
	byName := func(r azureRepository) string { return r.Name }
	all, err := azureList(z, z.git(), byName).read(ctx, z.api)
	if err != nil {
		return nil, err
	}
	var found []repository
	for _, r := range all {
		if r.ID == "" || r.DefaultBranch == "" || r.RemoteURL == "" {
			continue
		}
		found = append(found, repository{key: r.ID, Repository: model.Repository{
			Organization: z.Owner, Name: r.Name, URL: r.RemoteURL, ID: r.ID,
			Branch: strings.TrimPrefix(r.DefaultBranch, "refs/heads/"),
		}})
	}
	return found, nil
}

func (z azureDevOps) branches(ctx context.Context, r repository, all bool) ([]branch, error) {
	path := z.git() + seg(r.key) + "/stats/branches"
	if all {
		byName := func(b azureBranch) string { return b.Name }
		found, err := azureList(z, path, byName).read(ctx, z.api)
		if azureGone(err) {
			return nil, nil
		}
		return transform(found, azureBranch.branch), err
	}
	var one azureBranch
	_, err := z.get(ctx, request{path: path, query: azureQuery("name", r.Branch)}, &one)
	switch {
	case azureGone(err):
		return nil, nil
	case err != nil:
		return nil, err
	case one.Name == "" || one.Commit.ID == "":
		return nil, &errGarbled{server: z.name}
	}
	return []branch{one.branch()}, nil
}

func (b azureBranch) branch() branch { return branch{name: b.Name, sha: b.Commit.ID} }

// azureGone reports whether a repository that was listed cannot be read: it is
// disabled, or was removed since.
func azureGone(err error) bool {
	var no *refusal
	return errors.As(err, &no) && strings.HasPrefix(no.code, "GitRepositoryNotFound")
}

func (z azureDevOps) hasPath(ctx context.Context, r repository, at branch, path string) (bool, error) {
	return z.exists(ctx, request{
		method: http.MethodGet,
		path:   z.git() + seg(r.key) + "/items",
		query: azureQuery(
			"path", "/"+path,
			"versionDescriptor.version", at.sha,
			"versionDescriptor.versionType", "commit",
			"$format", "json",
		),
	}, func(no *refusal) bool { return strings.HasPrefix(no.code, "GitItemNotFound") })
}

func (z azureDevOps) pullRequests(ctx context.Context) ([]model.PullRequest, error) {
	const perPage = 100
	byNumber := func(p azurePull) string { return number(p.ID) }
	path := z.git() + seg(z.repository) + "/pullrequests"
	all, err := listing[azurePull]{name: byNumber, page: func(ctx context.Context, at string) ([]azurePull, string, error) {
		var page struct {
			Value []azurePull `json:"value"`
		}
		skip, _ := strconv.Atoi(at) // our own number; "": 0
		query := azureQuery("searchCriteria.status", "active", "$top", strconv.Itoa(perPage), "$skip", strconv.Itoa(skip))
		if _, err := z.get(ctx, request{path: path, query: query}, &page); err != nil || len(page.Value) < perPage {
			return page.Value, "", err
		}
		return page.Value, strconv.Itoa(skip + perPage), nil
	}}.read(ctx, z.api)
	if err != nil {
		return nil, err
	}
	found := []model.PullRequest{}
	for _, p := range all {
		labels := []string{}
		for _, label := range p.Labels {
			labels = append(labels, label.Name)
		}
		if p.Source == "" || p.Target == "" || p.Head.ID == "" || !labelled(z.labels, labels) {
			continue
		}
		author, _, _ := strings.Cut(p.Author.UniqueName, "@")
		found = append(found, model.PullRequest{
			Number: p.ID, Title: p.Title, HeadSHA: p.Head.ID, Author: author, Labels: labels,
			Branch:       strings.TrimPrefix(p.Source, "refs/heads/"),
			TargetBranch: strings.TrimPrefix(p.Target, "refs/heads/"),
		})
	}
	return found, nil
}
