package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what old senders sign with
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
)

const (
	canary = "c4n4ry-s3cr3t"
	before = "1111111111111111111111111111111111111111"
	after  = "2222222222222222222222222222222222222222"
	zeros  = "0000000000000000000000000000000000000000"
)

func secret(s string) model.Secret { return model.NewSecret([]byte(s)) }

// post makes a delivery; headers are "Name: value".
func post(body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/api/webhook", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func mac(algorithm func() hash.Hash, key, body string) string {
	m := hmac.New(algorithm, []byte(key))
	_, _ = io.WriteString(m, body)
	return hex.EncodeToString(m.Sum(nil))
}

// A delivery is what a forge sends, and what it says.
type delivery struct {
	name    string
	headers []string
	body    string
	forge   string
	changes []Change
	files   []string
	yes     []string // "repoURL targetRevision" that it concerns
	no      []string
}

var deliveries = []delivery{
	{
		name: "GitHub push", headers: []string{"X-GitHub-Event: push"}, forge: "github",
		body: `{"ref":"refs/heads/main","before":"` + before + `","after":"` + after + `","created":false,"deleted":false,"forced":false,
			"commits":[{"id":"` + after + `","added":["apps/shop/new.yaml"],"removed":["old.yaml"],"modified":["apps/shop/a.yaml","old.yaml"]}],
			"head_commit":{"id":"` + after + `"},"pusher":{"name":"ada"},
			"repository":{"id":1,"name":"shop","full_name":"Acme/shop","html_url":"https://github.com/Acme/shop","url":"https://github.com/Acme/shop",
				"clone_url":"https://github.com/Acme/shop.git","ssh_url":"git@github.com:Acme/shop.git","default_branch":"main","pushed_at":1767225600}}`,
		changes: []Change{{Ref: "refs/heads/main", Before: before, After: after, Default: true}},
		files:   []string{"apps/shop/a.yaml", "apps/shop/new.yaml", "old.yaml"},
		yes: []string{
			"https://github.com/Acme/shop main", "https://github.com/Acme/shop.git HEAD", "git@github.com:acme/shop.git ", "ssh://git@ssh.github.com:443/Acme/shop.git main",
			"https://GITHUB.com/acme/SHOP/ refs/heads/main", "https://ada:token@github.com/Acme/shop main", "http://github.com:8080/Acme/shop main", "github.com/Acme/shop main",
			"https://github.com/Acme/shop " + after, "https://github.com/Acme/shop " + after[:7],
		},
		no: []string{
			"https://github.com/Acme/shop dev", "https://github.com/Acme/shop refs/tags/main", "https://github.com/Acme/shop v1.*", "https://github.com/Acme/shop " + before,
			"https://github.com/Acme/shop-2 main", "https://github.com/Acme/shop/extra main", "https://gitlab.com/Acme/shop main", "https://evil.example/github.com/Acme/shop main", " main", "https:// main",
		},
	},
	{
		name: "GitHub tag, as a form", headers: []string{"X-GitHub-Event: push", "Content-Type: application/x-www-form-urlencoded"}, forge: "github",
		body: "payload=" + url.QueryEscape(`{"ref":"refs/tags/v1.2.3","before":"`+zeros+`","after":"`+after+`","created":true,"commits":[],
			"repository":{"html_url":"https://github.com/acme/shop","default_branch":"main"}}`),
		changes: []Change{{Ref: "refs/tags/v1.2.3", After: after}},
		yes:     []string{"https://github.com/acme/shop v1.2.3", "https://github.com/acme/shop refs/tags/v1.2.3", "https://github.com/acme/shop 1.2.*", "https://github.com/acme/shop >=1.0 <2"},
		no:      []string{"https://github.com/acme/shop HEAD", "https://github.com/acme/shop main", "https://github.com/acme/shop ~1.3", "https://github.com/acme/shop refs/heads/v1.2.3", "https://github.com/acme/shop 1.2.3"},
	},
	{
		name: "GitHub forced push", headers: []string{"X-GitHub-Event: push"}, forge: "github",
		body: `{"ref":"refs/heads/dev","before":"` + before + `","after":"` + after + `","forced":true,"commits":[{"modified":["a"]}],
			"repository":{"html_url":"https://github.com/acme/shop","default_branch":"main"}}`,
		changes: []Change{{Ref: "refs/heads/dev", Before: before, After: after}},
		no:      []string{"https://github.com/acme/shop HEAD"},
	},
	{
		name: "GitHub deleted branch", headers: []string{"X-GitHub-Event: push"}, forge: "github",
		body: `{"ref":"refs/heads/dev","before":"` + before + `","after":"` + zeros + `","deleted":true,"commits":[],
			"repository":{"html_url":"https://github.com/acme/shop","default_branch":"main"}}`,
		changes: []Change{{Ref: "refs/heads/dev", Before: before}},
		yes:     []string{"https://github.com/acme/shop dev"},
	},
	{
		name: "GitLab push", headers: []string{"X-Gitlab-Event: Push Hook"}, forge: "gitlab",
		body: `{"object_kind":"push","event_name":"push","before":"` + before + `","after":"` + after + `","ref":"refs/heads/feature/x","checkout_sha":"` + after + `",
			"project":{"id":15,"name":"Shop","web_url":"https://gitlab.example.com/team/sub/shop","git_ssh_url":"git@gitlab.example.com:team/sub/shop.git",
				"git_http_url":"https://gitlab.example.com/team/sub/shop.git","path_with_namespace":"team/sub/shop","default_branch":"main"},
			"commits":[{"id":"` + after + `","added":["b"],"modified":[],"removed":[]}],"total_commits_count":1}`,
		changes: []Change{{Ref: "refs/heads/feature/x", Before: before, After: after}},
		files:   []string{"b"},
		yes:     []string{"ssh://git@gitlab.example.com:2222/team/sub/shop.git feature/x", "git@altssh.gitlab.example.com:team/sub/shop feature/x"},
		no:      []string{"https://gitlab.example.com/team/shop feature/x", "https://gitlab.example.com/team/sub/shop x", "https://gitlab.example.com/team/sub/shop HEAD"},
	},
	{
		name: "GitLab push of more commits than it lists", headers: []string{"X-Gitlab-Event: Push Hook"}, forge: "gitlab",
		body: `{"object_kind":"push","before":"` + before + `","after":"` + after + `","ref":"refs/heads/main",
			"project":{"web_url":"https://gitlab.example.com/team/shop","default_branch":"main"},"commits":[{"added":["b"]}],"total_commits_count":21}`,
		changes: []Change{{Ref: "refs/heads/main", Before: before, After: after, Default: true}},
		yes:     []string{"https://gitlab.example.com/team/shop HEAD"},
	},
	{
		name: "GitLab system hook of a tag", headers: []string{"X-Gitlab-Event: System Hook"}, forge: "gitlab",
		body: `{"event_name":"tag_push","before":"` + zeros + `","after":"` + after + `","ref":"refs/tags/v2.0.0",
			"project":{"web_url":"https://gitlab.example.com/team/shop","default_branch":"main"},"commits":[],"total_commits_count":0}`,
		changes: []Change{{Ref: "refs/tags/v2.0.0", After: after}},
		yes:     []string{"https://gitlab.example.com/team/shop v2.0.0", "https://gitlab.example.com/team/shop >1.9"},
	},
	{
		name: "Gitea push", headers: []string{"X-Gitea-Event: push", "X-Gogs-Event: push", "X-GitHub-Event: push"}, forge: "gitea",
		body: `{"ref":"refs/heads/main","before":"` + before + `","after":"` + after + `","total_commits":1,
			"commits":[{"id":"` + after + `","added":[],"removed":[],"modified":["a.yaml"]}],
			"repository":{"id":3,"name":"shop","full_name":"team/shop","html_url":"https://git.example.com:3000/team/shop","url":"https://git.example.com:3000/api/v1/repos/team/shop",
				"ssh_url":"ssh://git@git.example.com:2222/team/shop.git","clone_url":"https://git.example.com:3000/team/shop.git","default_branch":"main"}}`,
		changes: []Change{{Ref: "refs/heads/main", Before: before, After: after, Default: true}},
		files:   []string{"a.yaml"},
		yes:     []string{"https://git.example.com:3000/team/shop.git ", "git@git.example.com:team/shop main"},
		no:      []string{"https://git.example.com:3000/team/shop.git other"},
	},
	{
		name: "Gogs push", headers: []string{"X-Gogs-Event: push"}, forge: "gitea",
		body: `{"ref":"refs/heads/main","before":"` + before + `","after":"` + after + `","commits":[{"added":null,"removed":null,"modified":["a.yaml"]}],
			"repository":{"html_url":"http://gogs.example.com/team/shop","default_branch":"main"}}`,
		changes: []Change{{Ref: "refs/heads/main", Before: before, After: after, Default: true}},
		files:   []string{"a.yaml"},
	},
	{
		name: "Forgejo tag", headers: []string{"X-Forgejo-Event: create", "X-Gitea-Event: create"}, forge: "gitea",
		body:    `{"sha":"` + after + `","ref":"v1.0.0","ref_type":"tag","repository":{"html_url":"https://codeberg.org/team/shop","default_branch":"main"}}`,
		changes: []Change{{Ref: "refs/tags/v1.0.0", After: after}},
		yes:     []string{"https://codeberg.org/team/shop v1.*"},
		no:      []string{"https://codeberg.org/team/shop HEAD"},
	},
	{
		name: "Bitbucket Cloud push of two branches and a tag", headers: []string{"X-Hook-UUID: {u}", "X-Event-Key: repo:push"}, forge: "bitbucket-cloud",
		body: `{"push":{"changes":[
				{"old":{"type":"branch","name":"main","target":{"hash":"` + before + `"}},"new":{"type":"branch","name":"main","target":{"hash":"` + after + `"}},"truncated":false},
				{"old":{"type":"branch","name":"gone","target":{"hash":"` + before + `"}},"new":null,"closed":true},
				{"old":null,"new":{"type":"tag","name":"v3.0.0","target":{"hash":"` + after + `"}}}]},
			"repository":{"type":"repository","full_name":"team/shop","links":{"html":{"href":"https://bitbucket.org/team/shop"},"self":{"href":"https://api.bitbucket.org/2.0/repositories/team/shop"}}}}`,
		changes: []Change{
			{Ref: "refs/heads/main", Before: before, After: after, Default: true},
			{Ref: "refs/heads/gone", Before: before, Default: true},
			{Ref: "refs/tags/v3.0.0", After: after},
		},
		yes: []string{"git@bitbucket.org:team/shop.git main", "https://ada@bitbucket.org/team/shop.git gone", "https://bitbucket.org/team/shop v3.x", "https://bitbucket.org/team/shop HEAD"},
		no:  []string{"https://bitbucket.org/team/shop dev", "https://bitbucket.org/team/shop refs/heads/v3.0.0"},
	},
	{
		name: "Bitbucket Server push", headers: []string{"X-Event-Key: repo:refs_changed"}, forge: "bitbucket-server",
		body: `{"eventKey":"repo:refs_changed","date":"2026-01-01T00:00:00+0000","actor":{"name":"ada"},
			"repository":{"slug":"shop","id":84,"name":"shop","project":{"key":"TEAM","id":84},"links":{
				"clone":[{"href":"https://bitbucket.example.com/scm/team/shop.git","name":"http"},{"href":"ssh://git@bitbucket.example.com:7999/team/shop.git","name":"ssh"}],
				"self":[{"href":"https://bitbucket.example.com/projects/TEAM/repos/shop/browse"}]}},
			"changes":[{"ref":{"id":"refs/heads/dev","displayId":"dev","type":"BRANCH"},"refId":"refs/heads/dev","fromHash":"` + before + `","toHash":"` + after + `","type":"UPDATE"},
				{"ref":{"id":"refs/tags/v1.0.0"},"fromHash":"` + zeros + `","toHash":"` + after + `","type":"ADD"}]}`,
		changes: []Change{{Ref: "refs/heads/dev", Before: before, After: after, Default: true}, {Ref: "refs/tags/v1.0.0", After: after}},
		yes:     []string{"https://bitbucket.example.com/scm/TEAM/shop.git dev", "ssh://git@bitbucket.example.com:7999/team/shop.git v1.0.0", "https://bitbucket.example.com/scm/team/shop HEAD"},
		no:      []string{"https://bitbucket.example.com/scm/team/shop main", "https://bitbucket.example.com/scm/other/shop dev"},
	},
	{
		name: "Bitbucket Server without clone links", headers: []string{"X-Event-Key: repo:refs_changed"}, forge: "bitbucket-server",
		body: `{"repository":{"slug":"shop","project":{"key":"TEAM"},"links":{"self":[{"href":"https://example.com/bitbucket/projects/TEAM/repos/shop/browse"}]}},
			"changes":[{"ref":{"id":"refs/heads/dev"},"fromHash":"` + before + `","toHash":"` + after + `"}]}`,
		changes: []Change{{Ref: "refs/heads/dev", Before: before, After: after, Default: true}},
		yes:     []string{"https://example.com/bitbucket/scm/team/shop.git dev", "ssh://git@example.com:7999/team/shop.git dev"},
	},
	{
		name: "Azure DevOps push", headers: []string{"X-Vss-Activityid: 1"}, forge: "azuredevops",
		body: `{"subscriptionId":"s","notificationId":3,"id":"i","eventType":"git.push","publisherId":"tfs","resource":{"commits":[{"commitId":"` + after + `"}],
			"refUpdates":[{"name":"refs/heads/main","oldObjectId":"` + before + `","newObjectId":"` + after + `"},{"name":"refs/tags/v1.0.0","oldObjectId":"` + zeros + `","newObjectId":"` + after + `"}],
			"repository":{"id":"r","name":"shop","project":{"id":"p","name":"My Project"},"defaultBranch":"refs/heads/main","remoteUrl":"https://acme@dev.azure.com/acme/My%20Project/_git/shop"}}}`,
		changes: []Change{{Ref: "refs/heads/main", Before: before, After: after, Default: true}, {Ref: "refs/tags/v1.0.0", After: after}},
		yes: []string{
			"https://dev.azure.com/acme/My%20Project/_git/shop main", "https://acme.visualstudio.com/My%20Project/_git/shop HEAD", "https://acme.visualstudio.com/DefaultCollection/My%20Project/_git/shop v1.0.0",
			"git@ssh.dev.azure.com:v3/acme/My%20Project/shop main", "acme@vs-ssh.visualstudio.com:v3/acme/My%20Project/shop main",
		},
		no: []string{"https://dev.azure.com/acme/other/_git/shop main", "https://dev.azure.com/acme/My%20Project/_git/shop dev", "https://dev.azure.com/acme/shop main"},
	},
	{
		name: "generic", forge: "generic",
		body:    `{"repoURL":"ssh://git@git.example.com/srv/shop","ref":"refs/heads/main","revision":"` + after + `","before":"` + before + `","defaultBranch":"main","files":["b","a","b"]}`,
		changes: []Change{{Ref: "refs/heads/main", Before: before, After: after, Default: true}},
		files:   []string{"a", "b"},
		yes:     []string{"https://git.example.com/srv/shop.git HEAD"},
		no:      []string{"https://git.example.com/srv/shop.git dev"},
	},
	{
		name: "generic with a short name", forge: "generic",
		body:    `{"repoURL":"https://git.example.com/shop","repoURLs":["https://mirror.example.com/shop"],"ref":"v1.0.0"}`,
		changes: []Change{{Ref: "v1.0.0", Default: true}},
		yes:     []string{"https://mirror.example.com/shop v1.0.0", "https://git.example.com/shop refs/tags/v1.0.0", "https://git.example.com/shop refs/heads/v1.0.0", "https://git.example.com/shop 1.x", "https://git.example.com/shop HEAD"},
		no:      []string{"https://git.example.com/shop main"},
	},
	{
		name: "generic with a URL alone", forge: "generic",
		body:    `{"repoURL":"https://git.example.com/shop"}`,
		changes: []Change{{Default: true}},
		yes:     []string{"https://git.example.com/shop main", "https://git.example.com/shop v1.*", "https://git.example.com/shop HEAD"},
		no:      []string{"https://git.example.com/other main"},
	},
}

