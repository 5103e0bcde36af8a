package repository

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/model"
)

// Wanted is a Helm chart that an Application asks for.
type Wanted struct {
	RepoURL string // of a Helm repository, or of a registry
	Chart   string
	Version string // a version, or a range of them
	Project string // picks the credentials; "" is the default project
	// PassCredentials: they go wherever the index says that the package is.
	PassCredentials bool
}

// Chart is the implied source of a chart of a Helm repository, or of a registry:
// that is what an address without a scheme, with oci:// or of a Secret with
// enableOCI names (util/helm IsHelmOciRepo). Credentials are found as Source
// finds them, needs and errors are as there.
func Chart(facts model.Facts, namespace string, want Wanted) (model.Source, []model.Need, error) {
	if open := open(facts, namespace); len(open) > 0 {
		return model.Source{}, open, nil
	}
	ask := asking{facts: facts, namespace: namespace, url: strings.TrimSpace(want.RepoURL), project: want.Project}
	place, found, auth, fault := ask.reach()
	if fault != nil {
		return model.Source{}, nil, fault
	}
	auth.PassAll = want.PassCredentials
	settings, _ := config.Read(facts, namespace)
	source := ask.implied(settings)
	source.Chart = &model.ChartSource{
		Repository: place.repository(),
		OCI:        place.oci,
		Auth:       auth,
		Name:       want.Chart,
		Version:    want.Version,
		Fresh:      source.Interval,
	}
	source.ID = ask.identify(KindChart, found, source.Chart.Repository, strconv.FormatBool(place.oci), want.Chart, want.Version,
		string(auth.CA), strconv.FormatBool(want.PassCredentials))
	return source, nil, nil
}

// Artifact is the implied source of an artifact of a registry ("oci://…") at a
// revision: a tag, a digest or a range of versions. Credentials are found as
// Source finds them, needs and errors are as there.
func Artifact(facts model.Facts, namespace, repoURL, revision, project string) (model.Source, []model.Need, error) {
	if open := open(facts, namespace); len(open) > 0 {
		return model.Source{}, open, nil
	}
	ask := asking{facts: facts, namespace: namespace, url: strings.TrimSpace(repoURL), project: project}
	place, found, auth, fault := ask.reach()
	if fault != nil {
		return model.Source{}, nil, fault
	}
	if revision == "" {
		revision = newestTag
	}
	settings, _ := config.Read(facts, namespace)
	source := ask.implied(settings)
	source.OCI = &model.OCISource{URL: place.repository(), Auth: auth, Revision: revision}
	source.ID = ask.identify(Kind, found, ociScheme, source.OCI.URL, revision, string(auth.CA))
	return source, nil, nil
}

// newestTag is read where no revision is named, as clients of registries do.
const newestTag = "latest"

// InRegistry reports whether the address names an artifact of a registry
// (ApplicationSource IsOCI).
func InRegistry(repoURL string) bool { return strings.HasPrefix(strings.TrimSpace(repoURL), ociScheme) }

// Places are the Helm repositories and registries that the Secrets of an
// installation speak of, for what charts depend on: the most exact addresses
// first. Those that permitted refuses, that are kept for another project or
// that cannot be read are left out (argo-cd GetPermittedRepos, getHelmRepos).
func Places(facts model.Facts, namespace, project string, passCredentials bool, permitted func(repoURL string) bool) []model.ChartPlace {
	var out []model.ChartPlace
	add := func(e entry, shared bool) {
		kind, scope := e.text("type"), e.text("project")
		if e.bad != nil || !strings.EqualFold(kind, "helm") && !strings.EqualFold(kind, "oci") || scope != "" && scope != project || !permitted(e.text("url")) {
			return
		}
		ask := asking{facts: facts, namespace: namespace, url: strings.TrimSpace(e.text("url")), project: project}
		found, fault := found{repository: e}, (*model.Fault)(nil)
		if !shared && !credentialed(e) {
			found.template, fault = ask.template(ask.url)
		}
		if fault != nil {
			return
		}
		place, fault := ask.placed(found)
		if fault != nil {
			return
		}
		auth, fault := found.httpAuth(ask, place)
		if fault != nil {
			return
		}
		auth.PassAll = passCredentials
		one := model.ChartPlace{URL: place.repository(), Auth: auth}
		if place.oci {
			one.URL = ociScheme + one.URL
		}
		if !shared {
			one.Alias = e.text("name")
		}
		out = append(out, one)
	}
	for _, e := range entries(facts[repositories(namespace)]) {
		add(e, false)
	}
	for _, e := range entries(facts[templates(namespace)]) {
		add(e, true)
	}
	slices.SortStableFunc(out, func(a, b model.ChartPlace) int { return len(b.URL) - len(a.URL) })
	return out
}

