package source

import (
	"context"
	"crypto/sha1" //nolint:gosec // Git's object names
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// implied describes what stands for a targetRevision, as the argo dialect does.
func implied(url, revision string, change ...func(*model.Source)) model.Source {
	spec := model.Source{
		ID:      object.ID{Group: "plumb.dev", Kind: "Repository", Namespace: "argocd", Name: "of-" + revision},
		Implied: true,
		Git:     &model.GitSource{URL: url, Ref: model.GitRef{Revision: revision}},
	}
	for _, c := range change {
		c(&spec)
	}
	return spec
}

func prefixed(prefix string) func(*model.Source) {
	return func(s *model.Source) { s.Git.Ref.TagPrefix = prefix }
}

// forked is a repository with references of every kind: HEAD is trunk.
func forked(t *testing.T) (r *repository, hashes map[string]string) {
	t.Helper()
	r = newRepository(t)
	hashes = map[string]string{}
	hashes["first"] = r.commit("a.yaml", "1")
	r.git("tag", "v1.0.0")
	r.git("tag", "1.2.0")
	hashes["second"] = r.commit("a.yaml", "2")
	r.git("tag", "--annotate", "--message", "two", "v1.2.7")
	r.git("tag", "--annotate", "--message", "both", "release")
	r.git("tag", "v2.0.0-rc.1")
	r.git("tag", "shop/v1.4.0")
	r.git("tag", "shop/v1.3.0", hashes["first"])
	r.git("tag", "v1.1.0+old", hashes["second"])
	r.git("branch", "release", hashes["first"])
	r.git("branch", "7.x", hashes["first"])
	r.git("branch", "abcdef1", hashes["first"])
	r.git("checkout", "--quiet", "-b", "trunk", hashes["first"])
	hashes["third"] = r.commit("a.yaml", "3")
	r.git("tag", "v1.1.0+new", hashes["third"])
	hashes["inner"] = r.commit("a.yaml", "inner")
	hashes["tip"] = r.commit("a.yaml", "tip")
	r.git("checkout", "--quiet", "--detach", hashes["first"])
	hashes["pull"] = r.commit("a.yaml", "pull")
	r.git("update-ref", "refs/pull/7/head", hashes["pull"])
	hashes["hidden"] = r.commit("a.yaml", "hidden")
	r.git("checkout", "--quiet", "trunk")
	return r, hashes
}

func TestRevisionsOfUnknownKind(t *testing.T) {
	r, is := forked(t)
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	for _, c := range []struct {
		name, revision, want string
		change               func(*model.Source)
	}{
		{"nothing is HEAD", "", "tip", nil},
		{"HEAD", "HEAD", "tip", nil},
		{"branch", "main", "second", nil},
		{"full branch", "refs/heads/main", "second", nil},
		{"branch before tag", "release", "first", nil},
		{"full annotated tag", "refs/tags/release", "second", nil},
		{"tag", "v1.0.0", "first", nil},
		{"annotated tag", "v1.2.7", "second", nil},
		{"wildcard", "1.2.*", "second", nil},
		{"range", ">=1.0 <1.1", "first", nil},
		{"two numbers are a version, not a range", "1.2.0", "first", nil},
		{"build metadata by commit time", "~1.1", "third", nil},
		{"no prereleases", ">1.1", "second", nil},
		{"prereleases on demand", ">=2.0.0-0", "second", nil},
		{"range without a tag is a name", "7.x", "first", nil},
		{"range in a prefix", "v1.*", "second", prefixed("shop/")},
		{"narrower range in a prefix", "<1.4", "first", prefixed("shop/")},
		{"version in a prefix", "v1.3.0", "first", prefixed("shop/")},
		{"branch beside a prefix", "main", "second", prefixed("shop/")},
		{"nothing beside a prefix", "", "tip", prefixed("shop/")},
		{"pull request", "refs/pull/7/head", "pull", nil},
		{"pull request in short", "pull/7/head", "pull", nil},
		{"commit of a tip", is["tip"], "tip", nil},
		{"commit of a pull request", is["pull"], "pull", nil},
		{"commit within history", is["inner"], "inner", nil},
		{"commit in capitals", strings.ToUpper(is["third"]), "third", nil},
		{"shortened", is["inner"][:8], "inner", nil},
		{"shortened in capitals", strings.ToUpper(is["tip"][:7]), "tip", nil},
		{"branch that looks like a commit", "abcdef1", "first", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := implied(srv.url, c.revision)
			if c.change != nil {
				c.change(&spec)
			}
			tree := mustFetch(t, store, spec, nil)
			if tree.Revision() != is[c.want] || tree.Commit().Hash != is[c.want] {
				t.Fatalf("revision %s, want %s, %s", tree.Revision(), c.want, is[c.want])
			}
			if again := mustFetch(t, store, spec, tree); again != tree {
				t.Error("another tree though nothing moved")
			}
			looks := srv.looks.Load()
			recalled, err := store.Recall(context.Background(), spec, nil, tree.Revision())
			if err != nil || recalled.Digest() != tree.Digest() || recalled.Revision() != tree.Revision() {
				t.Errorf("recalled %v, %v", recalled, err)
			}
			if srv.looks.Load() != looks {
				t.Error("recalling asked the remote")
			}
		})
	}
	for _, c := range []struct{ name, revision, want string }{
		{"unknown name", "nope", "unable to resolve 'nope' to a commit SHA"},
		{"unknown reference", "refs/heads/nope", "unable to resolve 'refs/heads/nope' to a commit SHA"},
		{"range without a tag", ">=9", "unable to resolve '>=9' to a commit SHA"},
		{"unknown short commit", "fffffff", "no branch or tag leads to such a commit"},
		{"too short", is["tip"][:6], "unable to resolve"},
		{"commit that nothing leads to", is["hidden"], "object not found"},
		{"short commit of a pull request", is["pull"][:9], "no branch or tag leads to such a commit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := store.Fetch(context.Background(), implied(srv.url, c.revision), nil, nil)
			mustFail(t, err, "GitOperationFailed", c.want, "targetRevision")
		})
	}
	_, err := store.Recall(context.Background(), implied(srv.url, "main"), nil, strings.Repeat("1", 40))
	mustFail(t, err, "GitOperationFailed", "not at hand")
	onlyKey(t, store)
}

