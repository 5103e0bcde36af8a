package flux

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// The keys of the Secrets that a GitRepository names (fluxcd/pkg
// runtime/secrets and git, options.go).
const (
	keyUsername    = "username"
	keyPassword    = "password"
	keyBearerToken = "bearerToken"
	keyIdentity    = "identity"
	keyKnownHosts  = "known_hosts"
	keyAddress     = "address"

	keyAppID                = "githubAppID"
	keyAppInstallationID    = "githubAppInstallationID"
	keyAppInstallationOwner = "githubAppInstallationOwner"
	keyAppPrivateKey        = "githubAppPrivateKey"
	keyAppBaseURL           = "githubAppBaseURL"
)

// Keys with an older name: the first that is there counts.
var (
	keysCA         = []string{"ca.crt", "caFile"}
	keysClientCert = []string{"tls.crt", "certFile"}
	keysClientKey  = []string{"tls.key", "keyFile"}
)

// The values of GitRepository spec.provider.
const (
	providerGeneric = "generic"
	providerGitHub  = "github"
	providerAzure   = "azure"
	providerAWS     = "aws"
)

const maxProxyAddress = 2048 // fluxcd/pkg runtime/secrets, MaxProxyURLLength

// credentialRefs are the Secrets that a GitRepository names, all of them in
// its own namespace. A zero need is not asked for.
type credentialRefs struct {
	provider string
	auth     model.Need
	proxy    model.Need
	verify   model.Need
	mode     model.VerifyMode
}

func gitCredentials(spec node, namespace string) credentialRefs {
	refs := credentialRefs{
		provider: spec.At("provider").Str(),
		auth:     secretNeed(spec.At("secretRef"), namespace),
		proxy:    secretNeed(spec.At("proxySecretRef"), namespace),
	}
	if refs.provider == "" {
		refs.provider = providerGeneric
	}
	if verify := spec.At("verify"); verify.Present() {
		refs.verify = secretNeed(verify.At("secretRef"), namespace)
		refs.mode = verifyMode(verify.At("mode").Str())
		if refs.verify == (model.Need{}) {
			verify.Invalid("names no secretRef with the trusted public keys")
		}
	}
	refs.checkProvider(spec)
	return refs
}

// verifyMode is upstream's GetMode: what it does not know means HEAD, and the
// "head" of v1beta1 does too.
func verifyMode(mode string) model.VerifyMode {
	known := []model.VerifyMode{model.VerifyHead, model.VerifyTag, model.VerifyTagAndHead}
	if i := slices.Index(known, model.VerifyMode(mode)); i >= 0 {
		return known[i]
	}
	return model.VerifyHead
}

// checkProvider refuses what can be seen without a Secret.
func (refs credentialRefs) checkProvider(spec node) {
	provider, account := spec.At("provider"), spec.At("serviceAccountName")
	refuse := func(field node, message, advice string) {
		spec.R.Fault(&model.Fault{Reason: reasonInvalidProvider, Message: message, Advice: advice, Origin: model.Origin{Field: field.Path}})
	}
	switch refs.provider {
	case providerGeneric:
	case providerGitHub:
		if refs.auth == (model.Need{}) {
			refuse(provider, "secretRef with github app data must be specified when provider is set to github", "name a Secret with the keys "+keyAppID+", "+keyAppInstallationID+" and "+keyAppPrivateKey)
		}
	case providerAzure, providerAWS:
		refuse(provider, fmt.Sprintf("provider '%s' asks for a cloud identity, which is not yet handled by Plumb", refs.provider), "use a secretRef with a token, or an SSH key, and provider generic")
	default:
		refuse(provider, fmt.Sprintf("provider '%s' is not known", reader.Clip(refs.provider, 40)), "use generic or github")
	}
	if account.Present() && refs.provider != providerAzure && refs.provider != providerAWS {
		refuse(account, "serviceAccountName can only be set when provider is 'azure' or 'aws'", "remove it")
	}
}

// secretNeed is the zero need when no Secret is named.
func secretNeed(ref node, namespace string) model.Need {
	if !ref.Present() {
		return model.Need{}
	}
	name := ref.At("name")
	if name.Str() == "" {
		name.Invalid("names no Secret")
		return model.Need{}
	}
	return model.Need{Version: "v1", Kind: "Secret", Namespace: namespace, Name: name.Str()}
}

func (refs credentialRefs) needs() []model.Need {
	return []model.Need{refs.auth, refs.proxy, refs.verify}
}

