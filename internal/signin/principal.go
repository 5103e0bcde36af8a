package signin

import (
	"context"
	"time"

	"plumb.dev/plumb/internal/model"
)

// Kind says what sort of caller a Principal is.
type Kind string

// The kinds of callers.
const (
	KindAnonymous  Kind = "anonymous"  // nobody, and users.anonymous.enabled
	KindAccount    Kind = "account"    // a local account, signed in or by API token
	KindProject    Kind = "project"    // a token of a project's role
	KindOIDC       Kind = "oidc"       // a person of the identity provider
	KindKubernetes Kind = "kubernetes" // a service account of the cluster
)

// Principal is a caller whose credential was checked. It holds no credential
// but Renewal, which refuses to be printed.
type Principal struct {
	Kind Kind
	// Name is what people call the caller: an account's name, an email address
	// (or the subject, when the provider gives no verified one), proj:P:R, or
	// system:serviceaccount:N:S. "" for anonymous.
	Name string
	// Subject is what a policy of Argo CD names: the account, proj:P:R, the
	// provider's sub (or federated_claims.user_id, as Dex hands it on), or the
	// service account. "" for anonymous.
	Subject string
	// Groups are the provider's, from the claim "groups" or from where the
	// settings say; or the service account's.
	Groups []string
	// Claims are the verified claims of the token, for the scopes of a policy
	// (Scopes); nil for anonymous and service accounts.
	Claims map[string]any

	// Project and Role are those of a project's token, else "".
	Project, Role string

	// KubernetesUser and KubernetesGroups are what access reviews are asked for:
	// "account:<name>", "oidc:<email or sub>" with groups "oidc:<group>",
	// "project:<project>:<role>", and service accounts as themselves. Both are
	// empty for anonymous, whom Kubernetes is never asked about.
	KubernetesUser   string
	KubernetesGroups []string

	// Issuer is "argocd" for accounts and projects, the provider's URL, or
	// "kubernetes".
	Issuer string
	// TokenID tells one token of the subject from another (jti, uti or at_hash,
	// else a digest). It does not give the token away.
	TokenID string
	// Issued and Expires are zero when the token does not say.
	Issued, Expires time.Time

	// Cookie says that the browser sent the credential by itself, so that the
	// request may be forged: see Door.RefuseForgery.
	Cookie bool

	// Renewal is a new token for a session that is about to end; zero for none.
	// Door.Renew hands it to the browser; a gRPC answer carries it in the header
	// "renew-token".
	Renewal model.Secret

	renewed *session // the provider's side of Renewal
	token   named    // what is signed out; only of accounts and people
}

// Scopes returns the values of the named claims, as a policy's scopes ask for
// them: lists are joined, texts count as one value. The claim "groups" is
// Groups. (upstream: jwtutil.GetScopeValues)
func (p Principal) Scopes(names []string) []string {
	var values []string
	for _, name := range names {
		if name == "groups" {
			values = append(values, p.Groups...)
			continue
		}
		values = append(values, texts(p.Claims[name])...)
	}
	return values
}

// texts reads a claim that is a text or a list of texts.
func texts(claim any) []string {
	switch claim := claim.(type) {
	case string:
		return []string{claim}
	case []string:
		return claim
	case []any:
		var values []string
		for _, item := range claim {
			if text, ok := item.(string); ok {
				values = append(values, text)
			}
		}
		return values
	}
	return nil
}

type callerKey struct{}

// Caller returns whom Door.Identify found for this request, and the error when
// it found nobody. Outside of Identify it is ErrNoSession.
func Caller(ctx context.Context) (Principal, error) {
	found, ok := ctx.Value(callerKey{}).(identified)
	if !ok {
		return Principal{}, ErrNoSession
	}
	return found.caller, found.err
}

// Claimant is whom the credential that Identify refused says it is of: anybody
// can say anything, so that it is good for an account of what was refused and for
// nothing else. "" where nothing was refused, or it does not say.
func Claimant(ctx context.Context) string {
	found, _ := ctx.Value(callerKey{}).(identified)
	return found.claimant
}

type identified struct {
	caller   Principal
	err      error
	claimant string // where err is set
}