func TestAFetchedCommitIsNotAskedForAgain(t *testing.T) {
	r, is := forked(t)
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	first := mustFetch(t, store, implied(srv.url, is["inner"]), nil)
	looks, pulls := srv.looks.Load(), srv.pulls.Load()
	if second := mustFetch(t, store, implied(srv.url, is["inner"]), first); second != first {
		t.Error("another tree of the same commit")
	}
	mustFetch(t, store, implied(srv.url, is["inner"]), nil)
	if srv.looks.Load() != looks || srv.pulls.Load() != pulls {
		t.Errorf("%d looks and %d pulls for a commit that is at hand", srv.looks.Load()-looks, srv.pulls.Load()-pulls)
	}
	short := mustFetch(t, store, implied(srv.url, is["inner"][:10]), nil)
	pulls = srv.pulls.Load()
	if again := mustFetch(t, store, implied(srv.url, is["inner"][:10]), short); again != short || srv.pulls.Load() != pulls {
		t.Error("a hash that was completed is completed again")
	}
}

// TestAShortHashOfTwoCommitsIsRefused looks for commits that start alike, as
// somebody might who cannot change the branch.
func TestAShortHashOfTwoCommitsIsRefused(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	tree := r.git("rev-parse", "HEAD^{tree}")
	byStart := map[string]string{}
	var one, other string
	for i := 0; other == ""; i++ {
		content := fmt.Sprintf("tree %s\nauthor A <a@example.com> %d +0000\ncommitter A <a@example.com> 0 +0000\n\nx\n", tree, i)
		sum := sha1.Sum(fmt.Appendf(nil, "commit %d\x00%s", len(content), content)) //nolint:gosec // Git's object names
		start := hex.EncodeToString(sum[:])[:7]
		if known, ok := byStart[start]; ok {
			one, other = known, content
		}
		byStart[start] = content
	}
	write := func(branch, content string) string {
		t.Helper()
		cmd := exec.Command("git", "hash-object", "-t", "commit", "-w", "--stdin")
		cmd.Dir, cmd.Stdin = r.dir, strings.NewReader(content)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		h := strings.TrimSpace(string(out))
		r.git("update-ref", "refs/heads/"+branch, h)
		return h
	}
	hash := write("one", one)
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	spec := implied(srv.url, hash[:7])
	before := mustFetch(t, store, spec, nil)
	rival := write("other", other)
	if hash[:7] != rival[:7] || hash == rival {
		t.Fatalf("%s and %s do not start alike", hash, rival)
	}
	if after := mustFetch(t, store, spec, before); after.Revision() != hash {
		t.Errorf("%s stands for another commit now", hash[:7])
	}
	_, err := store.Fetch(context.Background(), spec, nil, nil)
	mustFail(t, err, "GitOperationFailed", "it may be ", hash, rival)
}

