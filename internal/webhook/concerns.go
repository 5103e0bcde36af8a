package webhook

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	"plumb.dev/plumb/internal/model"
)

// Concerns reports whether a source that reads targetRevision of a repository
// (Argo CD Application spec.source) may read something else now.
func (p *Push) Concerns(repoURL, targetRevision string) bool {
	return p.names(repoURL) && p.moved(model.GitRef{Revision: targetRevision}, true)
}

// ConcernsSource is Concerns for any Git source, whatever its reference is
// given by. implied: the source stands for a targetRevision, so that an empty
// reference is the remote's HEAD (model.Source.Implied).
func (p *Push) ConcernsSource(git *model.GitSource, implied bool) bool {
	return p.names(git.URL) && p.moved(git.Ref, implied)
}

// ConcernsPullRequests reports whether the answer to the question of an
// ApplicationSet's pullRequest generator may be another one now.
func (p *Push) ConcernsPullRequests(q *model.PullRequestsQuestion) bool {
	request := p.PullRequest
	if request == nil || q.Forge.Kind != p.Forge || !sameForge(q.Forge, request.Host) {
		return false
	}
	switch q.Forge.Kind {
	case "gitlab":
		return q.Repository == request.Project || strings.EqualFold(strings.Trim(q.Repository, "/"), request.Owner+"/"+request.Repository)
	case "azuredevops":
		return strings.EqualFold(q.Repository, request.Repository) && strings.EqualFold(q.Forge.Project, request.Project) &&
			(request.Owner == "" || q.Forge.Owner == "" || strings.EqualFold(q.Forge.Owner, request.Owner))
	case "bitbucket-server":
		return strings.EqualFold(q.Repository, request.Repository) && strings.EqualFold(q.Forge.Project, request.Owner)
	}
	return strings.EqualFold(q.Repository, request.Repository) && strings.EqualFold(q.Forge.Owner, request.Owner)
}

// publicAPI are the hosts of forges whose API address is left out.
var publicAPI = map[string]string{
	"github": "api.github.com", "gitlab": "gitlab.com", "bitbucket-cloud": "bitbucket.org", "azuredevops": "dev.azure.com",
}

// sameForge compares the address of an API with the host that a payload names.
func sameForge(forge model.Forge, host string) bool {
	asked := hostOf(forge.API)
	if forge.API == "" {
		asked = publicAPI[forge.Kind]
	}
	bare := func(h string) string { return strings.TrimPrefix(h, "api.") }
	switch {
	case bare(asked) == bare(host):
		return true
	case forge.Kind == "azuredevops":
		// One organization is reached by two names.
		return asked == "dev.azure.com" && strings.HasSuffix(host, visualStudio)
	}
	return false
}

// pullRequestRefs are the references by which forges show a pull request.
func pullRequestRefs(prefix string, id int, head string) []Change {
	at := prefix + strconv.Itoa(id)
	return []Change{{Ref: at + "/head", After: head}, {Ref: at + "/merge"}}
}

// names reports whether the delivery is about the repository.
func (p *Push) names(repository string) bool {
	place := placeOf(repository)
	if place == "" {
		return false
	}
	for _, address := range p.URLs {
		if placeOf(address) == place {
			return true
		}
	}
	return false
}

// moved reports whether one of the changes touches a reference.
func (p *Push) moved(ref model.GitRef, implied bool) bool {
	concerns := selector(ref, implied)
	for _, change := range p.Changes {
		if change.Ref == "" || concerns(change) {
			return true
		}
	}
	return false
}

// selector says which changes touch a reference. The order of fields is that
// of model.GitRef.
func selector(ref model.GitRef, implied bool) func(Change) bool {
	switch {
	case ref.Name != "":
		return named(ref.Name)
	case ref.Commit != "":
		return reaches(ref.Commit)
	case ref.SemVer != "":
		return inRange(ref.SemVer, "")
	case ref.Tag != "":
		return named(tags + ref.Tag)
	case ref.Branch != "":
		return named(heads + ref.Branch)
	case ref.Revision == "" && !implied:
		return named(heads + "master") // what Flux reads when nothing is said
	case ref.Revision == "" || ref.Revision == "HEAD":
		return func(c Change) bool { return c.Default }
	}
	return revised(ref.Revision, ref.TagPrefix)
}

const (
	heads = "refs/heads/"
	tags  = "refs/tags/"
)

// revised selects by a name of unknown kind, as the sources resolve it.
func revised(revision, tagPrefix string) func(Change) bool {
	if strings.HasPrefix(revision, "refs/") {
		return named(revision)
	}
	names := []string{revision, "refs/" + revision, heads + revision, tags + revision}
	if tagPrefix != "" {
		names = append(names, tags+tagPrefix+revision)
	}
	version := func(Change) bool { return false }
	if _, err := semver.NewVersion(revision); err != nil {
		version = inRange(revision, tagPrefix)
	}
	hash := reaches(revision)
	return func(c Change) bool {
		for _, name := range names {
			if c.Ref == name {
				return true
			}
		}
		return version(c) || hash(c)
	}
}

