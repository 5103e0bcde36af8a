package generate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"plumb.dev/plumb/internal/model"
)

// world is what the forges of the tests host, told once and spoken in the
// words of each of them. Pages have two entries, so that every list goes on.
type world struct {
	repos []worldRepo
	pulls []worldPull // of the repository "shop"
}

type worldRepo struct {
	name     string
	labels   []string
	archived bool
	branches []worldBranch // the first one is the default; none: an empty repository
}

type worldBranch struct {
	name, sha string
	files     []string
}

type worldPull struct {
	number                     int
	title, branch, target, sha string
	author                     string
	labels                     []string
}

const (
	worldOwner   = "acme"
	worldProject = "WEB"
	worldToken   = "canary-token-5d1f"
	perPage      = 2
)

func sha(n int) string { return fmt.Sprintf("%040x", n) }

func newWorld() *world {
	return &world{
		repos: []worldRepo{
			{name: "shop", labels: []string{"prod", "go", "web"}, branches: []worldBranch{
				{"main", sha(0x10), []string{"deploy/kustomization.yaml", "README.md"}},
				{"feature/cart", sha(0x11), []string{"README.md"}},
				{"release", sha(0x12), []string{"deploy/kustomization.yaml", "off.txt"}},
			}},
			{name: "empty"},
			{name: "blog", labels: []string{"staging"}, branches: []worldBranch{{"main", sha(0x20), []string{"deploy/app.yaml", "off.txt"}}}},
			{name: "attic", archived: true, labels: []string{"prod"}, branches: []worldBranch{{"main", sha(0x30), []string{"deploy/app.yaml"}}}},
			{name: "tools", branches: []worldBranch{{"trunk", sha(0x40), []string{"main.go"}}}},
		},
		pulls: []worldPull{
			{7, "feat: cart", "feature/cart", "main", sha(0x11), "ann", []string{"preview", "big"}},
			{8, "fix: price", "fix/price", "main", sha(0x50), "bob", []string{"preview"}},
			{9, "feat: two", "feature/two", "release", sha(0x51), "ann", nil},
			{12, "docs", "docs", "main", sha(0x52), "cid", []string{"big"}},
			{13, "feat: last", "feature/last", "main", sha(0x53), "ann", []string{"preview"}},
		},
	}
}

func (w *world) repo(name string) *worldRepo {
	for i := range w.repos {
		if w.repos[i].name == name {
			return &w.repos[i]
		}
	}
	return nil
}

func (r *worldRepo) branch(name string) *worldBranch {
	for i := range r.branches {
		if r.branches[i].name == name || r.branches[i].sha == name {
			return &r.branches[i]
		}
	}
	return nil
}

// has says whether a path is a file, a directory or nothing of a commit.
func (b *worldBranch) has(path string) (file, directory bool) {
	return slices.Contains(b.files, path),
		slices.ContainsFunc(b.files, func(f string) bool { return strings.HasPrefix(f, path+"/") })
}

// dialect is how one kind of forge speaks.
type dialect struct {
	kind       string
	labels     bool // repositories have labels or topics
	pullLabels bool
	archives   bool // archived repositories are left out unless asked for
	routes     func(*world, *http.ServeMux)
	forge      func(address string) model.Forge
	authorized func(*http.Request) bool
}

func (d dialect) repositories(address string) *model.RepositoriesQuestion {
	return &model.RepositoriesQuestion{Forge: d.forge(address)}
}

func (d dialect) pullRequests(address string) *model.PullRequestsQuestion {
	return &model.PullRequestsQuestion{Forge: d.forge(address), Repository: "shop"}
}

// server is a forge that counts what it is asked and can be told to fail.
type server struct {
	*httptest.Server

	mu       sync.Mutex
	asked    []string
	failAt   int // the request that fails, from 1; 0: none
	failWith http.HandlerFunc
}

