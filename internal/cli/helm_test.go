package cli

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/release/common"
	rspb "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/release"
	"plumb.dev/plumb/internal/request"
)

// fetched is a cluster with every kind of source, and with releases.
func fetched(t *testing.T) *fakeAPI { return clusterOf(t, "fetched.yaml") }

// released is fetched with Helm's records of a release: a good one, and one
// whose upgrade failed at a hook.
func released(t *testing.T) *fakeAPI {
	t.Helper()
	f := fetched(t)
	codec := release.NewCodec(1 << 20)
	chart, err := release.LoadChart(map[string][]byte{"Chart.yaml": []byte("apiVersion: v2\nname: podinfo\nversion: 6.6.0\nappVersion: 6.6.0\n")}, "6.6.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*release.Record{
		{Version: 2, Info: rspb.Info{LastDeployed: testNow.Add(-1), Status: common.StatusFailed, Description: "Upgrade \"podinfo\" failed: pre-upgrade hooks failed"}, Hooks: []*rspb.Hook{
			{Kind: "Job", Name: "podinfo-migrate", Events: []rspb.HookEvent{rspb.HookPreUpgrade}, LastRun: rspb.HookExecution{Phase: rspb.HookPhaseFailed}},
			{Kind: "Job", Name: "podinfo-check", Events: []rspb.HookEvent{rspb.HookPostUpgrade}},
		}},
		{Version: 1, Info: rspb.Info{LastDeployed: testNow.Add(-1), Status: common.StatusDeployed, Description: "Install complete"}},
	} {
		r.Name, r.Namespace, r.Chart = "podinfo", "apps", chart
		secret, err := codec.Secret(r, "flux-system", testNow)
		if err != nil {
			t.Fatal(err)
		}
		f.put(secret)
	}
	return f
}

// TestFetchedOutputs shows what the commands that only read print of sources
// and releases.
func TestFetchedOutputs(t *testing.T) {
	outputs(t, released, map[string]string{
		"helm-get":               "get helmreleases",
		"helm-get-source":        "get hr --show-source",
		"helm-get-wide":          "get hr -A -o wide",
		"helm-get-sources":       "get sources all",
		"helm-get-charts":        "get source chart -o wide",
		"helm-get-repositories":  "get sources helm -o wide",
		"helm-get-oci":           "get sources oci",
		"helm-get-bucket":        "get sources bucket -o wide",
		"helm-get-external":      "get sources external-artifact",
		"helm-get-generators":    "get artifacts generators",
		"helm-tree":              "tree ks apps",
		"helm-tree-generator":    "tree artifact generator split",
		"helm-trace":             "trace deploy/podinfo -n apps",
		"helm-trace-generated":   "trace externalartifact/app -n flux-system",
		"helm-events":            "events --for HelmRelease/podinfo",
		"helm-history":           "history hr podinfo",
		"helm-history-json":      "history hr podinfo -o json",
		"helm-history-none":      "history hr agent",
		"helm-rollback":          "rollback hr podinfo",
		"helm-export":            "export source chart podinfo",
		"helm-export-generator":  "export artifact generator split",
		"helm-reconcile-rests":   "reconcile hr agent",
		"helm-reconcile-static":  "reconcile source helm registry",
		"helm-suspend":           "suspend hr podinfo",
		"helm-suspend-generator": "suspend artifact generator split",
	})
}

// TestExplainRelease says which action, which hook and which test have failed,
// and what to do.
func TestExplainRelease(t *testing.T) {
	url := chartsServed(t, webChart)
	f := released(t)
	f.put(edited(t, f, "HelmRepository", "charts", url, "spec", "url"))
	o := edited(t, f, "HelmRelease", "podinfo", "web", "spec", "chart", "spec", "chart")
	edit(t, o, "1.x", "spec", "chart", "spec", "version")
	o.SetLabels(nil)
	f.put(o)
	f.objects[key(f.kindNamed("Kustomization"), "flux-system", "apps")].Object["status"] = map[string]any{}
	golden(t, "helm-explain", strings.ReplaceAll(transcript(f, "", "explain", "hr", "podinfo"), url, "URL"))
}