func TestImpliedSourcesIgnoreNothing(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1", ".sourceignore", "*.yaml\n", "logo.png", "x", ".github/ci.yaml", "x", ".gitignore", "x\n")
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	tree := mustFetch(t, store, implied(srv.url, "main"), nil)
	want := "d .github\nf .github/ci.yaml\nf .gitignore\nf .sourceignore\nf a.yaml\nf logo.png\n"
	if got := listing(t, tree); got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	declared := mustFetch(t, store, gitSource(srv.url), nil)
	if got := listing(t, declared); strings.Contains(got, "a.yaml") {
		t.Errorf("a declared source has\n%s", got)
	}
	r.commit("a.yaml", "2", "b/c.jpg", "x")
	after := mustFetch(t, store, implied(srv.url, "main"), tree)
	changes, ok := after.Changes(tree)
	if !ok || len(changes) != 4 {
		t.Errorf("changes %v", changes)
	}
}

// TestRevisionsOfOneRepositoryShareItsMirror fetches many revisions while one
// look is under way: one more answers all of them.
func TestRevisionsOfOneRepositoryShareItsMirror(t *testing.T) {
	r, is := forked(t)
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	mustFetch(t, store, implied(srv.url, "HEAD"), nil)
	srv.looks.Store(0)
	srv.pulls.Store(0)
	m := store.mirrors[onlyKey(t, store)]
	hold, held := make(chan struct{}), make(chan struct{}, 2)
	m.link = &heldLink{link: m.link, hold: hold, held: held}
	var wg sync.WaitGroup
	fetch := func(revision, name string) {
		wg.Go(func() {
			tree, err := store.Fetch(context.Background(), implied(srv.url, revision, func(s *model.Source) { s.ID.Name = name }), nil, nil)
			if err != nil || tree.Revision() == "" {
				t.Errorf("%s: %v", revision, err)
			}
		})
	}
	fetch("HEAD", "under-way")
	<-held
	revisions := []string{"HEAD", "main", "trunk", "1.2.*", "v1.0.0", is["tip"]}
	const each = 100
	for _, revision := range revisions {
		for i := range each {
			fetch(revision, fmt.Sprintf("of-%s-%d", revision, i))
		}
	}
	waitFor(t, func() bool {
		m.lookout.mu.Lock()
		defer m.lookout.mu.Unlock()
		// What is pinned to a commit that is at hand does not ask.
		return m.queued != nil && m.queued.waiting == each*(len(revisions)-1)
	})
	close(hold)
	wg.Wait()
	onlyKey(t, store)
	if looks, pulls := srv.looks.Load(), srv.pulls.Load(); looks != 2 || pulls > 3 {
		t.Errorf("%d looks and %d pulls for %d sources", looks, pulls, each*len(revisions))
	}
}

func TestInsecureTLS(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	count := &server{}
	h := httptest.NewUnstartedServer(count.handler(t, r.dir))
	h.Config.ErrorLog = quiet()
	h.StartTLS()
	t.Cleanup(h.Close)
	store := openStore(t, t.TempDir(), Limits{})
	insecure := func(s *model.Source) { s.ID.Name, s.Git.Auth.Insecure = "insecure", true }
	mustFetch(t, store, implied(h.URL, "main", insecure), nil)
	// What was fetched unverified serves nobody who wants the server verified.
	_, err := store.Fetch(context.Background(), implied(h.URL, "main"), nil, nil)
	mustFail(t, err, "GitOperationFailed", "certificate")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	mustFetch(t, store, implied(h.URL, "main", func(s *model.Source) { s.Git.Auth.CA = ca }), nil)
	if len(store.mirrors) != 3 {
		t.Errorf("%d mirrors for three ways to trust a server", len(store.mirrors))
	}
}

