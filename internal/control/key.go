package control

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
)

// KeySecret is the name of the Secret that holds the key of all digests.
const KeySecret = "plumb-digest-key"

const keyBytes = 32

var (
	namespaceKind = cluster.Kind{
		GVK: schema.GroupVersionKind{Version: "v1", Kind: "Namespace"},
		GVR: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"},
	}
	secretKind = cluster.Kind{
		GVK:        schema.GroupVersionKind{Version: "v1", Kind: "Secret"},
		GVR:        schema.GroupVersionResource{Version: "v1", Resource: "secrets"},
		Namespaced: true,
	}
)

// ensureKey reads the key of all digests from its Secret, or makes one. It
// lives in the cluster because a plain digest of a Secret would let its reader
// test guesses, and because every replica needs the same one.
func ensureKey(ctx context.Context, opts Options) ([]byte, error) {
	clusters, err := cluster.NewSet(opts.Config, cluster.Options{UserAgent: "plumb", Intercept: opts.Intercept})
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	defer clusters.Close()
	session := clusters.Local().As(model.Identity{})
	for {
		key, err := readKey(ctx, session, opts.Namespace)
		if !apierrors.IsNotFound(err) {
			return key, err
		}
		if err := makeKey(ctx, session, opts.Namespace); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("make Secret %s/%s: %w", opts.Namespace, KeySecret, err)
		}
	}
}

func readKey(ctx context.Context, session *cluster.Session, namespace string) ([]byte, error) {
	o, err := session.Get(ctx, secretKind, namespace, KeySecret)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil, err
		}
		return nil, fmt.Errorf("read Secret %s/%s: %w", namespace, KeySecret, err)
	}
	text, _, _ := unstructured.NestedString(o.Object, "data", "key")
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) < keyBytes {
		return nil, fmt.Errorf("the Secret %s/%s has no key of %d bytes under data.key; delete it to have a new one made", namespace, KeySecret, keyBytes)
	}
	return key, nil
}

func makeKey(ctx context.Context, session *cluster.Session, namespace string) error {
	_, err := session.Get(ctx, namespaceKind, "", namespace)
	if apierrors.IsNotFound(err) {
		_, err = session.Create(ctx, namespaceKind, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": namespace, "labels": map[string]any{"app.kubernetes.io/part-of": "plumb"}},
		}}, cluster.WriteOptions{Manager: "plumb"})
		if apierrors.IsAlreadyExists(err) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	_, err = session.Create(ctx, secretKind, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"name": KeySecret, "namespace": namespace, "labels": map[string]any{"app.kubernetes.io/part-of": "plumb"}},
		"data":     map[string]any{"key": base64.StdEncoding.EncodeToString(key)},
	}}, cluster.WriteOptions{Manager: "plumb"})
	return err
}