// edited is a stored object with another value somewhere.
func edited(t *testing.T, f *fakeAPI, kind, name string, value any, path ...string) *unstructured.Unstructured {
	t.Helper()
	o := f.object(kind, "flux-system", name)
	edit(t, o, value, path...)
	return o
}

// TestHistoryWithoutRecords falls back on the status.
func TestHistoryWithoutRecords(t *testing.T) {
	golden(t, "helm-history-told", transcript(fetched(t), "", "history", "helmrelease", "podinfo"))
}

// TestReconcileRelease asks for what the flags say, with one token.
func TestReconcileRelease(t *testing.T) {
	f := fetched(t)
	answering(f, "True", "UpgradeSucceeded", "Helm upgrade succeeded")
	golden(t, "helm-reconcile", transcript(f, "", "reconcile", "hr", "podinfo", "--with-source", "--force", "--reset"))
	asked := f.object("HelmRelease", "flux-system", "podinfo").GetAnnotations()
	if asked[requestedAt] == "" || asked[request.AnnotationForceAt] != asked[requestedAt] || asked[request.AnnotationResetAt] != asked[requestedAt] {
		t.Errorf("asked with %v", asked)
	}
	if f.object("HelmRepository", "flux-system", "charts").GetAnnotations()[requestedAt] == "" {
		t.Error("the repository was not asked for")
	}
}

// TestReconcileChartWithItsSource goes down to the repository.
func TestReconcileChartWithItsSource(t *testing.T) {
	f := fetched(t)
	answering(f, "True", "Succeeded", "fetched")
	if code, _, errs := f.plumb("reconcile", "source", "chart", "podinfo", "--with-source"); code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, kind := range []string{"HelmChart", "HelmRepository"} {
		name := map[string]string{"HelmChart": "podinfo", "HelmRepository": "charts"}[kind]
		if f.object(kind, "flux-system", name).GetAnnotations()[requestedAt] == "" {
			t.Errorf("%s was not asked for", kind)
		}
	}
}

// webChart is a chart with a hook, a CRD, a Secret and something that depends on
// what is served.
var webChart = map[string]string{
	"Chart.yaml":               "apiVersion: v2\nname: web\nversion: 1.0.0\nappVersion: 2.0.0\n",
	"values.yaml":              "greeting: hello\ntoken: none\n",
	"crds/gadgets.yaml":        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.example.com}\nspec: {group: example.com, scope: Namespaced, names: {kind: Gadget, plural: gadgets}}\n",
	"templates/settings.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-settings}\ndata:\n  greeting: {{ .Values.greeting | quote }}\n  revision: {{ .Release.Revision | quote }}\n  version: {{ .Capabilities.KubeVersion.Version }}\n  jobs: {{ .Capabilities.APIVersions.Has \"batch/v1/Job\" | quote }}\n  login: {{ lookup \"v1\" \"Secret\" .Release.Namespace \"login\" | dig \"metadata\" \"name\" \"none\" | quote }}\n",
	"templates/secret.yaml":    "apiVersion: v1\nkind: Secret\nmetadata: {name: {{ .Release.Name }}}\nstringData: {token: {{ .Values.token }}}\n",
	"templates/echo.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: echo}\ndata: {url: \"https://example.com/?token={{ .Values.token }}\"}\n",
	"templates/migrate.yaml":   "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: \"pre-install,pre-upgrade\"}\n",
	"templates/tests/run.yaml": "apiVersion: v1\nkind: Pod\nmetadata:\n  name: run\n  annotations: {helm.sh/hook: test}\n",
}

