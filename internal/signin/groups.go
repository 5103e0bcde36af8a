package signin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// maxGroupNames bounds the groups of one person.
const maxGroupNames = 20_000

// groupsOf returns the groups of a person: the claim, or what the userinfo
// endpoint or Microsoft Graph says when the settings ask for that. Where they
// cannot be found out, nobody is let in: a policy may deny something to a group.
// When the access token had to be renewed, so is the session.
func (d *Door) groupsOf(ctx context.Context, setup *setup, connection *provider, verified *oidc.IDToken, claims claimsOf, kept *session) ([]string, *renewal, error) {
	config := setup.provider
	var ask func(context.Context, *provider, string, string) ([]string, error)
	holds := verified.Expiry.Sub(d.options.Now())
	switch {
	case config.EnableUserInfoGroups:
		ask = userInfoGroups
		holds = shorter(holds, config.userInfoHolds)
	case config.graph != "" && overflows(claims):
		ask = graphGroups
		holds = shorter(holds, config.overageHolds)
	default:
		if overflows(claims) {
			d.log.Warn("the groups of a person are too many for the ID token, and are not asked for", "subject", verified.Subject,
				"advice", "set azure.enableUserGroupOverageClaim, or enableUserInfoGroups, in oidc.config")
		}
		return texts(claims["groups"]), nil, nil
	}

	key := groupsKey(config, verified.Subject)
	if groups, ok := d.groups.get(key, d.options.Now()); ok {
		return groups, nil, nil
	}
	if kept == nil || kept.Access == "" {
		return nil, nil, refuse(ErrExpired, "groups are asked for with an access token, which only a sign-in in the browser brings")
	}
	var renewal *renewal
	if !kept.Until.IsZero() && !d.options.Now().Before(kept.Until) {
		var err error
		if renewal, err = d.renewed(ctx, setup, connection, kept); err != nil {
			return nil, nil, err
		}
		kept = renewal.session
	}
	groups, err := ask(ctx, connection, kept.Access, verified.Subject)
	if err != nil {
		return nil, nil, err
	}
	now := d.options.Now()
	d.groups.put(key, groups, now, now.Add(holds))
	return groups, renewal, nil
}

func groupsKey(config *providerConfig, subject string) string {
	return digest(16, "groups", config.digest+"\x00"+subject)
}

func shorter(holds, configured time.Duration) time.Duration {
	if configured > 0 && configured < holds {
		return configured
	}
	return holds
}

// overflows reports whether the token says that the groups are elsewhere
// (OpenID Connect Core, 5.6.2).
func overflows(claims claimsOf) bool {
	names, ok := claims["_claim_names"].(map[string]any)
	_, hasGroups := names["groups"]
	return ok && hasGroups && claims["_claim_sources"] != nil
}

// userInfoGroups asks the userinfo endpoint: the one that the settings name, else
// the one that discovery names.
func userInfoGroups(ctx context.Context, connection *provider, access, subject string) ([]string, error) {
	found, err := connection.discover(ctx)
	if err != nil {
		return nil, err
	}
	config := connection.config
	address := found.userInfo
	if config.UserInfoPath != "" {
		base := config.UserInfoBaseURL
		if base == "" {
			base = config.Issuer
		}
		address = base + config.UserInfoPath
	}
	body, kind, err := askWith(ctx, connection, http.MethodGet, address, access, "")
	if err != nil {
		return nil, err
	}
	var claims claimsOf
	if kind == "application/jwt" {
		verified, err := found.verifier(connection.now(), true).Verify(ctx, string(body))
		if err != nil {
			return nil, refuseFor(ErrInvalidSession, "the signed answer of the userinfo endpoint", err)
		}
		if !connection.meant(verified.Audience) {
			return nil, refuse(ErrInvalidSession, "the signed answer of the userinfo endpoint is made for another audience")
		}
		err = verified.Claims(&claims)
		if err != nil {
			return nil, refuseFor(ErrInvalidSession, "the answer of the userinfo endpoint", err)
		}
	} else if claims, err = decodeClaims(body); err != nil {
		return nil, refuseFor(ErrUnavailable, "the answer of the userinfo endpoint", err)
	}
	if claims.text("sub") != subject {
		return nil, refuse(ErrInvalidSession, "the userinfo endpoint answers for somebody else")
	}
	return boundedGroups(texts(claims["groups"])), nil
}

// graphGroups asks Microsoft Graph, which knows them when there are more than fit
// into a token. (upstream: GetUserGroupsFromAzureOverageClaim)
func graphGroups(ctx context.Context, connection *provider, access, _ string) ([]string, error) {
	body, _, err := askWith(ctx, connection, http.MethodPost, connection.config.graph+"/me/getMemberGroups", access, `{"securityEnabledOnly":true}`)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Value []string `json:"value"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil, refuse(ErrUnavailable, "the answer of Microsoft Graph cannot be read")
	}
	return boundedGroups(answer.Value), nil
}

func boundedGroups(groups []string) []string {
	return slices.Clip(groups[:min(len(groups), maxGroupNames)])
}

// askWith asks the address with the access token and returns the answer and its
// media type.
func askWith(ctx context.Context, connection *provider, method, address, access, body string) ([]byte, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, "", refuseFor(ErrUnavailable, "the address that knows the groups", err)
	}
	request.Header.Set("Authorization", "Bearer "+access)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := connection.client.Do(request)
	if err != nil {
		return nil, "", refuseFor(ErrUnavailable, "asking for groups", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, "", refuseFor(ErrUnavailable, "asking for groups", err)
	case response.StatusCode == http.StatusUnauthorized:
		return nil, "", refuse(ErrExpired, "the access token is not taken any more where groups are known")
	case response.StatusCode != http.StatusOK:
		return nil, "", refuseFor(ErrUnavailable, "asking for groups", errors.New("answered with "+response.Status))
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return answer, kind, nil
}