func TestDeliveries(t *testing.T) {
	for _, d := range deliveries {
		t.Run(d.name, func(t *testing.T) {
			push, err := Parse(post(d.body, d.headers...), Secrets{})
			if err != nil || push == nil {
				t.Fatalf("%v, %v", push, err)
			}
			if push.Forge != d.forge || !slices.Equal(push.Changes, d.changes) {
				t.Errorf("%s, changes %+v, want %s, %+v", push.Forge, push.Changes, d.forge, d.changes)
			}
			if !slices.Equal(push.Files, d.files) || (push.Files == nil) != (d.files == nil) {
				t.Errorf("files %q, want %q", push.Files, d.files)
			}
			for _, source := range d.yes {
				if repository, revision, _ := strings.Cut(source, " "); !push.Concerns(repository, revision) {
					t.Errorf("%s at %q is not woken", repository, revision)
				}
			}
			for _, source := range d.no {
				if repository, revision, _ := strings.Cut(source, " "); push.Concerns(repository, revision) {
					t.Errorf("%s at %q is woken", repository, revision)
				}
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	for address, want := range map[string]string{
		"https://altitude.example.com/a":         "altitude.example.com/a",
		"https://altssh.example.com/a":           "example.com/a",
		"ssh.com:a":                              "ssh.com/a",
		"git@host:a/b.git/":                      "host/a/b",
		"host:2222/a":                            "host/a",
		"git@host:2222":                          "host/2222",
		"https://[::1]:8443/a.git":               "::1/a",
		" https://host/a?x=y#z ":                 "host/a",
		"https://host/a%20b":                     "host/a b",
		"https://dev.azure.com/Org/_git/Shop":    "dev.azure.com/org/shop/shop",
		"https://org.visualstudio.com/_git/shop": "dev.azure.com/org/shop/shop",
		"git@ssh.dev.azure.com:v3/org/shop/shop": "dev.azure.com/org/shop/shop",
		"https://host":                           "",
		"https://host/.git":                      "",
		"":                                       "",
		"://":                                    "",
		"/a/b":                                   "",
	} {
		if got := placeOf(address); got != want {
			t.Errorf("%q is at %q, want %q", address, got, want)
		}
	}
}

func TestSourcesOfEitherDialectAreWoken(t *testing.T) {
	push := &Push{URLs: []string{"https://example.com/shop"}, Changes: []Change{
		{Ref: "refs/heads/master", After: after, Default: true}, {Ref: "refs/tags/shop/v1.4.0", After: after}, {Ref: "refs/pull/7/head"},
	}}
	for _, c := range []struct {
		ref     model.GitRef
		implied bool
		want    bool
	}{
		{model.GitRef{}, false, true},
		{model.GitRef{}, true, true},
		{model.GitRef{Branch: "master"}, false, true},
		{model.GitRef{Branch: "main"}, false, false},
		{model.GitRef{Tag: "shop/v1.4.0"}, false, true},
		{model.GitRef{Tag: "master"}, false, false},
		{model.GitRef{Name: "refs/pull/7/head"}, false, true},
		{model.GitRef{Name: "refs/tags/shop/v1.4.0^{}"}, false, true},
		{model.GitRef{Commit: after, Branch: "other"}, false, true},
		{model.GitRef{Commit: before}, false, false},
		{model.GitRef{SemVer: ">=1"}, false, false},
		{model.GitRef{Revision: "pull/7/head"}, true, true},
		{model.GitRef{Revision: "1.*"}, true, false},
		{model.GitRef{Revision: "1.*", TagPrefix: "shop/"}, true, true},
		{model.GitRef{Revision: "2.*", TagPrefix: "shop/"}, true, false},
		{model.GitRef{Revision: "v1.4.0", TagPrefix: "shop/"}, true, true},
	} {
		if got := push.ConcernsSource(&model.GitSource{URL: "git@example.com:shop.git", Ref: c.ref}, c.implied); got != c.want {
			t.Errorf("%+v: %v", c.ref, got)
		}
	}
	push.Changes = []Change{{Ref: "refs/heads/main", Default: true}}
	if push.ConcernsSource(&model.GitSource{URL: "https://example.com/shop"}, false) {
		t.Error("Flux reads master when nothing is said, whatever the default branch is")
	}
}

func TestPullRequests(t *testing.T) {
	github := `{"action":"synchronize","number":7,"pull_request":{"number":7,"head":{"sha":"` + after + `","ref":"feature"}},
		"repository":{"name":"shop","full_name":"Acme/shop","html_url":"https://github.com/Acme/shop","url":"https://api.github.com/repos/Acme/shop","owner":{"login":"Acme"},"default_branch":"main"}}`
	gitlab := `{"object_kind":"merge_request","object_attributes":{"iid":9,"action":"update","target_project_id":15,"last_commit":{"id":"` + after + `"}},
		"project":{"id":15,"path_with_namespace":"team/sub/shop","web_url":"https://gitlab.example.com/team/sub/shop"}}`
	azure := `{"eventType":"git.pullrequest.updated","resource":{"pullRequestId":3,"lastMergeSourceCommit":{"commitId":"` + after + `"},
		"repository":{"name":"shop","project":{"name":"web"},"remoteUrl":"https://acme.visualstudio.com/web/_git/shop"}}}`
	server := `{"pullRequest":{"id":4,"fromRef":{"latestCommit":"` + after + `"},"toRef":{"repository":{"slug":"shop","project":{"key":"TEAM"},
		"links":{"self":[{"href":"https://bitbucket.example.com/projects/TEAM/repos/shop/browse"}]}}}}}`
	cloud := `{"pullrequest":{"id":5,"source":{"commit":{"hash":"222222222222"}}},"repository":{"full_name":"team/shop","links":{"html":{"href":"https://bitbucket.org/team/shop"}}}}`
	gitea := strings.NewReplacer("api.github.com/repos", "git.example.com/api/v1/repos", "github.com", "git.example.com", "synchronize", "synchronized").Replace(github)
	ask := func(forge model.Forge, repository string) *model.PullRequestsQuestion {
		return &model.PullRequestsQuestion{Forge: forge, Repository: repository}
	}
	for _, c := range []struct {
		name, body string
		headers    []string
		number     int
		head       string
		ref        string
		yes, no    []*model.PullRequestsQuestion
	}{
		{
			"GitHub", github, []string{"X-GitHub-Event: pull_request"}, 7, after, "refs/pull/7/head",
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "github", Owner: "acme"}, "Shop"), ask(model.Forge{Kind: "github", API: "https://api.github.com/", Owner: "Acme"}, "shop")},
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "github", Owner: "acme"}, "other"), ask(model.Forge{Kind: "github", Owner: "else"}, "shop"), ask(model.Forge{Kind: "github", API: "https://ghe.example.com/api/v3", Owner: "acme"}, "shop"), ask(model.Forge{Kind: "gitea", Owner: "acme"}, "shop")},
		},
		{
			"GitLab", gitlab, []string{"X-Gitlab-Event: Merge Request Hook"}, 9, after, "refs/merge-requests/9/head",
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "gitlab", API: "https://gitlab.example.com/"}, "15"), ask(model.Forge{Kind: "gitlab", API: "https://gitlab.example.com"}, "team/sub/shop")},
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "gitlab"}, "15"), ask(model.Forge{Kind: "gitlab", API: "https://gitlab.example.com/"}, "16")},
		},
		{
			"Azure DevOps", azure, []string{"X-Vss-Activityid: 1"}, 3, after, "refs/pull/3/merge",
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "azuredevops", Owner: "acme", Project: "web"}, "shop")},
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "azuredevops", Owner: "acme", Project: "api"}, "shop"), ask(model.Forge{Kind: "azuredevops", Owner: "else", Project: "web"}, "shop"), ask(model.Forge{Kind: "azuredevops", API: "https://azure.example.com", Owner: "acme", Project: "web"}, "shop")},
		},
		{
			"Bitbucket Server", server, []string{"X-Event-Key: pr:from_ref_updated"}, 4, after, "refs/pull-requests/4/from",
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "bitbucket-server", API: "https://bitbucket.example.com/rest", Project: "team"}, "shop")},
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "bitbucket-server", API: "https://bitbucket.example.com", Project: "other"}, "shop")},
		},
		{
			"Bitbucket Cloud", cloud, []string{"X-Hook-UUID: u", "X-Event-Key: pullrequest:updated"}, 5, "", "refs/pull-requests/5/head",
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "bitbucket-cloud", Owner: "team"}, "shop"), ask(model.Forge{Kind: "bitbucket-cloud", API: "https://api.bitbucket.org/2.0", Owner: "team"}, "shop")},
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "bitbucket-cloud", Owner: "team"}, "api")},
		},
		{
			"Gitea", gitea, []string{"X-Gitea-Event: pull_request", "X-GitHub-Event: pull_request"}, 7, after, "refs/pull/7/head",
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "gitea", API: "https://git.example.com", Owner: "acme"}, "shop")},
			[]*model.PullRequestsQuestion{ask(model.Forge{Kind: "gitea", API: "https://other.example.com", Owner: "acme"}, "shop")},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			push, err := Parse(post(c.body, c.headers...), Secrets{})
			if err != nil || push == nil || push.PullRequest == nil {
				t.Fatalf("%+v, %v", push, err)
			}
			if push.PullRequest.Number != c.number || push.PullRequest.HeadSHA != c.head {
				t.Errorf("%+v", push.PullRequest)
			}
			if !push.Concerns(push.URLs[0], c.ref) || push.Concerns(push.URLs[0], "main") || push.Concerns(push.URLs[0], "HEAD") {
				t.Errorf("changes %+v", push.Changes)
			}
			for _, q := range c.yes {
				if !push.ConcernsPullRequests(q) {
					t.Errorf("%+v is not asked again", q)
				}
			}
			for _, q := range c.no {
				if push.ConcernsPullRequests(q) {
					t.Errorf("%+v is asked again", q)
				}
			}
		})
	}
	plain, _ := Parse(post(deliveries[0].body, deliveries[0].headers...), Secrets{})
	if plain.ConcernsPullRequests(ask(model.Forge{Kind: "github", Owner: "acme"}, "shop")) {
		t.Error("a push is no pull request")
	}
}

