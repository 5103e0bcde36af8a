package render

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"plumb.dev/plumb/internal/model"
)

// plainSeeds are files as people write them, and at the edge of what the plain
// path takes.
var plainSeeds = []string{
	"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n",
	"# c\n---\n# d\napiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: 'y'}} # e\nspec:\n  ports: [{port: 0o17, p: 010, f: 1.50, e: 1e3, b: yes, t: true}]\n",
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  script: |\n    #!/bin/sh\n    echo \"$HOME\"\n\n    exit 0\n  keep: |+\n    x\n\n  strip: |-\n    y\n  indent: |2\n      z\n",
	"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: other}\nspec: {replicas: 1, template: {spec: {serviceAccountName: sa, containers: [{name: c, image: i, env: [{name: E, valueFrom: {secretKeyRef: {name: s, key: k}}}]}]}}}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sa}\n",
	"apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t, annotations: {a: b}}\nspec: {when: 2001-01-01, n: null, s: \"a\\tb\", u: \"\\u00e9\", long: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccccccccc ddddddddd'}\n",
	"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n  multi: \"a\n    b\n\n    c\"\n  folded: >\n    a b\n    c\n  empty: ''\n  tilde: ~\n  n: \"1\"\n",
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {}}\ndata: {? a : b, \"<<\": c, '=': d, 'null': e, '1': f, ' ': g}\n",
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n--- # one\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\n---\n",
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n# x\n  a: b # y\n  # z\n  c: d\n# w\n",
	"{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}, \"data\": {\"x\": \"a\\nb\"}}",
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {big: 123456789012345678901234567890, neg: -0, hex: 0x1F, under: 1_000, inf: .inf, plus: +1, sexa: 1:30, oct: 0777, float: .5}\n",
}

// FuzzPlain compares the plain path with kustomize.
func FuzzPlain(f *testing.F) {
	for _, seed := range plainSeeds {
		f.Add(seed, "shop")
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, file, namespace string) {
		if len(file) > 4096 || len(namespace) > 20 || strings.ContainsAny(namespace, "\n:#'\"{}[]&*!|>%@`\\ ,?-") {
			return
		}
		tree := memory{"a/kustomization.yaml": "resources: [x.yaml]\n", "a/x.yaml": file}
		if namespace != "" {
			tree["a/kustomization.yaml"] += "namespace: n" + namespace + "\n"
		}
		got, ok := plainly(tree)
		if !ok {
			return
		}
		on := filesys.MakeFsInMemory()
		for p, content := range tree {
			if err := on.WriteFile("/"+p, []byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		sharedSchema.loaded.Do(loadSchema)
		want, err := kustomized(on, "/a")
		if err != nil {
			t.Fatalf("kustomize: %v, plain gives %s", err, bytes.Join(got, []byte("\n")))
		}
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// plainly is what the plain path makes of a tree, if it takes it.
func plainly(tree memory) ([][]byte, bool) {
	recorder := Record(context.Background(), tree, Limits{})
	b := &build{ctx: context.Background(), recorder: recorder, limits: recorder.limits}
	b.fs = treeFS{links: links{tree: recorder, depth: recorder.limits.Depth}, overlay: map[string][]byte{}}
	root, err := b.root("a")
	if err != nil {
		return nil, false
	}
	surveyed, err := b.survey(root, "a")
	if err != nil {
		return nil, false
	}
	rendered, ok, err := b.plain(root, surveyed)
	if err != nil || !ok {
		return nil, false
	}
	objects := make([][]byte, len(rendered))
	for i := range rendered {
		objects[i] = rendered[i].JSON
	}
	return objects, true
}

func TestPlainPathIsTaken(t *testing.T) {
	if _, ok := plainly(inA(small())); !ok {
		t.Error("an application like those of the benchmarks goes through kustomize")
	}
	for what, change := range map[string]func(memory){
		"a patch":  func(m memory) { m["a/kustomization.yaml"] += "patches: [{path: p.yaml}]\n" },
		"a prefix": func(m memory) { m["a/kustomization.yaml"] += "namePrefix: x-\n" },
		"an alias": func(m memory) { m["a/cm-a.yaml"] += "  x: &x y\n  z: *x\n" },
		"a local-only object": func(m memory) {
			m["a/cm-a.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {config.kubernetes.io/local-config: 'true'}}\n"
		},
		"a RoleBinding": func(m memory) {
			m["a/cm-a.yaml"] = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}\n"
		},
	} {
		tree := inA(small())
		change(tree)
		if _, ok := plainly(tree); ok {
			t.Errorf("%s takes the plain path", what)
		}
	}
}

// inA moves an application to the directory a.
func inA(tree memory) memory {
	moved := memory{}
	for p, content := range tree {
		moved["a"+strings.TrimPrefix(p, "apps/a")] = content
	}
	return moved
}

// FuzzKustomize feeds a hostile file and kustomization to a build: it must end
// in objects or in a fault.
func FuzzKustomize(f *testing.F) {
	for _, seed := range plainSeeds {
		f.Add(seed, "resources: [x.yaml]\nnamePrefix: a-\n")
	}
	f.Add("- op: remove\n  path: /data\n", "patches: [{path: x.yaml, target: {kind: ConfigMap}}]\nconfigMapGenerator: [{name: x, literals: [a=b]}]\n")
	f.Add("a: &a [*a]\n", "resources: [x.yaml]\n")
	f.Add("", "namespace: x\nreplacements: [{path: x.yaml}]\n")
	f.Fuzz(func(t *testing.T, file, kustomization string) {
		if len(file)+len(kustomization) > 4096 {
			return
		}
		tree := memory{"a/kustomization.yaml": kustomization, "a/x.yaml": file}
		m, err := Kustomize(context.Background(), tree, "a", model.KustomizeOptions{}, model.Origin{}, Limits{Nodes: 10_000})
		var fault *model.Fault
		if err != nil && (!errors.As(err, &fault) || fault.Message == "") {
			t.Fatalf("%T is no fault: %v", err, err)
		}
		if err == nil {
			for _, rendered := range m.Objects {
				if rendered.ID.Name == "" || rendered.ID.Kind == "" || len(rendered.JSON) == 0 {
					t.Errorf("an object without identity: %+v", rendered)
				}
			}
		}
	})
}

// FuzzSubstitute looks for panics, and for secret values in errors.
func FuzzSubstitute(f *testing.F) {
	for _, seed := range []string{"${s}", "${s:1:2}", "${s:9223372036854775807:9223372036854775807}", "${s:-5:-2}", "${s#c*}", "${s//a/${v}}", "$${s}", "${s:=${v:=x}}", "${", "${s/", "${#s}", "${v}: ${s}", "${s%%*[}"} {
		f.Add(seed, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		if len(text)+len(value) > 2048 || strings.Contains(text, "canary") || strings.Contains(value, "canary") {
			return
		}
		m := objectWith(t, text)
		vars := map[string]Variable{
			"s": {Value: model.NewSecret([]byte("canary: [canary")), Secret: true},
			"v": {Value: model.NewSecret([]byte(value))},
		}
		out, err := Substitute(m, &model.Substitution{}, vars, model.Annotations{})
		var fault *model.Fault
		switch {
		case err != nil && !errors.As(err, &fault):
			t.Fatalf("%T is no fault: %v", err, err)
		case err != nil && strings.Contains(err.Error(), "canary"):
			t.Errorf("the error shows the secret: %v", err)
		case err == nil && bytes.Contains(out.Objects[0].JSON, []byte("canary")) && !out.Objects[0].Secret:
			t.Errorf("an object with a secret value is not marked: %s", out.Objects[0].JSON)
		}
	})
}
