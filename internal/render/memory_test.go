package render

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"plumb.dev/plumb/internal/model"
)

// memory is a tree for tests: paths to content. Content that begins with
// "link:" is a link, and a path that ends in "*" is executable.
type memory map[string]string

const linkTo = "link:"

func (m memory) entry(p, content string) model.Entry {
	sum := sha256.Sum256([]byte(content))
	e := model.Entry{Name: path.Base(p), Kind: model.FileEntry, Digest: hex.EncodeToString(sum[:]), Size: int64(len(content))}
	if strings.HasPrefix(content, linkTo) {
		e.Kind = model.LinkEntry
	}
	return e
}

func (m memory) Lookup(p string) (model.Entry, bool, error) {
	if content, ok := m[p]; ok {
		return m.entry(p, content), true, nil
	}
	if p == "" {
		return model.Entry{Kind: model.DirEntry, Size: -1}, true, nil
	}
	for other := range m {
		if strings.HasPrefix(other, p+"/") {
			return model.Entry{Name: path.Base(p), Kind: model.DirEntry, Size: -1}, true, nil
		}
	}
	return model.Entry{}, false, nil
}

func (m memory) List(dir string) ([]model.Entry, error) {
	seen := map[string]model.Entry{}
	for p, content := range m {
		rest, ok := strings.CutPrefix(p, dir+"/")
		if dir == "" {
			rest, ok = p, true
		}
		if !ok {
			continue
		}
		name, _, deeper := strings.Cut(rest, "/")
		if deeper {
			seen[name] = model.Entry{Name: name, Kind: model.DirEntry, Size: -1}
		} else {
			seen[name] = m.entry(p, content)
		}
	}
	var entries []model.Entry
	for _, e := range seen {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b model.Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

func (m memory) Read(p string) ([]byte, error) {
	content, ok := m[p]
	if !ok || strings.HasPrefix(content, linkTo) {
		return nil, &fs.PathError{Op: "read", Path: p, Err: fs.ErrNotExist}
	}
	return []byte(content), nil
}

func (m memory) Link(p string) (string, error) {
	target, ok := strings.CutPrefix(m[p], linkTo)
	if !ok {
		return "", errors.New(p + " is no link")
	}
	return target, nil
}

func treeOf(files []txtar.File) memory {
	m := memory{}
	for _, f := range files {
		m[f.Name] = strings.TrimSuffix(string(f.Data), "\n") + "\n"
		if strings.HasPrefix(m[f.Name], linkTo) {
			m[f.Name] = strings.TrimSpace(m[f.Name])
		}
	}
	return m
}

func mustBuild(t testing.TB, tree Tree, dir string, opts model.KustomizeOptions) *model.Manifest {
	t.Helper()
	m, err := Kustomize(context.Background(), tree, dir, opts, model.Origin{}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// small is an application as the benchmarks of the project have it.
func small() memory {
	return memory{
		"apps/a/kustomization.yaml":  "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: shop\nresources:\n- cm-a.yaml\n- cm-b.yaml\n- service.yaml\n- serviceaccount.yaml\n- deployment.yaml\n",
		"apps/a/cm-a.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {app: a}\ndata:\n  marker: one\n",
		"apps/a/cm-b.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\ndata:\n  config.yaml: |\n    listen: 8080\n    hosts:\n    - a\n",
		"apps/a/service.yaml":        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  selector: {app: a}\n  ports:\n  - name: http\n    port: 80\n    targetPort: http\n",
		"apps/a/serviceaccount.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n",
		"apps/a/deployment.yaml":     "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\nspec:\n  replicas: 0\n  selector:\n    matchLabels: {app: a}\n  template:\n    metadata:\n      labels: {app: a}\n    spec:\n      serviceAccountName: a\n      containers:\n      - name: a\n        image: registry.example/a:1.2.3\n        ports:\n        - name: http\n          containerPort: 8080\n        envFrom:\n        - configMapRef: {name: a}\n",
	}
}
