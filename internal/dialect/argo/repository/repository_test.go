package repository

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const canary = "canary-7f3a"

// cluster is what a test's namespace holds.
type cluster struct {
	repositories, templates []map[string]any // stringData, with "name" taken from the place
	configMaps              map[string]map[string]any
	version                 string
}

func (c cluster) facts() model.Facts {
	secrets := func(kind string, all []map[string]any) model.Fact {
		fact := model.Fact{State: model.Present}
		for i, data := range all {
			fact.Objects = append(fact.Objects, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Secret", "stringData": data,
				"metadata": map[string]any{"name": fmt.Sprintf("%s-%d", kind, i), "namespace": "argocd", "uid": kind + fmt.Sprint(i), "resourceVersion": "1" + c.version},
			}})
		}
		return fact
	}
	out := model.Facts{}
	for _, need := range Needs("argocd") {
		out[need] = model.Fact{State: model.Absent}
		if data, ok := c.configMaps[need.Name]; ok && need.Kind == "ConfigMap" {
			out[need] = model.Fact{State: model.Present, Object: &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": data}}}
		}
	}
	out[repositories("argocd")] = secrets("repository", c.repositories)
	out[templates("argocd")] = secrets("template", c.templates)
	return out
}

func (c cluster) source(t *testing.T, url, project string) model.Source {
	t.Helper()
	source, needs, err := Source(c.facts(), "argocd", url, "main", project)
	if err != nil || len(needs) > 0 {
		t.Fatalf("%v %v", needs, err)
	}
	return source
}

func TestNeedsFirst(t *testing.T) {
	facts := model.Facts{}
	_, needs, err := Source(facts, "argocd", "https://example.com/r", "", "")
	if err != nil || !reflect.DeepEqual(needs, Needs("argocd")) {
		t.Fatalf("%v %v", needs, err)
	}
	for _, need := range needs {
		if need.Namespace != "argocd" {
			t.Errorf("%s is asked for elsewhere", need)
		}
	}
	facts = cluster{}.facts()
	for _, need := range Needs("argocd") {
		for _, state := range []model.FactState{model.Forbidden, model.Failed} {
			facts[need] = model.Fact{State: state, Message: "no access"}
			_, _, err := Source(facts, "argocd", "https://example.com/r", "", "")
			var fault *model.Fault
			if !errors.As(err, &fault) || !fault.Retry || !strings.Contains(fault.Message, need.String()) {
				t.Errorf("%s %s: %v", need, state, err)
			}
		}
		facts[need] = model.Fact{State: model.Absent}
	}
}

