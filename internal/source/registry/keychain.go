package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/cloud"
)

// keychain picks the credential of a repository: the declared one, the one of
// the docker configs that fits best, or that of the cloud. A docker config
// without a fitting entry means that nothing is presented, as upstream has it.
func (c *Client) keychain(s *session, registry name.Registry, auth *model.HTTPAuth) (authn.Keychain, error) {
	switch {
	case !auth.BearerToken.IsZero():
		return always{authn.FromConfig(authn.AuthConfig{RegistryToken: string(auth.BearerToken.Reveal())})}, nil
	case auth.Username != "" || !auth.Password.IsZero():
		return always{authn.FromConfig(authn.AuthConfig{Username: auth.Username, Password: string(auth.Password.Reveal())})}, nil
	case len(auth.DockerConfig) > 0:
		var ring dockerRing
		for _, config := range auth.DockerConfig {
			if err := ring.add(config.Reveal()); err != nil {
				return nil, err
			}
		}
		ring.order()
		for _, entry := range ring {
			for _, secret := range []string{entry.login.Password, entry.login.Auth, entry.login.IdentityToken, entry.login.RegistryToken} {
				s.hide(secret)
			}
		}
		return ring, nil
	case auth.Workload != nil:
		if c.options.Cloud == nil {
			return nil, fmt.Errorf("credentials of %s cannot be had here", auth.Workload.Provider)
		}
		caller := cloud.Caller{Identity: *auth.Workload, Proxy: auth.Proxy}
		return always{&workload{session: s, logins: c.options.Cloud, caller: caller, host: registry.RegistryStr()}}, nil
	}
	return always{authn.Anonymous}, nil
}

// always is a keychain with one key.
type always struct{ authn.Authenticator }

// Resolve implements authn.Keychain.
func (a always) Resolve(authn.Resource) (authn.Authenticator, error) { return a.Authenticator, nil }

// workload asks the cloud each time; who hands out the logins remembers them.
type workload struct {
	session *session
	logins  Logins
	caller  cloud.Caller
	host    string
}

// Authorization implements authn.Authenticator.
func (w *workload) Authorization() (*authn.AuthConfig, error) {
	return w.AuthorizationContext(context.Background())
}

// AuthorizationContext implements authn.ContextAuthenticator.
func (w *workload) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	login, err := w.logins.RegistryLogin(ctx, w.caller, w.host)
	if err != nil {
		return nil, err
	}
	password := string(login.Password.Reveal())
	w.session.hide(password)
	return &authn.AuthConfig{Username: login.Username, Password: password}, nil
}

// dockerRing holds the entries of docker configs, those that fit closest first.
type dockerRing []dockerEntry

type dockerEntry struct {
	host, path string // host may hold "*" within its parts, and a port
	login      authn.AuthConfig
}

var errDockerConfig = errors.New("the docker config of the Secret cannot be understood")

// add reads a config, {"auths": {registry: login}} or, as ~/.dockercfg had it,
// {registry: login}. Errors hold nothing of it.
func (r *dockerRing) add(config []byte) error {
	var file struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	if json.Unmarshal(config, &file) != nil {
		return errDockerConfig
	}
	logins := file.Auths
	if logins == nil && json.Unmarshal(config, &logins) != nil {
		return errDockerConfig
	}
	// In a fixed order: of two keys that mean the same, the first counts.
	keys := make([]string, 0, len(logins))
	for key := range logins {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		var login authn.AuthConfig
		if json.Unmarshal(logins[key], &login) != nil {
			return errDockerConfig
		}
		host, below, err := dockerKey(key)
		if err != nil {
			return err
		}
		*r = append(*r, dockerEntry{host: host, path: below, login: login})
	}
	return nil
}

// dockerKey reads the name of an entry: a host, a host with a path, or the
// address of an API ("https://index.docker.io/v1/").
func dockerKey(key string) (host, below string, err error) {
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil || u.Host == "" {
		return "", "", errDockerConfig
	}
	below = strings.Trim(u.Path, "/")
	for _, api := range []string{"v1", "v2"} {
		if below == api {
			below = ""
		} else if rest, found := strings.CutPrefix(below, api+"/"); found {
			below = rest
		}
	}
	return dockerHub(u.Host), below, nil
}

// dockerHub gives Docker Hub one name.
func dockerHub(host string) string {
	switch host {
	case "docker.io", "registry-1.docker.io":
		return name.DefaultRegistry
	}
	return host
}

// order puts what names more before what names less, and keeps the order of the
// Secrets otherwise (Kubernetes, pkg/credentialprovider keyring.go).
func (r dockerRing) order() {
	slices.SortStableFunc(r, func(a, b dockerEntry) int {
		if d := strings.Count(a.host, "*") - strings.Count(b.host, "*"); d != 0 {
			return d
		}
		return len(b.path) - len(a.path)
	})
}

// Login is the credential that a docker config holds for a path of a host; ""
// for none. Errors hold nothing of it.
func Login(config model.Secret, host, below string) (user string, password model.Secret, err error) {
	var ring dockerRing
	if err := ring.add(config.Reveal()); err != nil {
		return "", model.Secret{}, err
	}
	ring.order()
	found, known := ring.find(host, below)
	if !known {
		return "", model.Secret{}, nil
	}
	return found.Username, model.NewSecret([]byte(found.Password)), nil
}

// find is the entry that fits best.
func (r dockerRing) find(host, below string) (authn.AuthConfig, bool) {
	host = dockerHub(host)
	for _, entry := range r {
		if hostFits(entry.host, host) && pathFits(entry.path, below) {
			return entry.login, true
		}
	}
	return authn.AuthConfig{}, false
}

// Resolve implements authn.Keychain.
func (r dockerRing) Resolve(target authn.Resource) (authn.Authenticator, error) {
	_, below, _ := strings.Cut(target.String(), "/")
	if login, found := r.find(target.RegistryStr(), below); found {
		return authn.FromConfig(login), nil
	}
	return authn.Anonymous, nil
}

// hostFits matches part by part, so that "*.example.com" stands for one level,
// and a port only for itself.
func hostFits(pattern, host string) bool {
	wanted, given := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(wanted) != len(given) {
		return false
	}
	for i := range wanted {
		if fits, err := path.Match(wanted[i], given[i]); err != nil || !fits {
			return false
		}
	}
	return true
}

// pathFits reports whether a repository lies at or below a path.
func pathFits(entry, repository string) bool {
	return entry == "" || repository == entry || strings.HasPrefix(repository, entry+"/")
}
