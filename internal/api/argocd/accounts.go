package argocd

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// actions and resources are those that can-i knows (util/rbac).
var (
	canActions   = []string{policy.Get, policy.Create, policy.Update, policy.Delete, policy.Sync, policy.Rollback, policy.Override, policy.Action, policy.Invoke}
	canResources = []string{
		policy.Clusters, policy.Projects, policy.Applications, policy.ApplicationSets, policy.Repositories, policy.WriteRepositories, policy.Certificates,
		policy.Accounts, policy.GPGKeys, policy.Logs, policy.Exec, policy.Extensions,
	}
)

func (s *server) canI(ctx context.Context, c *call) (map[string]any, error) {
	resource, action, on := text(c.value, "resource"), text(c.value, "action"), text(c.value, "subresource")
	if !slices.Contains(canActions, action) {
		return nil, failed(connect.CodeInvalidArgument, "%v does not contain %s", canActions, action)
	}
	if !slices.Contains(canResources, resource) {
		return nil, failed(connect.CodeInvalidArgument, "%v does not contain %s", canResources, resource)
	}
	if parts := strings.Split(on, "/"); policy.ProjectScoped(resource) && len(parts) == 3 {
		on = policy.ApplicationObject(s.Namespace, parts[0], parts[1], parts[2])
	}
	if s.can(ctx, c, resource, action, on) {
		return map[string]any{"value": "yes"}, nil
	}
	return map[string]any{"value": "no"}, nil
}

// mayAccount asks about a local account. Everybody may do with their own what
// they like.
func (s *server) mayAccount(ctx context.Context, c *call, action, account string) error {
	if c.who.Kind == signin.KindAccount && c.who.Subject == account {
		return nil
	}
	if err := s.must(ctx, c, policy.Accounts, action, account); err != nil {
		return fmt.Errorf("permission denied for account %s with action %s: %w", account, action, err)
	}
	return nil
}

func (s *server) listAccounts(ctx context.Context, c *call) (map[string]any, error) {
	accounts, err := s.Door.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("failed to get accounts: %w", err)
	}
	sort.Slice(accounts, func(i, j int) bool { return accounts[i].Name < accounts[j].Name })
	out := []any{}
	for _, a := range accounts {
		if s.mayAccount(ctx, c, policy.Get, a.Name) == nil {
			out = append(out, accountOf(a))
		}
	}
	return map[string]any{"items": out}, nil
}

func (s *server) getAccount(ctx context.Context, c *call) (map[string]any, error) {
	name := text(c.value, "name")
	if err := s.mayAccount(ctx, c, policy.Get, name); err != nil {
		return nil, fmt.Errorf("permission denied to get account %s: %w", name, err)
	}
	accounts, err := s.Door.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("failed to get account %s: %w", name, err)
	}
	for _, a := range accounts {
		if a.Name == name {
			return accountOf(a), nil
		}
	}
	return nil, failed(connect.CodeNotFound, "failed to get account %s: account '%s' does not exist", name, name)
}

func accountOf(a signin.Account) map[string]any {
	tokens := []any{}
	for _, t := range a.Tokens {
		tokens = append(tokens, map[string]any{"id": t.ID, "issuedAt": t.IssuedAt, "expiresAt": t.ExpiresAt})
	}
	return map[string]any{"name": a.Name, "enabled": a.Enabled, "capabilities": anys(a.Capabilities), "tokens": tokens}
}

func (s *server) createToken(ctx context.Context, c *call) (map[string]any, error) {
	name := text(c.value, "name")
	if err := s.mayAccount(ctx, c, policy.Update, name); err != nil {
		return nil, fmt.Errorf("permission denied to create token for account %s: %w", name, err)
	}
	token, _, err := s.Door.CreateToken(ctx, name, text(c.value, "id"), lifetime(c))
	if err != nil {
		return nil, fmt.Errorf("failed to update account with new token: %w", err)
	}
	return map[string]any{"token": string(token.Reveal())}, nil
}

// lifetime is how long a token is to be good for; 0 is for ever.
func lifetime(c *call) time.Duration {
	const most = 100 * 365 * 24 * 3600 // seconds: what is longer is for ever
	seconds := number(c.value, "expiresIn")
	if seconds < 0 || seconds > most {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func (s *server) deleteToken(ctx context.Context, c *call) (map[string]any, error) {
	name := text(c.value, "name")
	if err := s.mayAccount(ctx, c, policy.Update, name); err != nil {
		return nil, fmt.Errorf("permission denied to delete account %s: %w", name, err)
	}
	if err := s.Door.DeleteToken(ctx, name, text(c.value, "id")); err != nil {
		return nil, fmt.Errorf("failed to delete account %s: %w", name, err)
	}
	return nothing(), nil
}

func (s *server) updatePassword(ctx context.Context, c *call) (map[string]any, error) {
	name := text(c.value, "name")
	own := c.who.Kind == signin.KindAccount && (name == "" || name == c.who.Subject)
	if name == "" && c.who.Kind != signin.KindAccount {
		return nil, failed(connect.CodeInvalidArgument, "password can only be changed for local users, not user %q", nameOf(c.who))
	}
	if !own {
		if err := s.must(ctx, c, policy.Accounts, policy.Update, name); err != nil {
			return nil, fmt.Errorf("permission denied: %w", err)
		}
	}
	if err := s.Door.UpdatePassword(ctx, c.who, name, text(c.value, "currentPassword"), text(c.value, "newPassword")); err != nil {
		return nil, err
	}
	return nothing(), nil
}
