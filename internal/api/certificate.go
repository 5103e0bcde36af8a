package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"os"
	"sync"
	"time"
)

// Certificate is how the server proves who it is: by files, which are read
// again when they change, or with no files by a certificate that it makes and
// signs itself, for the names given. Clients then have to be told to trust it.
func Certificate(certFile, keyFile string, names []string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if certFile == "" && keyFile == "" {
		made, err := selfSigned(names)
		if err != nil {
			return nil, fmt.Errorf("make a certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{made}
		return config, nil
	}
	files := &certificateFiles{cert: certFile, key: keyFile}
	if _, err := files.get(nil); err != nil {
		return nil, err
	}
	config.GetCertificate = files.get
	return config, nil
}

// certificateFiles holds the pair that was read last.
type certificateFiles struct {
	cert, key string

	mu     sync.Mutex
	at     time.Time // the younger of the two files, when it was read
	loaded *tls.Certificate
}

// get is the pair as the files have it; one that cannot be read leaves the last
// good one in use.
func (f *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := time.Time{}
	for _, name := range []string{f.cert, f.key} {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
	}
	if f.loaded != nil && at.Equal(f.at) {
		return f.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		if f.loaded != nil {
			return f.loaded, nil // a half-written pair is read again at the next handshake
		}
		return nil, fmt.Errorf("read the certificate in %s and its key in %s: %w", f.cert, f.key, err)
	}
	f.loaded, f.at = &pair, at
	return f.loaded, nil
}

// selfSignedLife is how long a certificate of our own is good for; a restart
// makes another.
const selfSignedLife = 365 * 24 * time.Hour

func selfSigned(names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Plumb"}, CommonName: "plumb"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(selfSignedLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if name != "" {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
