package signin

import (
	"context"
	"maps"
	"slices"
)

// Ways is how people can sign in. It holds no secret and may be shown to
// everybody: sign-in pages and "argocd login --sso" go by it.
type Ways struct {
	URL string // the server's address, "" when it is not known
	// Passwords says whether any account can sign in with a password. (upstream:
	// the opposite of userLoginsDisabled)
	Passwords       bool
	Anonymous       bool
	PasswordPattern string
	Provider        *ProviderWay // nil: none
}

// ProviderWay is the identity provider as a command line needs to know it, to
// sign in by itself and to send the ID token as bearer. (upstream: oidcConfig in
// the answer of the settings service)
type ProviderWay struct {
	Name          string
	Issuer        string
	ClientID      string
	CLIClientID   string // "" when it is ClientID
	Scopes        []string
	IDTokenClaims map[string]ClaimsRequest
	PKCE          bool // whether the settings ask command lines for PKCE
}

// Ways returns how people can sign in.
func (d *Door) Ways(ctx context.Context) (Ways, error) {
	setup, err := d.setup(ctx)
	if err != nil {
		return Ways{}, err
	}
	ways := Ways{Anonymous: setup.anonymous, PasswordPattern: setup.patternText}
	if len(setup.urls) > 0 {
		ways.URL = setup.urls[0].String()
	}
	for _, account := range setup.accounts {
		ways.Passwords = ways.Passwords || (account.Enabled && account.Can(CapabilityLogin))
	}
	if config := setup.provider; config != nil {
		ways.Provider = &ProviderWay{
			Name: config.Name, Issuer: config.Issuer, ClientID: config.ClientID, CLIClientID: config.CLIClientID,
			Scopes: slices.Clone(config.scopes()), PKCE: config.EnablePKCEAuthentication,
		}
		claims := map[string]ClaimsRequest{}
		for name, request := range maps.All(config.RequestedIDTokenClaims) {
			claims[name] = ClaimsRequest{}
			if request != nil {
				claims[name] = *request
			}
		}
		ways.Provider.IDTokenClaims = claims
	}
	return ways, nil
}