func (d dialect) serve(t *testing.T, w *world) *server {
	t.Helper()
	mux := http.NewServeMux()
	d.routes(w, mux)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !d.authorized(r) {
			refuse(w, http.StatusUnauthorized, "bad credential "+r.Header.Get("Authorization")+r.Header.Get("Private-Token"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func serve(t *testing.T, handle http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
		fail := len(s.asked) == s.failAt
		s.mu.Unlock()
		if fail {
			s.failWith(w, r)
			return
		}
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		panic(err)
	}
}

type fields = map[string]any

func refuse(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	reply(w, fields{"message": message})
}

// pageOf cuts the page that a parameter counts from 1; next is 0 behind the last.
func pageOf[T any](r *http.Request, all []T) (items []T, next int) {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	page = max(page, 1)
	from, to := min((page-1)*perPage, len(all)), min(page*perPage, len(all))
	if to < len(all) {
		next = page + 1
	}
	return all[from:to], next
}

func objects[T any](items []T, to func(T) fields) []fields {
	all := []fields{}
	for _, item := range items {
		all = append(all, to(item))
	}
	return all
}

func named(names []string) []fields {
	return objects(names, func(name string) fields { return fields{"name": name} })
}

func token(header, value string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Header.Get(header) == value }
}

func basicAuth(user, password string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		u, p, ok := r.BasicAuth()
		return ok && u == user && p == password
	}
}

func forgeOf(kind string, credential model.Credential) func(string) model.Forge {
	return func(address string) model.Forge {
		return model.Forge{Kind: kind, API: address, Owner: worldOwner, Project: worldProject, Credential: credential}
	}
}

func secret(s string) model.Secret { return model.NewSecret([]byte(s)) }

var dialects = []dialect{
	{
		kind: "github", labels: true, pullLabels: true, archives: true,
		routes:     githubRoutes,
		forge:      forgeOf("github", model.Credential{Token: secret(worldToken)}),
		authorized: token("Authorization", "Bearer "+worldToken),
	},
	{
		kind: "gitlab", labels: true, pullLabels: true,
		routes:     gitlabRoutes,
		forge:      forgeOf("gitlab", model.Credential{Token: secret(worldToken)}),
		authorized: token("Private-Token", worldToken),
	},
	{
		kind: "gitea", labels: true, pullLabels: true, archives: true,
		routes:     giteaRoutes,
		forge:      forgeOf("gitea", model.Credential{Token: secret(worldToken)}),
		authorized: token("Authorization", "token "+worldToken),
	},
	{
		kind:       "bitbucket-cloud",
		routes:     bitbucketCloudRoutes,
		forge:      forgeOf("bitbucket-cloud", model.Credential{Username: "robot", Password: secret(worldToken)}),
		authorized: basicAuth("robot", worldToken),
	},
	{
		kind:       "bitbucket-server",
		routes:     bitbucketServerRoutes,
		forge:      forgeOf("bitbucket-server", model.Credential{Token: secret(worldToken)}),
		authorized: token("Authorization", "Bearer "+worldToken),
	},
	{
		kind: "azuredevops", pullLabels: true,
		routes:     azureRoutes,
		forge:      forgeOf("azuredevops", model.Credential{Token: secret(worldToken)}),
		authorized: basicAuth("", worldToken),
	},
}

func githubRoutes(world *world, mux *http.ServeMux) {
	const api = "/api/v3"
	page := func(w http.ResponseWriter, r *http.Request, all []fields) {
		items, next := pageOf(r, all)
		if next > 0 { // an address that is known behind a proxy only
			w.Header().Set("Link", fmt.Sprintf(`<https://inside.example/x?page=1>; rel="first", <https://inside.example/x?per_page=100&page=%d>; rel="next"`, next))
		}
		reply(w, items)
	}
	head := func(b worldBranch) fields { return fields{"name": b.name, "commit": fields{"sha": b.sha}} }
	mux.HandleFunc("GET "+api+"/orgs/acme/repos", func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(world.repos, func(r worldRepo) fields {
			return fields{
				"id": len(r.name), "name": r.name, "archived": r.archived, "topics": r.labels, "default_branch": defaultBranch(r),
				"owner": fields{"login": "Acme"}, "ssh_url": "git@forge:acme/" + r.name, "clone_url": "https://forge/acme/" + r.name + ".git",
			}
		}))
	})
	hubRoutes(world, mux, api+"/repos/{owner}", "{branch}", page, head, func(url.Values) {})
}

