package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkout writes files below a directory that looks like a git checkout.
func checkout(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files[".git/HEAD"] = "ref: refs/heads/main\n"
	write(t, root, files)
	return root
}

// write writes files below a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const previewed = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: shop, namespace: flux-system}
spec:
  interval: 10m
  path: ./deploy
  prune: true
  targetNamespace: shop
  sourceRef: {kind: GitRepository, name: shop}
  postBuild:
    substitute: {greeting: hello}
    substituteFrom: [{kind: Secret, name: tokens}]
status:
  lastAppliedRevision: main@sha1:1111111111111111111111111111111111111111
  inventory:
    entries:
      - {id: shop_settings__ConfigMap, v: v1}
      - {id: shop_old__ConfigMap, v: v1}
      - {id: shop_kept__ConfigMap, v: v1}
      - {id: shop_moved__ConfigMap, v: v1}
      - {id: shop_gone__ConfigMap, v: v1}
---
apiVersion: v1
kind: Secret
metadata: {name: tokens, namespace: flux-system}
data: {token: Y2FuYXJ5LXRva2Vu}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: shop
  labels: {plumb.dev/managed: "true", kustomize.toolkit.fluxcd.io/name: shop, kustomize.toolkit.fluxcd.io/namespace: flux-system}
data: {greeting: bonjour, url: "https://example.com/?token=older-canary"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: old, namespace: shop, labels: {kustomize.toolkit.fluxcd.io/name: shop, kustomize.toolkit.fluxcd.io/namespace: flux-system}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: moved, namespace: shop, labels: {kustomize.toolkit.fluxcd.io/name: other, kustomize.toolkit.fluxcd.io/namespace: flux-system}}
`

func shop(t *testing.T) string {
	return checkout(t, map[string]string{
		"base/settings.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:\n  greeting: ${greeting}\n  url: https://example.com/?token=${token}\n",
		"base/kustomization.yaml":   "resources: [settings.yaml]\n",
		"deploy/kustomization.yaml": "resources: [../base, secret.yaml, new.yaml]\n",
		"deploy/secret.yaml":        "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {password: canary-password}\n",
		"deploy/new.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\ndata: {a: b}\n",
	})
}

// TestBuildFromADirectory renders a directory that refers to its neighbours in
// the checkout, and masks what is secret.
func TestBuildFromADirectory(t *testing.T) {
	f := newFakeAPI(t, previewed)
	dir := filepath.Join(shop(t), "deploy")
	code, out, errs := f.plumb("build", "kustomization", "shop", "--path", dir)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	golden(t, "build", out+errs)
	if _, out, _ = f.plumb("build", "ks", "shop", "--path", dir, "--show-secrets"); !strings.Contains(out, "token=canary-token") {
		t.Errorf("--show-secrets shows none:\n%s", out)
	}
}

// TestDiff shows additions, changes, deletions and what stays; neither new nor
// old secret values can be seen.
func TestDiff(t *testing.T) {
	f := newFakeAPI(t, previewed)
	code, out, errs := f.plumb("diff", "kustomization", "shop", "--path", filepath.Join(shop(t), "deploy"))
	if code != exitDifferent {
		t.Fatalf("exit %d: %s", code, errs)
	}
	golden(t, "diff", out+errs)
	if strings.Contains(out+errs, "canary") {
		t.Error("a secret value is shown")
	}
	for _, request := range f.requests {
		if !strings.HasPrefix(request, "PATCH ") {
			t.Errorf("a preview writes: %s", request)
		}
	}
	if got := text(f.object("ConfigMap", "shop", "settings"), "data", "greeting"); got != "bonjour" {
		t.Errorf("a preview has changed the cluster: %q", got)
	}
}

func TestDiffSaysWhatFailedByItsExitCode(t *testing.T) {
	f := newFakeAPI(t, previewed)
	for _, args := range [][]string{
		{"diff", "ks", "nowhere"},
		{"diff", "ks"},
		{"diff", "ks", "shop", "--path", filepath.Join(t.TempDir(), "missing")},
	} {
		if code, _, errs := f.plumb(args...); code != exitDiffFailed || errs == "" {
			t.Errorf("%v: exit %d, %q", args, code, errs)
		}
	}
}

func TestExplain(t *testing.T) {
	f := newFakeAPI(t, previewed)
	dir := filepath.Join(shop(t), "deploy")
	for name, args := range map[string][]string{
		"explain-drifted":   {"explain", "configmap/settings", "-n", "shop", "--path", dir},
		"explain-missing":   {"explain", "ConfigMap/shop/gone", "--path", dir},
		"explain-leaving":   {"explain", "cm", "old", "-n", "shop", "--path", dir},
		"explain-stranger":  {"explain", "cm/shop/nobodys"},
		"explain-delivery":  {"explain", "ks/shop", "--path", dir},
		"explain-as-json":   {"explain", "cm/shop/kept", "--path", dir, "-o", "json"},
		"explain-no-kind":   {"explain", "widget/x"},
		"explain-no-source": {"explain", "cm/shop/settings"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := f.plumb(args...)
			golden(t, name, strings.ReplaceAll(out+errs, dir, "DIR"))
			if strings.Contains(out+errs, "canary") {
				t.Error("a secret value is shown")
			}
			if (code != exitOK) != (name == "explain-no-kind") {
				t.Errorf("exit %d", code)
			}
		})
	}
}

func TestRepositoryOfFindsTheRoot(t *testing.T) {
	root := shop(t)
	loose := t.TempDir()
	if err := os.MkdirAll(filepath.Join(loose, "apps", "web"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, local, path, root, dir string }{
		{"the delivery's path ends it", filepath.Join(loose, "apps", "web"), "apps/web", loose, "apps/web"},
		{"a git checkout holds it", filepath.Join(root, "base"), "elsewhere", root, "base"},
		{"the checkout itself", root, "", root, ""},
		{"neither", filepath.Join(loose, "apps"), "elsewhere", filepath.Join(loose, "apps"), ""},
	} {
		gotRoot, gotDir, err := repositoryOf(c.local, c.path)
		if err != nil || gotRoot != c.root || gotDir != c.dir {
			t.Errorf("%s: %q, %q, %v; wanted %q, %q", c.name, gotRoot, gotDir, err, c.root, c.dir)
		}
	}
}
