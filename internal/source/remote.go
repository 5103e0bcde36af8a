package source

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/crypto/ssh"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// remote is one repository as seen with one credential. Everything that could
// make two looks answer differently is part of its key.
type remote struct {
	key      string
	scheme   string   // http, https or ssh
	url      *url.URL // without credentials
	display  string   // url for messages
	username string
	password string
	auth     model.GitAuth
	scrub    func(string) string // removes every secret of this remote from a text
}

// newRemote reads what a source says about its repository; validate checks it.
// repository is the URL, which may carry a user name and a password.
func newRemote(repository string, auth model.GitAuth) (*remote, *model.Fault) {
	u, err := RepositoryURL(repository)
	if err != nil || u.Host == "" {
		return nil, &model.Fault{
			Reason:  reasonURLInvalid,
			Message: "the repository URL cannot be understood",
			Advice:  "write it as https://host/path, ssh://user@host/path or user@host:path",
			Err:     err,
		}
	}
	r := &remote{scheme: u.Scheme, auth: auth, username: auth.Username, password: string(auth.Password.Reveal())}
	bare := *u
	bare.User, bare.Fragment, bare.RawFragment = nil, "", ""
	r.url, r.display = &bare, bare.Redacted()
	r.adoptUserinfo(u)
	r.scrub = object.Scrubber(r.secrets(u), maxMessage)
	r.key = r.digest()
	return r, nil
}

// RepositoryURL reads a URL, or the form of scp, user@host:path. There a path
// without a slash starts at the user's home directory.
func RepositoryURL(repository string) (*url.URL, error) {
	if user, rest, ok := strings.Cut(repository, "@"); ok && !strings.Contains(repository, "://") && !strings.ContainsAny(user, "/:") {
		if host, p, ok := strings.Cut(rest, ":"); ok && host != "" && p != "" && !strings.Contains(host, "/") {
			return &url.URL{Scheme: "ssh", User: url.User(user), Host: host, Path: p}, nil
		}
	}
	return url.Parse(repository)
}

// fromHome reports whether the path starts at the user's home directory.
func fromHome(u *url.URL) bool { return u.Scheme == "ssh" && !strings.HasPrefix(u.Path, "/") }

// adoptUserinfo takes credentials from the URL where the secret gives none
// (fluxcd/pkg git.NewAuthOptions).
func (r *remote) adoptUserinfo(u *url.URL) {
	if r.scheme == "ssh" {
		r.username, r.password = u.User.Username(), ""
		if r.username == "" {
			r.username = "git"
		}
		return
	}
	if r.username == "" {
		r.username = u.User.Username()
	}
	if r.password == "" {
		r.password, _ = u.User.Password()
	}
}

func (r *remote) validate() *model.Fault {
	authentication := func(format string, args ...any) *model.Fault {
		return &model.Fault{
			Reason:  reasonAuthenticationFailed,
			Message: "failed to configure authentication options: " + fmt.Sprintf(format, args...),
			Advice:  "correct " + declaredWords.credentials,
		}
	}
	switch r.scheme {
	case "http", "https":
		hasBasic := r.username != "" || r.password != ""
		switch {
		case r.username == "" && r.password != "":
			return authentication("invalid '%s' auth option: 'password' requires 'username' to be set", r.scheme)
		case hasBasic && !r.auth.BearerToken.IsZero():
			return authentication("basic auth and bearer token cannot be set at the same time")
		}
	case "ssh":
		switch {
		case r.auth.SSHKey.IsZero():
			return authentication("invalid 'ssh' auth option: 'identity' is required")
		case len(r.auth.KnownHosts) == 0 && !r.auth.Insecure:
			return authentication("invalid 'ssh' auth option: 'known_hosts' is required")
		}
		if _, err := r.signer(); err != nil {
			return authentication("%s", err)
		}
	default:
		return &model.Fault{
			Reason:  reasonURLInvalid,
			Message: fmt.Sprintf("repositories are not fetched by the scheme %q", r.scheme),
			Advice:  "use http, https or ssh",
		}
	}
	return nil
}

