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

// gitlab speaks version 4 of GitLab's REST API (docs.gitlab.com, "REST API"),
// as argo-cd does through client-go.
type gitlab struct {
	*api
	forgeQuestion
}

const (
	gitlabHost    = "https://gitlab.com"
	gitlabAPIPath = "/api/v4"
)

func (a *Asker) gitlab(q forgeQuestion) (forge, *api, error) {
	what, name := "the group", q.Owner
	if q.pulls {
		what, name = "the project", q.repository
	}
	if err := q.check("Gitlab", what, name); err != nil {
		return nil, nil, err
	}
	c, err := a.connect("gitlab", "GitLab", cmp.Or(q.API, gitlabHost), q.Credential)
	if err != nil {
		return nil, nil, err
	}
	if !strings.HasSuffix(c.base.Path, gitlabAPIPath) {
		c.base = c.base.JoinPath(gitlabAPIPath)
	}
	c.authorize = tokenIn("Private-Token", "", q.Credential)
	return gitlab{c, q}, c, nil
}

type gitlabProject struct {
	ID            int64    `json:"id"`
	Path          string   `json:"path"`
	DefaultBranch string   `json:"default_branch"`
	SSHURL        string   `json:"ssh_url_to_repo"`
	HTTPURL       string   `json:"http_url_to_repo"`
	Topics        []string `json:"topics"`
	TagList       []string `json:"tag_list"` // topics, before GitLab 14.5
	Namespace     struct {
		FullPath string `json:"full_path"`
	} `json:"namespace"`
}

type gitlabBranch struct {
	Name   string `json:"name"`
	Commit struct {
		ID string `json:"id"`
	} `json:"commit"`
}

type gitlabMergeRequest struct {
	IID          int      `json:"iid"`
	Title        string   `json:"title"`
	SourceBranch string   `json:"source_branch"`
	TargetBranch string   `json:"target_branch"`
	SHA          string   `json:"sha"`
	Labels       []string `json:"labels"`
	Author       struct {
		Username string `json:"username"`
	} `json:"author"`
}

// gitlabList lists what is at a path, 100 entries at a time.
func gitlabList[T any](g gitlab, path string, query url.Values, name func(T) string) listing[T] {
	return listing[T]{name: name, page: func(ctx context.Context, at string) (items []T, next string, err error) {
		query.Set("per_page", "100")
		query.Del("page")
		if at != "" {
			query.Set("page", at)
		}
		header, err := g.get(ctx, request{path: path, query: query}, &items)
		return items, nextPage(header), err
	}}
}

func (g gitlab) repositories(ctx context.Context) ([]repository, error) {
	all, err := g.projects(ctx, false)
	if err != nil {
		return nil, err
	}
	if g.archived {
		// Versions differ in whether the list without the parameter has
		// archived projects, and in whether the one with it has the others.
		archived, err := g.projects(ctx, true)
		if err != nil {
			return nil, err
		}
		all = union(all, archived, gitlabProject.name)
	}
	var found []repository
	for _, p := range all {
		address, err := cloneURL("Gitlab", g.protocol, p.SSHURL, p.HTTPURL)
		if err != nil {
			return nil, err
		}
		labels := p.Topics
		if len(labels) == 0 {
			labels = p.TagList
		}
		found = append(found, repository{key: p.name(), Repository: model.Repository{
			Organization: p.Namespace.FullPath,
			Name:         p.Path,
			URL:          address,
			Branch:       p.DefaultBranch,
			Labels:       labels,
			ID:           p.name(),
		}})
	}
	return found, nil
}

func (g gitlab) projects(ctx context.Context, archived bool) ([]gitlabProject, error) {
	query := url.Values{
		"include_subgroups": {strconv.FormatBool(g.subgroups)},
		"with_shared":       {strconv.FormatBool(g.shared)},
	}
	if g.topic != "" {
		query.Set("topic", g.topic)
	}
	if archived {
		query.Set("archived", "true")
	}
	return gitlabList(g, "/groups"+seg(g.Owner)+"/projects", query, gitlabProject.name).read(ctx, g.api)
}

// name is the id: it names a project in every path.
func (p gitlabProject) name() string {
	if p.ID == 0 {
		return ""
	}
	return strconv.FormatInt(p.ID, 10)
}

// union adds what the first list lacks.
func union[T any](first, second []T, name func(T) string) []T {
	seen := map[string]bool{}
	for _, item := range first {
		seen[name(item)] = true
	}
	for _, item := range second {
		if !seen[name(item)] {
			first = append(first, item)
		}
	}
	return first
}

func (g gitlab) branches(ctx context.Context, r repository, all bool) ([]branch, error) {
	path := "/projects" + seg(r.key) + "/repository/branches"
	if all {
		byName := func(b gitlabBranch) string { return b.Name }
		found, err := gitlabList(g, path, url.Values{}, byName).read(ctx, g.api)
		if isMissing(err) { // a project without a repository
			return nil, nil
		}
		return transform(found, gitlabBranch.branch), err
	}
	if r.Branch == "" {
		return nil, nil
	}
	return onlyBranch[gitlabBranch](ctx, g.api, path+seg(r.Branch))
}

func (b gitlabBranch) branch() branch { return branch{name: b.Name, sha: b.Commit.ID} }

// hasPath looks for a file, then for a directory.
func (g gitlab) hasPath(ctx context.Context, r repository, at branch, path string) (bool, error) {
	file := request{
		method: http.MethodHead,
		path:   "/projects" + seg(r.key) + "/repository/files" + seg(path), // the whole path is one segment
		query:  url.Values{"ref": {at.sha}},
	}
	if there, err := g.exists(ctx, file, nil); err != nil || there {
		return there, err
	}
	var entries []struct{}
	_, err := g.get(ctx, request{
		path:  "/projects" + seg(r.key) + "/repository/tree",
		query: url.Values{"path": {path}, "ref": {at.sha}, "per_page": {"1"}},
	}, &entries)
	var no *refusal
	if isMissing(err) && errors.As(err, &no) && !strings.Contains(no.said, "Project Not Found") {
		return false, nil
	}
	// Older versions list nothing instead of refusing; Git has no empty directories.
	return len(entries) > 0, err
}

func (g gitlab) pullRequests(ctx context.Context) ([]model.PullRequest, error) {
	query := url.Values{}
	if len(g.labels) > 0 {
		query.Set("labels", strings.Join(g.labels, ","))
	}
	if g.state != "" {
		query.Set("state", g.state)
	}
	byNumber := func(m gitlabMergeRequest) string { return number(m.IID) }
	all, err := gitlabList(g, "/projects"+seg(g.repository)+"/merge_requests", query, byNumber).read(ctx, g.api)
	if err != nil {
		return nil, err
	}
	return transform(all, func(m gitlabMergeRequest) model.PullRequest {
		return model.PullRequest{
			Number: m.IID, Title: m.Title, Branch: m.SourceBranch, TargetBranch: m.TargetBranch,
			HeadSHA: m.SHA, Author: m.Author.Username, Labels: m.Labels,
		}
	}), nil
}
