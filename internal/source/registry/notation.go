package registry

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	_ "github.com/notaryproject/notation-core-go/signature/cose" // the two forms of an envelope
	_ "github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"plumb.dev/plumb/internal/model"
)

const (
	notationPolicy    = "trustpolicy.json"
	notationSignature = "application/vnd.cncf.notary.signature"
)

// checkNotation reports false where the trust policy lets an artifact pass that
// was not found to be good.
func (c *Client) checkNotation(ctx context.Context, p *place, artifact v1.Hash, spec *model.Verification) (bool, error) {
	policy, err := policyOf(spec)
	if err != nil {
		return false, err
	}
	trusted, err := certificatesOf(spec)
	if err != nil {
		return false, err
	}
	judge, err := verifier.New(policy, trusted, nil)
	if err != nil {
		return false, errLasting{text: fmt.Sprintf("the %s of secret '%s' is not valid: %v", notationPolicy, spec.SecretID, err)}
	}
	reference := p.repo.Name() + "@" + artifact.String()
	signatures := &signatures{client: c, place: p}
	_, outcomes, err := notation.Verify(ctx, judge, signatures, notation.VerifyOptions{
		ArtifactReference:    reference,
		MaxSignatureAttempts: c.limits.Signatures + 1, // the list is cut before
	})
	switch {
	case signatures.err != nil:
		return false, signatures.err // the registry failed, not the signature
	case err != nil:
		return false, noneMatches(p, artifact, reasonsOf(err), spec)
	case len(outcomes) == 0:
		return false, noneMatches(p, artifact, []string{"signature verification failed for all the signatures"}, spec)
	}
	return passed(outcomes[0]), nil
}

// policyOf reads the trust policy. Statements that skip the verification may
// name no stores or identities; those that do are read without (notation
// refuses them, upstream cleans them).
func policyOf(spec *model.Verification) (*trustpolicy.Document, error) {
	for _, entry := range spec.Keys {
		if entry.Name != notationPolicy {
			continue
		}
		document := &trustpolicy.Document{}
		if err := json.Unmarshal(entry.PEM, document); err != nil {
			return nil, errLasting{text: fmt.Sprintf("error occurred while parsing %s of secret '%s': %v", notationPolicy, spec.SecretID, err)}
		}
		for i := range document.TrustPolicies {
			if one := &document.TrustPolicies[i]; one.SignatureVerification.VerificationLevel == trustpolicy.LevelSkip.Name {
				one.TrustStores, one.TrustedIdentities = nil, nil
			}
		}
		return document, nil
	}
	return nil, errLasting{text: fmt.Sprintf("'%s' not found in secret '%s'", notationPolicy, spec.SecretID)}
}

// certificates are trusted whatever store a policy names, as upstream has it.
type certificates []*x509.Certificate

// GetCertificates implements truststore.X509TrustStore.
func (c certificates) GetCertificates(context.Context, truststore.Type, string) ([]*x509.Certificate, error) {
	return c, nil
}

func certificatesOf(spec *model.Verification) (certificates, error) {
	var all certificates
	for _, entry := range spec.Keys {
		if !strings.HasSuffix(entry.Name, ".crt") && !strings.HasSuffix(entry.Name, ".pem") {
			continue
		}
		raw := entry.PEM
		if block, _ := pem.Decode(raw); block != nil {
			raw = block.Bytes
		}
		some, err := x509.ParseCertificates(raw)
		if err != nil {
			return nil, errLasting{text: fmt.Sprintf("the entry '%s' of secret '%s' is no certificate: %v", entry.Name, spec.SecretID, err)}
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, errLasting{text: fmt.Sprintf("no certificates found in secret '%s'", spec.SecretID), advice: "give its entries names that end in .crt or .pem"}
	}
	return all, nil
}

// passed reports whether a signature was found to be good, and not merely let
// pass by a policy that skips, audits or permits.
func passed(outcome *notation.VerificationOutcome) bool {
	if outcome.VerificationLevel == trustpolicy.LevelSkip {
		return false
	}
	for _, result := range outcome.VerificationResults {
		if result.Error != nil && result.Type == trustpolicy.TypeAuthenticity {
			return false
		}
	}
	return true
}

// reasonsOf lists what is wrong with the signatures.
func reasonsOf(err error) []string {
	var none notation.SignatureRetrievalFailedError
	if errors.As(err, &none) && strings.HasPrefix(none.Msg, "no signature is associated") {
		return nil
	}
	var reasons []string
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		for _, one := range several.Unwrap() {
			if text := strings.TrimSpace(one.Error()); text != "" {
				reasons = append(reasons, text)
			}
		}
	}
	if len(reasons) == 0 {
		reasons = append(reasons, err.Error())
	}
	return reasons
}

// signatures shows a place to notation.
type signatures struct {
	client *Client
	place  *place
	err    error // of the registry
}

func (s *signatures) failed(err error) error {
	s.err = err
	return err
}

// Resolve implements registry.Repository.
func (s *signatures) Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	described, err := s.place.puller.Get(ctx, s.place.repo.Digest(reference))
	if err != nil {
		return ocispec.Descriptor{}, s.failed(err)
	}
	return describe(described.Descriptor), nil
}

// ListSignatures implements registry.Repository.
func (s *signatures) ListSignatures(ctx context.Context, of ocispec.Descriptor, use func([]ocispec.Descriptor) error) error {
	artifact, err := v1.NewHash(of.Digest.String())
	if err != nil {
		return err
	}
	listed, err := s.client.referrers(ctx, s.place, artifact, func(d v1.Descriptor) bool { return d.ArtifactType == notationSignature })
	if err != nil {
		return s.failed(err)
	}
	var some []ocispec.Descriptor
	for _, one := range listed {
		some = append(some, describe(one))
	}
	return use(some)
}

// FetchSignatureBlob implements registry.Repository.
func (s *signatures) FetchSignatureBlob(ctx context.Context, of ocispec.Descriptor) ([]byte, ocispec.Descriptor, error) {
	at, err := v1.NewHash(of.Digest.String())
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	m, err := s.client.manifest(ctx, s.place, at)
	if err != nil {
		return nil, ocispec.Descriptor{}, s.failed(err)
	}
	if len(m.Layers) != 1 {
		return nil, ocispec.Descriptor{}, fmt.Errorf("a signature has %d envelopes instead of one", len(m.Layers))
	}
	envelope, err := s.client.small(ctx, s.place, m.Layers[0].Digest)
	if err != nil {
		return nil, ocispec.Descriptor{}, s.failed(err)
	}
	return envelope, describe(m.Layers[0]), nil
}

// PushSignature implements registry.Repository.
func (s *signatures) PushSignature(context.Context, string, []byte, ocispec.Descriptor, map[string]string) (blob, manifest ocispec.Descriptor, err error) {
	return blob, manifest, errors.New("signatures are read, never written")
}

func describe(d v1.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType:    string(d.MediaType),
		Digest:       digest.Digest(d.Digest.String()),
		Size:         d.Size,
		ArtifactType: d.ArtifactType,
		Annotations:  d.Annotations,
	}
}
