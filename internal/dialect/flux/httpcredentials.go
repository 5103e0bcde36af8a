package flux

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// The values of spec.provider of OCIRepository, Bucket and HelmRepository, and
// of spec.sts.provider.
const (
	providerGCP  = "gcp"
	providerLDAP = "ldap"
)

// The types of Secrets with credentials of registries, and their keys.
const (
	typeDockerConfig = "kubernetes.io/dockerconfigjson"
	typeDockerLegacy = "kubernetes.io/dockercfg"
	keyDockerConfig  = ".dockerconfigjson"
	keyDockerLegacy  = ".dockercfg"
)

// The keys of Secrets that signatures are verified with.
const (
	suffixCosignKey = ".pub"
	keyTrustPolicy  = "trustpolicy.json"
	keyTrustedRoot  = "trusted_root.json"
)

const (
	verifyCosign   = "cosign"
	verifyNotation = "notation"
)

// maxPullSecrets bounds how many Secrets a service account brings.
const maxPullSecrets = 100

// tls reads a CA, a client certificate, or both; the names of keys before 2023
// count too (fluxcd/pkg runtime/secrets, TLSConfigFromSecret).
func (s secretReader) tls(auth *model.HTTPAuth) {
	ca, cert, key := s.first(keysCA), s.first(keysClientCert), s.first(keysClientKey)
	switch {
	case len(cert) > 0 && len(key) == 0:
		s.fail("contains '"+keysClientCert[0]+"' but missing '"+keysClientKey[0]+"'", "add the missing key")
	case len(cert) == 0 && len(key) > 0:
		s.fail("contains '"+keysClientKey[0]+"' but missing '"+keysClientCert[0]+"'", "add the missing key")
	case len(cert) == 0 && len(ca) == 0:
		s.fail("must contain either '"+keysCA[0]+"' or both '"+keysClientCert[0]+"' and '"+keysClientKey[0]+"'", "add the missing keys")
	default:
		auth.CA, auth.ClientCert, auth.ClientKey = ca, cert, model.NewSecret(key)
	}
}

// hasTLS reports whether the Secret holds what tls takes.
func (s secretReader) hasTLS() bool {
	pair := len(s.first(keysClientCert)) > 0
	return pair == (len(s.first(keysClientKey)) > 0) && (pair || len(s.first(keysCA)) > 0)
}

// basic reads username and password, of which one alone is a mistake
// (BasicAuthFromSecret).
func (s secretReader) basic(auth *model.HTTPAuth) {
	_, username := s.data[keyUsername]
	_, password := s.data[keyPassword]
	switch {
	case username && !password:
		s.fail("malformed basic auth - has '"+keyUsername+"' but missing '"+keyPassword+"'", "add the missing key")
	case password && !username:
		s.fail("malformed basic auth - has '"+keyPassword+"' but missing '"+keyUsername+"'", "add the missing key")
	default:
		auth.Username, auth.Password = string(s.data[keyUsername]), model.NewSecret(s.data[keyPassword])
	}
}

// docker is the Docker configuration that the Secret holds, in today's form.
func (s secretReader) docker() (model.Secret, bool) {
	switch {
	case s.kind == typeDockerConfig && s.has(keyDockerConfig):
		return model.NewSecret(s.data[keyDockerConfig]), true
	case s.kind == typeDockerLegacy && s.has(keyDockerLegacy):
		return model.NewSecret([]byte(`{"auths":` + string(s.data[keyDockerLegacy]) + `}`)), true
	}
	return model.Secret{}, false
}

// certificates reads spec.certSecretRef, and reports whether there is one.
func (g *gathering) certificates(ref node, auth *model.HTTPAuth, about string) bool {
	if s, ok := g.secret(ref, reasonAuthenticationFailed, about); ok {
		s.tls(auth)
	}
	return ref.Present()
}

// throughProxy reads spec.proxySecretRef.
func (g *gathering) throughProxy(ref node, auth *model.HTTPAuth, about string) {
	s := secretReader{r: g.r, need: secretNeed(ref, g.r.ID.Namespace), field: ref.Path, reason: reasonAuthenticationFailed, about: about}
	if s.need != (model.Need{}) && g.known(s.need) {
		auth.Proxy = proxy(s, g.facts)
	}
}

// account is the service account that a field names, nil when it names none or
// when it is not known (yet).
func (g *gathering) account(field node) *unstructured.Unstructured {
	if field.Str() == "" {
		return nil
	}
	need := model.Need{Version: "v1", Kind: "ServiceAccount", Namespace: g.r.ID.Namespace, Name: field.Str()}
	return g.object(need, field.Path, reasonAuthenticationFailed, "failed to get credential: ")
}

