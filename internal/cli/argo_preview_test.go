package cli

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"

	"plumb.dev/plumb/internal/gitserve"
)

const previewedApplication = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop, namespace: argocd}
spec:
  project: default
  destination: {server: https://kubernetes.default.svc, namespace: shop}
  source: {repoURL: "https://git.example.com/shop.git", path: deploy, targetRevision: main}
  ignoreDifferences:
    - {group: "", kind: ConfigMap, jsonPointers: [/data/counter]}
status:
  sync: {status: OutOfSync, revision: "1111111111111111111111111111111111111111"}
  health: {status: Healthy}
  resources:
    - {version: v1, kind: ConfigMap, namespace: shop, name: settings}
    - {version: v1, kind: ConfigMap, namespace: shop, name: counted}
    - {version: v1, kind: ConfigMap, namespace: shop, name: old}
    - {version: v1, kind: ConfigMap, namespace: shop, name: kept}
    - {version: v1, kind: ConfigMap, namespace: shop, name: moved}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec: {sourceRepos: ["*"], destinations: [{server: "*", namespace: "*"}], clusterResourceWhitelist: [{group: "*", kind: "*"}]}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: narrow, namespace: argocd}
spec: {sourceRepos: ["*"], destinations: [{server: "*", namespace: "*"}], namespaceResourceBlacklist: [{group: "", kind: Secret}]}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: shop
  labels: {plumb.dev/managed: "true"}
  annotations: {argocd.argoproj.io/tracking-id: "shop:/ConfigMap:shop/settings"}
data: {greeting: bonjour}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: counted
  namespace: shop
  annotations: {argocd.argoproj.io/tracking-id: "shop:/ConfigMap:shop/counted"}
