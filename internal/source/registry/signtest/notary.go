package signtest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/signer"
)

// NotationSignature is the media type of what refers to an artifact as its
// signature by notation.
const NotationSignature = "application/vnd.cncf.notary.signature"

// A Notary lets notation sign with certificates of an authority.
type Notary struct{ *Authority }

// Signer is notation's own, with a key of a new certificate.
func (n Notary) Signer() (notation.Signer, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	leaf, err := n.Issue(&x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "release", Organization: []string{"Example"}, Country: []string{"DE"}, Province: []string{"BE"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	return signer.NewGenericSigner(key, []*x509.Certificate{leaf, n.Certificate})
}
