package cluster

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
)

// tokenLife is how long a service account's token is good for, in seconds: what
// it is exchanged for has a life of its own.
const tokenLife = int64(600)

// ServiceAccountToken asks the API server for a token of a service account that
// is good for the audiences (TokenRequest). It is a secret: it goes to the party
// that it is meant for and nowhere else.
func (c *Cluster) ServiceAccountToken(ctx context.Context, namespace, name string, audiences []string) (string, error) {
	token, _, err := c.accountToken(ctx, namespace, name, audiences)
	return token, err
}

// accountToken is ServiceAccountToken, with the time when the token expires.
func (c *Cluster) accountToken(ctx context.Context, namespace, name string, audiences []string) (token string, expires time.Time, err error) {
	kind, err := c.Resolve(ctx, schema.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"})
	if err != nil {
		return "", expires, err
	}
	wanted := make([]any, len(audiences))
	for i := range audiences {
		wanted[i] = audiences[i]
	}
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec":     map[string]any{"audiences": wanted, "expirationSeconds": tokenLife},
	}}
	answer, err := c.As(model.Identity{}).Create(ctx, kind, request, WriteOptions{Subresource: "token"})
	if err != nil {
		return "", expires, err
	}
	token, _, _ = unstructured.NestedString(answer.Object, "status", "token")
	until, _, _ := unstructured.NestedString(answer.Object, "status", "expirationTimestamp")
	if expires, err = time.Parse(time.RFC3339, until); token == "" || err != nil {
		return "", expires, fmt.Errorf("the API server gave no token for service account %s/%s", namespace, name)
	}
	return token, expires, nil
}
