// Package namespaces empties and finalizes namespaces that are deleted.
//
// It does what the namespace controller of kube-controller-manager does, by
// the same code, but without waiting. That controller lets five seconds pass
// before every look, for the sake of several API servers and etcd members, and
// more for pods to end in their grace period; here there is one of each, and
// simulated pods go at once.
package namespaces

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/namespace/deletion"

	"plumb.dev/plumb/controlplane/internal/workloop"
)

const (
	workers = 4

	// settle is longer than the API server's admission takes to see that the
	// namespace is being deleted, and to refuse new objects.
	settle = 100 * time.Millisecond

	// recheck is how soon to look again at a namespace whose contents are on
	// their way out, and the longest pause where a finalizer holds them.
	recheck        = 50 * time.Millisecond
	longestRecheck = 10 * time.Second
)

// deleter empties namespaces.
type deleter struct {
	contents deletion.NamespacedResourcesDeleterInterface
	loop     *workloop.Loop[visit]
}

// visit is one look at a namespace; each waits longer than the one before.
type visit struct {
	namespace string
	pause     time.Duration
}

// Run empties namespaces until the context ends.
func Run(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client of the namespace deleter: %w", err)
	}
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client of the namespace deleter: %w", err)
	}
	d := &deleter{
		contents: deletion.NewNamespacedResourcesDeleter(ctx, client.CoreV1().Namespaces(), objects, client.CoreV1(),
			client.Discovery().ServerPreferredNamespacedResources, corev1.FinalizerKubernetes),
	}
	d.loop = workloop.New("namespace deletion", d.attend)

	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().Namespaces().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    d.observe,
		UpdateFunc: d.observeChange,
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	d.loop.Run(ctx, workers)
	return nil
}

func (d *deleter) observe(object any) {
	if namespace, ok := object.(*corev1.Namespace); ok && namespace.DeletionTimestamp != nil {
		d.loop.Add(visit{namespace: namespace.Name, pause: recheck}, settle)
	}
}

// observeChange takes up a deletion when it begins, and again when somebody
// edits the finalizers; what the deleter itself writes is no news.
func (d *deleter) observeChange(before, after any) {
	old, ok := before.(*corev1.Namespace)
	namespace, also := after.(*corev1.Namespace)
	if !ok || !also {
		return
	}
	begun := old.DeletionTimestamp == nil && namespace.DeletionTimestamp != nil
	edited := len(old.Finalizers) != len(namespace.Finalizers) || len(old.Spec.Finalizers) != len(namespace.Spec.Finalizers)
	if begun || edited {
		d.observe(after)
	}
}

func (d *deleter) attend(ctx context.Context, visit visit) (time.Duration, error) {
	err := d.contents.Delete(ctx, visit.namespace)
	if remaining := (*deletion.ResourcesRemainingError)(nil); errors.As(err, &remaining) {
		next := visit
		next.pause = min(2*visit.pause, longestRecheck)
		d.loop.Add(next, visit.pause)
		return 0, nil
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return 0, nil // gone, or edited: then there is an event
	}
	return 0, err
}
