package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"plumb.dev/plumb/internal/model"
)

func kubeconfig(cluster, user string) string {
	return `apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {` + cluster + `}}]
users: [{name: u, user: {` + user + `}}]
`
}

const goodServer = "server: 'https://remote.example.org:6443'"

func newTestSet(t *testing.T, opts Options) *Set {
	t.Helper()
	s, err := NewSet(&rest.Config{Host: "http://local.test"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestRemoteRefusesWhatReachesIntoThisMachine(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		content string
		want    string
		allow   Options // with which it is accepted; zero: never
	}{
		"exec":         {kubeconfig(goodServer, "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: [-c, id], interactiveMode: Never}"), `exec plugin "/bin/sh" is not allowed`, Options{AllowExec: true}},
		"provider":     {kubeconfig(goodServer, "auth-provider: {name: gcp}"), `auth-provider "gcp" is not supported`, Options{}},
		"token file":   {kubeconfig(goodServer, "tokenFile: "+token), "tokenFile names the file", Options{AllowFiles: true}},
		"key file":     {kubeconfig(goodServer, "client-key: /etc/key"), `client-key names the file "/etc/key"`, Options{}},
		"ca file":      {kubeconfig(goodServer+", certificate-authority: ca.pem", "token: x"), "certificate-authority names", Options{}},
		"insecure":     {kubeconfig(goodServer+", insecure-skip-tls-verify: true", "token: x"), "insecure-skip-tls-verify", Options{AllowInsecureTLS: true}},
		"no server":    {kubeconfig("", "token: x"), "has no server", Options{}},
		"no context":   {strings.Replace(kubeconfig(goodServer, "token: x"), "current-context: c", "current-context: other", 1), `current-context "other" names no context`, Options{}},
		"no kind":      {"apiVersion: v1\nkind: Pod\n", "not valid YAML of kind Config", Options{}},
		"not YAML":     {"{" + canary, "not valid YAML", Options{}},
		"empty":        {"", "names no context", Options{}},
		"too large":    {strings.Repeat("#", maxKubeconfig+1), "bytes", Options{}},
		"bad CA":       {kubeconfig(goodServer+", certificate-authority-data: "+"bm8=", "token: "+canary), "usable connection", Options{}},
		"bad server":   {kubeconfig("server: 'https://[::1'", "token: "+canary), "usable connection", Options{}},
		"half a pair":  {kubeconfig(goodServer, "client-certificate-data: bm8=, token: "+canary), "", Options{}},
		"both secrets": {kubeconfig(goodServer, "token: "+canary+", username: a, password: "+canary), "", Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newTestSet(t, Options{}).Remote([]byte(tc.content))
			var f *model.Fault
			if !errors.As(err, &f) || !strings.Contains(f.Message, tc.want) || f.Reason == "" {
				t.Fatalf("%v", err)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("a credential is repeated: %v", err)
			}
			if tc.allow.AllowExec || tc.allow.AllowFiles || tc.allow.AllowInsecureTLS {
				if _, err := newTestSet(t, tc.allow).Remote([]byte(tc.content)); err != nil {
					t.Errorf("allowed, yet %v", err)
				}
			}
		})
	}
}

func TestRemoteIsSharedByContent(t *testing.T) {
	key := []byte("key of the digests")
	s := newTestSet(t, Options{DigestKey: key})
	one := []byte(kubeconfig(goodServer, "token: a"))
	two := []byte(kubeconfig(goodServer, "token: b"))
	get := func(s *Set, content []byte) *Cluster {
		c, err := s.Remote(content)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := get(s, one), get(s, two)
	if a == b || a.Key() == b.Key() || get(s, one) != a || len(a.Key()) != 32 || s.Local().Key() != "" {
		t.Error("clusters are not told apart")
	}
	if a.Host() != "remote.example.org:6443" || a.Config().BearerToken != "a" {
		t.Errorf("%s", a.Host())
	}
	if get(newTestSet(t, Options{DigestKey: key}), one).Key() != a.Key() {
		t.Error("the key is not stable")
	}
	if get(newTestSet(t, Options{DigestKey: []byte("other")}), one).Key() == a.Key() || get(newTestSet(t, Options{}), one).Key() == a.Key() {
		t.Error("the digest is not keyed")
	}

	s.Retain(func(k string) bool { return k == b.Key() })
	if a.ctx.Err() == nil || b.ctx.Err() != nil {
		t.Error("the wrong cluster was closed")
	}
	if get(s, one) == a || get(s, two) != b {
		t.Error("a closed cluster is handed out")
	}
}