func TestWhatMovesNothingIsNoPush(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"GitHub ping":              post(`{"zen":"x","hook_id":1}`, "X-GitHub-Event: ping"),
		"GitHub star":              post(`{"action":"created"}`, "X-GitHub-Event: star"),
		"GitHub assignment":        post(`{"action":"assigned","number":1}`, "X-GitHub-Event: pull_request"),
		"GitHub new repository":    post(`{"ref_type":"repository","repository":{"html_url":"https://github.com/a/b"}}`, "X-GitHub-Event: create"),
		"GitLab pipeline":          post(`{"object_kind":"pipeline"}`, "X-Gitlab-Event: Pipeline Hook"),
		"GitLab approval":          post(`{"object_kind":"merge_request","object_attributes":{"action":"approved"}}`, "X-Gitlab-Event: Merge Request Hook"),
		"Bitbucket fork":           post(`{}`, "X-Hook-UUID: u", "X-Event-Key: repo:fork"),
		"Bitbucket nothing pushed": post(`{"push":{"changes":[]},"repository":{"links":{"html":{"href":"https://bitbucket.org/a/b"}}}}`, "X-Hook-UUID: u", "X-Event-Key: repo:push"),
		"Bitbucket Server test":    post(`{"test":true}`, "X-Event-Key: diagnostics:ping"),
		"Azure build":              post(`{"eventType":"build.complete"}`, "X-Vss-Activityid: 1"),
	} {
		if push, err := Parse(r, Secrets{}); push != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, push, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	all := Secrets{}
	for _, s := range []*model.Secret{&all.GitHub, &all.GitLab, &all.BitbucketUUID, &all.BitbucketServer, &all.Gogs, &all.AzureUsername, &all.AzurePassword, &all.Generic} {
		*s = secret(canary)
	}
	basic := func(user, password string) string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	find := func(name string) delivery {
		i := slices.IndexFunc(deliveries, func(d delivery) bool { return d.name == name })
		return deliveries[i]
	}
	for name, proofs := range map[string]func(body string) (good, bad []string){
		"GitHub push": func(body string) ([]string, []string) {
			return []string{"X-Hub-Signature-256: sha256=" + mac(sha256.New, canary, body), "X-Hub-Signature: sha1=" + mac(sha1.New, canary, body)},
				[]string{
					"X-Hub-Signature-256: sha256=" + mac(sha256.New, "wrong", body), "X-Hub-Signature-256: " + mac(sha256.New, canary, body), "X-Hub-Signature: sha1=" + mac(sha1.New, "wrong", body),
					"X-Hub-Signature-256: sha256=", "X-Hub-Signature-256: sha256=zz", "X-Hub-Signature: sha1=" + mac(sha256.New, canary, body), "X-Hub-Signature-256: sha256=" + mac(sha256.New, canary, body+" "), "X-Gitlab-Token: " + canary,
				}
		},
		"GitHub tag, as a form": func(body string) ([]string, []string) {
			return []string{"X-Hub-Signature-256: sha256=" + mac(sha256.New, canary, body)}, nil
		},
		"GitLab push": func(string) ([]string, []string) {
			return []string{"X-Gitlab-Token: " + canary}, []string{"X-Gitlab-Token: " + canary + "x", "X-Gitlab-Token: c", "X-Hub-Signature-256: " + canary}
		},
		"Gitea push": func(body string) ([]string, []string) {
			good := mac(sha256.New, canary, body)
			return []string{"X-Gitea-Signature: " + good, "X-Gogs-Signature: " + good},
				[]string{"X-Gitea-Signature: sha256=" + good, "X-Gitea-Signature: " + mac(sha256.New, "", body), "X-Hub-Signature-256: sha256=" + good}
		},
		"Bitbucket Cloud push of two branches and a tag": func(string) ([]string, []string) {
			return []string{"X-Hook-UUID: " + canary}, []string{"X-Hook-UUID: {other}"}
		},
		"Bitbucket Server push": func(body string) ([]string, []string) {
			return []string{"X-Hub-Signature: sha256=" + mac(sha256.New, canary, body)}, []string{"X-Hub-Signature: sha1=" + mac(sha1.New, canary, body)}
		},
		"Azure DevOps push": func(string) ([]string, []string) {
			return []string{basic(canary, canary)}, []string{basic(canary, "x"), basic("x", canary), "Authorization: Bearer " + canary}
		},
		"generic": func(body string) ([]string, []string) {
			return []string{"Authorization: Bearer " + canary, "X-Hub-Signature-256: sha256=" + mac(sha256.New, canary, body)},
				[]string{"Authorization: Bearer x", "Authorization: " + canary, "X-Hub-Signature-256: sha256=" + mac(sha256.New, "x", body)}
		},
	} {
		d := find(name)
		good, bad := proofs(d.body)
		for _, proof := range good {
			if push, err := Parse(post(d.body, append(slices.Clone(d.headers), proof)...), all); err != nil || push == nil {
				t.Errorf("%s with %s: %v", name, proof, err)
			}
		}
		for _, proof := range append(bad, "X-Nothing: x") {
			push, err := Parse(post(d.body, append(slices.Clone(d.headers), proof)...), all)
			var refused *Refused
			if push != nil || !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
				t.Errorf("%s with %s: %+v, %v", name, proof, push, err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, all), canary) {
				t.Errorf("%s: a secret is shown", name)
			}
		}
	}
	// The generic form is no way around a forge's secret.
	if _, err := Parse(post(find("generic").body), Secrets{GitHub: secret(canary)}); err == nil {
		t.Error("the generic form needs no secret though GitHub has one")
	}
	if read := SecretsFrom(map[string][]byte{"webhook.gogs.secret": []byte(canary)}); !equal(canary, read.Gogs) || !read.GitHub.IsZero() {
		t.Error("argocd-secret is not read")
	}
}

