package repository

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

const keyProxy = "proxy"

// text is a value of the repository's Secret or, where it has none, of the
// template's.
func (f found) text(key string) string { return string(f.bytes(key)) }

func (f found) bytes(key string) []byte {
	if f.repository.has(key) {
		return f.repository.data[key]
	}
	return f.template.data[key]
}

// blame is the Secret that a value of which something is wrong comes from.
func (f found) blame(key string) entry {
	if f.repository.has(key) || f.template.data == nil {
		return f.repository
	}
	return f.template
}

// switches are settings of the Secret that holds the credentials; a template's
// stand in for the repository's (CopyCredentialsFrom).
type switches struct {
	insecure, ignoreHostKey, forceBasic, azure bool
	oci, plain                                 bool // enableOCI, insecureOCIForceHttp
	app, installation                          int64
}

func (f found) switches() (switches, *model.Fault) {
	var s switches
	flags := []struct {
		from entry
		key  string
		to   *bool
	}{
		{f.repository, "insecure", &s.insecure},
		{f.repository, "insecureIgnoreHostKey", &s.ignoreHostKey},
		{f.credentials(), "forceHttpBasicAuth", &s.forceBasic},
		{f.credentials(), "useAzureWorkloadIdentity", &s.azure},
		{f.credentials(), "enableOCI", &s.oci},
		{f.credentials(), "insecureOCIForceHttp", &s.plain},
	}
	for _, flag := range flags {
		value, fault := flag.from.flag(flag.key)
		if fault != nil {
			return switches{}, fault
		}
		*flag.to = value
	}
	for key, to := range map[string]*int64{"githubAppID": &s.app, "githubAppInstallationID": &s.installation} {
		value, fault := f.blame(key).number(key)
		if fault != nil {
			return switches{}, fault
		}
		*to = value
	}
	return s, nil
}

func (f found) credentials() entry {
	if f.template.data != nil {
		return f.template
	}
	return f.repository
}

// auth is how the server is spoken to (Repository GetGitCreds: the first kind
// of credential that is there counts).
func (f found) auth(a asking, address *url.URL) (model.GitAuth, *model.Fault) {
	set, fault := f.switches()
	if fault != nil {
		return model.GitAuth{}, fault
	}
	auth := model.GitAuth{Insecure: set.insecure || set.ignoreHostKey, ForceBasicAuth: set.forceBasic}
	auth.Proxy, fault = f.proxy(address)
	if fault != nil {
		return model.GitAuth{}, fault
	}
	if address.Scheme == "ssh" {
		fault = f.ssh(a, address, &auth)
	} else {
		fault = f.web(a, address, set, &auth)
	}
	return auth, fault
}

func (f found) ssh(a asking, address *url.URL, auth *model.GitAuth) *model.Fault {
	auth.Username = address.User.Username()
	if auth.Username == "" {
		auth.Username = "git"
	}
	key := f.bytes("sshPrivateKey")
	if len(key) == 0 {
		return &model.Fault{
			Reason:  ReasonComparison,
			Message: "no SSH key is known for repository " + Printable(a.url),
			Advice:  "add a Secret with label " + LabelSecretType + "=repository and the keys url and sshPrivateKey in namespace " + a.namespace,
			Retry:   true,
		}
	}
	auth.SSHKey = model.NewSecret(key)
	hosts, fault := a.file(KnownHosts, "ssh_known_hosts")
	if fault != nil {
		return fault
	}
	auth.KnownHosts = hosts
	if len(hosts) == 0 && !auth.Insecure {
		return &model.Fault{
			Reason:  ReasonComparison,
			Message: "no known host key vouches for repository " + Printable(a.url),
			Advice:  "add the server's keys to ssh_known_hosts in ConfigMap " + a.namespace + "/" + KnownHosts,
			Retry:   true,
		}
	}
	return nil
}