// signer parses the SSH key. Errors hold nothing of it.
func (r *remote) signer() (ssh.Signer, error) {
	key := r.auth.SSHKey.Reveal()
	if phrase := r.auth.SSHKeyPassphrase.Reveal(); len(phrase) > 0 {
		if signer, err := ssh.ParsePrivateKeyWithPassphrase(key, phrase); err == nil {
			return signer, nil
		}
	}
	signer, err := ssh.ParsePrivateKey(key)
	var missing *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return signer, nil
	case errors.As(err, &missing) && r.auth.SSHKeyPassphrase.IsZero():
		return nil, errors.New("SSH identity key is encrypted but no 'password' field was provided in the secret")
	case errors.As(err, &missing):
		return nil, errors.New("SSH identity key cannot be decrypted with the 'password' of the secret")
	}
	return nil, errors.New("SSH identity key cannot be parsed")
}

// digest is the key: a keyed digest, so that the directory it names is no
// oracle for a guessed password by itself.
func (r *remote) digest() string {
	h := hmac.New(sha256.New, []byte("plumb mirror 1"))
	part := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		_, _ = h.Write(n[:])
		_, _ = h.Write(b)
	}
	a := r.auth
	part([]byte(r.url.String()))
	part([]byte(r.username))
	part([]byte(r.password))
	part(a.BearerToken.Reveal())
	part(a.SSHKey.Reveal())
	part(a.SSHKeyPassphrase.Reveal())
	part(a.KnownHosts)
	part(a.ClientCert)
	part(a.ClientKey.Reveal())
	part(a.CA)
	if a.Insecure {
		part([]byte("insecure"))
	}
	if fromHome(r.url) {
		part([]byte("home"))
	}
	if app := a.GitHubApp; app != nil {
		part([]byte("app"))
		part([]byte(app.AppID))
		part([]byte(app.InstallationID))
		part([]byte(app.InstallationOwner))
		part(app.PrivateKey.Reveal())
		part([]byte(app.BaseURL))
	}
	if p := a.Proxy; p != nil {
		part([]byte("proxy"))
		part([]byte(p.Address))
		part([]byte(p.Username))
		part(p.Password.Reveal())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// secrets lists what must not appear in a message.
func (r *remote) secrets(u *url.URL) []string {
	all := []string{r.password, string(r.auth.Password.Reveal()), string(r.auth.BearerToken.Reveal()), string(r.auth.SSHKeyPassphrase.Reveal())}
	if r.scheme != "ssh" && u.User != nil {
		// A token is often written as the user name of the URL.
		all = append(all, u.User.Username(), u.User.String())
		if password, ok := u.User.Password(); ok {
			all = append(all, password)
		}
	}
	if r.username != "" && r.password != "" {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(r.username+":"+r.password)))
	}
	if p := r.auth.Proxy; p != nil {
		all = append(all, string(p.Password.Reveal()))
		if proxied, err := url.Parse(p.Address); err == nil && proxied.User != nil {
			password, _ := proxied.User.Password()
			all = append(all, password)
		}
	}
	return all
}

// maxMessage bounds what is quoted from a server, in bytes.
const maxMessage = 400

// proxyURL is where the way to the remote starts; nil without a proxy.
func (r *remote) proxyURL() (*url.URL, error) {
	p := r.auth.Proxy
	if p == nil || p.Address == "" {
		return nil, nil
	}
	u, err := url.Parse(p.Address)
	if err != nil || u.Host == "" {
		return nil, errors.New("the proxy address cannot be understood")
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, fmt.Errorf("proxies of scheme %q are not supported", u.Scheme)
	}
	if p.Username != "" {
		u.User = url.UserPassword(p.Username, string(p.Password.Reveal()))
	}
	return u, nil
}

// sameHost reports whether another URL may be given this remote's credentials.
func (r *remote) sameHost(u *url.URL) bool {
	return u.Scheme == r.url.Scheme && bytes.EqualFold([]byte(u.Host), []byte(r.url.Host))
}