// named selects a full reference. A change that does not tell branches from
// tags may be either.
func named(ref string) func(Change) bool {
	ref = strings.TrimSuffix(ref, "^{}")
	return func(c Change) bool {
		return c.Ref == ref || heads+c.Ref == ref || tags+c.Ref == ref
	}
}

// inRange selects tags whose version a range allows, of those that start with
// a prefix. A tag that goes counts as well: another becomes the newest.
func inRange(expression, prefix string) func(Change) bool {
	constraint, err := semver.NewConstraint(expression)
	if err != nil {
		return func(Change) bool { return false }
	}
	return func(c Change) bool {
		if strings.HasPrefix(c.Ref, "refs/") && !strings.HasPrefix(c.Ref, tags) {
			return false
		}
		tag, ok := strings.CutPrefix(strings.TrimPrefix(c.Ref, tags), prefix)
		if !ok {
			return false
		}
		version, err := semver.NewVersion(tag)
		return err == nil && constraint.Check(version)
	}
}

const minHash = 7 // digits of a shortened hash (util/git IsTruncatedCommitSHA)

// reaches selects changes that lead to a commit: one that was missing may be
// there now.
func reaches(hash string) func(Change) bool {
	if len(hash) < minHash || !isHex(hash) {
		return func(Change) bool { return false }
	}
	hash = strings.ToLower(hash)
	return func(c Change) bool { return strings.HasPrefix(c.After, hash) }
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

const (
	azureHost    = "dev.azure.com"
	visualStudio = ".visualstudio.com"
)

// placeOf is where a repository is, without how one gets there: host and path
// in lower case, without scheme, user, port, the host names kept for SSH
// (ssh.github.com, altssh.gitlab.com), slashes at the end and .git; "" when the
// address names no repository. Argo CD's GetWebURLRegex compares alike.
func placeOf(address string) string {
	host, at, ok := split(address)
	if !ok {
		return ""
	}
	path := strings.ToLower(strings.Trim(at, "/"))
	path = strings.Trim(strings.TrimSuffix(path, ".git"), "/")
	if place, ok := azurePlace(host, path); ok {
		return place
	}
	for _, kept := range []string{"ssh.", "altssh."} {
		if rest, ok := strings.CutPrefix(host, kept); ok && strings.Contains(rest, ".") {
			host = rest
		}
	}
	if host == "" || path == "" {
		return ""
	}
	return host + "/" + path
}

// split takes an address apart, be it a URL, user@host:path or host/path.
func split(address string) (host, path string, ok bool) {
	address = strings.TrimSpace(address)
	if !strings.Contains(address, "://") {
		if at := strings.IndexByte(address, ':'); at >= 0 && !strings.Contains(address[:at], "/") && !isPort(address[at+1:]) {
			address = address[:at] + "/" + strings.TrimPrefix(address[at+1:], "/")
		}
		address = "ssh://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return "", "", false
	}
	return strings.ToLower(u.Hostname()), u.Path, true
}

// isPort reports whether what follows a colon is a port and then a path.
func isPort(rest string) bool {
	digits, _, _ := strings.Cut(rest, "/")
	_, err := strconv.ParseUint(digits, 10, 16)
	return err == nil && strings.Contains(rest, "/")
}

func hostOf(address string) string {
	host, _, _ := split(address)
	return host
}

// azurePlace brings the addresses of one Azure DevOps repository together:
// dev.azure.com/org/project/_git/repo, org.visualstudio.com/project/_git/repo
// and ssh.dev.azure.com:v3/org/project/repo. The project is left out where it
// has the repository's name.
func azurePlace(host, path string) (string, bool) {
	parts := strings.Split(path, "/")
	var org string
	switch {
	case host == "ssh."+azureHost, host == "vs-ssh"+visualStudio:
		if len(parts) != 4 || parts[0] != "v3" {
			return "", false
		}
		return azureHost + "/" + strings.Join(parts[1:], "/"), true
	case host == azureHost:
		org, parts = parts[0], parts[1:]
	case strings.HasSuffix(host, visualStudio):
		org = strings.TrimSuffix(host, visualStudio)
		if parts[0] == "defaultcollection" {
			parts = parts[1:]
		}
	default:
		return "", false
	}
	switch {
	case len(parts) == 3 && parts[1] == "_git":
		return azureHost + "/" + org + "/" + parts[0] + "/" + parts[2], true
	case len(parts) == 2 && parts[0] == "_git":
		return azureHost + "/" + org + "/" + parts[1] + "/" + parts[1], true
	}
	return "", false
}

// azureOwner is the organization in the address of a repository.
func azureOwner(address string) string {
	rest, ok := strings.CutPrefix(placeOf(address), azureHost+"/")
	if !ok {
		return ""
	}
	org, _, _ := strings.Cut(rest, "/")
	return org
}