// hubRoutes are what GitHub and Gitea have in common below the repositories of
// an owner. open looks at how pull requests are asked for.
func hubRoutes(world *world, mux *http.ServeMux, owner, branch string, page func(http.ResponseWriter, *http.Request, []fields), head func(worldBranch) fields, open func(url.Values)) {
	at := "GET " + owner + "/{repo}"
	mux.HandleFunc(at+"/branches", func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(world.repo(r.PathValue("repo")).branches, head))
	})
	mux.HandleFunc(at+"/branches/"+branch, func(w http.ResponseWriter, r *http.Request) {
		if b := world.repo(r.PathValue("repo")).branch(r.PathValue("branch")); b != nil {
			reply(w, head(*b))
			return
		}
		refuse(w, http.StatusNotFound, "branch does not exist")
	})
	mux.HandleFunc(at+"/contents/{path...}", func(w http.ResponseWriter, r *http.Request) {
		contents(w, r, world.repo(r.PathValue("repo")).branch(r.URL.Query().Get("ref")))
	})
	mux.HandleFunc(at+"/pulls", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("repo") != "shop" {
			refuse(w, http.StatusNotFound, "Not Found")
			return
		}
		open(r.URL.Query())
		page(w, r, objects(world.pulls, func(p worldPull) fields {
			return fields{
				"number": p.number, "title": p.title, "labels": named(p.labels), "user": fields{"login": p.author},
				"head": fields{"ref": p.branch, "sha": p.sha}, "base": fields{"ref": p.target},
			}
		}))
	})
}

func contents(w http.ResponseWriter, r *http.Request, b *worldBranch) {
	switch file, directory := b.has(r.PathValue("path")); {
	case file:
		reply(w, fields{"type": "file"})
	case directory:
		reply(w, []fields{})
	default:
		refuse(w, http.StatusNotFound, "Not Found")
	}
}

func defaultBranch(r worldRepo) string {
	if len(r.branches) == 0 {
		return "main" // it is named before it exists
	}
	return r.branches[0].name
}

