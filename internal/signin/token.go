package signin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"plumb.dev/plumb/internal/model"
)

const (
	// Issuer is the issuer of the tokens that are signed here: Argo CD's, so that
	// both take each other's.
	Issuer = "argocd"

	// maxToken bounds a token, in bytes.
	maxToken = 64 << 10
	// renewBefore is how long before its end a session is renewed. (upstream:
	// autoRegenerateTokenDuration)
	renewBefore = 5 * time.Minute
	// leeway is by how much clocks may differ.
	leeway = 10 * time.Second
)

// ownClaims are the claims of a token that is signed here, in the order and
// with the names that Argo CD writes.
type ownClaims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	ExpiresAt int64  `json:"exp,omitempty"`
	NotBefore int64  `json:"nbf"`
	IssuedAt  int64  `json:"iat"`
	ID        string `json:"jti"`
}

// sign returns the token of the claims.
func sign(key []byte, claims ownClaims) (model.Secret, error) {
	if len(key) == 0 {
		return model.Secret{}, ErrNotReady
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return model.Secret{}, err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return model.Secret{}, err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return model.Secret{}, err
	}
	token, err := signed.CompactSerialize()
	return model.NewSecret([]byte(token)), err
}

// claimsOf are the claims of a token by name.
type claimsOf map[string]any

func (c claimsOf) text(name string) string {
	text, _ := c[name].(string)
	return text
}

// time reads a claim in Unix seconds. ok is false when it is there and is none.
func (c claimsOf) time(name string) (at time.Time, ok bool) {
	value, there := c[name]
	if !there || value == nil {
		return time.Time{}, true
	}
	seconds, isNumber := value.(float64)
	if !isNumber || math.IsNaN(seconds) || seconds < 0 || seconds > 253402300799 { // the end of the year 9999
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// subject is the identity that policies know. (upstream: jwtutil.GetUserIdentifier)
func (c claimsOf) subject() string {
	if federated, ok := c["federated_claims"].(map[string]any); ok {
		if id, ok := federated["user_id"].(string); ok && id != "" {
			return id
		}
	}
	return c.text("sub")
}

var errMalformed = errors.New("malformed token")

// unverified returns the claims of a token whose signature nobody has checked:
// good for choosing who checks, and for nothing else.
func unverified(token string) (claimsOf, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errMalformed
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, errMalformed
	}
	return decodeClaims(payload)
}

func decodeClaims(payload []byte) (claimsOf, error) {
	var claims claimsOf
	if json.Unmarshal(payload, &claims) != nil || claims == nil {
		return nil, errMalformed
	}
	return claims, nil
}

// digestOf names a token without giving it away. It covers the bytes that are
// signed, not the signature and not how they are encoded: both can be written in
// several ways, and what was signed out must not come back in another one.
func digestOf(token string) string {
	hash := sha256.New()
	for _, part := range strings.Split(token, ".")[:min(2, strings.Count(token, ".")+1)] {
		bytes, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			bytes = []byte(part)
		}
		_, _ = fmt.Fprintf(hash, "%d:%s", len(bytes), bytes)
	}
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:16])
}

// newID returns a random UUID, as upstream names its tokens.
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand stops the process instead
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// subjectOf splits the subject of an account's token. Without a capability it is
// an API token, as those of old versions are.
func subjectOf(subject string) (account, capability string) {
	parts := strings.Split(subject, ":")
	if len(parts) > 1 && parts[1] == CapabilityLogin {
		return parts[0], CapabilityLogin
	}
	return parts[0], CapabilityAPIKey
}

