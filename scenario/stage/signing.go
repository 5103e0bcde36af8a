package stage

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"plumb.dev/plumb/internal/source/registry/signtest"
)

// signers are who signs what a warehouse holds; each is made when it is named
// first.
type signers struct {
	keys      map[string]*ecdsa.PrivateKey
	notaries  map[string]signtest.Notary
	sigstores map[string]*signtest.Sigstore
}

func newSigners() signers {
	return signers{keys: map[string]*ecdsa.PrivateKey{}, notaries: map[string]signtest.Notary{}, sigstores: map[string]*signtest.Sigstore{}}
}

// known is the signer of a name, made if there is none.
func known[T any](w *Warehouse, all map[string]T, called string, create func() (T, error)) (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one, ok := all[called]
	if ok {
		return one, nil
	}
	one, err := create()
	if err == nil {
		all[called] = one
	}
	return one, err
}

// Sign signs what "repository:tag" stands for, as "cosign sign --key" does (in
// its format "simple signing"). What is returned is the public key in PEM.
func (w *Warehouse) Sign(ctx context.Context, at, signer string) ([]byte, error) {
	key, err := known(w, w.signers.keys, signer, signtest.NewKey)
	if err != nil {
		return nil, err
	}
	signed, payload, err := w.payload(ctx, at)
	if err != nil {
		return nil, err
	}
	signature, err := signtest.Sign(key, payload)
	if err != nil {
		return nil, err
	}
	if err := w.attach(ctx, at, signed, payload, signature, nil); err != nil {
		return nil, err
	}
	return signtest.PublicPEM(key)
}

// SignNotation signs as "notation sign" does. What is returned is the
// certificate of the authority in PEM.
func (w *Warehouse) SignNotation(ctx context.Context, at, signer string) ([]byte, error) {
	notary, err := known(w, w.signers.notaries, signer, func() (signtest.Notary, error) {
		authority, err := signtest.NewAuthority()
		return signtest.Notary{Authority: authority}, err
	})
	if err != nil {
		return nil, err
	}
	signed, err := w.described(ctx, at)
	if err != nil {
		return nil, err
	}
	by, err := notary.Signer()
	if err != nil {
		return nil, err
	}
	envelope, _, err := by.Sign(ctx, ocispec.Descriptor{
		MediaType: string(signed.MediaType), Digest: digest.Digest(signed.Digest.String()), Size: signed.Size,
	}, notation.SignerSignOptions{SignatureMediaType: jws.MediaTypeEnvelope})
	if err != nil {
		return nil, err
	}
	return notary.PEM(), w.refer(ctx, at, signed, signtest.NotationSignature, envelope, jws.MediaTypeEnvelope)
}

// SignKeyless signs as cosign does without a key: by a certificate that an
// instance of sigstore has issued to a subject, with what proves that both are in
// its logs. As a bundle (cosign 3), or as an annotated layer. What is returned is
// the trusted root of the instance.
func (w *Warehouse) SignKeyless(ctx context.Context, at, instance string, by signtest.Signer, bundle bool) ([]byte, error) {
	sigstore, err := known(w, w.signers.sigstores, instance, signtest.NewSigstore)
	if err != nil {
		return nil, err
	}
	signed, payload, err := w.payload(ctx, at)
	if err != nil {
		return nil, err
	}
	if bundle {
		text, err := sigstore.SignBundle(signed.Digest.Hex, by)
		if err != nil {
			return nil, err
		}
		if err := w.refer(ctx, at, signed, signtest.BundleType, text, signtest.BundleType); err != nil {
			return nil, err
		}
		return sigstore.TrustedRoot()
	}
	signature, annotations, err := sigstore.SignSimple(payload, by)
	if err != nil {
		return nil, err
	}
	if err := w.attach(ctx, at, signed, payload, signature, annotations); err != nil {
		return nil, err
	}
	return sigstore.TrustedRoot()
}

// described is what "repository:tag" stands for.
func (w *Warehouse) described(ctx context.Context, at string) (v1.Descriptor, error) {
	ref, err := name.NewTag(w.host+"/"+at, name.Insecure)
	if err != nil {
		return v1.Descriptor{}, err
	}
	signed, err := remote.Head(ref, remote.WithContext(ctx), remote.WithTransport(w))
	if err != nil {
		return v1.Descriptor{}, err
	}
	return *signed, nil
}

// payload is what the format "simple signing" signs.
func (w *Warehouse) payload(ctx context.Context, at string) (v1.Descriptor, []byte, error) {
	signed, err := w.described(ctx, at)
	repository, _, _ := strings.Cut(at, ":")
	return signed, fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`,
		w.host+"/"+repository, signed.Digest.String()), err
}

// attach puts a signature at the tag that cosign 1 and 2 look at.
func (w *Warehouse) attach(ctx context.Context, at string, signed v1.Descriptor, payload, signature []byte, annotations map[string]string) error {
	layer := layerOf(payload, "application/vnd.dev.cosign.simplesigning.v1+json")
	layer.Annotations = map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(signature)}
	for key, value := range annotations {
		layer.Annotations[key] = value
	}
	repository, _, _ := strings.Cut(at, ":")
	_, err := w.push(ctx, repository+":sha256-"+signed.Digest.Hex+".sig", types.OCIConfigJSON, nil, []mutate.Addendum{layer})
	return err
}

// refer puts something of a type into the registry that refers to an artifact.
func (w *Warehouse) refer(ctx context.Context, at string, to v1.Descriptor, kind string, content []byte, mediaType string) error {
	image, err := imageOf(types.MediaType(kind), nil, []mutate.Addendum{layerOf(content, types.MediaType(mediaType))})
	if err != nil {
		return err
	}
	image = mutate.Subject(image, v1.Descriptor{MediaType: to.MediaType, Digest: to.Digest, Size: to.Size}).(v1.Image)
	repository, _, _ := strings.Cut(at, ":")
	sum := sha256.Sum256(content)
	return w.write(ctx, repository+":refers-"+hex.EncodeToString(sum[:8]), image)
}
