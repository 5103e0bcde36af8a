package flux

import (
	"fmt"
	"strings"

	"plumb.dev/plumb/internal/model"
)

const kindBucket = "Bucket"

// The keys of the Secret of a Bucket (source-controller internal/bucket).
const (
	keyAccessKey      = "accesskey"
	keySecretKey      = "secretkey"
	keyServiceAccount = "serviceaccount"
)

// keysAzure are what an Azure credential may be made of; one of the second list
// must be there.
var (
	keysAzure       = []string{"tenantId", "clientId", "clientSecret", "clientCertificate", "clientCertificatePassword", "clientCertificateSendChain", "authorityHost", "accountKey", "sasKey"}
	keysAzureEnough = []string{"clientId", "accountKey", "sasKey", "authorityHost"}
)

// reasonInvalidSTS is that of a spec.sts that does not fit (condition_types.go).
const reasonInvalidSTS = "InvalidSTSConfiguration"

// bucket reads a Bucket (source-controller api/v1 bucket_types.go and its older
// versions).
func bucket(c *sourceCompilation, spec node) {
	provider := oneOf(spec.At("provider"), reasonInvalidProvider, providerGeneric, providerAWS, providerGCP, providerAzure)
	c.source.Bucket = &model.BucketSource{
		Provider: provider,
		Name:     required(spec.At("bucketName"), "bucket"),
		Endpoint: required(spec.At("endpoint"), "endpoint"),
		Region:   spec.At("region").Str(),
		Prefix:   spec.At("prefix").Str(),
		STS:      c.sts(spec.At("sts"), provider),
	}
	c.source.Origin.Repository = withoutUser(c.source.Bucket.Endpoint) + "/" + c.source.Bucket.Name
	c.times(spec)
	c.ignore(spec)
	c.bucketAuth(spec, provider)
}

// bucketAuth reads the credentials. Without a Secret the cloud of the provider
// is asked.
func (c *sourceCompilation) bucketAuth(spec node, provider string) {
	auth := &c.source.Bucket.Auth
	auth.Plain = spec.At("insecure").Bool()
	ref, named := spec.At("secretRef"), spec.At("serviceAccountName")
	switch {
	case named.Str() != "" && provider == providerGeneric:
		refuseProvider(named, "ServiceAccountName is not supported for the 'generic' Bucket provider", "remove it")
	case named.Str() != "" && ref.Present():
		refuseProvider(named, "cannot set both .spec.secretRef and .spec.serviceAccountName", "remove one of them")
	}
	if s, ok := c.secret(ref, reasonAuthenticationFailed, ""); ok {
		c.bucketSecret(s, provider)
	}
	if account := c.account(named); !ref.Present() && provider != providerGeneric {
		auth.Workload = c.workload(provider, named.Str(), account)
	}
	c.certificates(spec.At("certSecretRef"), auth, "failed to get TLS config: ")
	c.throughProxy(spec.At("proxySecretRef"), auth, "failed to get proxy URL: ")
}

// bucketSecret reads the Secret as the provider wants it (ValidateSecret of each
// client).
func (c *sourceCompilation) bucketSecret(s secretReader, provider string) {
	s.about = "invalid secret data: "
	out := c.source.Bucket
	switch provider {
	case providerGCP:
		if _, ok := s.data[keyServiceAccount]; !ok {
			s.fail("required fields '"+keyServiceAccount+"'", "add the key")
		}
		out.ServiceAccount = model.NewSecret(s.data[keyServiceAccount])
	case providerAzure:
		if !s.hasAny(keysAzureEnough) {
			s.fail("requires 'clientId' or 'accountKey' field, a combination of 'tenantId', 'clientId' and 'clientSecret', or 'tenantId', 'clientId' and 'clientCertificate'", "add the keys")
		}
		out.AzureKeys = map[string]model.Secret{}
		for _, key := range keysAzure {
			if s.has(key) {
				out.AzureKeys[key] = model.NewSecret(s.data[key])
			}
		}
	default:
		if !s.has(keyAccessKey) || !s.has(keySecretKey) {
			s.fail("required fields '"+keyAccessKey+"' and '"+keySecretKey+"'", "add the missing key")
		}
		out.Auth.Username, out.Auth.Password = string(s.data[keyAccessKey]), model.NewSecret(s.data[keySecretKey])
	}
}

func (s secretReader) hasAny(keys []string) bool { return len(s.first(keys)) > 0 }

// sts reads spec.sts; nil when there is none (minio.ValidateSTSProvider).
func (c *sourceCompilation) sts(sts node, provider string) *model.STS {
	kind, ref, cert := sts.At("provider"), sts.At("secretRef"), sts.At("certSecretRef")
	out := &model.STS{Provider: kind.Str(), Endpoint: sts.At("endpoint").Str()}
	if !sts.Present() {
		return nil
	}
	refuse := func(field node, reason, message string) {
		c.r.Fault(&model.Fault{Reason: reason, Message: message, Advice: "correct the field", Origin: model.Origin{Field: field.Path}})
	}
	fits := map[string]string{providerAWS: providerAWS, providerGeneric: providerLDAP}
	switch want, ok := fits[provider]; {
	case !ok:
		refuse(sts, reasonInvalidSTS, fmt.Sprintf("STS configuration is not supported for '%s' bucket provider", provider))
	case out.Provider != want:
		refuse(kind, reasonInvalidSTS, fmt.Sprintf("STS provider %q is not supported for '%s' bucket provider", out.Provider, provider))
	case want == providerAWS && ref.Present():
		refuse(ref, reasonInvalidSTS, "spec.sts.secretRef is not required for the 'aws' STS provider")
	case want == providerAWS && cert.Present():
		refuse(cert, reasonInvalidSTS, "spec.sts.certSecretRef is not required for the 'aws' STS provider")
	case !strings.HasPrefix(out.Endpoint, "http://") && !strings.HasPrefix(out.Endpoint, "https://"):
		refuse(sts.At("endpoint"), reasonURLInvalid, "failed to parse STS endpoint: it must begin with http:// or https://")
	}
	if s, ok := c.secret(ref, reasonAuthenticationFailed, "invalid secret data for 'ldap' STS provider: "); ok {
		if !s.has(keyUsername) || !s.has(keyPassword) {
			s.fail("required fields username, password", "add the missing key")
		}
		out.Auth.Username, out.Auth.Password = string(s.data[keyUsername]), model.NewSecret(s.data[keyPassword])
	}
	c.certificates(cert, &out.Auth, "failed to get STS TLS config: ")
	return out
}

// refuseProvider is the fault of a provider that does not fit its credentials.
func refuseProvider(field node, message, advice string) {
	field.R.Fault(&model.Fault{Reason: reasonInvalidProvider, Message: message, Advice: advice, Origin: model.Origin{Field: field.Path}})
}
