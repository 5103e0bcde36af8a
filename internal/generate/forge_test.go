package generate

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
)

// lines prints repositories as organization/name@branch#commit, sorted.
func lines(repositories []model.Repository) []string {
	all := transform(repositories, func(r model.Repository) string {
		return fmt.Sprintf("%s@%s#%s", r.Name, r.Branch, strings.TrimLeft(r.SHA, "0"))
	})
	slices.Sort(all)
	return all
}

func numbers(pulls []model.PullRequest) []int {
	return transform(pulls, func(p model.PullRequest) int { return p.Number })
}

func ask(t *testing.T, a *Asker, q model.Question) model.Answer {
	t.Helper()
	answer := a.Ask(t.Context(), q)
	if answer.Fault != nil {
		t.Fatalf("fault: %s (advice %q)", answer.Fault.Message, answer.Fault.Advice)
	}
	return answer
}

// isFault checks that an answer is a fault and nothing else, and hands it over.
func isFault(t *testing.T, answer model.Answer) *model.Fault {
	t.Helper()
	fault := answer.Fault
	if fault == nil {
		t.Fatalf("no fault, but %+v", answer)
	}
	answer.Fault = nil
	if !reflect.DeepEqual(answer, model.Answer{}) {
		t.Errorf("beside the fault there is %+v", answer)
	}
	if fault.Reason != reason || fault.Message == "" {
		t.Errorf("fault without reason or message: %+v", fault)
	}
	if text := fmt.Sprintf("%+v %s", *fault, fault); strings.Contains(text, worldToken) {
		t.Errorf("the fault tells a secret: %s", text)
	}
	return fault
}

func mustFail(t *testing.T, answer model.Answer) {
	t.Helper()
	_ = isFault(t, answer)
}

func TestRepositories(t *testing.T) {
	const (
		shop, blog, attic, tools = "shop@main#10", "blog@main#20", "attic@main#30", "tools@trunk#40"
		cart, release            = "shop@feature/cart#11", "shop@release#12"
	)
	for _, c := range []struct {
		name   string
		change func(*model.RepositoriesQuestion)
		want   []string
		labels bool // only where repositories have labels
	}{
		{name: "default branches", want: []string{blog, shop, tools}},
		{name: "archived too", change: func(q *model.RepositoriesQuestion) { q.Archived = true }, want: []string{attic, blog, shop, tools}},
		{name: "all branches", change: func(q *model.RepositoriesQuestion) { q.AllBranches = true }, want: []string{blog, cart, shop, release, tools}},
		{
			name:   "by name",
			change: filter1(model.RepositoryFilter{RepositoryMatch: "^s|l.g$"}), want: []string{blog, shop},
		},
		{
			name:   "a file and a directory that must exist",
			change: filter1(model.RepositoryFilter{PathsExist: []string{"deploy/", "README.md"}}), want: []string{shop},
		},
		{
			name: "a path that must not",
			change: func(q *model.RepositoriesQuestion) {
				q.AllBranches = true
				q.Filters = []model.RepositoryFilter{{PathsExist: []string{"deploy"}, PathsDoNotExist: []string{"off.txt"}}}
			},
			want: []string{shop},
		},
		{
			name: "by branch, one of two filters is enough",
			change: func(q *model.RepositoriesQuestion) {
				q.AllBranches = true
				q.Filters = []model.RepositoryFilter{{BranchMatch: "^feature/"}, {RepositoryMatch: "tools", BranchMatch: "."}, {}}
			},
			want: []string{cart, tools},
		},
		{
			// argo-cd: filters of repositories come first, filters of branches after them.
			name: "a filter of repositories and one of branches",
			change: func(q *model.RepositoriesQuestion) {
				q.Filters = []model.RepositoryFilter{{RepositoryMatch: "shop|tools"}, {PathsExist: []string{"deploy"}}}
			},
			want: []string{shop},
		},
		{
			name:   "by label",
			change: filter1(model.RepositoryFilter{LabelMatch: "^web"}), want: []string{shop}, labels: true,
		},
		{
			name:   "by label and path",
			change: filter1(model.RepositoryFilter{LabelMatch: "staging|prod", PathsExist: []string{"off.txt"}}), want: []string{blog}, labels: true,
		},
		{name: "nothing", change: filter1(model.RepositoryFilter{RepositoryMatch: "^$"}), want: []string{}},
		{name: "the root", change: filter1(model.RepositoryFilter{PathsExist: []string{"/"}}), want: []string{blog, shop, tools}},
	} {
		for _, d := range dialects {
			if c.labels && !d.labels {
				continue
			}
			t.Run(d.kind+"/"+c.name, func(t *testing.T) {
				w := newWorld()
				if !d.archives { // it has none, or lists them like all others
					w.repos = slices.DeleteFunc(w.repos, func(r worldRepo) bool { return r.archived })
				}
				q := d.repositories(d.serve(t, w).URL)
				if c.change != nil {
					c.change(q)
				}
				want := c.want
				if !d.archives {
					want = slices.DeleteFunc(slices.Clone(want), func(line string) bool { return line == attic })
				}
				got := lines(ask(t, New(Options{}), model.Question{Repositories: q}).Repositories)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			})
		}
	}
}

