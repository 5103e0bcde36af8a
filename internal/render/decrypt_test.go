package render

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/secret/sops"
)

// canaryValue is in every encrypted example of the room that decrypts.
const canaryValue = "canary-4f1c9b"

const examples = "../secret/sops/testdata"

func example(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// decrypter has the keys of the examples that are named.
func decrypter(t testing.TB, names ...string) Outside {
	t.Helper()
	d := model.Decryption{SecretID: "apps/sops", Digest: strings.Join(names, ",")}
	for _, name := range names {
		d.Keys = append(d.Keys, model.DecryptionKey{Name: name, Value: model.NewSecret([]byte(example(t, name)))})
	}
	made, err := sops.New(d, sops.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return Outside{Decrypter: made}
}

const ageOnly = "age.agekey"

func rendered(t testing.TB, o Outside, tree memory, kind model.RenderKind) (*model.Manifest, error) {
	t.Helper()
	return o.Build(context.Background(), Record(context.Background(), tree, Limits{}), "", model.Render{Kind: kind}, model.Origin{}, Limits{})
}

// told are the texts of the objects by kind and name, where they were asked
// for, and whether they are secret.
func told(m *model.Manifest) map[string]string {
	out := map[string]string{}
	for _, one := range m.Objects {
		out[one.ID.Kind+"/"+one.ID.Name] = fmt.Sprintf("%s %s secret=%v", one.Origin, one.JSON, one.Secret)
	}
	return out
}

func TestEncryptedObjects(t *testing.T) {
	plain := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n"
	both := example(t, "secret-age.yaml") + "---\n" + plain + "---\n" + example(t, "two.yaml")
	patched := "resources: [a.yaml]\nnamePrefix: shop-\nlabels: [{pairs: {team: shop}}]\n"
	for name, c := range map[string]struct {
		kind   model.RenderKind
		tree   memory
		prefix string
	}{
		"by the short way":      {model.RenderFlux, memory{"a.yaml": both}, ""},
		"by kustomize":          {model.RenderFlux, memory{"a.yaml": both, "kustomization.yaml": patched}, "shop-"},
		"by Argo CD":            {model.RenderDirectory, memory{"a.yaml": both}, ""},
		"kustomized by Argo CD": {model.RenderKustomize, memory{"a.yaml": both, "kustomization.yaml": patched}, "shop-"},
	} {
		m, err := rendered(t, decrypter(t, ageOnly), c.tree, c.kind)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := told(m)
		for _, secret := range []string{"by-age", "first", "second"} {
			text := got["Secret/"+c.prefix+secret]
			if !strings.Contains(text, canaryValue) || strings.Contains(text, `"sops"`) || !strings.HasPrefix(text, "a.yaml:") || !strings.HasSuffix(text, "secret=true") {
				t.Errorf("%s: %s is %q", name, secret, text)
			}
		}
		if text := got["ConfigMap/"+c.prefix+"settings"]; !strings.HasSuffix(text, "secret=false") {
			t.Errorf("%s: the rest is %q", name, text)
		}
	}
}

func TestEncryptedInputs(t *testing.T) {
	tree := memory{
		"kustomization.yaml": `resources: [base, plain.yaml]
secretGenerator:
- name: made
  options: {disableNameSuffixHash: true}
  files: [config.json, renamed=license, plain.txt]
  envs: [credentials.env]
- name: late
  options: {disableNameSuffixHash: true}
  files: [settings=values.yaml, database.ini]
configMapGenerator:
- name: open
  options: {disableNameSuffixHash: true}
  files: [two.yaml]
patches:
- path: secret.yaml
`,
		"base/kustomization.yaml": "secretGenerator: [{name: below, options: {disableNameSuffixHash: true}, files: [link.json]}]\n",
		"base/link.json":          "link:../config.json",
		"plain.yaml":              "apiVersion: v1\nkind: Secret\nmetadata: {name: database-credentials, namespace: apps}\nstringData: {other: value}\n",
		"plain.txt":               "not encrypted",
	}
	for _, name := range []string{"config.json", "license", "credentials.env", "values.yaml", "database.ini", "two.yaml", "secret.yaml"} {
		tree[name] = example(t, name)
	}
	m, err := rendered(t, decrypter(t, ageOnly), tree, model.RenderFlux)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]map[string]string{}
	for _, one := range m.Objects {
		values[one.ID.Name] = valuesOf(t, one)
	}
	for _, c := range []struct{ object, key, want string }{
		{"made", "config.json", canaryValue}, {"made", "renamed", "\x00\x01\x02 " + canaryValue}, {"made", "plain.txt", "not encrypted"}, {"made", "PASSWORD", canaryValue},
		{"late", "settings", "adminPassword: " + canaryValue}, {"late", "database.ini", canaryValue}, {"below", "config.json", ""}, {"below", "link.json", canaryValue},
		{"database-credentials", "password", canaryValue}, {"database-credentials", "other", "value"}, {"open", "two.yaml", "ENC["},
	} {
		if got := values[c.object][c.key]; !strings.Contains(got, c.want) || strings.Contains(got, "ENC[") != (c.object == "open") {
			t.Errorf("%s of %s is %q", c.key, c.object, got)
		}
	}
}

func TestJsonnetReadsEncryptedObjects(t *testing.T) {
	m, err := rendered(t, decrypter(t, ageOnly), memory{
		"app.jsonnet": "std.parseYaml(importstr 'lib/two.libsonnet')", "lib/two.libsonnet": example(t, "two.yaml"),
	}, model.RenderDirectory)
	if err != nil || len(m.Objects) != 2 || !strings.Contains(string(m.Objects[1].JSON), canaryValue) {
		t.Errorf("%v, %+v", err, m)
	}
}

func TestWhatStaysEncrypted(t *testing.T) {
	disabled := strings.Replace(example(t, "secret-pgp.yaml"), "    name: by-pgp\n", "    name: by-pgp\n    annotations: {kustomize.toolkit.fluxcd.io/decrypt: Disabled}\n", 1)
	m, err := rendered(t, decrypter(t, ageOnly), memory{"a.yaml": disabled}, model.RenderFlux)
	if err != nil || !strings.Contains(string(m.Objects[0].JSON), "ENC[") {
		t.Errorf("an object that asks to be left alone: %v", err)
	}
	patch := "patches: [{patch: '{apiVersion: v1, kind: Secret, metadata: {name: by-pgp, namespace: apps, annotations: {kustomize.toolkit.fluxcd.io/decrypt: disabled}}}'}]\nresources: [a.yaml]\n"
	m, err = rendered(t, decrypter(t, ageOnly), memory{"a.yaml": example(t, "secret-pgp.yaml"), "kustomization.yaml": patch}, model.RenderFlux)
	if err != nil || !strings.Contains(string(m.Objects[0].JSON), "ENC[") {
		t.Errorf("one that a patch leaves alone: %v", err)
	}
}

func TestDecryptionFaults(t *testing.T) {
	secret := example(t, "secret-age.yaml")
	for name, c := range map[string]struct {
		outside Outside
		tree    memory
		want    []string
	}{
		"no key":            {decrypter(t), memory{"a.yaml": secret}, []string{"a.yaml", "age1", "none"}},
		"wrong key":         {decrypter(t, "sops.asc"), memory{"b/a.yaml": secret}, []string{"b/a.yaml", "PGP (1)", "apps/sops"}},
		"tampered":          {decrypter(t, ageOnly), memory{"a.yaml": strings.Replace(secret, "namespace: apps", "namespace: prod", 1)}, []string{"a.yaml", "MAC"}},
		"no decryption":     {Outside{}, memory{"a.yaml": secret}, []string{"Secret/apps/by-age", "configuring decryption is required"}},
		"generator":         {decrypter(t, "sops.asc"), memory{"kustomization.yaml": "secretGenerator: [{name: a, files: [s=x.json, t.yaml]}]\n", "x.json": "{}", "t.yaml": secret}, []string{"t.yaml", "PGP (1)"}},
		"patch":             {decrypter(t, "sops.asc"), memory{"kustomization.yaml": "resources: [b.yaml]\npatches: [{path: t.yaml}]\n", "b.yaml": "{}", "t.yaml": secret}, []string{"t.yaml", "PGP (1)"}},
		"bare value":        {decrypter(t, ageOnly), memory{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: 'ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]'}\n"}, []string{"the value a of Secret/x", "sops block"}},
		"block without MAC": {decrypter(t, ageOnly), memory{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nsops: {age: []}\n"}, []string{"Secret/x", "no MAC"}},
	} {
		for _, kind := range []model.RenderKind{model.RenderFlux, model.RenderDirectory, model.RenderKustomize} {
			tree := maps.Clone(c.tree)
			if _, ok := tree["kustomization.yaml"]; !ok && kind == model.RenderKustomize {
				for file := range c.tree {
					tree["kustomization.yaml"] = "resources: [" + file + "]\n"
				}
			} else if ok && kind == model.RenderDirectory {
				continue // the directory is no other than its files
			}
			if _, nested := tree["b/a.yaml"]; nested && kind == model.RenderDirectory {
				continue
			}
			m, err := rendered(t, c.outside, tree, kind)
			var fault *model.Fault
			if !errors.As(err, &fault) || m != nil {
				t.Errorf("%s, %q: got %v", name, kind, err)
				continue
			}
			for _, want := range c.want {
				if !strings.Contains(fault.Error(), want) {
					t.Errorf("%s, %q: %q is not said in: %s", name, kind, want, fault)
				}
			}
			if fault.Origin.File == "" || strings.Contains(fmt.Sprintf("%+v", fault), canaryValue) {
				t.Errorf("%s, %q: origin %+v of %s", name, kind, fault.Origin, fault)
			}
		}
	}
}

// What kustomize says of a file that was decrypted does not show it.
func TestErrorsAboutPlaintext(t *testing.T) {
	for name, tree := range map[string]memory{
		"patch of nothing":        {"kustomization.yaml": "resources: [b.yaml]\npatches: [{path: secret-age.yaml}]\n", "b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"},
		"patch that is no object": {"kustomization.yaml": "resources: [b.yaml]\npatches: [{path: values.yaml, target: {kind: ConfigMap}}]\n", "b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"},
		"patch that is JSON":      {"kustomization.yaml": "resources: [b.yaml]\npatches: [{path: config.json}]\n", "b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"},
		"env that is YAML":        {"kustomization.yaml": "secretGenerator: [{name: a, envs: [values.yaml]}]\n"},
		"env that is JSON":        {"kustomization.yaml": "secretGenerator: [{name: a, envs: [config.json]}]\n"},
	} {
		for _, file := range []string{"secret-age.yaml", "values.yaml", "config.json"} {
			tree[file] = example(t, file)
		}
		_, err := rendered(t, decrypter(t, ageOnly), tree, model.RenderFlux)
		var fault *model.Fault
		if err != nil && (!errors.As(err, &fault) || strings.Contains(fmt.Sprintf("%+v", fault), canaryValue)) {
			t.Errorf("%s: %+v", name, fault)
		}
	}
}

func TestDecryptedFilesForOthers(t *testing.T) {
	b := &build{ctx: context.Background(), outside: decrypter(t, ageOnly)}
	if plain, err := b.decrypted("values.yaml", []byte(example(t, "values.yaml"))); err != nil || !strings.Contains(string(plain), "adminPassword: "+canaryValue) {
		t.Errorf("got %s, %v", plain, err)
	}
	if plain, err := b.decrypted("values.yaml", []byte("mac: none\n")); err != nil || string(plain) != "mac: none\n" {
		t.Errorf("a plain file is %s, %v", plain, err)
	}
	b.outside = Outside{}
	if _, err := b.decrypted("values.yaml", []byte(example(t, "values.yaml"))); err == nil {
		t.Error("without keys an encrypted file is plain")
	}
}

func TestKeysOfDecryption(t *testing.T) {
	key := func(d *model.Decryption) Key { return KeyOf("", model.Render{Decryption: d}, Limits{}) }
	none, one, other := key(nil), key(&model.Decryption{Digest: "1", SecretID: "a/b"}), key(&model.Decryption{Digest: "2"})
	if none == one || one == other {
		t.Error("decryption has no part in the key")
	}
	if one != key(&model.Decryption{Digest: "1", Keys: []model.DecryptionKey{{Name: "a.agekey"}}}) {
		t.Error("more than its digest has")
	}
}

// valuesOf decodes the data of a ConfigMap or Secret.
func valuesOf(t testing.TB, one model.Rendered) map[string]string {
	t.Helper()
	var fields struct {
		Data, StringData map[string]string
	}
	if err := json.Unmarshal(one.JSON, &fields); err != nil {
		t.Fatal(err)
	}
	values := maps.Clone(fields.StringData)
	if values == nil {
		values = map[string]string{}
	}
	for key, value := range fields.Data {
		if one.ID.Kind == "Secret" {
			decoded, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				t.Fatal(err)
			}
			value = string(decoded)
		}
		values[key] = value
	}
	return values
}