const webRelease = `apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: charts, namespace: flux-system}
spec: {interval: 1h, url: URL}
---
apiVersion: v1
kind: Secret
metadata: {name: values, namespace: flux-system}
data: {values.yaml: dG9rZW46IGNhbmFyeS10b2tlbgo=}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: shop}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: web, namespace: flux-system}
spec:
  interval: 10m
  releaseName: web
  targetNamespace: shop
  chart: {spec: {chart: web, version: 1.x, sourceRef: {kind: HelmRepository, name: charts}}}
  valuesFrom: [{kind: Secret, name: values}]
  values: {greeting: hi}
status:
  inventory:
    entries:
      - {id: shop_web-settings__ConfigMap, v: v1}
      - {id: shop_old__ConfigMap, v: v1}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: web-settings
  namespace: shop
  labels: {helm.toolkit.fluxcd.io/name: web, helm.toolkit.fluxcd.io/namespace: flux-system}
data: {greeting: hello}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: old, namespace: shop, labels: {helm.toolkit.fluxcd.io/name: web, helm.toolkit.fluxcd.io/namespace: flux-system}}
`

// chartsServed serves a Helm repository with one chart.
func chartsServed(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "web")
	write(t, dir, files)
	packed, err := packChart(dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/index.yaml":
			_, _ = w.Write([]byte("apiVersion: v1\nentries:\n  web:\n  - {apiVersion: v2, name: web, version: 1.0.0, urls: [web-1.0.0.tgz]}\n"))
		case "/web-1.0.0.tgz":
			_, _ = w.Write(packed)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestBuildOfARelease fetches the chart, composes the values, tells it what the
// cluster serves, and masks what Secrets hold.
func TestBuildOfARelease(t *testing.T) {
	url := chartsServed(t, webChart)
	f := newFakeAPI(t, strings.ReplaceAll(webRelease, "URL", url))
	golden(t, "helm-build", strings.ReplaceAll(transcript(f, "", "build", "helmrelease", "web"), url, "URL"))
	_, out, errs := f.plumb("build", "hr", "web", "--kube-version", "1.30.4", "--api-versions", "batch/v1/Job", "--show-secrets")
	for _, want := range []string{"version: v1.30.4", `jobs: "true"`, "?token=canary-token"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s%s", want, out, errs)
		}
	}
}

// TestDiffOfARelease compares with the cluster, and leaves hooks alone.
func TestDiffOfARelease(t *testing.T) {
	url := chartsServed(t, webChart)
	f := newFakeAPI(t, strings.ReplaceAll(webRelease, "URL", url))
	got := transcript(f, "", "diff", "hr", "web")
	golden(t, "helm-diff", strings.ReplaceAll(got, url, "URL"))
	if strings.Contains(got, "canary") {
		t.Error("a secret value is shown")
	}
}

// TestBuildOfAReleaseFromADirectory takes the chart from a directory.
func TestBuildOfAReleaseFromADirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, webChart)
	f := newFakeAPI(t, strings.ReplaceAll(webRelease, "URL", "https://charts.example.com"))
	code, out, errs := f.plumb("build", "hr", "web", "--path", dir)
	if code != exitOK || !strings.Contains(out, "name: web-settings") || strings.Contains(out, "canary") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// TestBuildDecrypts opens what is encrypted with the keys that the user may
// read.
func TestBuildDecrypts(t *testing.T) {
	key, sealed := sopsExample(t, "age.agekey"), sopsExample(t, "secret-age.yaml")
	dir := checkout(t, map[string]string{"deploy/secret.yaml": sealed})
	const declares = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: shop, namespace: flux-system}
spec:
  interval: 10m
  path: ./deploy
  prune: true
  sourceRef: {kind: GitRepository, name: shop}
  decryption: {provider: sops, secretRef: {name: keys}}
`
	f := newFakeAPI(t, declares)
	f.put(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "keys", "namespace": "flux-system"},
		"data": map[string]any{"age.agekey": base64Of(key)},
	}})
	build := []string{"build", "ks", "shop", "--path", filepath.Join(dir, "deploy")}
	code, out, errs := f.plumb(build...)
	if code != exitOK || strings.Contains(out, "canary-4f1c9b") || strings.Contains(out, "sops") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if _, out, errs = f.plumb(append(build, "--show-secrets")...); !strings.Contains(out, base64Of("canary-4f1c9b")) {
		t.Errorf("it is not decrypted:\n%s%s", out, errs)
	}
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// sopsExample is an encrypted example of the room that decrypts, or its key.
func sopsExample(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../secret/sops/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
