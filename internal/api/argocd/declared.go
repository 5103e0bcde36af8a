package argocd

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// Declarations are declared objects as they were last seen by whoever watches
// them.
type Declarations interface {
	// Of are those of a kind, in no order; false while not all of them have been
	// seen. They are shared: read only.
	Of(kind Kind) ([]*unstructured.Unstructured, bool)
}

// list is what is declared of a kind, in a namespace or with "" everywhere, and
// a version that a watch can go on from. It asks the API server only where what
// is watched cannot answer. Objects are shared: read only.
func (s *server) list(ctx context.Context, kind Kind, namespace string, selector labels.Selector) ([]*unstructured.Unstructured, string, error) {
	if s.Declared == nil {
		return s.Objects.List(ctx, kind, namespace, selector)
	}
	all, whole := s.Declared.Of(kind)
	if !whole {
		return s.Objects.List(ctx, kind, namespace, selector)
	}
	var newest uint64
	all = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool {
		newest = max(newest, versionOf(o))
		return namespace != "" && o.GetNamespace() != namespace || selector != nil && !selector.Matches(labels.Set(o.GetLabels()))
	})
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	if newest == 0 {
		return all, "", nil
	}
	return all, strconv.FormatUint(newest, 10), nil
}

// versionOf is the resource version of an object as a number; 0 for none.
func versionOf(o *unstructured.Unstructured) uint64 {
	n, _ := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	return n
}

const (
	// seenWithin is how long a call that has declared something waits until lists
	// have it (argo-cd server/application, waitSync).
	seenWithin = 2 * time.Second
	seenPause  = 10 * time.Millisecond
)

// seen waits until lists have an object in the version that was written, so that
// a script that creates and lists finds what it has created.
func (s *server) seen(ctx context.Context, kind Kind, o *unstructured.Unstructured) {
	if s.Declared == nil {
		return
	}
	ctx, stop := context.WithTimeout(ctx, seenWithin)
	defer stop()
	clock := time.NewTicker(seenPause)
	defer clock.Stop()
	for {
		all, whole := s.Declared.Of(kind)
		if !whole || slices.ContainsFunc(all, func(d *unstructured.Unstructured) bool {
			return d.GetName() == o.GetName() && d.GetNamespace() == o.GetNamespace() && versionOf(d) >= versionOf(o)
		}) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
	}
}