data: {counter: "17"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: old, namespace: shop, annotations: {argocd.argoproj.io/tracking-id: "shop:/ConfigMap:shop/old"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, namespace: shop, annotations: {argocd.argoproj.io/sync-options: Prune=false, argocd.argoproj.io/tracking-id: "shop:/ConfigMap:shop/kept"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: moved, namespace: shop, annotations: {argocd.argoproj.io/tracking-id: "other:/ConfigMap:shop/moved"}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, namespace: shop, annotations: {argocd.argoproj.io/tracking-id: "shop:batch/Job:shop/migrate"}}
`

func argoShop(t *testing.T) string {
	return checkout(t, map[string]string{
		"deploy/settings.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {greeting: hello}\n",
		"deploy/counted.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: counted}\ndata: {counter: \"0\"}\n",
		"deploy/secret.yaml":   "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {password: canary-password}\n",
		"deploy/migrate.yaml":  "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, annotations: {argocd.argoproj.io/hook: \"PreSync,PostSync\"}}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: m}]}}}\n",
		"deploy/skipped.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: skipped, annotations: {argocd.argoproj.io/hook: Skip}}\n",
	})
}

// TestPreviewOfAnApplication: objects go to the destination's namespace and
// carry Argo CD's marks; hooks stand apart, ignored differences do not count.
func TestPreviewOfAnApplication(t *testing.T) {
	dir := filepath.Join(argoShop(t), "deploy")
	for name, args := range map[string]string{
		"argo-build":              "build application shop --path DIR",
		"argo-diff":               "diff application shop --path DIR",
		"argo-explain":            "explain application shop --path DIR",
		"argo-explain-drifted":    "explain configmap/settings -n shop --path DIR",
		"argo-explain-left":       "explain configmap/old -n shop --path DIR",
		"argo-explain-by-someone": "explain configmap/moved -n shop --path DIR",
		"argo-explain-hook":       "explain job/migrate -n shop --path DIR",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAPI(t, previewedApplication)
			got := transcript(f, "", strings.Fields(strings.ReplaceAll(args, "DIR", dir))...)
			golden(t, name, strings.ReplaceAll(got, dir, "DIR"))
			if strings.Contains(got, "canary") {
				t.Error("a secret value is shown")
			}
		})
	}
}

// TestPreviewRefusesWhatTheProjectForbids before anything is predicted.
func TestPreviewRefusesWhatTheProjectForbids(t *testing.T) {
	f := newFakeAPI(t, strings.Replace(previewedApplication, "project: default", "project: narrow", 1))
	code, _, errs := f.plumb("diff", "application", "shop", "--path", filepath.Join(argoShop(t), "deploy"))
	if code != exitDiffFailed || !strings.Contains(errs, "not permitted in project narrow") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if len(f.requests) > 0 {
		t.Errorf("asked the cluster: %v", f.requests)
	}
}

const previewedSets = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: teams, namespace: argocd, uid: u1}
spec:
  goTemplate: true
  generators:
    - matrix:
        generators:
          - list: {elements: [{env: dev}, {env: prod}]}
          - git:
              repoURL: https://git.example.com/teams.git
              revision: main
              directories: [{path: "teams/*"}, {path: teams/gone, exclude: true}]
  template:
    metadata: {name: "{{ .path.basename }}-{{ .env }}"}
    spec:
      project: default
      destination: {server: https://kubernetes.default.svc, namespace: "{{ .path.basename }}"}
      source: {repoURL: https://git.example.com/teams.git, path: "{{ .path.path }}", targetRevision: main}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec: {sourceRepos: ["*"], destinations: [{server: "*", namespace: "*"}]}
`

// TestBuildOfASet answers the questions of its generators from a directory.
func TestBuildOfASet(t *testing.T) {
	root := checkout(t, map[string]string{"teams/a/x.yaml": "", "teams/b/x.yaml": "", "teams/gone/x.yaml": "", "other/c/x.yaml": ""})
	f := newFakeAPI(t, previewedSets)
	golden(t, "argo-build-set", strings.ReplaceAll(transcript(f, "", "build", "applicationset", "teams", "--path", root), root, "DIR"))
	golden(t, "argo-diff-set", strings.ReplaceAll(transcript(f, "", "diff", "appset", "teams", "--path", root), root, "DIR"))
	if len(f.requests) == 0 {
		t.Error("a diff predicts nothing")
	}
	for _, request := range f.requests {
		if !strings.HasPrefix(request, "PATCH ") {
			t.Errorf("a preview writes: %s", request)
		}
	}
	if f.object("Application", "argocd", "a-dev") != nil {
		t.Error("a preview has created an Application")
	}
}

// served is a Git repository with one commit, served over HTTP.
func served(t *testing.T, files map[string]string) (url, commit string) {
	t.Helper()
	dir := t.TempDir()
	repository, err := git.PlainInit(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	work, err := repository.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, files)
	for name := range files {
		if _, err := work.Add(name); err != nil {
			t.Fatal(err)
		}
	}
	hash, err := work.Commit("Greet", &git.CommitOptions{Author: &gitobject.Signature{Name: "Jane", Email: "jane@example.com", When: testNow}})
	if err != nil {
		t.Fatal(err)
	}
	serving, err := gitserve.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.StripPrefix("/r.git", serving.Handler()))
	t.Cleanup(server.Close)
	return server.URL + "/r.git", hash.String()
}

// TestBuildOfSeveralSources fetches what no object declares, merges it as a sync
// does, and knows the environment and the files that change a source.
func TestBuildOfSeveralSources(t *testing.T) {
	first, _ := served(t, map[string]string{
		"a/one.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {from: first}\n",
		"a/both.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: both}\ndata: {from: first}\n",
		"a/kustomization.yaml":  "resources: [one.yaml, both.yaml]\n",
		"a/.argocd-source.yaml": "kustomize: {nameSuffix: -x}\n",
	})
	second, commit := served(t, map[string]string{
		"b/both.yaml":          "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: both-x}\ndata: {from: second}\n",
		"b/kustomization.yaml": "resources: [both.yaml]\n",
	})
	f := newFakeAPI(t, `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: two, namespace: argocd}
spec:
  project: default
  destination: {server: https://kubernetes.default.svc, namespace: shop}
  sources:
    - {repoURL: "`+first+`", path: a}
    - {repoURL: "`+second+`", path: b, kustomize: {commonAnnotations: {at: "$ARGOCD_APP_REVISION"}, commonAnnotationsEnvsubst: true}}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec: {sourceRepos: ["*"], destinations: [{server: "*", namespace: "*"}]}
`)
	got := transcript(f, "", "build", "application", "two")
	golden(t, "argo-build-sources", strings.NewReplacer(first, "FIRST", second, "SECOND", commit, "COMMIT").Replace(got))
	if code, _, errs := f.plumb("build", "application", "two", "--path", t.TempDir()); code != exitFailed || !strings.Contains(errs, "has several sources") {
		t.Errorf("a local directory for two sources: exit %d: %s", code, errs)
	}
	code, out, errs := f.plumb("explain", "application", "two")
	if code != exitOK || !strings.Contains(out, "Greet") || !strings.Contains(out, "Jane") {
		t.Errorf("exit %d: the commit is not shown: %s%s", code, out, errs)
	}
}

// TestDiffOnARegisteredCluster goes where the destination says, with the
// credential that Argo CD has for it.
func TestDiffOnARegisteredCluster(t *testing.T) {
	far := newFakeAPI(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\ndata: {greeting: far}\n")
	manifests := strings.Replace(previewedApplication, "destination: {server: https://kubernetes.default.svc, namespace: shop}", "destination: {name: far, namespace: shop}", 1)
	f := newFakeAPI(t, manifests+`---
apiVersion: v1
kind: Secret
metadata: {name: far, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster}}
data: {name: `+base64.StdEncoding.EncodeToString([]byte("far"))+`, server: `+base64.StdEncoding.EncodeToString([]byte(far.server.URL))+`, config: `+base64.StdEncoding.EncodeToString([]byte(`{"bearerToken":"x"}`))+`}
`)
	code, out, errs := f.plumb("diff", "application", "shop", "--path", filepath.Join(argoShop(t), "deploy"))
	if code != exitDifferent || !strings.Contains(out, "-  greeting: far") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if len(f.requests) > 0 || len(far.requests) == 0 {
		t.Errorf("asked here %v, there %v", f.requests, far.requests)
	}
}