func filter1(f model.RepositoryFilter) func(*model.RepositoriesQuestion) {
	return func(q *model.RepositoriesQuestion) { q.Filters = []model.RepositoryFilter{f} }
}

// Every field of a repository, as upstream fills it.
func TestRepositoryFields(t *testing.T) {
	ssh, https := "git@forge:acme/shop", "https://forge/acme/shop.git"
	for _, d := range dialects {
		want := model.Repository{Organization: worldOwner, Name: "shop", URL: ssh, Branch: "main", SHA: sha(0x10), ID: "4"}
		if d.labels {
			want.Labels = []string{"prod", "go", "web"}
		}
		secure := https
		switch d.kind {
		case "github":
			want.Organization = "Acme"
		case "gitlab":
			want.Organization, want.ID = "Acme", "100"
		case "gitea":
			secure = "https://forge/acme/shop" // the page's address, as upstream
		case "bitbucket-cloud":
			want.ID = "{shop}"
		case "bitbucket-server":
			want.Organization = worldProject
		case "azuredevops":
			want.ID, want.URL = "id-shop", https // it has no protocols
		}
		for protocol, address := range map[string]string{"": want.URL, "ssh": want.URL, "https": secure} {
			t.Run(d.kind+"/"+cmp.Or(protocol, "default"), func(t *testing.T) {
				q := d.repositories(d.serve(t, newWorld()).URL)
				q.CloneProtocol = protocol
				want := want
				want.URL = address
				for _, got := range ask(t, New(Options{}), model.Question{Repositories: q}).Repositories {
					if got.Name == "shop" && !reflect.DeepEqual(got, want) {
						t.Errorf("got  %+v\nwant %+v", got, want)
					}
				}
			})
		}
	}
}

func TestPullRequests(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*model.PullRequestsQuestion)
		want   []int
		labels bool
	}{
		{name: "all", want: []int{7, 8, 9, 12, 13}},
		{name: "by branch", change: func(q *model.PullRequestsQuestion) {
			q.Filters = []model.PullRequestFilter{{BranchMatch: "^feature/"}}
		}, want: []int{7, 9, 13}},
		{name: "by branch and target, or by title", change: func(q *model.PullRequestsQuestion) {
			q.Filters = []model.PullRequestFilter{{BranchMatch: "^feature/", TargetBranchMatch: "^main$"}, {TitleMatch: "^docs"}}
		}, want: []int{7, 12, 13}},
		{name: "by label", change: func(q *model.PullRequestsQuestion) { q.Labels = []string{"preview"} }, want: []int{7, 8, 13}, labels: true},
		{name: "by two labels", change: func(q *model.PullRequestsQuestion) { q.Labels = []string{"preview", "big"} }, want: []int{7}, labels: true},
		{name: "none", change: func(q *model.PullRequestsQuestion) {
			q.Filters = []model.PullRequestFilter{{TitleMatch: "^$"}}
		}, want: []int{}},
	} {
		for _, d := range dialects {
			if c.labels && !d.pullLabels {
				continue
			}
			t.Run(d.kind+"/"+c.name, func(t *testing.T) {
				q := d.pullRequests(d.serve(t, newWorld()).URL)
				if c.change != nil {
					c.change(q)
				}
				answer := ask(t, New(Options{}), model.Question{PullRequests: q})
				if got := numbers(answer.PullRequests); !slices.Equal(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
			})
		}
	}
}

