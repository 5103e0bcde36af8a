package repository

import (
	"net"
	"net/url"
	"regexp"
	"strings"
)

// sshForm is what upstream takes for an SSH address: a user before an @, with
// or without a scheme (util/git sshURLRegex).
var sshForm = regexp.MustCompile(`^(ssh://)?([^/:]*?)@[^@]+$`)

// Normalize makes two spellings of one repository equal: case, a trailing
// ".git", ssh:// and the form of scp. It is "" for what is no address (util/git
// NormalizeGitURL).
func Normalize(repoURL string) string {
	repoURL = strings.ToLower(strings.TrimSpace(repoURL))
	if sshForm.MatchString(repoURL) && !strings.HasPrefix(repoURL, "ssh://") {
		repoURL = "ssh://" + strings.Replace(repoURL, ":", "/", 1)
	}
	parsed, err := url.Parse(strings.TrimSuffix(repoURL, ".git"))
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(parsed.String(), "ssh://")
}

// ociScheme begins the address of an artifact of a registry.
const ociScheme = "oci://"

// Spelled is Normalize for any address: what is no URL, such as a registry with
// a port, stands for itself (util/git NormalizeGitURLAllowInvalid).
func Spelled(repoURL string) string {
	if normal := Normalize(repoURL); normal != "" {
		return normal
	}
	return strings.ToLower(strings.TrimSpace(repoURL))
}

// comparable is Spelled, by which a registry is the same with oci:// and without.
func schemeless(repoURL string) string { return strings.TrimPrefix(Spelled(repoURL), ociScheme) }

// Same reports whether two addresses name one repository (util/git SameURL). A
// slash at the end makes no other repository.
func Same(a, b string) bool {
	left, right := strings.TrimRight(schemeless(a), "/"), strings.TrimRight(schemeless(b), "/")
	return left != "" && left == right
}

// Printable is an address without credentials. What cannot be parsed is not
// repeated.
func Printable(repoURL string) string {
	address, ok := parse(repoURL)
	if !ok {
		if strings.Contains(repoURL, "@") {
			return "[address]"
		}
		return repoURL
	}
	if scpForm(repoURL) {
		return strings.TrimSpace(repoURL) // names a user and never a password
	}
	bare := *address
	bare.User = nil
	if address.Scheme == "ssh" && address.User != nil {
		bare.User = url.User(address.User.Username())
	}
	return bare.String()
}

// scpForm reports whether the address has the form user@host:path.
func scpForm(repoURL string) bool {
	repoURL = strings.TrimSpace(repoURL)
	user, rest, ok := strings.Cut(repoURL, "@")
	return ok && !strings.Contains(repoURL, "://") && !strings.ContainsAny(user, "/:") && strings.Contains(rest, ":") && !strings.Contains(rest, "@")
}

// parse reads an address that can be fetched from: http, https and ssh, and
// the form of scp, which becomes ssh.
func parse(repoURL string) (*url.URL, bool) {
	repoURL = strings.TrimSpace(repoURL)
	if scpForm(repoURL) {
		user, rest, _ := strings.Cut(repoURL, "@")
		host, path, _ := strings.Cut(rest, ":")
		repoURL = (&url.URL{Scheme: "ssh", User: url.User(user), Host: host, Path: "/" + strings.TrimPrefix(path, "/")}).String()
	}
	address, err := url.Parse(repoURL)
	if err != nil || address.Host == "" {
		return nil, false
	}
	switch address.Scheme {
	case "http", "https", "ssh":
		return address, true
	}
	return nil, false
}

// bypasses reports whether a host is on a list of hosts that take no proxy:
// "*", addresses, networks, and domains, with a port or without
// (golang.org/x/net/http/httpproxy, NoProxy). The own machine always is.
func bypasses(address *url.URL, noProxy string) bool {
	host, port := strings.ToLower(strings.TrimSuffix(address.Hostname(), ".")), address.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "oci": "443", "ssh": "22"}[address.Scheme]
	}
	ip := net.ParseIP(host)
	if host == "localhost" || ip != nil && ip.IsLoopback() {
		return true
	}
	for _, entry := range strings.Split(noProxy, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "*" || entry != "" && spares(entry, host, port, ip) {
			return true
		}
	}
	return false
}

func spares(entry, host, port string, ip net.IP) bool {
	if _, network, err := net.ParseCIDR(entry); err == nil {
		return ip != nil && network.Contains(ip)
	}
	if name, only, err := net.SplitHostPort(entry); err == nil {
		if only != port {
			return false
		}
		entry = name
	}
	if other := net.ParseIP(strings.Trim(entry, "[]")); other != nil {
		return ip != nil && other.Equal(ip)
	}
	if entry == "" {
		return false
	}
	entry = strings.TrimPrefix(entry, "*")
	if domain, below := strings.CutPrefix(entry, "."); below { // subdomains alone
		return strings.HasSuffix(host, "."+domain)
	}
	return host == entry || strings.HasSuffix(host, "."+entry)
}