// pullSecrets reads the Secrets that a service account pulls images with
// (PullSecretsFromServiceAccountRef): all of them must be there.
func (g *gathering) pullSecrets(field node, account *unstructured.Unstructured) []model.Secret {
	if account == nil {
		return nil
	}
	var out []model.Secret
	named, _, _ := unstructured.NestedSlice(account.Object, "imagePullSecrets")
	for _, item := range named[:min(len(named), maxPullSecrets)] {
		ref, _ := item.(map[string]any)
		about := fmt.Sprintf("failed to get credential: failed to get image pull secret for serviceaccount '%s/%s': ", account.GetNamespace(), account.GetName())
		at := node{R: g.r, Path: field.Path, Shape: field.Shape, Value: map[string]any{"name": ref["name"]}}
		if name, _ := ref["name"].(string); name == "" {
			continue
		}
		if s, ok := g.secret(at, reasonAuthenticationFailed, about); ok {
			if config, ok := s.docker(); ok {
				out = append(out, config)
			}
		}
	}
	return out
}

// workload asks the cloud for the credential, as the account where one is named.
func (g *gathering) workload(provider, name string, account *unstructured.Unstructured) *model.WorkloadIdentity {
	identity := &model.WorkloadIdentity{Provider: provider, Account: name, Namespace: g.r.ID.Namespace}
	if account != nil {
		identity.Annotations = account.GetAnnotations()
	}
	return identity
}

// verification reads spec.verify; nil when none is asked for. Its faults tell
// the provider as upstream does.
func (g *gathering) verification(verify node) *model.Verification {
	if !verify.Present() {
		return nil
	}
	out := &model.Verification{Provider: oneOf(verify.At("provider"), reasonVerificationError, verifyCosign, verifyNotation)}
	for _, item := range verify.At("matchOIDCIdentity").Items() {
		out.Identities = append(out.Identities, model.SignerIdentity{Issuer: expression(item.At("issuer")), Subject: expression(item.At("subject"))})
	}
	ref, told := verify.At("secretRef"), out.Provider
	if !ref.Present() && out.Provider == verifyCosign {
		told += " keyless"
	}
	about := fmt.Sprintf("failed to verify the signature using provider '%s': ", told)
	if s, ok := g.secret(verify.At("trustedRootSecretRef"), reasonVerificationError, about); ok {
		if !s.has(keyTrustedRoot) {
			s.fail("'"+keyTrustedRoot+"' not found", "add the key")
		}
		out.TrustRoot = s.data[keyTrustedRoot]
	}
	if !ref.Present() && out.Provider == verifyNotation {
		g.r.Fault(&model.Fault{Reason: reasonVerificationError, Message: about + "verification secret cannot be empty", Advice: "name a Secret with " + keyTrustPolicy + " and certificates in " + ref.Path, Origin: model.Origin{Field: ref.Path}})
	}
	if s, ok := g.secret(ref, reasonVerificationError, about); ok {
		out.SecretID = s.need.Namespace + "/" + s.need.Name
		out.Keys = s.verifyKeys(out.Provider)
	}
	return out
}

// verifyKeys are the public keys of cosign, or the trust policy and the
// certificates of notation. Nothing else of the Secret is handed on as public.
func (s secretReader) verifyKeys(provider string) []model.VerifyKey {
	var keys []model.VerifyKey
	certificates := 0
	for _, name := range reader.SortedKeys(s.data) {
		certificate := strings.HasSuffix(name, ".crt") || strings.HasSuffix(name, ".pem")
		switch {
		case strings.Contains(string(s.data[name]), "PRIVATE KEY"):
		case provider == verifyCosign && strings.HasSuffix(name, suffixCosignKey), provider == verifyNotation && name == keyTrustPolicy:
			keys = append(keys, model.VerifyKey{Name: name, PEM: s.data[name]})
		case provider == verifyNotation && certificate:
			keys = append(keys, model.VerifyKey{Name: name, PEM: s.data[name]})
			certificates++
		}
	}
	switch {
	case provider == verifyCosign && len(keys) == 0:
		s.fail("no public keys found", "add keys that end in "+suffixCosignKey)
	case provider == verifyNotation && !s.has(keyTrustPolicy):
		s.fail("'"+keyTrustPolicy+"' not found", "add the key")
	case provider == verifyNotation && certificates == 0:
		s.fail("no certificates found", "add keys that end in .crt or .pem")
	}
	return keys
}

// expression is a regular expression that can be used.
func expression(field node) string {
	text := field.Str()
	if _, err := regexp.Compile(text); err != nil {
		field.Invalid("is not a regular expression")
	}
	return text
}
