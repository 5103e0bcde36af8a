package logins

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Trust is why a server is believed to be the one that is meant. The zero value
// believes the system's certificate authorities.
type Trust struct {
	// Authority has certificates in PEM that are believed instead of the system's.
	Authority string `json:"certificateAuthority,omitempty"`
	// Fingerprint is the digest of the only certificate that is believed, in the
	// form of Fingerprint.
	Fingerprint string `json:"fingerprint,omitempty"`
	Anybody     bool   `json:"insecureSkipTLSVerify,omitempty"`
	// Plaintext lets tokens travel unencrypted to other machines.
	Plaintext bool `json:"plaintext,omitempty"`
}

// ErrAnother says that a server has another certificate than the one that was
// trusted.
var ErrAnother = errors.New("the server's certificate is not the one that was trusted")

// Fingerprint is the digest of a certificate, such as "SHA256:ab…".
func Fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return fingerprintPrefix + hex.EncodeToString(sum[:])
}

const fingerprintPrefix = "SHA256:"

// ParseFingerprint takes a fingerprint as people have it: in either case, with
// colons and with or without what it begins with (as openssl x509 -fingerprint
// prints it).
func ParseFingerprint(text string) (string, error) {
	plain := strings.ToLower(text)
	if _, after, found := strings.Cut(plain, "="); found {
		plain = after
	}
	plain = strings.ReplaceAll(strings.TrimPrefix(plain, strings.ToLower(fingerprintPrefix)), ":", "")
	if sum, err := hex.DecodeString(plain); err != nil || len(sum) != sha256.Size {
		return "", fmt.Errorf("%q is no SHA-256 fingerprint of a certificate", text)
	}
	return fingerprintPrefix + plain, nil
}

// TLS is how a connection is secured.
func (t Trust) TLS() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	switch {
	case t.Anybody:
		config.InsecureSkipVerify = true
	case t.Fingerprint != "":
		config.InsecureSkipVerify = true // the fingerprint says more than a name
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || subtle.ConstantTimeCompare([]byte(Fingerprint(state.PeerCertificates[0])), []byte(t.Fingerprint)) != 1 {
				return ErrAnother
			}
			return nil
		}
	case t.Authority != "":
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(t.Authority)) {
			return nil, errors.New("the certificate authority is no certificate in PEM")
		}
	}
	return config, nil
}

// Client reaches a server. It follows no redirects, which nothing in the API
// needs: a token goes where it is meant to and nowhere else.
func (t Trust) Client() (*http.Client, error) {
	config, err := t.TLS()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
			DialContext:         (&net.Dialer{Timeout: dialTime, KeepAlive: dialTime}).DialContext,
			TLSHandshakeTimeout: dialTime, ResponseHeaderTimeout: headerTime, IdleConnTimeout: headerTime,
			MaxResponseHeaderBytes: 1 << 20,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Bounds of reaching a server.
const (
	dialTime   = 15 * time.Second
	headerTime = 90 * time.Second // the server itself takes 30 for a call
)

// ProviderClient reaches the identity provider of a server: the system's
// certificate authorities are believed, and the one that the server is.
func (t Trust) ProviderClient() (*http.Client, error) {
	plain := Trust{Anybody: t.Anybody}
	client, err := plain.Client()
	if err != nil || t.Authority == "" {
		return client, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM([]byte(t.Authority))
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = pool
	return client, nil
}

// Shown is the certificate that a server shows, whoever signed it.
func Shown(ctx context.Context, address string) (*x509.Certificate, error) {
	at, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	port := at.Port()
	if port == "" {
		port = "443"
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTime}, Config: &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: at.Hostname(), InsecureSkipVerify: true, // it is looked at, and nothing is sent
	}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(at.Hostname(), port))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	certificates := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(certificates) == 0 {
		return nil, errors.New("the server shows no certificate")
	}
	return certificates[0], nil
}

// Untrusted reports whether a server was not reached because nobody vouches for
// its certificate.
func Untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.As(err, &verification)
}

// Address puts a server into the form in which logins have it: with a scheme,
// https where none is given, and without a slash at the end. http goes to this
// machine only, unless plaintext allows it to go further.
func Address(text string, plaintext bool) (string, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	at, err := url.Parse(text)
	switch {
	case err != nil || at.Host == "" || at.Hostname() == "":
		return "", fmt.Errorf("%q is no address of a server", text)
	case at.User != nil:
		return "", errors.New("the address of a server has no user name in it")
	case at.RawQuery != "" || at.Fragment != "":
		return "", fmt.Errorf("%q is no address of a server: it ends with its path", text)
	case at.Scheme == "http" && !plaintext && !thisMachine(at.Hostname()):
		return "", fmt.Errorf("%s is not encrypted: whoever is on the way could read the token", text)
	case at.Scheme != "http" && at.Scheme != "https":
		return "", fmt.Errorf("%q: a server is reached by https", text)
	}
	at.Host = strings.ToLower(at.Host)
	return strings.TrimRight(at.String(), "/"), nil
}

func thisMachine(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// readBounded reads a file that people may have put anything in.
func readBounded(file *os.File) ([]byte, error) {
	const limit = 4 << 20
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && len(content) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return content, err
}
