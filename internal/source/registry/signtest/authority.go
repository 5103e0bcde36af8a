// Package signtest signs what registries hold, for tests: as cosign does with
// certificates of an instance of sigstore, and as notation does with those of an
// authority. Everything is made up on the spot, so that nobody is asked for
// anything.
package signtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// An Authority issues certificates, for an hour around its making.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one that is its own root.
func NewAuthority() (*Authority, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	a := &Authority{key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a.Certificate = template // signs itself
	a.Certificate, err = a.Issue(template, &key.PublicKey)
	return a, err
}

// Issue signs a certificate for a key.
func (a *Authority) Issue(template *x509.Certificate, public *ecdsa.PublicKey) (*x509.Certificate, error) {
	raw, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, public, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(raw)
}

// PEM is the authority's certificate in PEM.
func (a *Authority) PEM() []byte { return inPEM(a.Certificate) }

func inPEM(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

// NewKey makes a key as cosign does.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Sign signs the SHA-256 of a message.
func Sign(key *ecdsa.PrivateKey, message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, key, digest[:])
}

// PublicPEM is the public half of a key as cosign writes it.
func PublicPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	raw, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw}), err
}
