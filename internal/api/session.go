package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// sessionService answers who the caller is.
type sessionService struct{ *Server }

// exchange is the HTTP request and answer of a call, for cookies.
type exchange struct {
	w http.ResponseWriter
	r *http.Request
}

type exchangeKey struct{}

// exchanged lets calls reach the answer that they are part of.
func exchanged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, exchange{w, r})))
	})
}

// GetSignIn tells how people sign in here.
func (s sessionService) GetSignIn(ctx context.Context, _ *plumbv1.GetSignInRequest) (*plumbv1.GetSignInResponse, error) {
	ways, err := s.door.Ways(ctx)
	if err != nil {
		return nil, connect.NewError(codeOf(err), err)
	}
	out := &plumbv1.GetSignInResponse{Local: ways.Passwords, Anonymous: ways.Anonymous, Version: s.opts.Version}
	if ways.Provider != nil {
		out.OidcName, out.OidcUrl = ways.Provider.Name, "/auth/login"
		out.Provider = providerOf(ways.Provider)
	}
	s.mu.Lock()
	home, initial := s.settings.home, s.settings.initial
	s.mu.Unlock()
	if ways.Passwords && initial {
		out.Hint = fmt.Sprintf("kubectl -n %s get secret %s -o jsonpath='{.data.password}' | base64 -d", home, signin.InitialSecretName)
	}
	return out, nil
}

// providerOf is the identity provider for command lines.
func providerOf(way *signin.ProviderWay) *plumbv1.Provider {
	out := &plumbv1.Provider{Issuer: way.Issuer, ClientId: cmp.Or(way.CLIClientID, way.ClientID), Scopes: way.Scopes}
	if len(way.IDTokenClaims) > 0 {
		if claims, err := json.Marshal(map[string]any{"id_token": way.IDTokenClaims}); err == nil {
			out.Claims = string(claims)
		}
	}
	return out
}

// SignIn checks a name and a password.
func (s sessionService) SignIn(ctx context.Context, m *plumbv1.SignInRequest) (*plumbv1.SignInResponse, error) {
	token, err := s.door.Login(ctx, m.GetUsername(), m.GetPassword())
	if err != nil {
		s.refusedSignIn(ctx, m.GetUsername(), err.Error())
		return nil, connect.NewError(codeOf(err), err)
	}
	s.audit(ctx, entry{Actor: m.GetUsername(), Action: signInCall})
	principal, err := s.door.AuthenticateToken(ctx, token)
	if err != nil {
		return nil, connect.NewError(codeOf(err), err)
	}
	out := &plumbv1.SignInResponse{Expires: rows.At(principal.Expires)}
	if m.GetToken() {
		out.Token = string(token.Reveal())
		return out, nil
	}
	if x, ok := ctx.Value(exchangeKey{}).(exchange); ok {
		if err := s.door.SetSession(x.w, x.r, token); err != nil {
			return nil, connect.NewError(connect.CodeInternal, err)
		}
	}
	return out, nil
}

// SignOut ends the caller's session.
func (s sessionService) SignOut(ctx context.Context, _ *plumbv1.SignOutRequest) (*plumbv1.SignOutResponse, error) {
	out := &plumbv1.SignOutResponse{}
	x, ok := ctx.Value(exchangeKey{}).(exchange)
	if !ok {
		return out, nil
	}
	principal, err := signin.Caller(ctx)
	if err == nil && principal.Kind != signin.KindAnonymous {
		s.audit(ctx, entry{Actor: principal.Name, Action: "logout"})
	}
	if err == nil && principal.Kind == signin.KindOIDC {
		out.Url = "/auth/logout"
		return out, nil
	}
	if err := s.door.Logout(ctx, x.r); err != nil {
		return nil, connect.NewError(codeOf(err), err)
	}
	return out, s.door.SetSession(x.w, x.r, model.Secret{}) // which takes the cookies away
}

// GetMe tells who the caller is.
func (s sessionService) GetMe(ctx context.Context, _ *plumbv1.GetMeRequest) (*plumbv1.GetMeResponse, error) {
	caller := callerOf(ctx)
	p := caller.Principal
	out := &plumbv1.GetMeResponse{
		Name: p.Name, Groups: p.Groups, Kind: string(p.Kind), Issuer: p.Issuer, Expires: rows.At(p.Expires),
		Pages: []string{"deliveries", "sources", "clusters", "projects", "activity"},
	}
	if caller.MayUse(policy.Plumb, policy.Get, policy.Settings).Allowed {
		out.Pages = append(out.Pages, "settings")
	}
	return out, nil
}
