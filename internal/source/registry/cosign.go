package registry

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"plumb.dev/plumb/internal/model"
)

// Cosign keeps signatures in two forms: as layers of an image at the tag
// sha256-….sig, in the format "simple signing" (cosign 1 and 2), and as sigstore
// bundles that refer to the artifact (cosign 3).
const (
	simpleSigning    = "application/vnd.dev.cosign.simplesigning.v1+json"
	bundleMediaType  = "application/vnd.dev.sigstore.bundle"
	simpleSignedType = "cosign container image signature"

	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationLogEntry    = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// signer judges signatures: by public keys, or by a trusted root.
type signer interface {
	// simple judges a payload in the format "simple signing" by the annotations
	// of its layer.
	simple(payload []byte, annotations map[string]string) error
	// bundled judges a bundle about a digest.
	bundled(b *bundle.Bundle, digest v1.Hash) error
}

func (c *Client) checkCosign(ctx context.Context, p *place, digest v1.Hash, spec *model.Verification) error {
	by, err := c.signer(spec)
	if err != nil {
		return err
	}
	var reasons []string
	for _, form := range []func(context.Context, *place, v1.Hash, signer) (bool, []string, error){c.checkBundles, c.checkSimple} {
		good, why, err := form(ctx, p, digest, by)
		if err != nil || good {
			return err
		}
		reasons = append(reasons, why...)
	}
	return noneMatches(p, digest, reasons, spec)
}

func (c *Client) signer(spec *model.Verification) (signer, error) {
	if keyless(spec) {
		return newIdentities(spec, c.options.TrustRoot)
	}
	return newKeys(spec)
}

// checkBundles reports whether a bundle that refers to the artifact is a good
// signature, and what is wrong with those that are not.
func (c *Client) checkBundles(ctx context.Context, p *place, digest v1.Hash, by signer) (bool, []string, error) {
	// The type of an artifact may be told by its manifest only.
	referring, err := c.referrers(ctx, p, digest, func(d v1.Descriptor) bool {
		return d.ArtifactType == "" || strings.HasPrefix(d.ArtifactType, bundleMediaType)
	})
	if err != nil {
		return false, nil, err
	}
	var reasons []string
	for _, one := range referring {
		m, err := c.manifest(ctx, p, one.Digest)
		if err != nil {
			return false, nil, err
		}
		if len(m.Layers) != 1 || !strings.HasPrefix(string(m.Layers[0].MediaType), bundleMediaType) {
			continue
		}
		content, err := c.small(ctx, p, m.Layers[0].Digest)
		if err != nil {
			return false, nil, err
		}
		if err := judge(content, digest, by); err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		return true, nil, nil
	}
	return false, reasons, nil
}

func judge(content []byte, digest v1.Hash, by signer) error {
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(content); err != nil {
		return fmt.Errorf("a bundle cannot be understood: %w", err)
	}
	return by.bundled(b, digest)
}

// checkSimple does the same for the signatures at the tag.
func (c *Client) checkSimple(ctx context.Context, p *place, digest v1.Hash, by signer) (bool, []string, error) {
	at, err := c.head(ctx, p, digest.Algorithm+"-"+digest.Hex+".sig")
	if missing(err) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	m, err := c.manifest(ctx, p, at)
	if err != nil {
		return false, nil, err
	}
	var reasons []string
	tried := 0
	for _, layer := range m.Layers {
		if string(layer.MediaType) != simpleSigning || tried >= c.limits.Signatures {
			continue
		}
		tried++
		payload, err := c.small(ctx, p, layer.Digest)
		if err != nil {
			return false, nil, err
		}
		if err := claim(payload, digest); err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		if err := by.simple(payload, layer.Annotations); err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		return true, nil, nil
	}
	return false, reasons, nil
}

// claim checks what a payload says that it is about.
func claim(payload []byte, digest v1.Hash) error {
	var said struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	switch {
	case json.Unmarshal(payload, &said) != nil:
		return errors.New("a signature's payload cannot be understood")
	case said.Critical.Image.Digest != digest.String():
		return errors.New("a signature is about another artifact")
	case said.Critical.Type != simpleSignedType:
		return fmt.Errorf("a signature's payload is of the type %q", said.Critical.Type)
	}
	return nil
}

// signatureOf is the signature in the annotations of a layer.
func signatureOf(annotations map[string]string) ([]byte, error) {
	signed, err := base64.StdEncoding.DecodeString(annotations[annotationSignature])
	if err != nil || len(signed) == 0 {
		return nil, errors.New("a signature is missing or not in base64")
	}
	return signed, nil
}

// keys judges by the public keys of a Secret. As with source-controller, no
// entry in a transparency log is asked for.
type keys []signature.Verifier

func newKeys(spec *model.Verification) (keys, error) {
	var all keys
	for _, key := range spec.Keys {
		if !strings.HasSuffix(key.Name, ".pub") {
			continue
		}
		public, err := cryptoutils.UnmarshalPEMToPublicKey(key.PEM)
		if err != nil {
			return nil, errLasting{text: fmt.Sprintf("the entry '%s' of secret '%s' is no public key in PEM form", key.Name, spec.SecretID), advice: "put there what 'cosign public-key' prints"}
		}
		verifier, err := signature.LoadVerifier(public, crypto.SHA256)
		if err != nil {
			return nil, errLasting{text: fmt.Sprintf("the key '%s' of secret '%s' is of a kind that signs nothing: %v", key.Name, spec.SecretID, err)}
		}
		all = append(all, verifier)
	}
	if len(all) == 0 {
		return nil, errLasting{text: fmt.Sprintf("no public keys found in secret '%s'", spec.SecretID), advice: "give its entries names that end in .pub"}
	}
	return all, nil
}

func (k keys) simple(payload []byte, annotations map[string]string) error {
	signed, err := signatureOf(annotations)
	if err != nil {
		return err
	}
	for _, key := range k {
		if key.VerifySignature(bytes.NewReader(signed), bytes.NewReader(payload)) == nil {
			return nil
		}
	}
	return errors.New("a signature was made by another key")
}

func (k keys) bundled(b *bundle.Bundle, digest v1.Hash) error {
	err := errors.New("a signature was made by another key")
	for _, key := range k {
		if err = judgeByKey(key, b, digest); err == nil {
			return nil
		}
	}
	return err
}