func TestPullRequestFields(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.kind, func(t *testing.T) {
			q := d.pullRequests(d.serve(t, newWorld()).URL)
			got := ask(t, New(Options{}), model.Question{PullRequests: q}).PullRequests[0]
			want := model.PullRequest{
				Number: 7, Title: "feat: cart", Branch: "feature/cart", TargetBranch: "main", HeadSHA: sha(0x11), Author: "ann",
			}
			if d.pullLabels {
				want.Labels = []string{"preview", "big"}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// Unknown is not empty: whichever request fails, the whole answer is a fault.
func TestAnyFailureIsAFault(t *testing.T) {
	failures := map[string]struct {
		with  http.HandlerFunc
		retry bool
	}{
		"500":     {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 500, "oops "+worldToken) }, true},
		"garbage": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>sign in</html>`)) }, true},
		"403":     {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 403, "no") }, false},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("[]"))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, true},
	}
	for _, d := range dialects {
		for name, failure := range failures {
			for _, kind := range []string{"repositories", "pull requests"} {
				t.Run(d.kind+"/"+kind+"/"+name, func(t *testing.T) {
					q := func(address string) model.Question {
						if kind == "pull requests" {
							p := d.pullRequests(address)
							p.MissingIsEmpty = true
							return model.Question{PullRequests: p}
						}
						r := d.repositories(address)
						r.AllBranches = true
						r.Filters = []model.RepositoryFilter{{PathsExist: []string{"deploy"}, PathsDoNotExist: []string{"off.txt"}}}
						return model.Question{Repositories: r}
					}
					one := Options{Limits: Limits{Parallel: 1}}
					s := d.serve(t, newWorld())
					ask(t, New(one), q(s.URL))
					asked := s.requests()
					for at := 1; at <= len(asked); at++ {
						// A status is all that these requests are about.
						statusOnly := strings.Contains(asked[at-1], "/contents/") || strings.Contains(asked[at-1], "/files/") ||
							strings.Contains(asked[at-1], "/src/") || strings.Contains(asked[at-1], "/browse/") || strings.Contains(asked[at-1], "/items?")
						if name == "garbage" && statusOnly || name == "cut off" && strings.HasPrefix(asked[at-1], "HEAD") {
							continue
						}
						s.forget()
						s.failAt, s.failWith = at, failure.with
						fault := isFault(t, New(one).Ask(context.Background(), q(s.URL)))
						if fault.Retry != failure.retry {
							t.Errorf("request %d, %s: retry is %v: %s", at, asked[at-1], fault.Retry, fault.Message)
						}
					}
				})
			}
		}
	}
}

func TestMissingRepository(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.kind, func(t *testing.T) {
			q := d.pullRequests(d.serve(t, newWorld()).URL)
			q.Repository = "nowhere"
			fault := isFault(t, New(Options{}).Ask(t.Context(), model.Question{PullRequests: q}))
			if fault.Retry || fault.Advice == "" || !strings.Contains(fault.Message, "nowhere") {
				t.Errorf("fault: %+v", fault)
			}
			q.MissingIsEmpty = true
			if got := ask(t, New(Options{}), model.Question{PullRequests: q}).PullRequests; len(got) != 0 {
				t.Errorf("got %+v", got)
			}
			r := d.repositories(q.Forge.API)
			r.Forge.Owner, r.Forge.Project = "nobody", "NONE"
			mustFail(t, New(Options{}).Ask(t.Context(), model.Question{Repositories: r}))
		})
	}
}

func TestWrongCredentialIsAFault(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.kind, func(t *testing.T) {
			s := d.serve(t, newWorld())
			q := d.repositories(s.URL)
			q.Forge.Credential = model.Credential{Token: secret("other-secret-77"), Username: "x"}
			fault := isFault(t, New(Options{}).Ask(t.Context(), model.Question{Repositories: q, Origin: model.Origin{Field: "spec.generators[0]"}}))
			if strings.Contains(fault.Error(), "other-secret-77") || !strings.Contains(fault.Message, "401") || fault.Retry {
				t.Errorf("fault: %+v", fault)
			}
			if fault.Origin.Field != "spec.generators[0]" {
				t.Errorf("origin: %+v", fault.Origin)
			}
		})
	}
}

func TestRefusedBeforeAnythingIsAsked(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	for name, q := range map[string]model.Question{
		"not for us":         {Clusters: true},
		"unknown forge":      {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "sourcehut", API: s.URL, Owner: "a"}}},
		"codecommit":         {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "aws-codecommit"}}},
		"no owner":           {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "github", API: s.URL}}},
		"way up":             {PullRequests: &model.PullRequestsQuestion{Forge: model.Forge{Kind: "github", API: s.URL, Owner: ".."}, Repository: "x"}},
		"no repository":      {PullRequests: &model.PullRequestsQuestion{Forge: model.Forge{Kind: "gitea", API: s.URL, Owner: "a"}}},
		"no gitea address":   {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "gitea", Owner: "a"}}},
		"no server address":  {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "bitbucket-server", Project: "A"}}},
		"azure, no token":    {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "azuredevops", API: s.URL, Owner: "a", Project: "p"}}},
		"no http":            {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "gitlab", API: "file:///etc/passwd", Owner: "a"}}},
		"password in it":     {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "gitlab", API: "https://u:" + worldToken + "@h", Owner: "a"}}},
		"unknown protocol":   {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "github", API: s.URL, Owner: "a"}, CloneProtocol: "git"}},
		"bad expression":     {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "github", API: s.URL, Owner: "a"}, Filters: []model.RepositoryFilter{{BranchMatch: "("}}}},
		"bad pull filter":    {PullRequests: &model.PullRequestsQuestion{Forge: model.Forge{Kind: "github", API: s.URL, Owner: "a"}, Repository: "r", Filters: []model.PullRequestFilter{{TitleMatch: "("}}}},
		"bad authority":      {Repositories: &model.RepositoriesQuestion{Forge: model.Forge{Kind: "gitlab", API: s.URL, Owner: "a", Credential: model.Credential{CA: []byte("x")}}}},
		"plugin, no address": {Plugin: &model.PluginQuestion{}},
	} {
		t.Run(name, func(t *testing.T) {
			if fault := isFault(t, New(Options{}).Ask(t.Context(), q)); fault.Retry {
				t.Errorf("trying again cannot help: %+v", fault)
			}
		})
	}
	if asked := s.requests(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
}

// Which address is asked for a declared one.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ kind, declared, want string }{
		{"github", "", "https://api.github.com"},
		{"github", "https://ghe.example/", "https://ghe.example/api/v3"},
		{"github", "https://ghe.example/api/v3/", "https://ghe.example/api/v3"},
		{"github", "https://api.ghe.example", "https://api.ghe.example"},
		{"github", "https://acme.api.ghe.example/", "https://acme.api.ghe.example"},
		{"gitlab", "", "https://gitlab.com/api/v4"},
		{"gitlab", "https://git.example/lab/?x=1#y", "https://git.example/lab/api/v4"},
		{"gitlab", "https://git.example/api/v4/", "https://git.example/api/v4"},
		{"gitea", "http://git.example:3000/", "http://git.example:3000/api/v1"},
		{"bitbucket-cloud", "", "https://api.bitbucket.org/2.0"},
		{"bitbucket-server", "https://git.example/rest/", "https://git.example/rest/api/1.0"},
		{"bitbucket-server", "https://git.example/stash", "https://git.example/stash/rest/api/1.0"},
		{"azuredevops", "", "https://dev.azure.com"},
	} {
		_, host, err := New(Options{}).forge(forgeQuestion{Forge: model.Forge{
			Kind: c.kind, API: c.declared, Owner: "a", Project: "p", Credential: model.Credential{Token: secret("t")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got := host.base.String(); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.kind, c.declared, got, c.want)
		}
	}
}

// GitLab's parameters, and a group and a project named by their paths.
func TestGitLabParameters(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, []fields{}) })
	no := false
	forge := model.Forge{Kind: "gitlab", API: s.URL, Owner: "acme/web"}
	ask(t, New(Options{}), model.Question{Repositories: &model.RepositoriesQuestion{Forge: forge}})
	ask(t, New(Options{}), model.Question{Repositories: &model.RepositoriesQuestion{
		Forge: forge, Subgroups: true, SharedGroups: &no, Topic: "blue", Archived: true,
	}})
	ask(t, New(Options{}), model.Question{PullRequests: &model.PullRequestsQuestion{Forge: forge, Repository: "acme/web/shop"}})
	ask(t, New(Options{}), model.Question{PullRequests: &model.PullRequestsQuestion{Forge: forge, Repository: "7", State: "merged", Labels: []string{"a", "b"}}})
	want := []string{
		"GET /api/v4/groups/acme%2Fweb/projects?include_subgroups=false&per_page=100&with_shared=true",
		"GET /api/v4/groups/acme%2Fweb/projects?include_subgroups=true&per_page=100&topic=blue&with_shared=false",
		"GET /api/v4/groups/acme%2Fweb/projects?archived=true&include_subgroups=true&per_page=100&topic=blue&with_shared=false",
		"GET /api/v4/projects/acme%2Fweb%2Fshop/merge_requests?per_page=100",
		"GET /api/v4/projects/7/merge_requests?labels=a%2Cb&per_page=100&state=merged",
	}
	if got := s.requests(); !slices.Equal(got, want) {
		t.Errorf("asked:\n%s", strings.Join(got, "\n"))
	}
}

// Archived projects are there whichever way a version of GitLab understands
// the parameter.
func TestGitLabArchived(t *testing.T) {
	d := dialects[1]
	q := d.repositories(d.serve(t, newWorld()).URL)
	q.Archived = true
	got := lines(ask(t, New(Options{}), model.Question{Repositories: q}).Repositories)
	if want := []string{"attic@main#30", "blog@main#20", "shop@main#10", "tools@trunk#40"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// A repository of Bitbucket Server that cannot be read any more is not one
// without commits.
func TestStashRepositoryGone(t *testing.T) {
	for code, want := range map[string]bool{
		"com.atlassian.bitbucket.repository.NoSuchBranchException":     true,
		"com.atlassian.bitbucket.repository.NoSuchRepositoryException": false,
	} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/repos") {
				reply(w, fields{"isLastPage": true, "values": []fields{{"name": "shop", "slug": "shop", "project": fields{"key": "WEB"}}}})
				return
			}
			w.WriteHeader(http.StatusNotFound)
			reply(w, fields{"errors": []fields{{"message": "gone", "exceptionName": code}}})
		})
		answer := New(Options{}).Ask(t.Context(), model.Question{Repositories: &model.RepositoriesQuestion{
			Forge: model.Forge{Kind: "bitbucket-server", API: s.URL, Project: "WEB"},
		}})
		if ok := answer.Fault == nil; ok != want {
			t.Errorf("%s: %+v", code, answer.Fault)
		}
	}
}
