package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// rawWriters and rawRounds are how the baseline is taken: so many requests at a
// time, and the median of so many rounds.
const (
	rawWriters = 32
	rawRounds  = 3
)

// raw measures what the API server takes for the same objects: server-side
// apply of 5 N new objects, a finalizer on N declared objects and a status of
// each. Nothing decides, renders or watches anything.
func (b *bench) raw(ctx context.Context) (time.Duration, error) {
	var rounds []time.Duration
	for round := range rawRounds {
		took, err := b.rawRound(ctx, fmt.Sprintf("raw-%d", round))
		if err != nil {
			return 0, err
		}
		rounds = append(rounds, took)
	}
	slices.Sort(rounds)
	return rounds[len(rounds)/2], nil
}

func (b *bench) rawRound(ctx context.Context, namespace string) (time.Duration, error) {
	if err := b.namespace(ctx, namespace); err != nil {
		return 0, err
	}
	// The declared objects exist before: users create them, not the engine.
	err := each(ctx, b.n, rawWriters, func(i int) error {
		return b.api.create(ctx, kustomizations(namespace), fmt.Sprintf("%s  suspend: true\n", b.delivery(appName(i), "apps/"+appName(i), namespace)))
	})
	if err != nil {
		return 0, err
	}
	var writes []func() error
	for i := 1; i <= b.n; i++ {
		name := appName(i)
		declared := kustomizations(namespace) + "/" + name
		files := application(name, namespace)
		files["cm-a.yaml"] = marker(i, "first")
		writes = append(writes, func() error {
			return b.api.apply(ctx, declared, "raw-finalizer", []byte("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  finalizers: [finalizers.fluxcd.io]\n"))
		})
		for _, file := range applicationFiles {
			path := fmt.Sprintf(collections[file], namespace) + "/" + objectName(file, i)
			writes = append(writes, func() error { return b.api.apply(ctx, path, "raw", []byte(files[file])) })
		}
		writes = append(writes, func() error {
			return b.api.apply(ctx, declared+"/status", "raw-status", []byte(rawStatus))
		})
	}
	began := time.Now()
	if err := each(ctx, len(writes), rawWriters, func(i int) error { return writes[i-1]() }); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, b.dropFinalizers(ctx, namespace)
}

// rawStatus is about as large as the status of an application that is ready.
const rawStatus = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
status:
  observedGeneration: 1
  lastAppliedRevision: main@sha1:0123456789abcdef0123456789abcdef01234567
  lastAttemptedRevision: main@sha1:0123456789abcdef0123456789abcdef01234567
  conditions:
    - type: Ready
      status: "True"
      reason: ReconciliationSucceeded
      message: "Applied revision: main@sha1:0123456789abcdef0123456789abcdef01234567"
      lastTransitionTime: "2026-01-01T00:00:00Z"
      observedGeneration: 1
  inventory:
    entries:
      - id: bench_app-0001-cm-a__ConfigMap
        v: v1
      - id: bench_app-0001-cm-b__ConfigMap
        v: v1
      - id: bench_app-0001__Service
        v: v1
      - id: bench_app-0001__ServiceAccount
        v: v1
      - id: bench_app-0001_apps_Deployment
        v: v1
`

// dropFinalizers lets the declared objects of a round go with their namespace.
func (b *bench) dropFinalizers(ctx context.Context, namespace string) error {
	return each(ctx, b.n, rawWriters, func(i int) error {
		path := kustomizations(namespace) + "/" + appName(i)
		if err := b.api.merge(ctx, path, map[string]any{"metadata": map[string]any{"finalizers": nil}}); err != nil {
			return err
		}
		return b.api.do(ctx, "DELETE", path, asJSON, nil)
	})
}

// collections are the paths of what an application's files hold.
var collections = map[string]string{
	"cm-a.yaml":           "/api/v1/namespaces/%s/configmaps",
	"cm-b.yaml":           "/api/v1/namespaces/%s/configmaps",
	"service.yaml":        "/api/v1/namespaces/%s/services",
	"serviceaccount.yaml": "/api/v1/namespaces/%s/serviceaccounts",
	"deployment.yaml":     "/apis/apps/v1/namespaces/%s/deployments",
}

func objectName(file string, i int) string {
	switch file {
	case "cm-a.yaml":
		return markerName(i)
	case "cm-b.yaml":
		return appName(i) + "-cm-b"
	}
	return appName(i)
}

// each calls do for 1 to n, so many at a time, and returns the first error.
func each(ctx context.Context, n, workers int, do func(i int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					stop(err)
				}
			}
		})
	}
	for i := 1; i <= n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}
