package generate

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// transports keeps one pool of connections per way to trust a server, so that
// questions about the same server use the same connections.
type transports struct {
	proxy func(*http.Request) (*url.URL, error)
	ca    []byte

	mu   sync.Mutex
	made map[[sha256.Size]byte]*http.Transport
}

// maxTransports bounds the ways to trust that are kept at a time.
const maxTransports = 64

func (t *transports) get(ca []byte, insecure bool) (*http.Transport, error) {
	trust := []byte{0}
	if insecure {
		trust[0] = 1
	}
	key := digest(trust, ca)
	t.mu.Lock()
	defer t.mu.Unlock()
	if one := t.made[key]; one != nil {
		return one, nil
	}
	one, err := newTransport(t.proxy, insecure, t.ca, ca)
	if err != nil {
		return nil, err
	}
	if t.made == nil {
		t.made = map[[sha256.Size]byte]*http.Transport{}
	}
	if len(t.made) >= maxTransports {
		for other, old := range t.made { // any: it is made again when it is needed
			old.CloseIdleConnections()
			delete(t.made, other)
			break
		}
	}
	t.made[key] = one
	return one, nil
}

func newTransport(proxy func(*http.Request) (*url.URL, error), insecure bool, authorities ...[]byte) (*http.Transport, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	for _, pem := range authorities {
		if len(pem) == 0 {
			continue
		}
		if trust.RootCAs == nil {
			pool, err := x509.SystemCertPool()
			if err != nil {
				pool = x509.NewCertPool()
			}
			trust.RootCAs = pool
		}
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errAuthority
		}
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}
	return &http.Transport{
		Proxy:                  proxy,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        trust,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        2 * time.Minute,
		TLSHandshakeTimeout:    15 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

var (
	errAuthority = errors.New("the certificate authority holds no certificate in PEM form")
	errLinkLocal = errors.New("the address is link-local, where clouds serve the credentials of their machines")
)

// refuseLinkLocal keeps a declared address from reaching what only the machine
// itself should (169.254.169.254 and its kin).
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	if at.Addr().Unmap().IsLinkLocalUnicast() {
		return errLinkLocal
	}
	return nil
}

const maxRedirects = 5

// errAstray is a redirection that is not followed.
type errAstray struct{ to string }

func (e errAstray) Error() string { return "it redirects to " + e.to + ", which is not followed" }

// stayHome follows redirections of reads on the same server, or from plain
// HTTP to TLS on the same host: credentials go nowhere else.
func stayHome(next *http.Request, via []*http.Request) error {
	first := via[0]
	upgraded := first.URL.Scheme == "http" && next.URL.Scheme == "https" &&
		strings.EqualFold(first.URL.Hostname(), next.URL.Hostname())
	switch {
	case first.Method != http.MethodGet && first.Method != http.MethodHead,
		!upgraded && !sameOrigin(first.URL, next.URL):
		return errAstray{to: next.URL.Scheme + "://" + next.URL.Host}
	case len(via) > maxRedirects:
		return errAstray{to: "one place after another"}
	}
	return nil
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}