func TestInsecureSSH(t *testing.T) {
	r := newRepository(t)
	hash := r.commit("a.yaml", "1")
	public, private := sshKey(t)
	srv := newSSHServer(t, public)
	store := openStore(t, t.TempDir(), Limits{})
	address := "ssh://git@" + srv.address + r.dir
	auth := func(insecure bool) func(*model.Source) {
		return func(s *model.Source) {
			s.Git.Auth = model.GitAuth{SSHKey: model.NewSecret(private), Insecure: insecure}
		}
	}
	if tree := mustFetch(t, store, implied(address, "", auth(true)), nil); tree.Revision() != hash {
		t.Errorf("revision %s", tree.Revision())
	}
	_, err := store.Fetch(context.Background(), implied(address, "", auth(false)), nil, nil)
	mustFail(t, err, "AuthenticationFailed", "'known_hosts' is required", "the repository's Secret")
}

func TestCredentialsAreSentAtOnce(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	srv := serve(t, r.dir)
	srv.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		if _, password, _ := r.BasicAuth(); password == canary {
			return false
		}
		w.WriteHeader(http.StatusNotFound) // without a challenge
		return true
	})
	for _, force := range []bool{true, false} {
		mustFetch(t, openStore(t, t.TempDir(), Limits{}), implied(srv.url, "main", func(s *model.Source) {
			s.Git.Auth = model.GitAuth{Username: "ada", Password: secret(canary), ForceBasicAuth: force}
		}), nil)
	}
}

// TestTheFormOfSCP fetches by user@host:path; without a slash the path starts
// where the user is at home.
func TestTheFormOfSCP(t *testing.T) {
	for _, c := range []struct{ repository, user, host, path string }{
		{"git@example.com:team/shop.git", "git", "example.com", "team/shop.git"},
		{"ada@example.com:/srv/shop.git", "ada", "example.com", "/srv/shop.git"},
		{"ssh://git@example.com:2222/team/shop.git", "git", "example.com:2222", "/team/shop.git"},
		{"git@ssh.dev.azure.com:v3/org/project/shop", "git", "ssh.dev.azure.com", "v3/org/project/shop"},
	} {
		r, fault := newRemote(c.repository, model.GitAuth{})
		if fault != nil {
			t.Errorf("%s: %v", c.repository, fault)
			continue
		}
		if r.scheme != "ssh" || r.username != c.user || r.url.Host != c.host || r.url.Path != c.path {
			t.Errorf("%s: %s %s %s %s", c.repository, r.scheme, r.username, r.url.Host, r.url.Path)
		}
	}
	home, _ := newRemote("git@example.com:shop.git", model.GitAuth{})
	root, _ := newRemote("ssh://git@example.com/shop.git", model.GitAuth{})
	if home.key == root.key {
		t.Error("two repositories share a mirror")
	}
	for _, bad := range []string{"git@example.com", "git@:shop", "example.com:shop.git", "a/b@c:d"} {
		if r, fault := newRemote(bad, model.GitAuth{}); fault == nil && r.validate() == nil {
			t.Errorf("%s is accepted", bad)
		}
	}

	// The server's working directory is the home directory.
	repo := newRepository(t)
	hash := repo.commit("a.yaml", "1")
	t.Chdir(filepath.Dir(repo.dir))
	public, private := sshKey(t)
	srv := newSSHServer(t, public)
	store := openStore(t, t.TempDir(), Limits{})
	remote, fault := newRemote("git@host:"+filepath.Base(repo.dir), model.GitAuth{SSHKey: model.NewSecret(private), KnownHosts: srv.knownHosts})
	if fault != nil {
		t.Fatal(fault)
	}
	remote.url.Host = srv.address // the form has no place for a port
	link, err := newSSHLink(remote, os.TempDir(), store.limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.hangUp)
	seen, err := link.look(t.Context())
	if err != nil || seen.refs["HEAD"].String() != hash {
		t.Errorf("look: %v, %v", seen, err)
	}
}

func TestNobodyWaitsLongerForAConnectionThanItsContext(t *testing.T) {
	public, private := sshKey(t)
	srv := newSSHServer(t, public)
	store := openStore(t, t.TempDir(), Limits{})
	remote, fault := newRemote("git@host:repo", model.GitAuth{SSHKey: model.NewSecret(private), KnownHosts: srv.knownHosts})
	if fault != nil {
		t.Fatal(fault)
	}
	link, err := newSSHLink(remote, os.TempDir(), store.limits)
	if err != nil {
		t.Fatal(err)
	}
	link.turn <- struct{}{} // somebody else is about to connect
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := link.look(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-link.turn
	link.hangUp()
}
