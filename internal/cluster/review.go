package cluster

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
)

// Access is what somebody wants to do to a resource, for AccessReview. An empty
// Namespace is all of them, an empty Name any.
type Access struct {
	User   string
	Groups []string

	Verb, Group, Resource, Subresource string
	Namespace, Name                    string
}

// AccessReview asks the API server whether its authorisation lets somebody do
// something (SubjectAccessReview), and why.
func (c *Cluster) AccessReview(ctx context.Context, a Access) (allowed bool, reason string, err error) {
	groups := make([]any, len(a.Groups))
	for i := range a.Groups {
		groups[i] = a.Groups[i]
	}
	attributes := map[string]any{}
	for name, value := range map[string]string{
		"verb": a.Verb, "group": a.Group, "resource": a.Resource, "subresource": a.Subresource, "namespace": a.Namespace, "name": a.Name,
	} {
		if value != "" {
			attributes[name] = value
		}
	}
	status, err := c.review(ctx, "authorization.k8s.io", "SubjectAccessReview", map[string]any{
		"user": a.User, "groups": groups, "resourceAttributes": attributes,
	})
	if err != nil {
		return false, "", err
	}
	allowed, _, _ = unstructured.NestedBool(status, "allowed")
	denied, _, _ := unstructured.NestedBool(status, "denied")
	reason, _, _ = unstructured.NestedString(status, "reason")
	return allowed && !denied, reason, nil
}

// TokenOwner is who a token belongs to.
type TokenOwner struct {
	Authenticated bool
	User          string
	Groups        []string
	Audiences     []string
}

// TokenReview asks the API server whose token it is, if it is good for one of
// the audiences.
func (c *Cluster) TokenReview(ctx context.Context, token model.Secret, audiences []string) (TokenOwner, error) {
	wanted := make([]any, len(audiences))
	for i := range audiences {
		wanted[i] = audiences[i]
	}
	status, err := c.review(ctx, "authentication.k8s.io", "TokenReview", map[string]any{
		"token": string(token.Reveal()), "audiences": wanted,
	})
	if err != nil {
		return TokenOwner{}, err
	}
	owner := TokenOwner{}
	owner.Authenticated, _, _ = unstructured.NestedBool(status, "authenticated")
	owner.User, _, _ = unstructured.NestedString(status, "user", "username")
	owner.Groups, _, _ = unstructured.NestedStringSlice(status, "user", "groups")
	owner.Audiences, _, _ = unstructured.NestedStringSlice(status, "audiences")
	return owner, nil
}

// review creates a review and returns its status. Reviews are not kept.
func (c *Cluster) review(ctx context.Context, group, kind string, spec map[string]any) (map[string]any, error) {
	resolved, err := c.Resolve(ctx, schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind})
	if err != nil {
		return nil, err
	}
	answer, err := c.As(model.Identity{}).Create(ctx, resolved, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group + "/v1", "kind": kind, "spec": spec,
	}}, WriteOptions{})
	if err != nil {
		return nil, err
	}
	status, found, _ := unstructured.NestedMap(answer.Object, "status")
	if !found {
		return nil, fmt.Errorf("the API server answered a %s without a status", kind)
	}
	return status, nil
}
