package argocd

import (
	"context"
	"reflect"
	"slices"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/policy"
)

// Tokens of a project's roles are written down in two places, as upstream has
// it: in the role and in status.jwtTokensByRole.

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// mergeTokens lists in both places what is in either (NormalizeJWTTokens).
func mergeTokens(o *unstructured.Unstructured) {
	byRole := object(o.Object, "status", "jwtTokensByRole")
	for _, role := range objects(o.Object, "spec", "roles") {
		all := items(role, "jwtTokens")
		for _, token := range items(byRole, text(role, "name"), "items") {
			if m, ok := token.(map[string]any); ok && indexOfToken(all, text(m, "id"), number(m, "iat")) < 0 {
				all = append(all, token)
			}
		}
		if len(all) == 0 {
			continue
		}
		setTokens(o, role, all)
		byRole = object(o.Object, "status", "jwtTokensByRole")
	}
}

func setTokens(o *unstructured.Unstructured, role map[string]any, all []any) {
	role["jwtTokens"] = all
	status := object(o.Object, "status")
	if status == nil {
		status = map[string]any{}
		o.Object["status"] = status
	}
	byRole := object(status, "jwtTokensByRole")
	if byRole == nil {
		byRole = map[string]any{}
		status["jwtTokensByRole"] = byRole
	}
	byRole[text(role, "name")] = map[string]any{"items": slices.Clone(all)}
}

// indexOfToken finds a token by its id, and else by the second in which it was
// issued; -1 for none.
func indexOfToken(all []any, id string, issued int64) int {
	return slices.IndexFunc(all, func(token any) bool {
		m, _ := token.(map[string]any)
		if id != "" {
			return text(m, "id") == id
		}
		return number(m, "iat") == issued
	})
}

// roleAs is a role whose tokens the caller may change: who may update the
// project, and who is in a group of the role.
func (s *server) roleAs(ctx context.Context, c *call, o *unstructured.Unstructured) (map[string]any, error) {
	name := text(c.value, "role")
	roles := objects(o.Object, "spec", "roles")
	i := slices.IndexFunc(roles, func(r map[string]any) bool { return text(r, "name") == name })
	if i < 0 {
		return nil, failed(connect.CodeNotFound, "project '%s' does not have role '%s'", o.GetName(), name)
	}
	if err := s.must(ctx, c, policy.Projects, policy.Update, o.GetName()); err != nil {
		if !slices.ContainsFunc(texts(roles[i], "groups"), func(g string) bool { return slices.Contains(c.who.Groups, g) }) {
			return nil, err
		}
	}
	return roles[i], nil
}

func (s *server) createProjectToken(ctx context.Context, c *call) (map[string]any, error) {
	name, id := text(c.value, "project"), text(c.value, "id")
	for range conflicts {
		o, err := s.declaredProject(ctx, name)
		if err != nil {
			return nil, err
		}
		if err := validProject(o); err != nil {
			return nil, err
		}
		mergeTokens(o)
		role, err := s.roleAs(ctx, c, o)
		if err != nil {
			return nil, err
		}
		all := items(role, "jwtTokens")
		if id != "" && indexOfToken(all, id, 0) >= 0 {
			return nil, failed(connect.CodeInvalidArgument, "Token id '%s' has been used. ", id)
		}
		token, issued, err := s.Door.ProjectToken(ctx, name, text(role, "name"), id, lifetime(c))
		if err != nil {
			return nil, err
		}
		entry := map[string]any{"iat": issued.IssuedAt, "id": issued.ID}
		if issued.ExpiresAt != 0 {
			entry["exp"] = issued.ExpiresAt
		}
		setTokens(o, role, append(slices.Clone(all), entry))
		_, err = s.storeProject(ctx, o)
		if err == nil {
			s.done(ctx, c, "create-token", KindProject, o, "created token")
			return map[string]any{"token": string(token.Reveal())}, nil
		}
		if !apierrors.IsConflict(err) {
			return nil, err
		}
	}
	return nil, failed(connect.CodeAborted, "project %s changes all the time: try again", name)
}

func (s *server) deleteProjectToken(ctx context.Context, c *call) (map[string]any, error) {
	name := text(c.value, "project")
	for range conflicts {
		o, err := s.declaredProject(ctx, name)
		if err != nil {
			return nil, err
		}
		mergeTokens(o)
		role, err := s.roleAs(ctx, c, o)
		if codeOf(err) == connect.CodeNotFound && err != nil {
			return nothing(), nil //nolint:nilerr // without the role there is no token
		}
		if err != nil {
			return nil, err
		}
		all := slices.Clone(items(role, "jwtTokens"))
		i := indexOfToken(all, text(c.value, "id"), number(c.value, "iat"))
		if i < 0 {
			return nothing(), nil
		}
		setTokens(o, role, slices.Delete(all, i, i+1))
		_, err = s.storeProject(ctx, o)
		if err == nil {
			s.done(ctx, c, "delete-token", KindProject, o, "deleted token")
			return nothing(), nil
		}
		if !apierrors.IsConflict(err) {
			return nil, err
		}
	}
	return nil, failed(connect.CodeAborted, "project %s changes all the time: try again", name)
}
