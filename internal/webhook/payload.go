package webhook

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Only what is read of a payload is declared. encoding/json bounds the depth.

// decode reads a JSON body. Forges that can be told to post a form put the JSON
// into its field payload (GitHub's and Gitea's content type).
func decode(r *http.Request, body []byte, into any) error {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return errPayload
		}
		body = []byte(form.Get("payload"))
	}
	if json.Unmarshal(body, into) != nil {
		return errPayload
	}
	return nil
}

// files are the paths of one commit of a push.
type files struct {
	Added    []string `json:"added"`
	Modified []string `json:"modified"`
	Removed  []string `json:"removed"`
}

// changedFiles joins the paths of a push's commits. They are known only when
// every commit is there and they lead from the commit before to the one after.
func changedFiles(commits []files, complete bool) []string {
	if !complete {
		return nil
	}
	all := []string{}
	for _, c := range commits {
		all = slices.Concat(all, c.Added, c.Modified, c.Removed)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// moves reports whether a push moves a reference that was there and still is.
func moves(before, after string) bool { return commit(before) != "" && commit(after) != "" }

// hubRepository is a repository as GitHub, Gitea and Gogs write it.
type hubRepository struct {
	Name     string `json:"name"`
	FullName string `json:"full_name"`
	HTMLURL  string `json:"html_url"`
	CloneURL string `json:"clone_url"`
	SSHURL   string `json:"ssh_url"`
	// URL is the address in the API, but for GitHub's push that of the page.
	URL           string `json:"url"`
	DefaultBranch string `json:"default_branch"`
}

func (h hubRepository) urls() []string { return []string{h.HTMLURL, h.CloneURL, h.SSHURL} }

// hubPush is a push as GitHub, Gitea and Gogs write it.
type hubPush struct {
	Ref          string        `json:"ref"`
	Before       string        `json:"before"`
	After        string        `json:"after"`
	Forced       bool          `json:"forced"`
	TotalCommits int           `json:"total_commits"` // Gitea
	Commits      []files       `json:"commits"`
	Repository   hubRepository `json:"repository"`
}

// maxHubCommits is how many commits GitHub lists.
const maxHubCommits = 2048

func (h hubPush) push() *Push {
	complete := moves(h.Before, h.After) && !h.Forced && len(h.Commits) > 0 && len(h.Commits) < maxHubCommits && h.TotalCommits <= len(h.Commits)
	return &Push{
		URLs:    h.Repository.urls(),
		Changes: []Change{{Ref: h.Ref, Before: h.Before, After: h.After, Default: isDefault(h.Ref, h.Repository.DefaultBranch)}},
		Files:   changedFiles(h.Commits, complete),
	}
}

// isDefault compares a full reference with a default branch, short or full.
func isDefault(ref, branch string) bool {
	return branch != "" && ref == "refs/heads/"+strings.TrimPrefix(branch, "refs/heads/")
}

// hubPullRequest is a pull request as GitHub, Gitea and Gogs write it.
type hubPullRequest struct {
	Action      string `json:"action"`
	Number      int    `json:"number"`
	PullRequest struct {
		Head struct {
			SHA string `json:"sha"`
		} `json:"head"`
	} `json:"pull_request"`
	Repository hubRepository `json:"repository"`
}

// push is nil for actions that change nothing a generator asks for. Upstream
// (applicationset/webhook) leaves out edits, which move the title and the
// target branch that filters look at.
func (h hubPullRequest) push() *Push {
	switch h.Action {
	case "opened", "closed", "reopened", "edited", "synchronize", "synchronized", "labeled", "unlabeled", "label_updated", "label_cleared":
	default:
		return nil
	}
	owner, name, _ := strings.Cut(h.Repository.FullName, "/")
	host := hostOf(h.Repository.URL)
	if host == "" {
		host = hostOf(h.Repository.HTMLURL)
	}
	return &Push{
		URLs:        h.Repository.urls(),
		Changes:     pullRequestRefs("refs/pull/", h.Number, h.PullRequest.Head.SHA),
		PullRequest: &PullRequest{Number: h.Number, Host: host, Owner: owner, Repository: name, HeadSHA: commit(h.PullRequest.Head.SHA)},
	}
}

func decodeGitHub(r *http.Request, body []byte) (*Push, error) {
	if event := r.Header.Get("X-Github-Event"); event == "package" || event == "registry_package" {
		var payload hubPackage
		if err := decode(r, body, &payload); err != nil {
			return nil, err
		}
		return payload.push(), nil
	}
	return decodeHub(r, body, r.Header.Get("X-Github-Event"))
}

func decodeGogs(r *http.Request, body []byte) (*Push, error) {
	for _, header := range []string{"X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event"} {
		if event := r.Header.Get(header); event != "" {
			return decodeHub(r, body, event)
		}
	}
	return nil, errUnknown
}

// decodeHub reads the three forges that write alike. Creating or deleting a
// branch or tag comes as a push from GitHub, and by events of their own from
// the others beside it.
func decodeHub(r *http.Request, body []byte, event string) (*Push, error) {
	switch event {
	case "push":
		var payload hubPush
		if err := decode(r, body, &payload); err != nil {
			return nil, err
		}
		return payload.push(), nil
	case "create", "delete":
		var payload struct {
			Ref        string        `json:"ref"`
			RefType    string        `json:"ref_type"`
			SHA        string        `json:"sha"`
			Repository hubRepository `json:"repository"`
		}
		if err := decode(r, body, &payload); err != nil {
			return nil, err
		}
		prefix, ok := map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}[payload.RefType]
		if !ok {
			return nil, nil // GitHub tells of a new repository so
		}
		ref := prefix + strings.TrimPrefix(payload.Ref, prefix)
		return &Push{URLs: payload.Repository.urls(), Changes: []Change{{
			Ref: ref, After: payload.SHA, Default: isDefault(ref, payload.Repository.DefaultBranch),
		}}}, nil
	case "pull_request", "pull_request_sync", "pull_request_label":
		var payload hubPullRequest
		if err := decode(r, body, &payload); err != nil {
			return nil, err
		}
		return payload.push(), nil
	}
	return nil, nil
}

func decodeGitLab(r *http.Request, body []byte) (*Push, error) {
	var kind struct {
		Kind string `json:"object_kind"`
		Name string `json:"event_name"` // system hooks
	}
	if err := decode(r, body, &kind); err != nil {
		return nil, err
	}
	if kind.Kind == "" {
		kind.Kind = kind.Name
	}
	switch kind.Kind {
	case "push", "tag_push":
		return decodeGitLabPush(r, body)
	case "merge_request":
		return decodeMergeRequest(r, body)
	}
	return nil, nil
}

// gitlabProject is a repository as GitLab writes it.
type gitlabProject struct {
	ID            int64  `json:"id"`
	Path          string `json:"path_with_namespace"`
	WebURL        string `json:"web_url"`
	HTTPURL       string `json:"git_http_url"`
	SSHURL        string `json:"git_ssh_url"`
	DefaultBranch string `json:"default_branch"`
}

func (p gitlabProject) urls() []string { return []string{p.WebURL, p.HTTPURL, p.SSHURL} }

func decodeGitLabPush(r *http.Request, body []byte) (*Push, error) {
	var payload struct {
		Ref          string        `json:"ref"`
		Before       string        `json:"before"`
		After        string        `json:"after"`
		TotalCommits int           `json:"total_commits_count"`
		Commits      []files       `json:"commits"`
		Project      gitlabProject `json:"project"`
	}
	if err := decode(r, body, &payload); err != nil {
		return nil, err
	}
	complete := moves(payload.Before, payload.After) && len(payload.Commits) > 0 && payload.TotalCommits == len(payload.Commits)
	return &Push{
		URLs:    payload.Project.urls(),
		Changes: []Change{{Ref: payload.Ref, Before: payload.Before, After: payload.After, Default: isDefault(payload.Ref, payload.Project.DefaultBranch)}},
		Files:   changedFiles(payload.Commits, complete),
	}, nil
}

func decodeMergeRequest(r *http.Request, body []byte) (*Push, error) {
	var payload struct {
		Attributes struct {
			IID        int    `json:"iid"`
			Action     string `json:"action"`
			LastCommit struct {
				ID string `json:"id"`
			} `json:"last_commit"`
		} `json:"object_attributes"`
		Project gitlabProject `json:"project"`
	}
	if err := decode(r, body, &payload); err != nil {
		return nil, err
	}
	request := payload.Attributes
	switch request.Action {
	case "open", "close", "reopen", "update", "merge":
	default:
		return nil, nil
	}
	owner, name := "", payload.Project.Path
	if at := strings.LastIndex(name, "/"); at >= 0 {
		owner, name = name[:at], name[at+1:]
	}
	return &Push{
		URLs:    payload.Project.urls(),
		Changes: pullRequestRefs("refs/merge-requests/", request.IID, request.LastCommit.ID),
		PullRequest: &PullRequest{
			Number: request.IID, Host: hostOf(payload.Project.WebURL), Owner: owner, Repository: name,
			Project: number(payload.Project.ID), HeadSHA: commit(request.LastCommit.ID),
		},
	}, nil
}

// bitbucketRepository is a repository as Bitbucket Cloud writes it.
type bitbucketRepository struct {
	FullName string `json:"full_name"`
	Links    struct {
		HTML struct {
			Href string `json:"href"`
		} `json:"html"`
	} `json:"links"`
	MainBranch struct {
		Name string `json:"name"`
	} `json:"mainbranch"`
}

func (b bitbucketRepository) urls() []string {
	all := []string{b.Links.HTML.Href}
	if host := hostOf(b.Links.HTML.Href); host != "" && b.FullName != "" {
		all = append(all, "git@"+host+":"+b.FullName+".git")
	}
	return all
}

func decodeBitbucket(r *http.Request, body []byte) (*Push, error) {
	switch r.Header.Get("X-Event-Key") {
	case "repo:push":
		return decodeBitbucketPush(r, body)
	case "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected":
	default:
		return nil, nil
	}
	var payload struct {
		PullRequest struct {
			ID     int `json:"id"`
			Source struct {
				Commit struct {
					Hash string `json:"hash"` // shortened
				} `json:"commit"`
			} `json:"source"`
		} `json:"pullrequest"`
		Repository bitbucketRepository `json:"repository"`
	}
	if err := decode(r, body, &payload); err != nil {
		return nil, err
	}
	owner, name, _ := strings.Cut(payload.Repository.FullName, "/")
	request := payload.PullRequest
	return &Push{
		URLs:        payload.Repository.urls(),
		Changes:     pullRequestRefs("refs/pull-requests/", request.ID, request.Source.Commit.Hash),
		PullRequest: &PullRequest{Number: request.ID, Host: hostOf(payload.Repository.Links.HTML.Href), Owner: owner, Repository: name, HeadSHA: commit(request.Source.Commit.Hash)},
	}, nil
}

func decodeBitbucketPush(r *http.Request, body []byte) (*Push, error) {
	type reference struct {
		Type   string `json:"type"`
		Name   string `json:"name"`
		Target struct {
			Hash string `json:"hash"`
		} `json:"target"`
	}
	var payload struct {
		Push struct {
			Changes []struct {
				Old *reference `json:"old"`
				New *reference `json:"new"`
			} `json:"changes"`
		} `json:"push"`
		Repository bitbucketRepository `json:"repository"`
	}
	if err := decode(r, body, &payload); err != nil {
		return nil, err
	}
	push := &Push{URLs: payload.Repository.urls()}
	for _, moved := range payload.Push.Changes {
		is := moved.New
		if is == nil {
			is = moved.Old // it was deleted
		}
		if is == nil || is.Name == "" {
			continue
		}
		prefix := map[string]string{"branch": "refs/heads/", "named_branch": "refs/heads/", "tag": "refs/tags/", "annotated_tag": "refs/tags/"}[is.Type]
		change := Change{Ref: prefix + is.Name}
		main := payload.Repository.MainBranch.Name
		change.Default = prefix != "refs/tags/" && (main == "" || main == is.Name)
		if moved.Old != nil {
			change.Before = moved.Old.Target.Hash
		}
		if moved.New != nil {
			change.After = moved.New.Target.Hash
		}
		push.Changes = append(push.Changes, change)
	}
	return push, nil
}

// serverRepository is a repository as Bitbucket Server writes it.
type serverRepository struct {
	Slug    string `json:"slug"`
	Project struct {
		Key string `json:"key"`
	} `json:"project"`
	Links struct {
		Clone []serverLink `json:"clone"`
		Self  []serverLink `json:"self"`
	} `json:"links"`
}

type serverLink struct {
	Href string `json:"href"`
	Name string `json:"name"`
}

// urls are the addresses to clone from; servers that do not tell them have
// them at known places below their own address.
func (s serverRepository) urls() []string {
	var all []string
	for _, link := range s.Links.Clone {
		all = append(all, link.Href)
	}
	if len(all) > 0 {
		return all
	}
	for _, link := range s.Links.Self {
		base, _, found := strings.Cut(link.Href, "/projects/")
		if !found {
			base, _, found = strings.Cut(link.Href, "/users/")
		}
		if found && s.Slug != "" && s.Project.Key != "" {
			at := s.Project.Key + "/" + s.Slug + ".git"
			all = append(all, base+"/scm/"+at, "ssh://git@"+hostOf(link.Href)+"/"+at)
		}
	}
	return all
}

func (s serverRepository) host() string {
	for _, link := range slices.Concat(s.Links.Self, s.Links.Clone) {
		if host := hostOf(link.Href); host != "" && strings.HasPrefix(link.Href, "http") {
			return host
		}
	}
	return ""
}

func decodeBitbucketServer(r *http.Request, body []byte) (*Push, error) {
	switch event := r.Header.Get("X-Event-Key"); {
	case event == "repo:refs_changed":
		return decodeServerPush(r, body)
	case slices.Contains([]string{"pr:opened", "pr:from_ref_updated", "pr:modified", "pr:merged", "pr:declined", "pr:deleted"}, event):
		return decodeServerPullRequest(r, body)
	}
	return nil, nil
}

func decodeServerPush(r *http.Request, body []byte) (*Push, error) {
	var payload struct {
		Repository serverRepository `json:"repository"`
		Changes    []struct {
			Ref struct {
				ID string `json:"id"`
			} `json:"ref"`
			From string `json:"fromHash"`
			To   string `json:"toHash"`
		} `json:"changes"`
	}
	if err := decode(r, body, &payload); err != nil {
		return nil, err
	}
	push := &Push{URLs: payload.Repository.urls()}
	for _, moved := range payload.Changes {
		push.Changes = append(push.Changes, Change{
			Ref: moved.Ref.ID, Before: moved.From, After: moved.To,
			Default: strings.HasPrefix(moved.Ref.ID, "refs/heads/"),
		})
	}
	return push, nil
}

func decodeServerPullRequest(r *http.Request, body []byte) (*Push, error) {
	var payload struct {
		PullRequest struct {
			ID   int `json:"id"`
			From struct {
				Commit string `json:"latestCommit"`
			} `json:"fromRef"`
			To struct {
				Repository serverRepository `json:"repository"`
			} `json:"toRef"`
		} `json:"pullRequest"`
	}
	if err := decode(r, body, &payload); err != nil {
		return nil, err
	}
	request, target := payload.PullRequest, payload.PullRequest.To.Repository
	return &Push{
		URLs:        target.urls(),
		Changes:     append(pullRequestRefs("refs/pull-requests/", request.ID, ""), Change{Ref: "refs/pull-requests/" + number(int64(request.ID)) + "/from", After: request.From.Commit}),
		PullRequest: &PullRequest{Number: request.ID, Host: target.host(), Owner: target.Project.Key, Repository: target.Slug, HeadSHA: commit(request.From.Commit)},
	}, nil
}

// azureRepository is a repository as Azure DevOps writes it.
type azureRepository struct {
	Name          string `json:"name"`
	RemoteURL     string `json:"remoteUrl"`
	SSHURL        string `json:"sshUrl"`
	DefaultBranch string `json:"defaultBranch"` // full
	Project       struct {
		Name string `json:"name"`
	} `json:"project"`
}

func decodeAzure(r *http.Request, body []byte) (*Push, error) {
	var payload struct {
		Event    string `json:"eventType"`
		Resource struct {
			RefUpdates []struct {
				Name string `json:"name"`
				Old  string `json:"oldObjectId"`
				New  string `json:"newObjectId"`
			} `json:"refUpdates"`
			Repository    azureRepository `json:"repository"`
			PullRequestID int             `json:"pullRequestId"`
			Source        struct {
				Commit string `json:"commitId"`
			} `json:"lastMergeSourceCommit"`
		} `json:"resource"`
	}
	if err := decode(r, body, &payload); err != nil {
		return nil, err
	}
	is := payload.Resource
	push := &Push{URLs: []string{is.Repository.RemoteURL, is.Repository.SSHURL}}
	switch payload.Event {
	case "git.push":
		for _, moved := range is.RefUpdates {
			push.Changes = append(push.Changes, Change{
				Ref: moved.Name, Before: moved.Old, After: moved.New,
				Default: isDefault(moved.Name, is.Repository.DefaultBranch),
			})
		}
	case "git.pullrequest.created", "git.pullrequest.updated", "git.pullrequest.merged":
		push.Changes = pullRequestRefs("refs/pull/", is.PullRequestID, "")
		push.PullRequest = &PullRequest{
			Number: is.PullRequestID, Host: hostOf(is.Repository.RemoteURL), Owner: azureOwner(is.Repository.RemoteURL),
			Project: is.Repository.Project.Name, Repository: is.Repository.Name, HeadSHA: commit(is.Source.Commit),
		}
	default:
		return nil, nil
	}
	return push, nil
}

func decodeGeneric(r *http.Request, body []byte) (*Push, error) {
	var payload struct {
		RepoURL       string   `json:"repoURL"`
		RepoURLs      []string `json:"repoURLs"`
		Ref           string   `json:"ref"`
		Revision      string   `json:"revision"`
		Before        string   `json:"before"`
		DefaultBranch string   `json:"defaultBranch"`
		Files         []string `json:"files"`
	}
	if decode(r, body, &payload) != nil || payload.RepoURL == "" && len(payload.RepoURLs) == 0 {
		return nil, errUnknown
	}
	change := Change{Ref: payload.Ref, Before: payload.Before, After: payload.Revision}
	short := strings.TrimPrefix(change.Ref, "refs/heads/")
	switch {
	case strings.HasPrefix(short, "refs/"):
	case payload.DefaultBranch == "" || change.Ref == "":
		change.Default = true
	default:
		change.Default = short == strings.TrimPrefix(payload.DefaultBranch, "refs/heads/")
	}
	paths := slices.Clone(payload.Files)
	slices.Sort(paths)
	return &Push{URLs: append([]string{payload.RepoURL}, payload.RepoURLs...), Changes: []Change{change}, Files: slices.Compact(paths)}, nil
}
