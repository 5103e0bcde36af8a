package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/kinds"
	"plumb.dev/plumb/internal/model"
)

var crdKind = cluster.Kind{
	GVK: schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
	GVR: schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
}

// installTimeout is how long new kinds may take to be served.
const installTimeout = 30 * time.Second

// InstallKinds makes sure that every kind is served, and waits until it is. A
// definition that is there and newer stays.
func InstallKinds(ctx context.Context, c *cluster.Cluster, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	session := c.As(model.Identity{})
	definitions := kinds.CRDs()
	errs := make([]error, len(definitions))
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, crd := range definitions {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if errs[i] = installKind(ctx, session, crd, log); errs[i] == nil {
				errs[i] = awaitServed(ctx, c, crd)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func installKind(ctx context.Context, session *cluster.Session, crd *unstructured.Unstructured, log *slog.Logger) error {
	for {
		live, err := session.Get(ctx, crdKind, "", crd.GetName())
		switch {
		case apierrors.IsNotFound(err):
			want, _ := kinds.Merge(nil, crd)
			_, err = session.Create(ctx, crdKind, want, cluster.WriteOptions{Manager: "plumb"})
		case err == nil:
			want, why := kinds.Merge(live, crd)
			if want == nil {
				return nil
			}
			log.Info("updating a definition", "crd", crd.GetName(), "why", why)
			want.SetResourceVersion(live.GetResourceVersion())
			_, err = session.Update(ctx, crdKind, want, cluster.WriteOptions{Manager: "plumb"})
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			if err != nil {
				return fmt.Errorf("install %s: %w", crd.GetName(), err)
			}
			return nil
		}
	}
}

// awaitServed waits until discovery lists the kind in its newest version.
func awaitServed(ctx context.Context, c *cluster.Cluster, crd *unstructured.Unstructured) error {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	gvk := schema.GroupVersionKind{Group: group, Version: storageVersion(crd), Kind: kind}
	appears := make(chan struct{}, 1)
	stop := c.OnServed(gvk, func() {
		select {
		case appears <- struct{}{}:
		default:
		}
	})
	defer stop()
	for {
		_, err := c.Resolve(ctx, gvk)
		var unknown *cluster.UnknownKindError
		if !errors.As(err, &unknown) {
			return err
		}
		select {
		case <-appears:
		case <-ctx.Done():
			return fmt.Errorf("%s is installed but not served after %s: %w", crd.GetName(), installTimeout, ctx.Err())
		}
	}
}

func storageVersion(crd *unstructured.Unstructured) string {
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		if m, ok := v.(map[string]any); ok && m["storage"] == true {
			name, _ := m["name"].(string)
			return name
		}
	}
	return ""
}
