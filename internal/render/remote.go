package render

import (
	"net/url"
	"regexp"
	"strings"
)

// RemoteError is the cause of a fault about something at an address that a
// render does not fetch.
type RemoteError struct{ Address string } // without credentials

func (e *RemoteError) Error() string { return e.Address + " is not fetched" }

var scpUser = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@`)

// remoteFile reports whether kustomize would fetch a path over HTTP
// (sigs.k8s.io/kustomize api, loader.IsRemoteFile).
func remoteFile(p string) bool {
	u, err := url.Parse(p)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}

// remoteDir reports whether kustomize might clone a path with git: it has a
// scheme that git knows, a user before a host, or begins with github.com. It
// errs on the side of refusing (sigs.k8s.io/kustomize api,
// git.NewRepoSpecFromURL).
func remoteDir(p string) bool {
	lower := strings.TrimPrefix(strings.ToLower(p), "git::")
	for _, prefix := range []string{"ssh://", "https://", "http://", "file://", "github.com/", "github.com:", "gh:"} {
		if strings.HasPrefix(lower, prefix) {
			return true
		}
	}
	return scpUser.MatchString(lower) || remoteFile(p)
}

// withoutCredentials cuts the user out of an address for a message.
func withoutCredentials(p string) string {
	if scheme, rest, ok := strings.Cut(p, "://"); ok {
		host, below, _ := strings.Cut(rest, "/")
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			host = host[at+1:]
		}
		p = scheme + "://" + host + "/" + below
	}
	p, _, _ = strings.Cut(p, "?")
	return p
}