func (f found) web(a asking, address *url.URL, set switches, auth *model.GitAuth) *model.Fault {
	tls, fault := f.tls(a, address)
	if fault != nil {
		return fault
	}
	auth.CA, auth.ClientCert, auth.ClientKey = tls.ca, tls.cert, tls.key
	switch {
	case f.text("bearerToken") != "":
		auth.BearerToken = model.NewSecret(f.bytes("bearerToken"))
	case f.text("password") != "":
		auth.Username, auth.Password = f.text("username"), model.NewSecret(f.bytes("password"))
	case f.text("githubAppPrivateKey") != "" && set.app != 0:
		auth.GitHubApp = f.gitHubApp(address, set)
	case set.azure:
		return f.credentials().fault("use a token: keys username and password", "Azure workload identity is not yet handled by Plumb")
	case f.text("gcpServiceAccountKey") != "":
		return f.blame("gcpServiceAccountKey").fault("use a token: keys username and password", "a Google Cloud service account key is not yet handled by Plumb")
	case f.text("azureServicePrincipalClientSecret") != "":
		return f.blame("azureServicePrincipalClientSecret").fault("use a token: keys username and password", "an Azure service principal is not yet handled by Plumb")
	default:
		auth.Username = f.text("username")
	}
	ownCredentials(address, auth)
	return nil
}

// certificates are what both sides of a connection prove themselves with.
type certificates struct {
	ca, cert []byte
	key      model.Secret
}

// tls reads the CA of the host and the client certificate.
func (f found) tls(a asking, address *url.URL) (certificates, *model.Fault) {
	ca, fault := a.file(TLSCertificates, address.Hostname())
	if fault != nil {
		return certificates{}, fault
	}
	out := certificates{ca: ca, cert: f.bytes("tlsClientCertData"), key: model.NewSecret(f.bytes("tlsClientCertKey"))}
	if (len(out.cert) == 0) != out.key.IsZero() {
		return certificates{}, f.blame("tlsClientCertData").fault("add the missing key", "a client certificate takes both of 'tlsClientCertData' and 'tlsClientCertKey'")
	}
	return out, nil
}

// ownCredentials takes what the address says where the Secrets say nothing. A
// password needs some user name, which token endpoints do not look at.
func ownCredentials(address *url.URL, auth *model.GitAuth) {
	if !auth.BearerToken.IsZero() || auth.GitHubApp != nil {
		return
	}
	reader.AddressCredentials(address, &auth.Username, &auth.Password)
	if auth.Username == "" && !auth.Password.IsZero() {
		auth.Username = "git"
	}
}

// gitHubApp finds the installation by the owner of the repository when no
// installation is named.
func (f found) gitHubApp(address *url.URL, set switches) *model.GitHubApp {
	app := &model.GitHubApp{
		AppID:      strconv.FormatInt(set.app, 10),
		PrivateKey: model.NewSecret(f.bytes("githubAppPrivateKey")),
		BaseURL:    f.text("githubAppEnterpriseBaseUrl"),
	}
	if set.installation != 0 {
		app.InstallationID = strconv.FormatInt(set.installation, 10)
		return app
	}
	app.InstallationOwner, _, _ = strings.Cut(strings.TrimPrefix(address.Path, "/"), "/")
	return app
}

// proxy is nil where none is asked for, or where the host takes none.
func (f found) proxy(address *url.URL) (*model.Proxy, *model.Fault) {
	text := f.text(keyProxy)
	if text == "" || bypasses(address, f.text("noProxy")) {
		return nil, nil
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, parsed.Scheme) {
		return nil, f.blame(keyProxy).fault("write it as http://host:port", "the value of 'proxy' is not the address of a proxy")
	}
	out := &model.Proxy{}
	if user := parsed.User; user != nil {
		out.Username = user.Username()
		password, _ := user.Password()
		out.Password = model.NewSecret([]byte(password))
	}
	parsed.User = nil
	out.Address = parsed.String()
	return out, nil
}

// file is a value of a ConfigMap, nil when there is none.
func (a asking) file(name, key string) ([]byte, *model.Fault) {
	fact := a.facts[configMap(a.namespace, name)]
	if fact.State != model.Present || fact.Object == nil {
		return nil, nil
	}
	data, ok := fact.Object.Object["data"].(map[string]any)
	if !ok && fact.Object.Object["data"] != nil {
		return nil, &model.Fault{Reason: ReasonComparison, Message: "ConfigMap " + a.namespace + "/" + name + ": its data is not a map", Advice: "correct it", Retry: true}
	}
	text, ok := data[key].(string)
	if !ok && data[key] != nil {
		return nil, &model.Fault{Reason: ReasonComparison, Message: "ConfigMap " + a.namespace + "/" + name + ": the value of '" + reader.Clip(key, 300) + "' is not a string", Advice: "correct it", Retry: true}
	}
	if text == "" {
		return nil, nil
	}
	return []byte(text), nil
}
