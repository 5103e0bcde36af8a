package rows

import (
	"net"
	"net/url"
	"regexp"
	"strings"
)

// digest is a commit or a digest inside of a revision, with its algorithm where
// that is named.
var digest = regexp.MustCompile(`\b(?:(sha1|sha256|sha384|sha512):)?([0-9a-f]{40,128})\b`)

// shownDigits are what people compare by eye.
const shownDigits = 8

// ShortRevision is a revision as people say it: "main@sha1:0123abcd…" becomes
// "main@0123abcd", a version stays whole.
func ShortRevision(revision string) string {
	revision = strings.TrimPrefix(revision, "refs/heads/")
	return digest.ReplaceAllStringFunc(revision, func(text string) string {
		return digest.FindStringSubmatch(text)[2][:shownDigits]
	})
}

// CommitOf is the hash of the commit that a revision names; "" when it names
// none, as that of an artifact or a chart. Both dialects' ways to write one are
// read: "main@sha1:<hash>" and "<hash>".
func CommitOf(revision string) string {
	found := digest.FindStringSubmatch(revision)
	if found == nil || len(found[2]) != 40 || found[1] != "" && found[1] != "sha1" {
		return ""
	}
	return found[2]
}

// place is a repository at a server that people look at with a browser.
type place struct {
	scheme, host string
	path         []string
}

// CommitURL is the page of the commit that a revision names, at the forges whose
// addresses are known: GitHub, GitLab, Bitbucket, Gitea and Forgejo, and Azure
// DevOps, at their own servers or at others that are called by their names. ""
// where there is none. Nothing of a credential in repository is kept.
func CommitURL(repository, revision string) string {
	hash := CommitOf(revision)
	if hash == "" {
		return ""
	}
	at, ok := placeOf(repository)
	if !ok {
		return ""
	}
	path := at.commit(hash)
	if path == nil {
		return ""
	}
	u := url.URL{Scheme: at.scheme, Host: at.host, Path: "/" + strings.Join(path, "/")}
	return u.String()
}

// placeOf reads the address of a repository: a URL, or git's own way to write
// one of SSH ("git@host:path"). People reach by https what git reaches by SSH.
func placeOf(repository string) (place, bool) {
	var at place
	var path string
	if u, err := url.Parse(repository); err == nil && u.Host != "" {
		path, at.host, at.scheme = u.Path, u.Host, "https"
		switch u.Scheme {
		case "https":
		case "http":
			at.scheme = "http"
		case "ssh", "git+ssh":
			at.host = u.Hostname() // its port is that of SSH
		default:
			return place{}, false
		}
	} else {
		host, rest, found := strings.Cut(repository, ":")
		if _, after, user := strings.Cut(host, "@"); user {
			host = after
		}
		if !found || host == "" || strings.Contains(host, "/") {
			return place{}, false
		}
		at.scheme, at.host, path = "https", host, rest
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.Trim(path, "/"), ".git"), "/") {
		if part == "" || part == "." || part == ".." {
			return place{}, false
		}
		at.path = append(at.path, part)
	}
	at.host = strings.ToLower(at.host)
	if pages, ok := behindFirewalls[at.host]; ok {
		at.host = pages
	}
	return at, true
}

// behindFirewalls are the hosts at which forges take SSH on the port of https,
// and those of their pages.
var behindFirewalls = map[string]string{
	"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com", "altssh.bitbucket.org": "bitbucket.org",
}

// commit is the path of a commit's page; nil where the forge is not known.
func (p *place) commit(hash string) []string {
	name := p.host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	named := func(forge string) bool {
		for label := range strings.SplitSeq(name, ".") {
			if label == forge {
				return true
			}
		}
		return false
	}
	switch {
	case name == "dev.azure.com", name == "ssh.dev.azure.com", name == "vs-ssh.visualstudio.com", strings.HasSuffix(name, ".visualstudio.com"):
		return p.azure(name, hash)
	case len(p.path) < 2:
		return nil
	case name == "bitbucket.org":
		return append(p.path, "commits", hash)
	case named("bitbucket"):
		return p.bitbucketServer(hash)
	case named("gitlab"):
		return append(p.path, "-", "commit", hash)
	case len(p.path) == 2 && (named("github") || named("gitea") || named("forgejo") || named("codeberg")):
		return append(p.path, "commit", hash)
	}
	return nil
}

// bitbucketServer is a server of one's own: its repositories are cloned from
// /scm/PROJECT/REPO, or by SSH from /PROJECT/REPO.
func (p *place) bitbucketServer(hash string) []string {
	path := p.path
	if path[0] == "scm" {
		path = path[1:]
	}
	if len(path) != 2 {
		return nil
	}
	owner := []string{"projects", path[0]}
	if user, personal := strings.CutPrefix(path[0], "~"); personal {
		owner = []string{"users", user}
	}
	return append(owner, "repos", path[1], "commits", hash)
}

// azure is Azure DevOps, whose addresses by SSH (v3/ORGANISATION/PROJECT/REPO) and
// from before its move (ORGANISATION.visualstudio.com) lead to the same pages.
func (p *place) azure(name, hash string) []string {
	switch {
	case strings.HasPrefix(name, "ssh.") || strings.HasPrefix(name, "vs-ssh."):
		if len(p.path) != 4 || p.path[0] != "v3" {
			return nil
		}
		p.host = "dev.azure.com"
		return []string{p.path[1], p.path[2], "_git", p.path[3], "commit", hash}
	case len(p.path) < 2 || p.path[len(p.path)-2] != "_git":
		return nil
	}
	return append(p.path, "commit", hash)
}
