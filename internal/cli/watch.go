package cli

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// follower is told what there is and then what changes, until it is done.
type follower struct {
	initial func([]unstructured.Unstructured) (done bool, err error)
	change  func(watch.EventType, *unstructured.Unstructured) (done bool, err error)
}

// The pauses between attempts to reach a server that was there before.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 5 * time.Second
)

// follow lists and then watches. When the watch ends it lists again and passes
// on only what has changed meanwhile, so that a server that restarts is only a
// pause. It returns nil when the follower is done, and the error of ctx when
// that ends first.
func follow(ctx context.Context, resource dynamic.ResourceInterface, options metav1.ListOptions, f follower) error {
	seen := map[types.UID]*unstructured.Unstructured{}
	first := true
	pause := firstPause
	for {
		list, err := listPages(ctx, resource, options)
		switch {
		case err != nil && (first || !passing(err)):
			return err
		case err == nil:
			done, err := f.deliver(list, seen, first)
			if done || err != nil {
				return err
			}
			first, pause = false, firstPause
			done, err = f.watch(ctx, resource, options, list.GetResourceVersion(), seen)
			if done || (err != nil && !passing(err)) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// passing reports whether an error is of the kind that goes away by itself.
func passing(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err)
}

// deliver passes on a list: the first as a whole, later ones as differences.
func (f follower) deliver(list *unstructured.UnstructuredList, seen map[types.UID]*unstructured.Unstructured, first bool) (bool, error) {
	if first {
		for i := range list.Items {
			seen[list.Items[i].GetUID()] = &list.Items[i]
		}
		return f.initial(list.Items)
	}
	present := map[types.UID]bool{}
	for i := range list.Items {
		o := &list.Items[i]
		present[o.GetUID()] = true
		before, known := seen[o.GetUID()]
		if known && before.GetResourceVersion() == o.GetResourceVersion() {
			continue
		}
		seen[o.GetUID()] = o
		kind := watch.Modified
		if !known {
			kind = watch.Added
		}
		if done, err := f.change(kind, o); done || err != nil {
			return done, err
		}
	}
	for uid, o := range seen {
		if present[uid] {
			continue
		}
		delete(seen, uid)
		if done, err := f.change(watch.Deleted, o); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

func (f follower) watch(ctx context.Context, resource dynamic.ResourceInterface, options metav1.ListOptions, from string, seen map[types.UID]*unstructured.Unstructured) (bool, error) {
	options.ResourceVersion = from
	stream, err := resource.Watch(ctx, options)
	if err != nil {
		return false, err
	}
	defer stream.Stop()
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case event, open := <-stream.ResultChan():
			if !open {
				return false, nil
			}
			if event.Type == watch.Error {
				return false, apierrors.FromObject(event.Object)
			}
			o, ok := event.Object.(*unstructured.Unstructured)
			if !ok || event.Type == watch.Bookmark {
				continue
			}
			seen[o.GetUID()] = o
			if event.Type == watch.Deleted {
				delete(seen, o.GetUID())
			}
			if done, err := f.change(event.Type, o); done || err != nil {
				return done, err
			}
		}
	}
}

// awaitGone waits until an object does not exist.
func awaitGone(ctx context.Context, resource dynamic.ResourceInterface, name string) error {
	return follow(ctx, resource, named(name), follower{
		initial: func(items []unstructured.Unstructured) (bool, error) { return len(items) == 0, nil },
		change: func(kind watch.EventType, _ *unstructured.Unstructured) (bool, error) {
			return kind == watch.Deleted, nil
		},
	})
}

// await waits until an object satisfies a condition and returns it as it then
// was. When ctx ends first, the error says what was last seen.
func await(ctx context.Context, resource dynamic.ResourceInterface, name string, until func(*unstructured.Unstructured) (done bool, err error)) (*unstructured.Unstructured, error) {
	return awaitOne(ctx, func(f follower) error { return follow(ctx, resource, named(name), f) }, until)
}