// place is where charts or artifacts are.
type place struct {
	address *url.URL
	oci     bool
}

// repository is the address without credentials, and of a registry without the
// scheme.
func (p place) repository() string {
	text := strings.TrimRight(bare(p.address), "/")
	if p.oci {
		return strings.TrimPrefix(text, ociScheme)
	}
	return text
}

// reach finds the Secrets that speak of a repository of charts or artifacts,
// what they say it is, and how it is spoken to.
func (a asking) reach() (place, found, model.HTTPAuth, *model.Fault) {
	if fault := a.known(); fault != nil {
		return place{}, found{}, model.HTTPAuth{}, fault
	}
	secrets, fault := a.find()
	if fault != nil {
		return place{}, found{}, model.HTTPAuth{}, fault
	}
	at, fault := a.placed(secrets)
	if fault != nil {
		return place{}, found{}, model.HTTPAuth{}, fault
	}
	auth, fault := secrets.httpAuth(a, at)
	return at, secrets, auth, fault
}

func (a asking) placed(f found) (place, *model.Fault) {
	set, fault := f.switches()
	if fault != nil {
		return place{}, fault
	}
	scheme, rest, named := strings.Cut(a.url, "://")
	oci := !named || scheme == "oci" || set.oci
	text := a.url
	if oci {
		if !named {
			rest = a.url
		}
		text = ociScheme + rest
	}
	address, err := url.Parse(text)
	if err != nil || address.Host == "" || !slices.Contains([]string{"http", "https", "oci"}, address.Scheme) || address.RawQuery != "" && oci {
		return place{}, &model.Fault{
			Reason: ReasonInvalidSpec, Message: "spec.source.repoURL is not the address of a Helm repository or a registry",
			Advice: "write it as https://host/path, or as host/path of a registry",
		}
	}
	return place{address: address, oci: oci}, nil
}

// httpAuth is how a Helm repository or a registry is spoken to (Repository
// GetHelmCreds, GetOCICreds).
func (f found) httpAuth(a asking, at place) (model.HTTPAuth, *model.Fault) {
	set, fault := f.switches()
	if fault != nil {
		return model.HTTPAuth{}, fault
	}
	tls, fault := f.tls(a, at.address)
	if fault != nil {
		return model.HTTPAuth{}, fault
	}
	auth := model.HTTPAuth{
		Username: f.text("username"), Password: model.NewSecret(f.bytes("password")),
		CA: tls.ca, ClientCert: tls.cert, ClientKey: tls.key,
		Insecure: set.insecure, Plain: at.oci && set.plain,
	}
	if auth.Proxy, fault = f.proxy(at.address); fault != nil {
		return model.HTTPAuth{}, fault
	}
	switch user := at.address.User; {
	case set.azure && at.oci:
		auth.Username, auth.Password, auth.Workload = "", model.Secret{}, &model.WorkloadIdentity{Provider: "azure"}
	case set.azure:
		return model.HTTPAuth{}, f.credentials().fault("name the registry without https://", "Azure workload identity is for registries: a Helm repository does not take it")
	case user != nil && auth.Username == "" && auth.Password.IsZero():
		password, _ := user.Password()
		auth.Username, auth.Password = user.Username(), model.NewSecret([]byte(password))
	}
	return auth, nil
}
