package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// idiom is the dialect that the applications are declared in. The engine is the
// same: so should the figures be.
type idiom struct {
	namespace  string // of the declared objects
	collection string // path of the collection that they are in
	plural     string // whose writes are statuses
	// object declares one application, which waits for another one if it is
	// named.
	object func(b *bench, name, path, after string) string
	// wake tells of a commit, as a forge's webhook does.
	wake func(b *bench, ctx context.Context) error
	// prepare declares what the applications read.
	prepare func(b *bench, ctx context.Context) error
}

var idioms = map[string]idiom{
	"flux": {
		namespace: declaredNamespace, collection: kustomizations(declaredNamespace), plural: "kustomizations",
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
		wake:    (*bench).wakeSource,
		prepare: (*bench).declareSource,
	},
	"argo": {
		namespace: argoNamespace, collection: "/apis/argoproj.io/v1alpha1/namespaces/" + argoNamespace + "/applications", plural: "applications",
		object:  (*bench).application,
		wake:    (*bench).webhook,
		prepare: func(*bench, context.Context) error { return nil },
	},
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
`, declaredNamespace, interval, b.forge.URL("bench"))
	settled := b.sources.want([]string{"bench"}, (*seen).ready)
	if err := b.api.create(ctx, gitRepositories, source); err != nil {
		return err
	}
	_, err := b.sources.wait(ctx, settled)
	return err
}