// projectOf splits the subject of a project's token.
func projectOf(subject string) (project, role string, ok bool) {
	parts := strings.Split(subject, ":")
	if len(parts) != 3 || parts[0] != "proj" {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// own checks a token that claims to be signed here.
func (d *Door) own(ctx context.Context, setup *setup, token string) (Principal, error) {
	claims, err := verifyOwn(setup.key, token, d.options.Now())
	if err != nil {
		return Principal{}, err
	}
	issued, _ := claims.time("iat")
	expires, _ := claims.time("exp")
	caller := Principal{
		Claims: claims, Issuer: Issuer, TokenID: claims.text("jti"),
		Issued: issued, Expires: expires,
	}
	if project, role, ok := projectOf(claims.subject()); ok {
		return d.projectCaller(ctx, caller, project, role)
	}
	caller.token = tokenOf(claims.subject(), caller.TokenID, issued)
	if d.revoked.has(caller.token, d.options.Now()) {
		return Principal{}, refuse(ErrInvalidSession, "the token was signed out")
	}
	return d.accountCaller(setup, caller, claims.subject())
}

// verifyOwn checks signature and times.
func verifyOwn(key []byte, token string, now time.Time) (claimsOf, error) {
	if len(key) == 0 {
		return nil, refuse(ErrNotReady, "server.secretkey is missing")
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return nil, refuseFor(ErrInvalidSession, "not a token of ours", err)
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return nil, refuse(ErrInvalidSession, "the signature is not ours")
	}
	claims, err := decodeClaims(payload)
	if err != nil {
		return nil, refuseFor(ErrInvalidSession, "not a token of ours", err)
	}
	issued, iatOK := claims.time("iat")
	expires, expOK := claims.time("exp")
	notBefore, nbfOK := claims.time("nbf")
	switch {
	case claims.text("iss") != Issuer:
		return nil, refuse(ErrInvalidSession, "the issuer is not "+Issuer)
	case !iatOK || !expOK || !nbfOK || issued.IsZero():
		return nil, refuse(ErrInvalidSession, "a time in the token cannot be read")
	case !expires.IsZero() && !now.Before(expires):
		return nil, refuse(ErrExpired, "the token has expired")
	case !notBefore.IsZero() && now.Add(leeway).Before(notBefore):
		return nil, refuse(ErrInvalidSession, "the token is not valid yet")
	}
	return claims, nil
}

// projectCaller checks that the project still lists the token. A token with an
// ID is looked for by it; one without, or one that was listed without, by its
// time of issue. (upstream: AppProject.GetJWTToken)
func (d *Door) projectCaller(ctx context.Context, caller Principal, project, role string) (Principal, error) {
	if d.options.Projects == nil {
		return Principal{}, refuse(ErrInvalidSession, "tokens of projects are not served here")
	}
	listed, err := d.options.Projects.Tokens(ctx, project, role)
	if err != nil {
		return Principal{}, refuseFor(ErrUnavailable, "the tokens of the project cannot be read", err)
	}
	known := slices.ContainsFunc(listed, func(t IssuedToken) bool {
		if caller.TokenID != "" && t.ID != "" {
			return t.ID == caller.TokenID
		}
		return t.IssuedAt == caller.Issued.Unix()
	})
	if !known {
		return Principal{}, refuse(ErrInvalidSession, "the project does not list the token")
	}
	caller.Kind = KindProject
	caller.Project, caller.Role = project, role
	caller.Subject = "proj:" + project + ":" + role
	caller.Name = caller.Subject
	caller.KubernetesUser = "project:" + project + ":" + role
	return caller, nil
}

// accountCaller checks that the account is still there, may be used in this way,
// and has kept its password since. (upstream: SessionManager.Parse)
func (d *Door) accountCaller(setup *setup, caller Principal, subject string) (Principal, error) {
	name, capability := subjectOf(subject)
	account, ok := setup.accounts[name]
	switch {
	case !ok:
		return Principal{}, refuse(ErrInvalidSession, "there is no such account")
	case !account.Enabled:
		return Principal{}, refuse(ErrInvalidSession, "the account is disabled")
	case !account.Can(capability):
		return Principal{}, refuse(ErrInvalidSession, "the account does not have the capability "+capability)
	case caller.TokenID == "":
		return Principal{}, refuse(ErrInvalidSession, "the token has no ID")
	case capability == CapabilityAPIKey && account.token(caller.TokenID) < 0:
		return Principal{}, refuse(ErrInvalidSession, "the account does not list the token")
	case caller.Issued.Before(account.PasswordChanged):
		return Principal{}, refuse(ErrInvalidSession, "the password was changed after the token was issued")
	}
	caller.Kind, caller.Name, caller.Subject = KindAccount, name, name
	caller.KubernetesUser = "account:" + name
	caller.Claims["sub"] = name
	if capability != CapabilityLogin || caller.Expires.IsZero() || caller.Expires.Sub(d.options.Now()) >= renewBefore {
		return caller, nil
	}
	renewal, err := d.issueSession(setup, name, caller.Expires.Sub(caller.Issued))
	if err != nil {
		return Principal{}, err
	}
	caller.Renewal = renewal
	return caller, nil
}

// issueSession returns the token of a signed-in account.
func (d *Door) issueSession(setup *setup, account string, duration time.Duration) (model.Secret, error) {
	issued := issueTime(d.options.Now(), setup.accounts[account])
	return sign(setup.key, ownClaims{
		Issuer: Issuer, Subject: account + ":" + CapabilityLogin, ID: newID(),
		NotBefore: d.options.Now().Unix(), IssuedAt: issued.Unix(), ExpiresAt: issued.Add(duration).Unix(),
	})
}

// issueTime is now, or the second in which the password was changed if that is
// still to come: see UpdatePassword.
func issueTime(now time.Time, account Account) time.Time {
	if account.PasswordChanged.After(now) && account.PasswordChanged.Sub(now) <= 2*time.Second {
		return account.PasswordChanged
	}
	return now
}
