package flux

import (
	"fmt"
	"regexp"
	"strings"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

const kindOCIRepository = "OCIRepository"

const ociScheme = "oci://"

// ociRepository reads an OCIRepository (source-controller api/v1
// ocirepository_types.go; v1beta2 has the same fields).
func ociRepository(c *sourceCompilation, spec node) {
	c.source.OCI = &model.OCISource{
		URL:    ociURL(spec.At("url")),
		Ref:    ociRef(spec.At("ref")),
		Layer:  ociLayer(spec.At("layerSelector")),
		Auth:   c.registryAuth(spec),
		Verify: c.verification(spec.At("verify")),
	}
	c.source.Origin.Repository = ociScheme + c.source.OCI.URL
	c.times(spec)
	c.ignore(spec)
}

// registryAuth reads the credentials. A cloud is asked where neither the Secret
// nor the service account has any (the controller's keychain).
func (c *sourceCompilation) registryAuth(spec node) model.HTTPAuth {
	provider := oneOf(spec.At("provider"), reasonInvalidProvider, providerGeneric, providerAWS, providerAzure, providerGCP)
	named, insecure := spec.At("serviceAccountName"), spec.At("insecure").Bool()
	auth := model.HTTPAuth{Plain: insecure}
	if s, ok := c.secret(spec.At("secretRef"), reasonAuthenticationFailed, "failed to get credential: "); ok {
		config, found := s.docker()
		if found {
			auth.DockerConfig = append(auth.DockerConfig, config)
		} else {
			c.r.Find(model.Warning, reasonNotActedOn, s.field, "Secret %s/%s is not of type %s: nothing of it is used", s.need.Namespace, s.need.Name, typeDockerConfig)
		}
	}
	account := c.account(named)
	auth.DockerConfig = append(auth.DockerConfig, c.pullSecrets(named, account)...)
	if provider != providerGeneric && !spec.At("secretRef").Present() && len(auth.DockerConfig) == 0 {
		auth.Workload = c.workload(provider, named.Str(), account)
	}
	withTLS := c.certificates(spec.At("certSecretRef"), &auth, fmt.Sprintf("failed to generate transport for '%s': ", reader.Clip(withoutUser(spec.At("url").Str()), 300)))
	auth.Insecure = insecure && !withTLS
	c.throughProxy(spec.At("proxySecretRef"), &auth, "failed to get proxy address: ")
	return auth
}

// repositoryPath is what registries take (OCI distribution specification).
var repositoryPath = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)

// withoutUser is an address without credentials, whatever else it is.
func withoutUser(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "", address
	}
	host, path, slash := strings.Cut(rest, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	if slash {
		host += "/"
	}
	if found {
		scheme += "://"
	}
	return scheme + host + path
}

// ociURL is host[:port]/repository, "" when the field cannot be used.
func ociURL(field node) string {
	text := field.Str()
	refuse := func(why string) string {
		field.R.Fault(&model.Fault{
			Reason:  reasonURLInvalid,
			Message: fmt.Sprintf("URL validation failed for '%s': %s", reader.Clip(withoutUser(text), 300), why),
			Advice:  "correct the field",
			Origin:  model.Origin{Field: field.Path},
		})
		return ""
	}
	address, found := strings.CutPrefix(text, ociScheme)
	host, repository, _ := strings.Cut(address, "/")
	_, tag, tagged := strings.Cut(repository, ":")
	switch {
	case !found || host == "" || repository == "" || strings.ContainsAny(host, "@ ?#"):
		return refuse("URL must be in format 'oci://<domain>/<org>/<repo>'")
	case tagged:
		return refuse("URL must not contain a tag; remove ':" + reader.Clip(tag, 128) + "'")
	case !repositoryPath.MatchString(strings.TrimSuffix(repository, "/")):
		return refuse("the repository has characters that registries do not take")
	}
	return host + "/" + strings.TrimSuffix(repository, "/")
}

func ociRef(ref node) model.OCIRef {
	return model.OCIRef{
		Digest:       ref.At("digest").Str(),
		SemVer:       ref.At("semver").Str(),
		SemVerFilter: ref.At("semverFilter").Str(),
		Tag:          ref.At("tag").Str(),
	}
}

// ociLayer is nil when none is picked.
func ociLayer(selector node) *model.OCILayer {
	operation := oneOf(selector.At("operation"), "OCIArtifactLayerOperationFailed", "extract", "copy")
	layer := &model.OCILayer{MediaType: selector.At("mediaType").Str(), Copy: operation == "copy"}
	if !selector.Present() {
		return nil
	}
	return layer
}
