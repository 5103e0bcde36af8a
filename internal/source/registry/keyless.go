package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"plumb.dev/plumb/internal/model"
)

// judgeByKey checks a bundle against one public key.
func judgeByKey(key signature.Verifier, b *bundle.Bundle, digest v1.Hash) error {
	trusted := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
	})
	verifier, err := verify.NewVerifier(trusted, verify.WithNoObserverTimestamps())
	if err != nil {
		return err
	}
	about, err := artifactOf(digest)
	if err != nil {
		return err
	}
	_, err = verifier.Verify(b, verify.NewPolicy(about, verify.WithKey()))
	return err
}

func artifactOf(digest v1.Hash) (verify.ArtifactPolicyOption, error) {
	hash, err := hex.DecodeString(digest.Hex)
	if err != nil {
		return nil, err
	}
	return verify.WithArtifactDigest(digest.Algorithm, hash), nil
}

// identities judges by certificates of a trusted root's authorities: whom they
// were issued to and by whom that was said. The entry in the transparency log
// and the time must be proven by the signature itself; nobody is asked.
type identities struct {
	verifier *verify.Verifier
	wanted   []verify.PolicyOption
}

func newIdentities(spec *model.Verification, installed []byte) (*identities, error) {
	trusted := spec.TrustRoot
	if len(trusted) == 0 {
		trusted = installed
	}
	if len(trusted) == 0 {
		return nil, errLasting{
			text:   "keyless signatures are checked against a trusted root that is at hand, and there is none",
			advice: "name one in spec.verify.trustedRootSecretRef, or give the installation one ('cosign trusted-root create' or the trusted_root.json of the public instance)",
		}
	}
	material, err := root.NewTrustedRootFromJSON(trusted)
	if err != nil {
		return nil, errLasting{text: "unable to parse trusted root: " + err.Error(), advice: "give a sigstore trusted root in JSON"}
	}
	verifier, err := verify.NewVerifier(material,
		verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	if err != nil {
		return nil, err
	}
	by := &identities{verifier: verifier}
	for _, one := range spec.Identities {
		identity, err := verify.NewShortCertificateIdentity("", anyWhenEmpty(one.Issuer), "", anyWhenEmpty(one.Subject))
		if err != nil {
			return nil, errLasting{text: "an identity of spec.verify.matchOIDCIdentity is no regular expression: " + err.Error()}
		}
		by.wanted = append(by.wanted, verify.WithCertificateIdentity(identity))
	}
	if len(by.wanted) == 0 {
		by.wanted = append(by.wanted, verify.WithoutIdentitiesUnsafe()) // any signer, as upstream has it
	}
	return by, nil
}

func anyWhenEmpty(expression string) string {
	if expression == "" {
		return ".*"
	}
	return expression
}

func (i *identities) bundled(b *bundle.Bundle, digest v1.Hash) error {
	about, err := artifactOf(digest)
	if err != nil {
		return err
	}
	_, err = i.verifier.Verify(b, verify.NewPolicy(about, i.wanted...))
	return err
}

func (i *identities) simple(payload []byte, annotations map[string]string) error {
	b, err := bundleOf(payload, annotations)
	if err != nil {
		return err
	}
	_, err = i.verifier.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(payload)), i.wanted...))
	return err
}

// bundleOf puts the parts of a signature of cosign 1 and 2 together.
func bundleOf(payload []byte, annotations map[string]string) (*bundle.Bundle, error) {
	signed, err := signatureOf(annotations)
	if err != nil {
		return nil, err
	}
	certificate, _ := pem.Decode([]byte(annotations[annotationCertificate]))
	if certificate == nil {
		return nil, errors.New("a signature carries no certificate: it was made with a key, which must be named")
	}
	entry, err := logEntryOf(annotations[annotationLogEntry])
	if err != nil {
		return nil, err
	}
	times, err := timestampsOf(annotations[annotationTimestamp])
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(payload)
	return bundle.NewBundle(&protobundle.Bundle{
		MediaType: bundleMediaType + "+json;version=0.1",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
				Certificates: []*protocommon.X509Certificate{{RawBytes: certificate.Bytes}},
			}},
			TlogEntries:               []*protorekor.TransparencyLogEntry{entry},
			TimestampVerificationData: times,
		},
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: digest[:]},
			Signature:     signed,
		}},
	})
}

// logEntryOf reads the promise of the log that it holds an entry.
func logEntryOf(annotation string) (*protorekor.TransparencyLogEntry, error) {
	if annotation == "" {
		return nil, errors.New("a signature carries no proof of its entry in the transparency log, and the log is not asked")
	}
	var given struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	var kind struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"`
	}
	garbled := errors.New("the proof of a signature's entry in the transparency log cannot be understood")
	if json.Unmarshal([]byte(annotation), &given) != nil || json.Unmarshal(given.Payload.Body, &kind) != nil {
		return nil, garbled
	}
	log, err := hex.DecodeString(given.Payload.LogID)
	if err != nil {
		return nil, garbled
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          given.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: log},
		KindVersion:       &protorekor.KindVersion{Kind: kind.Kind, Version: kind.Version},
		IntegratedTime:    given.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: given.SignedEntryTimestamp},
		CanonicalizedBody: given.Payload.Body,
	}, nil
}

// timestampsOf reads what a timestamp authority signed, if one did.
func timestampsOf(annotation string) (*protobundle.TimestampVerificationData, error) {
	if annotation == "" {
		return nil, nil
	}
	var given struct{ SignedRFC3161Timestamp []byte }
	if err := json.Unmarshal([]byte(annotation), &given); err != nil {
		return nil, fmt.Errorf("the timestamp of a signature cannot be understood: %w", err)
	}
	return &protobundle.TimestampVerificationData{
		Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: given.SignedRFC3161Timestamp}},
	}, nil
}
