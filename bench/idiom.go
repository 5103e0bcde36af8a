package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"plumb.dev/plumb/scenario/stage"
)

// idiom is the dialect that the applications are declared in. The engine is the
// same: so should the figures be.
type idiom struct {
	namespace  string // of the declared objects
	collection string // path of the collection that they are in
	plural     string // whose writes are statuses
	// controllers of Flux that deliver it, beside its source-controller.
	controllers []string
	// object declares one application, which waits for another one if it is
	// named.
	object func(b *bench, name, path, after string) string
	// set gives applications a value, and returns what they are at then.
	set func(b *bench, ctx context.Context, apps []int, value string) (head string, err error)
	// wake tells of that, as a forge's webhook does.
	wake func(b *bench, ctx context.Context) error
	// at reports whether an application is at head.
	at func(head string) func(*seen) bool
	// prepare declares what the applications read.
	prepare func(b *bench, ctx context.Context) error
}

var idioms = map[string]idiom{
	"flux": {
		namespace: declaredNamespace, collection: kustomizations(declaredNamespace), plural: "kustomizations",
		controllers: []string{"kustomize-controller"},
		object: func(b *bench, name, path, after string) string {
			object := b.delivery(name, path, declaredNamespace)
			if path != "apps/"+name {
				object += "  wait: true\n"
			}
			if after != "" {
				object += "  dependsOn:\n    - name: " + after + "\n"
			}
			return object
		},
		set: (*bench).push, at: atCommit,
		wake:    (*bench).wakeSource,
		prepare: (*bench).declareSource,
	},
	"argo": {
		namespace: argoNamespace, collection: "/apis/argoproj.io/v1alpha1/namespaces/" + argoNamespace + "/applications", plural: "applications",
		object: (*bench).application,
		set:    (*bench).push, at: atCommit,
		wake:    (*bench).webhook,
		prepare: func(*bench, context.Context) error { return nil },
	},
	"helm": {
		namespace: declaredNamespace, collection: helmReleases, plural: "helmreleases",
		controllers: []string{"helm-controller"},
		object:      (*bench).release,
		set:         (*bench).setValues, at: func(string) func(*seen) bool { return (*seen).ready },
		wake:    func(*bench, context.Context) error { return nil }, // the release itself was written
		prepare: (*bench).declareCharts,
	},
}

const helmReleases = "/apis/helm.toolkit.fluxcd.io/v2/namespaces/" + declaredNamespace + "/helmreleases"

// release is a HelmRelease of the one chart that all of them have.
func (b *bench) release(name, _, after string) string {
	object := fmt.Sprintf(`apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: %s
  namespace: %s
spec:
  interval: %s
  releaseName: %s
  targetNamespace: %s
  chart:
    spec:
      chart: bench
      version: 1.x
      sourceRef: {kind: HelmRepository, name: bench}
  driftDetection: {mode: enabled}
  values: {value: first}
`, name, declaredNamespace, b.interval, name, targetNamespace)
	if after != "" {
		object += "  dependsOn: [{name: " + after + "}]\n"
	}
	return object
}

// declareCharts serves the chart and declares its repository.
func (b *bench) declareCharts(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "chart")
	files := application("{{ .Release.Name }}", targetNamespace)
	files["cm-a.yaml"] = strings.NewReplacer("NAME", "{{ .Release.Name }}", "VALUE", "{{ .Values.value | quote }}").Replace(chartMarker)
	if err := write(filepath.Join(dir, "templates"), files); err != nil {
		return err
	}
	if err := write(dir, map[string]string{"Chart.yaml": "apiVersion: v2\nname: bench\nversion: 1.0.0\n"}); err != nil {
		return err
	}
	if b.warehouse, err = stage.NewWarehouse(); err != nil {
		return err
	}
	if err := b.warehouse.PushChart(ctx, dir, func(text []byte) []byte { return text }); err != nil {
		return err
	}
	return b.api.create(ctx, helmRepositories, fmt.Sprintf(`apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata:
  name: bench
  namespace: %s
spec:
  interval: %s
  url: %s
`, declaredNamespace, b.interval, b.warehouse.Charts()))
}

const helmRepositories = "/apis/source.toolkit.fluxcd.io/v1/namespaces/" + declaredNamespace + "/helmrepositories"

const chartMarker = `apiVersion: v1
kind: ConfigMap
metadata:
  name: NAME-cm-a
  labels:
    bench/app: NAME
    bench/marker: "true"
data:
  value: VALUE
`

// setValues writes values into the releases, as the Kustomization that delivers
// them would.
func (b *bench) setValues(ctx context.Context, apps []int, value string) (string, error) {
	return value, each(ctx, len(apps), parallelCreates, func(i int) error {
		return b.api.merge(ctx, helmReleases+"/"+appName(apps[i-1]), map[string]any{"spec": map[string]any{"values": map[string]any{"value": value}}})
	})
}

// push commits the value.
func (b *bench) push(_ context.Context, apps []int, value string) (string, error) {
	return commit(b.repo, apps, value)
}

const argoNamespace = "argocd"

// application is an Argo CD Application.
func (b *bench) application(name, path, after string) string {
	annotations := "{}"
	if after != "" {
		annotations = fmt.Sprintf("{plumb.dev/depends-on: Application/%s/%s}", argoNamespace, after)
	}
	return fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: %s
  namespace: %s
  annotations: %s
spec:
  project: default
  source:
    repoURL: %s
    targetRevision: main
    path: %s
  destination:
    server: https://kubernetes.default.svc
    namespace: %s
  syncPolicy:
    automated: {prune: true, selfHeal: true}
`, name, argoNamespace, annotations, b.forge.URL("bench"), path, targetNamespace)
}

// wakeSource annotates the source, as a webhook receiver does.
func (b *bench) wakeSource(ctx context.Context) error {
	return b.api.merge(ctx, gitRepositories+"/bench", map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{"reconcile.fluxcd.io/requestedAt": time.Now().Format(time.RFC3339Nano)},
	}})
}

// webhook posts to the engine, as a forge does.
func (b *bench) webhook(ctx context.Context) error {
	body := fmt.Appendf(nil, `{"repoURL": %q, "ref": "refs/heads/main"}`, b.forge.URL("bench"))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.webhooks+"/api/webhook", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the webhook was answered with %s", answer.Status)
	}
	return nil
}

// declareSource creates the GitRepository and waits until it has settled.
func (b *bench) declareSource(ctx context.Context) error {
	source := fmt.Sprintf(`apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: bench
  namespace: %s
spec:
  interval: %s
  url: %s
  ref:
    branch: main
`, declaredNamespace, b.interval, b.forge.URL("bench"))
	settled := b.sources.want([]string{"bench"}, (*seen).ready)
	if err := b.api.create(ctx, gitRepositories, source); err != nil {
		return err
	}
	_, err := b.sources.wait(ctx, settled)
	return err
}
