package flux

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const kindHelmRepository = "HelmRepository"

// The values of HelmRepository spec.type.
const (
	typeIndex = "default"
	typeOCI   = "oci"
)

const defaultIndexInterval = time.Minute // GetRequeueAfter of a HelmRepository

// helmRepository reads a HelmRepository (source-controller api/v1
// helmrepository_types.go and its older versions). One of a registry is a mere
// declaration that charts refer to: nothing is fetched for it, and whether its
// credentials can be used is told on the charts.
func helmRepository(c *sourceCompilation, spec node) {
	if repositoryType(spec) == typeOCI {
		c.bare = true
	}
	place := c.chartRepository(spec)
	c.source.Index = &model.IndexSource{URL: place.url, OCI: place.oci, Auth: place.auth}
	c.source.Origin.Repository = place.printable()
	c.source.Interval, c.source.Timeout = place.interval, place.timeout
	c.source.Suspended = spec.At("suspend").Bool()
}

// chartPlace is a repository of charts, as a HelmRepository declares it.
type chartPlace struct {
	url      string // normalized, without credentials; of a registry without its scheme
	oci      bool
	auth     model.HTTPAuth
	interval time.Duration
	timeout  time.Duration
}

func (p chartPlace) printable() string {
	if p.oci {
		return ociScheme + p.url
	}
	return p.url
}

func repositoryType(spec node) string {
	return oneOf(spec.At("type"), reasonURLInvalid, typeIndex, typeOCI)
}

// chartRepository reads the spec of a HelmRepository.
func (g *gathering) chartRepository(spec node) chartPlace {
	place := chartPlace{oci: repositoryType(spec) == typeOCI, interval: defaultIndexInterval, timeout: defaultFetchTimeout}
	if d, ok := spec.At("interval").Duration(); ok {
		place.interval = d
	}
	if d, ok := spec.At("timeout").Duration(); ok {
		place.timeout = d
	}
	address := repositoryURL(spec.At("url"), place.oci)
	place.url = printable(address)
	if place.oci {
		place.url = strings.TrimPrefix(place.url, ociScheme)
	}
	place.auth = g.repositoryAuth(spec, place.oci, address)
	return place
}

// repositoryURL is normalized as upstream has it (repository.NormalizeURL): of
// an index it ends in a slash, of a registry it does not.
func repositoryURL(field node, oci bool) *url.URL {
	refuse := func(why string) *url.URL {
		field.R.Fault(&model.Fault{
			Reason:  reasonURLInvalid,
			Message: "invalid Helm repository URL: " + why,
			Advice:  "write it as https://host/path, or as oci://host/path with type oci",
			Origin:  model.Origin{Field: field.Path},
		})
		return nil
	}
	address, err := url.Parse(field.Str())
	switch {
	case err != nil: // repeats the address, which may hold a password
		return refuse("it is not a URL")
	case address.Host == "":
		return refuse("it names no host")
	case oci && address.Scheme != "oci":
		return refuse("invalid OCI registry URL: it must begin with oci://")
	case !oci && address.Scheme == "oci":
		return refuse("'oci' URL scheme cannot be used with 'default' HelmRepository type")
	case !slices.Contains([]string{"http", "https", "oci"}, address.Scheme):
		return refuse("it must begin with http://, https:// or oci://")
	}
	address.Path = strings.TrimRight(address.Path, "/")
	address.RawPath = strings.TrimRight(address.RawPath, "/")
	if !oci {
		address.Path += "/"
		if address.RawPath != "" {
			address.RawPath += "/"
		}
	}
	return address
}

// repositoryAuth reads the credentials (internal/helm/getter, GetClientOpts).
func (g *gathering) repositoryAuth(spec node, oci bool, address *url.URL) model.HTTPAuth {
	provider := oneOf(spec.At("provider"), reasonInvalidProvider, providerGeneric, providerAWS, providerAzure, providerGCP)
	auth := model.HTTPAuth{PassAll: spec.At("passCredentials").Bool(), Plain: spec.At("insecure").Bool() && oci}
	if address != nil && address.User != nil {
		password, _ := address.User.Password()
		auth.Username, auth.Password = address.User.Username(), model.NewSecret([]byte(password))
	}
	withTLS := g.certificates(spec.At("certSecretRef"), &auth, "failed to construct Helm client's TLS config: ")
	ref := spec.At("secretRef")
	if s, ok := g.secret(ref, reasonAuthenticationFailed, ""); ok {
		s.about = "failed to detect authentication methods: "
		if config, found := s.docker(); found && oci {
			auth.DockerConfig = []model.Secret{config}
		} else if s.has(keyUsername) || s.has(keyPassword) {
			s.basic(&auth)
		}
		if !withTLS && s.hasTLS() {
			s.tls(&auth)
		}
	}
	if oci && !ref.Present() && provider != providerGeneric {
		auth.Workload = g.workload(provider, "", nil)
	}
	return auth
}

// repositoryNeed names a HelmRepository.
func repositoryNeed(namespace, name string) model.Need {
	return model.Need{Group: GroupSource, Version: "v1", Kind: kindHelmRepository, Namespace: namespace, Name: name}
}

// placeOf reads a HelmRepository that another object refers to, with what it
// needs itself. The fault is that of the repository.
func (g *gathering) placeOf(repository *unstructured.Unstructured) (chartPlace, *model.Fault) {
	r := reader.New(Name, reasonInvalidSpec, object.Of(repository))
	inner := &gathering{r: r, facts: g.facts, open: g.open, bare: g.bare}
	place := inner.chartRepository(r.Root("spec", repository.Object["spec"]))
	g.open = inner.open
	return place, r.First()
}
