package stage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Sign signs what "repository:tag" stands for, as "cosign sign --key" does (in
// its format "simple signing"), with a key that is made when it is named first.
// What is returned is the public key in PEM.
func (w *Warehouse) Sign(ctx context.Context, at, signer string) ([]byte, error) {
	ref, err := name.NewTag(w.host+"/"+at, name.Insecure)
	if err != nil {
		return nil, err
	}
	signed, err := remote.Head(ref, remote.WithContext(ctx), remote.WithTransport(w))
	if err != nil {
		return nil, err
	}
	key, public, err := w.signer(signer)
	if err != nil {
		return nil, err
	}
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`,
		ref.Context().Name(), signed.Digest.String())
	digest := sha256.Sum256(payload)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	layer := layerOf(payload, "application/vnd.dev.cosign.simplesigning.v1+json")
	layer.Annotations = map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(signature)}
	repository, _, _ := strings.Cut(at, ":")
	_, err = w.push(ctx, repository+":sha256-"+signed.Digest.Hex+".sig", types.OCIConfigJSON, nil, []mutate.Addendum{layer})
	return public, err
}

func (w *Warehouse) signer(called string) (key *ecdsa.PrivateKey, public []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if key = w.signers[called]; key == nil {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, err
		}
		w.signers[called] = key
	}
	raw, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	return key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw}), err
}
