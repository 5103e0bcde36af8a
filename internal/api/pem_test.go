package api

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
)

// pemPair is a certificate for a name, and its key, as files have them.
func pemPair(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	pair, err := selfSigned([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func leafOf(pair tls.Certificate) (*x509.Certificate, error) {
	return x509.ParseCertificate(pair.Certificate[0])
}
