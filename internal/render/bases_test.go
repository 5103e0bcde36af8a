package render

import (
	"errors"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// mountAll renders a directory, and lays what the render wants beside the tree
// until it wants nothing.
func mountAll(t *testing.T, tree Tree, dir string, opts model.Render, at map[string]Tree) (*model.Manifest, error) {
	t.Helper()
	var mounts []Mount
	for range 5 {
		m, err := buildHelm(Mounted(tree, mounts), dir, opts)
		var missing *MissingError
		if !errors.As(err, &missing) {
			return m, err
		}
		for i := range missing.Wants {
			w := &missing.Wants[i]
			address := w.URL
			if w.Base != nil {
				address = w.Base.URL
			}
			content, ok := at[address]
			if !ok {
				t.Fatalf("%s is wanted", address)
			}
			mounts = append(mounts, Mount{At: w.At, Tree: content, Source: object.ID{Kind: "GitRepository", Name: address}})
		}
	}
	t.Fatal("there is no end to what is wanted")
	return nil, nil
}

// Files at addresses are read wherever a kustomization may name a file, and are
// part of the trace.
func TestMountedFiles(t *testing.T) {
	const site = "https://files.example.com/"
	tree := memory{
		"a/kustomization.yaml": `resources: [cm.yaml]
configMapGenerator:
- name: made
  files: [dash.json=` + site + `v1/dashboard.json, ` + site + `plain.txt, own.txt]
  envs: [` + site + `vars.env]
  options: {disableNameSuffixHash: true}
secretGenerator:
- name: hidden
  files: [` + site + `plain.txt]
  options: {disableNameSuffixHash: true}
patches: [{path: ` + site + `patch.yaml}]
`,
		"a/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: patched}\n",
		"a/own.txt": "own",
	}
	served := map[string]Tree{
		site + "v1/dashboard.json": memory{"dashboard.json": "{}"},
		site + "plain.txt":         memory{"plain.txt": "hello"},
		site + "vars.env":          memory{"vars.env": "KEY=value\n"},
		site + "patch.yaml":        memory{"patch.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: patched}\ndata: {by: patch}\n"},
	}
	opts := model.Render{Kustomize: model.KustomizeOptions{RemoteBases: true}}
	m, err := mountAll(t, tree, "a", opts, served)
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, o := range m.Objects {
		all += string(o.JSON) + "\n"
	}
	for _, want := range []string{`"dash.json":"{}"`, `"plain.txt":"hello"`, `"own.txt":"own"`, `"KEY":"value"`, `"by":"patch"`, `"plain.txt":"aGVsbG8="`} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is not in\n%s", want, all)
		}
	}
	read := map[string]bool{}
	for _, r := range m.Trace {
		read[r.Path] = true
	}
	for address := range served {
		name := address[strings.LastIndexByte(address, '/')+1:]
		if at := wantURL(address, "").At + "/" + name; !read[at] {
			t.Errorf("the trace has no %s", at)
		}
	}
	if _, err := buildHelm(Mounted(tree, nil), "a", model.Render{}); err == nil || !strings.Contains(err.Error(), "names the remote file "+site) || !strings.Contains(err.Error(), "--remote-bases") {
		t.Errorf("without being allowed to: %v", err)
	}
}

// A base may name what lies elsewhere by its address, and nothing by a path.
func TestBaseOfBase(t *testing.T) {
	const address = "https://github.com/example/"
	tree := memory{
		"a/kustomization.yaml": "resources: [" + address + "one]\n",
		"secret.txt":           "canary",
	}
	one := memory{"kustomization.yaml": "resources: [" + address + "two//deploy]\nconfigMapGenerator: [{name: c, files: [https://files.example.com/f.txt]}]\n"}
	served := map[string]Tree{
		address + "one": one, address + "two": memory{
			"deploy/kustomization.yaml": "resources: [cm.yaml]\n",
			"deploy/cm.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: deep}\n",
		},
		"https://files.example.com/f.txt": memory{"f.txt": "text"},
	}
	opts := model.Render{Kustomize: model.KustomizeOptions{RemoteBases: true}}
	m, err := mountAll(t, tree, "a", opts, served)
	if err != nil || len(m.Objects) != 2 {
		t.Fatalf("got %+v (%v)", m, err)
	}
	one["kustomization.yaml"] += "secretGenerator: [{name: s, files: [../../../secret.txt]}]\n"
	if _, err := mountAll(t, tree, "a", opts, served); err == nil || !strings.Contains(err.Error(), "leads out of the source") {
		t.Errorf("got %v", err)
	}
}