func TestPublic(t *testing.T) {
	got := cluster{}.source(t, "https://example.com/org/r.git", "")
	want := model.Source{
		ID:      object.ID{Group: Group, Kind: Kind, Namespace: "argocd", Name: got.ID.Name},
		Implied: true, Interval: 2 * time.Minute, Timeout: 90 * time.Second,
		Origin: model.Origin{Dialect: "argo", Repository: "https://example.com/org/r.git"},
		Git:    &model.GitSource{URL: "https://example.com/org/r.git", Ref: model.GitRef{Revision: "main"}, RecurseSubmodules: true},
	}
	if !reflect.DeepEqual(got, want) || len(got.ID.Name) != 32 {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestSettings(t *testing.T) {
	c := cluster{configMaps: map[string]map[string]any{
		"argocd-cm":            {"timeout.reconciliation": "0"},
		"argocd-cmd-params-cm": {"reposerver.git.request.timeout": "5m", "reposerver.enable.git.submodule": "false"},
	}}
	got := c.source(t, "https://example.com/r", "")
	if got.Interval != never || got.Timeout != 5*time.Minute || got.Git.RecurseSubmodules {
		t.Errorf("%+v", got)
	}
}

// TestCredentials is one Secret to a line, and the way in that it gives.
func TestCredentials(t *testing.T) {
	hosts := map[string]map[string]any{
		KnownHosts:      {"ssh_known_hosts": "hosts"},
		TLSCertificates: {"example.com": "certificate"},
	}
	secret := func(text string) model.Secret { return model.NewSecret([]byte(text)) }
	none := model.NewSecret([]byte(nil))
	for name, c := range map[string]struct {
		url    string
		secret map[string]any
		want   model.GitAuth
	}{
		"password":          {"https://example.com/r", map[string]any{"username": "u", "password": "p"}, model.GitAuth{Username: "u", Password: secret("p")}},
		"token":             {"https://example.com/r", map[string]any{"password": "p"}, model.GitAuth{Username: "git", Password: secret("p")}},
		"bearer":            {"https://example.com/r", map[string]any{"username": "u", "password": "p", "bearerToken": "b"}, model.GitAuth{BearerToken: secret("b")}},
		"client":            {"https://example.com/r", map[string]any{"tlsClientCertData": "c", "tlsClientCertKey": "k"}, model.GitAuth{ClientCert: []byte("c"), ClientKey: secret("k")}},
		"insecure":          {"https://example.com/r", map[string]any{"insecure": "true", "forceHttpBasicAuth": "true"}, model.GitAuth{Insecure: true, ForceBasicAuth: true}},
		"app":               {"https://example.com/org/r", map[string]any{"githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": "k", "githubAppEnterpriseBaseUrl": "https://ghe"}, model.GitAuth{GitHubApp: &model.GitHubApp{AppID: "1", InstallationID: "2", PrivateKey: secret("k"), BaseURL: "https://ghe"}}},
		"app by owner":      {"https://example.com/org/r", map[string]any{"githubAppID": "1", "githubAppPrivateKey": "k"}, model.GitAuth{GitHubApp: &model.GitHubApp{AppID: "1", InstallationOwner: "org", PrivateKey: secret("k")}}},
		"proxy":             {"https://example.com/r", map[string]any{"proxy": "http://u:p@proxy:3128", "noProxy": "other.com"}, model.GitAuth{Proxy: &model.Proxy{Address: "http://proxy:3128", Username: "u", Password: secret("p")}}},
		"no proxy":          {"https://example.com/r", map[string]any{"proxy": "http://proxy:3128", "noProxy": "other.com,example.com"}, model.GitAuth{}},
		"in the URL":        {"https://u:p@example.com/r", nil, model.GitAuth{Username: "u", Password: secret("p")}},
		"ssh":               {"ssh://deploy@example.com/r", map[string]any{"sshPrivateKey": "k"}, model.GitAuth{Username: "deploy", SSHKey: secret("k"), KnownHosts: []byte("hosts")}},
		"scp":               {"git@example.com:org/r.git", map[string]any{"sshPrivateKey": "k", "insecureIgnoreHostKey": "true"}, model.GitAuth{Username: "git", SSHKey: secret("k"), KnownHosts: []byte("hosts"), Insecure: true}},
		"ssh, nobody named": {"ssh://example.com/r", map[string]any{"sshPrivateKey": "k"}, model.GitAuth{Username: "git", SSHKey: secret("k"), KnownHosts: []byte("hosts")}},
	} {
		data := map[string]any{"url": c.url}
		for key, value := range c.secret {
			data[key] = value
		}
		got := cluster{repositories: []map[string]any{data}, configMaps: hosts}.source(t, c.url, "").Git
		if !strings.HasPrefix(got.URL, "ssh://") {
			c.want.CA = []byte("certificate")
			if c.want.ClientKey.IsZero() {
				c.want.ClientKey = none
			}
		}
		if !reflect.DeepEqual(got.Auth, c.want) {
			t.Errorf("%s: got %+v (%s), want %+v", name, got.Auth, got.Auth.Password.Reveal(), c.want)
		}
		if strings.Contains(got.URL, "p@") || strings.Contains(got.URL, "u:") {
			t.Errorf("%s: the address is %s", name, got.URL)
		}
	}
}

func TestPicksTheSecret(t *testing.T) {
	at := func(url, project, user string) map[string]any {
		return map[string]any{"url": url, "project": project, "username": user, "password": canary}
	}
	c := cluster{
		repositories: []map[string]any{
			at("https://example.com/org/shared.git", "", "shared"),
			at("https://EXAMPLE.com/org/shared", "team", "of-team"),
			at("https://example.com/org/private", "team", "private"),
			{"url": "https://example.com/org/bare", "insecure": "true"},
		},
		templates: []map[string]any{
			{"url": "https://example.com", "username": "everybody", "password": canary},
			{"url": "https://example.com/org", "username": "org", "password": canary, "forceHttpBasicAuth": "true"},
			{"url": "https://example.com/org/special/", "username": "special", "password": canary},
			{"username": "nowhere", "password": canary},
		},
	}
	for _, w := range []struct{ url, project, user string }{
		{"https://example.com/org/shared", "", "shared"},
		{"https://example.com/org/shared", "other", "shared"},
		{"https://example.com/org/shared", "team", "of-team"},
		{"https://example.com/org/private", "team", "private"},
		{"https://example.com/org/private", "other", "org"}, // another project's credential is nobody's
		{"https://example.com/org/bare", "", "org"},
		{"https://example.com/org/special/x", "", "special"},
		{"https://example.com/else", "", "everybody"},
		{"https://other.com/org", "", ""},
	} {
		got := c.source(t, w.url, w.project).Git.Auth
		if got.Username != w.user {
			t.Errorf("%s in %q: user %q, want %q", w.url, w.project, got.Username, w.user)
		}
		if bare := strings.HasSuffix(w.url, "bare"); bare != got.Insecure || bare && !got.ForceBasicAuth {
			t.Errorf("%s: the repository's own settings and the template's do not meet: %+v", w.url, got)
		}
	}
}

func TestIdentity(t *testing.T) {
	withSecret := cluster{repositories: []map[string]any{{"url": "https://example.com/r", "password": canary}}}
	other := withSecret
	other.repositories = []map[string]any{{"url": "https://example.com/r", "password": "another"}}
	newer := withSecret
	newer.version = "2"
	base := withSecret.source(t, "https://example.com/r", "").ID
	if base != withSecret.source(t, "https://example.com/r", "team").ID {
		t.Error("projects that share a credential do not share the source")
	}
	if base != other.source(t, "https://example.com/r", "").ID {
		t.Error("the identity tells of the password")
	}
	for name, id := range map[string]object.ID{
		"a newer Secret":     newer.source(t, "https://example.com/r", "").ID,
		"no Secret":          cluster{}.source(t, "https://example.com/r", "").ID,
		"another repository": withSecret.source(t, "https://example.com/s", "").ID,
	} {
		if id == base {
			t.Errorf("%s is the same source", name)
		}
	}
	plain := withSecret.source(t, "https://example.com/r", "")
	if Prefixed(plain, "").ID != base || Verified(plain, nil).ID != base {
		t.Error("nothing asked for makes another source")
	}
	tagged := Prefixed(plain, "app/")
	signed := Verified(plain, &model.GitVerify{Mode: model.VerifyHead})
	if tagged.ID == base || tagged.Git.Ref.TagPrefix != "app/" || signed.ID == base || signed.Git.Verify == nil || plain.Git.Verify != nil || plain.Git.Ref.TagPrefix != "" {
		t.Errorf("%+v %+v", tagged, signed)
	}
}

// TestFaults puts the canary wherever a secret may stand: every fault names the
// Secret and none tells of it.
func TestFaults(t *testing.T) {
	https, ssh := "https://example.com/r", "ssh://git@example.com/r"
	for name, c := range map[string]struct {
		url    string
		data   map[string]any
		reason string
		want   string
	}{
		"empty":            {url: "", reason: ReasonInvalidSpec, want: "is required"},
		"no address":       {url: "https://u:" + canary + "@ example.com/r", reason: ReasonInvalidSpec, want: "not the address"},
		"scheme":           {url: "ftp://u:" + canary + "@example.com/r", reason: ReasonInvalidSpec, want: "not the address"},
		"oci":              {url: "oci://example.com/r", reason: ReasonInvalidSpec, want: "registry"},
		"disk":             {url: "file:///r", reason: ReasonInvalidSpec, want: "disk"},
		"flag":             {url: https, data: map[string]any{"insecure": canary}, reason: ReasonComparison, want: "'insecure'"},
		"number":           {url: https, data: map[string]any{"githubAppID": canary, "githubAppPrivateKey": canary}, reason: ReasonComparison, want: "'githubAppID'"},
		"half certificate": {url: https, data: map[string]any{"tlsClientCertKey": canary}, reason: ReasonComparison, want: "tlsClientCertData"},
		"proxy":            {url: https, data: map[string]any{"proxy": "http://u:" + canary + "@ x"}, reason: ReasonComparison, want: "'proxy'"},
		"azure":            {url: https, data: map[string]any{"useAzureWorkloadIdentity": "true"}, reason: ReasonComparison, want: "Azure"},
		"azure principal":  {url: https, data: map[string]any{"azureServicePrincipalClientSecret": canary}, reason: ReasonComparison, want: "Azure"},
		"google":           {url: https, data: map[string]any{"gcpServiceAccountKey": canary}, reason: ReasonComparison, want: "Google"},
		"no key":           {url: ssh, reason: ReasonComparison, want: "no SSH key"},
		"no hosts":         {url: ssh, data: map[string]any{"sshPrivateKey": canary}, reason: ReasonComparison, want: "known host"},
	} {
		held := cluster{}
		if c.data != nil {
			c.data["url"] = c.url
			held.repositories = []map[string]any{c.data}
		}
		_, needs, err := Source(held.facts(), "argocd", c.url, "", "")
		var fault *model.Fault
		if !errors.As(err, &fault) || len(needs) > 0 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if fault.Reason != c.reason || !strings.Contains(fault.Message, c.want) || fault.Advice == "" {
			t.Errorf("%s: %+v", name, fault)
		}
		if c.data != nil && name != "no hosts" && (fault.Object.Name != "repository-0" || !strings.Contains(fault.Message, "argocd/repository-0") || !fault.Retry) {
			t.Errorf("%s does not name the Secret: %+v", name, fault)
		}
		if strings.Contains(fmt.Sprintf("%#v %v", *fault, fault.Error()), canary) {
			t.Errorf("%s tells a secret: %v", name, fault)
		}
	}
}

func TestUndecodableSecret(t *testing.T) {
	facts := cluster{}.facts()
	facts[repositories("argocd")] = model.Fact{State: model.Present, Objects: []*unstructured.Unstructured{{Object: map[string]any{
		"kind": "Secret", "metadata": map[string]any{"name": "bad", "namespace": "argocd"}, "data": map[string]any{"url": canary + "%"},
	}}}}
	_, _, err := Source(facts, "argocd", "https://example.com/r", "", "")
	if err == nil || !strings.Contains(err.Error(), "argocd/bad") || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
}

func TestRemarks(t *testing.T) {
	c := cluster{repositories: []map[string]any{{"url": "https://example.com/r", "depth": "1", "enableLfs": "true", "type": "helm"}}}
	var got []string
	for _, f := range Remarks(c.facts(), "argocd", "https://example.com/r", "") {
		got = append(got, string(f.Severity)+" "+f.Origin.Field)
	}
	want := []string{"info Secret argocd/repository-0 data.depth", "warning Secret argocd/repository-0 data.enableLfs", "info Secret argocd/repository-0 data.type"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if more := Remarks(c.facts(), "argocd", "https://example.com/s", ""); len(more) > 0 {
		t.Errorf("another repository: %v", more)
	}
}

func TestAddresses(t *testing.T) {
	for _, same := range [][]string{
		{"https://GitHub.com/argoproj/test", "https://github.com/argoproj/test.git", " https://github.com/argoproj/TEST "},
		{"git@GITHUB.com:argoproj/test", "git@github.com:argoproj/test.git", "ssh://git@github.com/argoproj/test"},
	} {
		for _, other := range same {
			if !Same(same[0], other) {
				t.Errorf("%s and %s are not the same: %s %s", same[0], other, Normalize(same[0]), Normalize(other))
			}
		}
	}
	for _, other := range []string{"", "https://github.com/argoproj/test2", "http://github.com/argoproj/test"} {
		if Same("https://github.com/argoproj/test", other) {
			t.Errorf("%q is the same", other)
		}
	}
	for _, c := range [][2]string{
		{"https://u:p@example.com/r", "https://example.com/r"},
		{"ssh://git:p@example.com/r", "ssh://git@example.com/r"},
		{"git@example.com:org/r", "git@example.com:org/r"},
		{"https://u:p@ x/", "[address]"},
		{"https://example.com/a b", "https://example.com/a%20b"},
		{"oci://x/y", "oci://x/y"},
	} {
		if got := Printable(c[0]); got != c[1] {
			t.Errorf("%s is printed as %s, want %s", c[0], got, c[1])
		}
	}
}

func TestBypasses(t *testing.T) {
	for _, c := range []struct {
		url, list string
		want      bool
	}{
		{"https://git.example.com/r", "", false},
		{"https://git.example.com/r", "*", true},
		{"https://git.example.com/r", "example.com", true},
		{"https://git.example.com/r", ".example.com", true},
		{"https://example.com/r", ".example.com", false},
		{"https://example.com/r", "*.example.com", false},
		{"https://git.example.com/r", "*.example.com", true},
		{"https://git.example.com/r", "ample.com", false},
		{"https://git.example.com/r", "a, GIT.example.com ", true},
		{"https://git.example.com/r", "git.example.com:443", true},
		{"https://git.example.com/r", "git.example.com:8443", false},
		{"https://git.example.com:8443/r", "git.example.com:8443", true},
		{"https://10.1.2.3/r", "10.0.0.0/8", true},
		{"https://11.1.2.3/r", "10.0.0.0/8", false},
		{"https://10.1.2.3/r", "10.1.2.3", true},
		{"https://[fe80::1]/r", "fe80::1", true},
		{"http://localhost/r", "", true},
		{"http://127.0.0.1/r", "", true},
	} {
		address, ok := parse(c.url)
		if !ok {
			t.Fatal(c.url)
		}
		if got := bypasses(address, c.list); got != c.want {
			t.Errorf("%s with %q: got %t", c.url, c.list, got)
		}
	}
}

func FuzzSource(f *testing.F) {
	f.Add("https://u:p@example.com/r", "https://example.com", "true", "http://proxy")
	f.Add("git@example.com:org/r", "git@example.com", "1", "socks5://x")
	f.Add("ssh://a@b@c/d", "%", "x", "://")
	f.Fuzz(func(t *testing.T, url, template, flag, proxy string) {
		c := cluster{
			repositories: []map[string]any{{"url": url, "insecure": flag, "proxy": proxy, "noProxy": template, "password": canary, "sshPrivateKey": canary}},
			templates:    []map[string]any{{"url": template, "password": canary}},
			configMaps:   map[string]map[string]any{KnownHosts: {"ssh_known_hosts": "h"}},
		}
		source, _, err := Source(c.facts(), "argocd", url, "main", "")
		if err != nil {
			if strings.Contains(err.Error(), canary) {
				t.Error("a fault tells a secret")
			}
			return
		}
		address, ok := parse(source.Git.URL)
		if !ok || address.User != nil && address.Scheme != "ssh" {
			t.Errorf("%q makes the address %q", url, source.Git.URL)
		}
		if _, has := address.User.Password(); has {
			t.Errorf("%q keeps a password in the address", url)
		}
		Same(url, template)
	})
}
