package argocd

import (
	"context"
	"net/http"
	"runtime"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/signin"
)

// signIn answers name and password with a token. A browser that asks by JSON gets
// a session besides.
func (s *server) signIn(ctx context.Context, c *call) (map[string]any, error) {
	if text(c.value, "token") != "" {
		return nil, failed(connect.CodeUnauthenticated, "token-based session creation no longer supported. please upgrade argocd cli to v0.7+")
	}
	name, password := text(c.value, "username"), text(c.value, "password")
	if name == "" || password == "" {
		return nil, failed(connect.CodeUnauthenticated, "no credentials supplied")
	}
	token, err := s.Door.Login(ctx, name, password)
	s.note(ctx, Deed{Who: signin.Principal{Name: name}, Action: "login", Refused: err != nil})
	if err != nil {
		return nil, err
	}
	if c.response != nil {
		if err := s.Door.SetSession(c.response, c.request, token); err != nil {
			return nil, err
		}
	}
	return map[string]any{"token": string(token.Reveal())}, nil
}

// note hands a deed to whoever keeps account.
func (s *server) note(ctx context.Context, deed Deed) {
	if s.Audit != nil {
		s.Audit(ctx, deed)
	}
}

// signOut ends the session that the call was made with. The command line forgets
// its token by itself; ours is void from then on.
func (s *server) signOut(ctx context.Context, c *call) (map[string]any, error) {
	if err := s.Door.Logout(ctx, c.request); err != nil {
		return nil, err
	}
	if c.signedIn {
		s.note(ctx, Deed{Who: c.who, Action: "logout"})
	}
	if c.response != nil {
		http.SetCookie(c.response, &http.Cookie{Name: signin.CookieName, Path: "/", MaxAge: -1, HttpOnly: true})
	}
	return map[string]any{"token": ""}, nil
}

func (s *server) userInfo(_ context.Context, c *call) (map[string]any, error) {
	if !c.signedIn {
		return map[string]any{"loggedIn": false}, nil
	}
	return map[string]any{"loggedIn": true, "username": nameOf(c.who), "iss": c.who.Issuer, "groups": anys(c.who.Groups)}, nil
}

// speaks is the version of Argo CD whose API this is. Command lines compare it
// with their own.
const speaks = "v3.6.0"

// version tells who answers. What it is built of is for those who are signed in.
func (s *server) version(_ context.Context, c *call) (map[string]any, error) {
	out := map[string]any{"Version": speaks + "+plumb"}
	if c.signedIn {
		out["ExtraBuildInfo"] = "Plumb " + s.Options.Version
		out["GoVersion"], out["Compiler"], out["Platform"] = runtime.Version(), runtime.Compiler, runtime.GOOS+"/"+runtime.GOARCH
	}
	return out, nil
}

// serverSettings tells command lines how to sign in, and how objects are tracked.
func (s *server) serverSettings(ctx context.Context, c *call) (map[string]any, error) {
	ways, err := s.Door.Ways(ctx)
	if err != nil {
		return nil, err
	}
	settings := s.settings(ctx)
	out := map[string]any{
		"url": ways.URL, "userLoginsDisabled": !ways.Passwords,
		"appLabelKey": settings.InstanceLabelKey, "trackingMethod": string(settings.Tracking), "installationID": settings.InstallationID,
		"impersonationEnabled": settings.Impersonation, "appsInAnyNamespaceEnabled": len(settings.ApplicationNamespaces) > 0,
		"kustomizeOptions": map[string]any{"BuildOptions": s.setting(ctx, "kustomize.buildOptions")},
		"help":             map[string]any{}, "googleAnalytics": map[string]any{}, "syncWithReplaceAllowed": true,
	}
	if provider := ways.Provider; provider != nil {
		claims := map[string]any{}
		for name, claim := range provider.IDTokenClaims {
			claims[name] = map[string]any{"essential": claim.Essential, "value": claim.Value, "values": anys(claim.Values)}
		}
		out["oidcConfig"] = map[string]any{
			"name": provider.Name, "issuer": provider.Issuer, "clientID": provider.ClientID, "cliClientID": provider.CLIClientID,
			"scopes": anys(provider.Scopes), "idTokenClaims": claims, "enablePKCEAuthentication": provider.PKCE,
		}
	}
	if c.signedIn {
		out["controllerNamespace"] = s.Namespace
		out["passwordPattern"] = ways.PasswordPattern
		out["resourceOverrides"] = s.resourceOverrides(ctx)
	}
	return out, nil
}

// plugins: there are none.
func (s *server) plugins(context.Context, *call) (map[string]any, error) {
	return map[string]any{"plugins": []any{}}, nil
}