func gitlabRoutes(world *world, mux *http.ServeMux) {
	const api = "/api/v4"
	page := func(w http.ResponseWriter, r *http.Request, all []fields) {
		items, next := pageOf(r, all)
		w.Header().Set("X-Next-Page", "")
		if next > 0 {
			w.Header().Set("X-Next-Page", strconv.Itoa(next))
		}
		reply(w, items)
	}
	repo := func(r *http.Request) *worldRepo {
		id, _ := strconv.Atoi(r.PathValue("id"))
		return &world.repos[id-100]
	}
	head := func(b worldBranch) fields { return fields{"name": b.name, "commit": fields{"id": b.sha}} }
	mux.HandleFunc("GET "+api+"/groups/{group}/projects", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("group") != "acme" {
			refuse(w, http.StatusNotFound, "404 Group Not Found")
			return
		}
		all := []fields{}
		for i, repo := range world.repos {
			// As GitLab has it: without the parameter all, with it archived ones only.
			if r.URL.Query().Get("archived") != "true" || repo.archived {
				all = append(all, fields{
					"id": 100 + i, "path": repo.name, "topics": repo.labels, "default_branch": defaultBranch(repo),
					"namespace": fields{"full_path": "Acme"}, "ssh_url_to_repo": "git@forge:acme/" + repo.name, "http_url_to_repo": "https://forge/acme/" + repo.name + ".git",
				})
			}
		}
		page(w, r, all)
	})
	mux.HandleFunc("GET "+api+"/projects/{id}/repository/branches", func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(repo(r).branches, head))
	})
	mux.HandleFunc("GET "+api+"/projects/{id}/repository/branches/{branch}", func(w http.ResponseWriter, r *http.Request) {
		if b := repo(r).branch(r.PathValue("branch")); b != nil {
			reply(w, head(*b))
			return
		}
		refuse(w, http.StatusNotFound, "404 Branch Not Found")
	})
	mux.HandleFunc("HEAD "+api+"/projects/{id}/repository/files/{path}", func(w http.ResponseWriter, r *http.Request) {
		if file, _ := repo(r).branch(r.URL.Query().Get("ref")).has(r.PathValue("path")); !file {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	mux.HandleFunc("GET "+api+"/projects/{id}/repository/tree", func(w http.ResponseWriter, r *http.Request) {
		if _, directory := repo(r).branch(r.URL.Query().Get("ref")).has(r.URL.Query().Get("path")); directory {
			reply(w, []fields{{"type": "blob"}})
			return
		}
		refuse(w, http.StatusNotFound, "404 Tree Not Found")
	})
	mux.HandleFunc("GET "+api+"/projects/shop/merge_requests", func(w http.ResponseWriter, r *http.Request) {
		var wanted []string
		if labels := r.URL.Query().Get("labels"); labels != "" {
			wanted = strings.Split(labels, ",")
		}
		all := []fields{}
		for _, p := range world.pulls {
			if labelled(wanted, p.labels) {
				all = append(all, fields{
					"iid": p.number, "title": p.title, "labels": p.labels, "author": fields{"username": p.author},
					"source_branch": p.branch, "target_branch": p.target, "sha": p.sha,
				})
			}
		}
		page(w, r, all)
	})
}

func giteaRoutes(world *world, mux *http.ServeMux) {
	const api = "/api/v1"
	page := func(w http.ResponseWriter, r *http.Request, all []fields) {
		items, next := pageOf(r, all)
		w.Header().Set("X-Total-Count", strconv.Itoa(len(all)))
		if next > 0 {
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?limit=50&page=%d>; rel="next"`, r.Host, r.URL.Path, next))
		}
		reply(w, items)
	}
	head := func(b worldBranch) fields { return fields{"name": b.name, "commit": fields{"id": b.sha}} }
	mux.HandleFunc("GET "+api+"/orgs/acme/repos", func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(world.repos, func(r worldRepo) fields {
			return fields{
				"id": len(r.name), "name": r.name, "archived": r.archived, "empty": len(r.branches) == 0, "default_branch": defaultBranch(r),
				"ssh_url": "git@forge:acme/" + r.name, "html_url": "https://forge/acme/" + r.name,
			}
		}))
	})
	mux.HandleFunc("GET "+api+"/repos/acme/{repo}/labels", func(w http.ResponseWriter, r *http.Request) {
		labels := named(world.repo(r.PathValue("repo")).labels)
		if r.PathValue("repo") == "shop" { // as Gitea 1.25 has it: no Link; the others as older versions have it
			w.Header().Set("X-Total-Count", strconv.Itoa(len(labels)))
		}
		items, _ := pageOf(r, labels)
		reply(w, items)
	})
	hubRoutes(world, mux, api+"/repos/acme", "{branch...}", page, head, func(asked url.Values) {
		if asked.Get("state") != "open" {
			panic("closed pull requests are asked for")
		}
	})
}

func bitbucketCloudRoutes(world *world, mux *http.ServeMux) {
	page := func(w http.ResponseWriter, r *http.Request, all []fields) {
		items, next := pageOf(r, all)
		answer := fields{"values": items}
		if next > 0 {
			query := r.URL.Query()
			query.Set("page", strconv.Itoa(next))
			answer["next"] = "http://" + r.Host + r.URL.EscapedPath() + "?" + query.Encode()
		}
		reply(w, answer)
	}
	missing := func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusNotFound)
		reply(w, fields{"type": "error", "error": fields{"message": "There is nothing here"}})
	}
	head := func(b worldBranch) fields { return fields{"name": b.name, "target": fields{"hash": b.sha}} }
	mux.HandleFunc("GET /repositories/acme", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("role") != "member" {
			panic("repositories of others are asked for")
		}
		page(w, r, objects(world.repos, func(r worldRepo) fields {
			repo := fields{
				"uuid": "{" + r.name + "}", "slug": r.name, "mainbranch": nil,
				"links": fields{"clone": []fields{
					{"name": "https", "href": "https://forge/acme/" + r.name + ".git"},
					{"name": "ssh", "href": "git@forge:acme/" + r.name},
				}},
			}
			if len(r.branches) > 0 {
				repo["mainbranch"] = fields{"name": defaultBranch(r)}
			}
			return repo
		}))
	})
	mux.HandleFunc("GET /repositories/acme/{repo}/refs/branches", func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(world.repo(r.PathValue("repo")).branches, head))
	})
	mux.HandleFunc("GET /repositories/acme/{repo}/refs/branches/{branch...}", func(w http.ResponseWriter, r *http.Request) {
		if b := world.repo(r.PathValue("repo")).branch(r.PathValue("branch")); b != nil {
			reply(w, head(*b))
			return
		}
		missing(w)
	})
	mux.HandleFunc("GET /repositories/acme/{repo}/src/{commit}/{path...}", func(w http.ResponseWriter, r *http.Request) {
		file, directory := world.repo(r.PathValue("repo")).branch(r.PathValue("commit")).has(r.PathValue("path"))
		if !file && !directory {
			missing(w)
		}
	})
	mux.HandleFunc("GET /repositories/acme/shop/pullrequests", func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(world.pulls, func(p worldPull) fields {
			return fields{
				"id": p.number, "title": p.title, "author": fields{"nickname": p.author},
				"source":      fields{"branch": fields{"name": p.branch}, "commit": fields{"hash": p.sha}},
				"destination": fields{"branch": fields{"name": p.target}},
			}
		}))
	})
}

func bitbucketServerRoutes(world *world, mux *http.ServeMux) {
	const api = "/rest/api/1.0/projects/WEB/repos"
	page := func(w http.ResponseWriter, r *http.Request, all []fields) {
		start, _ := strconv.Atoi(r.URL.Query().Get("start"))
		end := min(start+perPage, len(all))
		answer := fields{"values": all[start:end], "isLastPage": end == len(all), "nextPageStart": nil}
		if end < len(all) {
			answer["nextPageStart"] = end
		}
		reply(w, answer)
	}
	missing := func(w http.ResponseWriter, what string) {
		w.WriteHeader(http.StatusNotFound)
		reply(w, fields{"errors": []fields{{"message": what + " does not exist", "exceptionName": "com.atlassian.bitbucket.NoSuch" + what + "Exception"}}})
	}
	head := func(b worldBranch) fields {
		return fields{"id": "refs/heads/" + b.name, "displayId": b.name, "latestCommit": b.sha}
	}
	mux.HandleFunc("GET "+api, func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(world.repos, func(r worldRepo) fields {
			return fields{
				"id": len(r.name), "slug": "slug-" + r.name, "name": r.name, "project": fields{"key": worldProject},
				"links": fields{"clone": []fields{
					{"name": "http", "href": "https://forge/acme/" + r.name + ".git"},
					{"name": "ssh", "href": "git@forge:acme/" + r.name},
				}},
			}
		}))
	})
	repo := func(r *http.Request) *worldRepo { return world.repo(strings.TrimPrefix(r.PathValue("repo"), "slug-")) }
	mux.HandleFunc("GET "+api+"/{repo}/branches/default", func(w http.ResponseWriter, r *http.Request) {
		if len(repo(r).branches) == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		reply(w, head(repo(r).branches[0]))
	})
	mux.HandleFunc("GET "+api+"/{repo}/branches", func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(repo(r).branches, head))
	})
	mux.HandleFunc("GET "+api+"/{repo}/browse/{path...}", func(w http.ResponseWriter, r *http.Request) {
		file, directory := repo(r).branch(r.URL.Query().Get("at")).has(r.PathValue("path"))
		if !file && !directory {
			missing(w, "Path")
			return
		}
		reply(w, fields{"type": "FILE"})
	})
	mux.HandleFunc("GET "+api+"/shop/pull-requests", func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(world.pulls, func(p worldPull) fields {
			return fields{
				"id": p.number, "title": p.title, "author": fields{"user": fields{"name": p.author}},
				"fromRef": fields{"displayId": p.branch, "latestCommit": p.sha}, "toRef": fields{"displayId": p.target},
			}
		}))
	})
}

func azureRoutes(world *world, mux *http.ServeMux) {
	const api = "/acme/WEB/_apis/git/repositories"
	page := func(w http.ResponseWriter, r *http.Request, all []fields) {
		start, _ := strconv.Atoi(r.URL.Query().Get("continuationToken"))
		end := min(start+perPage, len(all))
		if end < len(all) {
			w.Header().Set(azureContinuation, strconv.Itoa(end))
		}
		reply(w, fields{"count": end - start, "value": all[start:end]})
	}
	missing := func(w http.ResponseWriter, what string) {
		w.WriteHeader(http.StatusNotFound)
		reply(w, fields{"message": "TF401174: it could not be found.", "typeKey": what + "Exception"})
	}
	head := func(b worldBranch) fields { return fields{"name": b.name, "commit": fields{"commitId": b.sha}} }
	repo := func(r *http.Request) *worldRepo { return world.repo(strings.TrimPrefix(r.PathValue("id"), "id-")) }
	mux.HandleFunc("GET "+api, func(w http.ResponseWriter, r *http.Request) {
		page(w, r, objects(world.repos, func(r worldRepo) fields {
			one := fields{"id": "id-" + r.name, "name": r.name, "remoteUrl": "https://forge/acme/" + r.name + ".git"}
			if len(r.branches) > 0 {
				one["defaultBranch"] = "refs/heads/" + defaultBranch(r)
			}
			return one
		}))
	})
	mux.HandleFunc("GET "+api+"/{id}/stats/branches", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("name")
		if name == "" {
			page(w, r, objects(repo(r).branches, head))
			return
		}
		reply(w, head(*repo(r).branch(name)))
	})
	mux.HandleFunc("GET "+api+"/{id}/items", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		file, directory := repo(r).branch(query.Get("versionDescriptor.version")).has(strings.TrimPrefix(query.Get("path"), "/"))
		if !file && !directory {
			missing(w, "GitItemNotFound")
			return
		}
		reply(w, fields{"isFolder": directory})
	})
	mux.HandleFunc("GET "+api+"/{name}/pullrequests", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("name") != "shop" {
			missing(w, "GitRepositoryNotFound")
			return
		}
		skip, _ := strconv.Atoi(r.URL.Query().Get("$skip"))
		reply(w, fields{"value": objects(world.pulls[min(skip, len(world.pulls)):], func(p worldPull) fields {
			return fields{
				"pullRequestId": p.number, "title": p.title, "labels": named(p.labels), "createdBy": fields{"uniqueName": p.author + "@acme.example"},
				"sourceRefName": "refs/heads/" + p.branch, "targetRefName": "refs/heads/" + p.target,
				"lastMergeSourceCommit": fields{"commitId": p.sha},
			}
		})})
	})
}