// resolve fills in what the Secrets hold. Every fault names the field that
// names the Secret, and never a value.
func (refs credentialRefs) resolve(r *reader.Reader, git *model.GitSource, address *url.URL, facts model.Facts) {
	if refs.proxy != (model.Need{}) {
		git.Auth.Proxy = proxy(secretReader{r: r, need: refs.proxy, field: "spec.proxySecretRef", reason: reasonAuthenticationFailed, about: "failed to configure proxy options: "}, facts)
	}
	keep := git.Auth.Proxy
	git.Auth = refs.authentication(r, address, facts)
	git.Auth.Proxy = keep
	if refs.verify != (model.Need{}) {
		git.Verify = refs.verification(r, facts)
	}
}

func (refs credentialRefs) authentication(r *reader.Reader, address *url.URL, facts model.Facts) model.GitAuth {
	secret := secretReader{r: r, need: refs.auth, field: "spec.secretRef", reason: reasonAuthenticationFailed}
	if refs.auth != (model.Need{}) && !secret.load(facts) {
		return model.GitAuth{}
	}
	secret.about = "failed to configure authentication options: "
	var auth model.GitAuth
	if refs.provider == providerGitHub {
		auth.GitHubApp = gitHubApp(secret)
	} else if secret.has(keyAppID) {
		secret.reason = reasonInvalidProvider
		secret.fail("the Secret has github app data but provider is not set to github", "set spec.provider to github")
		return model.GitAuth{}
	}
	if address.Scheme == "ssh" {
		secret.ssh(&auth, address)
	} else {
		secret.web(&auth, address)
	}
	return auth
}

// web reads what HTTP asks for. A bearer token goes before a password; what
// the Secret leaves open the URL may say.
func (s secretReader) web(auth *model.GitAuth, address *url.URL) {
	auth.CA = s.first(keysCA)
	auth.ClientCert = s.first(keysClientCert)
	auth.ClientKey = model.NewSecret(s.first(keysClientKey))
	if (len(auth.ClientCert) == 0) != auth.ClientKey.IsZero() {
		s.fail("a client certificate takes both of '"+keysClientCert[0]+"' and '"+keysClientKey[0]+"'", "add the missing key")
		return
	}
	if auth.GitHubApp != nil {
		return
	}
	if s.has(keyBearerToken) {
		auth.BearerToken = model.NewSecret(s.data[keyBearerToken])
		return
	}
	auth.Username = string(s.data[keyUsername])
	auth.Password = model.NewSecret(s.data[keyPassword])
	reader.AddressCredentials(address, &auth.Username, &auth.Password)
	if auth.Username == "" && !auth.Password.IsZero() {
		s.fail(fmt.Sprintf("invalid '%s' auth option: 'password' requires 'username' to be set", address.Scheme), "add the key 'username'")
	}
}

func (s secretReader) ssh(auth *model.GitAuth, address *url.URL) {
	auth.Username = address.User.Username()
	if auth.Username == "" {
		auth.Username = defaultSSHUser
	}
	auth.SSHKey = model.NewSecret(s.data[keyIdentity])
	auth.SSHKeyPassphrase = model.NewSecret(s.data[keyPassword])
	auth.KnownHosts = s.data[keyKnownHosts]
	for _, key := range []string{keyIdentity, keyKnownHosts} {
		if len(s.data[key]) == 0 {
			s.fail(fmt.Sprintf("invalid 'ssh' auth option: '%s' is required", key), "name a Secret with the keys 'identity' and 'known_hosts' in spec.secretRef")
			return
		}
	}
}

// gitHubApp reads what GitHubAppDataFromSecret of fluxcd/pkg reads.
func gitHubApp(s secretReader) *model.GitHubApp {
	app := &model.GitHubApp{
		AppID:             string(s.data[keyAppID]),
		InstallationID:    string(s.data[keyAppInstallationID]),
		InstallationOwner: string(s.data[keyAppInstallationOwner]),
		PrivateKey:        model.NewSecret(s.data[keyAppPrivateKey]),
		BaseURL:           string(s.data[keyAppBaseURL]),
	}
	s.reason = reasonInvalidProvider
	switch {
	case app.AppID == "" && app.PrivateKey.IsZero():
		s.fail("secretRef with github app data must be specified when provider is set to github", "add the keys "+keyAppID+", "+keyAppInstallationID+" and "+keyAppPrivateKey)
	case app.AppID == "":
		s.fail("the key '"+keyAppID+"' is missing", "add it")
	case app.PrivateKey.IsZero():
		s.fail("the key '"+keyAppPrivateKey+"' is missing", "add it")
	case (app.InstallationID == "") == (app.InstallationOwner == ""):
		s.fail("the Secret must contain exactly one of '"+keyAppInstallationOwner+"' or '"+keyAppInstallationID+"'", "")
	default:
		return app
	}
	return nil
}

