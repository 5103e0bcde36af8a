package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/registry"
)

// A Redirect takes what lies at or below one address from another one: from a
// mirror, say, where the first cannot be reached. Nothing of a source's
// credential goes to the other address, and signatures are verified as ever.
type Redirect struct {
	From string // scheme, and as much of host and path as counts: "https://", "oci://ghcr.io/example"
	To   string // an address of scheme http, https or oci
}

// ParseRedirect reads FROM=TO. From an address of a registry leads another one,
// written oci://, or http:// where it serves without TLS; from any other one
// http:// or https://.
func ParseRedirect(text string) (Redirect, error) {
	from, to, ok := strings.Cut(text, "=")
	scheme, _, hasScheme := strings.Cut(from, "://")
	target, err := url.Parse(to)
	switch {
	case !ok || !hasScheme || scheme == "":
		return Redirect{}, fmt.Errorf("%q is not FROM=TO, two addresses with their schemes", text)
	case err != nil || target.Host == "" || target.RawQuery != "" || target.Fragment != "":
		return Redirect{}, errors.New("the address that is redirected to cannot be understood")
	case target.User != nil:
		return Redirect{}, errors.New("the address that is redirected to holds a credential")
	}
	allowed := []string{"http", "https"}
	if scheme == "oci" {
		allowed = []string{"oci", "http"}
	}
	for _, s := range allowed {
		if target.Scheme == s {
			return Redirect{From: from, To: strings.TrimSuffix(to, "/")}, nil
		}
	}
	return Redirect{}, fmt.Errorf("what %s names is redirected to %s, not to %s", from, strings.Join(allowed, ":// or ")+"://", to)
}

// Redirects are those of an installation, and what their addresses ask for.
type Redirects struct {
	All []Redirect
	// Logins is a docker config that holds the credentials of the hosts that are
	// redirected to; zero: there are none.
	Logins model.Secret
}

// Of is what stands in place of an address: by the redirect that names most of
// it. User, query and the ".git" at the end make no difference. Nothing is
// redirected twice.
func (r *Redirects) Of(address string) (string, bool) {
	best, to := -1, ""
	plain := plainAddress(address)
	for _, one := range r.All {
		if _, there := restOf(plain, plainAddress(one.To)); there {
			return "", false
		}
		from := plainAddress(one.From)
		if rest, below := restOf(plain, from); below && len(from) > best {
			best, to = len(from), one.To
			if rest != "" {
				to += "/" + rest
			}
		}
	}
	return to, best >= 0
}

// restOf is what an address has below another one.
func restOf(address, base string) (string, bool) {
	rest, below := strings.CutPrefix(address, base)
	below = below && (rest == "" || rest[0] == '/' || strings.HasSuffix(base, "://"))
	return strings.TrimPrefix(rest, "/"), below
}

// plainAddress is an address without user, query, and what may stand at its end.
func plainAddress(address string) string {
	u, err := RepositoryURL(address)
	if err != nil || u.Scheme == "" {
		return address
	}
	p := strings.TrimSuffix(strings.TrimRight(u.Path, "/"), ".git")
	if p != "" { // cleaned: what climbs out of an address with ".." is not below it
		p = strings.TrimSuffix(path.Clean("/"+p), "/")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host) + p
}

// auth is the credential of an address that is redirected to.
func (r *Redirects) auth(to string) (model.HTTPAuth, error) {
	auth := model.HTTPAuth{Plain: strings.HasPrefix(to, "http://")}
	if r.Logins.IsZero() {
		return auth, nil
	}
	u, err := url.Parse(to)
	if err != nil {
		return auth, errors.New("the address that is redirected to cannot be understood")
	}
	auth.Username, auth.Password, err = registry.Login(r.Logins, u.Host, strings.Trim(u.Path, "/"))
	return auth, err
}

// git is where a repository is had from.
func (r *Redirects) git(repository string, auth model.GitAuth) (string, model.GitAuth, error) {
	to, found := r.Of(repository)
	if !found {
		return repository, auth, nil
	}
	login, err := r.auth(to)
	return to, model.GitAuth{Username: login.Username, Password: login.Password}, err
}