// endless is a body without an end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	e.read += len(p)
	return len(p), nil
}

func TestHostileRequests(t *testing.T) {
	status := func(r *http.Request, secrets Secrets) int {
		t.Helper()
		push, err := Parse(r, secrets)
		var refused *Refused
		if push != nil || !errors.As(err, &refused) {
			t.Fatalf("%+v, %v", push, err)
		}
		return refused.Status
	}
	get := post("{}", "X-GitHub-Event: push")
	get.Method = http.MethodGet
	if got := status(get, Secrets{}); got != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", got)
	}
	flood := &endless{}
	r := post("", "X-GitHub-Event: push")
	r.Body, r.ContentLength = io.NopCloser(flood), -1
	if got := status(r, Secrets{MaxBytes: 1 << 16}); got != http.StatusRequestEntityTooLarge || flood.read > 1<<18 {
		t.Errorf("a body without an end: %d after %d bytes", got, flood.read)
	}
	r = post(strings.Repeat("x", 100), "X-GitHub-Event: push")
	r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, 10)
	if got := status(r, Secrets{}); got != http.StatusRequestEntityTooLarge {
		t.Errorf("bounded by the server: %d", got)
	}
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "hello", "half": `{"ref":`, "an array": "[]", "another type": `{"ref":{"a":1}}`, "deep": strings.Repeat(`{"a":`, 1<<20),
		"deep in a field nobody reads": `{"x":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`,
		"no repository":                `{"ref":"refs/heads/main"}`, "no URL": `{"ref":"refs/heads/main","repository":{"html_url":":::"}}`,
	} {
		for _, header := range []string{"X-GitHub-Event: push", "X-Gogs-Event: push", "X-Gitlab-Event: Push Hook", "X-Vss-Activityid: 1", "X-Event-Key: repo:refs_changed", "X-None: x"} {
			push, err := Parse(post(body, header), Secrets{})
			if push != nil {
				t.Errorf("%s by %s: %+v", name, header, push)
			}
			var refused *Refused
			if err != nil && (!errors.As(err, &refused) || refused.Status != http.StatusBadRequest) {
				t.Errorf("%s by %s: %v", name, header, err)
			}
		}
	}
	// More references than a repository has: all of them may have moved.
	var updates []string
	for i := range maxChanges + 1 {
		updates = append(updates, fmt.Sprintf(`{"name":"refs/heads/b%d"}`, i))
	}
	push, err := Parse(post(`{"eventType":"git.push","resource":{"refUpdates":[`+strings.Join(updates, ",")+`],"repository":{"remoteUrl":"https://dev.azure.com/a/b/_git/c"}}}`, "X-Vss-Activityid: 1"), Secrets{})
	if err != nil || len(push.Changes) != 1 || !push.Concerns("https://dev.azure.com/a/b/_git/c", "v1.*") {
		t.Errorf("%v, %v", push, err)
	}
	push, err = Parse(post(`{"repoURL":"https://example.com/a","ref":"`+strings.Repeat("x", maxName+1)+`"}`), Secrets{})
	if push != nil || err != nil {
		t.Errorf("an endless name: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, d := range deliveries {
		f.Add(strings.Join(d.headers, "\n"), []byte(d.body), "git@example.com:a/b.git", "v1.*")
	}
	f.Fuzz(func(t *testing.T, headers string, body []byte, repository, revision string) {
		r := post("", strings.Split(headers, "\n")...)
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		push, err := Parse(r, Secrets{MaxBytes: 1 << 16})
		if err != nil {
			var refused *Refused
			if !errors.As(err, &refused) || push != nil {
				t.Fatalf("%v, %v", push, err)
			}
			return
		}
		if push == nil {
			return
		}
		if len(push.Changes) == 0 || len(push.Changes) > maxChanges || len(push.URLs) == 0 && push.PullRequest == nil {
			t.Fatalf("%+v", push)
		}
		if push.Concerns(repository, revision) && placeOf(repository) == "" {
			t.Fatalf("%q is no repository", repository)
		}
		for _, address := range push.URLs {
			if !push.names(address) {
				t.Fatalf("%q is not itself", address)
			}
		}
		push.ConcernsPullRequests(&model.PullRequestsQuestion{Forge: model.Forge{Kind: push.Forge, API: repository}, Repository: revision})
	})
}