// proxy reads what ProxyURLFromSecret of fluxcd/pkg reads.
func proxy(s secretReader, facts model.Facts) *model.Proxy {
	if !s.load(facts) {
		return nil
	}
	address := string(s.data[keyAddress])
	parsed, err := url.Parse(address)
	switch {
	case address == "":
		s.fail("the key 'address' is missing or empty", "set it to the proxy's URL")
	case len(address) > maxProxyAddress:
		s.fail(fmt.Sprintf("proxy URL exceeds maximum length of %d characters", maxProxyAddress), "")
	case err != nil:
		s.fail("the value of 'address' is not a URL", "")
	case !slices.Contains([]string{"http", "https", "socks5"}, parsed.Scheme):
		s.fail("proxy URL must use one of the supported schemes (http, https, socks5)", "")
	case parsed.Host == "":
		s.fail("the value of 'address' names no host", "")
	default:
		return proxyFrom(parsed, s)
	}
	return nil
}

func proxyFrom(address *url.URL, s secretReader) *model.Proxy {
	out := &model.Proxy{}
	if user := address.User; user != nil {
		out.Username = user.Username()
		password, _ := user.Password()
		out.Password = model.NewSecret([]byte(password))
	}
	if s.has(keyUsername) { // replaces what the address says, whole
		out.Username = string(s.data[keyUsername])
		out.Password = model.NewSecret(s.data[keyPassword])
	}
	bare := *address
	bare.User = nil
	out.Address = bare.String()
	return out
}

func (refs credentialRefs) verification(r *reader.Reader, facts model.Facts) *model.GitVerify {
	s := secretReader{r: r, need: refs.verify, field: "spec.verify.secretRef", reason: reasonVerificationError, about: "public keys secret error: "}
	if !s.load(facts) {
		return nil
	}
	verify := &model.GitVerify{Mode: refs.mode, SecretID: s.need.Namespace + "/" + s.need.Name}
	for _, name := range reader.SortedKeys(s.data) {
		if isPublicKey(name, s.data[name]) {
			verify.Keys = append(verify.Keys, model.VerifyKey{Name: name, PEM: s.data[name]})
		}
	}
	if len(verify.Keys) == 0 {
		s.fail("the Secret holds no public key", "add keys that end in .asc (PGP) or .sshpub (SSH)")
		return nil
	}
	return verify
}

// isPublicKey goes by the suffixes that upstream asks for. It takes every other
// key for an OpenPGP one; here that has to look like one, since a Secret that
// also serves to log in holds what must not be handed on as public.
func isPublicKey(name string, value []byte) bool {
	if bytes.Contains(value, []byte("PRIVATE KEY")) {
		return false
	}
	return strings.HasSuffix(name, ".asc") || strings.HasSuffix(name, ".sshpub") ||
		bytes.HasPrefix(bytes.TrimSpace(value), []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----"))
}

// secretReader reads one Secret for one purpose.
type secretReader struct {
	r      *reader.Reader
	need   model.Need
	field  string // that names it
	reason string // of every fault
	about  string // begins every message, in upstream's words
	kind   string // the Secret's type
	data   map[string][]byte
}

func (s secretReader) has(key string) bool { return len(s.data[key]) > 0 }

func (s secretReader) first(keys []string) []byte {
	for _, key := range keys {
		if s.has(key) {
			return s.data[key]
		}
	}
	return nil
}

// fail notes a fault. A Secret may be mended at any time, so trying again can
// help.
func (s secretReader) fail(message, advice string) {
	name := ""
	if s.need != (model.Need{}) {
		name = fmt.Sprintf("secret '%s/%s': ", s.need.Namespace, s.need.Name)
	}
	s.r.Fault(&model.Fault{
		Reason:  s.reason,
		Message: s.about + name + message,
		Advice:  advice,
		Origin:  model.Origin{Field: s.field},
		Retry:   true,
	})
}

// load reads the data of the Secret, or notes why it cannot be read.
func (s *secretReader) load(facts model.Facts) bool {
	name := s.need.Namespace + "/" + s.need.Name
	fact := facts[s.need]
	fail := func(message, advice string) bool {
		s.r.Fault(&model.Fault{
			Reason:  s.reason,
			Message: fmt.Sprintf("%sfailed to get secret '%s': %s", s.about, name, message),
			Advice:  advice,
			Origin:  model.Origin{Field: s.field},
			Retry:   true,
		})
		return false
	}
	switch fact.State {
	case model.Present:
	case model.Absent:
		return fail("not found", "create it")
	case model.Forbidden:
		return fail("forbidden: "+reader.Clip(fact.Message, 500), "allow Plumb to read it")
	default:
		return fail(reader.Clip(fact.Message, 500), "")
	}
	data, err := reader.SecretData(fact.Object)
	if err != nil {
		return fail(err.Error(), "correct it")
	}
	s.data = data
	if fact.Object != nil {
		s.kind, _, _ = unstructured.NestedString(fact.Object.Object, "type")
	}
	return true
}