// web is where what is served over HTTP is had from.
func (r *Redirects) web(address string, auth model.HTTPAuth) (string, model.HTTPAuth, error) {
	to, found := r.Of(address)
	if !found {
		return address, auth, nil
	}
	login, err := r.auth(to)
	return to, login, err
}

// registry is where a repository of a registry, without "oci://", is had from.
func (r *Redirects) registry(repository string, auth model.HTTPAuth) (string, model.HTTPAuth, error) {
	to, auth, err := r.web("oci://"+strings.TrimPrefix(repository, "oci://"), auth)
	_, to, _ = strings.Cut(to, "://")
	return to, auth, err
}

// redirected are clients that ask where a redirect leads.
type redirected struct {
	*Redirects
	images Registry
	charts ChartRepository
}

func (r *redirected) artifact(spec *model.OCISource) (*model.OCISource, error) {
	asked := *spec
	var err error
	asked.URL, asked.Auth, err = r.registry(spec.URL, spec.Auth)
	return &asked, err
}

func (r *redirected) chart(spec *model.ChartSource) (*model.ChartSource, error) {
	asked := *spec
	lead := r.web
	if spec.OCI {
		lead = r.registry
	}
	var err error
	asked.Repository, asked.Auth, err = lead(spec.Repository, spec.Auth)
	return &asked, err
}

// Resolve implements Registry.
func (r *redirected) Resolve(ctx context.Context, spec *model.OCISource) (model.OCIArtifact, error) {
	asked, err := r.artifact(spec)
	if err != nil {
		return model.OCIArtifact{}, err
	}
	return r.images.Resolve(ctx, asked)
}

// Pull implements Registry.
func (r *redirected) Pull(ctx context.Context, spec *model.OCISource, artifact model.OCIArtifact) (io.ReadCloser, error) {
	asked, err := r.artifact(spec)
	if err != nil {
		return nil, err
	}
	return r.images.Pull(ctx, asked, artifact)
}

// ResolveChart implements Registry.
func (r *redirected) ResolveChart(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	asked, err := r.chart(spec)
	if err != nil {
		return model.ChartArtifact{}, err
	}
	return r.images.ResolveChart(ctx, asked)
}

// PullChart implements Registry.
func (r *redirected) PullChart(ctx context.Context, spec *model.ChartSource, chart model.ChartArtifact) (io.ReadCloser, error) {
	asked, err := r.chart(spec)
	if err != nil {
		return nil, err
	}
	return r.images.PullChart(ctx, asked, chart)
}

// redirectedCharts are the repositories of charts, whose methods have the names
// of those of the registry.
type redirectedCharts struct{ *redirected }

// Index implements ChartRepository.
func (r redirectedCharts) Index(ctx context.Context, spec *model.IndexSource) (string, io.ReadCloser, error) {
	asked := *spec
	var err error
	if asked.URL, asked.Auth, err = r.web(spec.URL, spec.Auth); err != nil {
		return "", nil, err
	}
	return r.charts.Index(ctx, &asked)
}

// Resolve implements ChartRepository.
func (r redirectedCharts) Resolve(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	asked, err := r.chart(spec)
	if err != nil {
		return model.ChartArtifact{}, err
	}
	return r.charts.Resolve(ctx, asked)
}

// Download implements ChartRepository. The index of a mirror may name packages
// where they were first.
func (r redirectedCharts) Download(ctx context.Context, spec *model.ChartSource, chart model.ChartArtifact) (io.ReadCloser, error) {
	asked, err := r.chart(spec)
	if err != nil {
		return nil, err
	}
	if to, found := r.Of(chart.Address); found && !strings.HasPrefix(chart.Address, "oci://") {
		login, err := r.auth(to)
		if err != nil {
			return nil, err
		}
		asked.Repository, asked.Auth, chart.Address = to, login, to
	}
	return r.charts.Download(ctx, asked, chart)
}
