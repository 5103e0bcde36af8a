package credentials

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plumb.dev/plumb/controlplane/internal/datadir"
)

func TestCredentialsAreKept(t *testing.T) {
	dir := open(t)
	first := prepare(t, dir)
	second := prepare(t, dir)
	if !bytes.Equal(first.ca, second.ca) || first.tokens[Admin] != second.tokens[Admin] {
		t.Error("a kubeconfig handed out before is not valid any more")
	}
	seen := map[string]bool{}
	for _, user := range users {
		token := second.tokens[user]
		if len(token) < 64 || seen[token] {
			t.Errorf("token of %s: %q", user, token)
		}
		seen[token] = true
	}
}

func TestUsersOfALaterVersionGetTokens(t *testing.T) {
	dir := open(t)
	first := prepare(t, dir)
	lines := strings.SplitAfter(string(read(t, first.TokenFile)), "\n")
	if err := os.WriteFile(first.TokenFile, []byte(lines[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	second := prepare(t, dir)
	if second.tokens[Admin] != first.tokens[Admin] || second.tokens[Nodes] == "" {
		t.Error("tokens were not completed")
	}
}

func TestServingCertificateIsTrusted(t *testing.T) {
	c := prepare(t, open(t))
	pair, err := tls.LoadX509KeyPair(c.ServingCertFile, c.ServingKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.ca)
	for _, name := range []string{"127.0.0.1", "localhost", "kubernetes.default.svc"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecretsAreReadByTheirOwnerOnly(t *testing.T) {
	dir := open(t)
	c := prepare(t, dir)
	kubeconfig := filepath.Join(t.TempDir(), "sub", "kubeconfig")
	if err := c.WriteKubeconfig(kubeconfig, "https://127.0.0.1:1", Admin); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{kubeconfig, c.TokenFile, c.ServiceAccountKeyFile, c.ServingKeyFile, dir.Path("pki", "ca.key")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %s", path, info.Mode())
		}
	}
}

func TestForeignKubeconfigIsKept(t *testing.T) {
	c := prepare(t, open(t))
	path := filepath.Join(t.TempDir(), "config")
	for text, says := range map[string]string{
		"clusters: [{name: production, cluster: {server: https://example.com}}]": "holds other clusters (production)",
		"just: [some": "is no kubeconfig",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := c.WriteKubeconfig(path, "https://127.0.0.1:1", Admin)
		if err == nil || !strings.Contains(err.Error(), says) || string(read(t, path)) != text {
			t.Errorf("over %q: %v", text, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 { // its own it replaces
		if err := c.WriteKubeconfig(path, "https://127.0.0.1:1", Admin); err != nil {
			t.Error(err)
		}
	}
}

func open(t *testing.T) *datadir.Dir {
	t.Helper()
	dir, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return dir
}

func prepare(t *testing.T, dir *datadir.Dir) *Credentials {
	t.Helper()
	c, err := Prepare(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
