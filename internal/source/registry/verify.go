package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"plumb.dev/plumb/internal/model"
)

// The providers of spec.verify.provider.
const (
	providerCosign   = "cosign"
	providerNotation = "notation"
)

// errUnsigned is an artifact without a good signature.
type errUnsigned struct{ text, advice string }

func (e errUnsigned) Error() string { return e.text }

// verify asks for a good signature of what a digest names. It reports false
// where the policy of notation lets an artifact pass that was not found to be
// good. A good answer is remembered: neither the artifact nor the keys change.
func (c *Client) verify(ctx context.Context, p *place, digest v1.Hash, spec *model.Verification) (bool, error) {
	key := p.key("verified", digest.String(), c.fingerprint(spec))
	if good, ok := c.verified.get(key); ok {
		return good, nil
	}
	good, err := share(ctx, &c.flights, key, c.limits.Timeout, func(ctx context.Context) (bool, error) {
		if good, ok := c.verified.get(key); ok { // another has checked it meanwhile
			return good, nil
		}
		good, err := c.check(ctx, p, digest, spec)
		if err == nil {
			c.verified.put(key, good, 0)
		}
		return good, err
	})
	if err != nil {
		provider := spec.Provider
		if keyless(spec) {
			provider += " keyless"
		}
		return false, p.fault(reasonVerification, err, "failed to verify the signature using provider '%s'", provider)
	}
	return good, nil
}

func (c *Client) check(ctx context.Context, p *place, digest v1.Hash, spec *model.Verification) (bool, error) {
	switch spec.Provider {
	case providerCosign:
		return true, c.checkCosign(ctx, p, digest, spec)
	case providerNotation:
		return c.checkNotation(ctx, p, digest, spec)
	}
	return false, errLasting{text: "unsupported verification provider: " + spec.Provider, advice: "use cosign or notation"}
}

// keyless reports whether signers are told by certificates. A Secret of keys
// that holds none must not make every signer a good one.
func keyless(spec *model.Verification) bool {
	return spec.Provider == providerCosign && len(spec.Keys) == 0 && spec.SecretID == ""
}

// fingerprint digests what a verification depends on beside the artifact.
func (c *Client) fingerprint(spec *model.Verification) string {
	h := sha256.New()
	encode := json.NewEncoder(h)
	_ = encode.Encode(spec) // cannot fail: neither a hash nor such a struct does
	_ = encode.Encode(c.options.TrustRoot)
	return hex.EncodeToString(h.Sum(nil))
}

// referrers lists what was attached to an artifact (referrers API or tag), of
// the kinds that match, as many as are tried.
func (c *Client) referrers(ctx context.Context, p *place, digest v1.Hash, matches func(v1.Descriptor) bool) ([]v1.Descriptor, error) {
	index, err := remote.Referrers(p.repo.Digest(digest.String()), remote.Reuse(p.puller), remote.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	all, err := index.IndexManifest()
	if err != nil {
		return nil, errLasting{text: "the list of referrers cannot be understood"}
	}
	var some []v1.Descriptor
	for _, one := range all.Manifests {
		if matches(one) && len(some) < c.limits.Signatures {
			some = append(some, one)
		}
	}
	return some, nil
}

// maxReasons bounds how many signatures a message explains.
const maxReasons = 3

// noneMatches says why none of the signatures is a good one.
func noneMatches(p *place, digest v1.Hash, reasons []string, spec *model.Verification) error {
	text := fmt.Sprintf("no matching signatures were found for '%s@%s'", p.repo.Name(), digest)
	if len(reasons) == 0 {
		return errUnsigned{text: text + ": it is not signed", advice: "sign the artifact, or check that its signature was pushed too"}
	}
	if more := len(reasons) - maxReasons; more > 0 {
		reasons = append(reasons[:maxReasons:maxReasons], fmt.Sprintf("and %d more", more))
	}
	advice := "check who signed the artifact, and the identities that spec.verify allows"
	if spec.SecretID != "" {
		advice = "check who signed the artifact, and the keys in secret '" + spec.SecretID + "'"
	}
	return errUnsigned{text: text + ": " + strings.Join(reasons, "; "), advice: advice}
}
